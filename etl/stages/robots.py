"""What the robots.txt of its host says of each page, by those that the lake has: Common Crawl's ``robotstxt`` archives.

Nothing is fetched, and no row is dropped here: a recipe that asks for it reads `document_robots` (see
``conf/recipes/consent.yaml``). Statements of the page itself are columns of `documents`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.kernels import rights, robots_txt, warc
from etl.kernels.robots_txt import AI_CRAWLERS, Robots
from etl.stage import NoParams, Stage
from etl.stages.extract import PAGE_RECORDS, with_payload

_ADDRESS = r"^https?://[^/?#]+/robots\.txt$"
_RECORD = ["doc_id", "warc_filename", "url_host_name", "fetch_time", "fetch_status"]
_CONTENT = ["crawl", "warc_record_offset", "warc_record_length", "payload", "payload_length"]
_NOT_ASKED = Robots({}, (), ())


def host_robots(captures: DataFrame, warc_files: DataFrame, _params: NoParams) -> DataFrame:
    """One row per capture of a robots.txt, with what it asks of crawlers; one that cannot be read has no text.

    Key: one archive has one location, so the join adds no row.
    """
    is_record = F.col("warc_record_type").isin(*PAGE_RECORDS) & F.col("ingest_error").isNull()
    asked = captures.where(F.col("url").rlike(_ADDRESS) & F.col("url_host_name").isNotNull() & is_record)
    # Most archives have none. Their payloads, which are most of the table, are not read to find that out.
    names = [row["warc_filename"] for row in asked.select("warc_filename").distinct().collect()]
    files = asked.where(F.col("warc_filename").isin(names)).select(*_RECORD, *_CONTENT)
    located = files.join(warc_files.select("warc_filename", "location"), "warc_filename", how="inner")
    return located.mapInArrow(_parsed, tables.HOST_ROBOTS.columns_ddl)


def _parsed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        texts = [_text(row) for row in batch.to_pylist()]
        files = [robots_txt.rules(text or "") for text in texts]
        said = [(file.shut_out(), file.preferences, file.sitemaps) for file in files]
        lists = [pa.array(values, pa.list_(pa.string())) for values in zip(*said, strict=True)]
        columns = [*map(batch.column, _RECORD), pa.array(texts, pa.string()), *lists]
        yield pa.RecordBatch.from_arrays(columns, names=tables.HOST_ROBOTS.columns)


def _text(row: dict[str, Any]) -> str | None:
    """The file, where there is one; RFC 9309 wants it in UTF-8."""
    if not 200 <= (row["fetch_status"] or 200) < 300 or not row["payload_length"]:
        return None
    try:
        row = with_payload(row)
        body = warc.payload(row["payload"], row["payload_length"])
    except OSError:
        return None
    return body.decode("utf-8", "replace")[: robots_txt.MAX_CHARACTERS]


def document_robots(documents: DataFrame, host_robots: DataFrame, _params: NoParams) -> DataFrame:
    """One row per page: the crawlers that may not fetch it, by the newest file of its host that says something.

    A file that was not there (status 400 to 499) says that all may (RFC 9309, 2.3.1.3); a redirect, an error of the
    server and a file that could not be read say nothing. Hosts are told apart by name, whatever the scheme and port.
    """
    is_told = F.col("text").isNotNull() | F.col("fetch_status").between(400, 499)
    newest = Window.partitionBy("url_host_name").orderBy(F.desc_nulls_last("fetch_time"), F.desc("doc_id"))
    told = host_robots.where(is_told).withColumn("place", F.row_number().over(newest)).where("place = 1")
    pages = documents.select("url_host_name", "doc_id", "warc_filename", "url")
    # Key: one row per host.
    told = told.join(pages.select("url_host_name").distinct(), "url_host_name", how="left_semi")
    files = told.select("url_host_name", F.col("doc_id").alias("robots_doc_id"), "text")
    # The file of a host comes before its pages, and is read once for them.
    together = files.unionByName(pages, allowMissingColumns=True).repartition("url_host_name")
    in_order = together.sortWithinPartitions("url_host_name", F.asc_nulls_first("doc_id"))
    return in_order.mapInArrow(_judged, tables.DOCUMENT_ROBOTS.columns_ddl)


def _judged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    host, known, file, no_ai = None, None, _NOT_ASKED, 0
    for batch in batches:
        found = []
        for row in batch.to_pylist():
            if row["url_host_name"] != host:
                host, known, file, no_ai = row["url_host_name"], None, _NOT_ASKED, 0
            if row["doc_id"] is None:
                known, file = row["robots_doc_id"], robots_txt.rules(row["text"] or "")
                no_ai = int(rights.is_against_training(file.preferences))
                continue
            refused = file.shut_out(_path(row["url"] or ""), AI_CRAWLERS)
            of_ai = len({*refused}.intersection(AI_CRAWLERS))
            ids = (row["doc_id"], row["warc_filename"])
            found.append((*ids, int(known is not None), refused, int("*" in refused), of_ai, no_ai, known))
        rows = [dict(zip(tables.DOCUMENT_ROBOTS.columns, values, strict=True)) for values in found]
        yield pa.RecordBatch.from_pylist(rows, schema=_JUDGED)


def _path(url: str) -> str:
    """Path and query of an address, of one that cannot be read those of the front page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


_TYPES = {"refused": pa.list_(pa.string()), **dict.fromkeys(("doc_id", "warc_filename", "robots_doc_id"), pa.string())}
_JUDGED = pa.schema([(name, _TYPES.get(name, pa.int64())) for name in tables.DOCUMENT_ROBOTS.columns])

HOST_ROBOTS = Stage(host_robots, inputs=(tables.CAPTURES, tables.WARC_FILES), output=tables.HOST_ROBOTS)
DOCUMENT_ROBOTS = Stage(document_robots, inputs=(tables.DOCUMENTS, tables.HOST_ROBOTS), output=tables.DOCUMENT_ROBOTS)
