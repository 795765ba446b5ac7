"""No shared run of words is missed, none is longer or shorter than it is, and cutting touches nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import lines, pii, repeats
from etl.kernels.repeats import LINE, PARAGRAPH, SUBSTRING, Block, Replacement, Span

any_text = st.text(st.characters(exclude_categories=()), max_size=80)
# Thai and Khmer letters with their marks, Han, a lone surrogate, white space of all kinds.
mixed_text = st.text("ab \n\t\u3000\u0e01\u0e31\u0e49\u1780\u17d2\u6587\u5b57\ud800\x1c.", max_size=80)
few_words = st.lists(st.sampled_from(["a", "b", "c", "\u6587", "\u5b57"]), max_size=90).map(" ".join)
lengths = st.integers(2, 12)


def cut_into_words(text: str) -> list[str]:
    return [text[start:end] for some in repeats.words(text) for start, end in zip(some.starts, some.ends, strict=True)]


def repeated(left: str, right: str, length: int) -> list[tuple[int, int]]:
    """The runs of `right` that `left` has too, by the kernels: places in code points, overlapping ones as one."""
    shared = np.intersect1d(repeats.fingerprints(left, length), repeats.fingerprints(right, length))
    known = {hash_ for runs in repeats.candidates(left, shared, length) for hash_ in runs.hashes.tolist()}
    spans: list[tuple[int, int]] = []
    for runs in repeats.candidates(right, shared, length):
        for start, end, hash_ in zip(runs.starts.tolist(), runs.ends.tolist(), runs.hashes.tolist(), strict=True):
            if hash_ not in known:
                continue
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return spans


def repeated_by_comparison(left: str, right: str, length: int) -> list[tuple[int, int]]:
    """The same by comparing every run of words with every other, in plain Python."""
    found = [lines.words(text) for text in (left, right)]
    places, end = [], 0
    for word in found[1]:
        start = right.index(word, end)
        end = start + len(word)
        places.append((start, end))
    runs = [[tuple(words[n : n + length]) for n in range(len(words) - length + 1)] for words in found]
    spans: list[tuple[int, int]] = []
    for number, run in enumerate(runs[1]):
        if run in runs[0]:
            start, end = places[number][0], places[number + length - 1][1]
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return spans


@given(any_text | mixed_text, st.sampled_from([1, 2, 3, 7, 1 << 20]))
def test_words_are_those_of_lines(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "_PIECE", piece)
        assert cut_into_words(text) == lines.words(text)


@given(any_text | mixed_text, st.sampled_from([1, 2, 3, 7]), lengths)
def test_nothing_depends_on_the_pieces_in_which_a_text_is_read(text: str, piece: int, length: int) -> None:
    def seen() -> list[Any]:
        prints = repeats.fingerprints(text, length)
        runs = [part for runs in repeats.candidates(text, prints, length) for part in zip(*runs, strict=True)]
        found = [block[:2] + block[3:] for block in repeats.blocks(text)]
        return [prints.tolist(), runs, found]

    whole = seen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "_PIECE", piece)
        assert seen() == whole


@given(few_words | mixed_text, few_words | mixed_text, lengths)
def test_shared_runs_are_those_of_comparing_all_with_all(left: str, right: str, length: int) -> None:
    assert repeated(left, right, length) == repeated_by_comparison(left, right, length)


@settings(deadline=None)
@given(st.integers(0, 1 << 30), st.integers(50, 120), st.booleans())
def test_a_planted_run_of_fifty_words_is_found_to_its_ends(seed: int, size: int, is_unspaced: bool) -> None:
    drawn = random.Random(seed)
    gap = "" if is_unspaced else " "

    def words(count: int, first: int) -> str:
        numbers = [first + drawn.randrange(2000) for _ in range(count)]
        return gap.join(chr(number) if is_unspaced else f"w{number}" for number in numbers)

    # The words around the run are others in each text, so that it does not go on by chance.
    run, *around = (words(count, first) for count, first in ((size, 20000), (40, 22000), (9, 24000), (40, 26000)))
    left, right = (gap.join((before, run, after)) for before, after in (around[:2], around[1:]))
    start = right.index(run)
    assert repeated(left, right, 50) == [(start, start + len(run))]
    assert repeated(left, right, size + 1) == [], "a word less is no run of the length"


def test_a_run_is_the_same_run_with_other_white_space() -> None:
    run = " ".join(f"w{n}" for n in range(50))
    assert repeated(run, run.replace(" ", "\n\n\t"), 50) == [(0, len(run) + 2 * 49)]
    assert repeated(run, run.upper(), 50) == []


def test_fingerprints_are_few() -> None:
    """2 / (w + 1) of the words, Schleimer et al. 2003; w is 26 for runs of 50 words."""
    text = " ".join(str(random.Random(n).random()) for n in range(20_000))
    assert repeats.fingerprints(text, 50).size / 20_000 == pytest.approx(2 / 27, rel=0.05)


def test_hashes_are_the_same_everywhere() -> None:
    """Rows are compared that other machines made."""
    text = "the same on every machine and in every process"
    prints = repeats.fingerprints(text, 6)
    runs = next(repeats.candidates(text, prints, 6))
    assert prints.tolist() == [4448148633538175284, -4805336842289827678, -2796467289326006546]
    assert runs.hashes.tolist() == [9165343277577997762, 12002906728486397435, 3047258413637897201, 1495706981951810791]
    assert [block.hash for block in repeats.blocks(text)] == [1069803970484716512, 1069803970484716512]


@pytest.mark.parametrize("length", [0, 1])
def test_a_run_has_two_words_at_least(length: int) -> None:
    with pytest.raises(ValueError, match=f"length is {length}, wanted at least 2 words"):
        repeats.fingerprints("a b", length)


def test_blocks_are_lines_and_what_stands_between_blank_lines() -> None:
    text = " Title \n\none  LINE\nTwo\u3000lines\n \t\nlast\n"
    found = [(block.kind, text[block.start : block.end], block.words) for block in repeats.blocks(text)]
    assert found == [
        (LINE, "Title", 1),
        (PARAGRAPH, "Title", 1),
        (LINE, "one  LINE", 2),
        (LINE, "Two\u3000lines", 2),
        (PARAGRAPH, "one  LINE\nTwo\u3000lines", 4),
        (LINE, "last", 1),
        (PARAGRAPH, "last", 1),
    ]
    assert [block.kind for block in repeats.blocks(text, [PARAGRAPH])] == [PARAGRAPH] * 3


@given(any_text | mixed_text)
def test_lines_are_those_of_lines(text: str) -> None:
    found = [block for block in repeats.blocks(text, [LINE])]
    assert [text[block.start : block.end] for block in found] == lines.lines(text)
    assert [block.words for block in found] == [
        len(lines.words(text[block.start : block.end].casefold())) for block in found
    ]


@given(any_text | mixed_text, any_text | mixed_text)
def test_blocks_are_the_same_by_their_folded_words(left: str, right: str) -> None:
    def folded(text: str, block: Block) -> str:
        return " ".join(text[block.start : block.end].casefold().split())

    every = [(text, block) for text in (left, right, left.swapcase()) for block in repeats.blocks(text)]
    for text, block in every:
        for other_text, other in every:
            assert (block.hash == other.hash) == (folded(text, block) == folded(other_text, other))


def test_no_more_blocks_than_fit_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_BLOCKS", 3)
    kinds = [block.kind for block in repeats.blocks("a\n\nb\n\nc\n\nd")]
    assert (kinds.count(LINE), kinds.count(PARAGRAPH)) == (3, 3)


def spans_of(text: str, marked: Sequence[str]) -> list[Span]:
    return [Span(LINE, text.index(piece), text.index(piece) + len(piece)) for piece in marked]


@pytest.mark.parametrize(
    ("text", "marked", "wanted"),
    [
        ("one\nMENU\ntwo", ["MENU"], "one\ntwo"),
        ("MENU\none", ["MENU"], "one"),
        ("one\nMENU", ["MENU"], "one"),
        ("one\n\nMENU\n\ntwo", ["MENU"], "one\n\ntwo"),
        ("one\n\nMENU\ntwo", ["MENU"], "one\n\ntwo"),
        ("one\nMENU\n\ntwo", ["MENU"], "one\n\ntwo"),
        ("one\n\nMENU", ["MENU"], "one"),
        ("one\n\nMENU\n", ["MENU"], "one\n"),
        ("MENU\n\none\n", ["MENU"], "one\n"),
        ("one\n\nMENU\nNEWS\n\nABOUT\n\n  two", ["MENU", "NEWS", "ABOUT"], "one\n\n  two"),
        ("  MENU \n", ["MENU"], ""),
        ("MENU\n\nNEWS", ["MENU", "NEWS"], ""),
        ("one MENU two", ["MENU"], "one two"),
        ("one, MENU.", ["MENU"], "one, ."),
        ("MENU two", ["MENU"], "two"),
        ("one MENU \ntwo", ["MENU"], "one \ntwo"),
        ("\u4e00MENU\u4e8c", ["MENU"], "\u4e00\u4e8c"),
        ("one ME\nNU two", ["ME\nNU"], "one\ntwo"),
        ("one ME\n\nNU two", ["ME\n\nNU"], "one\n\ntwo"),
        ("one ME\nNU\ntwo", ["ME\nNU"], "one\ntwo"),
        ("one\nME\nNU two", ["ME\nNU"], "one\ntwo"),
        ("one\n\n\n\ntwo\nMENU\nthree", ["MENU"], "one\n\n\n\ntwo\nthree"),
    ],
)
def test_what_is_cut_leaves_no_gap(text: str, marked: list[str], wanted: str) -> None:
    assert repeats.cut(text, spans_of(text, marked)) == wanted


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(st.text("ab \n\t\u6587", max_size=60) | any_text)
    places = st.integers(0, len(text))
    drawn = draw(st.lists(st.tuples(st.sampled_from(repeats.KINDS), places, places), max_size=6))
    return text, [Span(kind, min(start, end), max(start, end)) for kind, start, end in drawn]


@given(texts_with_spans(), st.sets(st.sampled_from(repeats.KINDS)))
def test_cut_takes_the_words_of_its_spans_and_no_other(given_: tuple[str, list[Span]], kinds: set[str]) -> None:
    text, spans = given_
    covered = {n for span in spans if span.kind in kinds for n in range(span.start, span.end)}
    left = repeats.cut(text, spans, kinds)

    def characters(of: str) -> list[str]:
        return [character for character in of if not character.isspace()]

    assert characters(left) == characters("".join(text[n] for n in range(len(text)) if n not in covered))
    assert repeats.cut(text, reversed(spans), kinds) == left
    # What was apart stays apart: no word that was not in the text, or a part of one beside a cut, comes about.
    assert left == text or len(left) < len(text)


@given(texts_with_spans())
def test_lines_without_a_span_stay_as_they_are(given_: tuple[str, list[Span]]) -> None:
    text, spans = given_
    left = repeats.cut(text, spans)
    start = 0
    kept = []
    for line in text.split("\n"):
        end = start + len(line)
        is_touched = any(span.start < end and start < span.end for span in spans)
        if not is_touched and line.strip():
            kept.append(line)
        start = end + 1
    of_left = iter(left.split("\n"))
    assert all(line in of_left for line in kept), "in order, each as it was"


@given(texts_with_spans())
def test_cut_is_over_when_it_is_done(given_: tuple[str, list[Span]]) -> None:
    text, spans = given_
    left = repeats.cut(text, spans)
    assert repeats.cut(left, []) == left
    assert repeats.cut(text, [*spans, *spans]) == left
    blank = re.compile(r"\n[^\S\n]*\n[^\S\n]*\n")
    assert len(blank.findall(left)) <= len(blank.findall(text)), "no blank lines meet that did not"


@given(any_text, st.data())
def test_with_nothing_to_cut_replacements_are_those_of_masks(text: str, data: st.DataObject) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    places = list(zip(bounds[::2], bounds[1::2], strict=False))
    masks = [pii.Span("email", start, end) for start, end in places]
    replacements = [Replacement(start, end, "<email>") for start, end in places]
    assert repeats.cut(text, [], replacements=replacements) == pii.mask(text, masks)


@given(texts_with_spans(), st.data())
def test_no_masked_character_is_left(given_: tuple[str, list[Span]], data: st.DataObject) -> None:
    text, spans = given_
    bounds = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    places = list(zip(bounds[::2], bounds[1::2], strict=False))
    left = repeats.cut(text, spans, replacements=[Replacement(start, end, "\ue000") for start, end in places])
    covered = {n for span in spans for n in range(span.start, span.end)}
    masked = {n for start, end in places for n in range(start, end)}
    wanted = [text[n] for n in range(len(text)) if n not in covered | masked and not text[n].isspace()]
    assert [character for character in left if not character.isspace() and character != "\ue000"] == [
        character for character in wanted if character != "\ue000"
    ]


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (8, 12, "mail: <email> now"),  # what is cut lies within the address
        (4, 21, "mail now"),
        (4, 10, "mail<email> now"),
        (12, 21, "mail: <email> now"),
        (21, 24, "mail: <email>"),
        (0, 24, ""),
    ],
)
def test_a_mask_gives_way_to_a_cut(start: int, end: int, wanted: str) -> None:
    text = "mail: some@a.example now"
    mask = [Replacement(6, 20, pii.placeholder("email"))]
    assert repeats.cut(text, [Span(SUBSTRING, start, end)], replacements=mask) == wanted


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kinds of repeats are line, paragraph, substring, not page"):
        repeats.cut("", [], ["page"])
