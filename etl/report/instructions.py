"""Instruction data by source: what came in, what was bad or there twice, what a recipe keeps, and how it differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.kernels.quality_score import Estimate, Gain
from etl.lake import Lake
from etl.report import estimates, gains
from etl.report.estimates import Grams
from etl.report.gains import SAMPLE_TEXTS
from etl.stages.instruct import EXAMPLES, PAIRS
from etl.stages.instruct_dedup import EXACT, NEAR

PROMPT_GRAM = 3  # words; prompts are short
MIN_GRAMS = 500  # of a source whose prompts are compared with those of others
PROMPTS = 250  # of a source
_PLACE = ("collection", "source", "file", "record", "part")


@dataclass(frozen=True)
class Source:
    """One data set of a collection, by kind: examples or pairs.

    `kept` is None where no recipe has decided. `diversity` is the share of different 3-grams of its prompts, at as many
    of them for all sources of a collection and kind; None where the source has too few.
    """

    collection: str
    source: str
    kind: str
    records: int
    rows: int
    bad: int
    exact: int
    near: int
    kept: int | None
    prompt_length: float | None
    answer_length: float | None
    licenses: tuple[str, ...]
    generators: tuple[str, ...]
    diversity: Estimate | None


@dataclass(frozen=True)
class Decided:
    """A recipe that has decided about a collection."""

    recipe: str
    collection: str


def decided(lake: Lake) -> list[Decided]:
    """All recipes with the collections that they have decided about."""
    rows = lake.read(tables.INSTRUCTION_DISPOSITIONS).select("recipe", "collection").distinct().collect()
    return sorted((Decided(row["recipe"], row["collection"]) for row in rows), key=lambda d: (d.recipe, d.collection))


def sources(lake: Lake, by: Decided | None) -> list[Source]:
    """The sources of all collections by kind. What is kept is said of the recipe and collection `by`."""
    rows = [row.asDict() for row in _counts(_both_kinds(lake, *_COUNTED)).collect()]
    if not rows:
        return []
    copies = lake.read(tables.INSTRUCTION_DUPLICATES).groupBy("collection", "source", "kind", "method")
    found = {
        (row["collection"], row["source"], row["kind"], row["method"]): row["count"] for row in copies.count().collect()
    }
    kept = _kept_counts(lake, by)
    shares = _diversity(lake)

    def source(row: dict[str, Any]) -> Source:
        key = (row["collection"], row["source"], row["kind"])
        return Source(
            *key,
            records=row["records"],
            rows=row["rows"],
            bad=row["bad"],
            exact=found.get((*key, EXACT), 0),
            near=found.get((*key, NEAR), 0),
            kept=kept.get(key, 0) if by is not None and row["collection"] == by.collection else None,
            prompt_length=row["prompt_length"],
            answer_length=row["answer_length"],
            licenses=tuple(sorted(row["licenses"])),
            generators=tuple(sorted(row["generators"])),
            diversity=shares.get(key),
        )

    return [source(row) for row in sorted(rows, key=lambda row: (row["collection"], row["source"], row["kind"]))]


_COUNTED = (*_PLACE, "import_error", "prompt_length", "answer_length", "license", "generator")


def _both_kinds(lake: Lake, *columns: str) -> DataFrame:
    """Examples and pairs by these columns, each with its kind and `prompt`, the last that the user said."""
    examples = lake.read(tables.INSTRUCTIONS).select(F.lit(EXAMPLES).alias("kind"), *columns, _prompt(EXAMPLES))
    pairs = lake.read(tables.PREFERENCES).select(F.lit(PAIRS).alias("kind"), *columns, _prompt(PAIRS))
    return examples.unionByName(pairs)


def _counts(rows: DataFrame) -> DataFrame:
    is_bad = F.col("import_error").isNotNull()
    return rows.groupBy("collection", "source", "kind").agg(
        F.countDistinct("file", "record").alias("records"),
        F.count(F.when(~is_bad, 1)).alias("rows"),
        F.count(F.when(is_bad, 1)).alias("bad"),
        F.avg("prompt_length").alias("prompt_length"),
        F.avg("answer_length").alias("answer_length"),
        F.collect_set("license").alias("licenses"),
        F.collect_set(F.when(~is_bad, F.col("generator"))).alias("generators"),
    )


def _kept_counts(lake: Lake, by: Decided | None) -> dict[tuple[str, str, str], int]:
    if by is None:
        return {}
    rows = _decided_by(lake, by).where(F.col("decision") == "kept").groupBy("collection", "source", "kind").count()
    return {(row["collection"], row["source"], row["kind"]): row["count"] for row in rows.collect()}


def _decided_by(lake: Lake, by: Decided) -> DataFrame:
    rows = lake.read(tables.INSTRUCTION_DISPOSITIONS)
    return rows.where((F.col("recipe") == by.recipe) & (F.col("collection") == by.collection))


def _diversity(lake: Lake) -> dict[tuple[str, str, str], Estimate]:
    """Share of different n-grams by (collection, source, kind), of a sample of prompts of each."""
    rows = _both_kinds(lake, *_PLACE, "import_error").where(F.col("import_error").isNull())
    by_hash = Window.partitionBy("collection", "source", "kind").orderBy(_place_hash(), *_PLACE)
    ranked = rows.withColumn("place", F.row_number().over(by_hash)).where(F.col("place") <= PROMPTS)
    some = ranked.select("collection", "source", "kind", "place", "prompt").collect()
    found: dict[tuple[str, str], dict[str, list[Grams]]] = {}
    for row in sorted(some, key=lambda row: int(row["place"])):
        by_source = found.setdefault((row["collection"], row["kind"]), {})
        by_source.setdefault(row["source"], []).append(gains.ngrams(row["prompt"], PROMPT_GRAM))
    shares = {}
    for (collection, kind), by_source in found.items():
        counts = {name: sum(map(len, texts)) for name, texts in by_source.items()}
        enough = {name: count for name, count in counts.items() if count >= MIN_GRAMS}
        for name in enough:
            share = estimates.distinct(by_source[name], min(enough.values()))
            if share is not None:
                shares[collection, name, kind] = share
    return shares


def _prompt(kind: str) -> Column:
    """The last thing the user said before the answer."""
    said = F.element_at("messages", -2)["content"] if kind == EXAMPLES else F.element_at("prompt", -1)["content"]
    return F.substring(said, 1, 40 * gains.FIRST_WORDS).alias("prompt")


def _place_hash() -> Column:
    return F.xxhash64(*_PLACE)


def diversity_gain(lake: Lake, by: Decided | None) -> Gain | None:
    """Share of different 3-grams of prompts, of all examples of a collection and of those that a recipe keeps."""
    if by is None:
        return None
    rows = lake.read(tables.INSTRUCTIONS).where(F.col("import_error").isNull() & (F.col("collection") == by.collection))
    is_kept = (F.col("kind") == EXAMPLES) & (F.col("decision") == "kept")
    # Key: a row has one disposition under a recipe.
    kept = rows.join(_decided_by(lake, by).where(is_kept).select(*_PLACE), list(_PLACE), how="left_semi")
    return gains.distinct_gain(_sampled(rows), _sampled(kept))


def _sampled(rows: DataFrame) -> list[Grams]:
    some = rows.orderBy(_place_hash(), *_PLACE).limit(SAMPLE_TEXTS).select(_prompt(EXAMPLES))
    return [gains.ngrams(row["prompt"], PROMPT_GRAM) for row in some.collect()]
