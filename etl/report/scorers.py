"""What models say of the documents of a lake, of all and of those that a recipe keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Row
from pyspark.sql import functions as F

from etl import tables
from etl.kernels.quality_score import Estimate, Gain, gain
from etl.lake import Lake
from etl.report import estimates
from etl.report.estimates import Moments, wilson
from etl.stages.curate import Recipe

BINS = 20  # of a picture of the scores
FLAGGED = 0.5  # probability from which a document counts as what a scorer of probabilities looks for
MOST = 5  # level of scorers that give levels, as FineWeb-Edu


@dataclass(frozen=True)
class Scored:
    """The scores of one model: of all documents with text, and of those that the recipe keeps.

    `average` and `flagged` (documents at FLAGGED or more) are None where the model has not scored every document, since
    what was scored is then no sample of what came in, and where one side has nothing. `counts` and `kept` are the
    documents of each of BINS equal steps from 0 to `top`. `is_read` says whether the recipe has a rule on it.
    """

    scorer: str
    model: str
    description: str
    documents: int
    scored: int
    without: int
    top: int
    average: Gain | None
    flagged: Gain | None
    counts: tuple[int, ...]
    kept: tuple[int, ...]
    is_read: bool

    @property
    def is_whole(self) -> bool:
        """Whether every document with text was looked at."""
        return self.scored + self.without == self.documents


def scored(lake: Lake, recipe: str, applied: Recipe | None) -> dict[str, Scored]:
    """By scorer, in alphabetical order: the model that `applied`, the recipe as it decided, reads, or else the one that
    scored last."""
    read = dict(applied.scorers) if applied is not None else {}
    descriptions = _descriptions(lake)
    last = {model.partition("@")[0]: model for model in reversed(descriptions)}
    models = {**last, **read}
    if not models:
        return {}
    texts = lake.read(tables.DOCUMENTS).where(F.col("text").isNotNull()).select("doc_id", "text_hash")
    kept = lake.read(tables.DISPOSITIONS).where((F.col("recipe") == recipe) & (F.col("decision") == "kept"))
    scores = lake.read(tables.DOCUMENT_SCORES).where(F.col("model").isin(*models.values()))
    # Key: a document has one text and one disposition under a recipe, and one score by a model.
    rows = scores.join(texts, ["doc_id", "text_hash"], how="inner")
    rows = rows.join(kept.select("doc_id", F.lit(True).alias("is_kept")), "doc_id", how="left")
    top = F.when(F.col("level").isNull(), 1).otherwise(MOST)
    place = F.least(F.greatest(F.floor(F.col("score") / top * BINS), F.lit(0)), F.lit(BINS - 1))
    score = F.col("score")
    bins = rows.groupBy("model", place.alias("place"), F.col("is_kept").isNotNull().alias("is_kept")).agg(
        F.count(F.lit(1)).alias("n"),
        F.max(top).alias("top"),
        F.sum(score).alias("sum"),
        F.sum(score * score).alias("squares"),
        F.count_if(score >= FLAGGED).alias("flagged"),
    )
    found = bins.collect()
    documents = texts.count()
    return {
        scorer: replace(
            _of_model(scorer, model, documents, [row for row in found if row["model"] == model]),
            description=descriptions.get(model, ""),
            is_read=scorer in read,
        )
        for scorer, model in sorted(models.items())
    }


def _descriptions(lake: Lake) -> dict[str, str]:
    """What each model is, by its name in the table, the one whose scores were written last before others."""
    found: dict[str, str] = {}
    for commit in lake.commits(tables.DOCUMENT_SCORES):
        metadata = json.loads(commit.metadata or "null") or {}
        for model in metadata.get("slice", {}).get("model", ()):
            found.setdefault(model, metadata["params"]["scorer"]["description"])
    return found


def _of_model(scorer: str, model: str, documents: int, bins: Sequence[Row]) -> Scored:
    numbers = [row for row in bins if row["place"] is not None]
    after = [row for row in numbers if row["is_kept"]]
    found = Scored(
        scorer,
        model,
        "",
        documents,
        scored=sum(row["n"] for row in numbers),
        without=sum(row["n"] for row in bins if row["place"] is None),
        top=max((row["top"] for row in numbers), default=1),
        average=gain(_mean(numbers), _mean(after)),
        flagged=gain(_flagged(numbers), _flagged(after)),
        counts=_histogram(numbers),
        kept=_histogram(after),
        is_read=False,
    )
    return found if found.is_whole else replace(found, average=None, flagged=None)


def _mean(bins: Sequence[Row]) -> Estimate | None:
    n = sum(row["n"] for row in bins)
    total = sum(row["sum"] for row in bins)
    squares = sum(row["squares"] for row in bins)
    return estimates.ratio(Moments(n, total, n, squares, total, n))


def _flagged(bins: Sequence[Row]) -> Estimate | None:
    return wilson(sum(row["flagged"] for row in bins), sum(row["n"] for row in bins))


def _histogram(bins: Sequence[Row]) -> tuple[int, ...]:
    counts = [0] * BINS
    for row in bins:
        counts[int(row["place"])] += row["n"]
    return tuple(counts)
