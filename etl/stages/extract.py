"""From `captures` to `documents`: the main text of every page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import files, tables
from etl.config import STRICT
from etl.kernels import html, language, pages, warc
from etl.kernels.sandbox import Begin, Failure, Sandbox
from etl.stage import Stage, partitions
from etl.stages.ingest import FORGOTTEN
from etl.stages.rules import Early, Rule, table_of

PAGE_RECORDS = ("response", "resource", "conversion")
PAGE_MIMES = ("text/html", "application/xhtml+xml", "text/plain")
PAGE_STATUS = 200


@dataclass(frozen=True)
class ExtractParams:
    """Which engine reads the pages, in which form, and what one page may cost.

    `engine` and `form` are a key of `etl.kernels.html.ENGINES` and one of its forms; figures are in ``tests/bench``.
    `cascade` are rules of a recipe that are tried before the main text is cut out: see `etl.stages.rules.Early`. A page
    that fails one is left out, which its row says. `language_model` is the one they ask for languages.
    `repair` undoes mojibake, and gives texts one form of Unicode.
    """

    __pydantic_config__ = STRICT

    engine: str = "goldenlake"
    form: str = "text"
    timeout_seconds: float = 10.0
    memory_mb: int = 1024
    cascade: tuple[Rule, ...] = ()
    language_model: str = language.MODEL
    repair: str = pages.NO_REPAIR

    def __post_init__(self) -> None:
        if self.engine not in html.ENGINES:
            raise ValueError(f"engine is {self.engine!r}, wanted one of {sorted(html.ENGINES)}")
        forms = html.ENGINES[self.engine].forms
        if self.form not in forms:
            raise ValueError(f"form is {self.form!r}, wanted one of {sorted(forms)}, which {self.engine} gives")
        if self.repair not in pages.REPAIRS:
            raise ValueError(f"repair is {self.repair!r}, wanted one of {', '.join(pages.REPAIRS)}")
        for name in ("timeout_seconds", "memory_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted more than 0")


def not_a_page() -> list[tuple[str, str, Column, Column | None]]:
    """Why a capture is not read as a page: (rule, column it reads, condition, number measured), in order.

    The definition of a page, used where pages are extracted and where the rest is accounted for.
    """
    kind, status, mime = (F.col(c) for c in ("warc_record_type", "fetch_status", "content_mime_detected"))
    return [
        (FORGOTTEN, "ingest_error", F.coalesce(F.col("ingest_error").startswith(FORGOTTEN), F.lit(False)), None),
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


def documents(captures: DataFrame, warc_files: DataFrame, url_signals: DataFrame, params: ExtractParams) -> DataFrame:
    """One row per page: title and main text, or why there is none.

    Key: one archive has one location and one capture one row of `url_signals`, so the joins add no row. Pages are read
    in a child process (`etl.kernels.sandbox`): one that hangs, crashes or bloats it costs `params.timeout_seconds` and
    itself. Of payloads with one digest that a task meets, the first alone is read.
    """
    extractor = html.ENGINES[params.engine].version()
    by_url = [rule for rule in params.cascade if table_of(rule.signal) == tables.URL_SIGNALS.name]
    early = tuple(rule for rule in params.cascade if rule not in by_url)
    cascade = Early(early) if early else None
    decisive = (*_DECISIVE, "crawl") if cascade and cascade.asks_crawl else _DECISIVE

    def work(items: Sequence[pages.Capture], begin: Begin) -> list[pages.Page]:
        return pages.read(
            items,
            begin,
            engine=params.engine,
            form=params.form,
            cascade=cascade,
            model=params.language_model,
            mend=params.repair,
        )

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        known: dict[tuple[Any, ...], pages.Page] = {}
        work([pages.EXAMPLE], lambda _place: None)  # what is loaded here is there in every child
        with Sandbox(work, seconds=params.timeout_seconds, memory_bytes=params.memory_mb << 20) as sandbox:
            for batch in batches:
                rows = iter(batch.select(_NEEDED).to_pylist())
                found: list[pages.Page] = []
                while group := list(islice(rows, PAGES_AT_ONCE)):
                    found += _read(group, known, sandbox, decisive)
                yield pa.RecordBatch.from_arrays(
                    [
                        *(batch.column(name) for name in _PASSED),
                        *map(pa.array, zip(*found, strict=True), _PAGE_TYPES),
                    ],
                    names=[*_PASSED, *pages.Page._fields],
                )

    # Addresses that some crawl would not have are few; whether this one would is known beside the capture.
    somewhere = [replace(rule, crawls=None, except_crawls=()) for rule in by_url]
    bad = url_signals.where(_left_out(somewhere).isNotNull()).select(
        "doc_id", *sorted({rule.signal for rule in by_url})
    )
    found = captures.where(is_page()).join(F.broadcast(bad.withColumn("is_bad", F.lit(True))), "doc_id", how="left")
    found = found.withColumn("left_out", F.when(F.col("is_bad"), _left_out(by_url)))
    found = found.join(warc_files.select("warc_filename", "location"), "warc_filename", how="left")
    # By hash of the digest, so that equal payloads meet, and a host with slow pages is spread over all tasks.
    tasks = partitions(captures.sparkSession)
    spread = found.select(*_PASSED, *(c for c in _NEEDED if c not in _PASSED)).repartition(tasks, "content_digest")
    return spread.mapInArrow(read, f"{_PASSED_DDL}, {_PAGE_DDL}").select(
        *_PASSED,
        "title",
        "text",
        F.sha2(F.col("text").cast("binary"), 256).alias("text_hash"),
        F.length("text").cast("bigint").alias("text_length"),
        F.col("charset").alias("content_charset"),
        F.lit(extractor).alias("extractor"),
        *_AS_IS,
        F.col("error").alias("extract_error"),
    )


PAGES_AT_ONCE = 32
KNOWN_PAGES = 4096  # texts that a task keeps, of some kilobytes each
_PASSED = ["doc_id", "crawl", "url", "url_host_name", "fetch_time", "warc_filename"]
_PASSED_DDL = (
    "doc_id string, crawl string, url string, url_host_name string, fetch_time timestamp, warc_filename string"
)
_NEEDED = [
    "crawl",
    "warc_filename",
    "warc_record_offset",
    "warc_record_length",
    "content_digest",
    "content_mime_detected",
    "content_charset_declared",
    "http_rights",
    "payload",
    "payload_length",
    "location",
    "left_out",
]
# Two captures that agree on these are the same page.
_DECISIVE = ("content_digest", "content_mime_detected", "content_charset_declared", "http_rights")
_SKIP_DDL = "struct<stage:string, rule:string, signal:string, value:double, threshold:double, detail:string>"
# Fields of a page that are no strings; of the rest, what is in the table under its own name.
_OTHERS = {
    "skipped": _SKIP_DDL,
    "page_language_score": "double",
    **dict.fromkeys(("no_index", "no_ai", "tdm_reserved"), "bigint"),
    **dict.fromkeys(("robots", "robots_agents", "content_usage"), "array<string>"),
}
_AS_IS = [name for name in pages.Page._fields if name not in ("title", "text", "charset", "error")]
_PAGE_DDL = ", ".join(f"{name} {_OTHERS.get(name, 'string')}" for name in pages.Page._fields)
_TYPES = {
    "string": pa.string(),
    "double": pa.float64(),
    "bigint": pa.int64(),
    "array<string>": pa.list_(pa.string()),
    _SKIP_DDL: pa.struct(
        [(name, pa.float64() if name in ("value", "threshold") else pa.string()) for name in pages.Skip._fields]
    ),
}
_PAGE_TYPES = [_TYPES[_OTHERS.get(name, "string")] for name in pages.Page._fields]


def _left_out(rules: Sequence[Rule]) -> Column:
    """What the first of `rules` that fails says, null when all pass."""
    reasons = [F.when(rule.fails(), rule.skip().cast(_SKIP_DDL)) for rule in rules]
    return F.coalesce(F.lit(None).cast(_SKIP_DDL), *reasons)


def _read(
    rows: Sequence[dict[str, Any]],
    known: dict[tuple[Any, ...], pages.Page],
    sandbox: Sandbox[pages.Capture, pages.Page],
    decisive: Sequence[str] = _DECISIVE,
) -> list[pages.Page]:
    """The pages of some captures, in order. `known` holds pages by what decides them, first read first."""
    found: list[pages.Page | None] = []
    asked: dict[tuple[Any, ...], pages.Capture] = {}
    keys = [tuple(row[name] for name in decisive) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        page = _left_out_page(row) or known.get(key)
        if page is None and key not in asked:
            try:
                asked[key] = pages.Capture.of(with_payload(row))
            except OSError as error:
                page = pages.Page(error=f"unreadable: {error}")
        found.append(page)
    for key, answer in zip(asked, sandbox(list(asked.values())), strict=True):
        known[key] = pages.Page(error=f"{answer.kind}: {answer.detail}") if isinstance(answer, Failure) else answer
    answers = [page or known[key] for key, page in zip(keys, found, strict=True)]
    while len(known) > KNOWN_PAGES:
        del known[next(iter(known))]
    return answers


def _left_out_page(row: dict[str, Any]) -> pages.Page | None:
    return pages.Page(skipped=row["left_out"]) if row["left_out"] is not None else None


def with_payload(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `captures` and its location with payload and length, fetched where it was ingested as a pointer.

    Raises:
        OSError: the archive cannot be read, or has no payload there any more.
    """
    if row["payload"] is not None:
        return row
    ranges = [(row["warc_record_offset"], row["warc_record_length"])]
    batches = warc.select_batches(
        lambda start, size: files.read_range(row["location"], start, size),
        ranges,
        warc_filename=row["warc_filename"],
        crawl=row["crawl"],
    )
    record: dict[str, Any] = pa.Table.from_batches(list(batches)).to_pylist()[0]
    if record["payload"] is None:
        raise OSError(record["ingest_error"] or "the record has no payload any more")
    return {**row, **{name: record[name] for name in ("payload", "payload_length")}}


DOCUMENTS = Stage(
    documents,
    inputs=(tables.CAPTURES, tables.WARC_FILES, tables.URL_SIGNALS),
    output=tables.DOCUMENTS,
    params=ExtractParams,
    version=5,
)
