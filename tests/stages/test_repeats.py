"""What many pages of a corpus have is found in each of them, and stays in the one that had it first."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from etl.stages.repeats import (
    DOCUMENT_REPEATS,
    LineParams,
    ParagraphParams,
    RepeatParams,
    SubstringParams,
    document_repeats,
)

DISPOSITION_DDL = "recipe string, doc_id string, decision string"
DOCUMENT_DDL = "doc_id string, url_host_name string, fetch_time timestamp, text string"


def page(doc_id: str, text: str | None, host: str | None = "a.example", day: int = 1, decision: str = "kept") -> Row:
    return Row(doc_id=doc_id, url_host_name=host, fetch_time=datetime(2024, 1, day), text=text, decision=decision)


def found(spark: SparkSession, pages: Sequence[Row], params: RepeatParams, partitions: int = 1) -> dict[str, Any]:
    """The rows by doc_id."""
    kept = [("r", row.doc_id, row.decision) for row in pages]
    kept += [("other", row.doc_id, "kept") for row in pages]
    texts = [(row.doc_id, row.url_host_name, row.fetch_time, row.text) for row in pages]
    dispositions = spark.createDataFrame(kept, DISPOSITION_DDL).repartition(partitions)
    documents = spark.createDataFrame(texts, DOCUMENT_DDL).repartition(partitions)
    rows = document_repeats(dispositions, documents, params).collect()
    by_document = {row.doc_id: row for row in rows}
    assert len(by_document) == len(rows)
    return by_document


def repeated(pages: Sequence[Row], rows: dict[str, Any]) -> dict[str, list[str]]:
    """Of each document with a row, the pieces of text that its spans name."""
    texts = {row.doc_id: row.text for row in pages}
    return {key: [texts[key][span.start : span.end] for span in row.spans] for key, row in rows.items()}


def words(seed: int, count: int) -> str:
    drawn = random.Random(seed)
    return " ".join("".join(drawn.choices("abcdefgh", k=6)) for _ in range(count))


def own(doc_id: str) -> str:
    return words(sum(map(ord, doc_id)) * 1000 + len(doc_id), 30)


MENU, LOGIN = "Home, news, about this site", "Log in to see your account"
LONG = "This sentence of more than ten words is on pages of very many hosts."
TOO_FEW = "This other sentence of more than ten words is on pages of too few hosts."
PARAGRAPH = "\n".join(words(seed, 8) for seed in range(3))
RUN = words(7, 60)
TERMS, CODE = "All prices with all taxes", "import { useState } from 'react';"
DROPPED, BOTH = words(8, 80), words(9, 52)
LETTERS = "".join(chr(random.Random(1).randrange(0x4E00, 0x9F00) + n) for n in range(50))


@pytest.fixture(scope="module")
def pages() -> list[Row]:
    rows = [page(f"menu{n}", f"{own(f'menu{n}')}\n{MENU}\nIngredients", "menu.example") for n in range(3)]
    # Pages of no host are not pages of one host.
    hosts = ["one.example", "one.example", "two.example", "two.example", None, None, None]
    rows += [page(f"two{n}", f"{own(f'two{n}')}\n{MENU}\nIngredients", host) for n, host in enumerate(hosts)]
    rows += [page(f"login{n}", f"{LOGIN}\n{own(f'login{n}')}", decision="kept" if n else "dropped") for n in range(3)]
    rows += [page(f"long{n}", f"Ingredients\n{LONG}\n{own(f'l{n}')}\n{LONG}", f"h{n}.example") for n in range(6)]
    # On most pages of a host, and on some.
    rows += [page(f"shop{n}", f"{own(f's{n}')}\n{TERMS}" + f"\n{CODE}" * (n < 3), "shop.example") for n in range(7)]
    # Twice on a page is once.
    rows += [page(f"few{n}", f"{TOO_FEW}\n{own(f'f{n}')}\n{TOO_FEW}", f"h{n}.example") for n in range(5)]
    rows += [
        page("paragraph_a", f"{own('a')}\n\n{PARAGRAPH}\n\n{own('aa')}", "p1.example", day=2),
        page("paragraph_b", f"{PARAGRAPH.upper()}\n \n{own('b')}", "p2.example", day=1),
        page("paragraph_c", f"{own('c')}\n{PARAGRAPH}", "p3.example", day=3),
        page("run_a", f"{own('ra')} {RUN} {own('raa')}", "r1.example", day=3),
        page("run_b", f"{own('rb')} {RUN}", "r2.example", day=2),
        page("run_c", f"{RUN}\n{own('rc')} {RUN}", "r3.example", day=3),
        page("run_d", f"{own('rd')} {words(7, 49)} {own('rdd')}", "r4.example", day=9),
        page("both_a", f"{BOTH}\n\n{own('ba')}", "b1.example", day=2),
        page("both_b", f"{own('bb')}\n\n{BOTH}", "b2.example", day=3),
        page("dropped", DROPPED, "d1.example", decision="dropped"),
        page("not_a_copy", DROPPED, "d2.example"),
        page("letters_a", "\u6587" + LETTERS, "c1.example", day=2),
        page("letters_b", LETTERS + "\u5b57", "c2.example", day=3),
    ]
    nothing = [None, None, "", "", " \n\n ", "\x00", "\x00"]
    return rows + [page(f"nothing{n}", text, f"n{n}.example") for n, text in enumerate(nothing)]


PARAMS = RepeatParams("r", LineParams(host_documents=3, documents=6))


@pytest.fixture(scope="module")
def rows(spark: SparkSession, pages: list[Row]) -> dict[str, Any]:
    return found(spark, pages, PARAMS)


def test_output_matches_the_contract(spark: SparkSession) -> None:
    inputs = [spark.createDataFrame([], table.schema) for table in DOCUMENT_REPEATS.inputs]
    for params in (RepeatParams("r"), RepeatParams("r", line=None, paragraph=None, substring=None)):
        DOCUMENT_REPEATS.output.check(DOCUMENT_REPEATS.transform(*inputs, params).schema)


def test_a_line_of_one_host_goes_and_the_same_line_on_two_hosts_stays(rows: dict[str, Any], pages: list[Row]) -> None:
    texts = repeated(pages, rows)
    assert {key: text for key, text in texts.items() if MENU in text} == {f"menu{n}": [MENU] for n in range(3)}
    assert (rows["menu0"].lines, rows["menu0"].paragraphs, rows["menu0"].substrings) == (1, 0, 0)
    assert rows["menu0"].repeated_characters == len(MENU)
    assert [span.documents for span in rows["menu0"].spans] == [10], "anywhere, not on the host"


def test_a_long_line_goes_anywhere_and_a_short_one_stays(rows: dict[str, Any], pages: list[Row]) -> None:
    texts = repeated(pages, rows)
    assert {key: text for key, text in texts.items() if key[:4] in ("long", "few0")} == {
        f"long{n}": [LONG, LONG] for n in range(6)
    }


def test_a_line_on_some_pages_of_a_host_stays(rows: dict[str, Any], pages: list[Row]) -> None:
    of_shop = {key: text for key, text in repeated(pages, rows).items() if key.startswith("shop")}
    assert of_shop == {f"shop{n}": [TERMS] for n in range(7)}


def test_a_character_in_spans_of_two_kinds_counts_once(rows: dict[str, Any]) -> None:
    assert [span.kind for span in rows["both_b"].spans] == ["paragraph", "substring"]
    assert rows["both_b"].repeated_characters == len(BOTH)
    assert "both_a" not in rows


def test_a_document_that_is_not_kept_does_not_count(rows: dict[str, Any]) -> None:
    assert not {"login0", "login1", "login2", "dropped", "not_a_copy"} & {*rows}


def test_a_paragraph_stays_in_the_first_document(rows: dict[str, Any], pages: list[Row]) -> None:
    of_paragraphs = {key: text for key, text in repeated(pages, rows).items() if key.startswith("paragraph")}
    assert of_paragraphs == {"paragraph_a": [PARAGRAPH]}
    assert [(span.kind, span.documents) for span in rows["paragraph_a"].spans] == [("paragraph", 2)]


def test_a_run_of_words_stays_in_the_first_document(rows: dict[str, Any], pages: list[Row]) -> None:
    of_runs = {key: row for key, row in rows.items() if key.startswith("run")}
    pieces = repeated(pages, of_runs)
    kinds = {key: [span.kind for span in row.spans] for key, row in of_runs.items()}
    assert pieces == {"run_a": [RUN], "run_c": [RUN, RUN]}
    assert kinds == {"run_a": ["substring"], "run_c": ["substring"] * 2}
    assert of_runs["run_c"].repeated_characters == 2 * len(RUN)
    assert {span.documents for row in of_runs.values() for span in row.spans} == {3}


def test_letters_of_scripts_without_spaces_are_words(rows: dict[str, Any], pages: list[Row]) -> None:
    of_letters = {key: text for key, text in repeated(pages, rows).items() if key.startswith("letters")}
    assert of_letters == {"letters_b": [LETTERS]}


def test_texts_that_hold_nothing_have_no_row(rows: dict[str, Any]) -> None:
    assert not [key for key in rows if key.startswith("nothing")]


def test_rows_do_not_depend_on_partitions_or_order(spark: SparkSession, rows: dict[str, Any], pages: list[Row]) -> None:
    assert found(spark, pages[::-1], PARAMS, partitions=4) == rows


def test_who_keeps_a_text_can_be_chosen_for_each_kind(spark: SparkSession, pages: list[Row]) -> None:
    line = LineParams(host_documents=3, documents=None, keep="first")
    paragraph, substring = ParagraphParams(keep="none"), SubstringParams(keep="none")
    texts = repeated(pages, found(spark, pages, RepeatParams("r", line, paragraph, substring)))
    assert texts == {
        **{f"menu{n}": [MENU] for n in (1, 2)},
        "paragraph_a": [PARAGRAPH],
        "paragraph_b": [PARAGRAPH.upper()],
        "run_a": [RUN],
        "run_b": [RUN],
        "run_c": [RUN, RUN],
        **{f"shop{n}": [TERMS] for n in range(1, 7)},
        **{key: [BOTH, BOTH] for key in ("both_a", "both_b")},
        "letters_a": [LETTERS],
        "letters_b": [LETTERS],
    }


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            LineParams,
            {"keep": "last", "min_words": 0, "host_share": 2.0},
            "min_words is 0, wanted at least 1; keep is 'last', wanted first or none; host_share is 2.0, wanted 0 to 1",
        ),
        (ParagraphParams, {"documents": 1}, "documents is 1, wanted at least 2"),
        (SubstringParams, {"words": 1}, "words is 1, wanted at least 2"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**values)
