"""``goldenlake demo``: make a crawl of our own, run the whole line on it, and say what to look at."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import functions as F

from etl import alignment, config, job, pipeline, report, sample, session, tables
from etl.alignment import AlignmentConfig
from etl.pipeline import PipelineConfig
from etl.runner import Runner
from etl.sample import instructions
from etl.sample.instructions import InstructionSample

DEFAULT_PAGES = 600
SAMPLE_TASKS: dict[str, dict[str, Any]] = {
    "sample_arithmetic": {"task": "gsm8k", "max_new_tokens": 48, "chat": True},
    "sample_endings": {"task": "multiple_choice"},
    "sample_facts": {"task": "mmlu"},
}
SHORT_PAGES = 5000  # up to here a run is short


def main(argv: Sequence[str] | None = None) -> None:
    options = _options(argv)
    with job.reported_errors():
        place, name = Path(options.warehouse), f"sample-{options.pages}-{options.seed}"
        with job.writer(options) as runner:
            crawl = sample.write_sample(place / f"_{name}", pages=options.pages, seed=options.seed)
            plan = pipeline.plan(
                PipelineConfig(
                    input=tuple(str(path) for path in crawl.files),
                    crawl=name,
                    truth=str(crawl.truth),
                    cascade=False,  # the report scores extraction and language on every page of the sample
                )
            )
            for step in pipeline.STEPS:
                step(runner, plan)
            if options.align:
                _align(runner, place / f"_instructions-{options.seed}", options.seed)
            report.tell(runner, plan)
            page = _a_dropped_page(runner, plan.recipe.name)
    sys.stdout.write(_NEXT.format(report=place / report.FILE_NAME, place=place, page=page))


def _align(runner: Runner, folder: Path, seed: int) -> None:
    """Instruction data of our own, and small models trained on it and on the corpus."""
    made = instructions.write_instructions(folder, seed=seed)
    settings = AlignmentConfig(collection=str(made.collection), evaluations=_evaluations(made, folder))
    plan = alignment.plan(settings)
    for step in alignment.STEPS:
        step(runner, plan)


def _evaluations(made: InstructionSample, folder: Path) -> str:
    """The benchmarks of ``conf/evaluations/demo.yaml``, and the sample's own, which have the form of published ones."""
    chosen = config.read_yaml(config.find("evaluations", "demo"))
    chosen["benchmarks"] += [
        {"name": name, "file": str(path), **SAMPLE_TASKS[name]} for name, path in made.evaluations.items()
    ]
    target = folder / "evaluations.yaml"
    target.write_text(yaml.safe_dump(chosen, sort_keys=False), encoding="utf-8")
    return str(target)


def _a_dropped_page(runner: Runner, recipe: str) -> str:
    """A page that a rule of the recipe dropped, for the user to ask about; always the same one."""
    is_ruled_out = (F.col("recipe") == recipe) & F.col("stage").isin("document_quality", "document_language")
    rows = runner.lake.read(tables.DISPOSITIONS).where(is_ruled_out).orderBy("doc_id").select("url").head(1)
    return str(rows[0]["url"]) if rows else "URL"


_NEXT = """
This was a sample: a crawl that goldenlake made itself from texts on this machine. Next:

  open {report}
  ./run goldenlake explain --warehouse {place} {page}
  ./run goldenlake sql --warehouse {place} "SELECT * FROM funnel"
  ./run goldenlake run --warehouse my-lake --input my-crawl/*.warc.gz
"""


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="goldenlake demo", description=__doc__)
    parser.add_argument("--pages", type=int, default=DEFAULT_PAGES, help=f"pages of the sample ({DEFAULT_PAGES})")
    parser.add_argument(
        "--align",
        action=argparse.BooleanOptionalAction,
        default=importlib.util.find_spec("torch") is not None,
        help="go on to models: instruction data, training, evaluation (when the extra align is installed)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (1)")
    job.add_lake_options(parser)
    parser.set_defaults(warehouse="demo-lake")
    options = parser.parse_args(argv)
    if options.pages <= SHORT_PAGES:
        options.conf.insert(0, "=".join(session.SHORT_RUN))
    return options
