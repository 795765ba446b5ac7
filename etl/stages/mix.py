"""From what a recipe keeps to a training set: documents, examples or pairs drawn by a mixture, in a fixed order, with a
manifest to make it again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.errors import InputError
from etl.stage import Stage

HASH_BLOCK = 1 << 16  # documents whose hashes are hashed together


@dataclass(frozen=True)
class Source:
    """Documents of a corpus that a SQL condition names, and the share of the set's tokens they should fill."""

    __pydantic_config__ = STRICT

    name: str
    where: str = "true"
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"source {self.name!r} has share {self.share:g}, wanted more than 0, at most 1")


@dataclass(frozen=True)
class Mixture:
    """Sources and their shares of the tokens of a set. A row is drawn for the first source that it fits.

    With `tokens`, each source gives whole rows up to its share of that budget; a source that has less gives all it has,
    and the set says so: shares are never changed to fit. Without, the budget is the largest that every source can fill.
    `held_out` is the share of rows that the set never has: they make a set of their own, to measure models on.

    `seed` decides the order: rows are sorted by a hash of seed and id, so the order does not depend on partitions, and
    a smaller budget is a prefix of a larger one. Which rows are held out does not depend on it.
    """

    __pydantic_config__ = STRICT

    name: str
    sources: tuple[Source, ...]
    tokens: int | None = None
    held_out: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        problems = []
        total = sum(source.share for source in self.sources)
        names = [source.name for source in self.sources]
        if abs(total - 1) > 1e-6:
            problems.append(f"shares add up to {total:g}, wanted 1")
        if len(set(names)) < len(names):
            problems.append(f"sources named twice: {sorted({name for name in names if names.count(name) > 1})}")
        if self.tokens is not None and self.tokens < 1:
            problems.append(f"tokens is {self.tokens}, wanted at least 1")
        if not 0 <= self.held_out < 1:
            problems.append(f"held_out is {self.held_out:g}, wanted at least 0 and less than 1")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class TrainingSetParams:
    """Name of the set, what it is drawn from, and the mixture.

    `recipe` chose the rows to draw from; `collection` is the one whose instructions or preferences these are. With
    `held_out`, the set is the part that the mixture keeps away from training, all of it.
    """

    __pydantic_config__ = STRICT

    training_set: str
    recipe: str
    mixture: Mixture
    collection: str | None = None
    held_out: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of set: its name, the id of its rows, the columns that a model reads, and the column by whose hash a row
    is held out: rows that share it, such as answers to one prompt, share their fate."""

    name: str
    id: str
    content: tuple[str, ...]
    fate: str


DOCUMENTS = Kind("documents", "doc_id", ("text",), "doc_id")
EXAMPLES = Kind("examples", "example_id", ("messages",), "prompt_id")
PAIRS = Kind("pairs", "example_id", ("prompt", "chosen", "rejected"), "prompt_id")
KINDS = {kind.name: kind for kind in (DOCUMENTS, EXAMPLES, PAIRS)}


def training_documents(corpus: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row per document of the set, numbered in the order of training.

    The same corpus gives the same rows on any number of partitions: order and choice are made by hashes of doc_id.
    Sorted in ranges of the hash, so it scales with the number of tasks; a document that would cross the budget of
    its source ends the source.
    """
    return _drawn(_candidates(DOCUMENTS, (corpus,), params), params, DOCUMENTS)


def training_examples(
    instructions: DataFrame, instruction_dispositions: DataFrame, params: TrainingSetParams
) -> DataFrame:
    """One row per example of the set, numbered in the order of training, drawn as `training_documents` are."""
    rows = _candidates(EXAMPLES, (instructions, instruction_dispositions), params)
    return _drawn(rows, params, EXAMPLES)


def training_pairs(preferences: DataFrame, instruction_dispositions: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row per preference pair of the set, numbered in the order of training, drawn as `training_documents` are."""
    return _drawn(_candidates(PAIRS, (preferences, instruction_dispositions), params), params, PAIRS)


def _candidates(kind: Kind, inputs: tuple[DataFrame, ...], params: TrainingSetParams) -> DataFrame:
    """The rows that a set may be drawn from, with the source of the mixture that each is for."""
    mixture = params.mixture
    rows = inputs[0].where(F.col("recipe") == params.recipe) if kind is DOCUMENTS else _kept(kind, inputs, params)
    source = F.coalesce(*[F.when(F.expr(each.where), F.lit(each.name)) for each in mixture.sources])
    digits = F.substring(F.sha2(F.concat(F.lit("held out "), kind.fate), 256), 1, 8)
    is_held_out = F.conv(digits, 16, 10).cast("bigint") < int(mixture.held_out * 16**8)
    # The condition of a source reads any column, among them one that is called source.
    found = rows.withColumn("drawn_for", source).where(F.col("drawn_for").isNotNull())
    return found.where(is_held_out == F.lit(params.held_out)).select(
        F.col("drawn_for").alias("source"), kind.id, *kind.content, "tokens"
    )


def _kept(kind: Kind, inputs: tuple[DataFrame, ...], params: TrainingSetParams) -> DataFrame:
    """Rows of the collection that the recipe keeps. Key: a row has one disposition under a recipe."""
    rows, dispositions = inputs
    place = ["collection", "source", "file", "record", "part"]
    is_kept = (F.col("recipe") == params.recipe) & (F.col("kind") == kind.name) & (F.col("decision") == "kept")
    kept = dispositions.where(is_kept & (F.col("collection") == params.collection)).select(*place)
    return rows.join(kept, place, how="left_semi")


def _budgets(candidates: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row: for each source of the mixture, numbered, what it has and what is asked of it:
    ``documents_0, tokens_0, asked_0, documents_1, ...``. Nothing is asked of a held-out part: it is all there is."""
    mixture = params.mixture
    sums = candidates.agg(*_counts(mixture, "documents", "tokens"))
    if params.held_out:
        asked = [F.col(f"tokens_{n}") for n in range(len(mixture.sources))]
    else:
        most = [F.col(f"tokens_{n}") / source.share for n, source in enumerate(mixture.sources)]
        scarcest = most[0] if len(most) == 1 else F.least(*most)
        total = scarcest if mixture.tokens is None else F.lit(float(mixture.tokens))
        # A budget that floating point puts a hair below what the scarcest source has must not cost it a row.
        asked = [F.floor(total * source.share + F.lit(1e-6)) for source in mixture.sources]
    return sums.select("*", *[each.cast("bigint").alias(f"asked_{n}") for n, each in enumerate(asked)])


def _counts(mixture: Mixture, documents: str, tokens: str) -> list[Column]:
    """Rows and tokens of each source, as ``documents_0, tokens_0, documents_1, ...``."""
    columns = []
    for n, source in enumerate(mixture.sources):
        is_of = F.col("source") == F.lit(source.name)
        columns.append(F.count(F.when(is_of, 1)).alias(f"{documents}_{n}"))
        columns.append(F.coalesce(F.sum(F.when(is_of, F.col("tokens"))), F.lit(0)).alias(f"{tokens}_{n}"))
    return columns


def _drawn(candidates: DataFrame, params: TrainingSetParams, kind: Kind) -> DataFrame:
    mixture = params.mixture
    order = F.sha2(F.concat_ws(" ", F.lit(str(mixture.seed)), kind.id), 256)
    # Two hex digits of the hash are 256 ranges of equal size.
    ordered = candidates.select("*", order.alias("order"), order.substr(1, 2).alias("bucket"))
    is_whole = params.held_out or (mixture.tokens is None and len(mixture.sources) == 1)
    if not is_whole:
        running = _running(ordered, ["source"], F.col("tokens"), kind).join(
            F.broadcast(_budgets(candidates, params)), how="cross"
        )
        asked = [F.when(F.col("source") == each.name, F.col(f"asked_{n}")) for n, each in enumerate(mixture.sources)]
        budget = F.coalesce(*asked)
        ordered = running.where(F.col("running") <= budget).select(*ordered.columns)
    numbered = _running(ordered, [], F.lit(1), kind)
    return numbered.select(
        F.lit(params.training_set).alias("training_set"),
        (F.col("running") - 1).cast("bigint").alias("position"),
        "source",
        kind.id,
        *kind.content,
        "tokens",
    )


def _running(rows: DataFrame, groups: list[str], amount: Column, kind: Kind) -> DataFrame:
    """`rows` with `running`: the sum of `amount` over the rows of the group up to this one, in order.

    Within a bucket by a window; the sums of the buckets before it are one small table, joined back. Key: that table
    has one row per group and bucket.
    """
    amounts = rows.withColumn("amount", amount.cast("bigint"))
    sums = amounts.groupBy(*groups, "bucket").agg(F.sum("amount").alias("bucket_amount"))
    earlier = Window.partitionBy(*groups).orderBy("bucket").rowsBetween(Window.unboundedPreceding, -1)
    offsets = sums.select(*groups, "bucket", F.coalesce(F.sum("bucket_amount").over(earlier), F.lit(0)).alias("offset"))
    within = Window.partitionBy(*groups, "bucket").orderBy("order", kind.id)
    here = F.sum("amount").over(within.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    joined = amounts.withColumn("here", here).join(F.broadcast(offsets), [*groups, "bucket"], how="inner")
    return joined.withColumn("running", F.col("here") + F.col("offset")).drop("here", "offset", "amount")


@dataclass(frozen=True)
class ManifestParams:
    """What a training set was made of: everything that is needed to make it again, as canonical JSON."""

    __pydantic_config__ = STRICT

    drawn: TrainingSetParams
    kind: str
    manifest: str
    recipe_hash: str
    mixture_hash: str
    tokenizer: str


def training_sets(rows: DataFrame, *inputs: Any) -> DataFrame:
    """One row: the manifest of a set, the hash of what it made, and what each source was asked for and gave.

    ``training_sets(rows, *drawn_from, params)``: the table of the kind's rows, and the tables these were drawn from.
    """
    *tables_before, params = inputs
    drawn, kind = params.drawn, KINDS[params.kind]
    mine = rows.where(F.col("training_set") == drawn.training_set)
    budgets = _budgets(_candidates(kind, tuple(tables_before), drawn), drawn)
    given = mine.agg(*_counts(drawn.mixture, "given_documents", "given_tokens"))
    shares = [
        F.struct(
            F.lit(source.name).alias("source"),
            F.lit(None if drawn.held_out else source.share).cast("double").alias("asked_share"),
            (F.col(f"given_tokens_{n}") / F.nullif(F.col("tokens"), F.lit(0))).alias("share"),
            F.col(f"asked_{n}").alias("asked_tokens"),
            F.col(f"given_tokens_{n}").alias("tokens"),
            F.col(f"given_documents_{n}").alias("documents"),
            F.col(f"tokens_{n}").alias("available_tokens"),
            F.col(f"documents_{n}").alias("available_documents"),
        )
        for n, source in enumerate(drawn.mixture.sources)
    ]
    # Key: each side is one row.
    joined = content(mine, kind).join(given, how="cross").join(budgets, how="cross")
    return joined.select(
        F.lit(drawn.training_set).alias("training_set"),
        F.lit(kind.name).alias("kind"),
        F.lit(params.manifest).alias("manifest"),
        F.sha2(F.lit(params.manifest).cast("binary"), 256).alias("manifest_hash"),
        "content_hash",
        F.lit(params.recipe_hash).alias("recipe_hash"),
        F.lit(params.mixture_hash).alias("mixture_hash"),
        F.lit(params.tokenizer).alias("tokenizer"),
        "documents",
        "tokens",
        F.array(*shares).alias("shares"),
    )


def has_no_empty_source(kind: Kind, *inputs: Any) -> None:
    """Refuse a mixture that asks for a share of nothing: ``has_no_empty_source(kind, *drawn_from, params)``.

    Raises:
        InputError: the sources that no row fits, with their conditions.
    """
    *tables_before, params = inputs
    if params.held_out:
        return
    counts = _budgets(_candidates(kind, tuple(tables_before), params), params).collect()[0]
    empty = [
        f"{source.name!r} (where {source.where})"
        for n, source in enumerate(params.mixture.sources)
        if counts[f"documents_{n}"] == 0
    ]
    if empty:
        raise InputError(
            f"training set {params.training_set!r}: no row fits source {', '.join(empty)} of mixture "
            f"{params.mixture.name!r}; recipe {params.recipe!r} kept rows for none of it"
        )


def content(rows: DataFrame, kind: Kind = DOCUMENTS) -> DataFrame:
    """One row (content_hash, documents, tokens) for the rows of one training set, which may be none.

    The hash is over (position, source, id, content) in order: rows are hashed, then blocks of 65,536 rows, then the
    list of blocks, so that a set of a billion documents needs 15,000 hashes in one place.
    """
    texts = [F.col(name) if name == "text" else F.to_json(name) for name in kind.content]
    hashes = [F.sha2(text.cast("binary"), 256) for text in texts]
    fields = F.concat_ws(" ", F.col("position").cast("string"), "source", kind.id, *hashes)
    hashed = rows.select("position", "tokens", F.sha2(fields.cast("binary"), 256).alias("row_hash"))
    blocks = hashed.groupBy((F.col("position") / HASH_BLOCK).cast("bigint").alias("block")).agg(
        _hash_in_order("position", "row_hash").alias("block_hash"),
        F.count(F.lit(1)).alias("documents"),
        F.sum("tokens").alias("tokens"),
    )
    return blocks.agg(
        _hash_in_order("block", "block_hash").alias("content_hash"),
        F.coalesce(F.sum("documents"), F.lit(0)).alias("documents"),
        F.coalesce(F.sum("tokens"), F.lit(0)).alias("tokens"),
    )


def _hash_in_order(order: str, column: str) -> Column:
    ordered = F.array_sort(F.collect_list(F.struct(order, column)))
    return F.sha2(F.array_join(F.transform(ordered, lambda pair: pair[column]), " ").cast("binary"), 256)


TRAINING_DOCUMENTS = Stage(
    training_documents,
    inputs=(tables.CORPUS,),
    output=tables.TRAINING_DOCUMENTS,
    params=TrainingSetParams,
    require=partial(has_no_empty_source, DOCUMENTS),
)
TRAINING_EXAMPLES = Stage(
    training_examples,
    inputs=(tables.INSTRUCTIONS, tables.INSTRUCTION_DISPOSITIONS),
    output=tables.TRAINING_EXAMPLES,
    params=TrainingSetParams,
    require=partial(has_no_empty_source, EXAMPLES),
)
TRAINING_PAIRS = Stage(
    training_pairs,
    inputs=(tables.PREFERENCES, tables.INSTRUCTION_DISPOSITIONS),
    output=tables.TRAINING_PAIRS,
    params=TrainingSetParams,
    require=partial(has_no_empty_source, PAIRS),
)
# The rows of each kind of set, by the kind's name, and the manifest of a set of that kind.
ROWS = {"documents": TRAINING_DOCUMENTS, "examples": TRAINING_EXAMPLES, "pairs": TRAINING_PAIRS}
TRAINING_SETS = {
    kind: Stage(training_sets, inputs=(stage.output, *stage.inputs), output=tables.TRAINING_SETS, params=ManifestParams)
    for kind, stage in ROWS.items()
}
