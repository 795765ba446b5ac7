"""Which archives the lake knows, and which it has yet to read."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from pyspark.sql import Row, SparkSession

import etl
from etl import tables
from etl.errors import InputError
from etl.files import COMMON_CRAWL, WarcFile
from etl.runner import Runner

logger = logging.getLogger(__name__)

Record = tuple[str, int, int]  # warc_filename, warc_record_offset, warc_record_length
RECORD_COLUMNS = ("warc_filename", "warc_record_offset", "warc_record_length")
_ROWS_OF_ONE_COMMIT = 5000


def register(runner: Runner, found: Sequence[WarcFile]) -> None:
    """Make every archive of `found` known, as pending where it is new, changed, or could not be opened last time.

    Raises:
        InputError: an archive has the name of another one that was read from another place.
    """
    known = _known(runner)
    clashes = [
        f"{file.location} and {known[file.warc_filename]['location']} are both called {file.warc_filename}"
        for file in found
        if file.warc_filename in known and _is_other(file, known[file.warc_filename])
    ]
    if clashes:
        raise InputError("; ".join(clashes) + ": give one of them another --crawl")
    pending = [
        _pending(file.warc_filename, file.crawl, file.location, file.bytes, None)
        for file in found
        if file.warc_filename not in known or _is_stale(file, known[file.warc_filename])
    ]
    _write(runner, pending)


def select(runner: Runner, records: Iterable[Record], base: str = COMMON_CRAWL) -> None:
    """Make chosen records known, to be read by range from archives below `base`, beside those chosen before.

    Archives that were read whole already hold them.
    """
    known = _known(runner)
    ranges: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for name, offset, length in records:
        ranges[name].add((offset, length))
    pending = []
    for name, wanted in sorted(ranges.items()):
        row = known.get(name)
        if row is not None and row["selection"] is None:
            continue
        before = {(offset, length) for offset, length in json.loads(row["selection"])} if row else set()
        if wanted <= before:
            continue
        parts = name.split("/")
        crawl = parts[1] if parts[0] == "crawl-data" and len(parts) > 2 else "local"
        selection = json.dumps(sorted(before | wanted))
        pending.append(_pending(name, crawl, f"{base.rstrip('/')}/{name}", None, selection))
    _write(runner, pending)


def read_records(path: Path) -> list[Record]:
    """Records named by a CSV, JSON-lines or Parquet file with the columns of RECORD_COLUMNS.

    Raises:
        InputError: the file is missing, of another kind, or lacks a column.
    """
    readers = {".csv": pa.csv.read_csv, ".jsonl": pa.json.read_json, ".parquet": pa.parquet.read_table}
    if path.suffix not in readers:
        raise InputError(f"{path}: wanted a file ending in {', '.join(readers)}")
    try:
        table = readers[path.suffix](path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    missing = [column for column in RECORD_COLUMNS if column not in table.column_names]
    if missing:
        raise InputError(f"{path}: columns {missing} are missing, found {table.column_names}")
    return [tuple(row.values()) for row in table.select(RECORD_COLUMNS).to_pylist()]


def query_records(spark: SparkSession, index: str, where: str) -> list[Record]:
    """Records of the Common Crawl columnar index, a Parquet folder, for which the SQL condition `where` holds."""
    rows = spark.read.parquet(index).where(where).select(*RECORD_COLUMNS)
    return [tuple(row) for row in rows.collect()]


def _known(runner: Runner) -> dict[str, Row]:
    return {row["warc_filename"]: row for row in runner.lake.read(tables.WARC_FILES).collect()}


def _is_other(file: WarcFile, row: Row) -> bool:
    moved, resized = file.location != row["location"], file.bytes != row["bytes"]
    return moved and resized and row["selection"] is None


def _is_stale(file: WarcFile, row: Row) -> bool:
    could_not_open = row["status"] == "failed" and " unreadable: " in (row["error"] or "")
    return file.bytes != row["bytes"] or row["selection"] is not None or could_not_open


def _pending(name: str, crawl: str, location: str, size: int | None, selection: str | None) -> Row:
    return Row(
        warc_filename=name,
        crawl=crawl,
        location=location,
        selection=selection,
        status="pending",
        bytes=size,
        records=None,
        captures=None,
        truncated=False,
        error=None,
    )


def _write(runner: Runner, pending: Sequence[Row]) -> None:
    lake = runner.lake
    metadata = {"stage": "register", "package": f"goldenlake {etl.__version__}"}
    for start in range(0, len(pending), _ROWS_OF_ONE_COMMIT):
        rows = pending[start : start + _ROWS_OF_ONE_COMMIT]
        part = {"warc_filename": [row["warc_filename"] for row in rows]}
        # Marks first: if the run is killed in between, the archive is read once more and nothing is stale.
        if lake.version(tables.STAGE_FILES) > 0:
            lake.replace(tables.STAGE_FILES, lake.spark.createDataFrame([], tables.STAGE_FILES.schema), part, metadata)
        lake.replace(tables.WARC_FILES, lake.spark.createDataFrame(rows, tables.WARC_FILES.schema), part, metadata)
    logger.info("%d archives to read", len(pending))
