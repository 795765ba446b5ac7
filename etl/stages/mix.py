"""From a corpus to a training set: documents drawn by a mixture, in a fixed order, with a manifest to make it again."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
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
    """Sources and their shares. With `tokens`, each source gives whole documents up to its share of that budget;
    without, all its documents, and only one source is possible. A document is drawn for the first source it fits.

    `seed` decides the order: documents are sorted by a hash of seed and doc_id, so the order does not depend on
    partitions, and a smaller budget is a prefix of a larger one.
    """

    __pydantic_config__ = STRICT

    name: str
    sources: tuple[Source, ...]
    tokens: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        problems = []
        total = sum(source.share for source in self.sources)
        names = [source.name for source in self.sources]
        if abs(total - 1) > 1e-6:
            problems.append(f"shares add up to {total:g}, wanted 1")
        if len(set(names)) < len(names):
            problems.append(f"sources named twice: {sorted({name for name in names if names.count(name) > 1})}")
        if self.tokens is None and len(self.sources) > 1:
            problems.append("tokens is missing: shares of several sources need a budget")
        if self.tokens is not None and self.tokens < 1:
            problems.append(f"tokens is {self.tokens}, wanted at least 1")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class TrainingSetParams:
    """Name of the set, recipe whose corpus it is drawn from, and the mixture."""

    __pydantic_config__ = STRICT

    training_set: str
    recipe: str
    mixture: Mixture


def training_documents(corpus: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row per document of the set, numbered in the order of training.

    The same corpus gives the same rows on any number of partitions: order and choice are made by hashes of doc_id.
    Sorted in ranges of the hash, so it scales with the number of tasks; a document that would cross the budget of
    its source ends the source.
    """
    mixture = params.mixture
    source = F.coalesce(*[F.when(F.expr(each.where), F.lit(each.name)) for each in mixture.sources])
    rows = (
        corpus.where(F.col("recipe") == params.recipe).withColumn("source", source).where(F.col("source").isNotNull())
    )
    order = F.sha2(F.concat_ws(" ", F.lit(str(mixture.seed)), "doc_id"), 256)
    # Two hex digits of the hash are 256 ranges of equal size.
    ordered = rows.select(
        "source", "doc_id", "text", "tokens", order.alias("order"), order.substr(1, 2).alias("bucket")
    )
    if mixture.tokens is not None:
        budgets = {each.name: int(each.share * mixture.tokens) for each in mixture.sources}
        running = _running(ordered, ["source"], F.col("tokens"))
        budget = F.create_map(*[F.lit(part) for pair in budgets.items() for part in pair])[F.col("source")]
        ordered = running.where(F.col("running") <= budget).drop("running")
    numbered = _running(ordered, [], F.lit(1))
    return numbered.select(
        F.lit(params.training_set).alias("training_set"),
        (F.col("running") - 1).cast("bigint").alias("position"),
        "source",
        "doc_id",
        "text",
        "tokens",
    )


def _running(rows: DataFrame, groups: list[str], amount: Column) -> DataFrame:
    """`rows` with `running`: the sum of `amount` over the rows of the group up to this one, in order.

    Within a bucket by a window; the sums of the buckets before it are one small table, joined back. Key: that table
    has one row per group and bucket.
    """
    amounts = rows.withColumn("amount", amount.cast("bigint"))
    sums = amounts.groupBy(*groups, "bucket").agg(F.sum("amount").alias("bucket_amount"))
    earlier = Window.partitionBy(*groups).orderBy("bucket").rowsBetween(Window.unboundedPreceding, -1)
    offsets = sums.select(*groups, "bucket", F.coalesce(F.sum("bucket_amount").over(earlier), F.lit(0)).alias("offset"))
    within = Window.partitionBy(*groups, "bucket").orderBy("order", "doc_id")
    here = F.sum("amount").over(within.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    joined = amounts.withColumn("here", here).join(F.broadcast(offsets), [*groups, "bucket"], how="inner")
    return joined.withColumn("running", F.col("here") + F.col("offset")).drop("here", "offset", "amount")


@dataclass(frozen=True)
class ManifestParams:
    """What a training set was made of: everything that is needed to make it again, as canonical JSON."""

    __pydantic_config__ = STRICT

    training_set: str
    manifest: str
    recipe_hash: str
    mixture_hash: str
    tokenizer: str


def training_sets(training_documents: DataFrame, params: ManifestParams) -> DataFrame:
    """One row: the manifest of a set, and the hash of what it made."""
    rows = training_documents.where(F.col("training_set") == params.training_set)
    return content(rows).select(
        F.lit(params.training_set).alias("training_set"),
        F.lit(params.manifest).alias("manifest"),
        F.sha2(F.lit(params.manifest).cast("binary"), 256).alias("manifest_hash"),
        "content_hash",
        F.lit(params.recipe_hash).alias("recipe_hash"),
        F.lit(params.mixture_hash).alias("mixture_hash"),
        F.lit(params.tokenizer).alias("tokenizer"),
        "documents",
        "tokens",
    )


def content(rows: DataFrame) -> DataFrame:
    """One row (content_hash, documents, tokens) for the rows of one training set, which may be none.

    The hash is over (position, doc_id, text) in order: rows are hashed, then blocks of 65,536 rows, then the list of
    blocks, so that a set of a billion documents needs 15,000 hashes in one place.
    """
    fields = F.concat_ws(
        " ", F.col("position").cast("string"), "source", "doc_id", F.sha2(F.col("text").cast("binary"), 256)
    )
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
    training_documents, inputs=(tables.CORPUS,), output=tables.TRAINING_DOCUMENTS, params=TrainingSetParams
)
TRAINING_SETS = Stage(
    training_sets, inputs=(tables.TRAINING_DOCUMENTS,), output=tables.TRAINING_SETS, params=ManifestParams
)
