"""WARC files of the sample: records written as Common Crawl writes them, and three kinds of damage.

A file begins with a warcinfo record; each page adds a request, a response (or revisit) and a
metadata record, each a gzip member of its own (ISO 28500, annex D). Names, dates and ids
follow from the seed and the number of the page, so the same pages give the same bytes.
"""

import base64
import gzip
import hashlib
import json
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from etl.sample import kinds
from etl.sample.kinds import Kind
from etl.sample.pages import START, Crawl, Page, gzip_member

GZIP_LEVEL = 6

Header = tuple[str, str]


class Plan(NamedTuple):
    """What one file holds."""

    name: str
    pages: range
    damage: Kind | None  # planted among its pages


@dataclass
class Counts:
    """What was written to a file: the denominator of any ledger of it."""

    warc_filename: str
    bytes: int = 0
    records: int = 0  # with the one that cannot be read
    unreadable: int = 0
    truncated: bool = False
    pages: int = 0
    record_types: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)


def write(plan: Plan, crawl: Crawl, directory: Path) -> tuple[Counts, Path]:
    """Write one file and, beside it, its part of the truth; return what was written and where that part is."""
    counts = Counts(plan.name)
    truth = directory / f"{plan.name}.truth"
    with (
        (directory / plan.name).open("wb") as archive,
        truth.open("wb") as stream,
        gzip.GzipFile("", "wb", 4, stream, mtime=0) as lines,
    ):
        writer = _Writer(archive, crawl.seed, counts)
        for page in _pages(plan, crawl):
            offset = writer.page(page)
            counts.pages += page.kind != plan.damage
            counts.kinds[page.kind.name] = counts.kinds.get(page.kind.name, 0) + 1
            line = json.dumps(_truth(plan, page, offset), ensure_ascii=False, separators=(",", ":"))
            lines.write(line.encode() + b"\n")
        counts.bytes = archive.tell()
    return counts, truth


def _pages(plan: Plan, crawl: Crawl) -> Iterator[Page]:
    middle = plan.pages[len(plan.pages) // 2]
    for serial in plan.pages:
        if serial == middle and plan.damage in (kinds.CORRUPT_MEMBER, kinds.BAD_LENGTH):
            yield crawl.planted(plan.damage)
        yield crawl.page(serial)
    if plan.damage == kinds.CUT_RECORD:
        yield crawl.planted(plan.damage)


def _truth(plan: Plan, page: Page, offset: int) -> dict[str, Any]:
    """What is known about the response or revisit record at `offset`."""
    charset = page.charset
    return {
        "warc_filename": plan.name,
        "warc_record_offset": offset,
        "url": page.url,
        "kind": page.kind.name,
        "language": page.language,
        "title": page.title,
        "text": page.text,
        "charset": charset and {"used": charset.codec, "header": charset.header, "meta": charset.meta},
        "duplicate_of": page.duplicate_of,
        "jaccard": page.jaccard,
        "expected": {"decision": page.kind.decision, "rules": list(page.kind.rules)},
    }


class _Writer:
    def __init__(self, archive: BinaryIO, seed: int, counts: Counts) -> None:
        self._archive = archive
        self._counts = counts
        self._seed = seed
        self._warcinfo = self._id("warcinfo", counts.warc_filename)
        block = (
            "isPartOf: SAMPLE\r\n"
            "software: goldenlake sample\r\n"
            "description: A crawl of pages that goldenlake made itself; no such site exists\r\n"
            "format: WARC File Format 1.0\r\n"
        )
        self._write(
            "warcinfo",
            (
                ("WARC-Date", _date(None)),
                ("WARC-Record-ID", self._warcinfo),
                ("Content-Length", str(len(block))),
                ("Content-Type", "application/warc-fields"),
                ("WARC-Filename", counts.warc_filename),
            ),
            block.encode(),
        )

    def page(self, page: Page) -> int:
        """Append the records of one fetch; the offset of the one that holds what the server sent."""
        name = f"{page.kind.name}/{page.serial}"
        request, response = self._id("request", name), self._id("response", name)
        common = (
            ("WARC-Date", _date(page)),
            ("WARC-Warcinfo-ID", self._warcinfo),
            ("WARC-IP-Address", f"192.0.2.{page.serial % 254 + 1}"),  # RFC 5737: never anybody's
        )
        sent = _request(page.url)
        self._write(
            "request",
            (
                *common,
                ("WARC-Record-ID", request),
                ("Content-Length", str(len(sent))),
                ("Content-Type", "application/http; msgtype=request"),
                ("WARC-Concurrent-To", response),
                ("WARC-Target-URI", page.url),
            ),
            sent,
        )
        offset = self._archive.tell()
        self._response(page, response, request, common)
        if page.kind == kinds.CUT_RECORD:
            return offset
        charset = page.charset.codec if page.charset else "none"
        facts = f"fetchTimeMs: {20 + page.serial * 7919 % 900}\r\ncharset-detected: {charset}\r\n"
        self._write(
            "metadata",
            (
                *common[:2],
                ("WARC-Record-ID", self._id("metadata", name)),
                ("Content-Length", str(len(facts))),
                ("Content-Type", "application/warc-fields"),
                ("WARC-Concurrent-To", response),
                ("WARC-Target-URI", page.url),
            ),
            facts.encode(),
        )
        return offset

    def _response(self, page: Page, record_id: str, request: str, common: tuple[Header, ...]) -> None:
        kind = "revisit" if page.refers_to else "response"
        block = page.head if page.refers_to else page.head + page.body
        headers: list[Header] = [
            ("WARC-Type", kind),
            *common,
            ("WARC-Record-ID", record_id),
            ("Content-Length", str(len(block))),
            ("Content-Type", "application/http; msgtype=response"),
            ("WARC-Concurrent-To", request),
            ("WARC-Target-URI", page.url),
            ("WARC-Payload-Digest", digest(page.body)),
            ("WARC-Block-Digest", digest(block)),
        ]
        if page.truncated:
            headers.append(("WARC-Truncated", page.truncated))
        if page.refers_to:
            headers += [
                ("WARC-Profile", "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest"),
                ("WARC-Refers-To", self._id("response", f"{page.refers_to.kind.name}/{page.refers_to.serial}")),
                ("WARC-Refers-To-Target-URI", page.refers_to.url),
                ("WARC-Refers-To-Date", _date(page.refers_to)),
            ]
        if page.kind.name == "malformed_header":
            headers = [("WARC-Date", "the day before yesterday") if h[0] == "WARC-Date" else h for h in headers]
            headers.insert(3, ("X-Crawler-Note", "the next line is no header\r\nThis line has no name and no colon"))
        if page.kind == kinds.BAD_LENGTH:
            headers = [("Content-Length", "many") if h[0] == "Content-Length" else h for h in headers]
        record = _record(headers, block)
        if page.kind == kinds.CORRUPT_MEMBER:
            self._append(corrupt_member(record), None)
        elif page.kind == kinds.CUT_RECORD:
            member = gzip_member(record, GZIP_LEVEL)
            self._append(member[: len(member) // 2], None)
            self._counts.truncated = True
        else:
            self._append(gzip_member(record, GZIP_LEVEL), None if page.kind == kinds.BAD_LENGTH else kind)

    def _write(self, record_type: str, headers: Iterable[Header], block: bytes) -> None:
        record = _record((("WARC-Type", record_type), *headers), block)
        self._append(gzip_member(record, GZIP_LEVEL), record_type)

    def _append(self, member: bytes, record_type: str | None) -> None:
        """Write one member; a record that cannot be read has no type."""
        self._archive.write(member)
        self._counts.records += 1
        if record_type is None:
            self._counts.unreadable += 1
        else:
            self._counts.record_types[record_type] = self._counts.record_types.get(record_type, 0) + 1

    def _id(self, record_type: str, name: str) -> str:
        return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'goldenlake/sample/{self._seed}/{record_type}/{name}')}>"


def digest(data: bytes) -> str:
    """As WARC files write it: SHA-1 in base 32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def corrupt_member(record: bytes) -> bytes:
    """A gzip member that can be read up to the middle of the record and not further."""
    compress = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    half = len(record) // 2
    # A full flush ends at a byte, so that what follows is read as the head of a block: 0x07 says
    # "last block, type 3", and there is no type 3 (RFC 1951, 3.2.3).
    good = compress.compress(record[:half]) + compress.flush(zlib.Z_FULL_FLUSH)
    rest = compress.compress(record[half:]) + compress.flush()
    return good + b"\x07" + rest


def _record(headers: Iterable[Header], block: bytes) -> bytes:
    lines = ["WARC/1.0", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def _request(url: str) -> bytes:
    host, _, path = url.removeprefix("https://").partition("/")
    return (
        f"GET /{path} HTTP/1.1\r\nUser-Agent: goldenlake-sample/1.0 (+https://www.golden.example/robot)\r\n"
        f"Accept: text/html,application/xhtml+xml,*/*;q=0.5\r\nAccept-Language: en,*;q=0.5\r\n"
        f"Accept-Encoding: br,gzip\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    ).encode()


def _date(page: Page | None) -> str:
    return (page.fetch_time if page else START).strftime("%Y-%m-%dT%H:%M:%SZ")
