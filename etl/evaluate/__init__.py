"""Evaluation: what a model gets on a benchmark, item by item, each metric with a 95 % interval.

`scorer` asks a model, `tasks` turns rows into questions and answers into items, `data` reads files, `run` does what
the lake has to do with it: finds models and sets, skips what is measured already, and writes `evaluations` and
`evaluation_items`. Only `run` needs Spark.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from etl.align.models import Loaded, weights_sha256
from etl.config import STRICT
from etl.errors import InputError
from etl.evaluate.data import Data
from etl.evaluate.scorer import Scorer, Watch
from etl.evaluate.tasks import TASKS, Benchmark, Given, Item
from etl.kernels import intervals

__all__ = ["Benchmark", "Data", "Evaluation", "EvaluationConfig", "Given", "Item", "Result", "evaluate", "settings"]

VERSION = 1  # raise it when the same model, rows and settings give other numbers than before
PROPORTIONS = {"accuracy", "accuracy_per_character", "exact_match", "preference_accuracy"}
NOT_NEGATIVE = {"bits_per_byte", "answer_loss"}


@dataclass(frozen=True)
class EvaluationConfig:
    """The benchmarks to run, and how: `device` is auto (a GPU when there is one), cpu, or what PyTorch calls it;
    `batch_tokens` is for `etl.evaluate.scorer.Scorer`."""

    __pydantic_config__ = STRICT

    benchmarks: tuple[Benchmark, ...]
    device: str = "auto"
    dtype: str = "float32"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        names = [benchmark.name for benchmark in self.benchmarks]
        problems = []
        if not names:
            problems.append("benchmarks is empty")
        if len(set(names)) < len(names):
            problems.append(f"benchmarks named twice: {sorted({name for name in names if names.count(name) > 1})}")
        if self.dtype not in ("float32", "bfloat16"):
            problems.append(f"dtype is {self.dtype!r}, wanted float32 or bfloat16")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            problems.append(f"batch_tokens is {self.batch_tokens}, wanted at least 1")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Evaluation:
    """One metric of a benchmark: what was measured on `n` items, and its 95 % interval."""

    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Result:
    """All that one benchmark says of one model, and what it was measured with and on."""

    benchmark: str
    weights_sha256: str
    data: str
    data_sha256: str
    settings: str
    evaluations: tuple[Evaluation, ...]
    items: tuple[Item, ...]


def evaluate(
    loaded: Loaded,
    benchmark: Benchmark,
    given: Given,
    *,
    batch_tokens: int | None = None,
    watch: Watch = lambda done, total: None,
) -> Result:
    """`benchmark` measured on the rows of `given`, of which it takes the first ``benchmark.limit``.

    Raises:
        InputError: rows that the task cannot use, or none that it can measure.
    """
    limited = Given(given.data.head(benchmark.limit), given.examples, given.reference)
    scorer = Scorer(loaded, batch_tokens, benchmark.context, watch)
    items = TASKS[benchmark.task].measure(scorer, benchmark, limited)
    reference = None if given.reference is None else weights_sha256(given.reference.model)
    return Result(
        benchmark.name,
        weights_sha256(loaded.model),
        given.data.name,
        given.data.sha256,
        settings(
            benchmark,
            dtype=str(loaded.model.dtype).removeprefix("torch."),
            examples_sha256=given.examples.sha256 if given.examples else None,
            reference_sha256=reference,
        ),
        tuple(evaluations(items, benchmark)),
        tuple(items),
    )


def evaluations(items: Sequence[Item], benchmark: Benchmark) -> list[Evaluation]:
    """The metrics of `items`, in the order of their first items: value = sum of values / sum of weights."""
    found = []
    for metric in dict.fromkeys(item.metric for item in items):
        of_metric = [item for item in items if item.metric == metric]
        values, weights = [item.value for item in of_metric], [item.weight for item in of_metric]
        total = math.fsum(weights)
        if total == 0:
            raise InputError(
                f"benchmark {benchmark.name!r}: none of {len(items)} items can be measured within the context of the "
                f"model, wanted one at least; set a larger context or take other rows"
            )
        value = math.fsum(values) / total
        if metric in PROPORTIONS:
            low, high = intervals.wilson(math.fsum(values), total)
        else:
            low, high = intervals.ratio(values, weights, floor=0.0 if metric in NOT_NEGATIVE else -math.inf)
        # The kernel sums in another order, so the last bit of the value may be beyond an end of an empty interval.
        found.append(Evaluation(metric, value, min(low, value), max(high, value), len(of_metric)))
    return found


def settings(
    benchmark: Benchmark, *, dtype: str, examples_sha256: str | None = None, reference_sha256: str | None = None
) -> str:
    """JSON of all that decides the numbers besides the weights and the rows; files and models by their hashes."""
    chosen = asdict(benchmark)
    for place in ("name", "file", "training_set", "examples"):
        del chosen[place]
    chosen |= {"examples_sha256": examples_sha256, "reference_sha256": reference_sha256}
    return json.dumps({**chosen, "dtype": dtype, "version": VERSION}, sort_keys=True)
