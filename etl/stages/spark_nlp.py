"""Sentences and embeddings within the JVM, by Spark NLP: for clusters whose workers have no Python wheels of ours.

The tables are those of `etl.stages.sentences` and `etl.stages.embed`, so whatever reads them, such as semantic
duplicates, does not see a difference but the name of engine or model. Texts never leave the JVM: what Spark NLP
counts in UTF-16 units, cleans or scales differently is put right in SQL.

It needs a classic session with the jar of Spark NLP (`etl.session.SessionConfig.nlp`, ``conf/spark/nlp.conf``) and, on
the driver alone, its Python package: the extra `nlp`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.ml import Pipeline
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import models, tables
from etl.config import STRICT
from etl.errors import SessionError
from etl.models import ModelError
from etl.stage import Stage, digest

ONNX, VOCABULARY, ENCODER, VECTORS = "model.onnx", "assets/vocab.txt", "encoder.json", "fields/wordVectors"
MAX_TOKENS = 512  # of BERT, where the folder of the model does not say
SCAN_CHARACTERS = 16  # of a text, for each token of the window: as in `etl.kernels.embed`

_VERSION = 1  # of what is done to texts and vectors here: part of the name of vectors
_BLANK = r"[\s\p{Z}]"
_UNSEEN = r"[\p{Cc}\p{Cf}\p{Co}\uFFFD]"


@dataclass(frozen=True)
class JvmEmbedParams:
    """A model that Spark NLP turns into vectors: a folder that the driver can read.

    Either ``model.onnx`` with ``assets/vocab.txt``, a BERT encoder without capitals such as all-MiniLM-L6-v2, whose
    token states are averaged (`etl.learn.onnx_encoder` writes one); `max_tokens` is its window (None: what
    ``encoder.json`` beside it says, else 512). Or a saved Doc2Vec model (`etl.learn.doc2vec`), which has no window.

    `digest` is what decided the vectors when the run was planned; `pinned` fills it in.
    """

    __pydantic_config__ = STRICT

    model: str
    max_tokens: int | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 8:
            raise ValueError(f"max_tokens is {self.max_tokens}, wanted at least 8")

    def pinned(self) -> JvmEmbedParams:
        """This model as it is now.

        Raises:
            ModelError: the folder holds no model of either kind.
        """
        return replace(self, digest=model_digest(self))

    @property
    def name(self) -> str:
        """The value of `model` in the tables that are made with these params; needs the files of the model."""
        return f"{Path(self.model).name}@{model_digest(self)[:12]}"


@dataclass(frozen=True)
class JvmSentenceParams:
    """How Spark NLP cuts: with `abbreviations`, the period after one that it knows ends no sentence."""

    __pydantic_config__ = STRICT

    abbreviations: bool = True


def document_sentences(documents: DataFrame, params: JvmSentenceParams) -> DataFrame:
    """One row per document with text: where its sentences stand. A line break ends one, as in our own engine.

    Raises:
        SessionError: Spark NLP is missing.
    """
    base, annotator = annotators(documents)
    texts = documents.where(F.col("text").isNotNull()).select("doc_id", "warc_filename", "text")
    stages = [
        base.DocumentAssembler().setInputCol("text").setOutputCol("document"),
        annotator.SentenceDetector()
        .setInputCols(["document"])
        .setOutputCol("sentence")
        .setUseAbbreviations(params.abbreviations)
        .setCustomBounds(["\n"]),
        annotator.Tokenizer().setInputCols(["sentence"]).setOutputCol("token"),
    ]
    cut = Pipeline(stages=stages).fit(texts).transform(texts)
    placed = cut.select("doc_id", "warc_filename", _places().alias("sentences"))
    tokens = F.aggregate("sentences", F.lit(0).cast("bigint"), lambda total, sentence: total + sentence["tokens"])
    return placed.select(
        "doc_id", "warc_filename", F.lit(_engine()).alias("engine"), "sentences", tokens.alias("tokens")
    )


def document_embeddings(documents: DataFrame, params: JvmEmbedParams) -> DataFrame:
    """One row per document with text: its vector. Doc2Vec has none for a document without a word that it knows.

    Raises:
        ModelError: the model is missing, or is another than when the run was planned.
        SessionError: Spark NLP is missing.
    """
    found = model_digest(params)
    if params.digest is not None and found != params.digest:
        raise ModelError(
            f"document_embeddings: {params.model} is another model than when the run was planned: {found[:12]}, "
            f"wanted {params.digest[:12]}"
        )
    texts = documents.where(F.col("text").rlike(r"\S")).select("doc_id", "warc_filename", "text")
    vectors = _by_encoder(texts, params) if _is_encoder(params) else _by_doc2vec(texts, params)
    units = F.transform("vectors", lambda annotation: _unit(annotation["embeddings"]))
    # An annotator gives one annotation a document, or none. A filter on `units` would be asked before them, and so make
    # the vectors twice; on what `explode_outer` gives it is not.
    made = vectors.select("doc_id", "warc_filename", F.explode_outer(units).alias("embedding"))
    return made.where(F.col("embedding").isNotNull()).select(
        "doc_id", "warc_filename", F.lit(params.name).alias("model"), "embedding"
    )


def annotators(documents: DataFrame) -> tuple[Any, Any]:
    """Spark NLP's modules `base` and `annotator`, able to run in the session of `documents`.

    Raises:
        SessionError: the package or its jar is missing, or the session has no JVM of its own.
    """
    try:
        from sparknlp import annotator, base
    except ImportError as error:
        raise SessionError(
            f"Spark NLP needs the extra `nlp` on the driver: {error}; pip install 'goldenlake[nlp]'"
        ) from error
    if ".connect." in type(documents).__module__:
        raise SessionError("Spark NLP needs a classic session: Spark Connect does not reach the JVM")
    try:
        base.DocumentAssembler()
    except TypeError as error:  # py4j's way of saying that there is no such class
        version = documents.sparkSession.version
        raise SessionError(
            f"this Spark {version} session has no jar of Spark NLP; start it with GOLDENLAKE_SPARK_NLP=1 or "
            f"--properties-file conf/spark/nlp.conf, on Spark 3.5, for which there is a public one"
        ) from error
    return base, annotator


def tokenized(documents: DataFrame) -> list[Any]:
    """Annotators from column `text` to `token`, for Doc2Vec: of the whole document, without capitals."""
    base, annotator = annotators(documents)
    return [
        base.DocumentAssembler().setInputCol("text").setOutputCol("document"),
        annotator.Tokenizer().setInputCols(["document"]).setOutputCol("token"),
    ]


def lowered(documents: DataFrame) -> DataFrame:
    """Documents with text, as `tokenized` wants them."""
    texts = documents.where(F.col("text").rlike(r"\S"))
    return texts.withColumn("text", F.lower("text"))


def model_digest(params: JvmEmbedParams) -> str:
    """SHA-256 of what decides the vectors: weights, vocabulary and window.

    Raises:
        ModelError: the folder holds no model of either kind.
    """
    folder = Path(params.model)
    if _is_encoder(params):
        files = [folder / ONNX, folder / VOCABULARY]
        how: list[Any] = ["bert", _window(params)]
    else:
        # Spark names the parts, so their order says nothing; what is in `metadata` changes with every save.
        files = sorted((folder / VECTORS).glob("part-*"))
        how = ["doc2vec"]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise ModelError(
            f"{params.model}: {', '.join(missing) or 'no model'} found missing; wanted a folder with {ONNX} and "
            f"{VOCABULARY}, or a saved Doc2Vec model with {VECTORS}"
        )
    hashes = sorted(models.sha256(file) for file in files)
    return digest([_VERSION, *how, *hashes])


def _is_encoder(params: JvmEmbedParams) -> bool:
    return (Path(params.model) / ONNX).is_file()


def _window(params: JvmEmbedParams) -> int:
    if params.max_tokens is not None:
        return params.max_tokens
    try:
        said = json.loads((Path(params.model) / ENCODER).read_text(encoding="utf-8"))
        return int(said["max_tokens"])
    except FileNotFoundError:
        return MAX_TOKENS
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{params.model}/{ENCODER}: wanted JSON with max_tokens, found: {error}") from error


def _by_encoder(texts: DataFrame, params: JvmEmbedParams) -> DataFrame:
    base, annotator = annotators(texts)
    window = _window(params)
    # The tokenizer of Spark NLP splits at ASCII blanks and marks only; BERT's at those of Unicode, and it drops signs
    # that are not seen.
    head = F.substring("text", 1, SCAN_CHARACTERS * window)
    seen = F.regexp_replace(F.regexp_replace(head, _BLANK, " "), _UNSEEN, "")
    parted = F.regexp_replace(seen, r"\p{P}", " $0 ")
    encoder = annotator.E5Embeddings.loadSavedModel(str(Path(params.model).resolve()), texts.sparkSession)
    stages = [
        base.DocumentAssembler().setInputCol("text").setOutputCol("document"),
        encoder.setInputCols(["document"])
        .setOutputCol("vectors")
        .setCaseSensitive(False)
        .setMaxSentenceLength(window)
        # In a batch of several texts it averages the wrong tokens for all but the first, in 5.5.3.
        .setBatchSize(1),
    ]
    cleaned = texts.select("doc_id", "warc_filename", parted.alias("text"))
    return Pipeline(stages=stages).fit(cleaned).transform(cleaned)


def _by_doc2vec(texts: DataFrame, params: JvmEmbedParams) -> DataFrame:
    _, annotator = annotators(texts)
    model = annotator.Doc2VecModel.load(str(Path(params.model).resolve()))
    stages = [*tokenized(texts), model.setInputCols(["token"]).setOutputCol("vectors")]
    words = lowered(texts)
    return Pipeline(stages=stages).fit(words).transform(words)


def _unit(vector: Column) -> Column:
    """The vector at unit length, or null where it has no direction."""
    squares = F.aggregate(vector, F.lit(0.0), lambda total, value: total + value.cast("double") * value)
    scaled = _let(F.sqrt(squares), lambda length: F.transform(vector, lambda value: (value / length).cast("float")))
    return F.when(squares > 0, scaled)


def _engine() -> str:
    import sparknlp

    return f"spark-nlp {sparknlp.version()}"


def _let(value: Column, use: Callable[[Column], Column]) -> Column:
    """``use(value)`` with the value computed once: within a lambda Spark computes what is outside for each element."""
    return F.element_at(F.transform(F.array(value), use), 1)


def _places() -> Column:
    """Sentences by their characters. Spark NLP counts UTF-16 units, of which an emoji has two, and includes the end."""

    def excess(sentence: Column) -> Column:
        return sentence["end"] - sentence["begin"] + 1 - F.length(sentence["result"])

    def placed(longer: Column) -> Column:
        def place(sentence: Column, tokens: Column) -> Column:
            before = F.filter(longer, lambda other: other["begin"] < sentence["begin"])
            start = sentence["begin"] - F.aggregate(before, F.lit(0), lambda total, other: total + other["excess"])
            return F.struct(
                start.cast("bigint").alias("start"),
                (start + F.length(sentence["result"])).cast("bigint").alias("end"),
                F.coalesce(tokens, F.lit(0)).cast("bigint").alias("tokens"),
            )

        # An empty drawing still has one part, and sentences without tokens at the end have none.
        counts = F.slice(_tokens_by_sentence(), 1, F.size("sentence"))
        return F.zip_with("sentence", counts, place)

    measured = F.transform("sentence", lambda sentence: F.struct(sentence["begin"], excess(sentence).alias("excess")))
    return _let(F.filter(measured, lambda sentence: sentence["excess"] > 0), placed)


def _tokens_by_sentence() -> Column:
    """Tokens of each sentence, as an array. Tokens come in the order of the text and say the number of their sentence.

    A dot for each token, and a bar wherever the next sentence starts: splitting that takes linear time, where looking
    for the tokens of each sentence would take the product of both.
    """

    def drawn(numbers: Column) -> Column:
        def draw(number: Column, place: Column) -> Column:
            # F.repeat of Spark 3.5 takes no column as its number.
            steps = number - F.when(place > 0, numbers[place - 1]).otherwise(F.lit(0))
            return F.when(steps == 0, F.lit(".")).otherwise(
                F.concat(F.call_function("repeat", F.lit("|"), steps), F.lit("."))
            )

        return F.array_join(F.transform(numbers, draw), "")

    numbers = F.transform("token", lambda token: token["metadata"]["sentence"].cast("int"))
    return F.transform(F.split(_let(numbers, drawn), r"\|"), F.length)


DOCUMENT_SENTENCES = Stage(
    document_sentences, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_SENTENCES, params=JvmSentenceParams
)
DOCUMENT_EMBEDDINGS = Stage(
    document_embeddings, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_EMBEDDINGS, params=JvmEmbedParams
)
