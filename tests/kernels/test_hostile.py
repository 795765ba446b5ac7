"""Hostile pages cost time in proportion to their length, and are answered, by every kernel that reads them unparsed.

What parses pages is tried on them where it is contained: see the tests of extraction.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from etl.kernels import html, language, mime, rights, urls, warc
from tests import hostile

SMALL, LARGE = 1 << 14, 1 << 17
MAX_BYTES = 1 << 16
LISTS = urls.Lists.load(["adult"])

KERNELS: dict[str, Callable[[bytes], object]] = {
    "html.decode": html.decode,
    "mime.sniff": lambda page: mime.sniff(page, "text/html"),
    "rights.of_page": lambda page: rights.of_page(text(page), {"x-robots-tag": text(page), "link": text(page)}),
    "language.detect": lambda page: language.detect([text(page)], sure=0.9),
    "language.batch": lambda page: language.batch([text(page)]),
    "urls.batch": lambda page: urls.batch([f"https://example.com/{text(page)}", f"http://{text(page)}"], LISTS),
}


def text(page: bytes) -> str:
    """The page without what UTF-8 cannot say, which no kernel is given."""
    return page.decode("utf-8", "replace")


def seconds(run: Callable[[bytes], object], payload: bytes) -> float:
    """The least of three: what other work of the machine costs does not come back each time."""

    def once() -> float:
        start = time.process_time()
        run(payload)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", hostile.PAGES)
def test_time_grows_with_the_page_and_no_faster(name: str, kernel: str) -> None:
    small, large = (hostile.PAGES[name](size) for size in (SMALL, LARGE))
    run = KERNELS[kernel]
    run(small[:1000])  # loads what is loaded once
    # Eight times the page in less than 24 times the time, where the square would be 64 times.
    assert seconds(run, large) < max(24 * seconds(run, small), 0.2)


@pytest.mark.parametrize("name", hostile.PAGES)
def test_a_page_is_as_long_as_was_asked_and_the_same_each_time(name: str) -> None:
    page = hostile.PAGES[name](LARGE)
    assert page == hostile.PAGES[name](LARGE)
    if name != "entity bomb":  # what it stands for is what is long
        assert 0.5 * LARGE < len(page) < 1.5 * LARGE


def rows_of(archive: bytes, max_payload_bytes: int = MAX_BYTES) -> list[dict[str, Any]]:
    batches = warc.record_batches(
        io.BytesIO(archive), warc_filename="a.warc", crawl="test", max_payload_bytes=max_payload_bytes
    )
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize("name", ["gzip bomb", "deflate bomb", "brotli bomb", "bomb in a bomb"])
def test_a_bomb_is_a_row_that_says_so_and_goes_off_nowhere(name: str) -> None:
    bomb = hostile.RECORDS[name](200_000_000) if name == "brotli bomb" else hostile.RECORDS[name](20_000_000)
    assert len(bomb) < 50_000
    start = time.process_time()
    [row] = rows_of(bomb)
    assert time.process_time() - start < 1
    assert row["ingest_error"].endswith(f"decodes to more than max_payload_bytes {MAX_BYTES}")
    assert (row["payload"], row["warc_record_type"]) == (None, "response")


@pytest.mark.parametrize("name", hostile.RECORDS)
def test_time_grows_with_the_record_and_no_faster(name: str) -> None:
    def read(archive: bytes) -> object:
        return rows_of(archive, max_payload_bytes=1 << 30)

    small, large = (hostile.RECORDS[name](size) for size in (1 << 17, 1 << 20))
    read(small)
    assert seconds(read, large) < max(24 * seconds(read, small), 0.2)


def test_many_gzip_members_are_one_body() -> None:
    [row] = rows_of(hostile.RECORDS["gzip members"](1 << 20), max_payload_bytes=1 << 21)
    assert (row["ingest_error"], row["payload_length"]) == (None, 0)
