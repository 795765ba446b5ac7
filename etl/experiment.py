"""Does curation help? The same small model, trained for as many steps on data of one kind and of another.

An arm is a recipe and a mixture. For each seed, the sets of all arms have as many tokens, and all models begin with the
same weights and tokenizer, take as many steps and are measured on the same files; only what they read differs. A seed
also decides which documents a set draws, and their order. So the change against the baseline is taken seed by seed, and
its interval (Student's t over seeds) says what other seeds would give: an interval that holds 0 is no difference.

What it cannot say: what a larger model or another amount of data would give, and what other text to measure on would.
The tokenizer is learned from the baseline's data, which favours the baseline if anything.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pyspark.sql import Row
from pyspark.sql import functions as F
from rich.table import Table as Grid

import etl
from etl import config, job, pipeline, sets, tables
from etl.align import launch, run
from etl.align.config import Training
from etl.config import STRICT
from etl.errors import ConfigError, InputError
from etl.evaluate import EvaluationConfig
from etl.evaluate.run import evaluate_models
from etl.kernels import intervals
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.runner import Runner
from etl.sets import SetPlan
from etl.stages.mix import Mixture

MANY_EPOCHS = 1e6  # steps end a training, not passes over the set


@dataclass(frozen=True)
class Arm:
    """Data to train on: the recipe that keeps it and the mixture that draws from it, files of ``conf/`` or paths."""

    __pydantic_config__ = STRICT

    name: str
    recipe: str
    mixture: str = "web"


@dataclass(frozen=True)
class ExperimentConfig:
    """Arms that are compared with `baseline`, one of them.

    `training` is a file of ``conf/align`` for a model from scratch; each model takes `steps` steps. The set of each arm
    has `tokens` tokens at most; without it, as many as the arm of least data has. `evaluations` is a file of
    ``conf/evaluations`` on files that are not in the lake. At least two `seeds`, since one tells nothing of chance.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    arms: tuple[Arm, ...]
    baseline: str
    training: str
    steps: int
    evaluations: str
    seeds: tuple[int, ...] = (1, 2, 3)
    tokens: int | None = None
    accelerate: str = "cpu"

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        problems = []
        if len(names) < 2 or len(set(names)) < len(names):
            problems.append(f"arms are {names}, wanted two or more, each named once")
        if self.baseline not in names:
            problems.append(f"baseline is {self.baseline!r}, wanted one of {names}")
        if len(self.seeds) < 2 or len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds are {list(self.seeds)}, wanted two or more different ones")
        problems += [
            f"{name} is {value}, wanted at least 1"
            for name, value in (("steps", self.steps), ("tokens", self.tokens))
            if value is not None and value < 1
        ]
        if problems:
            raise ValueError(f"experiment {self.name!r}: {'; '.join(problems)}")

    def model(self, arm: Arm, seed: int) -> str:
        """The name of a model, and of the set that it learns from."""
        return f"{self.name}.{arm.name}.{seed}"


@dataclass(frozen=True)
class Plan:
    """An experiment with all that it names read and checked."""

    config: ExperimentConfig
    arms: tuple[tuple[Arm, pipeline.Plan, Mixture], ...]
    training: Training
    evaluations: EvaluationConfig


def plan(settings: ExperimentConfig, lines: PipelineConfig | None = None) -> Plan:
    """Read what the experiment names. `lines` is how the lake was made: its tokenizer, scorers and duplicates count.

    Raises:
        ConfigError: a file of ``conf/`` is wrong, the training has a parent, or a benchmark reads a set of the lake.
    """
    lines = lines or PipelineConfig()
    arms = tuple(
        (
            arm,
            pipeline.plan(replace(lines, recipe=arm.recipe, mixture=arm.mixture, input=(), records=None)),
            config.load(config.find("mixtures", arm.mixture), Mixture),
        )
        for arm in settings.arms
    )
    training = config.load(config.find("align", settings.training), Training)
    evaluations = config.load(config.find("evaluations", settings.evaluations), EvaluationConfig)
    launch.read(settings.accelerate)
    problems = []
    if training.method != "pretrain" or training.parent is not None:
        problems.append(f"training {settings.training!r} is no pretraining from scratch")
    own = [benchmark.name for benchmark in evaluations.benchmarks if benchmark.training_set is not None]
    if own:
        problems.append(f"benchmarks {', '.join(own)} read sets of the lake, which an arm may have seen: wanted files")
    if problems:
        raise ConfigError(f"experiment {settings.name!r}: {'; '.join(problems)}")
    return Plan(settings, arms, training, evaluations)


def perform(runner: Runner, plan: Plan) -> list[Row]:
    """Draw the sets, train and measure the models, and write the comparison; what stands already is not done again.

    Raises:
        InputError: an arm has no documents, or one has too few for a block.
    """
    settings = plan.config
    for _, line, _ in plan.arms:
        pipeline.find_duplicates(runner, line)
        pipeline.curate(runner, line)
    budget = settings.tokens or min(_available(runner.lake, line.recipe.name) for _, line, _ in plan.arms)
    for seed in settings.seeds:
        for arm, line, mixture in plan.arms:
            drawn = replace(mixture, tokens=budget, seed=seed, held_out=0.0)
            name = settings.model(arm, seed)
            sets.build(runner, SetPlan(name, "documents", line.recipe, drawn, line.config.tokens.tokenizer))
        first = next(arm for arm in settings.arms if arm.name == settings.baseline)
        start = replace(
            plan.training,
            model=f"{settings.name}.start.{seed}",
            training_set=settings.model(first, seed),
            max_steps=1,
            seed=seed,
        )
        run.train(runner, start, settings.accelerate)
        for arm in settings.arms:
            training = replace(
                plan.training,
                model=settings.model(arm, seed),
                parent=start.model,
                architecture=None,
                vocab_size=None,
                training_set=settings.model(arm, seed),
                epochs=MANY_EPOCHS,
                max_steps=settings.steps,
                seed=seed,
            )
            run.train(runner, training, settings.accelerate)
    models = [settings.model(arm, seed) for arm in settings.arms for seed in settings.seeds]
    evaluate_models(runner.lake, models, plan.evaluations, runner.reporter.console)
    return _written(runner.lake, settings)


def _available(lake: Lake, recipe: str) -> int:
    row = lake.read(tables.CORPUS).where(F.col("recipe") == recipe).agg(F.sum("tokens").alias("tokens")).head()
    if row is None or not row["tokens"]:
        raise InputError(f"recipe {recipe!r} keeps no document with a token: nothing to train on")
    return int(row["tokens"])


def _written(lake: Lake, settings: ExperimentConfig) -> list[Row]:
    """The rows of the experiment, from what was measured, in the place of those of an earlier run."""
    place = {settings.model(arm, seed): (arm.name, seed) for arm in settings.arms for seed in settings.seeds}
    values: dict[tuple[str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    items: dict[tuple[str, str], int] = {}
    for row in lake.read(tables.EVALUATIONS).where(F.col("model").isin(*place)).collect():
        of = row["benchmark"], row["metric"]
        values[of][place[row["model"]]] = row["value"]
        items[of] = row["n"]
    found = lake.read(tables.TRAINING_SETS).where(F.col("training_set").isin(*place)).collect()
    sizes = {row["training_set"]: (row["documents"], row["tokens"]) for row in found}
    trained = lake.read(tables.MODELS).where(F.col("model").isin(*place)).collect()
    seen = {row["model"]: row["tokens"] for row in trained}
    rows = []
    for (benchmark, metric), measured in sorted(values.items()):
        base = [measured[settings.baseline, seed] for seed in settings.seeds]
        for arm in settings.arms:
            mine = [measured[arm.name, seed] for seed in settings.seeds]
            models = [settings.model(arm, seed) for seed in settings.seeds]
            changes = [one - other for one, other in zip(mine, base, strict=True)]
            rows.append(
                Row(
                    experiment=settings.name,
                    arm=arm.name,
                    benchmark=benchmark,
                    metric=metric,
                    **dict(zip(("value", "low", "high"), _mean(mine), strict=True)),
                    **dict(zip(("change", "change_low", "change_high"), _mean(changes), strict=True)),
                    seeds=len(settings.seeds),
                    items=items[benchmark, metric],
                    documents=float(np.mean([sizes[model][0] for model in models])),
                    tokens=float(np.mean([sizes[model][1] for model in models])),
                    seen=float(np.mean([seen[model] for model in models])),
                    baseline=settings.baseline,
                    config=json.dumps(asdict(settings), sort_keys=True, ensure_ascii=False),
                )
            )
    part = {"experiment": [settings.name]}
    frame = lake.spark.createDataFrame(
        [tuple(row[name] for name in tables.EXPERIMENTS.columns) for row in rows], tables.EXPERIMENTS.schema
    )
    metadata = {"stage": "experiments", "package": f"goldenlake {etl.__version__}", "slice": part}
    lake.replace(tables.EXPERIMENTS, frame, part, metadata)
    return rows


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean with Student's interval over seeds."""
    low, high = intervals.ratio(values, np.ones(len(values)))
    mean = float(np.mean(values))
    return mean, min(low, mean), max(high, mean)


def grid(rows: Sequence[Row]) -> Grid:
    """The comparison as a table for the terminal."""
    drawn = Grid(box=None, header_style="bold", pad_edge=False)
    for column in ("benchmark", "metric", "arm"):
        drawn.add_column(column, no_wrap=True)
    for column in ("value", "95 % interval", "change", "95 % interval", "unique tokens", "passes"):
        drawn.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(
            row["benchmark"],
            row["metric"],
            row["arm"],
            f"{row['value']:.4f}",
            f"{row['low']:.4f} to {row['high']:.4f}",
            "" if row["arm"] == row["baseline"] else f"{row['change']:+.4f}",
            "" if row["arm"] == row["baseline"] else f"{row['change_low']:+.4f} to {row['change_high']:+.4f}",
            f"{row['tokens']:,.0f}",
            f"{row['seen'] / max(1.0, row['tokens']):.2f}",
        )
    return drawn


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Perform the experiment that the options of `argv` name, and show the comparison."""
    options = _parser(doc).parse_args(argv)
    with job.reported_errors():
        chosen = config.load(config.find("experiments", options.experiment), ExperimentConfig, options.assignments)
        planned = plan(chosen, config.load(options.pipeline, PipelineConfig) if options.pipeline else None)
        with job.writer(options) as runner:
            runner.reporter.console.print(grid(perform(runner, planned)))


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    result.add_argument("experiment", help="a file of conf/experiments, or a path")
    result.add_argument(
        "--pipeline", type=Path, help="the YAML file that the lake was made with, where it was not the default"
    )
    job.add_assignments(result, "any key of the experiment, such as steps=400")
    job.add_lake_options(result)
    return result
