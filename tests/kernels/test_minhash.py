"""Signatures estimate what the exact similarity says, bands find what is similar, and nothing depends on the batch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from datasketch import MinHash  # type: ignore[import-untyped]  # it has no stubs
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import minhash

BANDS, ROWS = 14, 8
PERMS = minhash.permutations(BANDS * ROWS, seed=1)

words = st.lists(st.sampled_from("abcdefgh"), max_size=40).map(" ".join)
any_text = st.text(st.characters(exclude_categories=()), max_size=60)
texts = st.lists(any_text | words, max_size=8)


def shingles_of(text: str, size: int) -> set[tuple[str, ...]]:
    """The definition, in plain Python."""
    found = minhash.words(text)
    return {tuple(found[start : start + size]) for start in range(max(1, len(found) - size + 1))} if found else set()


def similarity(left: set[Any], right: set[Any]) -> float:
    return len(left & right) / len(left | right) if left | right else 1.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!  It's 3.5", ["hello", "world", "it", "s", "3", "5"]),
        ("def f(x): return x + 1", ["def", "f", "x", "return", "x", "+", "1"]),
        ("a\u00a0b\u2003c", ["a", "b", "c"]),
        ("Straße \u201cGRÜSSE\u201d", ["strasse", "grüsse"]),
        ("\u65e5\u672c\u3067\u3059\u3002ok", ["\u65e5", "\u672c", "\u3067", "\u3059", "ok"]),
        (" \n", []),
    ],
)
def test_words_are_what_texts_differ_in(text: str, wanted: list[str]) -> None:
    assert minhash.words(text) == wanted


def test_code_that_differs_in_a_sign_differs() -> None:
    plus, minus = (minhash.shingle_hashes(f"def f(a, b): return a {sign} b", 5) for sign in "+-")
    assert minhash.jaccard(plus, minus) < 1


def test_same_text_shares_every_band() -> None:
    one, two = (minhash.shingle_hashes(text, 2) for text in ("one two three", "One  two, three"))
    assert minhash.band_hashes(minhash.signature(one, PERMS), BANDS) == minhash.band_hashes(
        minhash.signature(two, PERMS), BANDS
    )


def test_hashes_are_the_same_everywhere() -> None:
    """Rows of a table are compared with those that another machine wrote years ago."""
    shingles = minhash.shingle_hashes("the same on every machine and in every process", 5)
    assert shingles.tolist() == sorted(shingles.tolist())
    assert minhash.band_hashes(minhash.signature(shingles, PERMS), 2) == [-1654142675690921462, -4475027704141053259]


@given(words | any_text, st.integers(1, 6))
def test_there_is_a_hash_for_each_different_shingle(text: str, size: int) -> None:
    hashes = minhash.shingle_hashes(text, size)
    assert hashes.size == len(shingles_of(text, size)), "64 bits do not collide by chance"
    assert np.array_equal(hashes, np.unique(hashes))


@given(words, words, st.integers(1, 6))
def test_jaccard_is_that_of_the_sets_of_shingles(left: str, right: str, size: int) -> None:
    hashes = [minhash.shingle_hashes(text, size) for text in (left, right)]
    assert minhash.jaccard(*hashes) == similarity(shingles_of(left, size), shingles_of(right, size))


@settings(deadline=None)
@given(words.filter(bool), words.filter(bool))
def test_signature_estimates_jaccard_similarity(left: str, right: str) -> None:
    perms = minhash.permutations(1024, seed=7)
    a, b = (minhash.shingle_hashes(text, size=1) for text in (left, right))
    estimate = (minhash.signature(a, perms) == minhash.signature(b, perms)).mean()
    assert abs(estimate - minhash.jaccard(a, b)) < 5 * (0.25 / 1024) ** 0.5  # five standard errors


def test_signature_agrees_with_datasketch() -> None:
    """Both are estimates of one number, so they differ by no more than two errors may."""
    rng = random.Random(1)
    perms = minhash.permutations(512, seed=3)
    for _ in range(20):
        words = [str(n) for n in range(200)]
        other = [word if rng.random() < 0.9 else f"x{word}" for word in words]
        ours = [minhash.signature(minhash.shingle_hashes(" ".join(text), 1), perms) for text in (words, other)]
        theirs = [MinHash(512) for _ in range(2)]
        for sketch, text in zip(theirs, (words, other), strict=True):
            sketch.update_batch([word.encode() for word in text])
        estimate = (ours[0] == ours[1]).mean()
        assert abs(estimate - theirs[0].jaccard(theirs[1])) < 5 * (2 * 0.25 / 512) ** 0.5


@pytest.mark.parametrize("changed", [5, 15, 40])
def test_bands_find_as_many_as_the_formula_says(changed: int) -> None:
    """Pairs of 200 words of which some are changed: the share that meet in a band against the expected one."""
    met, expected = 0, 0.0
    pairs = 400
    for number in range(pairs):
        one = [f"w{number}x{n}" for n in range(200)]
        other = one[: 200 - changed] + [f"x{word}" for word in one[200 - changed :]]
        a, b = (minhash.shingle_hashes(" ".join(text), 1) for text in (one, other))
        expected += minhash.probability(minhash.jaccard(a, b), BANDS, ROWS)
        bands = [minhash.band_hashes(minhash.signature(hashes, PERMS), BANDS) for hashes in (a, b)]
        met += any(left == right for left, right in zip(*bands, strict=True))
    error = (0.25 / pairs) ** 0.5
    assert abs(met / pairs - expected / pairs) < 5 * error


def test_published_recall_of_the_default_bands() -> None:
    assert round(minhash.probability(0.8, BANDS, ROWS), 3) == 0.924
    assert minhash.probability(1, BANDS, ROWS) == 1
    assert minhash.probability(0, BANDS, ROWS) == 0


@settings(deadline=None)
@given(texts, st.integers(1, 6))
def test_many_at_once_are_as_one_by_one(many: list[str], size: int) -> None:
    shingles, offsets = minhash.shingle_hashes_of(many, size)
    signatures = minhash.signatures_of(shingles, offsets, PERMS)
    bands = minhash.band_hashes_of(signatures, BANDS)
    assert offsets[0] == 0
    assert offsets[-1] == shingles.size
    for place, text in enumerate(many):
        alone = minhash.shingle_hashes(text, size)
        assert np.array_equal(alone, shingles[offsets[place] : offsets[place + 1]])
        if alone.size:
            assert np.array_equal(minhash.signature(alone, PERMS), signatures[place])
            assert minhash.band_hashes(signatures[place], BANDS) == bands[place].tolist()


def test_texts_of_any_length_fit_in_blocks() -> None:
    rng = random.Random(1)
    long = " ".join(str(rng.random()) for _ in range(3 * minhash.BLOCK_SHINGLES))
    many = ["a b c d e f", long, "", "g", long + " end", *(f"{n} b c d e f g h" for n in range(300))]
    shingles, offsets = minhash.shingle_hashes_of(many, 5)
    found = minhash.signatures_of(shingles, offsets, PERMS)
    for place, text in enumerate(many):
        if text:
            assert np.array_equal(found[place], minhash.signature(minhash.shingle_hashes(text, 5), PERMS))


def test_another_seed_is_another_family() -> None:
    assert np.array_equal(PERMS, minhash.permutations(BANDS * ROWS, seed=1))
    assert not np.any(minhash.permutations(BANDS * ROWS, seed=2) == PERMS)
    assert np.array_equal(PERMS[:, :10], minhash.permutations(10, seed=1)), "more permutations keep the first"


def test_what_has_no_signature_is_refused() -> None:
    with pytest.raises(ValueError, match="a text without words has no signature"):
        minhash.signature(minhash.shingle_hashes("...", 5), PERMS)
    with pytest.raises(ValueError, match="size is 0, wanted at least 1"):
        minhash.shingle_hashes("a", 0)
    with pytest.raises(ValueError, match="a signature of 112 values has no 13 bands of one size"):
        minhash.band_hashes(PERMS[0], 13)
