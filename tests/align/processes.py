"""Processes of a training with the environment that torchrun gives them, forked from one that has PyTorch loaded:
a process that loads it takes many times as long as these trainings."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from etl.align import process, train

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["etl.align.train", "tests.align.processes"])
OUTPUT = "output-{}.txt"


def plain(folder: Path) -> None:
    """Train as `etl.align.train` does."""
    process.main(train.train, [str(folder)])


def start(folder: Path, world: int, work: Callable[[Path], None] = plain) -> list[BaseProcess]:
    """So many processes that train the job in `folder` together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = [_FORKS.Process(target=_run, args=(work, folder, rank, world, port)) for rank in range(world)]
    for each in found:
        each.start()
    return found


def join(found: list[BaseProcess], folder: Path, timeout: float = 300) -> None:
    """Wait until all have ended well."""
    for rank, each in enumerate(found):
        each.join(timeout)
        assert each.exitcode == 0, (folder / OUTPUT.format(rank)).read_text()[-3000:]


def _run(work: Callable[[Path], None], folder: Path, rank: int, world: int, port: int) -> None:
    if world > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in names.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    output = (folder / OUTPUT.format(rank)).open("wb")
    os.dup2(output.fileno(), sys.stdout.fileno())
    os.dup2(output.fileno(), sys.stderr.fileno())
    work(folder)
