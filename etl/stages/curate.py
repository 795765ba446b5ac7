"""From annotations to decisions: a recipe applied as one cheap stage, and the corpus it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import lines, pii, repeats, tokens
from etl.stage import Stage
from etl.stages.extract import not_a_page
from etl.stages.repeats import LineParams, ParagraphParams, SubstringParams
from etl.stages.rules import (
    NOT_SCORED,
    OPTIONAL,
    SCORE_FIELDS,
    SIGNAL_TABLES,
    SIGNALS,
    Rule,
    fits,
    is_value,
    reads,
    scorer_of,
    table_of,
)
from etl.tables import Table

# Ways to find duplicates, in the order in which they are looked for: method of `duplicate_clusters`, the rule that a
# disposition names, and what it says of a duplicate before the doc_id of the one that is kept.
DUPLICATES = {
    "payload": ("payload_duplicate", "the same bytes as "),
    "exact": ("exact_duplicate", "the same text as "),
    "normal": ("normal_duplicate", "the same words as "),
    "minhash": ("near_duplicate", "nearly the text of "),
    "semantic": ("semantic_duplicate", "of the same meaning as "),
}
_RECORD = ["doc_id", "crawl", "url", "url_host_name", "warc_filename", "warc_record_offset"]
_CAPTURED = [
    "warc_record_type",
    "fetch_status",
    "content_mime_detected",
    "payload_length",
    "ingest_error",
    "fetch_time",
]
LINE_FILTERS = {"c4": lines.c4_lines, "fineweb": lines.fineweb_lines, "refinedweb": lines.refinedweb_lines}


@dataclass(frozen=True)
class Preference:
    """By what one of several duplicates is kept: the least or the most of a signal, or its value by a list.

    `first` ranks values, such as crawls or hosts, those that it does not name after those that it does. A document
    without the signal comes last.
    """

    __pydantic_config__ = STRICT

    signal: str = "fetch_time"
    prefer: str = "least"
    first: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.prefer not in ("least", "most"):
            raise ValueError(f"prefer is {self.prefer!r}, wanted least or most")
        if table_of(self.signal) is None and self.signal not in {*_RECORD, *_CAPTURED}:
            raise ValueError(f"survivor reads {self.signal!r}, which no table of signals has")

    def rank(self) -> Column:
        """What is smaller the more the document is preferred."""
        value = F.col(self.signal)
        if self.first:
            # By name, since PySpark 3.5 takes no column for the value.
            place = F.call_function("array_position", F.array(*map(F.lit, self.first)), value.cast("string"))
            return F.struct(place.isNull() | (place == 0), place)
        return F.struct(value.isNull(), value if self.prefer == "least" else -value.cast("double"))


@dataclass(frozen=True)
class Alarm:
    """A source that loses so much to duplicates that something else must be wrong: `by` names the source.

    It is raised when of at least `documents` that pass every rule more than `share` are dropped as duplicates.
    """

    __pydantic_config__ = STRICT

    by: str = "crawl"
    share: float = 0.9
    documents: int = 1000

    def __post_init__(self) -> None:
        if self.by not in _RECORD:
            raise ValueError(f"alarm is by {self.by!r}, wanted one of {', '.join(_RECORD)}")

    def is_raised(self, documents: Any, dropped: Any) -> Any:
        """By a source that has so many documents and of them loses so many: of numbers, or of columns."""
        return (documents >= self.documents) & (dropped > self.share * documents)


@dataclass(frozen=True)
class Repeats:
    """What of a text is removed because other kept documents say it too; null for nothing of that kind."""

    __pydantic_config__ = STRICT

    line: LineParams | None = None
    paragraph: ParagraphParams | None = None
    substring: SubstringParams | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in repeats.KINDS if getattr(self, kind) is not None)


@dataclass(frozen=True)
class Recipe:
    """Which documents are kept, by rules in order; the first that fails names the drop.

    `duplicates`: the methods (of `DUPLICATES`) by which duplicates are found, in that order. Of the documents of one
    cluster that pass every rule and every method before, one is kept: the one that `survivor` prefers, its first
    preference before the second; without any the one fetched first. `alarm`: see there.
    `scorers`: for a scorer that rules name (``quality.score``), the file of ``conf/scorers`` by name or path, or a
    model whose scores `document_scores` has already, such as ``quality@0123456789ab``; without it the file of its name.
    `remove_repeats`: lines, paragraphs and runs of words of other kept documents that are cut out of the text.
    `mask`: kinds of personal data (`etl.kernels.pii.KINDS`) that have a placeholder in the text that is kept.
    `remove_lines`: none, c4, fineweb or refinedweb, a line filter applied to that text.
    `as_is`: names and patterns of crawls, such as ``code:*``, to whose texts nothing of these three is done.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    rules: tuple[Rule, ...]
    duplicates: tuple[str, ...] = ("exact",)
    survivor: tuple[Preference, ...] = (Preference(),)
    alarm: Alarm = Alarm()
    remove_lines: str = "none"
    mask: tuple[str, ...] = ()
    remove_repeats: Repeats = Repeats()
    as_is: tuple[str, ...] = ()
    scorers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if list(self.duplicates) != [method for method in DUPLICATES if method in self.duplicates]:
            problems.append(f"duplicates is {list(self.duplicates)}, wanted some of {list(DUPLICATES)} in this order")
        if self.remove_lines not in ("none", *LINE_FILTERS):
            problems.append(f"remove_lines is {self.remove_lines!r}, wanted none, {' or '.join(LINE_FILTERS)}")
        unknown = sorted({*self.mask}.difference(pii.KINDS))
        if unknown:
            problems.append(f"mask names {', '.join(unknown)}, wanted some of {', '.join(pii.KINDS)}")
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"rules named twice: {', '.join(twice)}")
        scored = [scorer_of(rule.signal) is not None for rule in self.rules]
        if scored != sorted(scored):
            late = [rule.name for rule, before in zip(self.rules[1:], scored, strict=False) if before][-1]
            problems.append(f"rule {late!r} stands after a rule on a score, wanted scores last: models come last")
        problems += [
            f"scorers names {name!r}, which no rule and no preference reads"
            for name in self.scorers
            if name not in self.scored_by
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def scored_by(self) -> tuple[str, ...]:
        """The scorers that rules and preferences read, in the order in which they are needed."""
        signals = [*(rule.signal for rule in self.rules), *(preference.signal for preference in self.survivor)]
        return tuple(dict.fromkeys(scorer for signal in signals if (scorer := scorer_of(signal))))

    def reads(self, table: Table) -> bool:
        """Whether a rule reads a signal of `table`."""
        return reads(self.rules, table)

    def unmatched(self, crawls: Iterable[str]) -> tuple[str, ...]:
        """Names and patterns of crawls in rules and `as_is` that fit none of these."""
        named = [*self.as_is, *(pattern for rule in self.rules for pattern in rule.crawl_patterns)]
        known = tuple(crawls)
        return tuple(each for each in dict.fromkeys(named) if not any(fits(crawl, [each]) for crawl in known))

    @property
    def models(self) -> dict[str, str]:
        """What each of these is, as `scorers` says."""
        return {scorer: self.scorers.get(scorer, scorer) for scorer in self.scored_by}


def dispositions(
    captures: DataFrame,
    url_signals: DataFrame,
    documents: DataFrame,
    document_language: DataFrame,
    document_tokens: DataFrame,
    document_quality: DataFrame,
    document_pii: DataFrame,
    document_contamination: DataFrame,
    document_robots: DataFrame,
    document_scores: DataFrame,
    duplicate_clusters: DataFrame,
    recipe: Recipe,
) -> DataFrame:
    """One row per record: kept, or dropped by which rule, with the value measured and the bound.

    A document that a model should score and has not is dropped as not scored, when it passes every rule before.

    Key: every right side has one row per doc_id, so the joins add none; `captures` has one row per record.
    """
    signals = captures.select(*_RECORD, *_CAPTURED)
    annotations = (
        url_signals,
        documents,
        document_language,
        document_tokens,
        document_quality,
        document_pii,
        document_contamination,
        document_robots,
    )
    for table, rows in zip(SIGNAL_TABLES, annotations, strict=True):
        if table in _read_by(recipe):
            signals = signals.join(_signals_of(rows, table, recipe), "doc_id", how="left")
    if recipe.scored_by:
        signals = signals.join(_scores(document_scores, recipe), ["doc_id", "text_hash"], how="left")
    if recipe.duplicates:
        signals = signals.join(_clusters(duplicate_clusters, recipe), "doc_id", how="left")

    gates, rules = _gates(recipe), _rules(recipe)
    checks = [*gates, *rules, *map(_copy, recipe.duplicates)]
    judged = signals.select(
        "*",
        _failed(gates, rules).alias("failed"),
        F.lit(None).cast("string").alias("duplicate_of"),
        F.lit(1).cast("bigint").alias("stands_for"),
    )
    for step, method in enumerate(recipe.duplicates, start=len(gates) + len(rules) + 1):
        judged = _with_copies(judged, method, step, recipe)
    judged = judged.withColumn("step", F.get("failed", F.lit(0)))

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
        F.when(F.col("step").isNull(), F.col("stands_for")).alias("stands_for"),
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


def _read_by(recipe: Recipe) -> list[Table]:
    """Tables of signals that decide something under a recipe."""
    return [table for table in SIGNAL_TABLES if table not in OPTIONAL or recipe.reads(table)]


def _signals_of(rows: DataFrame, table: Table, recipe: Recipe) -> DataFrame:
    """Of an annotation, the columns that are read here, and a flag that is null where the row is missing."""
    named = {*(rule.signal for rule in recipe.rules), *(preference.signal for preference in recipe.survivor)}
    ruled = {signal for signal in named if SIGNALS.get(signal) == table.name}
    always = {"extract_error", "skipped", "text_hash", "page_language", "language", "tokens"}
    read = sorted(ruled.union(always & {*table.columns}))
    return rows.select(
        "doc_id", *[c for c in read if c not in (*_RECORD, *_CAPTURED)], F.lit(True).alias(f"in_{table.name}")
    )


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
            for table in _read_by(recipe)
            if table is not tables.DOCUMENTS
        ],
    ]


def _skipped(recipe: Recipe, skipped: Column) -> _Check:
    """The rule by which a page was left out before its text was extracted; another recipe may not have that rule."""
    ours = [(skipped["rule"] == rule.name) & rule.about() for rule in recipe.rules]
    is_ours = F.coalesce(reduce(or_, ours, F.lit(False)), F.lit(False))
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
    checks = []
    asked = set()
    for rule in recipe.rules:
        scorer = scorer_of(rule.signal)
        if scorer and scorer not in asked:
            asked.add(scorer)
            detail = F.lit(f"no score by {recipe.models[scorer]} yet")
            # A document that no rule on the score is about needs none.
            is_asked = reduce(or_, [each.counts() for each in recipe.rules if scorer_of(each.signal) == scorer])
            lacks = F.col(scorer).isNull() & is_asked
            checks.append(_Check("document_scores", NOT_SCORED, lacks, detail, scorer))
        fails = rule.fails() if scorer is None else rule.fails() & F.col(scorer).isNotNull()
        checks.append(
            _Check(
                table_of(rule.signal) or "",
                rule.name,
                fails,
                F.concat(is_value(rule.signal), F.lit(f", wanted {rule.wanted()}")),
                rule.signal,
                value=None if rule.threshold is None else F.col(rule.signal),
                threshold=rule.bound() if rule.by_language else rule.threshold,
            )
        )
    return checks


def _scores(document_scores: DataFrame, recipe: Recipe) -> DataFrame:
    """One row per text that was scored: for each scorer of the recipe what its model says, or null.

    Key: a model has one row per document, so max picks the one there is.
    """
    found = F.struct(*SCORE_FIELDS, "error")
    rows = document_scores.where(F.col("model").isin(*recipe.models.values()))
    return rows.groupBy("doc_id", "text_hash").agg(
        *[F.max(F.when(F.col("model") == model, found)).alias(scorer) for scorer, model in recipe.models.items()]
    )


def _copy(method: str) -> _Check:
    """What a duplicate of a kept document fails, after all rules."""
    rule, words = DUPLICATES[method]
    of_whom = F.col("duplicate_of")
    detail, size = F.concat(F.lit(words), of_whom), F.col(f"{method}_size")
    return _Check("duplicate_clusters", rule, of_whom.isNotNull(), detail, "cluster_id", size)


def _clusters(duplicate_clusters: DataFrame, recipe: Recipe) -> DataFrame:
    """One row per document of a cluster: for each method of the recipe the cluster and its size, or null."""
    clusters = duplicate_clusters.where(F.col("method").isin(*recipe.duplicates))
    return clusters.groupBy("doc_id").agg(
        *[
            F.max(F.when(F.col("method") == method, F.col(column))).alias(f"{method}_{name}")
            for method in recipe.duplicates
            for name, column in (("cluster", "cluster_id"), ("size", "cluster_size"))
        ]
    )


def _failed(gates: Sequence[_Check], rules: Sequence[_Check]) -> Column:
    """Places, from 1, of the checks that failed: of the gates the first alone, or else all rules, in order.

    That a document has no score is only said of one that fails nothing before: no other needs one.
    """
    conditions = [check.condition for check in (*gates, *rules)]
    places = F.array(*[F.when(condition, F.lit(place)) for place, condition in enumerate(conditions, start=1)])
    failed = F.filter(places, lambda place: place.isNotNull())
    waits = [place for place, check in enumerate(rules, start=len(gates) + 1) if check.rule == NOT_SCORED]
    if waits:
        first = F.get(failed, F.lit(0))
        failed = F.filter(failed, lambda place: (place == first) | ~place.isin(*waits))
    return F.when(F.get(failed, F.lit(0)) <= len(gates), F.slice(failed, 1, 1)).otherwise(failed)


def _with_copies(judged: DataFrame, method: str, step: int, recipe: Recipe) -> DataFrame:
    """`judged`, where each duplicate of a document that is kept in its place fails the check at `step`.

    The survivor is the one that the recipe prefers of the documents that passed every check before, then the smallest
    doc_id; it stands for all of them.
    """
    passes = F.size("failed") == 0
    # Documents without a cluster are their own, so that they do not meet in one partition.
    cluster = Window.partitionBy(F.coalesce(f"{method}_cluster", "doc_id"))
    ranks = [preference.rank().alias(f"rank_{place}") for place, preference in enumerate(recipe.survivor)]
    survivor = F.min(F.when(passes, F.struct(*ranks, "doc_id"))).over(cluster)["doc_id"]
    is_copy = F.col("survivor") != F.col("doc_id")
    found = judged.select(
        "*",
        F.when(passes, survivor).alias("survivor"),
        F.sum(F.when(passes, F.col("stands_for"))).over(cluster).alias("standing"),
    )
    return found.withColumns(
        {
            "failed": F.when(is_copy, F.array(F.lit(step))).otherwise(F.col("failed")),
            "duplicate_of": F.when(is_copy, F.col("survivor")).otherwise(F.col("duplicate_of")),
            "stands_for": F.coalesce("standing", "stands_for"),
        }
    ).drop("survivor", "standing")


@dataclass(frozen=True)
class CorpusParams:
    """The recipe whose kept documents are the corpus, and the tokenizer that measures texts it has shortened.

    `scorers`: the models whose scores the corpus has, by the names of their scorers.
    """

    __pydantic_config__ = STRICT

    recipe: Recipe
    tokenizer: str = "gpt2"
    scorers: Mapping[str, str] = field(default_factory=dict)


def corpus(
    dispositions: DataFrame,
    documents: DataFrame,
    document_language: DataFrame,
    document_tokens: DataFrame,
    document_pii: DataFrame,
    document_repeats: DataFrame,
    document_scores: DataFrame,
    params: CorpusParams,
) -> DataFrame:
    """One row per document that the recipe keeps, with the text that a trainer reads.

    Key: `dispositions` has one row per recipe and doc_id, the others one per doc_id; scores are one row per text.
    """
    recipe = params.recipe
    is_kept = (F.col("recipe") == recipe.name) & (F.col("decision") == "kept")
    kept = dispositions.where(is_kept).select("recipe", "doc_id", "stands_for")
    texts = documents.select("doc_id", "crawl", "url", "url_host_name", "fetch_time", "title", "text", "text_hash")
    languages = document_language.select("doc_id", "language", "language_score")
    rows = kept.join(texts, "doc_id", how="inner").join(languages, "doc_id", how="left")
    rows = rows.join(document_tokens.select("doc_id", "tokens"), "doc_id", how="inner")
    rows = _with_scores(rows, document_scores, params.scorers)
    if recipe.mask:
        rows = rows.join(document_pii.select("doc_id", F.col("spans").alias("personal")), "doc_id", how="left")
    if recipe.remove_repeats.kinds:
        of_recipe = document_repeats.where(F.col("recipe") == recipe.name)
        rows = rows.join(of_recipe.select("doc_id", F.col("spans").alias("repeated")), "doc_id", how="left")
    if recipe.mask or recipe.remove_repeats.kinds or recipe.remove_lines != "none":
        rows = _rewritten(rows, params)
    return rows.select(*tables.CORPUS.columns)


def _with_scores(rows: DataFrame, document_scores: DataFrame, models: Mapping[str, str]) -> DataFrame:
    """`rows` with `scores`: of each text what `models` have said of it, by the names of their scorers.

    Key: a model has one row per document, so a text has one row and a scorer one entry.
    """
    none = F.create_map().cast("map<string,double>")
    if not models:
        return rows.withColumn("scores", none)
    entries = [
        F.collect_list(F.when(F.col("model") == model, F.struct(F.lit(scorer), "score")))
        for scorer, model in sorted(models.items())
    ]
    scored = document_scores.where(F.col("model").isin(*models.values()) & F.col("score").isNotNull())
    of_text = scored.groupBy("doc_id", "text_hash").agg(F.map_from_entries(F.concat(*entries)).alias("found"))
    joined = rows.join(of_text, ["doc_id", "text_hash"], how="left")
    return joined.withColumn("scores", F.coalesce("found", none)).drop("found")


def _rewritten(rows: DataFrame, params: CorpusParams) -> DataFrame:
    """`rows` with `text` masked and without what others repeat, then without the lines that the recipe removes.

    Texts left empty stay, as empty. Those of crawls that the recipe leaves as they are do not change.

    The tokens of a text that changes are counted anew.
    """
    recipe = params.recipe
    kinds, line_filter = recipe.remove_repeats.kinds, LINE_FILTERS.get(recipe.remove_lines)

    def rewrite(text: str, personal: Sequence[Mapping[str, Any]], repeated: Sequence[Mapping[str, Any]]) -> str:
        # Both name places of the same text, so they are applied at once.
        masks = [
            repeats.Replacement(span["start"], span["end"], pii.placeholder(span["kind"]))
            for span in personal
            if span["kind"] in recipe.mask
        ]
        cut = repeats.cut(text, [repeats.Span(**span) for span in repeated], kinds, masks)
        return line_filter(cut) if line_filter is not None else cut

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counter = tokens.counter(params.tokenizer)
        for batch in batches:
            before = batch.column("text").to_pylist()
            spans = [
                [found or () for found in batch.column(name).to_pylist()]
                if name in batch.schema.names
                else [()] * len(before)
                for name in ("personal", "repeated")
            ]
            keeps = [fits(crawl, recipe.as_is) for crawl in batch.column("crawl").to_pylist()]
            after = [
                text if keep else rewrite(text, personal, repeated)
                for keep, text, personal, repeated in zip(keeps, before, *spans, strict=True)
            ]
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
    inputs=(tables.CAPTURES, *SIGNAL_TABLES, tables.DOCUMENT_SCORES, tables.DUPLICATE_CLUSTERS),
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
        tables.DOCUMENT_REPEATS,
        tables.DOCUMENT_SCORES,
    ),
    output=tables.CORPUS,
    params=CorpusParams,
    version=2,
)
