"""From `captures` to `documents`: the main text of every page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import files, tables
from etl.config import STRICT
from etl.kernels import html, warc
from etl.stage import Stage

PAGE_RECORDS = ("response", "resource", "conversion")
PAGE_MIMES = ("text/html", "application/xhtml+xml", "text/plain")
PAGE_STATUS = 200


@dataclass(frozen=True)
class ExtractParams:
    """Which engine reads the pages, and how long one page may take.

    `engine` is trafilatura (best text) or resiliparse (fastest); figures are in ``tests/bench``.
    """

    __pydantic_config__ = STRICT

    engine: str = "trafilatura"
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.engine not in html.ENGINES:
            raise ValueError(f"engine is {self.engine!r}, wanted one of {sorted(html.ENGINES)}")
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds is {self.timeout_seconds}, wanted more than 0")


def not_a_page() -> list[tuple[str, str, Column, Column | None]]:
    """Why a capture is not read as a page: (rule, column it reads, condition, number measured), in order.

    The definition of a page, used where pages are extracted and where the rest is accounted for.
    """
    kind, status, mime = (F.col(c) for c in ("warc_record_type", "fetch_status", "content_mime_detected"))
    return [
        ("unreadable", "ingest_error", F.col("ingest_error").isNotNull(), None),
        ("record_type", "warc_record_type", ~kind.isin(*PAGE_RECORDS), None),
        ("fetch_status", "fetch_status", F.coalesce(status, F.lit(PAGE_STATUS)) != PAGE_STATUS, status),
        ("empty_payload", "payload_length", F.coalesce(F.col("payload_length"), F.lit(0)) == 0, F.lit(0)),
        ("mime_type", "content_mime_detected", ~F.coalesce(mime.isin(*PAGE_MIMES), F.lit(False)), None),
    ]


def is_page() -> Column:
    """Condition on `captures`: the record holds a page that was fetched well."""
    page = F.lit(True)
    for _rule, _column, condition, _value in not_a_page():
        page = page & ~condition
    return page


def documents(captures: DataFrame, warc_files: DataFrame, params: ExtractParams) -> DataFrame:
    """One row per page: title and main text, or why there is none.

    Key: one archive has one location, so the join adds no row. A page has `params.timeout_seconds`. When a page has
    killed its worker, Spark repeats the task, and then each page is read in a process of its own.
    """
    extractor = html.engine_version(params.engine)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        isolated = context is not None and context.attemptNumber() > 0
        for batch in batches:
            pages = [_page(row, params, isolated=isolated) for row in batch.select(_NEEDED).to_pylist()]
            yield pa.RecordBatch.from_arrays(
                [
                    *(batch.column(name) for name in _PASSED),
                    *(pa.array(c, pa.string()) for c in zip(*pages, strict=True)),
                ],
                names=[*_PASSED, *html.Page._fields],
            )

    pages = captures.where(is_page()).join(warc_files.select("warc_filename", "location"), "warc_filename", how="left")
    # By hash of the id, so that a host with slow pages is spread over all tasks.
    partitions = int(captures.sparkSession.conf.get("spark.sql.shuffle.partitions") or 200)
    spread = pages.select(*_PASSED, *(c for c in _NEEDED if c not in _PASSED)).repartition(partitions, "doc_id")
    read_pages = spread.mapInArrow(read, f"{_PASSED_DDL}, title string, text string, charset string, error string")
    return read_pages.select(
        *_PASSED,
        "title",
        "text",
        F.sha2(F.col("text").cast("binary"), 256).alias("text_hash"),
        F.length("text").cast("bigint").alias("text_length"),
        F.col("charset").alias("content_charset"),
        F.lit(extractor).alias("extractor"),
        F.col("error").alias("extract_error"),
    )


_PASSED = ["doc_id", "crawl", "url", "url_host_name", "fetch_time", "warc_filename"]
_PASSED_DDL = (
    "doc_id string, crawl string, url string, url_host_name string, fetch_time timestamp, warc_filename string"
)
_NEEDED = [
    "crawl",
    "url",
    "warc_filename",
    "warc_record_offset",
    "warc_record_length",
    "content_mime_detected",
    "content_charset_declared",
    "payload",
    "payload_length",
    "location",
]


def _page(row: dict[str, Any], params: ExtractParams, *, isolated: bool) -> html.Page:
    if row["payload"] is None:
        try:
            payload = _fetch(row)
        except OSError as error:
            return html.Page(None, None, None, f"unreadable: {error}")
    else:
        payload = warc.payload(row["payload"], row["payload_length"])
    return html.extract_bounded(
        payload,
        url=row["url"],
        mime=row["content_mime_detected"],
        declared_charset=row["content_charset_declared"],
        engine=params.engine,
        timeout_seconds=params.timeout_seconds,
        isolated=isolated,
    )


def _fetch(row: dict[str, Any]) -> bytes:
    """Payload of a record that was ingested as a pointer."""
    ranges = [(row["warc_record_offset"], row["warc_record_length"])]
    batches = warc.select_batches(
        lambda start, size: files.read_range(row["location"], start, size),
        ranges,
        warc_filename=row["warc_filename"],
        crawl=row["crawl"],
    )
    record = pa.Table.from_batches(list(batches)).to_pylist()[0]
    if record["payload"] is None:
        raise OSError(record["ingest_error"] or "the record has no payload any more")
    return warc.payload(record["payload"], record["payload_length"])


DOCUMENTS = Stage(documents, inputs=(tables.CAPTURES, tables.WARC_FILES), output=tables.DOCUMENTS, params=ExtractParams)
