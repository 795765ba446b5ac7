"""A job of a search: a folder that lists the models to train and, as they are done, what became of each."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etl import config
from etl.align import job as jobs
from etl.config import STRICT
from etl.errors import InputError
from etl.search.config import DoReMi, Proxy

DOMAINS = "domains.npz"  # beside the folders of the jobs


@dataclass(frozen=True)
class Run:
    """One model to train: its name in the job, the shares of the domains, and the seed of weights and batches.

    With `reference`, the name of an earlier run, the shares are where group DRO against that model begins, and batches
    have the domains in equal parts.
    """

    __pydantic_config__ = STRICT

    name: str
    shares: tuple[float, ...]
    seed: int
    reference: str | None = None


@dataclass(frozen=True)
class Job:
    """All that decides the models of a list of runs besides the machine. `domains` is the hash of the tokens."""

    __pydantic_config__ = STRICT

    proxy: Proxy
    runs: tuple[Run, ...]
    domains: str
    world_size: int = 1
    doremi: DoReMi | None = None

    def __post_init__(self) -> None:
        problems = []
        seen: set[str] = set()
        for run in self.runs:
            if run.name in seen:
                problems.append(f"run {run.name!r} is there twice")
            if run.reference is not None and run.reference not in seen:
                problems.append(f"run {run.name!r} has reference {run.reference!r}, which is no earlier run")
            if run.reference is not None and self.doremi is None:
                problems.append(f"run {run.name!r} has a reference, and doremi is missing")
            seen.add(run.name)
        if self.proxy.batch % self.world_size:
            problems.append(f"batch is {self.proxy.batch}, wanted a multiple of {self.world_size} processes")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def digest(self) -> str:
        """16 hex digits that jobs share only if all their settings are the same."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Measured:
    """What a model makes of a part of a domain that it has not learned from."""

    __pydantic_config__ = STRICT

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes

    def bits_of_chance(self, vocab_size: int) -> float:
        """Bits per byte of a model to which all tokens are as likely."""
        return self.tokens * math.log2(vocab_size) / self.bytes


@dataclass(frozen=True)
class Result:
    """What became of a run. `shares` are those asked, or found by group DRO: the mean over its steps. `path` is how it
    went there, some (step, shares, excess losses) in between. `domain_tokens` are what it learned from."""

    __pydantic_config__ = STRICT

    run: Run
    shares: tuple[float, ...]
    loss: float
    validation: tuple[Measured, ...]
    test: tuple[Measured, ...]
    domain_tokens: tuple[int, ...]
    passes: tuple[float, ...]
    parameters: int
    flops: float
    seconds: float
    path: tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...] = ()

    @property
    def tokens(self) -> int:
        return sum(self.domain_tokens)


def write(folder: Path, name: str, value: Any) -> None:
    """Put a value into the folder as JSON, whole or not at all."""
    unfinished = folder / f".{name}"
    unfinished.write_text(json.dumps(asdict(value), indent=1), encoding="utf-8")
    unfinished.rename(folder / name)


def read(folder: Path) -> Job:
    """The job in a folder, see `etl.align.job.read_as`."""
    return jobs.read_as(folder, Job)


def result(folder: Path, run: Run) -> Result | None:
    """What became of a run, if it is done."""
    path = folder / f"{run.name}.json"
    if not path.is_file():
        return None
    return config.build(json.loads(path.read_text(encoding="utf-8")), Result, origin=str(path))


def results(folder: Path, runs: Sequence[Run]) -> list[Result]:
    """What became of all runs, in order.

    Raises:
        InputError: some are not done.
    """
    found = [result(folder, run) for run in runs]
    missing = [run.name for run, each in zip(runs, found, strict=True) if each is None]
    if missing:
        raise InputError(f"{folder}: runs {missing} are not done")
    return [each for each in found if each is not None]
