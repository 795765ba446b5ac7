"""Embeddings, cells and semantic pairs on Spark: the same rows on any partitions, after any history."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from etl import tables
from etl.errors import InputError
from etl.kernels import embed, semantic
from etl.kernels.components import of_edges
from etl.models import ModelError
from etl.report.clusters import share_together
from etl.report.estimates import wilson
from etl.stages.embed import DOCUMENT_EMBEDDINGS, EmbedParams, document_embeddings
from etl.stages.semantic import (
    SEMANTIC_CENTROIDS,
    SEMANTIC_PAIRS,
    SemanticParams,
    require_centroids,
    semantic_centroids,
    semantic_pairs,
)
from tests.kernels.test_embed import folder  # noqa: F401  the tiny model is a fixture
from tests.kernels.test_semantic import alike, brute_force

MODEL = "tiny@1"
PARAMS = SemanticParams(MODEL, min_similarity=0.8, cells=6, max_rows=64, neighbors=1000)
Key = tuple[str, str]


def doc_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:12]


def rows_of(vectors: semantic.Vectors, model: str = MODEL) -> list[tuple[str, str, str, list[float]]]:
    return [(doc_id(number), "a.warc.gz", model, vector.tolist()) for number, vector in enumerate(vectors)]


def embeddings(spark: SparkSession, rows: list[Any], partitions: int = 2) -> DataFrame:
    return spark.createDataFrame(rows, DOCUMENT_EMBEDDINGS.output.schema).repartition(partitions)


def nothing(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], SEMANTIC_CENTROIDS.output.schema)


def stored(spark: SparkSession, centroids: DataFrame) -> DataFrame:
    """Rows as a table holds them, made once."""
    return spark.createDataFrame(centroids.collect(), SEMANTIC_CENTROIDS.output.schema)


def found(pairs: DataFrame) -> dict[Key, tuple[int, float]]:
    rows = pairs.collect()
    result = {(row.left_id, row.right_id): (row.cell, row.similarity) for row in rows}
    assert len(result) == len(rows)
    assert all(left < right for left, right in result)
    return result


VECTORS = alike(300, 25, 0.25, dimensions=32)


@pytest.fixture(scope="module")
def centroids(spark: SparkSession) -> DataFrame:
    return stored(spark, semantic_centroids(embeddings(spark, rows_of(VECTORS)), nothing(spark), PARAMS))


@pytest.fixture(scope="module")
def pairs(spark: SparkSession, centroids: DataFrame) -> dict[Key, tuple[int, float]]:
    return found(semantic_pairs(embeddings(spark, rows_of(VECTORS)), centroids, PARAMS))


def test_stages_keep_their_contracts(spark: SparkSession) -> None:
    documents = spark.createDataFrame([], tables.DOCUMENTS.schema)
    vectors = spark.createDataFrame([], DOCUMENT_EMBEDDINGS.output.schema)
    DOCUMENT_EMBEDDINGS.output.check(document_embeddings(documents, EmbedParams()).schema)
    SEMANTIC_CENTROIDS.output.check(semantic_centroids(vectors, nothing(spark), PARAMS).schema)
    SEMANTIC_PAIRS.output.check(semantic_pairs(vectors, nothing(spark), PARAMS).schema)


def test_pairs_are_those_of_brute_force_that_share_a_cell(pairs: dict[Key, tuple[int, float]]) -> None:
    every = {
        (min(doc_id(left), doc_id(right)), max(doc_id(left), doc_id(right))): similarity
        for (left, right), similarity in brute_force(VECTORS, PARAMS.min_similarity).items()
    }
    assert len(every) > 500
    assert pairs.keys() <= every.keys()
    assert len(pairs) >= 0.99 * len(every)
    for key, (_, similarity) in pairs.items():
        assert similarity == pytest.approx(every[key], abs=2e-6)


@pytest.mark.parametrize("partitions", [1, 4])
def test_partitions_and_order_of_rows_change_nothing(
    spark: SparkSession, centroids: DataFrame, pairs: dict[Key, tuple[int, float]], partitions: int
) -> None:
    vectors = embeddings(spark, rows_of(VECTORS)[::-1], partitions)
    assert (
        semantic_centroids(vectors, nothing(spark), PARAMS).sort("cell").collect() == centroids.sort("cell").collect()
    )
    assert found(semantic_pairs(vectors, centroids, PARAMS)) == pairs


def test_new_documents_find_their_cells_among_stored_centroids_and_lose_no_pair(
    spark: SparkSession, centroids: DataFrame, pairs: dict[Key, tuple[int, float]]
) -> None:
    grown = rows_of(np.concatenate([VECTORS, alike(60, 25, 0.25, seed=1, dimensions=32)]))
    kept = semantic_centroids(embeddings(spark, grown), centroids, PARAMS)
    assert sorted(kept.collect()) == sorted(centroids.collect())
    later = found(semantic_pairs(embeddings(spark, grown), centroids, PARAMS))
    assert pairs.items() <= later.items()
    assert len(later) > len(pairs)


def test_documents_that_go_take_their_pairs_with_them(
    spark: SparkSession, centroids: DataFrame, pairs: dict[Key, tuple[int, float]]
) -> None:
    rows = rows_of(VECTORS)
    gone = {row[0] for row in rows[:50]}
    left = found(semantic_pairs(embeddings(spark, rows[50:]), centroids, PARAMS))
    assert left == {key: value for key, value in pairs.items() if not gone & set(key)}


def test_copies_are_pairs_with_the_first_of_them_alone(spark: SparkSession, centroids: DataFrame) -> None:
    copies = np.repeat(VECTORS[:1], 500, axis=0)
    rows = rows_of(np.concatenate([copies, VECTORS[1:100]]))
    first = min(row[0] for row in rows[:500])
    copied = {row[0] for row in rows[:500]}
    among = {key: value for key, value in found(semantic_pairs(embeddings(spark, rows), centroids, PARAMS)).items()
             if copied >= set(key)}  # fmt: skip
    assert among.keys() == {(first, name) for name in copied - {first}}
    assert {similarity for _, similarity in among.values()} == {1.0}


def test_other_params_of_training_train_again_and_those_of_pairs_do_not(
    spark: SparkSession, centroids: DataFrame
) -> None:
    vectors = embeddings(spark, rows_of(VECTORS))
    again = semantic_centroids(vectors, centroids, SemanticParams(MODEL, cells=6, generation=1)).collect()
    assert {row.training for row in again} != {row.training for row in centroids.collect()}
    same = semantic_centroids(vectors, centroids, SemanticParams(MODEL, cells=6, min_similarity=0.95, probes=1))
    assert sorted(same.collect()) == sorted(centroids.collect())


def test_vectors_of_another_model_are_not_compared(
    spark: SparkSession, centroids: DataFrame, pairs: dict[Key, tuple[int, float]]
) -> None:
    other = [(f"other-{name}", *rest) for name, *rest in rows_of(VECTORS[:20], "other@1")]
    assert found(semantic_pairs(embeddings(spark, rows_of(VECTORS) + other), centroids, PARAMS)) == pairs


def test_documents_without_centroids_are_refused(spark: SparkSession, centroids: DataFrame) -> None:
    vectors = embeddings(spark, rows_of(VECTORS[:3]))
    with pytest.raises(InputError, match=f"no centroids of {MODEL} in semantic_centroids"):
        require_centroids(vectors, nothing(spark), PARAMS)
    require_centroids(vectors, centroids, PARAMS)
    require_centroids(vectors.where("false"), nothing(spark), PARAMS)


def test_all_impossible_params_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"min_similarity is 0, .*probes is 3, .*neighbors is 0, .*cells is 0"):
        SemanticParams(MODEL, min_similarity=0, probes=3, neighbors=0, cells=0)
    with pytest.raises(ValueError, match="windows is 0, wanted at least 1"):
        EmbedParams(windows=0)


TEXTS = [("a", "the lake is deep"), ("b", " \n"), ("c", None), ("d", "rows"), ("e", "the lake is deep")]


def documents(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(
        [(name, "a.warc.gz", text) for name, text in TEXTS], "doc_id string, warc_filename string, text string"
    )


@pytest.mark.slow  # a worker imports PyTorch and transformers: ten seconds of CPU
def test_documents_with_text_have_the_vectors_of_the_kernel(spark: SparkSession, folder: Path) -> None:  # noqa: F811
    params = EmbedParams(str(folder)).pinned()
    rows = {row.doc_id: row for row in document_embeddings(documents(spark).coalesce(1), params).collect()}
    assert rows.keys() == {"a", "d", "e"}
    expected = embed.embed(["the lake is deep", "rows"], params.settings())
    for name, vector in zip("ad", expected, strict=True):
        np.testing.assert_allclose(rows[name].embedding, vector, atol=1e-6)
    assert rows["a"].embedding == rows["e"].embedding
    assert {row.model for row in rows.values()} == {params.name}


def test_another_model_is_another_fingerprint_and_a_worker_that_has_it_fails(
    spark: SparkSession,
    folder: Path,  # noqa: F811
) -> None:
    pinned = EmbedParams(str(folder)).pinned()
    assert DOCUMENT_EMBEDDINGS.fingerprint(pinned) != DOCUMENT_EMBEDDINGS.fingerprint(EmbedParams(str(folder)))
    with pytest.raises(Exception, match="is another model on this worker") as error:
        document_embeddings(documents(spark).coalesce(1), EmbedParams(str(folder), digest="0" * 64)).collect()
    assert ModelError.__name__ in str(error.value)


def test_the_share_that_is_found_together_is_measured_against_all_pairs(
    spark: SparkSession, pairs: dict[Key, tuple[int, float]]
) -> None:
    vectors = embeddings(spark, rows_of(VECTORS))
    nodes = sorted({name for pair in pairs for name in pair})
    joined = of_edges(*(pa.array([pair[side] for pair in pairs]) for side in (0, 1)))
    cluster_of = dict(zip(joined["node"].to_pylist(), joined["component"].to_pylist(), strict=True))
    lost = nodes[0]
    clusters = [("semantic", name, cluster_of[name], 2, None) for name in nodes if name != lost]
    rows = spark.createDataFrame(clusters, tables.DUPLICATE_CLUSTERS.schema)
    likes: defaultdict[str, set[str]] = defaultdict(set)
    for left, right in brute_force(VECTORS, PARAMS.min_similarity):
        likes[doc_id(left)].add(doc_id(right))
        likes[doc_id(right)].add(doc_id(left))
    together = {
        name
        for name, others in likes.items()
        if name != lost and lost not in others and {cluster_of.get(other) for other in others} == {cluster_of.get(name)}
    }
    share = share_together(vectors, rows, PARAMS.min_similarity, drawn=len(VECTORS))
    assert share == wilson(len(together), len(likes)) and share is not None and 0 < share.value < 1
    fewer = share_together(vectors, rows, PARAMS.min_similarity, drawn=40)
    assert fewer is not None and 0 < fewer.n <= 40
    assert share_together(vectors.where("false"), rows, PARAMS.min_similarity) is None
