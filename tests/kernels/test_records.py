"""Files of records are read one by one, and what cannot be read stands in its place."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import records

RECORDS = [{"a": 1, "b": "x\u2028y"}, {"a": 2, "b": "ü"}, {"a": 3, "b": ""}]
LINES = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in RECORDS)


def read(data: bytes, name: str, max_bytes: int = 1 << 20) -> list[Any]:
    found = list(records.read(io.BytesIO(data), name, max_bytes))
    assert [place for place, _ in found] == list(range(len(found)))
    return [str(record) if isinstance(record, records.ImportProblem) else record for _, record in found]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n").rstrip()),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("a.jsonl", gzip.compress(LINES[:30], mtime=0) + gzip.compress(LINES[30:], mtime=0)),
        ("a.json", LINES),
        ("a.json", json.dumps(RECORDS, indent=2).encode()),
        ("a.json", b"\xef\xbb\xbf \n" + json.dumps(RECORDS).encode()),
        ("a.json.gz", gzip.compress(json.dumps(RECORDS, ensure_ascii=False).encode(), mtime=0)),
        ("a.parquet", parquet(RECORDS)),
    ],
)
def test_every_kind_of_file_gives_the_same_records(name: str, data: bytes) -> None:
    assert read(data, name) == RECORDS


def test_a_broken_line_leaves_the_others() -> None:
    lines = [b'{"a": 1}', b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b'{"a": 2}']
    found = read(b"\n".join(lines), "a.jsonl")
    assert (found[0], found[5]) == ({"a": 1}, {"a": 2})
    assert found[1:5] == [
        "not_json: found Expecting value at character 7, wanted one JSON object a line",
        "not_utf8: found byte 0xff at 0, wanted UTF-8",
        "not_json: found RecursionError, wanted one JSON object a line",
        "not_json: found ValueError, wanted one JSON object a line",
    ]


def test_a_record_that_is_too_long_leaves_the_others() -> None:
    long = json.dumps({"a": "x" * 5000})
    wanted = f"too_long: found a record of {len(long) + 1} bytes, wanted at most 1000"
    assert read(f'{{"a": 1}}\n{long}\n{{"a": 2}}'.encode(), "a.jsonl", 1000) == [{"a": 1}, wanted, {"a": 2}]
    first, broken, last = read(parquet([{"a": "1"}, {"a": "x" * 5000}, {"a": "2"}]), "a.parquet", 1000)
    assert (first, last) == ({"a": "1"}, {"a": "2"})
    assert broken.startswith("too_long: found a record of 50")


def test_an_array_is_read_up_to_where_it_breaks() -> None:
    assert read(b'[{"a": 1}, {"a": 2} {"a": 3}]', "a.json") == [
        {"a": 1},
        {"a": 2},
        "not_json: found '{' after an element of the array, wanted a comma or the closing bracket",
    ]
    assert read(b'[{"a": 1}, {"a": ', "a.json") == [
        {"a": 1},
        "not_json: found Expecting value in an element of the array, wanted JSON to the end of the file",
    ]
    assert read(b'[{"a": 1}', "a.json")[1:] == [
        "not_json: found the end of the file after an element of the array, wanted a comma or the closing bracket"
    ]
    assert read(b"[" + b"[" * 100_000, "a.json") == [
        "not_json: found RecursionError in an element of the array, wanted JSON to the end of the file"
    ]


def test_a_long_element_ends_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK_CHARACTERS", 64)
    long = json.dumps([{"a": 1}, {"a": "x" * 5000}, {"a": 2}]).encode()
    first, broken = read(long, "a.json", 1000)
    assert first == {"a": 1}
    assert broken.startswith("too_long: found a record of 1")


@pytest.mark.parametrize(
    ("name", "data", "wanted"),
    [
        ("a.jsonl", b"", "empty_file: found no record, wanted one at least"),
        ("a.jsonl", b"\n \n", "empty_file: found no record, wanted one at least"),
        ("a.json", b" []", "empty_file: found no record, wanted one at least"),
        ("a.parquet", b"PAR1", "not_parquet: found Parquet file size is 4 bytes"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0)[:-3], "unreadable: found Compressed file ended before"),
        ("a.jsonl", b"\x1f\x8bthis is no gzip", "unreadable: found Unknown compression method, wanted a whole file"),
    ],
)
def test_a_broken_file_is_one_broken_record(name: str, data: bytes, wanted: str) -> None:
    (found,) = read(data, name)
    assert found.startswith(wanted)


def test_a_cut_file_gives_what_stands_before_the_cut() -> None:
    lines = b"".join(b'{"a": %d}\n' % n for n in range(100_000))
    *found, broken = read(gzip.compress(lines)[:-200], "a.jsonl.gz")
    assert found == [{"a": n} for n in range(len(found))]
    assert len(found) > 1000
    assert broken.startswith("unreadable: found Compressed file ended before")


def test_a_stream_that_cannot_seek_is_enough_for_parquet() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError("a pipe")

    found = records.read(Pipe(parquet(RECORDS)), "a.parquet", 1 << 20)
    assert [record for _, record in found] == RECORDS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(JSON, min_size=1), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_arrays_read_in_pieces_are_the_arrays(rows: list[Any], chunk: int, indent: int | None, ascii: bool) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "CHUNK_CHARACTERS", chunk)
        assert read(text, "a.json") == rows


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=60),
    st.sampled_from(["a.jsonl", "a.json", "a.parquet"]),
    st.sampled_from([b"", b"[", b"\x1f\x8b"]),
)
def test_any_bytes_give_records_or_say_why_not(data: bytes, name: str, start: bytes) -> None:
    assert read(start + data, name)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The reader asks for the next bytes when it needs them."""

    class Counting(io.RawIOBase):
        def __init__(self, inner: BinaryIO) -> None:
            self.inner, self.taken = inner, 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = self.inner.read(len(buffer))
            buffer[: len(data)] = data
            self.taken += len(data)
            return len(data)

    rows = [{"a": "x" * 1000}] * 20_000
    for name, data in (
        ("a.json", json.dumps(rows).encode()),
        ("a.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows)),
    ):
        stream = Counting(io.BytesIO(data))
        found = records.read(stream, name, 1 << 20)  # type: ignore[arg-type]
        assert next(found) == (0, rows[0])
        assert stream.taken < 3 << 20 < len(data)
