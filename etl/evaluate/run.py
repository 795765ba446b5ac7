"""Evaluation of models on benchmarks, with the lake around it.

A benchmark is measured once for the same weights, rows and settings: `evaluations` says of each what it was measured
with. Items are written before the metrics, so a benchmark whose metrics are there is there as a whole.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from pyspark.sql import Row
from pyspark.sql import functions as F
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as Grid

import etl
from etl import config, job, resources, tables
from etl.align import models
from etl.align.models import Loaded
from etl.errors import ConfigError, InputError
from etl.evaluate import Benchmark, Evaluation, EvaluationConfig, Given, Result, data, evaluate, settings
from etl.evaluate.data import Data
from etl.evaluate.scorer import Watch
from etl.evaluate.tasks import TASKS
from etl.lake import Lake
from etl.progress import draw
from etl.stages.mix import ROWS
from etl.tables import Table

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_COMMITS = 60.0


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Evaluate the models that the options of `argv` name, and show the results."""
    options = parser(doc).parse_args(argv)
    with job.reported_errors():
        chosen = chosen_config(options)
        with job.writer(options) as runner:
            console = runner.reporter.console
            draw(grid(evaluate_models(runner.lake, options.model, chosen, console)), console)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of an evaluation."""
    result = job.described(doc)
    what = result.add_argument_group("what to measure")
    what.add_argument(
        "--model",
        nargs="+",
        action="extend",
        required=True,
        metavar="NAME",
        help="models of the lake, or ids or paths that transformers loads",
    )
    job.add_config_options(what, "conf/evaluations/demo.yaml", "device=cuda")
    what.add_argument("--limit", type=int, metavar="N", help="the first N items of each benchmark only")
    job.add_lake_options(result)
    return result


def chosen_config(options: argparse.Namespace) -> EvaluationConfig:
    """The file, then ``--set``, then ``--limit``.

    Raises:
        ConfigError: the file or an option is wrong.
    """
    if options.config is None:
        known = sorted(path.stem for path in (resources.folder("conf") / "evaluations").glob("*.yaml"))
        raise ConfigError(f"--config is missing: wanted a YAML file, or one of {', '.join(known)}")
    path = config.find("evaluations", str(options.config))
    content = config.override(config.read_yaml(path), options.assignments)
    if options.limit is not None:
        content["benchmarks"] = [{**each, "limit": options.limit} for each in content.get("benchmarks", ())]
    return config.build(content, EvaluationConfig, origin=str(path))


def evaluate_models(
    lake: Lake, names: Sequence[str], chosen: EvaluationConfig, console: Console
) -> list[tuple[str, str, Evaluation]]:
    """Every benchmark for every model, measured or as it stands in the lake: (model, benchmark, metric).

    Raises:
        InputError: a model, a file or a training set is missing, or of the wrong kind.
    """
    # All that is to be read is read before the first model is asked.
    data_of = {benchmark.name: given_data(lake, benchmark) for benchmark in chosen.benchmarks}
    references = {
        benchmark.reference: Subject(lake, benchmark.reference, chosen.device, chosen.dtype)
        for benchmark in chosen.benchmarks
        if benchmark.reference is not None
    }
    found: list[tuple[str, str, Evaluation]] = []
    for name in names:
        subject = Subject(lake, name, chosen.device, chosen.dtype)
        pending = Pending(lake, name)
        standing = lake.read(tables.EVALUATIONS).where(F.col("model") == name).collect()
        for benchmark in chosen.benchmarks:
            given = data_of[benchmark.name]
            reference = references[benchmark.reference] if benchmark.reference is not None else None
            known = registered(standing, benchmark, given, subject, reference)
            if known:
                console.print(f"  {name} {benchmark.name}: [dim]up to date[/dim]", highlight=False)
            else:
                if benchmark.training_set in subject.training_sets:
                    logger.warning("%s was trained on %s, which tells of its memory", name, benchmark.training_set)
                complete = replace(given, reference=reference.loaded if reference else None)
                with progress(console, f"{name} {benchmark.name}", len(given.data.rows)) as watch:
                    result = evaluate(
                        subject.loaded, benchmark, complete, batch_tokens=chosen.batch_tokens, watch=watch
                    )
                pending.add(result)
                known = list(result.evaluations)
            found += [(name, benchmark.name, evaluation) for evaluation in known]
        pending.write()
    return found


class Pending:
    """Results of one model that are not in the lake yet: a commit takes a second or two, so short benchmarks share
    one, while no more than a minute of measuring can be lost."""

    def __init__(self, lake: Lake, model: str) -> None:
        self.lake, self.model = lake, model
        self.results: list[Result] = []
        self.written = time.monotonic()

    def add(self, result: Result) -> None:
        self.results.append(result)
        if time.monotonic() - self.written > SECONDS_BETWEEN_COMMITS:
            self.write()

    def write(self) -> None:
        if self.results:
            register(self.lake, self.model, self.results)
        self.results, self.written = [], time.monotonic()


class Subject:
    """A model to be measured: a row of `models`, or what transformers loads by this name. Loaded when it is needed."""

    def __init__(self, lake: Lake, name: str, device: str, dtype: str) -> None:
        self.name, self.dtype = name, dtype
        self.device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self.row = lake.read(tables.MODELS).where(F.col("model") == name).first()

    @property
    def training_sets(self) -> set[str]:
        """The sets that it saw, as far as the lake knows."""
        return {each["training_set"] for each in self.row["training_sets"]} if self.row else set()

    @cached_property
    def loaded(self) -> Loaded:
        """Raises:
        InputError: there is no such model, or its weights are not those on record.
        """
        loaded = models.load(self.row["location"] if self.row else self.name, device=self.device, dtype=self.dtype)
        if self.row and self.dtype == "float32":
            found = models.weights_sha256(loaded.model)
            if found != self.row["weights_sha256"]:
                raise InputError(
                    f"model {self.name}: the weights at {self.row['location']} have SHA-256 {found}, models says "
                    f"{self.row['weights_sha256']}; train it again or name the folder itself"
                )
        return loaded

    @cached_property
    def weights_sha256(self) -> str:
        """By the table where it says so and the weights are read as they are, else by the weights."""
        if self.row and self.dtype == "float32":
            return str(self.row["weights_sha256"])
        return models.weights_sha256(self.loaded.model)


def given_data(lake: Lake, benchmark: Benchmark) -> Given:
    """The rows of a benchmark, at most as many as it asks for, and those of its examples.

    Raises:
        InputError: a file cannot be read, or there is no such set or one of another kind.
    """
    examples = data.read(benchmark.examples) if benchmark.examples is not None else None
    if benchmark.training_set is not None:
        return Given(set_data(lake, benchmark), examples)
    return Given(data.read(str(benchmark.file)).head(benchmark.limit), examples)


def set_data(lake: Lake, benchmark: Benchmark) -> Data:
    """The rows of a training set in their order.

    Raises:
        InputError: there is no such set, or it has rows of another kind.
    """
    name, kind = str(benchmark.training_set), str(TASKS[benchmark.task].kind)
    sets = lake.read(tables.TRAINING_SETS)
    row = sets.where(F.col("training_set") == name).first()
    if row is None:
        known = sorted(each["training_set"] for each in sets.select("training_set").collect())
        raise InputError(f"benchmark {benchmark.name!r}: there is no training set {name!r}, there are {known}")
    if row["kind"] != kind:
        raise InputError(
            f"benchmark {benchmark.name!r}: training set {name!r} has {row['kind']}, {benchmark.task} wants {kind}"
        )
    rows = lake.read(ROWS[kind].output).where(F.col("training_set") == name).orderBy("position")
    if benchmark.limit is not None:
        rows = rows.limit(benchmark.limit)
    found = [each.asDict(recursive=True) for each in rows.collect()]
    if not found:
        raise InputError(f"benchmark {benchmark.name!r}: training set {name!r} is empty")
    return Data(name, row["content_hash"], found)


def registered(
    standing: Sequence[Row], benchmark: Benchmark, given: Given, subject: Subject, reference: Subject | None
) -> list[Evaluation]:
    """The metrics among the rows of the model that are of the same weights, rows and settings; empty when none are."""
    rows = [row for row in standing if row["benchmark"] == benchmark.name]
    wanted = (
        subject.weights_sha256,
        given.data.sha256,
        settings(
            benchmark,
            dtype=subject.dtype,
            examples_sha256=given.examples.sha256 if given.examples else None,
            reference_sha256=reference.weights_sha256 if reference else None,
        ),
    )
    if not rows or any((row["weights_sha256"], row["data_sha256"], row["settings"]) != wanted for row in rows):
        return []
    found = [Evaluation(row["metric"], row["value"], row["low"], row["high"], row["n"]) for row in rows]
    return sorted(found, key=lambda evaluation: evaluation.metric)


def register(lake: Lake, model: str, results: Sequence[Result]) -> None:
    """Put results in the place of what the lake has for this model and these benchmarks: items first, then metrics."""
    part = {"model": [model], "benchmark": [result.benchmark for result in results]}
    items: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    for result in results:
        key = {"model": model, "benchmark": result.benchmark}
        measured = {
            "weights_sha256": result.weights_sha256,
            "data": result.data,
            "data_sha256": result.data_sha256,
            "settings": result.settings,
            "package": f"goldenlake {etl.__version__}",
        }
        items += [{**key, **asdict(item)} for item in result.items]
        metrics += [{**key, **asdict(evaluation), **measured} for evaluation in result.evaluations]
    metadata = {"stage": "evaluations", "slice": part, "package": f"goldenlake {etl.__version__}"}
    _replace(lake, tables.EVALUATION_ITEMS, items, part, metadata)
    _replace(lake, tables.EVALUATIONS, metrics, part, metadata)


def _replace(
    lake: Lake, table: Table, rows: Sequence[dict[str, Any]], part: dict[str, list[str]], metadata: dict[str, Any]
) -> None:
    values = [tuple(row[column] for column in table.columns) for row in rows]
    lake.replace(table, lake.spark.createDataFrame(values, table.schema), part, metadata)


@contextmanager
def progress(console: Console, name: str, items: int) -> Iterator[Watch]:
    """A bar with items/s and the time left while the block runs, then one line."""
    started = time.perf_counter()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=28),
        TextColumn("{task.completed:>8,.0f} items {task.fields[speed]:>8,.1f} items/s"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(name, total=items, speed=0.0)

        def watch(done: int, total: int) -> None:
            # A question is several requests to the model: the bar counts in items what share of the requests is done.
            completed = items * done / total
            bar.update(task, completed=completed, speed=completed / max(1e-9, time.perf_counter() - started))

        yield watch
    seconds = time.perf_counter() - started
    what = f"{items:>8,} items {seconds:>8.1f} s {items / max(1e-9, seconds):>8,.1f} items/s"
    console.print(f"  {name:<22} {what}", highlight=False)


def grid(found: Sequence[tuple[str, str, Evaluation]]) -> Grid:
    """The results as a table."""
    drawn = Grid(box=None, header_style="bold", pad_edge=False)
    drawn.add_column("model", overflow="fold")
    for column in ("benchmark", "metric"):
        drawn.add_column(column, no_wrap=True)
    for column in ("value", "95 % interval", "items"):
        drawn.add_column(column, justify="right", no_wrap=True)
    for model, benchmark, each in found:
        interval = f"{each.low:.4f} to {each.high:.4f}"
        drawn.add_row(model, benchmark, each.metric, f"{each.value:.4f}", interval, f"{each.n:,}")
    return drawn
