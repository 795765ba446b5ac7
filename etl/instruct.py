"""Instruction data into the lake: a collection of files, registered, read, compared and decided about by a recipe."""

from __future__ import annotations

import argparse
import glob
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import functions as F

import etl
from etl import config, files, job, tables
from etl.config import STRICT
from etl.errors import ConfigError, InputError, LedgerError
from etl.kernels import chat, records
from etl.lake import Lake
from etl.pipeline import benchmarks
from etl.runner import Runner
from etl.stages.contamination import INSTRUCTION_CONTAMINATION, ContaminationParams, InstructionContaminationParams
from etl.stages.instruct import EXAMPLES, INSTRUCTIONS, PAIRS, PREFERENCES, ImportParams
from etl.stages.instruct_curate import INSTRUCTION_DISPOSITIONS, InstructionDispositionParams, InstructionRecipe
from etl.stages.instruct_dedup import INSTRUCTION_DUPLICATES, DuplicateParams

logger = logging.getLogger(__name__)

# Beside the data in a folder of the Hugging Face layout.
_NOT_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")


@dataclass(frozen=True)
class InstructionSource:
    """One data set: its files, which format they have, and what is known of all of it.

    A file is a path, a glob, an address, or a folder. Of a folder all data files below it are taken; where some have
    "train" in their path, only those, as the others are kept for tests.
    """

    __pydantic_config__ = STRICT

    name: str
    files: tuple[str, ...]
    format: str
    license: str
    generator: str
    category: str

    def __post_init__(self) -> None:
        problems = []
        if self.format not in chat.FORMATS:
            problems.append(f"format is {self.format!r}, wanted one of {', '.join(chat.FORMATS)}")
        if not self.files:
            problems.append("files is empty, wanted one at least")
        problems += [
            f"{name} is empty"
            for name in ("name", "license", "generator", "category")
            if not getattr(self, name).strip()
        ]
        if problems:
            raise ValueError(f"source {self.name!r}: {'; '.join(problems)}")


@dataclass(frozen=True)
class Collection:
    """A named set of sources that are imported together, as archives are in a crawl."""

    __pydantic_config__ = STRICT

    name: str
    sources: tuple[InstructionSource, ...]

    def __post_init__(self) -> None:
        problems = []
        if not self.name.strip():
            problems.append("name is empty")
        if not self.sources:
            problems.append("sources is empty, wanted one at least")
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"sources named twice: {', '.join(twice)}")
        if problems:
            raise ValueError("; ".join(problems))


class Located(NamedTuple):
    """A file of a source: its name there, and where its bytes are."""

    source: InstructionSource
    name: str
    location: str


def load(path: Path) -> Collection:
    """The collection that a YAML file describes, with its relative paths below the folder of that file.

    Raises:
        ConfigError: all problems of the file in one message.
    """
    data = config.read_yaml(path)
    collection = config.build(data, Collection, origin=str(path))
    sources = [
        replace(source, files=tuple(_below(path.parent, name) for name in source.files))
        for source in collection.sources
    ]
    return replace(collection, sources=tuple(sources))


def _below(folder: Path, name: str) -> str:
    return name if "://" in name else os.path.abspath(folder / name)


def locate(collection: Collection) -> list[Located]:
    """Every file of a collection, by source and name. Addresses are not looked at.

    Raises:
        InputError: names all that is missing, empty, or has the name of another file of its source.
    """
    found: dict[tuple[str, str], Located] = {}
    problems: list[str] = []
    for source in collection.sources:
        for name in source.files:
            try:
                for location, inner in _expand(name):
                    other = found.setdefault((source.name, inner), Located(source, inner, location))
                    if other.location != location:
                        both = f"{other.location} and {location}"
                        problems.append(f"source {source.name}: {both} are both called {inner}")
            except OSError as error:
                problems.append(f"source {source.name}: {name}: {error.strerror or error}")
    if problems:
        raise InputError(f"collection {collection.name}: {'; '.join(problems)}")
    return [found[key] for key in sorted(found)]


def _expand(name: str) -> Iterator[tuple[str, str]]:
    """Locations that one entry of `files` names, each with the name of the file in its source."""
    if "://" in name:
        yield name, name.partition("?")[0].rpartition("/")[2]
    elif os.path.isdir(name):
        yield from _in_folder(Path(name))
    elif os.path.exists(name):
        yield name, os.path.basename(name)
    else:
        matching = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not matching:
            raise FileNotFoundError("no file matches" if glob.has_magic(name) else "there is no such file or folder")
        for path in matching:
            yield path, os.path.basename(path)


def _in_folder(folder: Path) -> Iterator[tuple[str, str]]:
    inner = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    data = [name for name in inner if name.endswith(records.SUFFIXES) and os.path.basename(name) not in _NOT_DATA]
    if not data:
        raise FileNotFoundError(f"no data file ({', '.join(records.SUFFIXES)}) among its {len(inner)} files")
    train = [name for name in data if "train" in name.lower()]
    for name in sorted(train or data):
        yield str(folder / name), name


def register(runner: Runner, collection: Collection) -> None:
    """Make the files of a collection known by the SHA-256 of their bytes, in one commit, unless nothing has changed.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    lake = runner.lake
    wanted = [_row(collection.name, file) for file in locate(collection)]
    part = {"collection": [collection.name]}
    rows = lake.read(tables.INSTRUCTION_FILES).where(F.col("collection") == collection.name)
    if {tuple(row) for row in rows.select(*tables.INSTRUCTION_FILES.columns).collect()} == set(wanted):
        return
    metadata = {"stage": "register", "package": f"goldenlake {etl.__version__}", "slice": part}
    found = lake.spark.createDataFrame(wanted, tables.INSTRUCTION_FILES.schema)
    lake.replace(tables.INSTRUCTION_FILES, found, part, metadata)
    logger.info("%s: %d instruction files", collection.name, len(wanted))


def _row(collection: str, file: Located) -> tuple[str | int, ...]:
    """A row of `instruction_files`, in the order of its columns."""
    source, (size, digest) = file.source, _digest(file)
    return (
        collection,
        source.name,
        file.name,
        file.location,
        source.format,
        size,
        digest,
        source.license,
        source.generator,
        source.category,
    )


def _digest(file: Located) -> tuple[int, str]:
    """Size and SHA-256 of the bytes of a file."""
    digest, size = hashlib.sha256(), 0
    try:
        with files.open_stream(file.location) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise InputError(f"source {file.source.name}: {file.location}: {error.strerror or error}") from error
    return size, digest.hexdigest()


def import_instructions(
    runner: Runner,
    collection: Collection,
    recipe: InstructionRecipe,
    contamination: ContaminationParams | None = None,
) -> None:
    """Files to `instructions` and `preferences`, their duplicates, items of benchmarks in them, and what the recipe
    keeps. Checks the ledger.

    Raises:
        ConfigError: the recipe drops what holds items of benchmarks, and none are named.
    """
    if recipe.max_contamination is not None and contamination is None:
        raise ConfigError(f"recipe {recipe.name!r} has max_contamination, wanted benchmarks to look for")
    register(runner, collection)
    name = collection.name
    part = {"collection": name}
    runner.whole(INSTRUCTIONS, ImportParams(name), part)
    runner.whole(PREFERENCES, ImportParams(name), part)
    runner.whole(INSTRUCTION_DUPLICATES, DuplicateParams(name), part)
    if contamination is not None:
        of_collection = InstructionContaminationParams(**vars(contamination), collection=name)
        runner.whole(INSTRUCTION_CONTAMINATION, of_collection, part)
    decision = InstructionDispositionParams(name, recipe)
    runner.whole(INSTRUCTION_DISPOSITIONS, decision, {"recipe": recipe.name, **part})
    check(runner.lake, recipe.name, name)


def check(lake: Lake, recipe: str, collection: str) -> int:
    """The number of rows that a recipe accounts for, which is the number of examples, pairs and failures read.

    Raises:
        LedgerError: the sums differ, or a file has no row at all; the message names up to ten files.
    """
    of_collection = F.col("collection") == collection
    registered = lake.read(tables.INSTRUCTION_FILES).where(of_collection)
    decided = lake.read(tables.INSTRUCTION_DISPOSITIONS).where(of_collection & (F.col("recipe") == recipe))
    counted = decided.select("kind", "source", "file", F.lit(0).alias("read"), F.lit(1).alias("decided"))
    for kind, table, formats in _KINDS:
        # A file counts as itself without a row, so that one that gave none is seen.
        is_read = F.col("format").isin(*formats)
        for rows, number in ((registered.where(is_read), 0), (lake.read(table).where(of_collection), 1)):
            columns = (
                F.lit(kind).alias("kind"),
                "source",
                "file",
                F.lit(number).alias("read"),
                F.lit(0).alias("decided"),
            )
            counted = counted.unionByName(rows.select(*columns))
    sums = [F.sum(name).alias(name) for name in ("read", "decided")]
    files_of = counted.groupBy("kind", "source", "file").agg(*sums).orderBy("kind", "source", "file").collect()
    wrong = [row for row in files_of if row["read"] != row["decided"] or row["read"] == 0]
    if wrong:
        places = "; ".join(
            f"{row['kind']} of {row['source']}/{row['file']}: {row['read']} read, {row['decided']} accounted for"
            for row in wrong[:10]
        )
        raise LedgerError(f"recipe {recipe}, collection {collection}: {places}")
    return sum(row["read"] for row in files_of)


# The kinds of rows, their tables, and the formats that give them.
_KINDS = (
    (EXAMPLES, tables.INSTRUCTIONS, chat.EXAMPLE_FORMATS),
    (PAIRS, tables.PREFERENCES, chat.PAIR_FORMATS),
)


def run(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Import with the options of `argv`; errors of ours end the process with their message and status 2."""
    options = _parser(doc).parse_args(argv)
    with job.reported_errors():
        collection = load(options.collection)
        recipe = config.load(config.find("instruction_recipes", options.recipe), InstructionRecipe)
        contamination = benchmarks(options.benchmarks)
        locate(collection)  # what is missing is said before Spark starts
        with job.writer(options) as runner:
            import_instructions(runner, collection, recipe, contamination)


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    data = result.add_argument_group("what to import")
    data.add_argument(
        "--collection",
        type=Path,
        required=True,
        metavar="FILE",
        help="YAML file of sources, such as conf/collections/example.yaml",
    )
    data.add_argument("--recipe", default="chat", help="file of conf/instruction_recipes, or a path (chat)")
    data.add_argument(
        "--benchmarks",
        nargs="*",
        default=(),
        metavar="NAME",
        help="files of conf/benchmarks, or paths: benchmarks whose items are looked for",
    )
    job.add_lake_options(result)
    return result
