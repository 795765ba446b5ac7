"""Spark NLP as an engine in the JVM: the tables of the Python stages, made without leaving it.

The stages run where Spark NLP's public jar runs, on Spark 3.5: ``./run tests --spark 3.5``.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
import pytest
from pyspark.sql import DataFrame, SparkSession

from etl import session, tables
from etl.errors import SessionError
from etl.kernels import sentences
from etl.models import ModelError
from etl.session import SessionConfig
from etl.stages.semantic import SemanticParams, semantic_centroids, semantic_pairs
from etl.stages.spark_nlp import (
    DOCUMENT_EMBEDDINGS,
    DOCUMENT_SENTENCES,
    JvmEmbedParams,
    JvmSentenceParams,
    annotators,
    document_embeddings,
    document_sentences,
)

HAS_JAR = bool(os.environ.get(session.NLP_VARIABLE)) and importlib.util.find_spec("sparknlp") is not None
in_the_jvm = pytest.mark.skipif(
    not HAS_JAR, reason="Spark NLP's public jar is for Spark 3.5 and is not in this session: ./run tests --spark 3.5"
)

WORDS = ("cat", "dog", "##s", "sat", "on", "the", "mat", "cafe", ",", ".", "-", "\u201c", "\u201d", "\u4e16", "\u754c")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
STATES = np.random.default_rng(7).normal(size=(len(VOCABULARY), 12)).astype(np.float32)

TEXTS = (
    "One two. Three four!\nA title\n\nThe last line, e.g. this one.",
    "Smile \U0001f600 here. \U0001f600\U0001f600 And there. The end \U0001f600",
    "Only one",
    " ",
    "Dr. Smith paid 3.5 dollars. \u201cReally?\u201d she asked.\n\n",
    "tabs\tand\u00a0blanks. \u4e16\u754c\u3002 More",
)


def documents(spark: SparkSession, texts: tuple[str | None, ...]) -> DataFrame:
    rows = [(f"doc{number:04}", "a.warc.gz", text) for number, text in enumerate(texts)]
    return spark.createDataFrame(rows, "doc_id string, warc_filename string, text string")


def rows_of(result: DataFrame) -> dict[str, Any]:
    rows = result.collect()
    found = {row["doc_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real ONNX model with a tokenizer of BERT: the state of a token is a row of `STATES`, wherever it stands."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("models") / "tiny"
    (folder / "assets").mkdir(parents=True)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", STATES.shape[1]])
    node = helper.make_node("Gather", ["states", "input_ids"], ["last_hidden_state"], axis=0)
    graph = helper.make_graph([node], "tiny", inputs, [output], [numpy_helper.from_array(STATES, "states")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "assets" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "encoder.json").write_text(json.dumps({"max_tokens": 16}))
    return folder


def mean_of(*pieces: str) -> np.ndarray:
    ids = [CLS, *(VOCABULARY.index(piece) for piece in pieces), SEP]
    mean = STATES[ids].mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_what_is_missing_is_named(spark: SparkSession) -> None:
    if HAS_JAR:
        assert len(annotators(documents(spark, ("a",)))) == 2
        return
    with pytest.raises(SessionError, match=r"extra `nlp`|no jar of Spark NLP"):
        document_sentences(documents(spark, ("a",)), JvmSentenceParams())


def test_the_jar_is_asked_for_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(session.JARS_VARIABLE, raising=False)
    monkeypatch.delenv(session.NLP_VARIABLE, raising=False)
    assert "spark-nlp" not in session.local_settings(SessionConfig())["spark.jars.packages"]
    monkeypatch.setattr(pyspark, "__version__", "3.5.9")
    wanted = ["io.delta:delta-spark_2.12:3.3.2", *session.SPARK_NLP]
    assert session.local_settings(SessionConfig(nlp=True))["spark.jars.packages"] == ",".join(wanted)
    monkeypatch.setenv(session.NLP_VARIABLE, "1")
    assert session.local_settings(SessionConfig())["spark.jars.packages"] == ",".join(wanted)
    monkeypatch.setattr(pyspark, "__version__", "4.1.4")
    with pytest.raises(SessionError, match=r"its public jar is for Spark 3\.5 and this is pyspark 4\.1\.4"):
        session.local_settings(SessionConfig())


def test_a_folder_of_jars_without_spark_nlp_is_refused(tmp_path: Path) -> None:
    (tmp_path / "delta-spark_2.13-4.0.0.jar").touch()
    with pytest.raises(SessionError, match="wanted spark-nlp and the jars it needs beside Delta's, found 1 jar files"):
        session.local_settings(SessionConfig(jars=str(tmp_path), nlp=True))


def test_the_settings_for_submitting_are_those_of_a_session() -> None:
    lines = Path(__file__).parents[2].joinpath("conf/spark/nlp.conf").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(None, 1) for line in lines if not line.startswith("#"))
    assert said["spark.jars.packages"].split(",") == [session.delta_coordinates("3.5.9"), *session.SPARK_NLP]
    assert {name: said[name] for name in said if name in session.SETTINGS}.items() <= session.SETTINGS.items()


def test_a_name_changes_with_weights_vocabulary_and_window(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"weights")
    vocabulary = tmp_path / "assets" / "vocab.txt"
    vocabulary.write_text("[PAD]\n")
    params = JvmEmbedParams(str(tmp_path))
    names = {params.name, replace(params, max_tokens=64).name}
    vocabulary.write_text("[PAD]\n[UNK]\n")
    names.add(params.name)
    assert len(names) == 3
    assert all(name.startswith(f"{tmp_path.name}@") for name in names)


@pytest.mark.parametrize("files", [(), ("model.onnx",)], ids=["nothing", "no vocabulary"])
def test_a_folder_without_a_model_is_named(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"wanted a folder with model\.onnx and assets/vocab\.txt, or a saved Doc2Vec"):
        JvmEmbedParams(str(tmp_path)).pinned()


@in_the_jvm
def test_stages_keep_their_contracts(spark: SparkSession, encoder: Path) -> None:
    nothing = spark.createDataFrame([], tables.DOCUMENTS.schema)
    DOCUMENT_SENTENCES.output.check(document_sentences(nothing, JvmSentenceParams()).schema)
    DOCUMENT_EMBEDDINGS.output.check(document_embeddings(nothing, JvmEmbedParams(str(encoder))).schema)


@in_the_jvm
def test_sentences_are_where_the_text_has_them(spark: SparkSession) -> None:
    found = rows_of(document_sentences(documents(spark, TEXTS), JvmSentenceParams()))
    cuts = [[TEXTS[int(key[3:])][s.start : s.end] for s in row.sentences] for key, row in sorted(found.items())]
    assert cuts[0] == ["One two.", "Three four!", "A title", "The last line, e.g. this one."]
    assert cuts[1] == ["Smile \U0001f600 here.", "\U0001f600\U0001f600 And there.", "The end \U0001f600"]
    assert cuts[2:4] == [["Only one"], []]
    for text, pieces in zip(TEXTS, cuts, strict=True):
        assert "".join("".join(pieces).split()) == "".join(text.split())
    assert {row.engine for row in found.values()} == {"spark-nlp 5.5.3"}


@in_the_jvm
def test_tokens_are_counted_sentence_by_sentence(spark: SparkSession) -> None:
    found = rows_of(
        document_sentences(documents(spark, ("One two. Three four five!\nSix", "\n\nSeven.")), JvmSentenceParams())
    )
    assert [[s.tokens for s in row.sentences] for _, row in sorted(found.items())] == [[3, 4, 1], [2]]
    assert [row.tokens for _, row in sorted(found.items())] == [8, 2]


@in_the_jvm
def test_plain_prose_is_cut_as_our_own_engine_cuts_it(spark: SparkSession) -> None:
    text = "The river rose. It was cold, and nobody came! Who knew?\nA title\nThe last line ends here."
    row = rows_of(document_sentences(documents(spark, (text,)), JvmSentenceParams()))["doc0000"]
    assert [tuple(sentence) for sentence in row.sentences] == sentences.sentences(text)


@in_the_jvm
def test_an_encoder_gives_the_mean_of_its_token_states(spark: SparkSession, encoder: Path) -> None:
    wanted = {
        "The cats sat on the mat.": ("the", "cat", "##s", "sat", "on", "the", "mat", "."),
        "caf\u00e9\u00a0\u201cdog\u201d": ("cafe", "\u201c", "dog", "\u201d"),
        "\u4e16\u754c cat\u00adcat": ("\u4e16", "\u754c", "[UNK]"),
        "cat\tdog\n\n-cat, cat": ("cat", "dog", "-", "cat", ",", "cat"),
        "cat " * 40: ("cat",) * 14,  # the window has 16 tokens
    }
    params = JvmEmbedParams(str(encoder)).pinned()
    found = rows_of(document_embeddings(documents(spark, (*wanted, " ", None)).repartition(2), params))
    assert len(found) == len(wanted)
    for number, pieces in enumerate(wanted.values()):
        row = found[f"doc{number:04}"]
        assert row.model == params.name
        assert np.allclose(row.embedding, mean_of(*pieces), atol=1e-5), pieces


@in_the_jvm
def test_a_model_that_changed_since_the_plan_is_refused(spark: SparkSession, encoder: Path) -> None:
    with pytest.raises(ModelError, match="is another model than when the run was planned"):
        document_embeddings(documents(spark, ("a",)), JvmEmbedParams(str(encoder), digest="0" * 64))


def two_topics() -> tuple[str, ...]:
    """Texts of two topics by turns, each of other words than its neighbours."""
    draw = np.random.default_rng(3)
    topics = (
        "river water flood bank boat fish bridge rain stream lake mud reed dam ferry",
        "stock market bank price trade share fund bond profit loss rate tax debt yield",
    )
    return tuple(" ".join(draw.choice(topics[number % 2].split(), 40)) for number in range(60))


@pytest.fixture(scope="module")
def learned(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Doc2Vec model of two topics, in the JVM."""
    from etl.learn import doc2vec

    folder = tmp_path_factory.mktemp("doc2vec") / "topics"
    doc2vec.train(documents(spark, two_topics()), doc2vec.Doc2VecParams(dimensions=16, min_count=1), str(folder))
    return str(folder)


@in_the_jvm
def test_doc2vec_puts_texts_of_a_topic_together(spark: SparkSession, learned: str) -> None:
    params = JvmEmbedParams(learned)
    found = rows_of(document_embeddings(documents(spark, (*two_topics(), "Nothing known")), params))
    vectors = np.asarray([found[f"doc{number:04}"].embedding for number in range(60)])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert "doc0060" not in found, "there is no unit vector of no word"
    cosines = vectors @ vectors.T
    assert cosines[::2, ::2].min() > cosines[::2, 1::2].max()


@in_the_jvm
def test_doc2vec_learns_the_same_from_other_partitions(spark: SparkSession, learned: str, tmp_path: Path) -> None:
    from etl.learn import doc2vec

    again = documents(spark, two_topics()).repartition(5)
    doc2vec.train(again, doc2vec.Doc2VecParams(dimensions=16, min_count=1), str(tmp_path / "topics"))
    few = documents(spark, two_topics()[:6])
    first, second = (
        rows_of(document_embeddings(few, JvmEmbedParams(folder))) for folder in (learned, str(tmp_path / "topics"))
    )
    assert {key: row.embedding for key, row in first.items()} == {key: row.embedding for key, row in second.items()}


@in_the_jvm
def test_semantic_duplicates_are_found_among_vectors_of_the_jvm(spark: SparkSession, learned: str) -> None:
    texts = two_topics()[:20]
    params = JvmEmbedParams(learned)
    made = document_embeddings(documents(spark, (*texts, texts[0], texts[3] + " river")), params)
    vectors = spark.createDataFrame(made.collect(), tables.DOCUMENT_EMBEDDINGS.schema)
    semantic = SemanticParams(params.name, min_similarity=0.99, cells=2)
    none = spark.createDataFrame([], tables.SEMANTIC_CENTROIDS.schema)
    centroids = spark.createDataFrame(
        semantic_centroids(vectors, none, semantic).collect(), tables.SEMANTIC_CENTROIDS.schema
    )
    pairs = {(row.left_id, row.right_id) for row in semantic_pairs(vectors, centroids, semantic).collect()}
    assert ("doc0000", "doc0020") in pairs
    assert ("doc0000", "doc0001") not in pairs
