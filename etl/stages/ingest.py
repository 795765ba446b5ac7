"""From archives to `captures`, one row per record, and back to `warc_files`, one row per archive."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import files, tables
from etl.config import STRICT
from etl.kernels import warc
from etl.stage import NoParams, Stage

FORGOTTEN = "forgotten"  # how `etl.forget` begins the ingest_error of a page that was taken back out of the lake
# What `captures` keeps of a forgotten page.
KEPT = {
    "doc_id", "crawl", "fetch_time", "fetch_status", "content_mime_type", "content_mime_detected",
    "content_charset_declared", "content_truncated", "warc_filename", "warc_record_offset", "warc_record_length",
    "warc_record_type",
}  # fmt: skip


@dataclass(frozen=True)
class IngestParams:
    """What to keep of each record.

    `keep_payload` false keeps pointers only: extraction then reads each page from its archive by offset and length.
    A payload of more than `max_payload_bytes` is not kept: its row says so.
    """

    __pydantic_config__ = STRICT

    keep_payload: bool = True
    max_payload_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        if self.max_payload_bytes < 1:
            raise ValueError(f"max_payload_bytes is {self.max_payload_bytes}, wanted at least 1")


def captures(warc_files: DataFrame, captures: DataFrame, params: IngestParams) -> DataFrame:
    """One row per record of each archive, and one for each place where reading failed.

    An archive is streamed by one task. It never fails the job: what cannot be read is a row with `ingest_error`.
    Of pages that were forgotten, as the rows of `captures` that there are say, no more comes back than was kept.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for archive in batch.to_pylist():
                yield from _record_batches(archive, params)

    archives = warc_files.select("warc_filename", "crawl", "location", "bytes", "selection")
    # One archive to a task: an archive is minutes of work, a row of this table is nothing.
    spread = archives.repartition(F.col("warc_filename"))
    found = spread.mapInArrow(read, tables.CAPTURES.columns_ddl)
    # Key: a doc_id names a record by its place and content.
    forgotten = captures.where(F.col("ingest_error").startswith(FORGOTTEN)).select("doc_id", "ingest_error")
    forgotten = forgotten.withColumnRenamed("ingest_error", "forgotten")
    known = found.join(F.broadcast(forgotten), "doc_id", how="left")
    stays = [
        F.col(name) if name in KEPT else F.when(F.col("forgotten").isNull(), F.col(name)).alias(name)
        for name in tables.CAPTURES.columns
        if name != "ingest_error"
    ]
    return known.select(*stays, F.coalesce("forgotten", "ingest_error").alias("ingest_error"))


def _record_batches(archive: dict[str, Any], params: IngestParams) -> Iterator[pa.RecordBatch]:
    location = archive["location"]
    options: dict[str, Any] = {
        "warc_filename": archive["warc_filename"],
        "crawl": archive["crawl"],
        "keep_payload": params.keep_payload,
        "max_payload_bytes": params.max_payload_bytes,
    }
    if archive["selection"] is not None:
        ranges = json.loads(archive["selection"])
        yield from warc.select_batches(lambda start, size: files.read_range(location, start, size), ranges, **options)
        return
    try:
        stream = files.open_stream(location)
    except OSError as error:
        stream = io.BufferedReader(_Unopened(error))
    with stream:
        yield from warc.record_batches(stream, size=archive["bytes"], **options)


class _Unopened(io.RawIOBase):
    """Stands for an archive that cannot be opened: reading it fails as opening it did."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise self._error


def warc_files(known: DataFrame, captures: DataFrame, _params: NoParams) -> DataFrame:
    """The rows of `known` with what reading them found: records, captures, status and the first error.

    Key: `captures` is grouped by warc_filename, and every archive has at least one record or failure.
    """
    is_failure = F.col("warc_record_type") == "unreadable"
    is_truncated = is_failure & F.col("ingest_error").startswith("truncated")
    found = captures.groupBy("warc_filename").agg(
        F.count(F.lit(1)).alias("records"),
        F.count(F.when(F.col("payload_length").isNotNull(), True)).alias("captures"),
        F.coalesce(F.max(is_truncated), F.lit(False)).alias("truncated"),
        F.min(
            F.when(
                F.col("ingest_error").isNotNull() & is_failure,
                F.struct(
                    "warc_record_offset",
                    F.concat_ws(" ", F.lit("byte"), F.col("warc_record_offset"), F.col("ingest_error")).alias("error"),
                ),
            )
        ).alias("first"),
    )
    has_content = F.col("records") > F.when(F.col("first").isNull(), 0).otherwise(1)
    status = F.when(F.col("truncated") & has_content, "truncated").when(~has_content, "failed").otherwise("complete")
    given = known.select("warc_filename", "crawl", "location", "selection", "bytes")
    return given.join(found, "warc_filename", how="inner").select(
        "warc_filename",
        "crawl",
        "location",
        "selection",
        status.alias("status"),
        "bytes",
        "records",
        "captures",
        "truncated",
        F.col("first.error").alias("error"),
    )


CAPTURES = Stage(
    captures, inputs=(tables.WARC_FILES, tables.CAPTURES), output=tables.CAPTURES, params=IngestParams, version=3
)
WARC_FILES = Stage(warc_files, inputs=(tables.WARC_FILES, tables.CAPTURES), output=tables.WARC_FILES)
