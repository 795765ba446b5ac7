"""The child that untrusted code runs in: what one item does to it costs that item alone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from etl.kernels.sandbox import Begin, Failure, Sandbox

LIMIT = 256 << 20


def box(
    one: Callable[[str], str], rest: Callable[[Sequence[str]], None] | None = None, seconds: float = 0.5
) -> Sandbox[str, str]:
    """Calls `one` on each item and `rest` on all."""

    def work(items: Sequence[str], begin: Begin) -> list[str]:
        results = []
        for index, item in enumerate(items):
            begin(index)
            results.append(one(item))
        begin(None)
        if rest is not None:
            rest(items)
        return results

    return Sandbox(work, seconds=seconds, memory_bytes=LIMIT)


def act(item: str) -> str:
    """Do to the process what the name of the item says."""
    if item == "hang":
        time.sleep(60)
    elif item == "segfault":
        ctypes.string_at(0)
    elif item == "exit":
        os._exit(7)
    elif item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif item == "bloat":
        try:
            return str(len(bytearray(4 * LIMIT)))
        except MemoryError:
            return "MemoryError"
    elif item == "bloat unseen":
        return str(len(bytearray(4 * LIMIT)))
    elif item == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    return item.upper()


def test_every_item_gets_its_result_in_order() -> None:
    with box(act) as sandbox:
        assert sandbox([]) == []
        assert sandbox([str(n) for n in range(100)]) == [str(n) for n in range(100)]
        assert sandbox(["a", "b"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("item", "failure"),
    [
        ("hang", Failure("timeout", "no result after 0.5 s")),
        ("stop", Failure("timeout", "no result after 0.5 s")),
        ("segfault", Failure("crash", "signal 11")),
        ("killed", Failure("crash", "signal 9")),
        ("exit", Failure("crash", "exit status 7")),
    ],
)
def test_an_item_that_kills_its_process_costs_itself_alone(item: str, failure: Failure) -> None:
    with box(act) as sandbox:
        began = time.monotonic()
        assert sandbox(["a", item, "b", item, "c"]) == ["A", failure, "B", failure, "C"]
        assert time.monotonic() - began < 2 * (0.5 + 1), "its time and at most a second, each"
        assert sandbox(["d"]) == ["D"]


def test_an_item_has_its_time_however_often_it_is_turned_to() -> None:
    """Others that were turned to between, and took as long together, lose nothing."""

    def work(items: Sequence[float], begin: Begin) -> Sequence[float]:
        for _step in range(3):
            for index, item in enumerate(items):
                begin(index)
                time.sleep(item)
        return items

    with Sandbox(work, seconds=1.0, memory_bytes=LIMIT) as sandbox:
        too_slow = Failure("timeout", "no result after 1 s")
        assert sandbox([0.2, 0.5, 0.0, 0.2]) == [0.2, too_slow, 0.0, 0.2]


def test_memory_is_bounded() -> None:
    with box(act) as sandbox:
        assert sandbox(["bloat", "a"]) == ["MemoryError", "A"]
        failure = Failure("memory", "more than the child may hold")
        assert sandbox(["b", "bloat unseen", "c"]) == ["B", failure, "C"]


def test_what_kills_all_at_once_is_found_by_trying_each_alone() -> None:
    def rest(items: Sequence[str]) -> None:
        if "poison" in items:
            os.abort()

    with box(act, rest) as sandbox:
        assert sandbox(["a", "poison", "b"]) == ["A", Failure("crash", "signal 6"), "B"]


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="waiting for a core is not counted here")
def test_waiting_for_a_core_is_no_time_of_an_item() -> None:
    cores = os.sched_getaffinity(0)

    def work(items: Sequence[float], begin: Begin) -> list[float]:
        os.sched_setaffinity(0, {min(cores)})
        for index, seconds in enumerate(items):
            begin(index)
            until = time.process_time() + seconds
            while time.process_time() < until:
                pass
        return list(items)

    busy = f"import os; os.sched_setaffinity(0, [{min(cores)}])\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(3)]
    try:
        began = time.monotonic()
        with Sandbox(work, seconds=0.3, memory_bytes=LIMIT) as sandbox:
            assert sandbox([0.2]) == [0.2]
            assert time.monotonic() - began > 0.3, "it waited for longer than it may work"
            assert sandbox([60.0]) == [Failure("timeout", "no result after 0.3 s")]
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_an_error_of_the_program_is_raised() -> None:
    with box(int) as sandbox:  # type: ignore[arg-type]  # the wrong function is the point
        with pytest.raises(ValueError, match="invalid literal"):
            sandbox(["1", "x"])
        assert sandbox(["2"]) == [2]


def test_a_child_that_leaks_is_replaced() -> None:
    kept: list[bytearray] = []

    def leak(_item: str) -> str:
        kept.append(bytearray(os.urandom(1) * (64 << 20)))
        return str(os.getpid())

    with box(leak) as sandbox:
        children = [sandbox(["x"])[0] for _ in range(8)]
    assert len(set(children)) == 4, "two leaks are half of the limit"


def test_large_batches_and_results_pass() -> None:
    with box(lambda item: item + item, seconds=5) as sandbox:
        results = sandbox(["x" * 30_000_000, "y"])
        assert [len(str(result)) for result in results] == [60_000_000, 2]


def test_the_child_ends_with_its_sandbox() -> None:
    with box(lambda _: str(os.getpid())) as sandbox:
        child = int(str(sandbox(["x"])[0]))
        os.kill(child, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
