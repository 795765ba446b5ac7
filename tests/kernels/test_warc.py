import base64
import gzip
import hashlib
import io
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastwarc.stream_io import ZstdWriter, zstd_train_dictionary_from_samples
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import http as http_kernel
from etl.kernels import warc

DATE = "2024-02-21T10:20:30Z"
FILE_FAILURES = ("empty: ", "not an archive: ", "truncated: ", "corrupt: ", "unreadable: ")


def record(kind: str, content: bytes, **fields: str | None) -> bytes:
    """A WARC record; underscores of field names are hyphens, and a field that is None is left out."""
    header: dict[str, str | None] = {"WARC_Type": kind, "WARC_Date": DATE, "Content_Length": str(len(content))}
    header.update(fields)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in header.items() if value is not None)
    return b"WARC/1.0\r\n" + lines.encode("utf-8", "surrogateescape") + b"\r\n" + content + b"\r\n\r\n"


def http(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *fields, "")).encode() + body


def response(body: bytes, *fields: str, url: str = "http://www.example.co.uk/page", **warc_fields: str | None) -> bytes:
    content = http(body, *(fields or ("Content-Type: text/html; charset=UTF-8",)))
    return record(
        "response", content, WARC_Target_URI=url, Content_Type="application/http; msgtype=response", **warc_fields
    )


def arrow_frame(codec: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()

    return compress


def chunked(body: bytes, size: int = 10, last: bytes = b"0\r\n\r\n") -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + last


def rows_of(archive: bytes | io.RawIOBase | io.BytesIO, **options: Any) -> list[dict[str, Any]]:
    stream: Any = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    batches = warc.record_batches(stream, warc_filename="a.warc", crawl="test", **options)
    return [row for batch in batches for row in batch.to_pylist()]


def body_of(row: dict[str, Any]) -> bytes:
    return warc.payload(row["payload"], row["payload_length"])


def failures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["ingest_error"] is not None]


def assert_tiles(rows: list[dict[str, Any]], archive: bytes) -> None:
    """Every byte after blank lines at the start belongs to one row, as far as the rows have a length."""
    end = len(archive) - len(archive.lstrip(b"\r\n"))
    for row in rows:
        assert row["warc_record_offset"] == end
        if row["warc_record_length"] is None:
            return
        end += row["warc_record_length"]
    assert end == len(archive)


WARCINFO = record("warcinfo", b"software: a test\r\n", Content_Type="application/warc-fields")
REQUEST = record("request", b"GET / HTTP/1.1\r\n\r\n", WARC_Target_URI="http://www.example.co.uk/page")
RECORDS = [
    WARCINFO,
    REQUEST,
    response(b"<html><p>One page of words.</p></html>"),
    record("metadata", b"fetchTimeMs: 12\r\n", WARC_Target_URI="http://www.example.co.uk/page"),
    response(b"<html><p>Another page, \xff\xfe and bytes.</p></html>" * 30, url="https://example.org/?a=b c"),
    record("conversion", "Words of a page: naïve.".encode(), Content_Type="text/plain"),
    record("resource", b"\x89PNG\r\n\x1a\n\x00\x00", Content_Type="image/png", WARC_Target_URI="http://[::1]:80/a.png"),
]
PER_RECORD: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "lz4": arrow_frame("lz4"),
    "zstd": arrow_frame("zstd"),
}
ARCHIVES = {name: [compress(data) for data in RECORDS] for name, compress in PER_RECORD.items()}
PLACE = ("doc_id", "warc_record_offset", "warc_record_length")


def without_place(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in PLACE} for row in rows]


def test_schema_is_that_of_the_table() -> None:
    ddl = (Path(__file__).parents[2] / "schemas" / "captures.sql").read_text()
    declared = re.findall(r"^  (\w+) +(STRING|TIMESTAMP|INT|BIGINT|BINARY)( +NOT NULL)? +COMMENT", ddl, re.MULTILINE)
    types = {
        "STRING": pa.string(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
        "INT": pa.int32(),
        "BIGINT": pa.int64(),
        "BINARY": pa.binary(),
    }
    assert declared
    assert [(field.name, field.type, field.nullable) for field in warc.CAPTURES_SCHEMA] == [
        (name, types[kind], not required) for name, kind, required in declared
    ]


def test_columns_of_a_page() -> None:
    [row] = rows_of(
        response(
            b"<!DOCTYPE html><p>Hello</p>",
            "Content-Type: Text/HTML ; charset='utf-8'",
            "Location: /elsewhere",
            url="http://Sub.Example.CO.UK:8080/a?b",
            WARC_Payload_Digest="sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            WARC_Truncated="length",
        )
    )
    assert body_of(row) == b"<!DOCTYPE html><p>Hello</p>"
    del row["payload"]
    assert row == {
        "doc_id": warc.doc_id("a.warc", 0, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        "crawl": "test",
        "url": "http://Sub.Example.CO.UK:8080/a?b",
        "url_host_name": "sub.example.co.uk",
        "url_host_registered_domain": "example.co.uk",
        "fetch_time": datetime(2024, 2, 21, 10, 20, 30, tzinfo=timezone.utc),
        "fetch_status": 200,
        "fetch_redirect": "/elsewhere",
        "http_rights": None,
        "content_digest": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "content_mime_type": "text/html",
        "content_mime_detected": "text/html",
        "content_charset_declared": "utf-8",
        "content_truncated": "length",
        "warc_filename": "a.warc",
        "warc_record_offset": 0,
        "warc_record_length": row["warc_record_length"],
        "warc_record_type": "response",
        "warc_refers_to": None,
        "payload_length": 27,
        "ingest_error": None,
    }


def test_only_captures_have_a_payload() -> None:
    rows = rows_of(b"".join(RECORDS))
    assert [row["warc_record_type"] for row in rows if row["payload"] is not None] == [
        "response",
        "response",
        "conversion",
        "resource",
    ]
    assert all((row["payload"] is None) == (row["payload_length"] is None) for row in rows)
    assert not failures(rows)


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_format_gives_the_same_rows(name: str) -> None:
    assert without_place(rows_of(b"".join(ARCHIVES[name]))) == without_place(rows_of(b"".join(RECORDS)))


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_range_of_the_file_gives_back_its_record(name: str) -> None:
    archive = b"".join(ARCHIVES[name])
    rows = rows_of(archive)
    assert_tiles(rows, archive)
    assert [row["warc_record_length"] for row in rows] == [len(member) for member in ARCHIVES[name]]
    ranges = [(row["warc_record_offset"], row["warc_record_length"]) for row in rows]
    batches = warc.select_batches(
        lambda offset, length: archive[offset : offset + length], ranges[::-1], warc_filename="a.warc", crawl="test"
    )
    assert [row for batch in batches for row in batch.to_pylist()] == rows[::-1]


def test_a_range_that_cannot_be_read_loses_no_other() -> None:
    archive = b"".join(ARCHIVES["gzip"])
    first, second = (len(member) for member in ARCHIVES["gzip"][:2])

    def read_range(offset: int, length: int) -> bytes:
        if offset == first:
            raise OSError("no answer")
        return archive[offset : offset + length]

    ranges = [(0, first), (first, second), (first + second, 9), (0, first)]
    batches = warc.select_batches(read_range, ranges, warc_filename="a.warc", crawl="test")
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "unreadable", "warcinfo"]
    assert rows[1]["ingest_error"] == "unreadable: OSError: no answer"
    assert rows[2]["ingest_error"].startswith("truncated: ")


bodies = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


@given(bodies)
@settings(max_examples=50, deadline=None)
def test_offsets_and_bodies_are_those_that_fastwarc_reads(contents: list[bytes]) -> None:
    archive = b"".join(gzip.compress(response(body)) for body in contents)
    rows = rows_of(archive)
    oracle = [(item.stream_pos, item.reader.read()) for item in ArchiveIterator(io.BytesIO(archive), parse_http=True)]
    assert [(row["warc_record_offset"], body_of(row)) for row in rows] == oracle


@pytest.mark.parametrize("name", ARCHIVES)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_cut_file_gives_all_rows_before_the_cut_and_one_failure(name: str, data: st.DataObject) -> None:
    members = ARCHIVES[name]
    archive = b"".join(members)
    whole = rows_of(archive)
    cut = data.draw(st.integers(0, len(archive) - 1))
    rows = rows_of(archive[:cut])
    complete = [row for row in whole if row["warc_record_offset"] + row["warc_record_length"] <= cut]
    # Nothing is missing where only the blank lines after a plain record are cut off, or where a record ends.
    ends = [row["warc_record_offset"] + row["warc_record_length"] - (name == "plain") * 4 for row in whole]
    if any(end <= cut <= end + (name == "plain") * 4 for end in ends):
        assert not failures(rows)
        assert without_place(rows) == without_place(whole[: len(rows)])
        return
    assert rows[:-1] == complete
    assert failures(rows) == rows[-1:]
    assert rows[-1]["warc_record_type"] == "unreadable"
    assert rows[-1]["payload"] is None
    assert_tiles(rows, archive[:cut])


@given(st.integers(1, len(gzip.compress(b"".join(RECORDS))) - 1))
@settings(max_examples=60, deadline=None)
def test_a_cut_file_that_was_compressed_as_a_whole_keeps_its_readable_prefix(cut: int) -> None:
    archive = gzip.compress(b"".join(RECORDS), mtime=0)
    rows = rows_of(archive[:cut])
    assert len(failures(rows)) == 1
    assert without_place(rows[:-1]) == without_place(rows_of(archive)[: len(rows) - 1])
    readable = zlib.decompressobj(31).decompress(archive[:cut])
    complete = sum(readable.startswith(b"".join(RECORDS[: count + 1])) for count in range(len(RECORDS)))
    assert complete <= len(rows) <= complete + 1


def test_a_header_is_known_of_a_record_that_the_file_ends_in() -> None:
    for archive in (response(b"x" * 5000), gzip.compress(response(b"x" * 5000, url="http://www.example.co.uk/page"))):
        [row] = rows_of(archive[: len(archive) - 20])
        assert row["url"] == "http://www.example.co.uk/page"
        assert row["ingest_error"].startswith("truncated: ")
        assert "response record" in row["ingest_error"]


@given(st.integers(0, len(RECORDS) - 1), st.data())
@settings(max_examples=100, deadline=None)
def test_a_broken_member_is_one_row_and_reading_goes_on_after_it(broken: int, data: st.DataObject) -> None:
    members = list(ARCHIVES["gzip"])
    whole = rows_of(b"".join(members))
    member = bytearray(members[broken])
    # The first ten bytes are the gzip header, which has no checksum.
    place = data.draw(st.integers(10, len(member) - 1))
    member[place] ^= data.draw(st.integers(1, 255))
    members[broken] = bytes(member)
    rows = rows_of(b"".join(members))
    assert rows[:broken] + rows[broken + 1 :] == whole[:broken] + whole[broken + 1 :]
    failed = rows[broken]
    assert failed["warc_record_type"] == "unreadable"
    assert failed["ingest_error"].startswith(("corrupt: ", "truncated: "))
    assert failed["warc_record_offset"] == whole[broken]["warc_record_offset"]
    assert_tiles(rows, b"".join(members))


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip"])
def test_bytes_between_members_are_one_row(name: str) -> None:
    members = ARCHIVES[name]
    archive = members[0] + b"not a member" + members[2] + members[3]
    rows = rows_of(archive)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "response", "metadata"]
    assert rows[1]["ingest_error"].startswith("corrupt: b'not a member")
    assert_tiles(rows, archive)


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip"])
def test_bytes_after_a_record_in_its_member_are_one_row(name: str) -> None:
    for rest in (b"g", b"a line\n", b"two\nlines"):
        archive = PER_RECORD[name](WARCINFO + rest) + PER_RECORD[name](REQUEST)
        rows = rows_of(archive)
        assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "request"]
        assert rows[1]["ingest_error"].startswith("corrupt: no record begins with ")
        assert rows[2]["warc_record_length"] == len(PER_RECORD[name](REQUEST))


def test_zero_bytes_that_pad_a_file_are_no_failure() -> None:
    assert not failures(rows_of(ARCHIVES["gzip"][0] + bytes(512)))


def test_records_that_share_a_member_have_no_range() -> None:
    rows = rows_of(gzip.compress(b"".join(RECORDS)))
    assert [row["warc_record_length"] for row in rows] == [None] * len(RECORDS)
    assert [row["warc_record_offset"] for row in rows] == list(range(len(RECORDS)))
    assert without_place(rows) == without_place(rows_of(b"".join(RECORDS)))


@given(st.integers(20, 2000))
@settings(max_examples=20, deadline=None)
def test_members_that_are_cut_without_regard_to_records_are_read(size: int) -> None:
    text = b"".join(RECORDS)
    archive = b"".join(gzip.compress(text[at : at + size]) for at in range(0, len(text), size))
    rows = rows_of(archive)
    assert without_place(rows) == without_place(rows_of(text))
    offsets = [row["warc_record_offset"] for row in rows]
    assert offsets == sorted(set(offsets))
    for cut in range(1, len(archive), 97):
        rows_before_cut = rows_of(archive[:cut])
        assert len(failures(rows_before_cut)) <= 1
        assert without_place(rows_before_cut)[:-1] == without_place(rows)[: len(rows_before_cut) - 1]


def test_empty_members_inside_a_record_are_read_over() -> None:
    text = response(b"body")
    archive = b"".join(gzip.compress(part) for part in (text[:50], *[b""] * 2000, text[50:]))
    [row] = rows_of(archive + gzip.compress(b""))
    assert body_of(row) == b"body"


def test_a_dictionary_of_zstandard_is_used_for_files_and_ranges() -> None:
    pages = [response(b"<html><p>The words of page %d</p></html>" % page * 20) for page in range(40)]
    dictionary = zstd_train_dictionary_from_samples(pages, 2000)
    sink = io.BytesIO()
    writer = ZstdWriter(sink, dictionary=dictionary, compress_dictionary_frame=True)
    ends = []
    for page in pages[:3]:
        writer.write(page)
        writer.finish()
        writer.flush()
        ends.append(len(sink.getvalue()))
    archive = sink.getvalue()
    rows = rows_of(archive)
    assert [body_of(row) for row in rows] == [
        b"<html><p>The words of page %d</p></html>" % page * 20 for page in range(3)
    ]
    ranges = [(row["warc_record_offset"], row["warc_record_length"]) for row in rows]
    assert ranges[1:] == [(ends[0], ends[1] - ends[0]), (ends[1], ends[2] - ends[1])]
    selected = warc.select_batches(
        lambda offset, length: archive[offset : offset + length], ranges, warc_filename="a.warc", crawl="test"
    )
    assert [row for batch in selected for row in batch.to_pylist()] == rows
    without_dictionary = rows_of(archive[ends[0] :])
    assert [row["warc_record_type"] for row in without_dictionary] == ["unreadable"]


@pytest.mark.parametrize(
    ("archive", "error"),
    [
        (b"", "empty: the file has no bytes"),
        (b"\r\n\r\n", "empty: 4 bytes hold no record"),
        (gzip.compress(b"", mtime=0), "empty: 20 bytes hold no record"),
        (b"<html>A page</html>\nof two lines\n", "not an archive: no record begins with b'<html>A page</html>\\n'"),
        (
            gzip.compress(b"hi\n", mtime=0) + gzip.compress(b"ho\n", mtime=0),
            "not an archive: no record begins with b'hi\\n",
        ),
        (b"\x00\x01\x02" * 1000, "not an archive: no record begins with"),
        (b"\x1f\x8b\x08\x00 is how gzip begins", "corrupt: gzip"),
    ],
)
def test_a_file_without_records_is_one_row(archive: bytes, error: str) -> None:
    [row] = rows_of(archive)
    assert row["ingest_error"].startswith(error)
    assert (row["warc_record_type"], row["warc_record_offset"], row["warc_record_length"]) == (
        "unreadable",
        0,
        len(archive),
    )


def test_a_stream_that_ends_before_the_size_of_the_file_is_truncated() -> None:
    archive = b"".join(ARCHIVES["gzip"][:3])
    rows = rows_of(archive, size=len(archive) + 10)
    assert len(rows) == 4
    assert (
        rows[3]["ingest_error"]
        == f"truncated: the stream ends at byte {len(archive)}, the file has {len(archive) + 10}"
    )
    assert len(failures(rows_of(archive[:-3], size=len(archive)))) == 1
    [row] = rows_of(b"", size=10)
    assert row["ingest_error"].startswith("truncated: ")
    assert not failures(rows_of(archive, size=len(archive)))


class Stream(io.RawIOBase):
    """Gives its bytes in pieces of the sizes named, and then raises if it was given an error."""

    def __init__(self, data: bytes, sizes: Iterator[int], error: Exception | None = None) -> None:
        self._data = data
        self._sizes = sizes
        self._error = error

    def read(self, size: int = -1) -> bytes:
        if not self._data and self._error:
            raise self._error
        size = min(size, next(self._sizes))
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def repeated(sizes: list[int]) -> Iterator[int]:
    while True:
        yield from sizes


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_stream_that_fails_is_one_row_after_what_it_gave(name: str) -> None:
    stream = Stream(b"".join(ARCHIVES[name][:4]), repeated([100]), ConnectionResetError("gone"))
    rows = rows_of(stream)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "request", "response", "metadata", "unreadable"][
        -len(rows) :
    ] or len(rows) == 4
    assert rows[-1]["ingest_error"].startswith("unreadable: ConnectionResetError: gone")
    assert len(failures(rows)) == 1


@pytest.mark.parametrize("name", ARCHIVES)
@given(sizes=st.lists(st.integers(1, 500), min_size=1), batch_bytes=st.integers(1, 10_000))
@settings(max_examples=25, deadline=None)
def test_rows_do_not_depend_on_how_bytes_arrive_or_batches_are_cut(
    name: str, sizes: list[int], batch_bytes: int
) -> None:
    archive = b"".join(ARCHIVES[name])
    assert rows_of(Stream(archive, repeated(sizes)), batch_bytes=batch_bytes) == rows_of(archive)


@given(st.binary(max_size=400) | st.builds(bytes.__add__, st.sampled_from(RECORDS), st.binary(max_size=400)))
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise(archive: bytes) -> None:
    for stored in (archive, gzip.compress(archive)):
        rows = rows_of(stored)
        assert rows
        offsets = [row["warc_record_offset"] for row in rows]
        assert offsets == sorted(set(offsets))


@given(st.sampled_from(sorted(ARCHIVES)), st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_raises_or_loses_a_byte(name: str, data: st.DataObject) -> None:
    archive = bytearray(b"".join(ARCHIVES[name]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(archive)))
        archive[place : place + data.draw(st.integers(0, 300))] = data.draw(st.binary(max_size=20))
    rows = rows_of(bytes(archive))
    assert_tiles(rows, archive)
    for row in failures(rows):
        assert row["payload"] is None
        assert row["ingest_error"].startswith("payload") or (
            row["warc_record_type"] == "unreadable" and row["ingest_error"].startswith(FILE_FAILURES)
        )


def test_a_plain_file_goes_on_after_bytes_that_are_no_record() -> None:
    archive = WARCINFO + b"some lines\nof something else\n" + REQUEST
    rows = rows_of(archive)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "request"]
    assert rows[1]["ingest_error"] == "corrupt: no record begins with b'some lines\\n'"
    assert_tiles(rows, archive)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("wrong", [400, 10_000_000_000])
def test_a_content_length_that_is_too_large_swallows_no_record(compress: Callable[[bytes], bytes], wrong: int) -> None:
    long = record("metadata", b"key: value\r\n", Content_Length=str(wrong), WARC_Target_URI="http://example.org/")
    rows = rows_of(b"".join(map(compress, [WARCINFO, long, *RECORDS])))
    assert [row["warc_record_type"] for row in rows[:2]] == ["warcinfo", "unreadable"]
    assert rows[1]["ingest_error"].startswith(f"corrupt: Content-Length of a metadata record is {wrong}, and ")
    assert rows[1]["url"] == "http://example.org/"
    assert without_place(rows[2:]) == without_place(rows_of(b"".join(RECORDS)))


def test_a_content_length_that_is_too_small_leaves_a_row_for_the_rest() -> None:
    short = record("metadata", b"key: value", Content_Length="3")
    rows = rows_of(WARCINFO + short + REQUEST)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "metadata", "unreadable", "request"]
    assert rows[2]["ingest_error"] == "corrupt: no record begins with b': value\\r\\n'"


@pytest.mark.parametrize("length", [None, "", "-1", "12 bytes", "1e3", "٣"])
def test_a_record_without_a_length_is_one_row(length: str | None) -> None:
    bad = record("response", b"some content", Content_Length=length, WARC_Target_URI="http://example.org/")
    for compress in (bytes, gzip.compress):
        rows = rows_of(b"".join(map(compress, [WARCINFO, bad, REQUEST])))
        assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "request"]
        assert rows[1]["url"] == "http://example.org/"
        assert "Content-Length" in rows[1]["ingest_error"]


def test_a_record_without_a_header_is_one_row() -> None:
    rows = rows_of(WARCINFO + b"WARC/1.0\r\n\r\n" + b"WARC/1.0\n\n" + REQUEST)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "unreadable", "request"]
    assert [row["ingest_error"] for row in rows[1:3]] == ["corrupt: no Content-Length"] * 2


def test_a_header_without_an_end_is_one_row() -> None:
    rows = rows_of(WARCINFO + b"WARC/1.0\r\n" + b"a: b\r\n" * 200_000 + b"\r\n\r\n" + REQUEST)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "request"]
    assert rows[1]["ingest_error"].startswith("corrupt: the header of a record does not end within")


def test_odd_headers_are_read() -> None:
    content = http(b"body", "Content-Type: text/plain")
    header = (
        b"WARC/0.18\nwarc-type:RESPONSE\nWARC-Target-URI: <http://example.org/a b>\nno colon here\n"
        b"WARC-Date:\t2008-04-30\nX-Folded: one\n two\nX-Latin: caf\xe9\n: no name\nContent-Length:  %d \n\n"
        % len(content)
    )
    [row] = rows_of(header + content)
    assert (row["url"], row["warc_record_type"]) == ("http://example.org/a b", "response")
    assert row["fetch_time"] == datetime(2008, 4, 30, tzinfo=timezone.utc)
    assert body_of(row) == b"body"


@pytest.mark.parametrize(
    ("content", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nbody", 200, b"body"),
        (b"HTTP/1.0 404\nServer: x\n\nbody", 404, b"body"),
        (b"HTTP/2 301 \r\n\r\n", 301, b""),
        (b"HTTP/1.1 204 No Content\r\nServer: x\r\n", 204, b""),
        (b"HTTP/1.1 OK\r\n\r\nbody", None, b"body"),
        (b"HTTP/1.1 2000 OK\r\n\r\nbody", None, b"body"),
        (b"<html>an answer of HTTP/0.9</html>", None, b"<html>an answer of HTTP/0.9</html>"),
        (b"", None, b""),
    ],
)
def test_odd_http_heads_are_read(content: bytes, status: int | None, body: bytes) -> None:
    for content_type in ("application/http; msgtype=response", None):
        [row] = rows_of(record("response", content, Content_Type=content_type, WARC_Target_URI="http://example.org/"))
        assert (row["fetch_status"], body_of(row), row["ingest_error"]) == (status, body, None)


TEXT = b"<html><p>" + b"The body of a page, again and again. " * 50 + b"</p></html>"
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": arrow_frame("brotli"),
    "zstd": arrow_frame("zstd"),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_content_encodings_are_undone(coding: str) -> None:
    encoded = CODINGS[coding](TEXT)
    rows = rows_of(
        response(encoded, f"Content-Encoding: {coding.upper()}")
        + response(chunked(encoded), f"Content-Encoding: {coding}", "Transfer-Encoding: chunked")
        + response(CODINGS[coding](encoded), f"Content-Encoding: {coding}, {coding}")
        + response(CODINGS[coding](encoded), f"Content-Encoding: {coding}", f"content-encoding: {coding}")
    )
    assert [body_of(row) for row in rows] == [TEXT] * 4
    # The digest is that of the body as archived.
    assert rows[0]["content_digest"] == base64.b32encode(hashlib.sha1(encoded).digest()).decode()


def test_raw_deflate_is_undone() -> None:
    compress = zlib.compressobj(wbits=-15)
    [row] = rows_of(response(compress.compress(TEXT) + compress.flush(), "Content-Encoding: deflate"))
    assert body_of(row) == TEXT


@pytest.mark.parametrize("coding", [*CODINGS, "identity", "none", "utf-8", "", "gzip, br"])
def test_a_body_that_was_decoded_before_is_taken_as_it_is(coding: str) -> None:
    [row] = rows_of(response(TEXT, f"Content-Encoding: {coding}", "Transfer-Encoding: chunked"))
    assert (body_of(row), row["ingest_error"]) == (TEXT, None)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_is_cut_off_is_an_error_unless_the_crawler_says_so(coding: str) -> None:
    words = "".join(hashlib.sha1(b"%d" % number).hexdigest() for number in range(20_000)).encode()
    cut = CODINGS[coding](words)[:-500]
    field = f"Content-Encoding: {coding}"
    kept, dropped = rows_of(response(cut, field, WARC_Truncated="length") + response(cut, field))
    assert len(body_of(kept)) > 100_000
    assert words.startswith(body_of(kept))
    assert (dropped["payload"], dropped["payload_length"], dropped["warc_record_type"]) == (None, None, "response")
    assert dropped["ingest_error"].startswith(f"payload: {coding.removeprefix('x-')}: ")


@pytest.mark.parametrize(
    ("body", "fields", "error"),
    [
        (gzip.compress(TEXT, mtime=0)[:20] + b"\0" * 40, ["Content-Encoding: gzip"], "payload: gzip: "),
        (b"\x00\x01\x02 neither", ["Content-Encoding: deflate"], "payload: deflate: "),
        (b"\x00\x01\x02 neither", ["Content-Encoding: br"], "payload: br: "),
        (b"anything", ["Content-Encoding: compress"], "payload: compress: this content encoding is not supported"),
        (b"5\r\nhello\r\nzz\r\nmore", ["Transfer-Encoding: chunked"], "payload: chunked: no chunk size at byte 10"),
        (b"5\r\nhello\r\n9\r\nmore", ["Transfer-Encoding: chunked"], "payload: chunked: a chunk of 9 bytes at byte 13"),
    ],
)
def test_a_body_that_cannot_be_decoded_says_why(body: bytes, fields: list[str], error: str) -> None:
    [row] = rows_of(response(body, *fields))
    assert row["ingest_error"].startswith(error)
    assert (row["payload"], row["warc_record_type"], row["fetch_status"]) == (None, "response", 200)


@pytest.mark.parametrize(
    "body",
    [
        chunked(TEXT),
        chunked(TEXT, last=b""),
        chunked(TEXT, last=b"0\r\nTrailer: value\r\n\r\n"),
        chunked(TEXT).replace(b"\r\n", b"\n"),
        b"%x ; name=value\r\n%s\r\n0\r\n\r\n" % (len(TEXT), TEXT),
    ],
)
def test_chunks_are_joined(body: bytes) -> None:
    [row] = rows_of(response(body, "Transfer-Encoding: Chunked"))
    assert body_of(row) == TEXT


@given(st.binary(max_size=2000), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_a_chunked_gzipped_body_comes_back(body: bytes, size: int) -> None:
    encoded = chunked(gzip.compress(body), size)
    [row] = rows_of(response(encoded, "Transfer-Encoding: chunked", "Content-Encoding: gzip"))
    assert body_of(row) == body


@given(st.binary(max_size=200), st.sampled_from([*CODINGS, "chunked"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_encoded_body_raises(body: bytes, coding: str, is_cut: bool) -> None:
    field = "Transfer-Encoding: chunked" if coding == "chunked" else f"Content-Encoding: {coding}"
    prefix = {"gzip": b"\x1f\x8b\x08\0", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "chunked": b"5\r\n"}
    archive = response(prefix.get(coding, b"") + body, field, WARC_Truncated="time" if is_cut else None)
    [row] = rows_of(archive)
    assert (row["payload"] is None) == (row["ingest_error"] is not None)


def test_a_body_that_is_too_long_is_not_kept_but_counted_and_digested() -> None:
    body = bytes(range(256)) * 20_000
    page = response(body, "Content-Type: video/mp4")
    small = response(b"small")
    rows = rows_of(b"".join(map(gzip.compress, [page, small])), max_payload_bytes=100_000)
    assert rows[0]["ingest_error"] == f"payload of {len(body)} bytes is above max_payload_bytes 100000"
    assert rows[0]["content_digest"] == base64.b32encode(hashlib.sha1(body).digest()).decode()
    assert (rows[0]["payload"], rows[0]["payload_length"], rows[0]["fetch_status"]) == (None, None, 200)
    assert body_of(rows[1]) == b"small"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_decodes_to_too_much_is_not_kept(coding: str) -> None:
    [row] = rows_of(response(CODINGS[coding](bytes(3 << 20)), f"Content-Encoding: {coding}"), max_payload_bytes=1 << 20)
    assert "decodes to more than max_payload_bytes 1048576" in row["ingest_error"]
    assert row["payload"] is None


def test_a_long_record_is_never_held_in_memory() -> None:
    length = 60 << 20
    head = http(b"", "Content-Type: video/mp4")
    header = record("response", b"", Content_Length=str(len(head) + length), WARC_Target_URI="http://example.org/")
    first = header.removesuffix(b"\r\n\r\n") + head

    class Zeros(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            if not self.given:
                self.given = len(first)
                return first
            piece = bytes(min(size, len(first) + length - self.given))
            self.given += len(piece)
            return piece

    tracemalloc.start()
    [row] = rows_of(Zeros(), max_payload_bytes=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert row["ingest_error"] == f"payload of {length} bytes is above max_payload_bytes 1048576"
    assert peak < 16 << 20


def test_batches_are_bounded() -> None:
    page = response(hashlib.sha512(b"noise").digest() * 100)
    noise = [response(b"".join(hashlib.sha512(b"%d %d" % (i, j)).digest() for j in range(160))) for i in range(50)]
    batches = list(
        warc.record_batches(io.BytesIO(b"".join([page, *noise])), warc_filename="a", crawl="c", batch_bytes=50_000)
    )
    assert sum(batch.num_rows for batch in batches) == 51
    assert max(batch.nbytes for batch in batches) < 50_000 + 20_000
    assert all(batch.schema == warc.CAPTURES_SCHEMA for batch in batches)


def test_without_payload_all_else_is_the_same() -> None:
    archive = b"".join(RECORDS)
    rows = rows_of(archive)
    for row in rows:
        row["payload"] = None
    assert rows_of(archive, keep_payload=False) == rows


def test_a_revisit_names_the_capture_that_has_its_payload() -> None:
    head = http(b"", "Content-Type: text/html", status="304 Not Modified")
    target = record(
        "revisit",
        head,
        WARC_Target_URI="http://example.org/",
        WARC_Refers_To_Target_URI="<http://example.org/first>",
        WARC_Refers_To="<urn:uuid:1>",
        WARC_Payload_Digest="sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        Content_Type="application/http; msgtype=response",
    )
    uri = record("revisit", b"", WARC_Target_URI="http://example.org/", WARC_Refers_To="<urn:uuid:1>")
    first, second = rows_of(target + uri)
    assert (first["warc_refers_to"], first["fetch_status"]) == ("http://example.org/first", 304)
    assert (first["content_digest"], first["payload"]) == ("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", None)
    assert (second["warc_refers_to"], second["fetch_status"]) == ("urn:uuid:1", None)


def test_a_segment_is_not_taken_for_a_whole() -> None:
    rows = rows_of(response(b"half a pa", WARC_Segment_Number="1") + record("continuation", b"ge"))
    assert [row["payload"] for row in rows] == [None, None]
    assert "segment" in rows[0]["ingest_error"]


def version_block(version: int, more: str, columns: str) -> bytes:
    """The first record of an ARC file."""
    content = f"{version} 0 Somebody\nURL IP-address Archive-date Content-type {columns}Archive-length\n"
    return f"filedesc://a.arc 0.0.0.0 20080430204825 text/plain{more} {len(content)}\n{content}\n".encode()


ARC_2_FIELDS = " 200 - - 0 a.arc"
ARC_1 = version_block(1, "", "")
ARC_2 = version_block(2, ARC_2_FIELDS, "Result-code Checksum Location Offset Filename ")


def arc_record(url: str, middle: str, content: bytes) -> bytes:
    return f"{url} 192.0.2.1 20080430204826 {middle} {len(content)}\n".encode() + content + b"\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("first", "more"), [(ARC_1, ""), (ARC_2, ARC_2_FIELDS)], ids=["1", "2"])
def test_arc_files_are_read(compress: Callable[[bytes], bytes], first: bytes, more: str) -> None:
    members = [
        compress(part)
        for part in (
            first,
            arc_record(
                "http://example.org/a page?x", f"text/html{more}", http(TEXT, "Content-Type: text/html; charset=x")
            ),
            arc_record("dns:example.org", f"text/dns{more}", b"20080430204826\nexample.org. 300 IN A 192.0.2.1\n"),
            arc_record("http://example.org/gone", f"no-type{more}", b""),
        )
    ]
    archive = b"".join(members)
    rows = rows_of(archive)
    assert_tiles(rows, archive)
    assert [row["warc_record_length"] for row in rows] == [len(member) for member in members]
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "response", "response", "response"]
    page, dns, gone = rows[1:]
    assert (page["url"], page["fetch_status"], body_of(page)) == ("http://example.org/a page?x", 200, TEXT)
    assert page["fetch_time"] == datetime(2008, 4, 30, 20, 48, 26, tzinfo=timezone.utc)
    assert page["content_digest"] == base64.b32encode(hashlib.sha1(TEXT).digest()).decode()
    assert (page["content_charset_declared"], page["url_host_name"]) == ("x", "example.org")
    assert (dns["content_mime_type"], dns["fetch_status"]) == ("text/dns", None)
    assert (gone["content_mime_type"], body_of(gone)) == (None, b"")
    assert not failures(rows)
    selected = warc.select_batches(
        lambda offset, length: archive[offset : offset + length],
        [(row["warc_record_offset"], row["warc_record_length"]) for row in rows],
        warc_filename="a.warc",
        crawl="test",
    )
    assert [row for batch in selected for row in batch.to_pylist()] == rows


def test_an_arc_record_with_a_wrong_length_swallows_no_other() -> None:
    page = arc_record("http://example.org/", "text/html", http(TEXT))
    wrong = b"http://example.org/2 192.0.2.1 20080430204826 text/html 300\nHTTP/1.1 200 OK\n\nshort\n\n"
    rows = rows_of(ARC_1 + wrong + page + page)
    assert [row["warc_record_type"] for row in rows] == ["warcinfo", "unreadable", "response", "response"]
    assert "another record begins" in rows[1]["ingest_error"]


@pytest.mark.parametrize(
    ("header", "digest"),
    [
        ("sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        ("SHA1:abcdefghijklmnopqrstuvwxyz234567", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        ("sha1:00443214c74254b635cf84653a56d7c675be77df", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        ("sha256:0123", "sha256:0123"),
        (None, base64.b32encode(hashlib.sha1(b"body").digest()).decode()),
    ],
)
def test_digest_is_that_of_the_header_or_computed(header: str | None, digest: str) -> None:
    [row] = rows_of(response(b"body", WARC_Payload_Digest=header))
    assert row["content_digest"] == digest


def test_header_lines_that_state_rights_are_kept_as_sent() -> None:
    [row] = rows_of(
        response(
            b"<p>Hello</p>",
            "Content-Type: text/html",
            "X-Robots-Tag: googlebot: nofollow",
            "TDM-Reservation: 1",
            "x-robots-tag: noai,  noimageai",
            "Link: </style.css>; rel=preload",
            "Link: <https://creativecommons.org/licenses/by/4.0/>; rel=license",
            "TDM-Policy: https://example.com/policy.json",
            "Server: noai",
        )
    )
    assert row["http_rights"].split("\n") == [
        "x-robots-tag: googlebot: nofollow",
        "x-robots-tag: noai,  noimageai",
        "tdm-reservation: 1",
        "tdm-policy: https://example.com/policy.json",
        "link: <https://creativecommons.org/licenses/by/4.0/>; rel=license",
    ]


@pytest.mark.parametrize("kind", ["resource", "conversion"])
def test_a_record_without_a_response_states_rights_itself(kind: str) -> None:
    link = '<https://spdx.org/licenses/MIT>; rel="license"'
    [row] = rows_of(record(kind, b"int x;", Content_Type="text/plain", Link=link))
    assert row["http_rights"] == f"link: {link}"
    [row] = rows_of(response(b"<p>Hello</p>", Link=link))
    assert row["http_rights"] is None, "where there is a response, what counts is what the server said"


@pytest.mark.parametrize(
    ("kind", "said", "body", "found"),
    [
        ("resource", "text/plain", b"<!doctype html><p>", "text/plain"),
        ("conversion", "text/plain; charset=utf-8", b"<?xml version='1.0'?><rss>", "text/plain"),
        ("resource", "text/plain", b"%PDF-1.7 \x00\x01", "application/pdf"),
        ("resource", "text/html", b"a", "text/html"),
        ("resource", None, b"<!doctype html><p>", "text/html"),
        ("response", "text/plain", b"<!doctype html><p>", "text/html"),
    ],
)
def test_plain_text_is_believed_of_who_wrote_the_record(kind: str, said: str | None, body: bytes, found: str) -> None:
    [row] = rows_of(record(kind, body, Content_Type=said))
    assert row["content_mime_detected"] == found


def test_a_head_of_one_field_many_times_costs_no_square() -> None:
    [row] = rows_of(response(b"<p>Hello</p>", *["X-Robots-Tag: noai"] * 50_000))
    assert row["http_rights"].startswith("x-robots-tag: noai\nx-robots-tag: noai\n")
    assert len(row["http_rights"]) <= http_kernel.MAX_RIGHTS_CHARACTERS
    assert body_of(row) == b"<p>Hello</p>"


def test_the_block_digest_is_that_of_a_payload_without_http_head() -> None:
    block = "sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    text, page = rows_of(
        record("conversion", b"words", WARC_Block_Digest=block) + response(b"body", WARC_Block_Digest=block)
    )
    assert text["content_digest"] == "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    assert page["content_digest"] == base64.b32encode(hashlib.sha1(b"body").digest()).decode()


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("2024-02-21T10:20:30Z", datetime(2024, 2, 21, 10, 20, 30)),
        ("2024-02-21T10:20:30.123456789Z", datetime(2024, 2, 21, 10, 20, 30, 123456)),
        ("2024-02-21T10:20:30.5Z", datetime(2024, 2, 21, 10, 20, 30, 500000)),
        ("2024-02-21T10:20:30+02:00", datetime(2024, 2, 21, 8, 20, 30)),
        ("2024-02-21T10:20Z", datetime(2024, 2, 21, 10, 20)),
        ("2024-02", datetime(2024, 2, 1)),
        ("2024", datetime(2024, 1, 1)),
        ("20240221102030", datetime(2024, 2, 21, 10, 20, 30)),
        ("20240221102030000", None),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59)),
        ("2024-02-31T00:00:00Z", None),
        ("0000-00-00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates_of_any_precision_are_read(date: str | None, moment: datetime | None) -> None:
    [row] = rows_of(response(b"", WARC_Date=date))
    assert row["fetch_time"] == (moment and moment.replace(tzinfo=timezone.utc))
    assert row["ingest_error"] is None


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("https://www.Example.com/", "www.example.com", "example.com"),
        ("http://user:pass@a.b.example.ac.jp:8080/x@y", "a.b.example.ac.jp", "example.ac.jp"),
        ("http://someone.github.io/", "someone.github.io", "github.io"),
        ("http://192.0.2.1/", "192.0.2.1", None),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]", None),
        ("http://localhost", "localhost", None),
        ("http://bücher.example.de?x", "bücher.example.de", "example.de"),
        ("http://[broken/", "[broken", None),
        ("dns:example.org", None, None),
        ("urn:uuid:1", None, None),
        ("not a url", None, None),
    ],
)
def test_host_and_registered_domain_of_a_url(url: str, host: str | None, domain: str | None) -> None:
    [row] = rows_of(response(b"", url=url))
    assert (row["url"], row["url_host_name"], row["url_host_registered_domain"]) == (url, host, domain)


@given(
    st.tuples(st.text(), st.integers(0, 2**62), st.none() | st.text()),
    st.tuples(st.text(), st.integers(0, 2**62), st.none() | st.text()),
)
def test_doc_ids_are_equal_only_for_equal_records(left: Any, right: Any) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", warc.doc_id(*left))
    assert (warc.doc_id(*left) == warc.doc_id(*right)) == (left == right)


def test_doc_id_tells_apart_what_joins_to_the_same_text() -> None:
    assert (
        len(
            {warc.doc_id("a1", 2, "3"), warc.doc_id("a", 12, "3"), warc.doc_id("a", 1, "23"), warc.doc_id("a", 123, "")}
        )
        == 4
    )
    assert warc.doc_id("a", 1, None) != warc.doc_id("a", 1, "")


@given(st.binary(max_size=5000))
def test_payload_gives_back_the_body(body: bytes) -> None:
    frame = pa.Codec("zstd", compression_level=3).compress(body, asbytes=True)
    assert warc.payload(frame, len(body)) == body
    with pytest.raises(OSError):
        warc.payload(frame, len(body) + 1)
    with pytest.raises(OSError):
        warc.payload(frame[:-1], len(body))
