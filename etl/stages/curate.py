"""From annotations to decisions: a recipe applied as one cheap stage, and the corpus it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import lines, tokens
from etl.stage import Stage
from etl.stages.extract import not_a_page
from etl.tables import Table

LINE_FILTERS = {"c4": lines.c4_lines, "fineweb": lines.fineweb_lines, "refinedweb": lines.refinedweb_lines}
# Tables whose columns a rule may read, by the stage that a disposition names.
SIGNAL_TABLES: tuple[Table, ...] = (
    tables.DOCUMENTS,
    tables.DOCUMENT_LANGUAGE,
    tables.DOCUMENT_TOKENS,
    tables.DOCUMENT_QUALITY,
)


@dataclass(frozen=True)
class Rule:
    """One condition that a document must meet. Exactly one bound is given; `min` and `max` are inclusive.

    With `languages`, the rule only counts for documents of these languages. A signal that is missing fails.
    """

    __pydantic_config__ = STRICT

    name: str
    signal: str
    min: float | None = None
    max: float | None = None
    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in ("min", "max", "one_of", "none_of") if getattr(self, bound) is not None]
        if len(bounds) != 1:
            raise ValueError(f"rule {self.name!r} has {bounds or 'no bound'}, wanted one of min, max, one_of, none_of")
        if not self.is_known():
            raise ValueError(f"rule {self.name!r} reads {self.signal!r}, which no table of signals has")

    def is_known(self) -> bool:
        """Whether there is such a signal."""
        return self.signal in SIGNALS

    @property
    def threshold(self) -> float | None:
        return self.max if self.min is None else self.min

    def fails(self) -> Column:
        """Condition on the joined signals, never null."""
        value = F.col(self.signal)
        if self.min is not None:
            passes = value >= self.min
        elif self.max is not None:
            passes = value <= self.max
        else:
            passes = value.isin(*self.one_of) if self.one_of is not None else ~value.isin(*(self.none_of or ()))
        fails = ~F.coalesce(passes, F.lit(False))
        return fails & F.coalesce(F.col("language").isin(*self.languages), F.lit(False)) if self.languages else fails

    def wanted(self) -> str:
        """The bound in words."""
        if self.threshold is not None:
            return f"at {'least' if self.min is not None else 'most'} {self.threshold:g}"
        names = self.one_of if self.one_of is not None else self.none_of or ()
        return f"{'one' if self.one_of is not None else 'none'} of {', '.join(names)}"


SIGNALS = {column: table.name for table in reversed(SIGNAL_TABLES) for column in table.columns}


@dataclass(frozen=True)
class Recipe:
    """Which documents are kept, by rules in order; the first that fails names the drop.

    `duplicates`: none, or exact (of the documents with one text that pass every rule, the one fetched first is kept).
    `remove_lines`: none, c4, fineweb or refinedweb, a line filter applied to the text that is kept.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    rules: tuple[Rule, ...]
    duplicates: str = "exact"
    remove_lines: str = "none"

    def __post_init__(self) -> None:
        problems = []
        if self.duplicates not in ("none", "exact"):
            problems.append(f"duplicates is {self.duplicates!r}, wanted none or exact")
        if self.remove_lines not in ("none", *LINE_FILTERS):
            problems.append(f"remove_lines is {self.remove_lines!r}, wanted none, {' or '.join(LINE_FILTERS)}")
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"rules named twice: {', '.join(twice)}")
        if problems:
            raise ValueError("; ".join(problems))


def dispositions(
    captures: DataFrame,
    documents: DataFrame,
    document_language: DataFrame,
    document_tokens: DataFrame,
    document_quality: DataFrame,
    duplicate_clusters: DataFrame,
    recipe: Recipe,
) -> DataFrame:
    """One row per record: kept, or dropped by which rule, with the value measured and the bound.

    Key: every right side has one row per doc_id, so the joins add none; `captures` has one row per record.
    """
    signals = captures.select(*_RECORD, *_CAPTURED)
    for table, rows in zip(
        SIGNAL_TABLES, (documents, document_language, document_tokens, document_quality), strict=True
    ):
        signals = signals.join(_signals_of(rows, table, recipe), "doc_id", how="left")
    clusters = duplicate_clusters.where(F.col("method") == recipe.duplicates)
    signals = signals.join(clusters.select("doc_id", "cluster_id", "cluster_size"), "doc_id", how="left")

    gates, rules = _gates(), _rules(recipe)
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
        "language",
        "tokens",
    )


@dataclass(frozen=True)
class _Check:
    """One reason to drop a record: the condition, and what a disposition says when it holds."""

    stage: str
    rule: str | Column
    condition: Column
    detail: Column
    signal: str | None = None
    value: Column | None = None
    threshold: float | None = None


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
    read = sorted(ruled.union({"extract_error", "language", "tokens"}.intersection(table.columns)))
    return rows.select("doc_id", *[c for c in read if c not in _RECORD], F.lit(True).alias(f"in_{table.name}"))


def _gates() -> list[_Check]:
    """Questions that must be answered before rules make sense: is it a page, was there text, was it measured."""
    error = F.col("extract_error")
    not_page = [
        _Check("captures", rule, condition, _is(signal), signal, value)
        for rule, signal, condition, value in not_a_page()
    ]
    kind = F.concat(F.lit("extract_"), F.get(F.split(error, ":"), F.lit(0)))
    return [
        *not_page,
        _Check("documents", "not_extracted", F.col("in_documents").isNull(), F.lit("not extracted yet")),
        _Check("documents", kind, error.isNotNull(), error, "extract_error"),
        *[
            _Check(table.name, "not_annotated", F.col(f"in_{table.name}").isNull(), F.lit("not annotated yet"))
            for table in SIGNAL_TABLES[1:]
        ],
    ]


def _rules(recipe: Recipe) -> list[_Check]:
    return [
        _Check(
            SIGNALS[rule.signal],
            rule.name,
            rule.fails(),
            F.concat(_is(rule.signal), F.lit(f", wanted {rule.wanted()}")),
            rule.signal,
            value=None if rule.threshold is None else F.col(rule.signal),
            threshold=rule.threshold,
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


def _is(signal: str) -> Column:
    value = F.col(signal).cast("string")
    return F.concat(F.lit(f"{signal} is "), F.coalesce(value, F.lit("missing")))


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
    params: CorpusParams,
) -> DataFrame:
    """One row per document that the recipe keeps, with the text that a trainer reads.

    Key: `dispositions` has one row per recipe and doc_id, the others one per doc_id.
    """
    is_kept = (F.col("recipe") == params.recipe.name) & (F.col("decision") == "kept")
    kept = dispositions.where(is_kept).select("recipe", "doc_id")
    texts = documents.select("doc_id", "crawl", "url", "url_host_name", "fetch_time", "title", "text")
    languages = document_language.select("doc_id", "language", "language_score")
    rows = kept.join(texts, "doc_id", how="inner").join(languages, "doc_id", how="left")
    if params.recipe.remove_lines == "none":
        rows = rows.join(document_tokens.select("doc_id", "tokens"), "doc_id", how="inner")
    else:
        rows = _with_lines_removed(rows, params)
    return rows.select(*tables.CORPUS.columns)


def _with_lines_removed(rows: DataFrame, params: CorpusParams) -> DataFrame:
    """`rows` with `text` after the recipe's line filter and `tokens` counted anew; texts left empty stay, as empty."""
    line_filter = LINE_FILTERS[params.recipe.remove_lines]

    def remove(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counter = tokens.counter(params.tokenizer)
        for batch in batches:
            texts = [line_filter(text) for text in batch.column("text").to_pylist()]
            others = [name for name in batch.schema.names if name != "text"]
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in others), pa.array(texts), pa.array(counter(texts), pa.int64())],
                names=[*others, "text", "tokens"],
            )

    columns = [field for field in rows.schema if field.name != "text"]
    ddl = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in columns)
    return rows.mapInArrow(remove, f"{ddl}, text string, tokens bigint")


DISPOSITIONS = Stage(
    dispositions,
    inputs=(tables.CAPTURES, *SIGNAL_TABLES, tables.DUPLICATE_CLUSTERS),
    output=tables.DISPOSITIONS,
    params=Recipe,
)
CORPUS = Stage(
    corpus,
    inputs=(tables.DISPOSITIONS, tables.DOCUMENTS, tables.DOCUMENT_LANGUAGE, tables.DOCUMENT_TOKENS),
    output=tables.CORPUS,
    params=CorpusParams,
)
