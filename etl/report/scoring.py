"""The lake measured against the truth of an embedded sample: decisions, languages, texts and duplicates.

The sample knows of every page what it is and what a good curator does with it (`etl.sample.kinds`). All sums are made
in Spark, so that a sample may be large; shares come with a 95 % interval and the number of pages behind them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import funnel, tables
from etl.kernels import overlap
from etl.lake import Lake
from etl.stages.dedup import EXACT

MISTAKES = 10  # that are named
_Z = 1.959964  # two-sided 95 % of the normal distribution
_TRUTH_DDL = (
    "warc_filename string, warc_record_offset bigint, url string, kind string, language string, text string, "
    "duplicate_of string, expected struct<decision: string, rules: array<string>>"
)


@dataclass(frozen=True)
class Estimate:
    """A share or a mean of `n` pages, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Fate:
    """Pages of one kind, by what became of them and whether that is right.

    `excused` are pages to keep that were dropped for a reason which is no mistake for their kind; `other_reason` are
    rightly dropped pages whose reason is not one that their kind expects.
    """

    kind: str
    expected: str
    pages: int
    kept: int
    dropped: int
    excused: int
    other_reason: int

    @property
    def wrong(self) -> int:
        return self.dropped - self.excused if self.expected == "kept" else self.kept

    @property
    def is_even(self) -> bool:
        """Whether all pages ended as they should, for a reason that they should."""
        return self.pages == (self.kept if self.expected == "kept" else self.dropped - self.other_reason)


@dataclass(frozen=True)
class Scores:
    """What the report shows of all this. Estimates are None where there was no page to measure."""

    pages: int
    not_found: int
    fates: tuple[Fate, ...]
    kept_precision: Estimate | None
    kept_recall: Estimate | None
    dropped_precision: Estimate | None
    dropped_recall: Estimate | None
    expected_reason: Estimate | None
    language: Estimate | None
    text: Estimate | None
    duplicate_recall: Estimate | None
    duplicate_precision: Estimate | None
    near_duplicates: int
    near_duplicates_kept: int
    mistakes: tuple[dict[str, Any], ...]  # the first of them by URL

    @property
    def wrong(self) -> int:
        return sum(fate.wrong for fate in self.fates)


def wilson(right: int, n: int) -> Estimate | None:
    """The share `right` / `n` with the interval of Wilson 1927; None for no observation."""
    if n == 0:
        return None
    share, spread = right / n, _Z * _Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(total: float, squares: float, n: int) -> Estimate | None:
    """The mean of `n` values with the normal interval, from their sum and the sum of their squares."""
    if n == 0:
        return None
    value = total / n
    variance = max(0.0, squares - n * value * value) / (n - 1) if n > 1 else 0.0
    half = _Z * math.sqrt(variance / n)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n)


def score(lake: Lake, recipe: str, truth: Path) -> Scores:
    """The lake under one recipe against the truth."""
    pages = _with_f1(_pages(lake, recipe, truth)).persist()
    try:
        sums = [row.asDict() for row in _sums(pages).collect()]
        duplicates = _duplicates(lake, pages).collect()[0]
        mistakes = _mistakes(pages).collect()
    finally:
        pages.unpersist()
    fates = tuple(_fates(sums))
    keep, drop = ([row for row in sums if row["expected"] == word] for word in ("kept", "dropped"))
    kept_right, kept_wrong = _total(keep, "kept"), _total(drop, "kept")
    drop_right, drop_wrong = _total(drop, "dropped"), _total(keep, "dropped") - _total(keep, "excused")
    near = [row for row in sums if row["kind"] == "near_duplicate"]
    return Scores(
        pages=_total(sums, "pages"),
        not_found=_total(sums, "not_found"),
        fates=fates,
        kept_precision=wilson(kept_right, kept_right + kept_wrong),
        kept_recall=wilson(kept_right, kept_right + drop_wrong),
        dropped_precision=wilson(drop_right, drop_right + drop_wrong),
        dropped_recall=wilson(drop_right, drop_right + kept_wrong),
        expected_reason=wilson(drop_right - _total(drop, "other_reason"), drop_right),
        language=wilson(_total(sums, "language_right"), _total(sums, "languages")),
        text=mean(_total(sums, "f1"), _total(sums, "f1_squared"), int(_total(sums, "texts"))),
        duplicate_recall=wilson(duplicates["found"], duplicates["planted"]),
        duplicate_precision=wilson(duplicates["true"], duplicates["dropped"]),
        near_duplicates=_total(near, "pages"),
        near_duplicates_kept=_total(near, "kept"),
        mistakes=tuple({**row.asDict(), "detail": funnel.detail(row)} for row in mistakes),
    )


def _pages(lake: Lake, recipe: str, truth: Path) -> DataFrame:
    """One row per page of the truth: what it is, what should become of it, what became of it, how well it was read.

    Key: an archive has one record at an offset, and a record has one disposition, document and language.
    """
    spark = lake.spark
    names = spark.createDataFrame(_archives(lake, truth), "warc_filename string, base string")
    known = spark.read.schema(_TRUTH_DDL).json(truth.resolve().as_uri()).withColumnRenamed("warc_filename", "base")
    known = known.join(F.broadcast(names), "base", how="inner").drop("base")
    decided = lake.read(tables.DISPOSITIONS).where(F.col("recipe") == recipe)
    place = ["warc_filename", "warc_record_offset"]
    decided = decided.select(*place, "doc_id", "decision", "stage", "rule", "signal", "value", "detail", "duplicate_of")
    documents = lake.read(tables.DOCUMENTS).select(
        "doc_id", F.col("text").alias("found_text"), F.lit(True).alias("read")
    )
    languages = lake.read(tables.DOCUMENT_LANGUAGE).select("doc_id", F.col("language").alias("found_language"))
    return (
        known.withColumnRenamed("duplicate_of", "original")
        .join(decided, place, how="left")
        .join(documents, "doc_id", how="left")
        .join(languages, "doc_id", how="left")
        .select(
            "kind",
            F.col("expected.decision").alias("expected"),
            F.col("expected.rules").alias("reasons"),
            "url",
            "original",
            "language",
            "text",
            "doc_id",
            "decision",
            "stage",
            "rule",
            "signal",
            "value",
            "detail",
            "duplicate_of",
            "found_language",
            "found_text",
            "read",
        )
    )


def _archives(lake: Lake, truth: Path) -> list[tuple[str, str]]:
    """Name and base name of the archives that the truth is about: those beside it, else those with any place."""
    rows = lake.read(tables.WARC_FILES).select("warc_filename", "location").collect()
    folder = str(truth.resolve().parent)
    beside = [row for row in rows if str(PurePosixPath(row["location"]).parent) == folder]
    return [(row["warc_filename"], PurePosixPath(row["location"]).name) for row in beside or rows]


def _with_f1(judged: DataFrame) -> DataFrame:
    """`judged` with `f1`: of the extracted text against the true one; 0 where extraction failed, null where no text
    is known or the record was not read as a page."""

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            values = [
                None if not wanted or not read else overlap.word_f1(found or "", wanted)
                for found, wanted, read in zip(
                    *(batch.column(name).to_pylist() for name in ("found_text", "text", "read")), strict=True
                )
            ]
            kept = [name for name in batch.schema.names if name not in ("found_text", "text", "read")]
            columns = [*(batch.column(name) for name in kept), pa.array(values, pa.float64())]
            yield pa.RecordBatch.from_arrays(columns, names=[*kept, "f1"])

    kept = [field for field in judged.schema if field.name not in ("found_text", "text", "read")]
    return judged.mapInArrow(measure, ", ".join(f"{f.name} {f.dataType.simpleString()}" for f in kept) + ", f1 double")


def _sums(pages: DataFrame) -> DataFrame:
    """One row per kind and expected decision, with all that is counted."""
    is_kept, is_dropped, should_keep = (
        F.col("decision") == "kept",
        F.col("decision") == "dropped",
        F.col("expected") == "kept",
    )
    has_language = F.col("language").isNotNull() & F.col("found_language").isNotNull()
    counts = {
        "kept": is_kept,
        "dropped": is_dropped,
        "excused": is_dropped & should_keep & _is_expected(),
        "other_reason": is_dropped & ~should_keep & ~_is_expected(),
        "not_found": F.col("decision").isNull(),
        "languages": has_language,
        "language_right": has_language & (F.col("language") == F.col("found_language")),
        "texts": F.col("f1").isNotNull(),
    }
    return pages.groupBy("kind", "expected").agg(
        F.count(F.lit(1)).alias("pages"),
        *[F.count(F.when(condition, True)).alias(name) for name, condition in counts.items()],
        F.coalesce(F.sum("f1"), F.lit(0.0)).alias("f1"),
        F.coalesce(F.sum(F.col("f1") * F.col("f1")), F.lit(0.0)).alias("f1_squared"),
    )


def _is_expected() -> Column:
    """Whether the reason of a drop is one that the kind of the page allows: a stage, or a column that a rule reads."""
    named = [F.coalesce(F.array_contains("reasons", F.col(name)), F.lit(False)) for name in ("stage", "signal")]
    return named[0] | named[1]


def _mistakes(pages: DataFrame) -> DataFrame:
    """Pages decided wrongly, in the order of their URLs: kept for dropped, or dropped without excuse."""
    is_wrong = (F.col("decision") != F.col("expected")) & ~((F.col("expected") == "kept") & _is_expected())
    return pages.where(is_wrong).select("url", "kind", "expected", "value", "detail").orderBy("url").limit(MISTAKES)


def _duplicates(lake: Lake, pages: DataFrame) -> DataFrame:
    """One row: exact copies planted and found in one cluster with their original, and drops for a copy that are true.

    A page's family is its original, itself where it is none's exact copy. Of a family one page should be kept, no
    matter which.
    """
    clusters = lake.read(tables.DUPLICATE_CLUSTERS).where(F.col("method") == EXACT).select("doc_id", "cluster_id")
    is_copy = F.col("kind") == "exact_duplicate"
    family = F.when(is_copy, F.col("original")).otherwise(F.col("url"))
    members = pages.where(F.col("doc_id").isNotNull()).join(clusters, "doc_id", how="left")
    members = members.select(
        "doc_id",
        "url",
        "original",
        "rule",
        "duplicate_of",
        is_copy.alias("is_copy"),
        family.alias("family"),
        "cluster_id",
    )
    # Key: a doc_id is one page; the URL of an original is fetched once in a sample.
    originals = (
        members.where(~F.col("is_copy"))
        .groupBy(F.col("url").alias("original"))
        .agg(F.max("cluster_id").alias("original_cluster"))
    )
    survivors = members.select(F.col("doc_id").alias("duplicate_of"), F.col("family").alias("survivor_family"))
    joined = members.join(originals, "original", how="left").join(survivors, "duplicate_of", how="left")
    is_drop = F.col("rule") == "exact_duplicate"
    is_found = F.col("is_copy") & (F.col("cluster_id") == F.col("original_cluster"))
    counts = {
        "planted": F.col("is_copy"),
        "found": is_found,
        "dropped": is_drop,
        "true": is_drop & (F.col("family") == F.col("survivor_family")),
    }
    return joined.agg(*[F.count(F.when(condition, True)).alias(name) for name, condition in counts.items()])


def _fates(sums: Iterable[dict[str, Any]]) -> Iterator[Fate]:
    fields = ("kind", "expected", "pages", "kept", "dropped", "excused", "other_reason")
    for row in sorted(sums, key=lambda row: (row["expected"] != "kept", -row["pages"], row["kind"])):
        yield Fate(**{name: row[name] for name in fields})


def _total(rows: Iterable[dict[str, Any]], column: str) -> Any:
    return sum(row[column] for row in rows)
