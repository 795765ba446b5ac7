"""``goldenlake threshold``: what a threshold on a signal would keep, what stands beside it, and how right it is.

A signal is a column of an annotation, such as ``words``, or a score, such as ``quality.score``. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from etl import cli, job, labelled, tables
from etl.errors import InputError
from etl.explain import safe
from etl.kernels import intervals, ranking
from etl.lake import Lake
from etl.progress import draw
from etl.stages.rules import SIGNAL_TABLES, SIGNALS, scorer_of

STEPS = 10  # rows of the table of thresholds
EXAMPLES = 3  # documents on each side
SHOWN = 240  # characters of a document
KEYS = ("url", "doc_id")
NUMBERS = ("bigint", "double", "int", "float")


@dataclass(frozen=True)
class Kept:
    """What a threshold keeps: documents with at least this value, and their tokens."""

    threshold: float
    documents: int
    tokens: int


@dataclass(frozen=True)
class Judged:
    """A threshold against labels: counts of labelled documents that are found, and the area under the ROC curve."""

    n: int
    right_kept: int
    kept: int
    good: int
    auc: ranking.Auc

    @property
    def precision(self) -> tuple[float, float, float]:
        """Share of the kept that people call good, with its interval."""
        return self.right_kept / max(1, self.kept), *intervals.wilson(self.right_kept, self.kept)

    @property
    def recall(self) -> tuple[float, float, float]:
        """Share of the good that is kept, with its interval."""
        return self.right_kept / max(1, self.good), *intervals.wilson(self.right_kept, self.good)


def values(lake: Lake, signal: str, model: str | None = None) -> DataFrame:
    """doc_id, value and tokens of every document with text that has a value of `signal`.

    Of a scorer without `model`, the one that has scored most documents.

    Raises:
        InputError: there is no such signal, it is no number, or nothing has a value.
    """
    scorer = scorer_of(signal)
    if scorer is not None:
        rows = _scores(lake, scorer, signal.partition(".")[2], model)
    else:
        table = next((table for table in SIGNAL_TABLES if table.name == SIGNALS.get(signal)), None)
        kind = dict(lake.read(table).dtypes)[signal] if table is not None else None
        if table is None or kind not in NUMBERS:
            found = f"is {kind}" if kind else "is in no table"
            raise InputError(f"signal {signal!r} {found}, wanted a number such as words, or a score: quality.score")
        rows = lake.read(table).select("doc_id", F.col(signal).cast("double").alias("value"))
    # Key: both tables have one row per doc_id.
    tokens = lake.read(tables.DOCUMENT_TOKENS).select("doc_id", "tokens")
    return rows.where(F.col("value").isNotNull()).join(tokens, "doc_id", how="inner")


def _scores(lake: Lake, scorer: str, column: str, model: str | None) -> DataFrame:
    rows = lake.read(tables.DOCUMENT_SCORES).where(F.col("scorer") == scorer)
    counts = {row["model"]: row["count"] for row in rows.groupBy("model").count().collect()}
    if not counts or (model is not None and model not in counts):
        have = ", ".join(sorted(counts)) or "none"
        raise InputError(f"no scores by {model or scorer} in this lake, found of this scorer: {have}")
    chosen = model or max(counts, key=lambda name: (counts[name], name))
    texts = lake.read(tables.DOCUMENTS).select("doc_id", "text_hash")
    rows = rows.where(F.col("model") == chosen).join(texts, ["doc_id", "text_hash"], how="left_semi")
    return rows.select("doc_id", F.col(column).cast("double").alias("value"))


def kept(rows: DataFrame, at: float | None = None) -> list[Kept]:
    """What thresholds keep: steps of equal numbers of documents from the lowest value, and `at`."""
    shares = [step / STEPS for step in range(STEPS)]
    found = rows.agg(F.percentile("value", F.array(*map(F.lit, shares))).alias("steps")).head()
    steps = sorted({*(found["steps"] if found and found["steps"] else ()), *([] if at is None else [at])})
    sums = [
        column
        for place, step in enumerate(steps)
        for column in (
            F.count_if(F.col("value") >= step).alias(f"documents_{place}"),
            F.sum(F.when(F.col("value") >= step, F.col("tokens")).otherwise(0)).alias(f"tokens_{place}"),
        )
    ]
    row = rows.agg(*sums).head() if sums else None
    if row is None:
        return []
    return [Kept(step, row[f"documents_{n}"], row[f"tokens_{n}"] or 0) for n, step in enumerate(steps)]


def around(lake: Lake, rows: DataFrame, at: float, count: int = EXAMPLES) -> list[Row]:
    """The documents next to `at`, `count` below and `count` from there on: value, url, and how the text begins."""
    is_above = F.col("value") >= at
    below = rows.where(~is_above).orderBy(F.col("value").desc(), "doc_id").limit(count)
    above = rows.where(is_above).orderBy("value", "doc_id").limit(count)
    near = {row["doc_id"]: row["value"] for row in [*below.collect(), *above.collect()]}
    texts = lake.read(tables.DOCUMENTS).where(F.col("doc_id").isin(*near))
    found = texts.select("doc_id", "url", F.substring("text", 1, SHOWN).alias("begins")).collect()
    named = [Row(value=near[row["doc_id"]], url=row["url"], begins=row["begins"]) for row in found]
    return sorted(named, key=lambda row: (row["value"], row["url"] or ""))


def judged(lake: Lake, rows: DataFrame, at: float, labels: labelled.Labelled, key: str = "url") -> Judged:
    """A threshold against labels, which name documents by `key`, in `labels.texts`.

    Raises:
        InputError: fewer than two kinds of labelled documents have a value.
    """
    named = dict(zip(labels.texts, map(bool, labels.labels), strict=True))
    places = lake.read(tables.DOCUMENTS).select("doc_id", "url").where(F.col(key).isin(*named))
    found = rows.join(places, "doc_id", how="inner").select(key, "value").collect()
    scores = np.array([row["value"] for row in found], dtype=np.float64)
    good = np.array([named[row[key]] for row in found], dtype=np.bool_)
    if len(set(good.tolist())) < 2:
        raise InputError(f"of {len(named):,} labels {len(found):,} are of documents with a value, wanted both kinds")
    is_kept = scores >= at
    return Judged(
        len(found), int((good & is_kept).sum()), int(is_kept.sum()), int(good.sum()), ranking.auc_interval(good, scores)
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = _options(argv)
    console = Console()
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        rows = values(lake, options.signal, options.model).cache()
        at = options.at
        _show_kept(console, options.signal, kept(rows, at))
        if at is None:
            return
        _show_examples(console, around(lake, rows, at, options.examples), at)
        if options.labels:
            labels = labelled.labelled(options.labels, options.key, options.label)
            _show_judged(console, judged(lake, rows, at, labels, options.key))


def _show_kept(console: Console, signal: str, found: Sequence[Kept]) -> None:
    if not found:
        console.print(f"no document has a value of {signal}")
        return
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for name in (f"{signal} at least", "documents", "share", "tokens", "share"):
        grid.add_column(name, justify="right")
    documents, tokens = max(each.documents for each in found), max(each.tokens for each in found)
    for each in found:
        shares = (each.documents / max(1, documents), each.tokens / max(1, tokens))
        grid.add_row(
            f"{each.threshold:.4g}", f"{each.documents:,}", f"{shares[0]:.1%}", f"{each.tokens:,}", f"{shares[1]:.1%}"
        )
    draw(grid, console)


def _show_examples(console: Console, found: Sequence[Row], at: float) -> None:
    for side, rows in (
        ("dropped, nearest first below", [row for row in found if row["value"] < at][::-1]),
        ("kept, nearest first", [row for row in found if row["value"] >= at]),
    ):
        console.print(f"\n{side} {at:g}", style="bold")
        for row in rows:
            console.print(Text(f"  {row['value']:.4g}  {safe(str(row['url']))}"), soft_wrap=True)
            console.print(Text(f"    {safe(' '.join(str(row['begins']).split()))}", style="dim"), soft_wrap=True)


def _show_judged(console: Console, found: Judged) -> None:
    console.print()
    for name, (value, low, high) in (("precision", found.precision), ("recall", found.recall)):
        console.print(f"{name:<10} {value:.3f} ({low:.3f} to {high:.3f})", highlight=False)
    console.print(f"AUC        {found.auc}", highlight=False)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = cli.reading_parser("What a threshold on a signal would keep, and what stands on both sides of it.")
    parser.add_argument("signal", help="a column of an annotation, such as words, or a score, such as quality.score")
    parser.add_argument("--at", type=float, help="the threshold to look at")
    parser.add_argument("--model", help="of a scorer: the model, such as quality@0123456789ab (that of most scores)")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"documents on each side ({EXAMPLES})")
    parser.add_argument("--labels", type=Path, help="JSON lines with labels of documents, good or bad, 1 or 0")
    parser.add_argument(
        "--key", choices=KEYS, default="url", help="the field that names a document, and is in the lake"
    )
    parser.add_argument("--label", default="label", help="the field of the label (label)")
    options = parser.parse_args(argv)
    if options.labels and options.at is None:
        parser.error("--labels needs --at")
    return options
