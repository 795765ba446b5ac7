"""What a run shows while it works: for each stage a bar with rows, rows/s and the time left, then one line.

Rows come from the status store of the classic driver, which executors update once a second. On Spark Connect there
is none: the bar then shows the time alone. Without a terminal there is no bar, only the closing line of each stage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as Grid

logger = logging.getLogger(__name__)

MOST_COLUMNS = 1000  # of characters, of a table that is printed


@dataclass
class StageRun:
    """What one stage has done so far: rows written by its finished and running tasks, and the share of tasks done."""

    name: str
    total: float = 1.0
    done: float = 0.0
    rows: int = 0
    unit: str = "rows"
    note: str = ""
    seconds: float = 0.0
    skipped: bool = False
    started: float = field(default_factory=time.perf_counter)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0


def draw(grid: Grid, console: Console) -> None:
    """Print a table of figures as wide as it is: a terminal folds its lines, and a log, which counts as 80 columns, has
    all of it."""
    own = Measurement.get(console, console.options.update(max_width=MOST_COLUMNS), grid).maximum
    before, console.width = console.width, max(console.width, own)
    console.print(grid)
    console.width = before


class Reporter:
    """Draws the stages of a run on a console and keeps what each one took."""

    def __init__(self, spark: SparkSession, console: Console) -> None:
        self.runs: list[StageRun] = []
        self._spark = spark
        self.console = console

    @contextmanager
    def stage(self, name: str, batches: int = 1) -> Iterator[StageRun]:
        """Show `name` while the block runs; the block calls `batch` for each of `batches` commits."""
        run = StageRun(name, total=float(batches))
        with self._bar() as bar:
            task = bar.add_task(name, total=run.total, rows="", speed="", note="")
            self._current = (bar, task, run)
            yield run
        run.seconds = time.perf_counter() - run.started
        self.runs.append(run)
        if run.skipped:
            self.console.print(f"  {name:<22} [dim]up to date[/dim]", highlight=False)
        else:
            what = f"{run.rows:>11,} {run.unit} {run.seconds:>8.1f} s {run.rows_per_second:>10,.0f} {run.unit}/s"
            self.console.print(f"  {name:<22} {what}{run.note and f'  {run.note}'}", highlight=False, soft_wrap=True)

    @contextmanager
    def batch(self, run: StageRun) -> Iterator[None]:
        """Follow the Spark jobs of one commit of `run`."""
        bar, task, _ = self._current
        before = run.rows
        group = f"goldenlake {run.name} {time.monotonic_ns()}"
        watch = _JobGroup(self._spark, group)
        ended = threading.Event()

        def poll() -> None:
            while not ended.wait(0.5):
                share, rows = watch.look()
                self._draw(bar, task, run, run.done + share, before + rows)

        thread = threading.Thread(target=poll, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        run.done += 1
        run.rows = before + watch.look()[1]
        self._draw(bar, task, run, run.done, run.rows)

    def show(self, run: StageRun, done: float, rows: int, note: str = "") -> None:
        """Show how far a stage is whose work is not a Spark job; the last `note` stays in its closing line."""
        run.done, run.rows, run.note = done, rows, note
        bar, task, _ = self._current
        self._draw(bar, task, run, done, rows)

    def _draw(self, bar: Progress, task: TaskID, run: StageRun, done: float, rows: int) -> None:
        speed = rows / max(1e-9, time.perf_counter() - run.started)
        bar.update(task, completed=done, rows=f"{rows:,} {run.unit}", speed=f"{speed:,.0f} {run.unit}/s", note=run.note)

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[rows]:>14} {task.fields[speed]:>14}"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


class _JobGroup:
    """Rows written and share of tasks done of the Spark jobs that start after it was made."""

    def __init__(self, spark: SparkSession, group: str) -> None:
        self._context: Any = None
        # Spark Connect has no SparkContext: then there is nothing to look at.
        context = getattr(spark, "_sc", None)
        if context is not None:
            context.setJobGroup(group, group)
            self._context, self._group = context, group

    def look(self) -> tuple[float, int]:
        if self._context is None:
            return 0.0, 0
        tracker = self._context.statusTracker()
        store = self._context._jsc.sc().statusStore()
        tasks = finished = rows = 0
        for job in tracker.getJobIdsForGroup(self._group):
            info = tracker.getJobInfo(job)
            for stage in info.stageIds if info else ():
                detail = tracker.getStageInfo(stage)
                if detail is None:
                    continue
                tasks += detail.numTasks
                finished += detail.numCompletedTasks
                rows += _output_records(store, stage)
        return (finished / tasks if tasks else 0.0), rows


def _output_records(store: Any, stage: int) -> int:
    from py4j.protocol import Py4JJavaError

    try:
        return int(store.lastStageAttempt(stage).outputRecords())
    except Py4JJavaError:  # the store has dropped the stage, or it has not begun
        return 0
