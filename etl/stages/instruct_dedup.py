"""Which examples and pairs of a collection repeat others, exactly or nearly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import minhash
from etl.kernels.minhash import Geometry
from etl.stage import Stage
from etl.stages.instruct import EXAMPLES, PAIRS, PLACE

EXACT, NEAR = "exact", "minhash"  # values of `method`
MIN_SIMILARITY = 0.8  # of near duplicates, as FineWeb's bands find them (Penedo et al. 2024)


@dataclass(frozen=True)
class DuplicateParams:
    """How near duplicates of a collection are found: shingles of words, bands that propose, a similarity that decides.

    14 bands of 8 rows, as FineWeb: of texts of similarity 0.8 they propose 92 %, of 0.9 all but 0.04 %.
    A bucket, the texts that share a band, of more than `max_bucket` proposes each of them only with the `max_bucket`
    of smallest id, so that a phrase which all of a source repeats does not compare all with all. Copies of one text
    are still found so; what is missed are neighbours that meet in no other bucket.
    """

    __pydantic_config__ = STRICT

    collection: str
    similarity: float = MIN_SIMILARITY
    shingle_size: int = 5
    bands: int = 14
    rows: int = 8
    max_bucket: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, wanted at least 1"
            for name in ("shingle_size", "bands", "rows", "max_bucket")
            if getattr(self, name) < 1
        ]
        if not 0 < self.similarity <= 1:
            problems.append(f"similarity is {self.similarity:g}, wanted more than 0, at most 1")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def geometry(self) -> Geometry:
        """Which shingles are compared, and which bands propose."""
        return Geometry(
            "instructions", "", "", size=self.shingle_size, bands=self.bands, rows=self.rows, seed=self.seed
        )


def instruction_duplicates(instructions: DataFrame, preferences: DataFrame, params: DuplicateParams) -> DataFrame:
    """One row per example that repeats another: exactly one with a smaller place, or nearly one with a smaller id.

    Neighbours are two that share a band and are as similar as asked. Of the examples without a row no two are: a row
    names its smallest neighbour, and of any two the one of greater id has a row. All is decided by ids and places, so
    partitions change nothing.
    """
    texts = _texts(instructions, EXAMPLES, ["messages"], params.collection).unionByName(
        _texts(preferences, PAIRS, ["prompt", "chosen", "rejected"], params.collection)
    )
    same = Window.partitionBy("kind", "example_id").orderBy(*PLACE)
    is_copy = F.row_number().over(same) > 1
    numbered = texts.select("collection", "kind", *PLACE, "example_id", is_copy.alias("is_copy"))
    # Key: `_neighbours` has one row per kind and example_id.
    found = numbered.join(_neighbours(texts, params), ["kind", "example_id"], how="left")
    is_exact, is_near = F.col("is_copy"), F.col("near").isNotNull()
    return found.where(is_exact | is_near).select(
        "collection",
        "kind",
        *PLACE,
        "example_id",
        F.when(is_exact, EXACT).otherwise(NEAR).alias("method"),
        F.when(is_exact, F.col("example_id")).otherwise(F.col("near")).alias("duplicate_of"),
        F.when(is_exact, 1.0).otherwise(F.col("similarity")).alias("similarity"),
    )


def _texts(rows: DataFrame, kind: str, columns: Sequence[str], collection: str) -> DataFrame:
    """Of each example its place, its id and all that is said in it."""
    contents = F.transform(F.concat(*columns), lambda message: message["content"])
    is_example = (F.col("collection") == collection) & F.col("example_id").isNotNull()
    return rows.where(is_example).select(
        "collection", F.lit(kind).alias("kind"), *PLACE, "example_id", F.array_join(contents, "\n").alias("text")
    )


def _neighbours(texts: DataFrame, params: DuplicateParams) -> DataFrame:
    """One row (kind, example_id, near, similarity) per example with a neighbour of smaller id: the smallest."""
    bands = texts.select("kind", "example_id", "text").mapInArrow(
        partial(_banded, geometry=params.geometry), "kind string, example_id string, bands array<bigint>"
    )
    buckets = (
        bands.select("kind", "example_id", F.posexplode("bands").alias("band", "band_hash"))
        .groupBy("kind", "band", "band_hash")
        .agg(F.array_sort(F.collect_set("example_id")).alias("members"))
        .where(F.size("members") > 1)
    )
    candidates = (
        buckets.select("kind", "members", F.explode(F.slice("members", 1, params.max_bucket)).alias("near"))
        .select("kind", "near", F.explode("members").alias("other"))
        .where(F.col("near") < F.col("other"))
        .distinct()
    )
    both = candidates.select("kind", "near", "other", F.explode(F.array("near", "other")).alias("example_id"))
    # Key: an id has one text, so of its copies any will do.
    unique = texts.select("kind", "example_id", "text").dropDuplicates(["kind", "example_id"])
    pairs = (
        both.join(unique, ["kind", "example_id"], how="inner")
        .groupBy("kind", "near", "other")
        .agg(F.collect_list("text").alias("texts"))
    )
    compared = pairs.mapInArrow(
        partial(_compared, geometry=params.geometry), "kind string, near string, other string, similarity double"
    )
    verified = compared.where(F.col("similarity") >= params.similarity)
    smallest = verified.groupBy("kind", "other").agg(F.min(F.struct("near", "similarity")).alias("found"))
    return smallest.select("kind", F.col("other").alias("example_id"), "found.near", "found.similarity")


def _banded(batches: Iterable[pa.RecordBatch], geometry: Geometry) -> Iterator[pa.RecordBatch]:
    """Band hashes of the texts of each batch; those without words have none."""
    keys = ["kind", "example_id"]
    for batch in batches:
        bands = minhash.batch(batch.column("text"), geometry).column("bands")
        yield pa.RecordBatch.from_arrays([*(batch.column(key) for key in keys), bands], names=[*keys, "bands"])


def _compared(batches: Iterable[pa.RecordBatch], geometry: Geometry) -> Iterator[pa.RecordBatch]:
    """The similarity of the two texts of each row; it is the same in either order."""
    keys = ["kind", "near", "other"]
    for batch in batches:
        flat = batch.column("texts").flatten().to_pylist()
        similarities, _ = minhash.compare(flat[::2], flat[1::2], geometry)
        yield pa.RecordBatch.from_arrays(
            [*(batch.column(key) for key in keys), pa.array(similarities, pa.float64())], names=[*keys, "similarity"]
        )


INSTRUCTION_DUPLICATES = Stage(
    instruction_duplicates,
    inputs=(tables.INSTRUCTIONS, tables.PREFERENCES),
    output=tables.INSTRUCTION_DUPLICATES,
    params=DuplicateParams,
)
