"""What hostile pages cost each engine: how each ends, in which time, and what it does to the pages beside it.

    python -m tests.bench.hostile [--size 5000000] [--timeout 5] [--memory-mb 1024] [--engine NAME ...]

Each page of `tests.hostile` is read in the sandbox between two good pages. The last line of an engine counts how the
pages ended, the longest of them beside its limit (the timeout and one second), and good pages that were lost.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from rich.console import Console

from etl.kernels import html, pages
from etl.kernels.sandbox import Begin, Failure, Sandbox
from tests import hostile

GOOD = b"<html><body><main><p>" + b"A page with a paragraph that any engine finds, whatever is read beside it. " * 8
CONSOLE = Console(highlight=False, width=120)


def capture(payload: bytes) -> pages.Capture:
    return pages.Capture(pa.Codec("zstd").compress(payload, asbytes=True), len(payload), "text/html")


def measure(engine: str, size: int, timeout: float, memory_mb: int) -> None:
    def work(items: Sequence[pages.Capture], begin: Begin) -> list[pages.Page]:
        return pages.read(items, begin, engine=engine)

    ends: Counter[str] = Counter()
    longest, lost = 0.0, 0
    work([pages.EXAMPLE], lambda _place: None)
    with Sandbox(work, seconds=timeout, memory_bytes=memory_mb << 20) as sandbox:
        for name, build in sorted(hostile.PAGES.items()):
            before, page, after = capture(GOOD), capture(build(size)), capture(GOOD)
            began = time.monotonic()
            (found,) = sandbox([page])
            seconds = time.monotonic() - began
            longest = max(longest, seconds)
            beside = sandbox([before, page, after])
            lost += sum(not isinstance(answer, pages.Page) or answer.text is None for answer in beside[::2])
            if isinstance(found, Failure):
                end = f"{found.kind}: {found.detail}"
            else:
                end = str(found.error) if found.text is None else f"text of {len(found.text):,} characters"
            ends["text" if end.startswith("text of") else end.split(":")[0]] += 1
            CONSOLE.print(f"{engine:12} {name:20} {seconds:6.2f} s  {end[:70]}")
    counted = ", ".join(f"{kind} {count}" for kind, count in ends.most_common())
    CONSOLE.print(
        f"{engine}: {sum(ends.values())} hostile pages of {size:,} bytes: {counted}; longest {longest:.2f} s of "
        f"{timeout + 1:.0f}; good pages lost {lost}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=5_000_000)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--memory-mb", type=int, default=1024)
    parser.add_argument("--engine", nargs="+", default=sorted(html.ENGINES), choices=sorted(html.ENGINES))
    options = parser.parse_args()
    for engine in options.engine:
        measure(engine, options.size, options.timeout, options.memory_mb)


if __name__ == "__main__":
    main()
