"""``goldenlake``: the jobs under one command, and the questions a user asks of a lake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import etl
from etl import job
from etl.errors import InputError
from etl.locks import is_local

# Command, and the module of jobs/ whose main(argv) it is.
JOBS = {
    "run": "run_pipeline",
    "ingest": "ingest_warc",
    "extract": "extract_text",
    "annotate": "annotate_documents",
    "curate": "curate_corpus",
    "build": "build_training_set",
    "import": "import_instructions",
    "build-instructions": "build_instruction_sets",
    "export": "export_training_set",
    "train": "train_model",
    "evaluate": "evaluate_model",
    "align": "align_models",
    "experiment": "run_experiment",
    "search-mixture": "search_mixture",
    "train-extractor": "train_extractor",
    "train-quality": "train_quality",
    "train-toxicity": "train_toxicity",
    "train-classifier": "train_classifier",
}
# Command, module and function of what reads a lake.
QUESTIONS = {
    "demo": "etl.demo",
    "sql": "etl.sql",
    "explain": "etl.explain",
    "threshold": "etl.threshold",
    "report": "etl.report",
    "rebuild": "etl.rebuild",
    "forget": "etl.forget",
    "collect": "etl.collect",
    "plan": "etl.planner",
}
EXTRA_ALIGN = ("accelerate", "deltalake", "psutil", "tokenizers", "torch", "transformers")
_HELP = f"""goldenlake {etl.__version__}

  goldenlake demo                     make a sample crawl and run the whole line on it
  goldenlake run --input FILES        archives to corpus, training set and report (jobs/run_pipeline.py)
  goldenlake explain URL              the whole life of a page
  goldenlake sql ["SELECT ..."]       ask the tables and views
  goldenlake threshold SIGNAL         what a threshold would keep, and what stands beside it
  goldenlake report                   write report.html again
  goldenlake plan                     which model the lake can feed, and with how many tokens
  goldenlake collect FILES            code, books, articles and math as archives for goldenlake run
  goldenlake rebuild NAME             make a training set or a model again from its row and compare
  goldenlake forget --pages URL       take a page back out of every table and set, or an archive: forget ARCHIVE
  goldenlake experiment NAME          the same small model on data of several recipes, compared
  goldenlake search-mixture NAME      shares of a mixture by small models (DoReMi, RegMix), beside others
  goldenlake align --collection FILE  instruction data to sets, models and evaluations (jobs/align_models.py)

  Single steps: ingest, extract, annotate, curate, build, export; import, build-instructions, train, evaluate.
  Packaged models are made by: train-extractor, train-quality, train-toxicity; one of your own by train-classifier.
  Each command explains itself with --help.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Hand the arguments after the command to the module that it names."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help", "help"):
        sys.stdout.write(_HELP)
    elif command in ("-V", "--version"):
        sys.stdout.write(f"goldenlake {etl.__version__}\n")
    elif command in JOBS:
        _with_extras(command, lambda: import_module(f"jobs.{JOBS[command]}").main(arguments[1:]))
    elif command in QUESTIONS:
        _with_extras(command, lambda: import_module(QUESTIONS[command]).main(arguments[1:]))
    else:
        sys.stderr.write(f"goldenlake: there is no command {command!r}\n\n{_HELP}")
        raise SystemExit(2)


def _with_extras(command: str, call: Callable[[], None]) -> None:
    """Call a command that may need packages which are not always installed, and say which."""
    try:
        call()
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_ALIGN:
            raise
        sys.stderr.write(
            f"goldenlake: {command} needs the package {error.name}, which comes with the extra align: "
            f"pip install 'goldenlake[align]', or ./run setup align in a checkout\n"
        )
        raise SystemExit(2) from error


def reading_parser(description: str) -> argparse.ArgumentParser:
    """A parser for a command that reads the lake that its options name."""
    result = argparse.ArgumentParser(description=description)
    job.add_lake_options(result)
    return result


def existing(options: argparse.Namespace) -> argparse.Namespace:
    """`options`, when the lake they name is there.

    Raises:
        InputError: there is no lake at the place.
    """
    place = options.warehouse or job.DEFAULT_WAREHOUSE
    if options.namespace is None and is_local(place) and not (Path(place) / "warc_files" / "_delta_log").is_dir():
        raise InputError(f"{place}: there is no lake; name it with --warehouse, or make one with goldenlake run")
    return options


if __name__ == "__main__":
    main()
