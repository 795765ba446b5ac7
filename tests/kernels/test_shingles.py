"""Shingles are those of the plain definition, for any text, however texts are grouped, cut into pieces, or broken."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import shingles

few_words = st.lists(st.sampled_from(["a", "b", "c", "dd", "+", "e-f", "eight888", "ninechars", "x" * 70])).map(
    " ".join
)
# Letters with and without spaces between words, marks, capitals, ligatures, symbols, spaces, what is not seen.
mixed = st.text(
    st.sampled_from("aB1_ .,+\u00df\u0130\ufb03\u00e9\u0301\u200d\u00ad\u200b\u0e01\u0e31\u0e32\u1780\u17d2\u0e81")
    | st.sampled_from(
        "\u1000\u103b\u65e5\u3042\u3099\u3002\uff21\uff0b\u0928\u093f\U0001f600\U0001f3fb\ud800\U00020000"
    )
)
any_text = st.text(st.characters(exclude_categories=()))
texts = st.lists(few_words | mixed | any_text, max_size=8)


def runs(units: list[str] | str, size: int) -> set[Any]:
    """The definition, in plain Python."""
    return {tuple(units[start : start + size]) for start in range(max(1, len(units) - size + 1))} if units else set()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!  It's 3.5", ["hello", "world", "it", "s", "3", "5"]),
        ("def f(x): return x + 1", ["def", "f", "x", "return", "x", "+", "1"]),
        ("a += b++", ["a", "+", "=", "b", "+", "+"]),
        ("a\u00a0b\u2003c\x00d\u200be", ["a", "b", "c", "d", "e"]),
        ("Stra\u00dfe \u201cGR\u00dcSSE\u201d \u2014 ok\u2026", ["strasse", "gr\u00fcsse", "ok"]),
        ("\u65e5\u672c\u3067\u3059\u3002ok", ["\u65e5", "\u672c", "\u3067", "\u3059", "ok"]),
        ("\uff30\uff59\uff13\uff0b\uff14\uff01\u3000\uff21", ["py3", "+", "4", "a"]),
        ("\u0e01\u0e31\u0e19\u0e19\u0e35\u0e49", ["\u0e01\u0e31", "\u0e19", "\u0e19\u0e35\u0e49"]),  # Thai
        ("\u0e9e\u0eb2\u0eaa\u0eb2", ["\u0e9e", "\u0eb2", "\u0eaa", "\u0eb2"]),  # Lao
        ("\u1781\u17d2\u1798\u17c2\u179a", ["\u1781\u17d2", "\u1798\u17c2", "\u179a"]),  # Khmer
        ("\u1019\u103c\u1014\u103a\u104b", ["\u1019\u103c", "\u1014\u103a"]),  # Burmese
        ("\u0939\u093f\u0928\u094d\u0926\u0940\u0964", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),  # Hindi: one word
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ["\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"]),  # Persian
        ("so\u00adft \U0001f44d\U0001f3fd\U0001f44d", ["soft", "\U0001f44d", "\U0001f44d"]),
        (" \n...", []),
    ],
)
def test_words_are_what_texts_differ_in(text: str, wanted: list[str]) -> None:
    assert shingles.words(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  Hello,\n\n World! (x+Y) ", "hello world x+y"),
        ("It's \u201c\ufb01ne\u201d", "it s fine"),
        ("\u65e5\u672c\u3002\u672c ", "\u65e5\u672c \u672c"),
        ("...", ""),
    ],
)
def test_characters_are_those_of_words_with_one_space_between(text: str, wanted: str) -> None:
    assert shingles.characters(text) == wanted


@settings(deadline=None)
@given(texts, st.integers(1, 6))
def test_there_is_a_hash_for_each_different_shingle_of_words(many: list[str], size: int) -> None:
    hashes, offsets = shingles.sets_of(many, size)
    assert np.diff(offsets).tolist() == [len(runs(shingles.words(text), size)) for text in many]
    for own in shingles.split(hashes, offsets):
        assert np.array_equal(own, np.unique(own))


@settings(deadline=None)
@given(texts, st.integers(1, 30))
def test_there_is_a_hash_for_each_different_shingle_of_characters(many: list[str], size: int) -> None:
    _, offsets = shingles.sets_of(many, size, shingles.CHARACTERS)
    assert np.diff(offsets).tolist() == [len(runs(shingles.characters(text), size)) for text in many]


@settings(deadline=None)
@given(texts, st.integers(1, 6), st.sampled_from(shingles.UNITS))
def test_many_at_once_are_as_one_by_one(many: list[str], size: int, unit: str) -> None:
    hashes, offsets = shingles.sets_of(many, size, unit)
    for text, own in zip(many, shingles.split(hashes, offsets), strict=True):
        assert np.array_equal(own, shingles.sets_of([text], size, unit)[0])


@settings(deadline=None)
@given(mixed | few_words, mixed | few_words, st.integers(1, 4), st.sampled_from(shingles.UNITS))
def test_equal_shingles_are_equal_hashes(left: str, right: str, size: int, unit: str) -> None:
    """In one text of ASCII and in another that is none, alone and among others."""
    read = shingles.words if unit == shingles.WORDS else shingles.characters
    one, other = (shingles.sets_of([text], size, unit)[0] for text in (left, right))
    wanted = runs(read(left), size) & runs(read(right), size)
    assert np.intersect1d(one, other).size == len(wanted)


@pytest.mark.parametrize("unit", shingles.UNITS)
@pytest.mark.parametrize("size", [1, 3, 24])
def test_a_long_text_in_pieces_has_the_shingles_of_the_whole(
    unit: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    pool = ["one", "two,", "\n\n", " ", "\u65e5\u672c", "\u00df", "+", "\u2026", "caf\u00e9"]
    many = [" ".join(rng.choice(pool, 200)) for _ in range(4)] + ["a b", " " * 300, "x" + " " * 300 + "y"]
    whole = shingles.sets_of(many, size, unit)
    counted = [int(group.words.size) for group in shingles.groups(*shingles.encoded(many), size, unit)]
    monkeypatch.setattr(shingles, "PIECE_BYTES", 64)
    monkeypatch.setattr(shingles, "SEARCH_BYTES", 48)
    pieces = shingles.sets_of(many, size, unit)
    assert [part.tolist() for part in pieces] == [part.tolist() for part in whole]
    recounted = [int(group.words.size) for group in shingles.groups(*shingles.encoded(many), size, unit)]
    assert sum(recounted) == sum(counted)


def test_a_long_text_without_spaces_is_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shingles, "PIECE_BYTES", 64)
    monkeypatch.setattr(shingles, "SEARCH_BYTES", 16)
    chinese = "".join(chr(0x4E00 + n) for n in range(500))
    assert shingles.sets_of([chinese], 1)[0].size == 500
    assert shingles.sets_of(["x" * 640], 1)[0].size == 1, "ten words of 64 letters, which are equal"


def test_bytes_that_are_no_text_are_read_as_replacement_characters() -> None:
    parts = [b"one \xff two", "caf\u00e9".encode(), b"\xc3"]
    offsets = shingles.ends_of(list(map(len, parts)))
    groups = list(shingles.groups(np.frombuffer(b"".join(parts), np.uint8), offsets, 1, shingles.WORDS))
    found = {text: own for group in groups for text, own in zip(group.texts.tolist(), _sets(group), strict=True)}
    wanted = ["one \ufffd two", "caf\u00e9", "\ufffd"]
    assert [found[n] for n in range(3)] == [set(shingles.sets_of([text], 1)[0].tolist()) for text in wanted]


def _sets(group: shingles.Group) -> list[set[int]]:
    return [set(own.tolist()) for own in shingles.split(group.shingles, group.offsets)]


def test_words_of_any_length_are_told_apart() -> None:
    many = ["x" * length for length in range(1, 300)]
    assert np.unique(shingles.sets_of(many, 1)[0]).size == len(many)


def test_what_is_read_as_what_does_not_depend_on_the_unicode_of_this_python() -> None:
    """Another digest means that this Python would make other shingles of some texts than others do."""
    classes, folds = shingles._table()
    longer = sorted(shingles._longer().items())
    digest = hashlib.sha256(classes.tobytes() + folds.astype("<u4").tobytes() + repr(longer).encode()).hexdigest()
    assert (shingles.VERSION, digest[:16]) == (1, "67f6c7c041654071")


def test_hashes_are_the_same_everywhere() -> None:
    """Rows of a table are compared with those that another machine wrote years ago."""
    text = "The same on every machine, in every process: \u65e5\u672c internationalization"
    hashes = {unit: shingles.sets_of([text], 5, unit)[0] for unit in shingles.UNITS}
    digests = {unit: hashlib.sha256(own.astype("<u8").tobytes()).hexdigest()[:16] for unit, own in hashes.items()}
    assert digests == {"words": "c2d48e052fb2c91e", "characters": "81506431ff3b5e9f"}


def test_a_shingle_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 0, wanted at least 1"):
        shingles.sets_of(["a"], 0)
    with pytest.raises(ValueError, match="unit is 'letters', wanted one of words, characters"):
        shingles.sets_of(["a"], 1, "letters")
