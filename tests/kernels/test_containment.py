"""Hostile pages: whatever one does, it ends as one page with text or a reason, and the others live."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from etl.kernels import pages
from etl.kernels.sandbox import Begin, Failure, Sandbox
from tests import hostile
from tests.kernels.test_html import GERMAN, page

SECONDS = 1.0
MEMORY = 512 << 20
SIZE = 1_000_000


def capture(payload: bytes) -> pages.Capture:
    return pages.Capture(pa.Codec("zstd").compress(payload, asbytes=True), len(payload), "text/html")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_hostile_pages_cost_themselves_alone(engine: str) -> None:
    """Slow because some of the pages take all of their time."""

    def work(items: Sequence[pages.Capture], begin: Begin) -> list[pages.Page]:
        return pages.read(items, begin, engine=engine)

    names = sorted(hostile.PAGES)
    good = capture(page("utf-8"))
    work([pages.EXAMPLE], lambda _place: None)
    with Sandbox(work, seconds=SECONDS, memory_bytes=MEMORY) as sandbox:
        for first in range(0, len(names), 12):
            batch = names[first : first + 12]
            found = sandbox([good, *(capture(hostile.PAGES[name](SIZE)) for name in batch), good])
            for answer in (found[0], found[-1]):
                assert isinstance(answer, pages.Page)
                assert GERMAN in str(answer.text)
            for name, answer in zip(batch, found[1:-1], strict=True):
                assert isinstance(answer, Failure) or (answer.text is None) != (answer.error is None), name
