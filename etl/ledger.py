"""The books must balance: every record that was read has one disposition."""

from __future__ import annotations

from pyspark.sql import functions as F

from etl import tables
from etl.errors import LedgerError
from etl.lake import Lake
from etl.stages.curate import Recipe


def check(lake: Lake, recipe: str) -> int:
    """The number of records that `recipe` accounts for, which is the number read.

    Raises:
        LedgerError: the sums differ; the message names the archives, with both numbers, up to ten of them.
    """
    read = lake.read(tables.WARC_FILES).select("warc_filename", F.coalesce("records", F.lit(0)).alias("records"))
    rows = lake.read(tables.DISPOSITIONS).where(F.col("recipe") == recipe).groupBy("warc_filename").count()
    both = read.join(rows, "warc_filename", how="full_outer").select(
        "warc_filename", F.coalesce("records", F.lit(0)).alias("records"), F.coalesce("count", F.lit(0)).alias("rows")
    )
    sums = both.agg(F.sum("records").alias("records"), F.sum("rows").alias("rows")).collect()[0]
    wrong = both.where(F.col("records") != F.col("rows")).orderBy("warc_filename").limit(10).collect()
    if wrong:
        places = "; ".join(
            f"{row['warc_filename']}: {row['records']} read, {row['rows']} accounted for" for row in wrong
        )
        total = f"{sums['records'] or 0} records were read, {sums['rows'] or 0} dispositions written"
        raise LedgerError(f"recipe {recipe}: {total}. {places}")
    return int(sums["records"] or 0)


def check_duplicates(lake: Lake, recipe: Recipe) -> None:
    """See to it that no source goes away as duplicates of another.

    Raises:
        LedgerError: more of a source is dropped than the alarm of the recipe allows; the message names up to ten
            sources with both numbers, and what dropped most of each.
    """
    alarm = recipe.alarm
    rows = lake.read(tables.DISPOSITIONS).where(F.col("recipe") == recipe.name)
    is_duplicate = F.col("duplicate_of").isNotNull()
    sums = (
        rows.where((F.col("decision") == "kept") | is_duplicate)
        .groupBy(F.col(alarm.by).alias("source"))
        .agg(
            F.count(F.lit(1)).alias("documents"),
            F.count(F.when(is_duplicate, 1)).alias("dropped"),
            F.mode(F.col("rule")).alias("rule"),
        )
    )
    wrong = (
        sums.where(alarm.is_raised(F.col("documents"), F.col("dropped")))
        .orderBy(F.desc("dropped"), "source")
        .limit(10)
        .collect()
    )
    if wrong:
        places = "; ".join(
            f"{row['source']}: {row['dropped']:,} of {row['documents']:,}, most by {row['rule']}" for row in wrong
        )
        raise LedgerError(
            f"recipe {recipe.name}: over {alarm.share:.0%} of a source ({alarm.by}) would go away as duplicates. "
            f"{places}. Look at the view duplicates_kept; where they are right, raise alarm.share of the recipe"
        )
