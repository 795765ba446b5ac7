"""Training sets: the same rows in the same order, whatever the partitions."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from etl.stages.mix import Mixture, Source, TrainingSetParams, content, training_documents


def corpus_of(spark: SparkSession, n: int) -> DataFrame:
    rows = [
        ("r", f"{hashlib.md5(str(i).encode()).hexdigest()}", f"text {i}", "en" if i % 3 else "de", 5 + i % 7)
        for i in range(n)
    ]
    rows.append(("another recipe", "0" * 32, "not ours", "en", 1))
    return spark.createDataFrame(rows, "recipe string, doc_id string, text string, language string, tokens bigint")


def drawn(corpus: DataFrame, mixture: Mixture) -> list[tuple[Any, ...]]:
    rows = training_documents(corpus, TrainingSetParams("set", "r", mixture)).orderBy("position").collect()
    assert [row["position"] for row in rows] == list(range(len(rows)))
    return [(row["source"], row["doc_id"], row["text"], row["tokens"]) for row in rows]


ALL = Mixture("all", (Source("web"),))
TWO = Mixture(
    "two", (Source("german", "language = 'de'", 0.25), Source("english", "language = 'en'", 0.75)), tokens=1600
)


@pytest.mark.parametrize("mixture", [ALL, TWO], ids=lambda mixture: mixture.name)
def test_any_number_of_partitions_gives_the_same_bytes(spark: SparkSession, mixture: Mixture) -> None:
    corpus = corpus_of(spark, 400).localCheckpoint()
    hashes = set()
    for partitions in (1, 2, 4, 7):
        rows = training_documents(corpus.repartition(partitions), TrainingSetParams("set", "r", mixture))
        row = content(rows.repartition(partitions)).collect()[0]
        hashes.add((row["content_hash"], row["documents"], row["tokens"]))
    assert len(hashes) == 1


def test_order_is_that_of_the_hashed_ids(spark: SparkSession) -> None:
    found = [doc_id for _, doc_id, _, _ in drawn(corpus_of(spark, 300), ALL)]
    assert found == sorted(found, key=lambda doc_id: hashlib.sha256(f"1 {doc_id}".encode()).hexdigest())
    assert len(found) == 300


def test_another_seed_is_another_order_of_the_same_documents(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 60)
    first, second = drawn(corpus, ALL), drawn(corpus, Mixture("all", (Source("web"),), seed=2))
    assert first != second
    assert sorted(first) == sorted(second)


def test_each_source_fills_its_share(spark: SparkSession) -> None:
    rows = drawn(corpus_of(spark, 400), TWO)
    sums = {name: sum(t for source, _, _, t in rows if source == name) for name in ("german", "english")}
    assert 400 - 11 < sums["german"] <= 400
    assert 1200 - 11 < sums["english"] <= 1200


def test_a_smaller_budget_is_a_prefix_of_a_larger_one(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 200)
    small, large = (drawn(corpus, Mixture("m", (Source("web"),), tokens=n)) for n in (300, 900))
    assert small == large[: len(small)]
    assert 0 < len(small) < len(large)


def test_a_document_is_drawn_for_the_first_source_it_fits(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("few", "tokens < 7", 0.5), Source("rest", "true", 0.5)), tokens=10**6)
    rows = drawn(corpus_of(spark, 100), mixture)
    assert len(rows) == 100
    assert all((source == "few") == (count < 7) for source, _, _, count in rows)


def test_the_hash_sees_text_and_order(spark: SparkSession) -> None:
    schema = "position bigint, source string, doc_id string, text string, tokens bigint"
    rows = [(0, "w", "a", "x", 1), (1, "w", "b", "y", 1)]
    variants = [rows, [(0, "w", "b", "y", 1), (1, "w", "a", "x", 1)], [(0, "w", "a", "x", 1), (1, "w", "b", "z", 1)]]
    hashes = {content(spark.createDataFrame(variant, schema)).collect()[0]["content_hash"] for variant in variants}
    assert len(hashes) == 3


def test_an_empty_set_has_a_hash(spark: SparkSession) -> None:
    row = content(training_documents(corpus_of(spark, 0), TrainingSetParams("set", "r", ALL))).collect()[0]
    assert (len(row["content_hash"]), row["documents"], row["tokens"]) == (64, 0, 0)
