"""robots.txt of the crawl: each capture is a row, and of a host the newest that says something counts for its pages."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from etl import ledger, pipeline, tables
from etl.pipeline import PipelineConfig
from etl.stage import NoParams
from etl.stages.robots import document_robots, host_robots
from tests.conftest import runner_on
from tests.kernels.test_warc import response
from tests.stages.test_curate import rows
from tests.stages.test_extract import capture

REFUSES = "User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /private\n\nUser-agent: *\nDisallow: /search\n"
AT = [datetime(2026, 1, day) for day in range(1, 10)]


def robots(doc_id: str, host: str, text: str = "", **values: Any) -> dict[str, Any]:
    known = {"url": f"https://{host}/robots.txt", "url_host_name": host, "fetch_time": AT[0]}
    return capture(doc_id, text.encode(), **known | values)


def files(spark: SparkSession, *captures: dict[str, Any]) -> dict[str, Row]:
    archives = rows(spark, tables.WARC_FILES, {"warc_filename": "w", "location": "/nowhere"})
    found = host_robots(rows(spark, tables.CAPTURES, *captures), archives, NoParams())
    tables.HOST_ROBOTS.check(found.schema)
    return {row["doc_id"]: row for row in found.collect()}


def test_each_capture_of_a_robots_txt_is_a_row(spark: SparkSession) -> None:
    usage = "Content-Usage: train-ai=n\nSitemap: https://a.example/s.xml\nUser-agent: x\nDisallow: /\n"
    found = files(
        spark,
        robots("told", "a.example", usage),
        robots("none", "b.example", "<html>not here", fetch_status=404),
        robots("moved", "c.example", "", fetch_status=301),
        robots("gone", "d.example", "x", payload=None),
        robots("request", "e.example", REFUSES, warc_record_type="request"),
        robots("page", "f.example", REFUSES, url="https://f.example/a/robots.txt"),
    )
    assert set(found) == {"told", "none", "moved", "gone"}
    told = found["told"]
    assert (told["text"], told["shut_out"], told["content_usage"]) == (usage, ["x"], ["train-ai=n"])
    assert told["sitemaps"] == ["https://a.example/s.xml"]
    assert [found[name]["text"] for name in ("none", "moved", "gone")] == [None] * 3


def judged(spark: SparkSession, known: list[dict[str, Any]], *urls: str, partitions: int = 1) -> list[Row]:
    pages = [
        {"doc_id": f"p{n}", "url": url, "url_host_name": url.split("/")[2], "warc_filename": "w"}
        for n, url in enumerate(urls)
    ]
    documents = rows(spark, tables.DOCUMENTS, *pages).repartition(partitions)
    found = document_robots(documents, rows(spark, tables.HOST_ROBOTS, *known), NoParams())
    tables.DOCUMENT_ROBOTS.check(found.schema)
    by_page = {row["doc_id"]: row for row in found.collect()}
    return [by_page[page["doc_id"]] for page in pages]


def told(doc_id: str, host: str, day: int, text: str | None, status: int = 200) -> dict[str, Any]:
    return {"doc_id": doc_id, "url_host_name": host, "fetch_time": AT[day], "text": text, "fetch_status": status}


@pytest.mark.parametrize("partitions", [1, 5])
def test_of_a_host_the_newest_that_says_something_counts(spark: SparkSession, partitions: int) -> None:
    known = [
        told("old", "a.example", 0, "User-agent: *\nDisallow: /\n"),
        told("new", "a.example", 1, REFUSES),
        told("redirect", "a.example", 2, None, 301),
        told("broken", "a.example", 3, None, 503),
        told("before", "b.example", 0, REFUSES),
        told("removed", "b.example", 1, None, 404),
        told("usage", "c.example", 0, "Content-Signal: ai-train=no"),
        told("another", "e.example", 0, "User-agent: *\nDisallow: /\n"),
    ]
    private, search, front, removed, usage, unknown, broken = judged(
        spark,
        known,
        "https://a.example/private/1",
        "http://a.example/search?q=1",
        "https://a.example/",
        "https://b.example/private/1",
        "https://c.example/x",
        "https://d.example/private/1",
        "https://[a.example/search",
        partitions=partitions,
    )
    assert (private["refused"], private["refused_ai"], private["refused_all"]) == (["ccbot", "gptbot"], 2, 0)
    assert (search["refused_ai"], search["refused_all"], search["robots_doc_id"]) == (11, 1, "new")
    assert {"*", "claudebot"} <= set(search["refused"]) and not {"ccbot", "gptbot"} & set(search["refused"])
    assert (front["refused"], front["robots_known"]) == ([], 1)
    assert (removed["refused"], removed["robots_doc_id"], removed["robots_known"]) == ([], "removed", 1)
    assert (usage["robots_no_ai"], usage["refused"]) == (1, [])
    for page in (unknown, broken):
        assert (page["robots_known"], page["refused"], page["robots_doc_id"], page["robots_no_ai"]) == (0, [], None, 0)


RECIPE = """
name: asked
description: pages that no crawler for training is refused
source: these tests
duplicates: []
rules:
  - {name: refused, signal: refused_ai, max: 0}
"""


def page_of(url: str, body: bytes, mime: str, day: int = 1) -> bytes:
    return response(body, f"Content-Type: {mime}", url=url, WARC_Date=f"2026-01-{day:02}T00:00:00Z")


def test_a_new_robots_txt_counts_for_pages_of_old_archives(spark: SparkSession, tmp_path: Path) -> None:
    """Beside the pages there are the robots.txt themselves, which are pages too, and always allowed."""
    (tmp_path / "asked.yaml").write_text(RECIPE)
    text = b"<html><body><p>" + b"A page of some words that an engine finds its text in, and nothing else at all. " * 9
    html, plain = "text/html", "text/plain"
    first, second = tmp_path / "first.warc", tmp_path / "second.warc"
    first.write_bytes(
        page_of("https://a.example/private", text, html)
        + page_of("https://a.example/open", text, html)
        + page_of("https://a.example/robots.txt", b"User-agent: *\nAllow: /\n", plain, day=1)
    )
    second.write_bytes(page_of("https://a.example/robots.txt", REFUSES.encode(), plain, day=2))
    runner = runner_on(spark, tmp_path / "lake", "asked")

    def planned(*archives: Path) -> pipeline.Plan:
        recipe = str(tmp_path / "asked.yaml")
        return pipeline.plan(PipelineConfig(input=tuple(map(str, archives)), recipe=recipe, scorers=(), cascade=False))

    def by_path(rows: list[Row], *columns: str) -> dict[str, Any]:
        return {row["url"].removeprefix("https://a.example"): tuple(row[column] for column in columns) for row in rows}

    before = planned(first)
    pipeline.ingest(runner, before)
    pipeline.extract(runner, before)
    pipeline.look_up_robots(runner)
    pages = runner.lake.read(tables.DOCUMENTS).select("doc_id", "url")
    allowed = runner.lake.read(tables.DOCUMENT_ROBOTS).join(pages, "doc_id").collect()
    assert by_path(allowed, "refused_ai", "robots_known") == dict.fromkeys(("/private", "/open", "/robots.txt"), (0, 1))
    after = planned(first, second)
    for step in (pipeline.ingest, pipeline.extract, pipeline.annotate, pipeline.curate):
        step(runner, after)
    assert ledger.check(runner.lake, "asked") == 4
    decided = by_path(runner.lake.read(tables.DISPOSITIONS).collect(), "decision", "rule")
    kept = ("kept", None)
    assert decided == {"/private": ("dropped", "refused"), "/open": kept, "/robots.txt": kept}
    done = len(runner.reporter.runs)
    pipeline.look_up_robots(runner)
    assert [run.skipped for run in runner.reporter.runs[done:]] == [True, True]
