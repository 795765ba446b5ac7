"""Which device the models of this process run on: one GPU for the life of the process, or the CPU.

A process that has begun to use CUDA cannot be given another GPU, so the choice is made once, before that, by what CUDA
itself reads: ``CUDA_VISIBLE_DEVICES``. Who schedules work calls `take` at the start of each task; who runs a model asks
for `device`.
"""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Sequence

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
LIST_SECONDS = 60  # for nvidia-smi, which takes seconds on a machine of many GPUs without its persistence daemon

_taken: list[str] = []  # the GPU of this process, once it is chosen


def take(addresses: Sequence[str] = (), number: int = 0) -> str | None:
    """The GPU that this process uses from now on, as CUDA names it, or None where there is none.

    `addresses` are those that a scheduler has for the task, of which the first is used; without them the GPUs that can
    be seen are dealt out by `number`, such as that of a partition. The first call decides: a process that takes up
    another task keeps its GPU, which a warning says where that task was meant for another one.
    """
    if _taken:
        if addresses and _taken[0] not in addresses:
            _warn_kept(_taken[0])
        return _taken[0]
    seen = list(addresses[:1]) or visible()
    if not seen:
        return None
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        logger.warning("CUDA was in use before a GPU was given to this process, so it stays on the one that it has")
        return None
    _taken.append(seen[number % len(seen)])
    # Schedulers find GPUs by nvidia-smi, which counts them as they stand on the bus; CUDA puts the fastest first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ[VISIBLE] = _taken[0]
    return _taken[0]


def visible() -> list[str]:
    """The GPUs that this process may use, as CUDA names them. Uses no CUDA, so that the choice stays open."""
    told = os.environ.get(VISIBLE)
    if told is None:
        return list(_installed())
    names = [name.strip() for name in told.split(",")]
    # CUDA reads the list up to the first name that is none, such as -1.
    ends = next((index for index, name in enumerate(names) if not name or name.startswith("-")), len(names))
    return names[:ends]


@functools.cache
def device() -> str:
    """``cuda`` or ``cpu``, as PyTorch names it; said once a process.

    Raises:
        ImportError: there is no PyTorch.
    """
    import torch

    if torch.cuda.is_available():
        logger.info("models run on %s", torch.cuda.get_device_name(0))
        return "cuda"
    logger.info("models run on the CPU: PyTorch finds no GPU")
    return "cpu"


@functools.cache
def _installed() -> tuple[str, ...]:
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=LIST_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()  # no driver, or no GPU that works
    return tuple(found.stdout.split())


@functools.cache
def _warn_kept(taken: str) -> None:
    logger.warning(
        "a task for another GPU stays on GPU %s, which this process has in use; give executors one GPU each, or set "
        "spark.python.worker.reuse to false",
        taken,
    )
