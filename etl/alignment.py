"""The second half of the way of the data: instruction data to sets, sets to models, models to evaluations.

Each step is a job of its own in ``jobs/``; `align_models` is all of them. Training and evaluation need the extra
``align``; the steps before them do not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etl import config, instruct, job, sets
from etl.config import STRICT
from etl.errors import ConfigError
from etl.instruct import Collection
from etl.kernels import tokens
from etl.pipeline import benchmarks
from etl.runner import Runner
from etl.sets import SetPlan
from etl.stages.contamination import ContaminationParams
from etl.stages.instruct_curate import InstructionRecipe
from etl.stages.mix import Mixture

if TYPE_CHECKING:
    from etl.align.config import Training


@dataclass(frozen=True)
class SetConfig:
    """A set to build: its name, and a file of ``conf/mixtures`` or a path."""

    __pydantic_config__ = STRICT

    training_set: str
    mixture: str


@dataclass(frozen=True)
class AlignmentConfig:
    """What is made of instruction data. `recipe`, `benchmarks`, mixtures, `trainings`, `accelerate` and `evaluations`
    name files of ``conf/`` or are paths. Instruction data is searched for items of `benchmarks`; models are trained in
    the order of `trainings`, and then all measured."""

    __pydantic_config__ = STRICT

    collection: str | None = None
    recipe: str = "chat"
    benchmarks: tuple[str, ...] = ()
    examples: SetConfig = SetConfig("sft", "tulu-like")
    pairs: SetConfig = SetConfig("preference", "preferences")
    trainings: tuple[str, ...] = ("tiny-pretrain", "tiny-sft", "tiny-dpo")
    accelerate: str = "cpu"
    evaluations: str = "demo"


@dataclass(frozen=True)
class Plan:
    """A configuration with all that it names read and checked."""

    config: AlignmentConfig
    collection: Collection
    recipe: InstructionRecipe
    mixtures: tuple[Mixture, Mixture]
    trainings: tuple[Training, ...]
    contamination: ContaminationParams | None


Step = Callable[[Runner, Plan], None]


def plan(settings: AlignmentConfig) -> Plan:
    """Read everything that the configuration names.

    Raises:
        ConfigError: a file is wrong, or no collection is named.
    """
    from etl.align.config import Training

    if settings.collection is None:
        raise ConfigError(
            "no collection of instruction data is named: --collection FILE, such as conf/collections/example.yaml"
        )
    return Plan(
        settings,
        instruct.load(Path(settings.collection)),
        config.load(config.find("instruction_recipes", settings.recipe), InstructionRecipe),
        (_mixture(settings.examples), _mixture(settings.pairs)),
        tuple(config.load(config.find("align", name), Training) for name in settings.trainings),
        benchmarks(settings.benchmarks),
    )


def _mixture(chosen: SetConfig) -> Mixture:
    return config.load(config.find("mixtures", chosen.mixture), Mixture)


def import_instructions(runner: Runner, plan: Plan) -> None:
    """Files to `instructions`, `preferences` and `instruction_dispositions`."""
    instruct.import_instructions(runner, plan.collection, plan.recipe, plan.contamination)


def build_instruction_sets(runner: Runner, plan: Plan) -> None:
    """`instructions` to a set of examples, `preferences` to a set of pairs, each with its held-out part."""
    for kind, chosen, mixture in zip(
        ("examples", "pairs"), (plan.config.examples, plan.config.pairs), plan.mixtures, strict=True
    ):
        name = plan.collection.name
        sets.build(runner, SetPlan(chosen.training_set, kind, plan.recipe, mixture, tokens.GPT2, name))


def train_models(runner: Runner, plan: Plan) -> None:
    """Sets to models, under Accelerate."""
    from etl.align import run

    for training in plan.trainings:
        run.train(runner, training, plan.config.accelerate)


def evaluate_models(runner: Runner, plan: Plan) -> None:
    """Models to `evaluations`."""
    from etl.evaluate import EvaluationConfig
    from etl.evaluate import run as evaluation

    chosen = config.load(config.find("evaluations", plan.config.evaluations), EvaluationConfig)
    names = [training.model for training in plan.trainings]
    evaluation.evaluate_models(runner.lake, names, chosen, runner.reporter.console)


STEPS: tuple[Step, ...] = (import_instructions, build_instruction_sets, train_models, evaluate_models)


def main(doc: str | None, steps: Sequence[Step], argv: Sequence[str] | None = None) -> None:
    """Run `steps` with the options of `argv`."""
    options = parser(doc).parse_args(argv)
    with job.reported_errors():
        prepared = plan(settings(options))
        with job.writer(options) as runner:
            for step in steps:
                step(runner, prepared)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of the jobs of this half."""
    result = job.described(doc)
    what = result.add_argument_group("what to make")
    what.add_argument("--collection", metavar="FILE", help="YAML file that lists instruction and preference data")
    what.add_argument("--recipe", help="file of conf/instruction_recipes, or a path")
    what.add_argument("--accelerate", help="file of conf/accelerate, or a path: processes and devices")
    what.add_argument("--evaluations", help="file of conf/evaluations, or a path")
    job.add_config_options(what, "conf/alignment.yaml", "examples.mixture=tulu-v2")
    job.add_lake_options(result)
    return result


def settings(options: argparse.Namespace) -> AlignmentConfig:
    """The configuration: the file, then ``--set``, then the options that have names of their own."""
    data = job.given(options)
    names = ("collection", "recipe", "accelerate", "evaluations")
    data |= {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return config.build(data, AlignmentConfig, origin=str(options.config or "options"))
