"""A child process for code that nobody can trust with every page of the web: it may hang, crash or bloat.

One child works through batch after batch, so an item costs no process of its own. When it hangs, dies or grows too
large, it is killed, the item that did it is told from the others, and a new child goes on with the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import resource
import select
import signal
import struct
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Begin = Callable[["int | None"], None]

POLL_SECONDS = 0.05  # how late a deadline may be noticed
_BATCH = -1  # in place of an item: what is being done concerns all of them
_STATE = struct.Struct("qq")  # item at work, how often one was begun
_LENGTH = struct.Struct("q")
_PR_SET_PDEATHSIG = 1
_NO_MEMORY = 12  # exit status of a child that could not go on: ENOMEM


class Failure(NamedTuple):
    """What an item did to the child: `kind` is timeout, memory or crash, `detail` says how in words."""

    kind: str
    detail: str


class Sandbox(Generic[Item, Result]):
    """Calls ``work(items, begin)`` in a child process, in bounded time and memory for each item.

    `work` returns one result per item, and calls ``begin(i)`` whenever it turns to item i, ``begin(None)`` when it
    turns to all at once. An item has `seconds`, however often it is turned to, and so has all at once from one call to
    the next; waiting for a core does not count on Linux, so that a busy machine loses no items. An item that takes
    longer, or in which the child dies, gets a Failure in place of its result; for the others `work` is called again, so
    it should be pure. When all at once fail, each is tried alone.

    The child may use `memory_bytes` of data more than it starts with: Python then raises MemoryError, native code
    fails in its own way. It is replaced once it holds half of that between batches, so leaks stay bounded. Limits of
    memory and the child's end with its parent are kept on Linux only.

    Use it as a context manager, in the thread that ends last: the child ends with that thread.
    """

    def __init__(self, work: Callable[[Sequence[Item], Begin], Sequence[Result]], *, seconds: float, memory_bytes: int):
        self._work, self._seconds, self._memory = work, seconds, memory_bytes
        self._child: _Child | None = None

    def __enter__(self) -> Sandbox[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, items: Sequence[Item]) -> list[Result | Failure]:
        """One result or Failure per item, in order.

        Raises:
            Exception: `work` raised it, which is an error of the program and none of an item.
        """
        answers: dict[int, Result | Failure] = {}
        pending, alone = list(range(len(items))), False
        while pending:
            group = pending[:1] if alone else pending
            results = self._ask([items[index] for index in group])
            if not isinstance(results, _Ended):
                answers.update(zip(group, results, strict=True))
            elif results.item != _BATCH:
                answers[group[results.item]] = results.failure
            elif len(group) == 1:
                answers[group[0]] = results.failure
            else:
                alone = True
            pending = [index for index in pending if index not in answers]
        return [answers[index] for index in range(len(items))]

    def _ask(self, items: Sequence[Item]) -> Sequence[Result] | _Ended:
        if self._child is None:
            self._child = _Child(self._work, self._memory)
        answer = self._child.ask(pickle.dumps(items, pickle.HIGHEST_PROTOCOL), self._seconds)
        if isinstance(answer, _Ended) or self._child.growth() > self._memory // 2:
            self._end()
        if isinstance(answer, _Ended):
            return answer
        is_result, value = pickle.loads(answer)
        if not is_result:
            raise value
        results: Sequence[Result] = value
        return results

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


class _Ended(NamedTuple):
    """The child is no more; `item` is the place of the item it was at, or _BATCH."""

    item: int
    failure: Failure


class _Child:
    """A forked process that answers one batch at a time."""

    def __init__(self, work: Callable[[Sequence[Any], Begin], Sequence[Any]], memory_bytes: int):
        self._state = mmap.mmap(-1, _STATE.size)  # shared: the parent sees what the child is at, at no cost
        asked, self._asking = os.pipe()
        self._answers, answering = os.pipe()
        libc = ctypes.CDLL(None)
        with warnings.catch_warnings():
            # Python 3.12 warns of threads (those of Arrow): the child runs kernels only and leaves by _exit.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._id = os.fork()
        if self._id == 0:
            _serve(work, asked, answering, self._state, memory_bytes, libc)
        os.close(asked)
        os.close(answering)
        self._held = self._resident()

    def ask(self, question: bytes, seconds: float) -> bytes | _Ended:
        self._state[:] = _STATE.pack(_BATCH, 0)
        # One that is gone does not read on; `_receive` sees how it went.
        with contextlib.suppress(BrokenPipeError), open(self._asking, "wb", closefd=False) as pipe:
            pipe.write(_LENGTH.pack(len(question)) + question)
        try:
            length = _LENGTH.unpack(self._receive(_LENGTH.size, seconds))[0]
            return self._receive(length, seconds)
        except TimeoutError:
            item = self._item()
            self.kill()
            return _Ended(item, Failure("timeout", f"no result after {seconds:g} s"))
        except EOFError:
            item = self._item()
            _, status = os.waitpid(self._id, 0)
            self._id = 0
            code = os.waitstatus_to_exitcode(status)
            if code == _NO_MEMORY:
                return _Ended(item, Failure("memory", "more than the child may hold"))
            return _Ended(item, Failure("crash", f"signal {-code}" if code < 0 else f"exit status {code}"))

    def growth(self) -> int:
        """Bytes of memory that the child holds beyond what it started with."""
        return self._resident() - self._held if self._id else 0

    def kill(self) -> None:
        if self._id:
            os.kill(self._id, signal.SIGKILL)
            os.waitpid(self._id, 0)
            self._id = 0
        if self._asking >= 0:
            os.close(self._asking)
            os.close(self._answers)
            self._asking = -1

    def _item(self) -> int:
        return int(_STATE.unpack(self._state[:])[0])

    def _receive(self, size: int, seconds: float) -> bytes:
        """`size` bytes of the answer. Raises TimeoutError when an item has had its time, EOFError at the end."""
        parts: list[bytes] = []
        spent: defaultdict[tuple[int, int], float] = defaultdict(float)  # on what was worked on, as far as was seen
        state, seen = self._state[:], self._clock()
        while size:
            ready, _, _ = select.select([self._answers], [], [], min(POLL_SECONDS, seconds))
            if ready:
                part = os.read(self._answers, min(size, 1 << 20))
                if not part:
                    raise EOFError
                parts.append(part)
                size -= len(part)
                spent.clear()  # the work is done
            now = self._clock()
            if self._state[:] == state and not ready:
                item, turn = _STATE.unpack(state)
                at = (item, turn if item == _BATCH else 0)  # an item has its time once, all at once have it each time
                spent[at] += now - seen
                if spent[at] >= seconds:
                    raise TimeoutError
            state, seen = self._state[:], now
        return b"".join(parts)

    def _clock(self) -> float:
        """Seconds that stand still while the child could run and is given no core."""
        try:
            with open(f"/proc/{self._id}/schedstat", encoding="ascii") as file:
                return time.monotonic() - int(file.read().split()[1]) / 1e9
        except OSError:  # no Linux, or one that does not count this
            return time.monotonic()

    def _resident(self) -> int:
        try:
            with open(f"/proc/{self._id}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * mmap.PAGESIZE
        except OSError:  # no Linux
            return 0


def _serve(
    work: Callable[[Sequence[Any], Begin], Sequence[Any]],
    asked: int,
    answering: int,
    state: mmap.mmap,
    memory_bytes: int,
    libc: ctypes.CDLL,
) -> NoReturn:
    """The life of the child: answer until the parent closes the pipe or ends."""
    try:
        if hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _limit_memory(memory_bytes)
        count = 0

        def begin(item: int | None) -> None:
            nonlocal count
            count += 1
            state[:] = _STATE.pack(_BATCH if item is None else item, count)

        _close_all_but(asked, answering)
        with open(asked, "rb") as questions, open(answering, "wb") as answers:
            while head := questions.read(_LENGTH.size):
                items = pickle.loads(questions.read(_LENGTH.unpack(head)[0]))
                try:
                    outcome: tuple[bool, Any] = True, work(items, begin)
                except MemoryError:
                    raise
                except Exception as error:
                    outcome = False, error
                answer = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
                answers.write(_LENGTH.pack(len(answer)) + answer)
                answers.flush()
                begin(None)
    except MemoryError:
        os._exit(_NO_MEMORY)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _close_all_but(*kept: int) -> None:
    """Close what came with the fork: a socket of Spark held open here would keep its task from ending."""
    first = 3  # the standard streams stay
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit_memory(more_bytes: int) -> None:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            held = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # when the machine runs out of memory, this process goes first
    except OSError:  # no Linux
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
