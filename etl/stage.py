"""A stage: a pure function from tables to one table, and the params it was run with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from etl.tables import Table


@dataclass(frozen=True)
class NoParams:
    """For stages that have nothing to choose."""


@dataclass(frozen=True)
class Stage:
    """A pure function from input tables to one output table.

    ``transform(*inputs, params)`` takes one DataFrame per input, in order, and returns one that satisfies the
    contract of `output`. It reads no table, writes none and sets no Spark option: `etl.runner` does that.

    `version` is part of every fingerprint: raise it when the same params and inputs give other rows than before,
    and the next run does the stage again. ``require(*inputs, params)`` raises when these inputs cannot give what the
    params ask for; it is asked before the transform, and may run a query.

    ``update(*inputs, rows, added, params)`` gives what the transform would, for less, when `rows` were made before the
    archives of `added` were there. Only a stage whose inputs are made archive by archive can have one.

    ``missing(*inputs, params)`` gives the rows of documents, with their `warc_filename`, that the transform would work
    on because its own last rows, one of its inputs, lack them.
    """

    transform: Callable[..., DataFrame]
    inputs: tuple[Table, ...]
    output: Table
    params: type[Any] = NoParams
    version: int = 1
    require: Callable[..., None] | None = None
    update: Callable[..., DataFrame] | None = None
    missing: Callable[..., DataFrame] | None = None

    @property
    def name(self) -> str:
        return self.transform.__name__

    def fingerprint(self, params: Any, *inputs: str) -> str:
        """Hash of what decides the rows: stage, version, params and the state of the inputs; 32 hex digits."""
        return digest([self.name, self.version, asdict(params), *inputs])[:32]


def partitions(spark: SparkSession) -> int:
    """How many tasks a shuffle has, where Spark does not choose the number."""
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 200)


def digest(value: Any) -> str:
    """SHA-256 of the JSON form of `value` with sorted keys, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
