"""The models of a lake in the order of their lineage, and what evaluations say of each and of its parent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from etl import tables
from etl.kernels.quality_score import Estimate
from etl.lake import Lake
from etl.report import estimates
from etl.sets import HELD_OUT

SHARES = {"accuracy", "accuracy_per_character", "exact_match", "preference_accuracy"}  # metrics that are a share
WIDTH, HEIGHT, POINTS = 300, 110, 150  # of a curve
LOWER_IS_BETTER = {"bits_per_byte", "answer_loss"}


@dataclass(frozen=True)
class Model:
    """One trained model: what it began as, what it saw, what that took, and what its training measured.

    `line` are its ancestors in this lake and itself, the oldest first. `sft` is the nearest of them that was made by
    supervised tuning, with which times are compared.
    """

    name: str
    parent: str | None
    method: str
    training_set: str
    rows: int
    parameters: int
    steps: int
    tokens: int
    seconds: float
    metrics: dict[str, float]
    line: tuple[str, ...]
    sft: str | None = None
    time: float | None = None  # of that of `sft`
    token_time: float | None = None  # the same for each token


@dataclass(frozen=True)
class Change:
    """A metric less that of the parent on the same items, with its 95 % interval."""

    parent: str
    value: float
    low: float
    high: float
    n: int
    is_better: bool | None  # None where the interval has both signs


@dataclass(frozen=True)
class Evaluation:
    """One metric of a model on a benchmark, and the change against its parent where both were measured on the same."""

    model: str
    benchmark: str
    metric: str
    estimate: Estimate
    data: str
    parent: str | None = None
    change: Change | None = None

    @property
    def is_share(self) -> bool:
        return self.metric in SHARES

    @property
    def is_held_out(self) -> bool:
        """Whether it was measured on the rows that a mixture keeps away from training."""
        return self.data.endswith(HELD_OUT)


def models(lake: Lake) -> list[Model]:
    """All models, every child after its parent."""
    rows = {row["model"]: row for row in lake.read(tables.MODELS).collect()}
    found = {name: _model(row, _line(name, rows)) for name, row in rows.items()}
    return [_timed(model, found) for model in sorted(found.values(), key=lambda model: model.line)]


@dataclass(frozen=True)
class Curve:
    """The loss of a training as a line in a frame of `WIDTH` x `HEIGHT`: `points` of an SVG, from `low` to `high`, each
    the mean of equally many steps. `resumed` says how far across are steps that a killed training went on with."""

    model: str
    points: str
    low: float
    high: float
    steps: int
    tokens: int
    resumed: tuple[float, ...]


def curves(lake: Lake, known: Sequence[Model]) -> list[Curve]:
    """The curves of models in their order. A model of one step has none."""
    steps = lake.read(tables.MODEL_STEPS).select("model", "step", "loss", "is_resumed")
    totals = lake.read(tables.MODELS).select("model", "steps")
    place = F.floor(F.col("step") / F.ceil(F.col("steps") / POINTS)).alias("place")
    # Key: models has one row per model.
    means = steps.join(totals, "model", how="inner").groupBy("model", place)
    rows = means.agg(
        F.avg("loss").alias("loss"), F.collect_list(F.when(F.col("is_resumed"), F.col("step"))).alias("resumed")
    )
    found: dict[str, list[Row]] = {}
    for row in rows.orderBy("model", "place").collect():
        found.setdefault(row["model"], []).append(row)
    return [_curve(model, found[model.name]) for model in known if len(found.get(model.name, [])) > 1]


def _curve(model: Model, rows: Sequence[Row]) -> Curve:
    losses = [row["loss"] for row in rows]
    low, high = min(losses), max(losses)
    heights = [HEIGHT * (high - loss) / ((high - low) or 1.0) for loss in losses]
    across = [WIDTH * place / (len(rows) - 1) for place in range(len(rows))]
    return Curve(
        model.name,
        " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, heights, strict=True)),
        low,
        high,
        model.steps,
        model.tokens,
        tuple(WIDTH * step / (model.steps - 1) for row in rows for step in sorted(row["resumed"])),
    )


def _line(name: str, rows: dict[str, Row]) -> tuple[str, ...]:
    line = [name]
    # A model that was trained again may name itself among its ancestors by now.
    while (parent := rows[line[0]]["parent"]) in rows and parent not in line:
        line.insert(0, parent)
    return tuple(line)


def _model(row: Row, line: tuple[str, ...]) -> Model:
    own = [each for each in row["training_sets"] if not each["is_inherited"]]
    return Model(
        name=row["model"],
        parent=row["parent"],
        method=row["method"],
        training_set=", ".join(each["training_set"] for each in own),
        rows=sum(each["rows"] for each in own),
        parameters=row["parameters"],
        steps=row["steps"],
        tokens=row["tokens"],
        seconds=row["seconds"],
        metrics=dict(row["metrics"]),
        line=line,
    )


def _timed(model: Model, found: dict[str, Model]) -> Model:
    tuned = [name for name in reversed(model.line) if found[name].method == "sft"]
    if not tuned:
        return model
    sft = found[tuned[0]]
    is_known = sft.seconds > 0 and sft.tokens > 0 and model.tokens > 0
    time = model.seconds / sft.seconds if is_known else None
    token_time = time * sft.tokens / model.tokens if time is not None else None
    return Model(**{**vars(model), "sft": sft.name, "time": time, "token_time": token_time})


def evaluations(lake: Lake, known: Sequence[Model]) -> list[Evaluation]:
    """All evaluations by benchmark, metric and lineage of the model."""
    rows = lake.read(tables.EVALUATIONS).collect()
    places = {model.name: place for place, model in enumerate(known)}
    parents = {model.name: model.parent for model in known if model.parent is not None}
    changes = _changes(lake, rows, parents)
    found = [
        Evaluation(
            model=row["model"],
            benchmark=row["benchmark"],
            metric=row["metric"],
            estimate=Estimate(row["value"], row["low"], row["high"], row["n"]),
            data=row["data"],
            parent=parents.get(row["model"]),
            change=changes.get((row["model"], row["benchmark"], row["metric"])),
        )
        for row in rows
    ]
    return sorted(found, key=lambda e: (e.benchmark, e.metric, places.get(e.model, len(places)), e.model))


Name = tuple[str, str, str]  # model, benchmark, metric


def _changes(lake: Lake, rows: Iterable[Row], parents: dict[str, str]) -> dict[Name, Change]:
    """Of each metric that parent and child were measured by on the same data with the same settings."""
    measured = {(row["model"], row["benchmark"], row["metric"]): row for row in rows}
    pairs = []
    for (model, benchmark, metric), row in sorted(measured.items()):
        other = measured.get((parents.get(model, ""), benchmark, metric))
        if other is not None and _conditions(row) == _conditions(other):
            pairs.append((model, parents[model], benchmark, metric))
    if not pairs:
        return {}
    return {
        (row["model"], row["benchmark"], row["metric"]): _change(row) for row in _sums_of_pairs(lake, pairs).collect()
    }


def _conditions(row: Row) -> tuple[str, Any]:
    return row["data_sha256"], json.loads(row["settings"])


_NUMBERS = ("v1", "w1", "v2", "w2")  # value and weight of an item by the parent, then by the child


def _sums_of_pairs(lake: Lake, pairs: Sequence[Name | tuple[str, ...]]) -> Any:
    """One row per pair of models and metric: sums over the items that both were asked.

    Key: a model has one value of a metric for the item at a place of a benchmark.
    """
    items = lake.read(tables.EVALUATION_ITEMS)
    key = ("benchmark", "metric", "place", "item")
    wanted = lake.spark.createDataFrame(list(pairs), "model string, parent string, benchmark string, metric string")
    parents = items.select(
        F.col("model").alias("parent"), *key, F.col("value").alias("v1"), F.col("weight").alias("w1")
    )
    children = items.select("model", *key, F.col("value").alias("v2"), F.col("weight").alias("w2"))
    joined = (
        children.join(F.broadcast(wanted), ["model", "benchmark", "metric"], how="inner")
        .join(parents, ["parent", *key], how="inner")
        .where((F.col("w1") > 0) & (F.col("w2") > 0))
    )
    is_share = (F.col("w1") == 1) & (F.col("w2") == 1) & F.col("v1").isin(0.0, 1.0) & F.col("v2").isin(0.0, 1.0)
    products = [
        F.sum(F.col(one) * F.col(two)).alias(f"{one}_{two}")
        for place, one in enumerate(_NUMBERS)
        for two in _NUMBERS[place:]
    ]
    return joined.groupBy("model", "parent", "benchmark", "metric").agg(
        F.count(F.lit(1)).alias("n"),
        F.count(F.when(is_share, 1)).alias("shares"),
        *[F.sum(name).alias(name) for name in _NUMBERS],
        *products,
    )


def _change(row: Row) -> Change:
    n = row["n"]
    if row["shares"] == n:
        both = round(row["v1_v2"])
        first, second = round(row["v1"]) - both, round(row["v2"]) - both
        value, low, high = estimates.paired_shares(both, first, second, n - both - first - second)
    else:
        products = [[row["_".join(sorted((one, two), key=_NUMBERS.index))] for two in _NUMBERS] for one in _NUMBERS]
        value, low, high = estimates.paired_ratios(n, products, [row[name] for name in _NUMBERS])
    is_better = None if low <= 0 <= high else (value < 0) == (row["metric"] in LOWER_IS_BETTER)
    return Change(row["parent"], value, low, high, n, is_better)
