"""Bounded time and contained crashes for one call into a parser that nobody can trust with every page of the web."""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class DeadlineError(Exception):
    """The call took longer than it was given."""


class CrashError(Exception):
    """The process of the call died; the message names the signal or exit status."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError inside the block after `seconds` of wall time. Main thread only.

    A signal interrupts Python code and most of lxml. Native code that never returns is not interrupted: that is
    what `isolated` is for.
    """

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise DeadlineError(f"no result after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def isolated(call: Callable[[], T], seconds: float) -> T:
    """The result of `call`, made in a forked child that is killed after `seconds`.

    Costs some milliseconds a call, so it is for the second attempt at a batch whose first attempt killed its worker.

    Raises:
        DeadlineError: the child was killed.
        CrashError: the child died of itself, for example of a segmentation fault.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(call(), pipe)
        os._exit(0)
    os.close(writing)
    try:
        answer = _read_until(reading, time.monotonic() + seconds)
    except DeadlineError:
        os.kill(child, signal.SIGKILL)
        raise DeadlineError(f"no result after {seconds:g} s, killed") from None
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise CrashError(f"signal {-code}" if code < 0 else f"exit status {code}")
    result: T = pickle.loads(answer)
    return result


def _read_until(descriptor: int, end: float) -> bytes:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise DeadlineError
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
