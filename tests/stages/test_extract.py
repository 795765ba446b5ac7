"""Pages to documents in Spark: a row for each, and the work of extraction only where its text can be kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import Row, SparkSession

from etl import tables
from etl.kernels import pages
from etl.stages import extract
from etl.stages.extract import ExtractParams, documents
from etl.stages.rules import Rule
from tests import hostile
from tests.kernels.test_html import GERMAN, page
from tests.stages.test_curate import addresses, rows
from tests.stages.test_curate import page as captured

RULES = (
    Rule("list", "url_list", one_of=("none",)),
    Rule("reserved", "tdm_reserved", max=0),
    Rule("language", "language", one_of=("de",)),
    Rule("min_words", "words", min=500),
)
ENGLISH = "All human beings are born free and equal in dignity and rights, and they are endowed with reason. " * 3


def capture(doc_id: str, content: bytes, **values: Any) -> dict[str, Any]:
    frame = pa.Codec("zstd").compress(content, asbytes=True)
    known = {"payload": frame, "payload_length": len(content), "content_digest": doc_id}
    return captured(doc_id, sum(map(ord, doc_id)), **known | values)


def extracted(
    spark: SparkSession, captures: list[dict[str, Any]], params: ExtractParams, **lists: str
) -> dict[str, Row]:
    files = rows(spark, tables.WARC_FILES, {"warc_filename": "w", "location": "/nowhere"})
    found = documents(
        rows(spark, tables.CAPTURES, *captures), files, addresses(spark, captures, **lists), params
    ).collect()
    assert len(found) == len(captures)
    return {row["doc_id"]: row for row in found}


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> dict[str, Row]:
    captures = [
        capture("kept", page("utf-8")),
        capture("copy", page("utf-8"), content_digest="kept"),
        capture("listed", page("utf-8")),
        capture("reserved", page("utf-8"), http_rights="tdm-reservation: 1"),
        capture("english", page("utf-8", text=ENGLISH)),
        capture("empty", b"<html><body><script>var a = 1;</script>"),
        capture("gone", b"x", payload=None),
    ]
    return extracted(spark, captures, ExtractParams(engine="resiliparse", cascade=RULES), listed="adult")


def test_a_page_that_can_be_kept_has_its_text(found: dict[str, Row]) -> None:
    row = found["kept"]
    assert GERMAN in row["text"]
    assert (row["title"], row["content_charset"], row["skipped"], row["extract_error"]) == (
        "Der See",
        "utf-8",
        None,
        None,
    )
    assert (row["page_language"], row["license"], row["tdm_reserved"], row["robots"]) == ("de", "none", 0, [])
    assert {name: found["copy"][name] for name in ("text", "text_hash")} == {
        name: row[name] for name in ("text", "text_hash")
    }


@pytest.mark.parametrize(
    ("doc_id", "stage", "rule", "value", "threshold"),
    [
        ("listed", "url_signals", "list", None, None),
        ("reserved", "documents", "reserved", 1.0, 0.0),
        ("english", "documents", "language", None, None),
    ],
)
def test_a_page_that_cannot_is_left_out_and_says_by_which_rule(
    found: dict[str, Row], doc_id: str, stage: str, rule: str, value: float | None, threshold: float | None
) -> None:
    row = found[doc_id]
    assert (row["text"], row["extract_error"]) == (None, None)
    why = row["skipped"]
    assert (why["stage"], why["rule"], why["value"], why["threshold"]) == (stage, rule, value, threshold)
    assert why["detail"].startswith(f"{why['signal']} is ")


def test_a_page_without_text_is_left_to_the_engine_to_tell(found: dict[str, Row]) -> None:
    assert (found["empty"]["skipped"], found["empty"]["extract_error"][:7]) == (None, "empty: ")


def test_a_payload_that_cannot_be_fetched_is_a_row(found: dict[str, Row]) -> None:
    assert found["gone"]["extract_error"].startswith("unreadable: ")


def test_without_a_cascade_every_page_is_read(spark: SparkSession) -> None:
    captures = [capture("english", page("utf-8", text=ENGLISH)), capture("listed", page("utf-8"))]
    found = extracted(spark, captures, ExtractParams(engine="resiliparse"), listed="adult")
    assert [found[name]["text"] is not None for name in ("english", "listed")] == [True, True]
    assert [found[name]["page_language"] for name in ("english", "listed")] == [None, None]


def test_hostile_pages_leave_the_pages_of_their_task(spark: SparkSession) -> None:
    """Two that take all their time, among pages of one partition."""
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    try:
        bad = [
            capture(name, hostile.PAGES[name](3_000_000))
            for name in ("nested formatting", "nested tags", "entity bomb", "binary")
        ]
        good = [capture(f"good {number}", page("utf-8", text=f"{GERMAN} {number}")) for number in range(40)]
        params = ExtractParams(engine="trafilatura", timeout_seconds=1.5, memory_mb=512)
        found = extracted(spark, [*good[:20], *bad, *good[20:]], params)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")
    assert all(GERMAN in found[row["doc_id"]]["text"] for row in good)
    ends = {row["doc_id"]: found[row["doc_id"]] for row in bad}
    assert all((row["text"] is None) != (row["extract_error"] is None) for row in ends.values())
    assert any(str(row["extract_error"]).startswith("timeout: no result after 1.5 s") for row in ends.values())


def test_equal_payloads_are_read_once() -> None:
    asked: list[int] = []

    def sandbox(items: list[pages.Capture]) -> list[pages.Page]:
        asked.append(len(items))
        return [pages.Page(text=item.declared_charset or "none") for item in items]

    known: OrderedDict[tuple[Any, ...], pages.Page] = OrderedDict()
    one = {**capture("a", b"x"), "left_out": None, "content_charset_declared": None, "http_rights": None}
    other = {**one, "content_charset_declared": "utf-8"}
    for group, texts in (([one, one, other], ["none", "none", "utf-8"]), ([other, one], ["utf-8", "none"])):
        found = extract._read(group, known, sandbox)  # type: ignore[arg-type]  # a sandbox that counts
        assert [each.text for each in found] == texts
    assert asked == [2, 0], "charset is part of what a page is; what was read before is known"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "lynx"}, "engine is 'lynx', wanted one of"),
        ({"engine": "resiliparse", "form": "markdown"}, "form is 'markdown', wanted one of"),
        ({"memory_mb": 0}, "memory_mb is 0, wanted more than 0"),
        ({"repair": "all"}, "repair is 'all', wanted one of none, mojibake, NFC, NFKC"),
    ],
)
def test_params_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExtractParams(**values)
