"""Duplicates as the report shows them: how they were found, and what there is to look at before one trusts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import config, tables
from etl.kernels import minhash, semantic
from etl.kernels.quality_score import Estimate
from etl.lake import Lake
from etl.report.estimates import wilson
from etl.stages.curate import DUPLICATES, Alarm, Preference, Recipe
from etl.stages.dedup import EXACT, MINHASH, NORMAL, PAYLOAD, SEMANTIC, ClusterParams

CLUSTERS, SOURCES = 5, 10  # rows that are shown of each method, and in all
BINS = 20  # of similarity
DRAWN = 500  # documents whose semantic duplicates are looked for among all
METHODS = {  # of `duplicate_clusters`: a name, and what its documents have in common
    PAYLOAD: ("payload", "the same bytes"),
    EXACT: ("exact", "the same text, letter by letter"),
    NORMAL: ("normal", "the same words"),
    MINHASH: ("near", "nearly the same text"),
    SEMANTIC: ("semantic", "the same meaning"),
}

Data = dict[str, Any]


def settings(lake: Lake, method: str = MINHASH) -> ClusterParams | None:
    """How the clusters of a method in the lake were made; None when no commit of ours says so."""
    metadata = lake.last_metadata(tables.DUPLICATE_CLUSTERS, {"method": [method]})
    if metadata is None:
        return None
    return config.build(metadata["params"], ClusterParams, origin=f"commit of the clusters of method {method}")


def similarities(lake: Lake) -> dict[str, float]:
    """From which similarity on documents are in one cluster, by method, where a commit of ours says so."""
    made = {method: settings(lake, method) for method in (MINHASH, SEMANTIC)}
    return {method: params.similarity for method, params in made.items() if params is not None}


@dataclass(frozen=True)
class Recall:
    """Of pairs that are similar enough, the share that shares a band and so was compared, by the curve of the geometry.

    `at`: of pairs just at the threshold. `above`: of all pairs from there on, if similarities were spread evenly.
    `here`: by the `pairs` that were found in the lake: a pair that is found with probability p stands for 1 / p pairs
    (Horvitz and Thompson 1952); None where none was found.
    """

    label: str
    similarity: float
    at: float
    above: float
    here: float | None
    pairs: int


def recall(lake: Lake, near: ClusterParams | None) -> Recall | None:
    """What the bands of the lake find of its near duplicates; None where there are no bands."""
    if near is None or near.geometry is None:
        return None
    geometry = near.geometry
    chance = 1 - F.pow(1 - F.pow(F.col("similarity"), F.lit(geometry.rows)), F.lit(geometry.bands))
    alike = _near_pairs(lake).where(F.col("similarity") >= near.similarity)
    row = alike.agg(F.count(F.lit(1)).alias("pairs"), F.sum(1 / chance).alias("stand_for")).collect()[0]
    return Recall(
        label=f"{geometry.name} ({geometry.label})",
        similarity=near.similarity,
        at=minhash.probability(near.similarity, geometry.bands, geometry.rows),
        above=minhash.curve(geometry, near.similarity).recall if near.similarity < 1 else 1.0,
        here=row["pairs"] / row["stand_for"] if row["pairs"] else None,
        pairs=row["pairs"],
    )


def semantic_recall(lake: Lake) -> Estimate | None:
    """`share_together` of the semantic clusters in the lake; None where no commit of ours says how they were made."""
    params = settings(lake, SEMANTIC)
    if params is None:
        return None
    of_model = lake.read(tables.DOCUMENT_EMBEDDINGS).where(F.col("model") == F.lit(params.model))
    return share_together(of_model, lake.read(tables.DUPLICATE_CLUSTERS), params.similarity)


def share_together(
    embeddings: DataFrame, clusters: DataFrame, similarity: float, drawn: int = DRAWN
) -> Estimate | None:
    """Of documents that have others of at least this cosine, the share that is in one semantic cluster with all of
    these: of some `drawn` by hash, each compared with every other; None where none has another.

    Pairs are looked for in cells of vectors, which is why some may be missed.
    """
    vectors = embeddings.select("doc_id", "embedding")
    sample = vectors.orderBy(F.xxhash64("doc_id"), "doc_id").limit(drawn).collect()
    if not sample:
        return None
    names = np.array([row["doc_id"] for row in sample], dtype=object)
    matrix = np.array([row["embedding"] for row in sample], dtype=np.float32)

    def compare(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            others = batch.column("doc_id").to_numpy(zero_copy_only=False)
            values = batch.column("embedding").flatten().to_numpy().reshape(-1, matrix.shape[1])
            one, other = np.nonzero(np.round(matrix @ values.T, semantic.DECIMALS) >= similarity)
            pairs = {"doc_id": pa.array(names[one], pa.string()), "other_id": pa.array(others[other], pa.string())}
            yield pa.RecordBatch.from_pydict(pairs)

    alike = vectors.mapInArrow(compare, "doc_id string, other_id string").where("doc_id != other_id")
    # Key: a document is in one cluster of a method.
    of_method = clusters.where(F.col("method") == SEMANTIC).select("doc_id", "cluster_id")
    of_other = of_method.withColumnsRenamed({"doc_id": "other_id", "cluster_id": "other_cluster"})
    both = alike.join(of_method, "doc_id", how="left").join(of_other, "other_id", how="left")
    is_together = F.coalesce(F.col("cluster_id") == F.col("other_cluster"), F.lit(False))
    found = both.groupBy("doc_id").agg(F.min(is_together).alias("together"))
    row = found.agg(F.count_if("together").alias("right"), F.count(F.lit(1)).alias("n")).collect()[0]
    return wilson(row["right"], row["n"])


def _near_pairs(lake: Lake) -> DataFrame:
    """Pairs of different sets of shingles: those of one set are found without bands."""
    pairs = lake.read(tables.DUPLICATE_PAIRS)
    return pairs.where((F.col("method") == MINHASH) & (F.col("left_set") != F.col("right_set")))


def pairs(lake: Lake, near: ClusterParams | None) -> Data | None:
    """Compared pairs by similarity: how many, how many are alike, and how many of them are in one cluster."""
    if near is None:
        return None
    compared = lake.read(tables.DUPLICATE_PAIRS).where(F.col("method") == MINHASH)
    clusters = lake.read(tables.DUPLICATE_CLUSTERS).where(F.col("method") == MINHASH)
    for side in ("left", "right"):
        # Key: a document is in one cluster of a method.
        of_side = clusters.select(F.col("doc_id").alias(f"{side}_id"), F.col("cluster_id").alias(f"{side}_cluster"))
        compared = compared.join(of_side, f"{side}_id", how="left")
    is_alike = F.col("similarity") >= near.similarity
    is_joined = F.coalesce(F.col("left_cluster") == F.col("right_cluster"), F.lit(False))
    place = F.least(F.floor(F.col("similarity") * BINS), F.lit(BINS - 1)).cast("int")
    is_copy = F.col("left_set") == F.col("right_set")
    counts = compared.groupBy(is_copy.alias("is_copy"), F.when(~is_copy, place).alias("place")).agg(
        F.count(F.lit(1)).alias("compared"),
        F.count(F.when(is_alike, 1)).alias("alike"),
        F.count(F.when(is_alike & is_joined, 1)).alias("joined"),
        F.count(F.when(~is_alike & is_joined, 1)).alias("chained"),
    )
    found = [row.asDict() for row in counts.collect()]
    near_bins = {row["place"]: row for row in found if not row["is_copy"]}
    names = ("compared", "alike", "joined", "chained")
    total = {name: sum(row[name] for row in near_bins.values()) for name in names}
    rows = [
        {
            "begin": number / BINS,
            "end": (number + 1) / BINS,
            "chance": _chance(near, (number + 0.5) / BINS),
            **{name: near_bins[number][name] if number in near_bins else 0 for name in names},
        }
        for number in range(min(near_bins, default=BINS), BINS)
    ]
    return {**total, "rows": rows, "copies": sum(row["compared"] for row in found if row["is_copy"])}


def _chance(near: ClusterParams, similarity: float) -> float | None:
    geometry = near.geometry
    return None if geometry is None else minhash.probability(similarity, geometry.bands, geometry.rows)


def by_method(clusters: DataFrame, asked: Sequence[str] | None) -> list[Data]:
    """What there is of each method, from the view duplicates_kept of one recipe, which asks for `asked`.

    Methods without clusters are there when the recipe asks for them.
    """
    # The largest power of two that is not greater.
    power = F.pow(F.lit(2), F.floor(F.log2("cluster_size"))).cast("bigint")
    sums = clusters.groupBy("method", power.alias("begin")).agg(
        F.count(F.lit(1)).alias("clusters"),
        F.sum("cluster_size").alias("documents"),
        F.sum("copies").alias("copies"),
        F.sum("tokens_saved").alias("tokens"),
        F.count(F.when(F.col("failed") == F.col("cluster_size"), 1)).alias("failed"),
    )
    bins = [row.asDict() for row in sums.orderBy("method", "begin").collect()]
    found = {row["method"] for row in bins}
    methods = []
    for method, (name, words) in METHODS.items():
        if method in found or method in (asked or ()):
            sizes = [row for row in bins if row["method"] == method]
            names = ("clusters", "documents", "copies", "tokens", "failed")
            methods.append(
                {
                    "method": method,
                    "name": name,
                    "words": words,
                    "is_asked": None if asked is None else method in asked,
                    "sizes": sizes,
                    "rows": _largest(clusters.where(F.col("method") == method)) if sizes else [],
                    **{each: sum(row[each] for row in sizes) for each in names},
                }
            )
    return methods


def _largest(clusters: DataFrame) -> list[Data]:
    order = [F.desc("cluster_size"), F.desc("copies"), F.col("cluster_id")]
    return [row.asDict() for row in clusters.orderBy(*order).limit(CLUSTERS).collect()]


def sources(decided: DataFrame, recipe: Recipe | None) -> Data:
    """What each source loses to duplicates, of the documents that pass every rule, beside the alarm of the recipe."""
    alarm = recipe.alarm if recipe is not None else Alarm()
    is_duplicate = F.col("stage") == tables.DUPLICATE_CLUSTERS.name
    passed = decided.where((F.col("decision") == "kept") | is_duplicate)
    rules = {
        method: rule
        for method, (rule, _) in DUPLICATES.items()
        if method in (recipe.duplicates if recipe else DUPLICATES)
    }

    def of_rule(rule: str) -> Column:
        return F.count(F.when(F.col("rule") == rule, 1))

    sums = passed.groupBy(F.col(alarm.by).alias("source")).agg(
        F.count(F.lit(1)).alias("documents"),
        F.count(F.when(is_duplicate, 1)).alias("dropped"),
        *[of_rule(rule).alias(method) for method, rule in rules.items()],
    )
    ordered = sums.orderBy(F.desc("dropped"), F.desc("documents"), "source").limit(SOURCES + 1).collect()
    rows = [
        {
            **row.asDict(),
            "is_alarming": alarm.is_raised(row["documents"], row["dropped"]),
        }
        for row in ordered
    ]
    return {
        "alarm": alarm if recipe is not None else None,
        "by": alarm.by,
        "methods": list(rules),
        "rows": rows[:SOURCES],
        "has_more": len(rows) > SOURCES,
    }


def survivor(recipe: Recipe | None) -> str | None:
    """Which of several duplicates is kept, in words; None where the recipe is not known."""
    if recipe is None:
        return None
    return ", then ".join([*map(_preferred, recipe.survivor), "the one with the smallest doc_id"])


def _preferred(preference: Preference) -> str:
    if preference.first:
        return f"the one whose {preference.signal} comes first among {', '.join(preference.first)}"
    if preference.signal == "fetch_time":
        return "the one fetched first" if preference.prefer == "least" else "the one fetched last"
    return f"the one with the {preference.prefer} {preference.signal}"
