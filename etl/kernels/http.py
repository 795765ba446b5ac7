"""HTTP messages as archives hold them: heads that are not quite right, bodies in several encodings."""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from etl.kernels import mime

MAX_HEAD_BYTES = 1 << 20
STEP_BYTES = 64 << 10
MIN_STEP_BYTES = 1 << 10

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d+(?:\.\d+)?[ \t]+(\d{3})(?!\d)")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
# Fields that state what may be done with a page, and how much of them is kept.
RIGHTS_FIELDS = ("x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage", "link")
MAX_RIGHTS_CHARACTERS = 4096
# Each sending of these stands for itself: the crawler that one X-Robots-Tag names is not whom the next is for.
_SENT_APART = frozenset({"x-robots-tag", "content-usage", "link"})
# Content codings that IANA lists (and sdch) but nothing here undoes; any other name is a mistake of the server.
_UNSUPPORTED = frozenset({"aes128gcm", "compress", "dcb", "dcz", "exi", "pack200-gzip", "sdch", "x-compress"})


class UndecodableError(Exception):
    """The body cannot be decoded; the message says which encoding and why."""


class OversizeError(Exception):
    """The decoded body is longer than allowed."""


@dataclass(frozen=True)
class Head:
    """Status line and header fields of a response, as `header_fields` reads them."""

    status: int | None
    fields: Mapping[str, str]
    body_at: int  # where the body begins in the message


def decode_text(raw: bytes) -> str:
    """Header text: UTF-8 where it is that, else Latin-1, which fits any bytes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def header_fields(block: bytes) -> dict[str, str]:
    """The ``Name: value`` lines of a header; a line that begins with a space continues the one before.

    A line without a colon is left out. The first of two fields with one name wins, except that
    codings add up (RFC 9110, 5.3), and those that state rights are lines of one value.
    """
    fields: dict[str, str] = {}
    last = ""
    for line in decode_text(block).split("\n"):
        if line[:1] in " \t" and last:
            fields[last] = f"{fields[last]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        if not colon:
            continue
        last = name.strip().lower()
        if last in fields and last in ("content-encoding", "transfer-encoding"):
            fields[last] += "," + value.strip()
        elif last in fields and last in _SENT_APART:
            if len(fields[last]) < MAX_RIGHTS_CHARACTERS:  # a head of nothing else must not cost its square
                fields[last] += "\n" + value.strip()
        else:
            fields.setdefault(last, value.strip())
    return fields


def head(message: bytes | memoryview) -> Head:
    """The head of a response. A message that ends before its head does has no body."""
    start = bytes(message[:STEP_BYTES])
    end = _HEAD_END.search(start)
    if not end and len(message) > STEP_BYTES:
        start = bytes(message[:MAX_HEAD_BYTES])
        end = _HEAD_END.search(start)
    block = start[: end.start()] if end else start
    status = _STATUS.match(start)
    return Head(
        status=int(status.group(1)) if status else None,
        fields=header_fields(block),
        body_at=end.end() if end else len(start),
    )


def rights_lines(fields: Mapping[str, str]) -> str | None:
    """``name: value`` of the fields that state rights, one a line; None where none was sent.

    Of Link fields only those that speak of a license are kept.
    """
    lines = [
        f"{name}: {value}"
        for name in RIGHTS_FIELDS
        if name in fields
        for value in fields[name].split("\n")
        if value and (name != "link" or "license" in value.lower())
    ]
    return "\n".join(lines)[:MAX_RIGHTS_CHARACTERS] or None


def is_encoded(fields: Mapping[str, str]) -> bool:
    """Whether the head names an encoding at all, so that the body must be looked at."""
    return "transfer-encoding" in fields or "content-encoding" in fields


def decode_body(
    body: bytes | memoryview, fields: Mapping[str, str], *, max_bytes: int, is_cut: bool
) -> bytes | memoryview:
    """The body with its transfer and content encodings undone.

    Many archives hold bodies that were decoded before they were written, under the head as it was
    sent: a body that does not begin like its encoding is taken as it is. `is_cut` says that the
    crawler cut the body off, so what can be decoded is all there is.

    Raises:
        UndecodableError: it begins like its encoding, and then is not.
        OversizeError: it decodes to more than `max_bytes`.
    """
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _dechunk(bytes(body), is_cut)
    # Last applied, first undone. A transfer coding other than chunked does not occur beside it in practice.
    for coding in reversed([name.strip().lower() for name in fields.get("content-encoding", "").split(",")]):
        if coding in _UNSUPPORTED:
            raise UndecodableError(f"{coding}: this content encoding is not supported")
        if coding in _DECODERS and len(body):
            body = _DECODERS[coding](bytes(body), max_bytes, is_cut)
    return body


def _dechunk(body: bytes, is_cut: bool) -> bytes:
    """The chunks of a chunked body (RFC 9112, 7.1), joined. The last, empty chunk may be missing."""
    chunks: list[bytes] = []
    at = 0
    while at < len(body):
        size_line = _CHUNK_SIZE.match(body, at)
        if not size_line:
            if not chunks:
                return body
            if is_cut and len(body) - at < 32:
                break
            raise UndecodableError(f"chunked: no chunk size at byte {at} of the body but {body[at : at + 16]!r}")
        size, at = int(size_line.group(1), 16), size_line.end()
        if size == 0:
            break
        if at + size > len(body) and not is_cut:
            raise UndecodableError(f"chunked: a chunk of {size} bytes at byte {at}, the body ends at {len(body)}")
        if not chunks and body[at + size : at + size + 1] not in (b"\r", b"\n", b""):
            return body
        chunks.append(body[at : at + size])
        at += size
        at += 2 if body[at : at + 2] == b"\r\n" else body[at : at + 1] == b"\n"
    return b"".join(chunks)


def _gunzip(body: bytes, max_bytes: int, is_cut: bool) -> bytes:
    if body[:2] != b"\x1f\x8b":
        return body
    return _inflate(body, 31, "gzip", max_bytes, is_cut)


def _undeflate(body: bytes, max_bytes: int, is_cut: bool) -> bytes:
    """Deflate is meant to have a zlib header (RFC 9110, 8.4.1.2), and often has none."""
    has_zlib_header = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    if not has_zlib_header and mime.is_text(body):
        return body
    return _inflate(body, 15 if has_zlib_header else -15, "deflate", max_bytes, is_cut)


def _inflate(body: bytes, wbits: int, coding: str, max_bytes: int, is_cut: bool) -> bytes:
    parts: list[bytes] = []
    size = at = 0
    view = memoryview(body)
    while True:
        inflate = zlib.decompressobj(wbits)
        # What follows a member is copied each time one ends, so little is given at first: there may be very many.
        step = MIN_STEP_BYTES
        while at < len(view) and not inflate.eof:
            piece = view[at : at + step]
            try:
                parts.append(inflate.decompress(piece, max_bytes + 1 - size))
            except zlib.error as error:
                raise UndecodableError(f"{coding}: {error}") from error
            size += len(parts[-1])
            if size > max_bytes:
                raise OversizeError
            at += len(piece) - len(inflate.unused_data)
            step *= 2
        if not inflate.eof:
            if not is_cut:
                raise UndecodableError(f"{coding}: the body ends before the encoding does")
            break
        # Another gzip member goes on with the body; anything else after the end is ignored, as browsers do.
        if coding != "gzip" or body[at : at + 3] != b"\x1f\x8b\x08":
            break
    return b"".join(parts)


def _arrow_decoder(coding: str, codec: str, magic: bytes) -> Callable[[bytes, int, bool], bytes]:
    def decode(body: bytes, max_bytes: int, is_cut: bool) -> bytes:
        if not body.startswith(magic) or (not magic and mime.is_text(body)):
            return body
        parts: list[bytes] = []
        size = 0
        try:
            with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
                while part := stream.read(STEP_BYTES):
                    parts.append(part)
                    size += len(part)
                    if size > max_bytes:
                        raise OversizeError
        except (OSError, ValueError) as error:
            if not (is_cut and parts):
                raise UndecodableError(f"{coding}: {error}") from error
        return b"".join(parts)

    return decode


_DECODERS: Mapping[str, Callable[[bytes, int, bool], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "br": _arrow_decoder("br", "brotli", b""),
    "zstd": _arrow_decoder("zstd", "zstd", b"\x28\xb5\x2f\xfd"),
}
