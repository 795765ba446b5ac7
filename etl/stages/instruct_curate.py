"""What a recipe keeps of a collection, and why it drops the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.stage import Stage
from etl.stages.instruct import EXAMPLES, PAIRS, PLACE
from etl.stages.instruct_dedup import MIN_SIMILARITY, NEAR
from etl.stages.rules import Rule
from etl.tables import Table

_SCORE = re.compile(r"scores\.\w+")


@dataclass(frozen=True)
class InstructionRule(Rule):
    """A condition on a column of `instructions` or `preferences`, or on what a source says: ``scores.<name>``.

    A rule counts for the tables that have its column, and a rule on a score for the examples that have it, as only
    some sources score. Any other signal that is missing fails.
    """

    __pydantic_config__ = STRICT

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crawl_patterns:
            raise ValueError(f"rule {self.name!r} is about crawls, which instruction data has none of")

    @property
    def is_score(self) -> bool:
        return _SCORE.fullmatch(self.signal) is not None

    def is_known(self) -> bool:
        return self.is_score or any(self.is_of(table) for table in (tables.INSTRUCTIONS, tables.PREFERENCES))

    def is_of(self, table: Table) -> bool:
        """Whether the rule counts for a table."""
        return self.column in _signals(table)

    @property
    def column(self) -> str:
        return "scores" if self.is_score else self.signal

    def fails(self) -> Column:
        fails = super().fails()
        return F.col(self.signal).isNotNull() & fails if self.is_score else fails


def _signals(table: Table) -> set[str]:
    """Columns with one value to judge, and the scores."""
    return set(table.columns) - {"messages", "prompt", "chosen", "rejected", "import_error"}


@dataclass(frozen=True)
class InstructionRecipe:
    """Which examples and pairs are kept, by rules in order; the first that fails names the drop, then come duplicates.

    Of exact copies that pass every rule, the one of smallest place is kept. An example whose similarity to one of
    smaller id is `max_similarity` or more is dropped; null keeps near copies. Which example that is does not depend on
    the recipe: a near copy of one that a rule drops goes with it. An example that holds more of an item of a benchmark
    than `max_contamination`, a share, is dropped; null looks for none.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    rules: tuple[InstructionRule, ...]
    max_similarity: float | None = MIN_SIMILARITY
    max_contamination: float | None = None

    def __post_init__(self) -> None:
        problems = []
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"rules named twice: {', '.join(twice)}")
        if self.max_similarity is not None and not MIN_SIMILARITY <= self.max_similarity <= 1:
            problems.append(
                f"max_similarity is {self.max_similarity:g}, wanted {MIN_SIMILARITY:g} to 1: "
                "instruction_duplicates knows no lower one"
            )
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class InstructionDispositionParams:
    """The collection, and the recipe that decides about it."""

    __pydantic_config__ = STRICT

    collection: str
    recipe: InstructionRecipe


def instruction_dispositions(
    instructions: DataFrame,
    preferences: DataFrame,
    instruction_duplicates: DataFrame,
    instruction_contamination: DataFrame,
    params: InstructionDispositionParams,
) -> DataFrame:
    """One row per row of `instructions` and of `preferences`: kept, or dropped by which rule, and why.

    Key: of each kind, `instruction_duplicates` has at most one row of method minhash per example_id.
    """
    recipe, of_collection = params.recipe, F.col("collection") == params.collection
    given = _signals_of(instructions, EXAMPLES, preferences, recipe).unionByName(
        _signals_of(preferences, PAIRS, instructions, recipe)
    )
    near = instruction_duplicates.where(of_collection & (F.col("method") == NEAR)).select(
        "kind", "example_id", F.col("duplicate_of").alias("near"), "similarity"
    )
    error = F.col("import_error")
    unread = F.when(error.isNotNull(), _reason("import_error", "import_error", error))
    found = instruction_contamination.where(of_collection).select("kind", *PLACE, "contamination", "benchmarks")
    # Key: `instruction_contamination` has at most one row per place.
    given = given.where(of_collection).join(found, ["kind", *PLACE], how="left")
    failed = F.coalesce(
        unread, _contaminated(recipe), *[F.when(_fails(rule), _rule_reason(rule)) for rule in recipe.rules]
    )
    judged = given.withColumn("reason", failed).join(near, ["kind", "example_id"], how="left")
    final = _with_near_copies(_with_copies(judged), recipe.max_similarity)
    return final.select(
        F.lit(recipe.name).alias("recipe"),
        "collection",
        "kind",
        *PLACE,
        "example_id",
        F.when(F.col("reason").isNull(), "kept").otherwise("dropped").alias("decision"),
        *[F.col(f"reason.{name}").alias(name) for name in ("rule", "signal", "value", "threshold", "detail")],
        "duplicate_of",
    )


def _signals_of(rows: DataFrame, kind: str, others: DataFrame, recipe: InstructionRecipe) -> DataFrame:
    """Place, id and what the rules read; null for the columns that only the `others` have."""
    ruled = {rule.column for rule in recipe.rules}
    read = sorted(ruled.union({"language"}).difference({"collection", *PLACE, "example_id"}))
    columns = [
        name if name in rows.columns else F.lit(None).cast(others.schema[name].dataType).alias(name) for name in read
    ]
    return rows.select("collection", F.lit(kind).alias("kind"), *PLACE, "example_id", "import_error", *columns)


def _fails(rule: InstructionRule) -> Column:
    kinds = ((EXAMPLES, tables.INSTRUCTIONS), (PAIRS, tables.PREFERENCES))
    return F.col("kind").isin(*[kind for kind, table in kinds if rule.is_of(table)]) & rule.fails()


def _with_copies(judged: DataFrame) -> DataFrame:
    """`judged`, where of the copies of one example that pass every rule all but the first have a reason."""
    place, passes = F.struct(*PLACE), F.col("reason").isNull()
    # Rows without an example are their own copies, so that they do not meet in one partition.
    same = Window.partitionBy("kind", F.coalesce("example_id", F.concat_ws(" ", *PLACE)))
    marked = judged.withColumn("first", F.min(F.when(passes, place)).over(same))
    is_copy = passes & (F.col("first") != place)
    first = (F.col(f"first.{name}") for name in ("record", "source", "file"))
    reason = _reason("exact_duplicate", "example_id", F.format_string("the same as record %d of %s/%s", *first))
    return marked.withColumn("duplicate_of", F.when(is_copy, F.col("example_id"))).withColumn(
        "reason", F.when(is_copy, reason).otherwise(F.col("reason"))
    )


def _with_near_copies(judged: DataFrame, bound: float | None) -> DataFrame:
    """`judged`, where each that passes so far and is too similar to one of smaller id has a reason."""
    if bound is None:
        return judged
    similarity = F.col("similarity")
    is_near = F.col("reason").isNull() & F.coalesce(similarity >= bound, F.lit(False))
    detail = F.concat(
        F.format_string("similarity is %.3f to ", similarity), "near", F.lit(f", wanted less than {bound:g}")
    )
    reason = _reason("near_duplicate", "similarity", detail, similarity, bound)
    return judged.withColumn(
        "duplicate_of", F.when(is_near, F.col("near")).otherwise(F.col("duplicate_of"))
    ).withColumn("reason", F.when(is_near, reason).otherwise(F.col("reason")))


def _contaminated(recipe: InstructionRecipe) -> Column:
    """Why an example is dropped that holds items of benchmarks, or null."""
    bound, value = recipe.max_contamination, F.col("contamination")
    if bound is None:
        return F.lit(None)
    items = F.concat(F.lit("holds items of "), F.array_join("benchmarks", ", "))
    share = F.format_string(f", %.3f of one, wanted at most {bound:g}", value)
    return F.when(value > bound, _reason("contaminated", "contamination", F.concat(items, share), value, bound))


def _rule_reason(rule: InstructionRule) -> Column:
    value = F.col(rule.signal)
    is_value = F.concat(F.lit(f"{rule.signal} is "), F.coalesce(value.cast("string"), F.lit("missing")))
    number = None if rule.threshold is None else value
    return _reason(rule.name, rule.signal, F.concat(is_value, F.lit(f", wanted {rule.wanted()}")), number, rule.bound())


def _reason(
    rule: str, signal: str, detail: Column, value: Column | None = None, threshold: float | Column | None = None
) -> Column:
    number = F.lit(None) if value is None else value
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(signal).alias("signal"),
        number.cast("double").alias("value"),
        F.lit(threshold).cast("double").alias("threshold"),
        detail.alias("detail"),
    )


INSTRUCTION_DISPOSITIONS = Stage(
    instruction_dispositions,
    inputs=(
        tables.INSTRUCTIONS,
        tables.PREFERENCES,
        tables.INSTRUCTION_DUPLICATES,
        tables.INSTRUCTION_CONTAMINATION,
    ),
    output=tables.INSTRUCTION_DISPOSITIONS,
    params=InstructionDispositionParams,
)
