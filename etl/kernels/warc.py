"""Records of web archives as rows of the table ``captures``.

Reads WARC 0.17 to 1.1 and ARC 1 and 2, plain or as gzip, Zstandard or LZ4, whatever the file
is called. Every archive gives at least one row, every record gives one row, and every place
where reading failed gives one row of type ``unreadable``: with the fields of the record header
if the file merely ends there, without if its bytes are corrupt. ``ingest_error`` begins with
the kind of failure:

    empty           the file has no bytes, or no record
    not an archive  the file has bytes, and none of them begin a record
    truncated       the file ends inside a record
    corrupt         bytes are not what the format allows; reading went on at the next record
    unreadable      the stream failed
    payload         the record was read, but its body cannot be decoded or is too long; the row
                    keeps the type of the record

A row with an ``ingest_error`` has no payload, so a payload is always whole (or was cut by the
crawler, which ``content_truncated`` says). Compressed members have checksums, which are
verified; in a plain archive nothing tells a changed byte inside a body from the right one.

Rows are in the order of the file, and those that have both offset and length tile it: a range
of the file, [offset, offset + length), is that record and nothing else. Records that share one
compressed member with others, as in a file that was compressed as a whole, have no such range:
their length is null and their offset is that of the member plus their number in it.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from io import BytesIO
from typing import Any, BinaryIO

import pyarrow as pa
import tldextract

from etl.kernels import http, mime
from etl.kernels.members import BLANK, CUT_LINE, DICTIONARY_MAGIC, ZSTD_MAGIC, Archive, Damage, zstd_dictionary

ZSTD_LEVEL = 3
MAX_HEADER_BYTES = 1 << 20
HEAD_BYTES = 1 << 20  # how much of a record that is too long is read to know its HTTP head
MAX_BATCH_ROWS = 8192

CAPTURES_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("crawl", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("url_host_name", pa.string()),
        pa.field("url_host_registered_domain", pa.string()),
        pa.field("fetch_time", pa.timestamp("us", tz="UTC")),
        pa.field("fetch_status", pa.int32()),
        pa.field("fetch_redirect", pa.string()),
        pa.field("http_rights", pa.string()),
        pa.field("content_digest", pa.string()),
        pa.field("content_mime_type", pa.string()),
        pa.field("content_mime_detected", pa.string()),
        pa.field("content_charset_declared", pa.string()),
        pa.field("content_truncated", pa.string()),
        pa.field("warc_filename", pa.string(), nullable=False),
        pa.field("warc_record_offset", pa.int64(), nullable=False),
        pa.field("warc_record_length", pa.int64()),
        pa.field("warc_record_type", pa.string(), nullable=False),
        pa.field("warc_refers_to", pa.string()),
        pa.field("payload", pa.binary()),
        pa.field("payload_length", pa.int64()),
        pa.field("ingest_error", pa.string()),
    ]
)

PAYLOAD_TYPES = frozenset({"response", "resource", "conversion"})

# What a line ends with is looked at first: it keeps matching linear.
_ARC_LINE = (
    rb"(?=[^\r\n]{0,4000}\d[ \t]*\r?\n)[A-Za-z][A-Za-z0-9+.-]*:[^\r\n]*? (?:\d{4,17}|null) [^\r\n]*\d[ \t]*\r?\n"
)
# The line of an ARC record is "URL IP date type length" or, in version 2, five fields more before the length.
RECORD_START = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n|" + _ARC_LINE)
_NEXT_RECORD = re.compile(rb"\n(?=" + RECORD_START.pattern + rb")")
_ARC_FIELDS = re.compile(rb"(\S.*?) (\S*) (\d{4,17}|null) (?:(.*) )?(\d+)[ \t]*\r?\n")
_LINE_END = re.compile(rb"\r?\n")
MAX_ARC_LINE_BYTES = 4096
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?(\[[^\]/?#]*\]|[^/?#:]*)", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{4})(?:-?(\d\d)(?:-?(\d\d)(?:[T ]?(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?)?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?"
)
_HTTP = b"HTTP/"
_WARC = b"WARC/"

_codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)


def doc_id(warc_filename: str, offset: int, content_digest: str | None) -> str:
    """Names a record: 32 hex digits of BLAKE2b-128 over archive name, offset and digest, each with its length."""
    parts = [warc_filename.encode("utf-8", "surrogatepass"), b"%d" % offset]
    if content_digest is not None:
        parts.append(content_digest.encode("utf-8", "surrogatepass"))
    encoded = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def payload(frame: bytes, length: int) -> bytes:
    """The body that ``captures.payload`` holds as a Zstandard frame; `length` is ``captures.payload_length``.

    Raises:
        OSError: the frame is broken or does not hold `length` bytes.
    """
    body: bytes = _codec.decompress(frame, decompressed_size=length, asbytes=True)
    return body


@dataclass
class Record:
    """One archive record, or one place that could not be read."""

    offset: int
    length: int | None = None
    type: str = "unreadable"
    fields: dict[str, str] = field(default_factory=dict)  # of the record header, names in lower case
    content: memoryview = field(default_factory=lambda: memoryview(b""))
    content_length: int = 0  # may be more than `content` has
    body_digest: str | None = None  # SHA-1 of the body of a record that was not kept whole
    error: str | None = None
    exact: bool = True  # a range of the file gives this record
    not_a_record: bool = False


def record_batches(
    stream: BinaryIO,
    *,
    warc_filename: str,
    crawl: str,
    keep_payload: bool = True,
    max_payload_bytes: int = 32 << 20,
    batch_bytes: int = 8 << 20,
    size: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows of ``captures`` for all records of one archive, in the order of the file.

    Holds about `batch_bytes` and one record in memory. `size` is how long the file is known to
    be: a stream that ends before that is a truncated file. Nothing in the bytes and nothing that
    the stream raises is an exception here: it is a row with ``ingest_error``.
    """
    rows = (
        _row(record, warc_filename, crawl, keep_payload, max_payload_bytes)
        for record in records(stream, max_content_bytes=max_payload_bytes + http.MAX_HEAD_BYTES, size=size)
    )
    return _batches(rows, batch_bytes)


def select_batches(
    read_range: Callable[[int, int], bytes],
    ranges: Iterable[tuple[int, int]],
    *,
    warc_filename: str,
    crawl: str,
    keep_payload: bool = True,
    max_payload_bytes: int = 32 << 20,
    batch_bytes: int = 8 << 20,
) -> Iterator[pa.RecordBatch]:
    """The rows that `record_batches` would give for the records at `ranges`, pairs of offset and length.

    ``read_range(offset, length)`` returns the bytes there. Where it raises, or returns fewer, the
    row says so.
    """
    rows = (
        _row(record, warc_filename, crawl, keep_payload, max_payload_bytes)
        for record in _selected(read_range, ranges, max_content_bytes=max_payload_bytes + http.MAX_HEAD_BYTES)
    )
    return _batches(rows, batch_bytes)


def _selected(
    read_range: Callable[[int, int], bytes], ranges: Iterable[tuple[int, int]], *, max_content_bytes: int
) -> Iterator[Record]:
    dictionary: bytes | None = None
    for offset, length in ranges:
        try:
            stored = read_range(offset, length)
            if stored.startswith(ZSTD_MAGIC) and dictionary is None:
                dictionary = _read_dictionary(read_range)
        except Exception as error:  # one range that cannot be read must not lose the others
            yield Record(offset, length, error=f"unreadable: {type(error).__name__}: {error}")
            continue
        for record in records(
            BytesIO(stored), max_content_bytes=max_content_bytes, size=length, dictionary=dictionary or None
        ):
            record.offset += offset
            yield record


def _read_dictionary(read_range: Callable[[int, int], bytes]) -> bytes:
    """The dictionary at the start of a Zstandard file; empty if there is none."""
    start = read_range(0, 8)
    if not start.startswith(DICTIONARY_MAGIC):
        return b""
    return zstd_dictionary(read_range(0, 8 + int.from_bytes(start[4:], "little"))) or b""


def records(
    stream: BinaryIO, *, max_content_bytes: int, size: int | None = None, dictionary: bytes | None = None
) -> Iterator[Record]:
    """Every record of an archive, and every place that cannot be read, in the order of the file.

    Of a record that is longer than `max_content_bytes` only the beginning is kept. A part of a
    Zstandard file may need the `dictionary` at its start.
    """
    archive = Archive(stream, RECORD_START, _NEXT_RECORD, dictionary)
    failed: Record | None = None  # waits for the next record, which tells where the damage ends
    found_any, last_offset, last_error = False, -1, ""
    while archive.begin_record():
        record = Record(max(archive.offset, last_offset + 1))
        record.exact = archive.exact and archive.offset > last_offset
        last_offset = record.offset
        if failed:
            found_any = True
            yield _ended(failed, record.offset if record.exact else None)
            failed = None
        try:
            _read_header(archive, record)
            _read_content(archive, record, max_content_bytes)
            yield _ended(record, archive.end_record())
            found_any, last_error = True, record.error or ""
        except Damage as damage:
            failed = _failed(record, damage)
            try:
                if damage.kind != "corrupt" or not archive.recover():
                    break
            except Damage as second:
                failed.error = f"{failed.error}; {second}"
                break
    if failed:
        if not found_any and failed.not_a_record:
            failed.error = f"not an archive: {str(failed.error).partition(': ')[2]}"
        yield _ended(failed, archive.size)
        last_error = failed.error or ""
    elif not found_any and not (size and archive.size < size):
        what = f"{archive.size} bytes hold no record" if archive.size else "the file has no bytes"
        yield Record(0, archive.size, error=f"empty: {what}")
    if size is not None and archive.size < size and not last_error.startswith(("truncated", "unreadable")):
        what = f"the stream ends at byte {archive.size}, the file has {size}"
        yield Record(max(archive.size, last_offset + 1), error=f"truncated: {what}")


class NotARecord(Damage):
    """What is here does not begin like a record."""


class BadHeader(Damage):
    """The record has a header, but one that does not tell where it ends."""


def _ended(record: Record, end: int | None) -> Record:
    if record.exact and end is not None:
        record.length = end - record.offset
    return record


def _failed(record: Record, damage: Damage) -> Record:
    """The row of a record that could not be read to its end.

    A header is believed if the file is merely cut off. In corrupt bytes it is not: what a
    checksum covers is all wrong or all right.
    """
    record.error = f"{damage}, in a {record.type} record" if record.fields else str(damage)
    record.type = "unreadable"
    record.content = memoryview(b"")
    record.not_a_record = isinstance(damage, NotARecord)
    if damage.kind != "truncated" and not isinstance(damage, BadHeader):
        record.fields, record.error = {}, str(damage)
    return record


def _read_header(archive: Archive, record: Record) -> None:
    line = archive.until(_LINE_END, MAX_ARC_LINE_BYTES)
    if line is None:
        start = archive.head(32)
        if archive.at_end_of_file and start[:5] == _WARC[: len(start)]:
            raise Damage("truncated", "the file ends inside the first line of a record")
        raise NotARecord("corrupt", f"no record begins with {start!r}")
    if not line.startswith(_WARC):
        _read_arc_line(line, record)
        return
    has_fields = not _LINE_END.match(archive.head(2))
    header = archive.until(_HEADER_END, MAX_HEADER_BYTES) if has_fields else b""
    if header is None:
        if archive.at_end_of_file:
            raise Damage("truncated", "the file ends inside the header of a record")
        raise Damage("corrupt", f"the header of a record does not end within {MAX_HEADER_BYTES} bytes")
    record.fields = http.header_fields(header)
    record.type = record.fields.get("warc-type", "unknown").lower()
    length = record.fields.get("content-length", "")
    if not _DIGITS.fullmatch(length):
        raise BadHeader("corrupt", f"Content-Length is {length[:32]!r}" if length else "no Content-Length")
    record.content_length = int(length)


def _read_arc_line(line: bytes, record: Record) -> None:
    match = _ARC_FIELDS.match(line)
    if not match:
        raise NotARecord("corrupt", f"no record begins with {line[:32]!r}")
    url, _address, date, middle, length = (http.decode_text(group or b"") for group in match.groups())
    record.fields = {"warc-target-uri": url, "warc-date": date, "content-type": (middle.split() or [""])[0]}
    record.type = "response"
    if url.startswith("filedesc:"):
        record.type = "warcinfo"
        del record.fields["warc-target-uri"]
    record.content_length = int(length)


def _read_content(archive: Archive, record: Record, max_bytes: int) -> None:
    wanted = record.content_length
    is_capture = record.type in PAYLOAD_TYPES
    kept = wanted if is_capture and wanted <= max_bytes else min(wanted, HEAD_BYTES)
    record.content = archive.take(kept)
    read = len(record.content)
    if read == kept < wanted:
        read += _skip(archive, record, wanted - read)
    following = archive.following()
    line = following.lstrip(BLANK)
    if read == wanted and (not line or RECORD_START.match(line) or CUT_LINE.match(line)):
        return
    # Broken bytes may look like a record of another length: the checksum of the member tells.
    archive.verify()
    # A capture that the end of the file cuts off may itself be an archive, so what it holds says nothing.
    if (read == wanted or not is_capture) and _give_back_next_record(archive, record, following):
        return
    if read < wanted:
        if archive.at_end_of_file:
            record.error = f"truncated: the file ends after {read} of {wanted} bytes of a {record.type} record"
        else:
            record.error = f"corrupt: Content-Length of a {record.type} record is {wanted}, and it has {read} bytes"
        record.type = "unreadable"


def _skip(archive: Archive, record: Record, size: int) -> int:
    """Read and forget the next `size` bytes of a record, but know the digest of its body. How many there were."""
    body = hashlib.sha1(record.content[_body_at(record) :], usedforsecurity=False)
    left = size
    while left and (part := archive.take(min(left, HEAD_BYTES))):
        left -= len(part)
        body.update(part)
    record.body_digest = base64.b32encode(body.digest()).decode()
    return size - left


def _give_back_next_record(archive: Archive, record: Record, following: bytes) -> bool:
    """Whether the content runs into the next record, as a wrong Content-Length makes it; that is then read again."""
    match = _NEXT_RECORD.search(bytes(record.content) + following)
    if not match or match.end() > len(record.content):
        return False
    archive.unread(record.content[match.end() :])
    record.error = (
        f"corrupt: Content-Length of a {record.type} record is {record.content_length}, "
        f"and another record begins after {match.end()} bytes"
    )
    record.type, record.content = "unreadable", memoryview(b"")
    return True


def _body_at(record: Record) -> int:
    return http.head(record.content).body_at if _is_http(record) else 0


def _is_http(record: Record) -> bool:
    """Whether the content is an HTTP response. A resource may be a file that begins like one."""
    if record.content[: len(_HTTP)] != _HTTP:
        return False
    content_type = record.fields.get("content-type", "").lower()
    return record.type in ("response", "revisit") or content_type.startswith("application/http")


def _row(record: Record, warc_filename: str, crawl: str, keep_payload: bool, max_bytes: int) -> dict[str, Any]:
    fields = record.fields
    url = fields.get("warc-target-uri", "").strip().removeprefix("<").removesuffix(">").strip() or None
    host, registered_domain = _host(url)
    row: dict[str, Any] = dict.fromkeys(CAPTURES_SCHEMA.names)
    row.update(
        crawl=crawl,
        url=url,
        url_host_name=host,
        url_host_registered_domain=registered_domain,
        fetch_time=_microseconds(fields.get("warc-date", "")),
        content_digest=_digest(fields.get("warc-payload-digest")),
        content_truncated=fields.get("warc-truncated"),
        warc_filename=warc_filename,
        warc_record_offset=record.offset,
        warc_record_length=record.length,
        warc_record_type=record.type,
        ingest_error=record.error,
    )
    if record.type == "revisit":
        row["warc_refers_to"] = _refers_to(fields)
    if record.type in PAYLOAD_TYPES or record.type == "revisit":
        _add_message(row, record, keep_payload, max_bytes)
    row["doc_id"] = doc_id(warc_filename, record.offset, row["content_digest"])
    return row


def _add_message(row: dict[str, Any], record: Record, keep_payload: bool, max_bytes: int) -> None:
    """Fill in what the server sent: status, redirect, types, and the body of a capture."""
    head = http.head(record.content) if _is_http(record) else None
    content_type = record.fields.get("content-type", "")
    if head:
        row.update(
            fetch_status=head.status,
            fetch_redirect=head.fields.get("location"),
            http_rights=http.rights_lines(head.fields),
        )
        content_type = head.fields.get("content-type", "")
    else:
        row["http_rights"] = http.rights_lines(record.fields)
        content_type = "" if content_type.lower().startswith("application/http") else content_type
    row["content_mime_type"], row["content_charset_declared"] = mime.declared(content_type)
    if record.type == "revisit" or row["ingest_error"]:
        return
    body = record.content[head.body_at if head else 0 :]
    body_bytes = record.content_length - len(record.content) + len(body)
    row["content_digest"] = row["content_digest"] or record.body_digest or _body_digest(record, body, head is not None)
    try:
        _add_payload(row, record, body, body_bytes, head, keep_payload, max_bytes)
    except http.UndecodableError as error:
        row["ingest_error"] = f"payload: {error}"


def _add_payload(
    row: dict[str, Any],
    record: Record,
    body: memoryview,
    body_bytes: int,
    head: http.Head | None,
    keep_payload: bool,
    max_bytes: int,
) -> None:
    declared_type = row["content_mime_type"]
    decoded: bytes | memoryview = body
    encoded = head is not None and http.is_encoded(head.fields)
    if "warc-segment-number" in record.fields:
        raise http.UndecodableError("the record is the first segment of several, which are not joined")
    if head and encoded and body_bytes <= max_bytes:
        try:
            is_cut = "warc-truncated" in record.fields
            decoded = http.decode_body(body, head.fields, max_bytes=max_bytes, is_cut=is_cut)
            body_bytes = len(decoded)
        except http.OversizeError:
            row["ingest_error"] = f"payload of {body_bytes} bytes decodes to more than max_payload_bytes {max_bytes}"
            return
    if body_bytes > max_bytes:
        row["ingest_error"] = f"payload of {body_bytes} bytes is above max_payload_bytes {max_bytes}"
        return
    start = bytes(decoded[: mime.SNIFF_BYTES])
    # Who writes a record without an HTTP head knows what is in it: a file of HTML as plain text is code, and no page.
    is_said = head is None and record.type in ("resource", "conversion") and declared_type == "text/plain"
    row["content_mime_detected"] = (
        declared_type if is_said and mime.is_text(start) else mime.sniff(start, declared_type)
    )
    row["payload_length"] = len(decoded)
    if keep_payload:
        row["payload"] = _codec.compress(decoded, asbytes=True)


def _body_digest(record: Record, body: memoryview, is_http: bool) -> str:
    block_digest = _digest(record.fields.get("warc-block-digest"))
    if block_digest and not is_http and ":" not in block_digest:
        return block_digest  # without an HTTP head the block is the payload
    return base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()


def _digest(labelled: str | None) -> str | None:
    """A labelled digest (``sha1:...``) as the Common Crawl index has it; other algorithms keep their label."""
    if not labelled:
        return None
    label, colon, value = labelled.partition(":")
    if not colon:
        return labelled
    if label.lower() not in ("sha1", "sha-1"):
        return labelled
    # Some tools write base 16, or small letters; equal payloads must have equal digests.
    if re.fullmatch(r"[0-9A-Fa-f]{40}", value):
        return base64.b32encode(bytes.fromhex(value)).decode()
    return value.upper()


def _refers_to(fields: dict[str, str]) -> str | None:
    target = fields.get("warc-refers-to-target-uri") or fields.get("warc-refers-to") or ""
    return target.strip().removeprefix("<").removesuffix(">") or None


def _host(url: str | None) -> tuple[str | None, str | None]:
    match = _HOST.match(url) if url else None
    host = match.group(1).lower() if match else ""
    return (host, _registered_domain(host)) if host else (None, None)


@lru_cache(maxsize=1)
def _suffixes() -> tldextract.TLDExtract:
    # Without addresses and cache it reads the list that comes with the package, and nothing else.
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@lru_cache(maxsize=1 << 16)
def _registered_domain(host: str) -> str | None:
    parts = _suffixes().extract_str(host)
    return f"{parts.domain}.{parts.suffix}" if parts.domain and parts.suffix else None


@lru_cache(maxsize=1 << 12)
def _microseconds(date: str) -> int | None:
    """Microseconds since 1970 of a WARC or ARC date, whatever its precision; None if it is not a date."""
    match = _DATE.fullmatch(date.strip())
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59)
        )
    except ValueError:
        return None
    seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds += offset if zone[0] == "-" else -offset
    return seconds * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])


def _batches(rows: Iterable[dict[str, Any]], batch_bytes: int) -> Iterator[pa.RecordBatch]:
    batch: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += len(row["payload"] or b"") + len(row["url"] or "") + 512
        if held >= batch_bytes or len(batch) == MAX_BATCH_ROWS:
            yield _batch(batch)
            batch, held = [], 0
    if batch:
        yield _batch(batch)


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = [pa.array([row[column.name] for row in rows], column.type) for column in CAPTURES_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=CAPTURES_SCHEMA)
