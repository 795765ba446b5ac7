"""The items of a benchmark: rows of a local file or of a training set, with the hash that says which ones."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import InputError
from etl.kernels.benchmarks import sha256 as sha256

Row = Mapping[str, Any]
FORMATS = (".jsonl", ".jsonl.gz", ".parquet")
MOST_PROBLEMS = 5  # of a file, told in one message


@dataclass(frozen=True)
class Data:
    """Rows in their order, the name of their file or training set, and its SHA-256 or content_hash."""

    name: str
    sha256: str
    rows: Sequence[Row]
    unit: str = "row"

    def head(self, limit: int | None) -> Data:
        """The first `limit` rows under the same hash; None for all."""
        return Data(self.name, self.sha256, self.rows[:limit], self.unit)

    def where(self, place: int) -> str:
        """How a message names the row at `place`, counted from 1 as editors do."""
        return f"{self.name}, {self.unit} {place + 1}"


def read(path: str | Path) -> Data:
    """The rows of a JSON Lines file, which may be compressed by gzip, or of a Parquet file.

    Raises:
        InputError: the file is missing, of another kind, empty, or has lines that are no JSON objects.
    """
    path = Path(path)
    if not path.name.endswith(FORMATS):
        raise InputError(f"{path}: wanted a file that ends in {', '.join(FORMATS)}")
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".parquet":
            rows: list[Row] = pq.read_table(path).to_pylist()
            found = Data(path.name, sha256, rows)
        else:
            with _open(path) as lines:
                found = Data(path.name, sha256, _json_lines(path, lines), "line")
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not found.rows:
        raise InputError(f"{path}: has no rows")
    return found


def _open(path: Path) -> IO[str]:
    # Lines end at \n alone: U+2028 and its like may stand in a JSON string.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")


def _json_lines(path: Path, lines: IO[str]) -> list[Row]:
    rows: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            problems.append(f"line {number} is not JSON ({error})")
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            problems.append(f"line {number} is a JSON {type(row).__name__}, wanted an object")
    if problems:
        more = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise InputError(f"{path}: {'; '.join(problems[:MOST_PROBLEMS])}{more}")
    return rows
