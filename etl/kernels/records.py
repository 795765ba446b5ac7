"""Records of a data file, one by one: JSON lines, a JSON array or Parquet, the first two also gzipped.

Memory stays bounded by the largest record, whatever the size of the file: arrays too are read element by element. A
record that cannot be read is an `ImportProblem` in its place; where nothing can be read after it, it is the last.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
CHUNK_CHARACTERS = 1 << 20
PARQUET_ROWS = 256  # of one batch

_SPACE = re.compile(r"[ \t\r\n]*")
# What a scalar may go on with: a number at the end of a chunk may have more digits in the next.
_DELIMITERS = frozenset(",] \t\r\n")
_BYTES_BROKEN = (EOFError, OSError, zlib.error)  # gzip.BadGzipFile is an OSError


@dataclass(frozen=True)
class ImportProblem:
    """Why a record, or a part of it, gave nothing."""

    kind: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.kind}: found {self.found}, wanted {self.wanted}"


def read(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[tuple[int, object]]:
    """(place, record) from 0, at least one; a record of more than `max_bytes` is an `ImportProblem`.

    The end of `name` tells Parquet and lines from JSON; gzip and arrays are told by their first bytes. Blank lines
    are no records.
    """
    place = -1
    try:
        for place, record in enumerate(_records(stream, name, max_bytes)):
            yield place, record
    except UnicodeDecodeError as error:
        yield place + 1, ImportProblem("not_utf8", f"byte 0x{error.object[error.start]:02x}", "UTF-8")
    except _BYTES_BROKEN as error:
        yield (
            place + 1,
            ImportProblem("unreadable", " ".join(str(error).split()) or type(error).__name__, "a whole file"),
        )
    except pa.ArrowException as error:
        yield place + 1, ImportProblem("not_parquet", " ".join(str(error).split())[:200], "a Parquet file")
    else:
        if place < 0:
            yield 0, ImportProblem("empty_file", "no record", "one at least")


def _records(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[object]:
    if name.lower().endswith(".parquet"):
        yield from _parquet(stream, max_bytes)
        return
    # Each wrapper is taken off again: one that is left to the garbage collector closes a stream that is not its own.
    plain: Any = io.BufferedReader(cast(io.RawIOBase, stream))
    try:
        data: Any = plain
        if plain.peek(2)[:2] == b"\x1f\x8b":
            data = io.BufferedReader(gzip.GzipFile(fileobj=plain))
        head = data.peek(1 << 12)
        is_lines = name.lower().endswith((".jsonl", ".jsonl.gz"))
        if not is_lines and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
            yield from _array(data, max_bytes)
        else:
            yield from _lines(data, max_bytes)
    finally:
        _take_off(plain)


def _take_off(wrapper: Any) -> None:
    with contextlib.suppress(ValueError):  # the stream was closed by who opened it
        wrapper.detach()


def _parquet(stream: BinaryIO, max_bytes: int) -> Iterator[object]:
    source = stream if stream.seekable() else pa.BufferReader(stream.read())
    file = pa.parquet.ParquetFile(source)
    for batch in file.iter_batches(batch_size=PARQUET_ROWS):
        if batch.nbytes <= max_bytes:
            yield from batch.to_pylist()
            continue
        for row in range(batch.num_rows):
            one = batch.slice(row, 1)
            yield _too_long(one.nbytes, max_bytes) if one.nbytes > max_bytes else one.to_pylist()[0]


def _lines(data: Any, max_bytes: int) -> Iterator[object]:
    is_first = True
    while line := data.readline(max_bytes + 1):
        if is_first:
            line, is_first = line.removeprefix(b"\xef\xbb\xbf"), False
        if len(line) > max_bytes and not line.endswith(b"\n"):
            rest = 0
            while part := data.readline(CHUNK_CHARACTERS):
                rest += len(part)
                if part.endswith(b"\n"):
                    break
            yield _too_long(len(line) + rest, max_bytes)
        elif line.strip():
            yield _parsed(line)


def _too_long(size: int, max_bytes: int) -> ImportProblem:
    return ImportProblem("too_long", f"a record of {size} bytes", f"at most {max_bytes}")


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        return ImportProblem("not_utf8", f"byte 0x{line[error.start]:02x} at {error.start}", "UTF-8")
    except json.JSONDecodeError as error:
        return ImportProblem("not_json", f"{error.msg} at character {error.pos}", "one JSON object a line")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        return ImportProblem("not_json", f"{type(error).__name__}", "one JSON object a line")


def _array(data: Any, max_bytes: int) -> Iterator[object]:
    """The elements of an array. After one that is broken nobody knows where the next begins, so it is the last."""
    text = io.TextIOWrapper(data, encoding="utf-8-sig")
    try:
        yield from _elements(_Window(text), max_bytes)
    finally:
        _take_off(text)


def _elements(window: _Window, max_bytes: int) -> Iterator[object]:
    window.skip_space()
    window.take()  # the opening bracket
    decoder = json.JSONDecoder()
    while True:
        window.skip_space()
        if window.head == "]":
            return
        size = CHUNK_CHARACTERS
        while True:
            try:
                record, end = decoder.raw_decode(window.text, window.start)
                if window.is_complete or (end < len(window.text) and window.text[end] in _DELIMITERS):
                    break
            except (ValueError, RecursionError) as error:
                if window.is_complete or isinstance(error, RecursionError):
                    yield ImportProblem(
                        "not_json", f"{_said(error)} in an element of the array", "JSON to the end of the file"
                    )
                    return
            if len(window.text) - window.start > max_bytes:
                yield _too_long(len(window.text) - window.start, max_bytes)
                return
            window.grow(size)
            size *= 2  # so that a long element is not tried from its start at every chunk
        yield record
        window.start = end
        window.skip_space()
        if window.head not in (",", "]"):
            found = repr(window.head) if window.head else "the end of the file"
            yield ImportProblem("not_json", f"{found} after an element of the array", "a comma or the closing bracket")
            return
        if window.take() == "]":
            return


def _said(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__


@dataclass
class _Window:
    """The part of a text that is being read: from `start`, up to where it was read to."""

    stream: Any
    text: str = ""
    start: int = 0
    is_complete: bool = False

    def grow(self, size: int) -> None:
        more = self.stream.read(size)
        self.text, self.start = self.text[self.start :] + more, 0
        self.is_complete = not more

    @property
    def head(self) -> str:
        """The next character; at the end of the text, none."""
        return self.text[self.start : self.start + 1]

    def take(self) -> str:
        self.start += 1
        return self.text[self.start - 1 : self.start]

    def skip_space(self) -> None:
        while True:
            match = _SPACE.match(self.text, self.start)
            self.start = match.end() if match else self.start
            if self.head or self.is_complete:
                return
            self.grow(CHUNK_CHARACTERS)
