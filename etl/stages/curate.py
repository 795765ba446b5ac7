"""From annotations to decisions: a recipe applied as one cheap stage, and the corpus it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import lines, pii, tokens
from etl.stage import Stage
from etl.stages.extract import not_a_page
from etl.stages.rules import SIGNAL_TABLES, SIGNALS, Rule, is_value
from etl.tables import Table

LINE_FILTERS = {"c4": lines.c4_lines, "fineweb": lines.fineweb_lines, "refinedweb": lines.refinedweb_lines}


@dataclass(frozen=True)
class Recipe:
    """Which documents are kept, by rules in order; the first that fails names the drop.

    `duplicates`: none, or exact (of the documents with one text that pass every rule, the one fetched first is kept).
    `mask`: kinds of personal data (`etl.kernels.pii.KINDS`) that have a placeholder in the text that is kept.
    `remove_lines`: none, c4, fineweb or refinedweb, a line filter applied to that text.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    rules: tuple[Rule, ...]
    duplicates: str = "exact"
    remove_lines: str = "none"
    mask: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.duplicates not in ("none", "exact"):
            problems.append(f"duplicates is {self.duplicates!r}, wanted none or exact")
        if self.remove_lines not in ("none", *LINE_FILTERS):
            problems.append(f"remove_lines is {self.remove_lines!r}, wanted none, {' or '.join(LINE_FILTERS)}")
        unknown = sorted({*self.mask}.difference(pii.KINDS))
        if unknown:
            problems.append(f"mask names {', '.join(unknown)}, wanted some of {', '.join(pii.KINDS)}")
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"rules named twice: {', '.join(twice)}")
        if problems:
            raise ValueError("; ".join(problems))


def dispositions(
    captures: DataFrame,
    url_signals: DataFrame,
    documents: DataFrame,
    document_language: DataFrame,
    document_tokens: DataFrame,
    document_quality: DataFrame,
    document_pii: DataFrame,
    duplicate_clusters: DataFrame,
    recipe: Recipe,
) -> DataFrame:
    """One row per record: kept, or dropped by which rule, with the value measured and the bound.

    Key: every right side has one row per doc_id, so the joins add none; `captures` has one row per record.
    """
    signals = captures.select(*_RECORD, *_CAPTURED)
    annotations = (url_signals, documents, document_language, document_tokens, document_quality, document_pii)
    for table, rows in zip(SIGNAL_TABLES, annotations, strict=True):
        signals = signals.join(_signals_of(rows, table, recipe), "doc_id", how="left")
    clusters = duplicate_clusters.where(F.col("method") == recipe.duplicates)
    signals = signals.join(clusters.select("doc_id", "cluster_id", "cluster_size"), "doc_id", how="left")

    gates, rules = _gates(recipe), _rules(recipe)
    checks = [*gates, *rules, _copy()]
    failed = signals.withColumn("failed", _failed(gates, rules))
    judged = _with_copies(failed, step=len(checks)).withColumn("step", F.get("failed", F.lit(0)))

    def of_first(field: str, kind: str) -> Column:
        """`field` of the first check that failed."""
        values = F.array(*[F.lit(getattr(check, field)).cast(kind) for check in checks])
        return F.get(values, F.col("step") - 1).alias(field)

    names = F.array(*[F.lit(check.rule) for check in checks])
    return judged.select(
        F.lit(recipe.name).alias("recipe"),
        *_RECORD,
        F.when(F.col("step").isNull(), "kept").otherwise("dropped").alias("decision"),
        of_first("stage", "string"),
        of_first("rule", "string"),
        "step",
        of_first("signal", "string"),
        of_first("value", "double"),
        of_first("threshold", "double"),
        of_first("detail", "string"),
        F.transform("failed", lambda step: F.get(names, step - 1)).alias("failed_rules"),
        "duplicate_of",
        # Of a page that was left out before extraction, the language of all that it shows.
        F.coalesce("language", "page_language").alias("language"),
        "tokens",
    )


@dataclass(frozen=True)
class _Check:
    """One reason to drop a record: the condition, and what a disposition says when it holds."""

    stage: str | Column
    rule: str | Column
    condition: Column
    detail: Column
    signal: str | Column | None = None
    value: Column | None = None
    threshold: float | Column | None = None


_RECORD = ["doc_id", "crawl", "url", "url_host_name", "warc_filename", "warc_record_offset"]
_CAPTURED = [
    "warc_record_type",
    "fetch_status",
    "content_mime_detected",
    "payload_length",
    "ingest_error",
    "fetch_time",
]


def _signals_of(rows: DataFrame, table: Table, recipe: Recipe) -> DataFrame:
    """Of an annotation, the columns that are read here, and a flag that is null where the row is missing."""
    ruled = {rule.signal for rule in recipe.rules if SIGNALS[rule.signal] == table.name}
    read = sorted(ruled.union({"extract_error", "skipped", "page_language", "language", "tokens"} & {*table.columns}))
    return rows.select("doc_id", *[c for c in read if c not in _RECORD], F.lit(True).alias(f"in_{table.name}"))


def _gates(recipe: Recipe) -> list[_Check]:
    """Questions that must be answered before rules make sense: is it a page, was there text, was it measured."""
    error, skipped = F.col("extract_error"), F.col("skipped")
    not_page = [
        _Check("captures", rule, condition, is_value(signal), signal, value)
        for rule, signal, condition, value in not_a_page()
    ]
    kind = F.concat(F.lit("extract_"), F.get(F.split(error, ":"), F.lit(0)))
    return [
        *not_page,
        _Check("documents", "not_extracted", F.col("in_documents").isNull(), F.lit("not extracted yet")),
        _skipped(recipe, skipped),
        _Check("documents", kind, error.isNotNull(), error, "extract_error"),
        *[
            _Check(table.name, "not_annotated", F.col(f"in_{table.name}").isNull(), F.lit("not annotated yet"))
            for table in SIGNAL_TABLES
            if table is not tables.DOCUMENTS
        ],
    ]


def _skipped(recipe: Recipe, skipped: Column) -> _Check:
    """The rule by which a page was left out before its text was extracted; another recipe may not have that rule."""
    is_ours = F.coalesce(skipped["rule"].isin([rule.name for rule in recipe.rules]), F.lit(False))
    other = F.concat(F.lit("left out by a rule that this recipe lacks, extract again: "), skipped["detail"])
    return _Check(
        F.when(is_ours, skipped["stage"]).otherwise("documents"),
        F.when(is_ours, skipped["rule"]).otherwise("not_extracted"),
        skipped.isNotNull(),
        F.when(is_ours, skipped["detail"]).otherwise(other),
        skipped["signal"],
        skipped["value"],
        skipped["threshold"],
    )


def _rules(recipe: Recipe) -> list[_Check]:
    return [
        _Check(
            SIGNALS[rule.signal],
            rule.name,
            rule.fails(),
            F.concat(is_value(rule.signal), F.lit(f", wanted {rule.wanted()}")),
            rule.signal,
            value=None if rule.threshold is None else F.col(rule.signal),
            threshold=rule.bound() if rule.by_language else rule.threshold,
        )
        for rule in recipe.rules
    ]


def _copy() -> _Check:
    """What a copy of a kept text fails, after all rules."""
    of_whom = F.col("duplicate_of")
    detail = F.concat(F.lit("the same text as "), of_whom)
    return _Check(
        "duplicate_clusters", "exact_duplicate", of_whom.isNotNull(), detail, "cluster_id", F.col("cluster_size")
    )


def _failed(gates: Sequence[_Check], rules: Sequence[_Check]) -> Column:
    """Places, from 1, of the checks that failed: of the gates the first alone, or else all rules, in order."""
    conditions = [check.condition for check in (*gates, *rules)]
    places = F.array(*[F.when(condition, F.lit(place)) for place, condition in enumerate(conditions, start=1)])
    failed = F.filter(places, lambda place: place.isNotNull())
    return F.when(F.get(failed, F.lit(0)) <= len(gates), F.slice(failed, 1, 1)).otherwise(failed)


def _with_copies(judged: DataFrame, step: int) -> DataFrame:
    """`judged`, where each copy of a text that another document is kept for fails the check at `step`.

    The survivor is the first fetched of the documents that pass every rule, then the smallest doc_id.
    """
    passes = F.size("failed") == 0
    # Documents without a cluster are their own, so that they do not meet in one partition.
    cluster = Window.partitionBy(F.coalesce("cluster_id", "doc_id"))
    survivor = F.min(F.when(passes, F.struct("fetch_time", "doc_id"))).over(cluster)["doc_id"]
    is_copy = F.col("cluster_id").isNotNull() & passes & (F.col("doc_id") != survivor)
    marked = judged.withColumn("duplicate_of", F.when(is_copy, survivor))
    copy = F.array(F.lit(step))
    return marked.withColumn("failed", F.when(F.col("duplicate_of").isNotNull(), copy).otherwise(F.col("failed")))


@dataclass(frozen=True)
class CorpusParams:
    """The recipe whose kept documents are the corpus, and the tokenizer that measures texts it has shortened."""

    __pydantic_config__ = STRICT

    recipe: Recipe
    tokenizer: str = "gpt2"


def corpus(
    dispositions: DataFrame,
    documents: DataFrame,
    document_language: DataFrame,
    document_tokens: DataFrame,
    document_pii: DataFrame,
    params: CorpusParams,
) -> DataFrame:
    """One row per document that the recipe keeps, with the text that a trainer reads.

    Key: `dispositions` has one row per recipe and doc_id, the others one per doc_id.
    """
    recipe = params.recipe
    is_kept = (F.col("recipe") == recipe.name) & (F.col("decision") == "kept")
    kept = dispositions.where(is_kept).select("recipe", "doc_id")
    texts = documents.select("doc_id", "crawl", "url", "url_host_name", "fetch_time", "title", "text")
    languages = document_language.select("doc_id", "language", "language_score")
    rows = kept.join(texts, "doc_id", how="inner").join(languages, "doc_id", how="left")
    rows = rows.join(document_tokens.select("doc_id", "tokens"), "doc_id", how="inner")
    if recipe.mask:
        rows = rows.join(document_pii.select("doc_id", "spans"), "doc_id", how="left")
    if recipe.mask or recipe.remove_lines != "none":
        rows = _rewritten(rows, params)
    return rows.select(*tables.CORPUS.columns)


def _rewritten(rows: DataFrame, params: CorpusParams) -> DataFrame:
    """`rows` with `text` masked, then without the lines that the recipe removes; texts left empty stay, as empty.

    The tokens of a text that changes are counted anew.
    """
    mask, line_filter = params.recipe.mask, LINE_FILTERS.get(params.recipe.remove_lines)

    def rewrite(text: str, spans: Sequence[Mapping[str, Any]]) -> str:
        masked = pii.mask(text, [pii.Span(**span) for span in spans], mask)
        return line_filter(masked) if line_filter is not None else masked

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counter = tokens.counter(params.tokenizer)
        for batch in batches:
            before = batch.column("text").to_pylist()
            spans = batch.column("spans").to_pylist() if mask else [()] * len(before)
            after = [rewrite(text, found or ()) for text, found in zip(before, spans, strict=True)]
            lengths = batch.column("tokens").to_pylist()
            changed = [place for place, text in enumerate(after) if text != before[place]]
            for place, length in zip(changed, counter([after[place] for place in changed]), strict=True):
                lengths[place] = length
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in others), pa.array(after), pa.array(lengths, pa.int64())],
                names=[*others, "text", "tokens"],
            )

    others = [name for name in tables.CORPUS.columns if name not in ("text", "tokens")]
    ddl = ", ".join(f"{name} {rows.schema[name].dataType.simpleString()}" for name in others)
    return rows.mapInArrow(work, f"{ddl}, text string, tokens bigint")


DISPOSITIONS = Stage(
    dispositions,
    inputs=(tables.CAPTURES, *SIGNAL_TABLES, tables.DUPLICATE_CLUSTERS),
    output=tables.DISPOSITIONS,
    params=Recipe,
)
CORPUS = Stage(
    corpus,
    inputs=(
        tables.DISPOSITIONS,
        tables.DOCUMENTS,
        tables.DOCUMENT_LANGUAGE,
        tables.DOCUMENT_TOKENS,
        tables.DOCUMENT_PII,
    ),
    output=tables.CORPUS,
    params=CorpusParams,
)
