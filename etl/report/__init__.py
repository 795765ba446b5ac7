"""``goldenlake report``: one HTML file that says what became of every record, and why.

The page is a row of sections. A section is a function of `etl.report.sections` that gives plain data about a lake, or
None when there is nothing to say, and the template of the same name in ``templates/sections/`` that shows it. To add
one, write both and put it into `SECTIONS`.

The file needs nothing but itself: styles and pictures are inside, and there is no script. The same lake gives the same
bytes, but for the timings of a run.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import etl
from etl import cli, funnel, job, tables
from etl.errors import InputError, WarehouseError
from etl.lake import Lake
from etl.locks import is_local
from etl.pipeline import Plan
from etl.progress import StageRun
from etl.report import answers, sections
from etl.report.sections import Subject
from etl.runner import Runner
from etl.sets import HELD_OUT

FILE_NAME = "report.html"
TRUTH_NAME = "truth.jsonl.gz"


@dataclass(frozen=True)
class Part:
    """Sections that belong together: a name for the menu and the anchor, a heading, and words on all of them."""

    key: str
    title: str
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the report: its heading, a word for the menu; its key is its anchor and the name of its template."""

    title: str
    word: str
    collect: Callable[[Subject], dict[str, Any] | None]
    part: Part | None = None

    @property
    def key(self) -> str:
        return self.collect.__name__


CLAIMS = Part(
    "claims",
    "Twelve claims, measured",
    "The brief of this project makes twelve claims. They are the brief's, not results of this lake. Each is shown "
    "beside a published figure that can be looked up, and beside what this lake itself has measured: with n and a 95 % "
    "interval, or the words not measured. What it has measured of another kind follows under its own name.",
)
RUN = Part("run", "This run")

SECTIONS = (
    Section("The way of the pages", "flow", sections.flow),
    Section("Measured against the truth", "truth", sections.truth),
    Section("What came in", "input", sections.arrivals),
    Section("What each rule dropped", "rules", sections.drops),
    Section("Examples of drops", "examples", sections.examples),
    Section("Languages", "languages", sections.languages),
    Section("Hosts", "hosts", sections.hosts),
    Section("Personal data and rights", "rights", sections.personal),
    Section("Duplicates", "duplicates", sections.duplicates),
    Section("Lengths", "lengths", sections.lengths),
    Section("What models say of documents", "scores", sections.model_scores),
    Section("Training set", "training set", sections.training),
    Section("Ledger", "ledger", sections.books),
    Section("1. Curation stages and their gain", "curation", answers.curation, CLAIMS),
    Section("2. Quality classifier, before and after", "classifier", answers.classifier, CLAIMS),
    Section("3. Deduplication", "deduplication", answers.deduplication, CLAIMS),
    Section("4. Mixture, asked and realised", "mixture", answers.mixture, CLAIMS),
    Section("5. Instruction data by source", "instructions", answers.instruction_sources, CLAIMS),
    Section("6. Instruction mixture", "instruction mixture", answers.instruction_mixture, CLAIMS),
    Section("7. Alignment methods", "methods", answers.methods, CLAIMS),
    Section("8. SPIN, iteration by iteration", "SPIN", answers.self_play, CLAIMS),
    Section("9. Benchmarks", "benchmarks", answers.benchmarks, CLAIMS),
    Section("10. Quality against quantity", "quantity", answers.quality_and_quantity, CLAIMS),
    Section("11. Quality score", "score", answers.quality_score, CLAIMS),
    Section("12. Return on each step", "return", answers.returns, CLAIMS),
    Section("Time taken", "time", sections.timings, RUN),
    Section("How to go on", "next", sections.next_steps, RUN),
)


def write(
    lake: Lake,
    path: Path,
    *,
    recipe: str,
    training_set: str,
    truth: Path | None = None,
    runs: Sequence[StageRun] | None = None,
) -> Path:
    """Write the report on one recipe and one training set to `path`, whole or not at all; gives `path` back.

    `truth` is the file of an embedded sample that says what is right: the report then scores the lake against it.

    Raises:
        InputError: the recipe has decided nothing in this lake.
        WarehouseError: there is no such folder, or it cannot be written.
    """
    subject = Subject(
        lake=lake,
        funnel=funnel.read(lake, recipe),
        training_set=training_set,
        truth=truth,
        runs=None if runs is None else tuple(runs),
    )
    try:
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise WarehouseError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(render(subject))
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
    return path


def tell(runner: Runner, plan: Plan) -> None:
    """The last step of a run: the funnel in the terminal, and the report beside the tables."""
    lake = runner.lake
    funnel.show(lake, plan.recipe.name, runner.reporter.console)
    write(
        lake,
        _folder(lake) / FILE_NAME,
        recipe=plan.recipe.name,
        training_set=plan.config.training_set,
        truth=None if plan.config.truth is None else Path(plan.config.truth),
        runs=runner.reporter.runs,
    )


def _folder(lake: Lake) -> Path:
    """Where the report goes: the warehouse, or the working folder for a lake on an object store or in a catalog."""
    return Path(lake.warehouse if lake.warehouse and is_local(lake.warehouse) else ".")


def render(subject: Subject) -> str:
    """The report as HTML. Text from the web is escaped by the templates."""
    subject.prepare()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda section: section.collect(subject), SECTIONS))
    shown = [(section, data) for section, data in zip(SECTIONS, found, strict=True) if data is not None]
    template = environment().get_template("report.html.j2")
    return template.render(
        subject=subject, sections=shown, is_sample=subject.is_sample, package=f"goldenlake {etl.__version__}"
    )


def environment() -> Environment:
    """The templates, with escaping on, and how they write numbers."""
    found = Environment(
        loader=PackageLoader("etl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=_number, share=_share, size=_size, decimal=_decimal, relative=_relative, points=_points, metric=_metric
    )
    return found


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def _decimal(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else _signed(f"{value:,.{digits}f}") if math.isfinite(value) else "no bound"


def _relative(ratio: float) -> str:
    """A ratio as the change that it is: 1.25 is +25.0%."""
    return f"{_points(ratio - 1)}%" if math.isfinite(ratio) else "no bound"


def _points(difference: float) -> str:
    """A difference of shares in points of a percent."""
    if not math.isfinite(difference):
        return "no bound"
    rounded = round(100 * difference, 1)
    return _signed(f"{rounded:+,.1f}") if rounded else "0.0"


def _metric(value: float, is_share: bool) -> str:
    return _share(value) if is_share else _decimal(value)


def _signed(text: str) -> str:
    """With a minus sign that is as wide as the plus."""
    return text.replace("-", "\u2212")


def _size(value: float | None) -> str:
    """Bytes in the largest unit of which there is one."""
    if value is None:
        return "not measured"
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("Write the report on a lake: one HTML file, report.html in the warehouse.")
    parser.add_argument("--recipe", help="the recipe to report on, when several have decided")
    parser.add_argument("--training-set", help="the training set to report on, when there are several")
    parser.add_argument(
        "--truth", type=Path, help=f"what is right about a sample ({TRUTH_NAME} beside its archives, if it is there)"
    )
    parser.add_argument("--output", type=Path, help=f"file to write ({FILE_NAME} in the warehouse)")
    options = parser.parse_args(argv)
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        decided = _names(lake.read(tables.DISPOSITIONS), "recipe")
        is_shown = (F.col("kind") == "documents") & ~F.col("training_set").endswith(HELD_OUT)
        sets = _names(lake.read(tables.TRAINING_SETS).where(is_shown), "training_set")
        path = write(
            lake,
            options.output or _folder(lake) / FILE_NAME,
            recipe=_one_of(decided, options.recipe, "--recipe"),
            training_set=options.training_set or (_one_of(sets, None, "--training-set") if sets else ""),
            truth=options.truth or truth_beside(lake),
        )
    sys.stdout.write(f"{path}\n")


def _names(rows: DataFrame, column: str) -> list[str]:
    return sorted(row[column] for row in rows.select(column).distinct().collect())


def _one_of(names: Sequence[str], wanted: str | None, option: str) -> str:
    if wanted is not None:
        return wanted
    if len(names) != 1:
        raise InputError(f"{option} is missing: the lake has {', '.join(names) or 'none'}")
    return names[0]


def truth_beside(lake: Lake) -> Path | None:
    """The file of an embedded sample that lies beside the archives, when all are in one folder and it is there."""
    places = {
        Path(row["location"]).parent for row in lake.read(tables.WARC_FILES).select("location").limit(1000).collect()
    }
    found = [place / TRUTH_NAME for place in places if (place / TRUTH_NAME).is_file()]
    return found[0] if len(places) == 1 and found else None
