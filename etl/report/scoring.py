"""The lake measured against the truth of an embedded sample: decisions, languages, texts and duplicates.

The sample knows of every page what it is and what a good curator does with it (`etl.sample.kinds`). Of pages that are
duplicates of each other one should be kept, and which one is for the recipe to say, so this part of the truth is
settled here (`_settled`). All sums are made in Spark, so that a sample may be large; shares come with a 95 % interval
and the number of pages behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F
from resiliparse.extract.html2text import extract_plain_text

from etl import funnel, tables
from etl.kernels import html, overlap, warc
from etl.kernels.quality_score import Estimate, Gain
from etl.kernels.shingles import WORDS
from etl.lake import Lake
from etl.report import clusters
from etl.report.estimates import Moments, mean, ratio, wilson
from etl.sample.articles import SHINGLE_WORDS
from etl.sample.kinds import DUPLICATES
from etl.stages.dedup import EXACT, MINHASH

MISTAKES = 10  # that are named
_TRUTH_DDL = (
    "warc_filename string, warc_record_offset bigint, url string, kind string, language string, text string, "
    "duplicate_of string, jaccard double, expected struct<decision: string, rules: array<string>>"
)


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
class TrueLanguage:
    """Documents with text that truly are in a language, and how many of them the recipe keeps."""

    language: str
    documents: int
    kept: int


@dataclass(frozen=True)
class Near:
    """Pages of the sample that differ from another by some words, by whether they are so like it that one of the two
    should go, and how many of both are kept. Where the recipe looks for no near duplicates none should go."""

    alike: int
    alike_kept: int
    unlike: int
    unlike_kept: int


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
    clean_text: Gain | None  # F1 of all the text of a page, and of what was extracted from it
    true_languages: tuple[TrueLanguage, ...]
    duplicate_recall: Estimate | None
    duplicate_precision: Estimate | None
    near_similarity: float | None  # from which near duplicates should be found; None where the recipe looks for none
    near_recall: Estimate | None
    near_precision: Estimate | None
    near: Near
    mistakes: tuple[dict[str, Any], ...]  # the first of them by URL

    @property
    def wrong(self) -> int:
        return sum(fate.wrong for fate in self.fates)


def score(lake: Lake, recipe: str, truth: Path) -> Scores:
    """The lake under one recipe against the truth."""
    similarity = _near_similarity(lake, recipe)
    measured = _with_f1(_pages(lake, recipe, truth)).persist()
    pages = _settled(measured, similarity).persist()
    try:
        sums = [row.asDict() for row in _sums(pages).collect()]
        texts = _texts(pages).collect()[0]
        spoken = _true_languages(pages).collect()
        duplicates = _duplicates(lake, pages).collect()[0]
        mistakes = _mistakes(pages).collect()
    finally:
        pages.unpersist()
        measured.unpersist()
    fates = tuple(_fates(sums))
    keep, drop = ([row for row in sums if row["expected"] == word] for word in ("kept", "dropped"))
    kept_right, kept_wrong = _total(keep, "kept"), _total(drop, "kept")
    drop_right, drop_wrong = _total(drop, "dropped"), _total(keep, "dropped") - _total(keep, "excused")
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
        clean_text=_clean_text(texts),
        true_languages=tuple(TrueLanguage(row["language"], row["documents"], row["kept"]) for row in spoken),
        duplicate_recall=wilson(duplicates["found"], duplicates["planted"]),
        duplicate_precision=wilson(duplicates["true"], duplicates["dropped"]),
        near_similarity=similarity,
        near_recall=wilson(duplicates["near_found"], duplicates["alike"]) if similarity is not None else None,
        near_precision=wilson(duplicates["near_true"], duplicates["near_dropped"]) if similarity is not None else None,
        near=Near(*[duplicates[field.name] for field in fields(Near)]),
        mistakes=tuple({**row.asDict(), "detail": funnel.detail(row)} for row in mistakes),
    )


def _near_similarity(lake: Lake, recipe: str) -> float | None:
    """The Jaccard similarity from which two pages are near duplicates under the recipe, if it looks for them.

    None too where the lake compares other shingles than those that the truth counts.
    """
    applied, near = funnel.applied(lake, recipe), clusters.settings(lake)
    if applied is None or MINHASH not in applied.duplicates or near is None or near.geometry is None:
        return None
    is_of_truth = (near.geometry.unit, near.geometry.size) == (WORDS, SHINGLE_WORDS)
    return near.similarity if is_of_truth else None


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
    captures = lake.read(tables.CAPTURES).select("doc_id", *_PAYLOAD)
    languages = lake.read(tables.DOCUMENT_LANGUAGE).select("doc_id", F.col("language").alias("found_language"))
    return (
        known.withColumnRenamed("duplicate_of", "original")
        .join(decided, place, how="left")
        .join(documents, "doc_id", how="left")
        .join(languages, "doc_id", how="left")
        .join(captures, "doc_id", how="left")
        .select(
            "kind",
            F.col("expected.decision").alias("expected"),
            F.col("expected.rules").alias("reasons"),
            "url",
            "original",
            "jaccard",
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
            *_PAYLOAD,
        )
    )


def _settled(pages: DataFrame, similarity: float | None) -> DataFrame:
    """`pages` with `family`, and with what should become of each now that it is known which one of a family was kept.

    A family is a page, its exact copies, and its near duplicates of at least `similarity`; it goes by the URL of the
    page. One of it should be kept, whichever: so a page that was dropped for another of its family was rightly dropped,
    and a copy that is the only one kept was rightly kept. A near duplicate that is less alike is a page of its own, and
    should be kept; where no near duplicates are looked for, all are such, and to drop one as a duplicate is excused.
    """
    is_exact, is_near = F.col("kind") == "exact_duplicate", F.col("kind") == "near_duplicate"
    is_alike = is_near & (F.col("jaccard") >= similarity) if similarity is not None else F.lit(False)
    is_copy = is_exact | is_alike
    pages = pages.withColumns(
        {
            "is_copy": is_copy,
            "family": F.when(is_copy, F.col("original")).otherwise(F.col("url")),
            # Of pages that are all no copies, whose family is of those that are like it at all.
            "kin": F.when(is_exact | is_near, F.col("original")).otherwise(F.col("url")),
        }
    )
    # Key: a doc_id is one page.
    survivors = pages.where(F.col("doc_id").isNotNull()).select(
        F.col("doc_id").alias("duplicate_of"),
        F.col("family").alias("survivor_family"),
        F.col("kin").alias("survivor_kin"),
    )
    joined = pages.join(survivors, "duplicate_of", how="left")
    is_kept = F.col("decision") == "kept"
    # The first of a family that is kept is the one that should be: the original, if it is among them.
    first = F.min(F.when(is_kept, F.struct("is_copy", "url", "doc_id"))).over(Window.partitionBy("family"))["doc_id"]
    stands_aside = (F.col("stage") == DUPLICATES) & (F.col("family") == F.col("survivor_family"))
    is_survivor = F.col("is_copy") & is_kept & (F.col("doc_id") == F.col("first"))
    is_own = is_near & ~F.col("is_copy") & F.lit(similarity is not None)
    expected = (
        F.when(F.coalesce(stands_aside, F.lit(False)), "dropped")
        .when(F.coalesce(is_survivor, F.lit(False)), "kept")
        .when(F.col("is_copy"), "dropped")
        .otherwise(F.col("expected"))
    )
    reasons = F.when(is_own, F.array().cast("array<string>")).otherwise(
        F.array_union("reasons", F.array(F.lit(DUPLICATES)))
    )
    is_duplicate = F.col("is_copy") | F.coalesce(stands_aside, F.lit(False)) | is_own
    return (
        joined.withColumn("first", first)
        .withColumns({"expected": expected, "reasons": F.when(is_duplicate, reasons).otherwise(F.col("reasons"))})
        .drop("first")
    )


def _archives(lake: Lake, truth: Path) -> list[tuple[str, str]]:
    """Name and base name of the archives that the truth is about: those beside it, else those with any place."""
    rows = lake.read(tables.WARC_FILES).select("warc_filename", "location").collect()
    folder = str(truth.resolve().parent)
    beside = [row for row in rows if str(PurePosixPath(row["location"]).parent) == folder]
    return [(row["warc_filename"], PurePosixPath(row["location"]).name) for row in beside or rows]


_PAYLOAD = ["payload", "payload_length", "content_mime_detected", "content_charset_declared"]
_COMPARED = ["found_text", "text", "read", *_PAYLOAD]


def _with_f1(judged: DataFrame) -> DataFrame:
    """`judged` with `f1`: of the extracted text against the true one; 0 where extraction failed, null where no text
    is known or the record was not read as a page. And with `all_text_f1`: of all the text of the page."""

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            values = [_compared(row) for row in batch.select(_COMPARED).to_pylist()]
            kept = [name for name in batch.schema.names if name not in _COMPARED]
            scores = [pa.array([value[place] for value in values], pa.float64()) for place in (0, 1)]
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in kept), *scores], names=[*kept, "f1", "all_text_f1"]
            )

    kept = [f"{field.name} {field.dataType.simpleString()}" for field in judged.schema if field.name not in _COMPARED]
    return judged.mapInArrow(measure, f"{', '.join(kept)}, f1 double, all_text_f1 double")


def _compared(row: dict[str, Any]) -> tuple[float | None, float | None]:
    wanted = row["text"]
    if not wanted or not row["read"]:
        return None, None
    found = overlap.word_f1(row["found_text"] or "", wanted)
    # What an extractor could not read is not read here either: it may hang or crash.
    if row["payload"] is None or row["found_text"] is None:
        return found, None
    return found, overlap.word_f1(_all_text(row), wanted)


def _all_text(row: dict[str, Any]) -> str:
    """All the text of a page, as it would be without an extractor: menus, notices and all."""
    content, _ = html.decode(warc.payload(row["payload"], row["payload_length"]), row["content_charset_declared"])
    if row["content_mime_detected"] == "text/plain":
        return content
    return str(extract_plain_text(content, main_content=False, alt_texts=False))


def _texts(pages: DataFrame) -> DataFrame:
    """One row: sums over the pages of which both texts were compared with the true one."""
    after, before = F.col("f1"), F.col("all_text_f1")
    products = {"after": after, "before": before, "aa": after * after, "ab": after * before, "bb": before * before}
    both = pages.where(before.isNotNull())
    return both.agg(
        F.count(F.lit(1)).alias("n"),
        *[F.coalesce(F.sum(value), F.lit(0.0)).alias(name) for name, value in products.items()],
    )


def _clean_text(sums: Row) -> Gain | None:
    n = sums["n"]
    before, after = mean(sums["before"], sums["bb"], n), mean(sums["after"], sums["aa"], n)
    better = ratio(Moments(n, sums["after"], sums["before"], sums["aa"], sums["ab"], sums["bb"]))
    return None if before is None or after is None or better is None else Gain(before, after, better)


def _true_languages(pages: DataFrame) -> DataFrame:
    """One row per language: documents with text that truly are in it, and those that are kept."""
    known = pages.where(F.col("language").isNotNull() & F.col("found_language").isNotNull())
    is_kept = F.col("decision") == "kept"
    counts = known.groupBy("language").agg(
        F.count(F.lit(1)).alias("documents"), F.count(F.when(is_kept, True)).alias("kept")
    )
    return counts.orderBy("language")


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
    """One row: copies planted and found in one cluster with their original, and drops for a copy that are true.

    A drop is true when what is kept in its place is a copy of the same page. Exact copies are counted by the clusters
    of exact copies, near duplicates that are alike enough by those of near duplicates.
    """
    found = lake.read(tables.DUPLICATE_CLUSTERS)
    members = pages.where(F.col("doc_id").isNotNull())
    names = {EXACT: "exact_cluster", MINHASH: "near_cluster"}
    for method, name in names.items():
        of_method = found.where(F.col("method") == method).select("doc_id", F.col("cluster_id").alias(name))
        members = members.join(of_method, "doc_id", how="left")
    # Key: the URL of an original is fetched once in a sample, but for revisits, which have no clusters.
    originals = members.where(F.col("kin") == F.col("url"))
    originals = originals.groupBy(F.col("url").alias("original")).agg(
        *[F.max(name).alias(f"original_{name}") for name in names.values()]
    )
    joined = members.join(originals, "original", how="left")
    is_exact, is_near = F.col("kind") == "exact_duplicate", F.col("kind") == "near_duplicate"
    is_alike, is_kept = is_near & F.col("is_copy"), F.col("decision") == "kept"
    is_unlike = is_near & ~F.col("is_copy")
    is_exact_drop, is_near_drop = F.col("rule") == "exact_duplicate", F.col("rule") == "near_duplicate"
    is_true = F.col("kin") == F.col("survivor_kin")
    counts = {
        "planted": is_exact,
        "found": is_exact & (F.col("exact_cluster") == F.col("original_exact_cluster")),
        "dropped": is_exact_drop,
        "true": is_exact_drop & is_true,
        "near_found": is_alike & (F.col("near_cluster") == F.col("original_near_cluster")),
        "near_dropped": is_near_drop,
        "near_true": is_near_drop & is_true,
        "alike": is_alike,
        "alike_kept": is_alike & is_kept,
        "unlike": is_unlike,
        "unlike_kept": is_unlike & is_kept,
    }
    return joined.agg(*[F.count(F.when(condition, True)).alias(name) for name, condition in counts.items()])


def _fates(sums: Iterable[dict[str, Any]]) -> Iterator[Fate]:
    fields = ("kind", "expected", "pages", "kept", "dropped", "excused", "other_reason")
    for row in sorted(sums, key=lambda row: (row["expected"] != "kept", -row["pages"], row["kind"])):
        yield Fate(**{name: row[name] for name in fields})


def _total(rows: Iterable[dict[str, Any]], column: str) -> Any:
    return sum(row[column] for row in rows)
