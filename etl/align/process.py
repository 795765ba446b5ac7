"""A process that Accelerate starts: it works on the folder that it is given, and leaves there why it could not."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from etl import locks
from etl.align.job import PROBLEM
from etl.errors import ConfigError, GoldenlakeError


def main(work: Callable[[Path], None], argv: Sequence[str] | None = None) -> None:
    """Do `work` on the folder that `argv` names, with exit status 2 and a message where it cannot be done."""
    folder = Path((sys.argv[1:] if argv is None else argv)[0])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        # The first process holds the folder: a job whose launcher was killed may still be running.
        with locks.writing(str(folder)) if os.environ.get("RANK", "0") == "0" else nullcontext():
            work(folder)
    except (GoldenlakeError, torch.cuda.OutOfMemoryError) as error:
        (folder / PROBLEM).write_text(f"{error}", encoding="utf-8")
        sys.stderr.write(f"goldenlake: {error}\n")
        raise SystemExit(2) from error


def begin(threads: int, world_size: int, **options: Any) -> Accelerator:
    """Accelerate with its `options`, on so many threads, computing the same each time as far as the device can.

    Raises:
        ConfigError: there are other processes than `world_size`.
    """
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    accelerator = Accelerator(**options)
    if accelerator.num_processes != world_size:
        raise ConfigError(
            f"{accelerator.num_processes} processes are running, {world_size} were asked for: Accelerate starts "
            f"several CPU processes only under torchrun or MPI"
        )
    return accelerator
