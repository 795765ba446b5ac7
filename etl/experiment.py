"""Does curation help? The same small model, trained for as many steps on data of one kind and of another.

An arm is a recipe and a mixture. For each seed, all models begin with the same weights and tokenizer, take as many
steps and are measured on the same files; only what they read differs. Their sets have as many tokens too, but for an
arm that has less, or is given less: its model reads it again, which the passes of its row say. That is quality against
quantity: less and better text, read more than once, against as much as there is.

A seed also decides which documents a set draws, and their order. So the change against the baseline, and against the
arm before, is taken seed by seed, and its interval (Student's t over seeds) says what other seeds would give: an
interval that holds 0 is no difference. With some dozen intervals in a table, one in twenty misses 0 by chance.

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
from typing import Any

import numpy as np
from pyspark.sql import Row
from pyspark.sql import functions as F
from rich.table import Table as Grid

import etl
from etl import config, job, pipeline, sets, tables
from etl.align import data, launch, models, run
from etl.align.config import Training
from etl.config import STRICT
from etl.errors import ConfigError, InputError
from etl.evaluate import EvaluationConfig
from etl.evaluate.run import evaluate_models
from etl.kernels import intervals, mixing
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import draw
from etl.runner import Runner
from etl.search import corpus
from etl.sets import SetPlan
from etl.stages.curate import Recipe
from etl.stages.mix import Mixture
from etl.stages.rules import Rule, reads, scorer_of

MANY_EPOCHS = 1e6  # steps end a training, not passes over the set


@dataclass(frozen=True)
class Arm:
    """Data to train on: the recipe that keeps it and the mixture that draws from it, files of ``conf/`` or paths.

    `rules` come before those of the recipe. With `tokens`, the set has at most so many, however many others have.
    `after` names the arm that this one adds a step to, by default the one before it.
    """

    __pydantic_config__ = STRICT

    name: str
    recipe: str
    mixture: str = "web"
    rules: tuple[Rule, ...] = ()
    tokens: int | None = None
    after: str | None = None


@dataclass(frozen=True)
class ExperimentConfig:
    """Arms that are compared with `baseline`, one of them, and each with the one that it adds a step to.

    `rules` come before those of every arm's recipe, such as one on `contaminated_items`; a recipe with rules of the
    experiment is named by experiment and arm. `training` is a file of ``conf/align`` for a model from scratch; each
    model takes `steps` steps. The set of each arm has `tokens` tokens at most; without it, as many as the arm of least
    data has. `evaluations` is a file of ``conf/evaluations`` on files that are not in the lake. At least two `seeds`,
    since one tells nothing of chance.
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
    rules: tuple[Rule, ...] = ()
    accelerate: str = "cpu"

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        problems = []
        if len(names) < 2 or len(set(names)) < len(names):
            problems.append(f"arms are {names}, wanted two or more, each named once")
        if self.baseline not in names:
            problems.append(f"baseline is {self.baseline!r}, wanted one of {names}")
        known = names[:1]
        for arm in self.arms:
            if arm.after is not None and arm.after not in known:
                problems.append(f"arm {arm.name!r} is after {arm.after!r}, wanted one of the arms before it")
            known.append(arm.name)
        if len(self.seeds) < 2 or len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds are {list(self.seeds)}, wanted two or more different ones")
        numbers = [("steps", self.steps), ("tokens", self.tokens)]
        numbers += [(f"tokens of arm {arm.name}", arm.tokens) for arm in self.arms]
        problems += [
            f"{name} is {value}, wanted at least 1" for name, value in numbers if value is not None and value < 1
        ]
        rules = [*self.rules, *(rule for arm in self.arms for rule in arm.rules)]
        scored = [rule.name for rule in rules if scorer_of(rule.signal)]
        if scored:
            problems.append(f"rules {', '.join(scored)} read scores, wanted them in a recipe")
        if problems:
            raise ValueError(f"experiment {self.name!r}: {'; '.join(problems)}")

    def before(self, arm: Arm) -> str:
        """The arm that this one adds a step to; the first adds to none, and is its own."""
        names = [each.name for each in self.arms]
        return arm.after or names[max(0, names.index(arm.name) - 1)]

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
    arms = tuple((arm, *_line(settings, arm, lines)) for arm in settings.arms)
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


def _line(settings: ExperimentConfig, arm: Arm, lines: PipelineConfig) -> tuple[pipeline.Plan, Mixture]:
    """The way of an arm from documents to a corpus, and its mixture."""
    line = pipeline.plan(replace(lines, recipe=arm.recipe, mixture=arm.mixture, input=(), records=None))
    rules = (*settings.rules, *arm.rules)
    if line.contamination is None and reads(rules, tables.DOCUMENT_CONTAMINATION):
        raise ConfigError(f"experiment {settings.name!r} has a rule on contamination, wanted benchmarks to look for")
    if not rules:
        return line, line.mixture
    try:
        recipe = replace(line.recipe, name=f"{settings.name}.{arm.name}", rules=(*rules, *line.recipe.rules))
    except ValueError as error:
        raise ConfigError(f"experiment {settings.name!r}, arm {arm.name!r}: {error}") from error
    return replace(line, recipe=recipe), line.mixture


def perform(runner: Runner, plan: Plan) -> list[Row]:
    """Draw the sets, train and measure the models, and write the comparison; what stands already is not done again.

    Raises:
        InputError: pages were left out that an arm wants, an arm has no documents, one has too few for a block, or a
            benchmark cannot be measured; nothing of it is said after hours of training.
    """
    settings = plan.config
    _curate(runner, plan)
    budget = settings.tokens or min(available(runner.lake, line.recipe, mixture) for _, line, mixture in plan.arms)
    starts = []
    for seed in settings.seeds:
        for arm, line, mixture in plan.arms:
            most = min(budget, arm.tokens or budget)
            # Of one source, less than is asked is no other mixture: the model reads it again, and its row says so.
            short = "allow" if len(mixture.sources) == 1 else mixture.short
            drawn = replace(mixture, tokens=most, seed=seed, held_out=0.0, short=short)
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
        starts.append(start)
    # What cannot be measured, such as an answer longer than the context, is said before the long part.
    evaluate_models(runner.lake, [start.model for start in starts], plan.evaluations, runner.reporter.console)
    for start in starts:
        for arm in settings.arms:
            training = replace(
                plan.training,
                model=settings.model(arm, start.seed),
                parent=start.model,
                architecture=None,
                vocab_size=None,
                training_set=settings.model(arm, start.seed),
                epochs=MANY_EPOCHS,
                max_steps=settings.steps,
                seed=start.seed,
            )
            run.train(runner, training, settings.accelerate)
    names = [settings.model(arm, seed) for arm in settings.arms for seed in settings.seeds]
    evaluate_models(runner.lake, names, plan.evaluations, runner.reporter.console)
    return _written(runner.lake, plan)


def _curate(runner: Runner, plan: Plan) -> None:
    """The corpus of each arm, with all that its recipe reads measured before."""
    lines = [line for _, line, _ in plan.arms]
    scorers = {scorer.model: scorer for line in lines for scorer in line.scorers}
    pipeline.annotate(runner, replace(lines[0], scorers=tuple(scorers.values())))
    for arm, line, _ in plan.arms:
        pipeline.find_duplicates(runner, line)
        pipeline.curate(runner, line)
        is_unread = (F.col("recipe") == line.recipe.name) & (F.col("rule") == "not_extracted")
        unread = runner.lake.read(tables.DISPOSITIONS).where(is_unread).count()
        if unread:
            raise InputError(
                f"arm {arm.name!r}: {unread:,} pages have no text, left out by rules that recipe {line.recipe.name!r} "
                f"lacks: extract again with goldenlake run --set cascade=off"
            )


def available(lake: Lake, recipe: Recipe, mixture: Mixture) -> int:
    """Tokens of the largest set that the mixture can draw, each document once."""
    counts = corpus.available(lake.read(tables.CORPUS), recipe.name, mixture)
    supplies = {source: mixing.Supply(tokens=tokens, pass_tokens=tokens) for source, tokens in counts.items()}
    parts = mixing.parts(mixture.demands, supplies, temperature=mixture.temperature)
    if parts[0].budget < 1:
        raise InputError(f"recipe {recipe.name!r} keeps no document with a token: nothing to train on")
    return int(parts[0].budget)


def _written(lake: Lake, plan: Plan) -> list[Row]:
    """The rows of the experiment, from what was measured, in the place of those of an earlier run."""
    settings, asked = plan.config, [benchmark.name for benchmark in plan.evaluations.benchmarks]
    place = {settings.model(arm, seed): (arm.name, seed) for arm in settings.arms for seed in settings.seeds}
    values: dict[tuple[str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    items: dict[tuple[str, str], int] = {}
    is_asked = F.col("model").isin(*place) & F.col("benchmark").isin(*asked)
    for row in lake.read(tables.EVALUATIONS).where(is_asked).collect():
        of = row["benchmark"], row["metric"]
        values[of][place[row["model"]]] = row["value"]
        items[of] = row["n"]
    shared = {
        "experiment": settings.name,
        "seeds": len(settings.seeds),
        "baseline": settings.baseline,
        "config": json.dumps(asdict(settings), sort_keys=True, ensure_ascii=False),
    }
    sizes = _sizes(lake, settings)
    rows = []
    for (benchmark, metric), measured in sorted(values.items()):
        by_seed = {arm.name: np.array([measured[arm.name, seed] for seed in settings.seeds]) for arm in settings.arms}
        for arm in settings.arms:
            mine = by_seed[arm.name]
            found = {
                **dict(zip(("value", "low", "high"), mean(mine), strict=True)),
                **difference("change", mine - by_seed[settings.baseline]),
                **difference("step", mine - by_seed[settings.before(arm)]),
            }
            what = {"arm": arm.name, "benchmark": benchmark, "metric": metric, "items": items[benchmark, metric]}
            rows.append(Row(**{**shared, **what, **found, **sizes[arm.name]}))
    part = {"experiment": [settings.name]}
    frame = lake.spark.createDataFrame(
        [tuple(row[name] for name in tables.EXPERIMENTS.columns) for row in rows], tables.EXPERIMENTS.schema
    )
    metadata = {"stage": "experiments", "package": f"goldenlake {etl.__version__}", "slice": part}
    lake.replace(tables.EXPERIMENTS, frame, part, metadata)
    return rows


def _sizes(lake: Lake, settings: ExperimentConfig) -> dict[str, dict[str, float]]:
    """For each arm, means over its models: documents and tokens of the set, and tokens seen. A model counts tokens by
    its own tokenizer, so that tokens seen over tokens of the set are passes over it."""
    place = {settings.model(arm, seed): arm.name for arm in settings.arms for seed in settings.seeds}
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for row in lake.read(tables.MODELS).where(F.col("model").isin(*place)).collect():
        own = next(each for each in row["training_sets"] if not each["is_inherited"])
        texts = data.read(lake.location(tables.TRAINING_DOCUMENTS), own["version"], own["training_set"], "documents")
        blocks = data.Blocks(texts, models.load(row["location"]).tokenizer, context=1)
        found[place[row["model"]]].append((texts.num_rows, len(blocks), row["tokens"]))
    names = ("documents", "tokens", "seen")
    return {arm: dict(zip(names, map(float, np.mean(each, axis=0)), strict=True)) for arm, each in found.items()}


def mean(values: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """The mean with Student's interval over seeds."""
    low, high = intervals.ratio(values, np.ones(len(values)))
    mean = float(np.mean(values))
    return mean, min(low, mean), max(high, mean)


def difference(name: str, values: np.ndarray[Any, Any]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), mean(values), strict=True))


def grid(rows: Sequence[Row]) -> Grid:
    """The comparison as a table for the terminal."""
    drawn = Grid(box=None, header_style="bold", pad_edge=False)
    for column in ("benchmark", "metric", "arm"):
        drawn.add_column(column, no_wrap=True)
    for column in ("value", "95 % interval", "change", "95 % interval", "step", "95 % interval", "tokens", "passes"):
        drawn.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        is_first = row["step_low"] == row["step_high"]
        drawn.add_row(
            row["benchmark"],
            row["metric"],
            row["arm"],
            f"{row['value']:.4f}",
            f"{row['low']:.4f} to {row['high']:.4f}",
            *_shown(row, "change", hide=row["arm"] == row["baseline"]),
            *_shown(row, "step", hide=is_first),
            f"{row['tokens']:,.0f}",
            f"{row['seen'] / max(1.0, row['tokens']):.2f}",
        )
    return drawn


def _shown(row: Row, name: str, *, hide: bool) -> tuple[str, str]:
    if hide:
        return "", ""
    return f"{row[name]:+.4f}", f"{row[f'{name}_low']:+.4f} to {row[f'{name}_high']:+.4f}"


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Perform the experiment that the options of `argv` name, and show the comparison."""
    options = _parser(doc).parse_args(argv)
    with job.reported_errors():
        chosen = config.load(config.find("experiments", options.experiment), ExperimentConfig, options.assignments)
        planned = plan(chosen, config.load(options.pipeline, PipelineConfig) if options.pipeline else None)
        with job.writer(options) as runner:
            draw(grid(perform(runner, planned)), runner.reporter.console)


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    result.add_argument("experiment", help="a file of conf/experiments, or a path")
    result.add_argument(
        "--pipeline", type=Path, help="the YAML file that the lake was made with, where it was not the default"
    )
    job.add_assignments(result, "any key of the experiment, such as steps=400")
    job.add_lake_options(result)
    return result
