"""One writer at a time for a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.errors import WarehouseError


def is_local(place: str) -> bool:
    """Whether a warehouse is a folder of this machine and not an address."""
    return "://" not in place


@contextmanager
def writing(warehouse: str) -> Iterator[None]:
    """Hold the warehouse for one writer. The lock goes with the process, also when it is killed.

    Object stores have no such lock: there two runs meet in Delta, which lets one of them win and fails the other.

    Raises:
        WarehouseError: the directory cannot be written, or another process holds it.
    """
    if not is_local(warehouse):
        yield
        return
    path = Path(warehouse)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "_goldenlake.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise WarehouseError(f"{warehouse}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 64).decode() or "unknown"
        os.close(lock)
        raise WarehouseError(
            f"{warehouse}: another run (process {holder}) is writing it; wait for it to end"
        ) from error
    try:
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        os.close(lock)
