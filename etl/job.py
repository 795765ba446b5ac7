"""What every job has in common: options, one session, one lake, one writer."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from etl import config, locks, session
from etl.errors import GoldenlakeError
from etl.lake import Lake
from etl.pipeline import PipelineConfig, Plan, plan
from etl.progress import Reporter
from etl.runner import Runner

logger = logging.getLogger(__name__)

Step = Callable[[Runner, Plan], None]
DEFAULT_WAREHOUSE = "warehouse"


def run(doc: str | None, steps: Sequence[Step], argv: Sequence[str] | None = None) -> None:
    """Run `steps` with the options of `argv`; errors of ours end the process with their message and status 2."""
    options = parser(doc).parse_args(argv)
    with reported_errors():
        prepared = plan(settings(options))
        with writer(options) as runner:
            for step in steps:
                step(runner, prepared)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every writing job has."""
    result = described(doc)
    data = result.add_argument_group("what to make")
    data.add_argument(
        "--input",
        nargs="+",
        action="extend",
        default=[],
        metavar="PLACE",
        help="archives: files, globs, folders, addresses, @list or crawl=CC-MAIN-YYYY-WW",
    )
    data.add_argument("--crawl", help="name of the crawl that other input belongs to")
    data.add_argument(
        "--records", metavar="FILE", help="chosen records: CSV, JSON lines or Parquet with name, offset, length"
    )
    data.add_argument(
        "--index", metavar="PLACE", help="chosen records: the Common Crawl columnar index, a Parquet folder"
    )
    data.add_argument("--where", metavar="SQL", help="with --index: which records")
    data.add_argument("--base", metavar="PLACE", help="with --records or --index: where the archives are")
    data.add_argument("--recipe", help="file of conf/recipes, or a path")
    data.add_argument("--mixture", help="file of conf/mixtures, or a path")
    data.add_argument("--training-set", help="name of the training set")
    add_config_options(data, "conf/pipeline.yaml", "extract.engine=resiliparse")
    add_lake_options(result)
    return result


def described(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of a job: its first line above the options, the rest below."""
    text = doc or ""
    return argparse.ArgumentParser(
        description=text.strip().partition("\n")[0],
        epilog=text.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config_options(group: Any, file: str, assignment: str) -> None:
    """The options that say the configuration: a file, and single keys of it."""
    group.add_argument("--config", type=Path, help=f"YAML file such as {file}")
    add_assignments(group, f"any key of the configuration, such as {assignment}")


def add_assignments(group: Any, words: str) -> None:
    """The option that sets single keys of a configuration; `words` say which."""
    group.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=words)


def given(options: argparse.Namespace) -> dict[str, Any]:
    """What the file of `add_config_options` says, where there is one, with each ``--set`` put in."""
    return config.override(config.read_yaml(options.config) if options.config else {}, options.assignments)


def add_lake_options(result: argparse.ArgumentParser) -> None:
    """The options that say which lake, and with which Spark."""
    place = result.add_argument_group("where")
    place.add_argument("--warehouse", default=None, help=f"folder or address of the lake ({DEFAULT_WAREHOUSE})")
    place.add_argument("--namespace", help="catalog namespace for managed tables, such as main.llm, instead")
    place.add_argument("--cores", type=int, default=0, help="cores of a local session (all)")
    place.add_argument("--driver-memory", default="3g", help="heap of a local session (3g)")
    place.add_argument(
        "--conf", action="append", default=[], metavar="KEY=VALUE", help="Spark option of a local session"
    )
    place.add_argument("--log-level", default="WARNING", help="DEBUG, INFO, WARNING or ERROR")


def settings(options: argparse.Namespace) -> PipelineConfig:
    """The configuration: the file, then ``--set``, then the options that have names of their own."""
    data = given(options)
    named = {
        "crawl": options.crawl,
        "recipe": options.recipe,
        "mixture": options.mixture,
        "training_set": options.training_set,
        "input": options.input or None,
    }
    chosen = {"file": options.records, "index": options.index, "where": options.where, "base": options.base}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    named["records"] = {**data.get("records", {}), **chosen} if chosen else None
    data |= {key: value for key, value in named.items() if value is not None}
    return config.build(data, PipelineConfig, origin=str(options.config or "options"))


@contextmanager
def reported_errors() -> Iterator[None]:
    """End the process with the message of an error of ours; any other error is a bug and keeps its traceback."""
    try:
        yield
    except GoldenlakeError as error:
        sys.stderr.write(f"goldenlake: {error}\n")
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        sys.stderr.write("goldenlake: interrupted; run it again to go on\n")
        raise SystemExit(130) from None


@contextmanager
def writer(options: argparse.Namespace) -> Iterator[Runner]:
    """A runner on the lake that `options` name, which nobody else writes meanwhile."""
    place = _warehouse(options)
    with locks.writing(place) if place else nullcontext():
        opened = open_lake(options)
        yield Runner(opened, Reporter(opened.spark, Console(stderr=True)))


def open_lake(options: argparse.Namespace) -> Lake:
    """The lake that `options` name, with a Spark session of its own or the platform's."""
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(name)s %(message)s")
    for noisy in ("py4j", "DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # what they say stands in the exception too
    pairs = tuple(tuple(pair.split("=", 1)) for pair in options.conf)
    place = _warehouse(options)
    log = Path(place) / "_spark.log" if place and locks.is_local(place) and os.access(place, os.W_OK) else None
    spark = session.connect(session.SessionConfig(options.cores, options.driver_memory, options=pairs), log)
    return Lake(spark, place, options.namespace or "default").open()


def _warehouse(options: argparse.Namespace) -> str | None:
    if options.namespace and options.warehouse is None:
        return None
    place = options.warehouse or DEFAULT_WAREHOUSE
    return str(Path(place).resolve()) if locks.is_local(place) else place
