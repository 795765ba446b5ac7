"""Documents are scored once by each model, and models are asked only about documents that need them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from etl import config, tables
from etl.errors import ConfigError
from etl.kernels import fasttext_classifier, perspective, quality_model
from etl.kernels.perspective import Settings as PerspectiveSettings
from etl.models import ModelError
from etl.runner import Runner
from etl.stages import score
from etl.stages.score import DOCUMENT_SCORES, ScoreParams, Scorer, document_scores, waiting
from tests.conftest import runner_on
from tests.kernels.test_perspective import KEY, Service, service  # noqa: F401  it is a fixture
from tests.stages.test_curate import rows

GOOD = "Water rises in a narrow tube because its molecules hold to the glass."
BAD = "Buy cheap watches now, best price, click here."


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A small real model: fastText, trained on two sentences."""
    folder = tmp_path_factory.mktemp("model")
    lines = folder / "lines.txt"
    lines.write_text(f"__label__good {GOOD}\n__label__bad {BAD}\n" * 20)
    model = fasttext.train_supervised(str(lines), epoch=20, dim=4, bucket=100, minCount=1, thread=1, verbose=0)
    path = folder / "model.bin"
    model.save_model(str(path))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    settings = fasttext_classifier.Settings(str(path), sha256, label="good")
    return Scorer("good", "tells two sentences apart", "these tests", scope="all", fasttext=settings).pinned()


def documents(spark: SparkSession, **texts: str | None) -> DataFrame:
    """Rows of documents; the hash of a text is the text, and the archive the first letter of the id."""
    return rows(
        spark,
        tables.DOCUMENTS,
        *[
            {"doc_id": doc_id, "warc_filename": doc_id[0], "text": text, "text_hash": text}
            | ({"extract_error": "empty: "} if text is None else {})
            for doc_id, text in texts.items()
        ],
    )


def scored(spark: SparkSession, *given: dict[str, Any]) -> DataFrame:
    return rows(spark, tables.DOCUMENT_SCORES, *given)


def undecided(spark: SparkSession, *given: dict[str, Any]) -> DataFrame:
    return rows(spark, tables.DISPOSITIONS, *given)


def by_id(found: DataFrame) -> dict[str, Row]:
    collected = found.collect()
    assert len({row["doc_id"] for row in collected}) == len(collected)
    return {row["doc_id"]: row for row in collected}


def test_every_document_with_text_has_a_row(spark: SparkSession, scorer: Scorer) -> None:
    texts = documents(spark, a1=GOOD, a2=BAD, a3=None, a4=" ")
    found = by_id(document_scores(texts, undecided(spark), scored(spark), ScoreParams(scorer)))
    assert set(found) == {"a1", "a2", "a4"}
    assert found["a1"]["score"] > 0.9 > 0.1 > found["a2"]["score"]
    assert {row["model"] for row in found.values()} == {scorer.model}
    assert (found["a4"]["score"], found["a4"]["error"]) == (None, "empty: no word")


def test_a_document_is_scored_again_only_when_its_text_has_changed(spark: SparkSession, scorer: Scorer) -> None:
    old = {"warc_filename": "a", "scorer": "good", "model": scorer.model, "score": 0.125}
    known = scored(
        spark,
        {**old, "doc_id": "a1", "text_hash": GOOD},
        {**old, "doc_id": "a2", "text_hash": "what stood there"},
        {**old, "doc_id": "a3", "text_hash": GOOD, "model": "good@another"},
        {**old, "doc_id": "gone", "text_hash": GOOD},
    )
    texts = documents(spark, a1=GOOD, a2=GOOD, a3=GOOD)
    params = ScoreParams(scorer)
    assert {row["doc_id"] for row in waiting(texts, undecided(spark), known, params).collect()} == {"a2", "a3"}
    found = by_id(document_scores(texts, undecided(spark), known, params))
    assert set(found) == {"a1", "a2", "a3"}, "and the score of a document that is gone goes too"
    assert found["a1"]["score"] == 0.125 and found["a2"]["score"] > 0.9 and found["a3"]["score"] > 0.9


def test_a_dear_model_scores_what_its_recipe_waits_for(spark: SparkSession, scorer: Scorer) -> None:
    dear = replace(scorer, scope="survivors")
    waits = {"recipe": "r", "rule": "not_scored", "signal": "good"}
    decided = undecided(
        spark,
        {**waits, "doc_id": "a1"},
        {**waits, "doc_id": "a2", "signal": "edu"},
        {**waits, "doc_id": "a3", "recipe": "another"},
        {**waits, "doc_id": "a4", "rule": "min_words"},
    )
    texts = documents(spark, a1=GOOD, a2=GOOD, a3=GOOD, a4=GOOD)
    assert set(by_id(document_scores(texts, decided, scored(spark), ScoreParams(dear, "r")))) == {"a1"}


def test_scores_do_not_depend_on_partitions(spark: SparkSession, scorer: Scorer) -> None:
    texts = documents(spark, **{f"a{place}": f"{GOOD} {BAD}"[place:] for place in range(40)})
    found = [
        by_id(document_scores(texts.repartition(parts), undecided(spark), scored(spark), ScoreParams(scorer)))
        for parts in (1, 2, 4)
    ]
    assert found[0] == found[1] == found[2]


@pytest.fixture(scope="module")
def runner(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A lake with three documents of two archives."""
    runner = runner_on(spark, tmp_path_factory.mktemp("scores"), "scores")
    texts = documents(spark, a1=GOOD, a2=BAD, b1=GOOD)
    runner.lake.replace(tables.DOCUMENTS, texts, {"warc_filename": ["a", "b"]}, {})
    return runner


def test_a_new_model_adds_rows_and_changes_none(runner: Runner, scorer: Scorer) -> None:
    def scored_by(by: Scorer) -> int:
        runner.by_document(DOCUMENT_SCORES, ScoreParams(by), {"model": by.model})
        return runner.lake.version(tables.DOCUMENT_SCORES)

    first = scored_by(scorer)
    assert scored_by(scorer) == first, "nothing is written when nothing waits"
    before = {tuple(row) for row in runner.lake.read(tables.DOCUMENT_SCORES).drop("spans").collect()}
    assert len(before) == 3
    settings = scorer.settings
    other = replace(scorer, fasttext=replace(settings, label="bad"), digest=None).pinned()
    assert other.model != scorer.model
    assert scored_by(other) > first
    after = {tuple(row) for row in runner.lake.read(tables.DOCUMENT_SCORES).drop("spans").collect()}
    assert before < after and len(after) == 6


def test_an_archive_that_a_killed_run_left_out_is_scored_by_the_next(runner: Runner, scorer: Scorer) -> None:
    lake, model = runner.lake, scorer.model
    runner.by_document(DOCUMENT_SCORES, ScoreParams(scorer), {"model": model})

    def mine() -> set[tuple[Any, ...]]:
        rows = lake.read(tables.DOCUMENT_SCORES).where(f"model = '{model}'").drop("spans")
        return {tuple(row) for row in rows.collect()}

    whole = mine()
    lake.spark.sql(f"DELETE FROM {lake.name(tables.DOCUMENT_SCORES)} WHERE warc_filename = 'b' AND model = '{model}'")
    assert len(mine()) == 2
    runner.by_document(DOCUMENT_SCORES, ScoreParams(scorer), {"model": model})
    assert mine() == whole


def test_a_worker_with_another_model_fails(spark: SparkSession, scorer: Scorer) -> None:
    planned = replace(scorer, digest="0" * 64)
    with pytest.raises(Exception, match="is another model on this worker than where the run was planned"):
        document_scores(documents(spark, a1=GOOD), undecided(spark), scored(spark), ScoreParams(planned)).collect()


def test_a_service_is_asked_on_spark_once_for_each_text(
    spark: SparkSession,
    service: Service,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answers of a run that died are on file. Workers have their environment from the driver's."""
    monkeypatch.setitem(spark.sparkContext.environment, perspective.KEY_VARIABLE, KEY)
    cache = str(tmp_path / "answers.sqlite")
    quick = PerspectiveSettings(endpoint=service.address, cache=cache, requests_per_second=100.0)  # type: ignore[attr-defined]
    scorer = Scorer("rude", "a service", "these tests", scope="all", perspective=quick).pinned()
    texts = documents(spark, a1="bad words here.", a2="good words here.", b1="bad words here.", b2=" ").repartition(3)

    def run() -> dict[str, Row]:
        return by_id(document_scores(texts, undecided(spark), scored(spark), ScoreParams(scorer)))

    found = run()
    assert {doc_id: row["score"] for doc_id, row in found.items()} == {"a1": 1 / 3, "a2": 0.0, "b1": 1 / 3, "b2": None}
    _to_check_the_key, *asked = service.texts
    assert sorted(asked) == ["bad words here.", "good words here."]
    assert found["b2"]["error"].startswith("empty") and {row["model"] for row in found.values()} == {scorer.model}
    assert run() == found
    assert len(service.asked) == 3


def test_rows_of_a_slow_service_do_not_wait_for_a_whole_batch(scorer: Scorer) -> None:
    batch = pa.RecordBatch.from_pydict({"doc_id": list(map(str, range(100)))})
    for rate, size in ((0.1, 1), (1.0, 1), (9.5, 10)):
        slow = Scorer("slow", "d", "s", perspective=perspective.Settings(requests_per_second=rate))
        parts = list(score._parts(batch, slow))
        assert {part.num_rows for part in parts} == {size}
        assert pa.Table.from_batches(parts).column(0).to_pylist() == batch.column(0).to_pylist()
    assert [part.num_rows for part in score._parts(batch, scorer)] == [100]


@pytest.mark.parametrize("name", ["quality", "toxicity", "edu", "perspective"])
def test_scorers_that_are_shipped_can_be_read(name: str) -> None:
    assert config.load(config.find("scorers", name), Scorer).name == name


def test_what_is_wrong_with_a_scorer_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("{name: words, description: d, source: s, scope: some, quality: {}, toxicity: {}}")
    with pytest.raises(ConfigError) as raised:
        config.load(path, Scorer)
    for part in ("not the name of a signal", "scope is 'some'", "engines are ['quality', 'toxicity'], wanted one of"):
        assert part in str(raised.value)


def test_a_model_that_is_missing_is_named_with_its_scorer() -> None:
    missing = fasttext_classifier.Settings("no/such/model.bin", "0" * 64)
    with pytest.raises(ModelError, match=r"scorer 'mine': .*no/such/model.bin"):
        Scorer("mine", "d", "s", fasttext=missing).pinned()


def test_a_model_has_one_name_for_what_decides_its_scores() -> None:
    one = Scorer("quality", "d", "s", quality=quality_model.Settings()).pinned()
    other = Scorer("quality", "other words", "s", scope="all", quality=quality_model.Settings()).pinned()
    assert one.model == other.model
