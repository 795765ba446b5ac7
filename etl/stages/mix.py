"""From what a recipe keeps to a training set: documents, examples or pairs drawn by a mixture, in a fixed order, with a
manifest to make it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.errors import InputError
from etl.kernels import mixing
from etl.stage import Stage

HASH_BLOCK = 1 << 16  # documents whose hashes are hashed together
RANGES = 256  # of a set, numbered side by side


SHORT = ("error", "allow")
_SCORE = re.compile(r"\bscores(?:\.|\[['\"])(\w+)")  # in SQL: scores.quality, scores['quality']


@dataclass(frozen=True)
class Tier:
    """Rows of a source that a SQL condition names, and how many copies of each stand in one pass over the source.

    Of documents, ``scores.quality >= 0.6`` is a condition on a score; one that is missing is in no tier.
    """

    __pydantic_config__ = STRICT

    where: str
    copies: int

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies is {self.copies}, wanted at least 1")


@dataclass(frozen=True)
class Source:
    """Documents of a corpus that a SQL condition names, and the share of the set's tokens they should fill.

    The source may be read `epochs` times. In one pass a row stands once, or as often as the first of `tiers` that it
    fits says, times what `rehydrate` says: pairs (size, copies), of which that with the largest size up to the
    `stands_for` of the row holds. FineWeb-2 uses (1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1).
    """

    __pydantic_config__ = STRICT

    name: str
    where: str = "true"
    share: float | None = None
    epochs: int = 1
    tiers: tuple[Tier, ...] = ()
    rehydrate: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.share is not None and not 0 < self.share <= 1:
            problems.append(f"has share {self.share:g}, wanted more than 0, at most 1")
        if self.epochs < 1:
            problems.append(f"has epochs {self.epochs}, wanted at least 1")
        if any(size < 1 or copies < 1 for size, copies in self.rehydrate):
            problems.append(f"has rehydrate {[*self.rehydrate]}, wanted pairs of a size and copies, each at least 1")
        if problems:
            raise ValueError(f"source {self.name!r} {'; '.join(problems)}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """The SQL conditions of the source and of its tiers."""
        return (self.where, *(tier.where for tier in self.tiers))

    @property
    def repeats(self) -> bool:
        """Whether a row may stand in a set more than once."""
        return self.epochs > 1 or bool(self.tiers) or bool(self.rehydrate)


@dataclass(frozen=True)
class Mixture:
    """Sources and their shares of the tokens of a set. A row is drawn for the first source that it fits.

    Shares add up to 1, or are left out and follow from what there is of each source by `temperature`, see
    `etl.kernels.mixing.shares`. With `tokens`, each source gives whole rows up to its share of that budget. Without,
    the budget is the largest that every source can fill, with the repetitions it is allowed. `short` says what becomes
    of a source that has too little: an ``error`` before anything is written, as the set would be another mixture than
    the one that was asked for, or ``allow``: the source gives all it may, and the set says so. Shares are never changed
    to fit, and nothing is repeated that the mixture does not allow.
    `held_out` is the share of rows that the set never has: they make a set of their own, to measure models on.

    `seed` decides the order within a source: passes one after the other, each sorted by a hash of seed and id. Sources
    are interleaved so that every beginning of the set has the shares of the whole. So the order does not depend on
    partitions, and a smaller budget is a prefix of a larger one. Which rows are held out does not depend on the seed.
    """

    __pydantic_config__ = STRICT

    name: str
    sources: tuple[Source, ...]
    tokens: int | None = None
    temperature: float | None = None
    short: str = "error"
    held_out: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        problems = self._wrong_shares()
        if len(set(names)) < len(names):
            problems.append(f"sources named twice: {sorted({name for name in names if names.count(name) > 1})}")
        if self.tokens is not None and self.tokens < 1:
            problems.append(f"tokens is {self.tokens}, wanted at least 1")
        if self.temperature is not None and not self.temperature > 0:
            problems.append(f"temperature is {self.temperature:g}, wanted more than 0")
        if self.short not in SHORT:
            problems.append(f"short is {self.short!r}, wanted one of {', '.join(SHORT)}")
        if not 0 <= self.held_out < 1:
            problems.append(f"held_out is {self.held_out:g}, wanted at least 0 and less than 1")
        if problems:
            raise ValueError("; ".join(problems))

    def _wrong_shares(self) -> list[str]:
        given = {demand.source: demand.share for demand in self.demands if demand.share is not None}
        if self.temperature is not None:
            return [f"shares of {sorted(given)} and a temperature, wanted one of the two"] if given else []
        without = [source.name for source in self.sources if source.name not in given]
        if without:
            return [f"sources {without} have no share, and there is no temperature"]
        total = sum(given[source.name] or 0.0 for source in self.sources)
        return [f"shares add up to {total:g}, wanted 1"] if abs(total - 1) > 1e-6 else []

    @property
    def demands(self) -> list[mixing.Demand]:
        """What is asked of each source; one alone is all of the set."""
        is_alone = len(self.sources) == 1 and self.temperature is None
        return [
            mixing.Demand(source.name, 1.0 if is_alone and source.share is None else source.share, source.epochs)
            for source in self.sources
        ]


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
    is held out: rows that share it, such as answers to one prompt, share their fate. A table with the column `epoch`
    can hold a row more than once."""

    name: str
    id: str
    content: tuple[str, ...]
    fate: str
    has_epoch: bool = False


DOCUMENTS = Kind("documents", "doc_id", ("text",), "doc_id", has_epoch=True)
EXAMPLES = Kind("examples", "example_id", ("messages",), "prompt_id")
PAIRS = Kind("pairs", "example_id", ("prompt", "chosen", "rejected"), "prompt_id")
KINDS = {kind.name: kind for kind in (DOCUMENTS, EXAMPLES, PAIRS)}


def training_documents(corpus: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row per document of the set and repetition, numbered in the order of training.

    The same corpus gives the same rows on any number of partitions: order and choice are made by hashes of doc_id.
    Sorted in ranges, so it scales with the number of tasks; a document that would cross the budget of its source ends
    the source.
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
    copies = [F.when(F.col("drawn_for") == each.name, _copies(each)) for each in mixture.sources if each.repeats]
    once = F.lit(1)
    return found.where(is_held_out == F.lit(params.held_out)).select(
        F.col("drawn_for").alias("source"),
        kind.id,
        *kind.content,
        "tokens",
        (once if params.held_out else F.coalesce(*copies, once)).cast("int").alias("copies"),
    )


def _copies(source: Source) -> Column:
    """How often a row of `source` stands in one pass."""
    tiers = [F.when(F.expr(tier.where), F.lit(tier.copies)) for tier in source.tiers]
    sizes = sorted(source.rehydrate, reverse=True)
    clusters = [F.when(F.col("stands_for") >= size, F.lit(copies)) for size, copies in sizes]
    return F.coalesce(*tiers, F.lit(1)) * F.coalesce(*clusters, F.lit(1))


def _kept(kind: Kind, inputs: tuple[DataFrame, ...], params: TrainingSetParams) -> DataFrame:
    """Rows of the collection that the recipe keeps. Key: a row has one disposition under a recipe."""
    rows, dispositions = inputs
    place = ["collection", "source", "file", "record", "part"]
    is_kept = (F.col("recipe") == params.recipe) & (F.col("kind") == kind.name) & (F.col("decision") == "kept")
    kept = dispositions.where(is_kept & (F.col("collection") == params.collection)).select(*place)
    return rows.join(kept, place, how="left_semi")


_PARTS = (
    "place int, source string, share double, epochs int, documents bigint, tokens bigint, "
    "pass_tokens bigint, capacity bigint, asked bigint, passes int, budget double"
)
_PARTS_SCHEMA = pa.schema(
    [
        *[("place", pa.int32()), ("source", pa.string()), ("share", pa.float64()), ("epochs", pa.int32())],
        *[(name, pa.int64()) for name in ("documents", "tokens", "pass_tokens", "capacity", "asked")],
        *[("passes", pa.int32()), ("budget", pa.float64())],
    ]
)


def _parts(candidates: DataFrame, params: TrainingSetParams) -> DataFrame:
    """One row per source of the mixture: the fields of `etl.kernels.mixing.Part`."""
    mixture = params.mixture

    def plan(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = [row for batch in batches for found in batch.column("found").to_pylist() for row in found]
        supplies = {row.pop("source"): mixing.Supply(**row) for row in rows}
        if params.held_out:
            parts = mixing.everything(mixture.demands, supplies)
        else:
            parts = mixing.parts(mixture.demands, supplies, tokens=mixture.tokens, temperature=mixture.temperature)
        yield pa.RecordBatch.from_pylist([part._asdict() for part in parts], _PARTS_SCHEMA)

    tokens = F.col("tokens")
    supplies = candidates.groupBy("source").agg(
        F.count(F.lit(1)).alias("documents"),
        F.sum(tokens).alias("tokens"),
        F.sum(tokens * F.col("copies")).alias("pass_tokens"),
    )
    # One row, also where no source has any.
    found = supplies.agg(F.collect_list(F.struct(*supplies.columns)).alias("found"))
    return found.mapInArrow(plan, _PARTS)


def _drawn(candidates: DataFrame, params: TrainingSetParams, kind: Kind) -> DataFrame:
    """Rows up to the budget of their source, and these at places of the set in proportion to how much of the source
    stands before them: the rows of all sources that fill the first half of their shares are the first half."""
    copies = _repeated(candidates, params, kind)
    is_whole = params.held_out or (params.mixture.tokens is None and len(params.mixture.sources) == 1)
    if is_whole:
        # Passes and hashes alone put the rows in order.
        part = F.conv(F.substring("order", 1, 12), 16, 10).cast("double") / 16**12
        placed = copies.select("*", (F.col("pass") - 1 + part).alias("place"), F.col("passes").alias("end"))
    else:
        # Two hex digits of the hash are ranges of equal size.
        part = F.conv(F.substring("order", 1, 2), 16, 10).cast("int")
        by_source = copies.withColumn("bucket", (F.col("pass") - 1) * RANGES + part)
        filled = _running(by_source, ["source"], F.col("tokens"), ["pass", "order", kind.id])
        kept = filled.where(F.col("running") <= F.col("asked")).drop("bucket")
        placed = kept.withColumn("place", F.col("running") / F.col("share")).withColumnRenamed("budget", "end")
    # Where a source is empty, the budget of all is 0.
    part_of_set = F.col("place") / F.greatest("end", F.lit(1.0))
    ranges = placed.withColumn("bucket", F.floor(part_of_set * RANGES)).drop("running")
    numbered = _running(ranges, [], F.lit(1), ["place", "source", "pass", "order", kind.id])
    return numbered.select(
        F.lit(params.training_set).alias("training_set"),
        (F.col("running") - 1).cast("bigint").alias("position"),
        "source",
        kind.id,
        *(["epoch"] if kind.has_epoch else []),
        *kind.content,
        "tokens",
    )


def _repeated(candidates: DataFrame, params: TrainingSetParams, kind: Kind) -> DataFrame:
    """`candidates` with what is asked of their source, each as often as its copies and the passes needed say.

    In one pass, copies have hashes of their own, by which `epoch` numbers them. Key: a source has one part.
    """
    parts = _parts(candidates, params).select("source", "share", "asked", "passes", "budget")
    passes = candidates.join(F.broadcast(parts), "source", how="inner").select(
        "*", F.explode(F.sequence(F.lit(1), "passes")).alias("pass")
    )
    before = (F.col("pass") - 1) * F.col("copies")

    def order(copy: Column) -> Column:
        number = (before + copy).cast("string")
        seed = F.lit(str(params.mixture.seed))
        # The first copy has the hash of seed and id alone, whether there are others or not.
        return F.sha2(F.concat_ws(" ", seed, kind.id, F.when(before + copy > 1, number)), 256)

    orders = F.array_sort(F.transform(F.sequence(F.lit(1), "copies"), order))
    copies = passes.select("*", before.alias("before"), F.posexplode(orders).alias("copy", "order"))
    return copies.withColumn("epoch", (F.col("before") + F.col("copy") + 1).cast("int")).drop("before", "copy")


def _running(rows: DataFrame, groups: list[str], amount: Column, order: list[str]) -> DataFrame:
    """`rows` with `running`: the sum of `amount` over the rows of the group up to this one, in `order`, which `bucket`
    cuts into ranges.

    Within a bucket by a window; the sums of the buckets before it are one small table, joined back. Key: that table
    has one row per group and bucket.
    """
    amounts = rows.withColumn("amount", amount.cast("bigint"))
    sums = amounts.groupBy(*groups, "bucket").agg(F.sum("amount").alias("bucket_amount"))
    earlier = Window.partitionBy(*groups).orderBy("bucket").rowsBetween(Window.unboundedPreceding, -1)
    offsets = sums.select(*groups, "bucket", F.coalesce(F.sum("bucket_amount").over(earlier), F.lit(0)).alias("offset"))
    within = Window.partitionBy(*groups, "bucket").orderBy(*order)
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
    epoch = F.col("epoch") if kind.has_epoch else F.lit(1)
    is_first = epoch == 1
    given = mine.groupBy("source").agg(
        F.count(F.lit(1)).alias("given_documents"),
        F.sum("tokens").alias("given_tokens"),
        F.count(F.when(is_first, 1)).alias("unique_documents"),
        F.sum(F.when(is_first, F.col("tokens")).otherwise(0)).alias("unique_tokens"),
        F.max(epoch).cast("int").alias("last_epoch"),
    )
    parts = _parts(_candidates(kind, tuple(tables_before), drawn), drawn)
    made = content(mine, kind)
    zero = F.lit(0).cast("bigint")
    share = F.struct(
        "source",
        F.col("share").alias("asked_share"),
        (F.coalesce("given_tokens", zero) / F.nullif(F.col("made_tokens"), zero)).alias("share"),
        F.col("asked").alias("asked_tokens"),
        F.coalesce("given_tokens", zero).alias("tokens"),
        F.coalesce("given_documents", zero).alias("documents"),
        F.col("tokens").alias("available_tokens"),
        F.col("documents").alias("available_documents"),
        "epochs",
        F.col("capacity").alias("capacity_tokens"),
        F.coalesce("unique_tokens", zero).alias("unique_tokens"),
        F.coalesce("unique_documents", zero).alias("unique_documents"),
        F.coalesce("last_epoch", F.lit(0)).alias("last_epoch"),
    )
    # Key: a source has one part and one row of what it gave, and `made` is one row.
    joined = parts.join(given, "source", how="left").join(
        made.select("content_hash", F.col("documents").alias("made_documents"), F.col("tokens").alias("made_tokens")),
        how="cross",
    )
    ordered = F.array_sort(F.collect_list(F.struct("place", share.alias("share"))))
    return (
        joined.groupBy("content_hash", "made_documents", "made_tokens")
        .agg(F.transform(ordered, lambda pair: pair["share"]).alias("shares"))
        .select(
            F.lit(drawn.training_set).alias("training_set"),
            F.lit(kind.name).alias("kind"),
            F.lit(params.manifest).alias("manifest"),
            F.sha2(F.lit(params.manifest).cast("binary"), 256).alias("manifest_hash"),
            "content_hash",
            F.lit(params.recipe_hash).alias("recipe_hash"),
            F.lit(params.mixture_hash).alias("mixture_hash"),
            F.lit(params.tokenizer).alias("tokenizer"),
            F.col("made_documents").alias("documents"),
            F.col("made_tokens").alias("tokens"),
            "shares",
        )
    )


def can_be_met(kind: Kind, *inputs: Any) -> None:
    """Refuse a mixture that these rows cannot give: ``can_be_met(kind, *drawn_from, params)``.

    Raises:
        InputError: conditions that cannot be read; else sources that no row fits; else sources that have less than
            they are asked for, with what there is and what would be needed, unless the mixture allows it.
    """
    *tables_before, params = inputs
    if params.held_out:
        return
    mixture, place = params.mixture, f"training set {params.training_set!r}"
    problems = _unreadable(tables_before[0], mixture) or _unscored(kind, tables_before[0], mixture)
    repeated = [source.name for source in mixture.sources if source.repeats]
    if repeated and not kind.has_epoch:
        problems.append(f"sources {repeated} repeat rows, which a set of {kind.name} does not hold more than once")
    if problems:
        raise InputError(f"{place}, mixture {mixture.name!r}: {'; '.join(problems)}")
    rows = _parts(_candidates(kind, tuple(tables_before), params), params).orderBy("place").collect()
    parts = [mixing.Part(*row) for row in rows]
    conditions = {source.name: source.where for source in mixture.sources}
    empty = [f"{part.source!r} (where {conditions[part.source]})" for part in parts if part.documents == 0]
    if empty:
        raise InputError(
            f"{place}: no row fits source {', '.join(empty)} of mixture {mixture.name!r}; "
            f"recipe {params.recipe!r} kept rows for none of it"
        )
    short = mixing.shortfalls(parts)
    if short and mixture.short == "error":
        raise InputError(
            f"{place}: mixture {mixture.name!r} cannot be met: {'; '.join(short)}. Wanted fewer tokens, more epochs of "
            f"the source, or short: allow"
        )


def _unreadable(rows: DataFrame, mixture: Mixture) -> list[str]:
    """The conditions of a mixture that are no SQL over the columns of `rows`."""
    problems = []
    for source in mixture.sources:
        for where in source.conditions:
            try:
                kind = rows.select(F.expr(where)).dtypes[0][1]
                if kind != "boolean":
                    problems.append(f"source {source.name!r}: {where!r} is {kind}, wanted true or false")
            except AnalysisException as error:
                reason = str(error).strip().partition("\n")[0]
                problems.append(f"source {source.name!r}: {where!r} cannot be read: {reason}")
    return problems


def _unscored(kind: Kind, rows: DataFrame, mixture: Mixture) -> list[str]:
    """The scores that conditions of a mixture read and no document has: as null, they would make a tier empty."""
    conditions = [where for source in mixture.sources for where in source.conditions]
    named = {name for where in conditions for name in _SCORE.findall(where)} if kind is DOCUMENTS else set()
    if not named:
        return []
    known = {row[0] for row in rows.select(F.explode(F.map_keys("scores"))).distinct().collect()}
    return [f"no document has a score by {name!r}, found {sorted(known) or 'none'}" for name in sorted(named - known)]


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
    version=2,
    require=partial(can_be_met, DOCUMENTS),
)
TRAINING_EXAMPLES = Stage(
    training_examples,
    inputs=(tables.INSTRUCTIONS, tables.INSTRUCTION_DISPOSITIONS),
    output=tables.TRAINING_EXAMPLES,
    params=TrainingSetParams,
    version=2,
    require=partial(can_be_met, EXAMPLES),
)
TRAINING_PAIRS = Stage(
    training_pairs,
    inputs=(tables.PREFERENCES, tables.INSTRUCTION_DISPOSITIONS),
    output=tables.TRAINING_PAIRS,
    params=TrainingSetParams,
    version=2,
    require=partial(can_be_met, PAIRS),
)
# The rows of each kind of set, by the kind's name, and the manifest of a set of that kind.
ROWS = {"documents": TRAINING_DOCUMENTS, "examples": TRAINING_EXAMPLES, "pairs": TRAINING_PAIRS}
TRAINING_SETS = {
    kind: Stage(
        training_sets,
        inputs=(stage.output, *stage.inputs),
        output=tables.TRAINING_SETS,
        params=ManifestParams,
        version=2,
    )
    for kind, stage in ROWS.items()
}
