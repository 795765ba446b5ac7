"""Sentences hold every character of a text that is no white space, and are as many as the filters count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import lines, sentences
from etl.kernels.words import cut

PIECES = st.sampled_from(
    [
        "Dr.",
        "e.g.",
        "word",
        "Next",
        ".",
        "!?",
        '"Yes."',
        "(so)",
        "3.5",
        "a.b",
        "end.Start",
        "...",
        "日本語。",
        "é",
        "\n",
        "  ",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=20).map(" ".join))


def cuts(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in sentences.sentences(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two three! Four", ["One.", "Two three!", "Four"]),
        ("A title\nThe text. ", ["A title", "The text."]),
        ('He said "No." She left.', ['He said "No."', "She left."]),
        ('He left. "No," she said.', ["He left.", '"No," she said.']),
        ("Marks, e.g. these, at 5 p.m. today", ["Marks, e.g. these, at 5 p.m. today"]),
        ("No space.Next one", ["No space.", "Next one"]),
        ("Really?! Yes", ["Really?!", "Yes"]),
        ("今日は晴れ。明日は雨。", ["今日は晴れ。", "明日は雨。"]),
        (" \n\t", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, wanted: list[str]) -> None:
    assert cuts(text) == wanted


@given(TEXTS)
def test_sentences_hold_every_character_but_white_space(text: str) -> None:
    found = sentences.sentences(text)
    places = [place for start, end, _ in found for place in (start, end)]
    assert places == sorted(places)
    assert all(start < end for start, end, _ in found)
    assert "".join("".join(cuts(text)).split()) == "".join(text.split())


@given(TEXTS)
def test_tokens_are_the_words_and_marks_of_the_text(text: str) -> None:
    wanted = [word for run in lines.splitter(text)(text) for word in cut(run)]
    assert sum(tokens for *_, tokens in sentences.sentences(text)) == len(wanted)


@given(st.lists(PIECES.filter(str.strip), min_size=1, max_size=20).map(" ".join))
def test_a_line_has_as_many_sentences_as_the_filters_count(line: str) -> None:
    assert len(cuts(line)) == lines.sentences(line, lines.splitter(line))


def test_a_batch_is_the_rows_of_its_texts() -> None:
    found = sentences.batch(["One. Two", ""]).to_pylist()
    assert found == [
        {"sentences": [{"start": 0, "end": 4, "tokens": 2}, {"start": 5, "end": 8, "tokens": 1}], "tokens": 3},
        {"sentences": [], "tokens": 0},
    ]


def test_a_long_line_takes_linear_time() -> None:
    text = "word. " * 200_000
    assert len(sentences.sentences(text)) == 200_000
    assert sentences.sentences("." * 100_000) == [(0, 100_000, len(cut("." * 100_000)))]
