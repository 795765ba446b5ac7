"""A job: a folder that holds a training with all that it names found, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from etl import config
from etl.align.config import Training
from etl.config import STRICT
from etl.errors import InputError

T = TypeVar("T")

JOB = "job.json"  # the job itself
LOG = "log.jsonl"  # a line per step
CHECKPOINT = "checkpoint-"  # folders, with the number of the step that comes next
MODEL = "model"  # folder of weights and tokenizer
RESULT = "result.json"  # written last
PROBLEM = "problem.txt"  # why it failed


@dataclass(frozen=True)
class Blocks:
    """The packed set at a version of `training_blocks`, the hash of its blocks, and what made their tokens."""

    __pydantic_config__ = STRICT

    table: str
    version: int
    content_hash: str
    tokenizer: str
    end_of_text: int


@dataclass(frozen=True)
class Job:
    """A training with all that it names found: which rows of which table, which parent, and how many processes.

    With `blocks`, these are what is read, and the rows of `table` at `version` are what they were packed from.
    """

    __pydantic_config__ = STRICT

    training: Training
    table: str
    version: int
    content_hash: str
    world_size: int
    parent_location: str | None = None
    parent_sha256: str | None = None
    blocks: Blocks | None = None

    def decides(self) -> dict[str, Any]:
        """What decides the weights: not where things lie, not at which version the same rows are read, nor how often
        a checkpoint is made and how many are kept."""
        values = asdict(self)
        for place in ("table", "version", "parent_location"):
            del values[place]
        for place in ("model", "checkpoint_steps", "checkpoints"):
            del values["training"][place]
        if self.blocks is not None:
            for place in ("table", "version"):
                del values["blocks"][place]
        return values


def read(folder: Path) -> Job:
    """The job in a folder, see `read_as`."""
    return read_as(folder, Job)


def read_as(folder: Path, kind: type[T]) -> T:
    """The job in a folder, of whatever kind.

    Raises:
        InputError: there is none.
        ConfigError: it is of another version of goldenlake.
    """
    path = folder / JOB
    if not path.is_file():
        raise InputError(f"{folder}: there is no {JOB}")
    return config.build(json.loads(path.read_text(encoding="utf-8")), kind, origin=str(path))


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log, one per step."""
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def write(folder: Path, job: Job) -> None:
    """Put the job into its folder, whole or not at all."""
    unfinished = folder / f".{JOB}"
    unfinished.write_text(json.dumps(asdict(job), indent=2), encoding="utf-8")
    unfinished.rename(folder / JOB)
