"""The items of benchmarks, read from their files by named fields.

An item is named as in `evaluation_items`: by the SHA-256 of its row. So what is known of an item here, such as that a
corpus has it, can be joined with what models answered to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etl import files
from etl.config import STRICT
from etl.errors import InputError
from etl.kernels import records
from etl.kernels.records import ImportProblem

WHOLE = "whole"  # the part of an item none of whose texts is long enough alone, see `etl.kernels.contamination`

MAX_RECORD_BYTES = 16 << 20
MOST_PROBLEMS = 5  # of a file, told in one message


@dataclass(frozen=True)
class BenchmarkFile:
    """A file of items, JSON lines, a JSON array or Parquet, and which of its fields say what.

    `parts` names what is looked for, each by the fields it may stand in: the first that a row has. A field is a key or
    a path such as ``choices.turns``, through lists too, and holds a text or a list of texts.
    """

    __pydantic_config__ = STRICT

    name: str
    file: str
    parts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not self.parts or not all(self.parts.values()) or WHOLE in self.parts:
            raise ValueError(
                f"benchmark {self.name!r}: parts is {dict(self.parts)}, wanted one or more with a field each, "
                f"none of them named {WHOLE}"
            )


@dataclass(frozen=True)
class BenchmarkList:
    """What a file of ``conf/benchmarks`` holds."""

    __pydantic_config__ = STRICT

    benchmarks: tuple[BenchmarkFile, ...]


@dataclass(frozen=True)
class Item:
    """One question of a benchmark: the SHA-256 of its row, as `evaluation_items.item` has it, and (part, text)s."""

    benchmark: str
    item: str
    texts: tuple[tuple[str, str], ...]


def read(benchmarks: Sequence[BenchmarkFile]) -> list[Item]:
    """The items of all files.

    Raises:
        InputError: files that are missing or are no data, and records without the fields asked for, all in one message.
    """
    items: list[Item] = []
    problems: list[str] = []
    names = [benchmark.name for benchmark in benchmarks]
    problems += [f"benchmark {name!r} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for benchmark in benchmarks:
        found: list[str] = []
        try:
            with files.open_stream(benchmark.file) as stream:
                for place, record in records.read(stream, benchmark.file, MAX_RECORD_BYTES):
                    try:
                        items.append(_item(benchmark, record))
                    except _BadRecordError as error:
                        found.append(f"{benchmark.file}, record {place + 1}: {error}")
        except OSError as error:
            found.append(f"{benchmark.file}: cannot be read: {error.strerror or error}")
        more = [f"and {len(found) - MOST_PROBLEMS} more of {benchmark.file}"] if len(found) > MOST_PROBLEMS else []
        problems += found[:MOST_PROBLEMS] + more
    if problems:
        raise InputError("; ".join(problems))
    return items


def digests(benchmarks: Sequence[BenchmarkFile]) -> tuple[str, ...]:
    """Name and SHA-256 of each file as it is now.

    Raises:
        InputError: files that cannot be read, all in one message.
    """
    found, problems = [], []
    for benchmark in benchmarks:
        try:
            with files.open_stream(benchmark.file) as stream:
                found.append(f"{benchmark.name} {hashlib.sha256(stream.read()).hexdigest()}")
        except OSError as error:
            problems.append(f"{benchmark.file}: cannot be read: {error.strerror or error}")
    if problems:
        raise InputError("; ".join(problems))
    return tuple(found)


def sha256(row: Mapping[str, Any]) -> str:
    """SHA-256 of a row as JSON with sorted keys, 64 hex digits: the item of `evaluation_items`."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()


class _BadRecordError(ValueError):
    """A record is no item, and why."""


def _item(benchmark: BenchmarkFile, record: object) -> Item:
    if isinstance(record, ImportProblem):
        raise _BadRecordError(str(record))
    if not isinstance(record, Mapping):
        raise _BadRecordError(f"found a JSON {type(record).__name__}, wanted an object")
    texts = []
    for part, fields in benchmark.parts.items():
        values = next((value for path in fields if (value := _at(record, path)) is not None), None)
        if values is None:
            raise _BadRecordError(f"found {', '.join(record) or 'no keys'}, wanted {' or '.join(fields)}")
        for value in values:
            if not isinstance(value, str):
                raise _BadRecordError(f"{' or '.join(fields)} is {str(value)[:60]!r}, wanted a text or a list of texts")
            texts.append((part, value))
    return Item(benchmark.name, sha256(record), tuple(texts))


def _at(value: Any, path: str) -> list[Any] | None:
    """The values at the end of a path of keys; lists on the way are all followed. None where a key is missing."""
    values = [value]
    for key in path.split("."):
        if not all(isinstance(each, Mapping) and each.get(key) is not None for each in values):
            return None
        found = [each[key] for each in values]
        values = [each for one in found for each in (one if isinstance(one, list) else [one])]
    return values
