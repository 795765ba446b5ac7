"""Near duplicates by MinHash: word shingles, signatures, bands, and the exact similarity to verify candidates by.

The Jaccard similarity of two texts is the share of their shingles, runs of some words, that both have. A signature
estimates it (Broder 1997): each of its values is the smallest shingle hash after a random permutation, and two texts
agree in one with the probability of their similarity. Bands of some values each find the similar without comparing all
with all: texts of similarity s share at least one of b bands of r rows with probability 1 - (1 - s**r)**b. Bands only
propose; `jaccard` decides.

A word is a run of letters and digits, casefolded, or a sign such as ``+`` or ``=``, in which code and arithmetic
differ; punctuation of sentences is none. In scripts without spaces each letter is a word, as in `etl.kernels.lines`.

Functions ending in ``_of`` do many texts at once, some ten times faster than one by one when texts are short. They
pass ragged arrays: the values of all texts in a row, and `offsets` of one more than there are texts, where
text i has the values [offsets[i], offsets[i + 1]).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from etl.kernels import lines

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

BLOCK_SHINGLES = 1024  # permuted at once: with 112 permutations 0.9 MB, which stays in the cache of a core

_PUNCTUATION = re.compile("[\\s.,;:!?\"'()\\[\\]{}\u2018\u2019\u201c\u201d\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1f]+")
_SIGN = re.compile(r"[^\w\s]")
_ASCII_WORD = re.compile(r"\w+|[^\w\s.,;:!?\"'()\[\]{}]")
# MurmurHash3's 64-bit finalizer, Appleby 2011.
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)
_STEP = 0x9E3779B97F4A7C15  # odd, so that no power of it is 0 modulo 2**64


def words(text: str) -> list[str]:
    """The words of a text as shingles are made of them."""
    if text.isascii():
        found: list[str] = _ASCII_WORD.findall(text.lower())
        return found
    spaced = _SIGN.sub(r" \g<0> ", _PUNCTUATION.sub(" ", text.casefold()))
    return list(lines.words(spaced))


def shingle_hashes(text: str, size: int) -> Hashes:
    """Hashes of the shingles of `size` words, sorted, each once: uint64 (n,).

    A text of fewer words is one shingle; one without words has none. The same on every machine and in every process.
    """
    return shingle_hashes_of([text], size)[0]


def shingle_hashes_of(texts: Sequence[str], size: int) -> tuple[Hashes, Offsets]:
    """`shingle_hashes` of each text, ragged.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"size is {size}, wanted at least 1")
    split = [words(text) for text in texts]
    counts = np.fromiter(map(len, split), np.int64, len(split))
    hashes = np.fromiter((_word_hash(word) for row in split for word in row), np.uint64, int(counts.sum()))
    shingles, text_of = _shingles(hashes, counts, size)
    # Sorted within each text, and every hash once.
    order = np.lexsort((shingles, text_of))
    shingles, text_of = shingles[order], text_of[order]
    is_new = np.ones(shingles.size, dtype=bool)
    is_new[1:] = (shingles[1:] != shingles[:-1]) | (text_of[1:] != text_of[:-1])
    kept = np.bincount(text_of[is_new], minlength=len(split)) if split else np.zeros(0, np.int64)
    offsets: Offsets = np.concatenate(([0], np.cumsum(kept))).astype(np.int64)
    return shingles[is_new], offsets


def permutations(count: int, seed: int) -> Hashes:
    """Multipliers and addends of `count` permutations: uint64 (2, count); multipliers are odd."""
    drawn = [hashlib.blake2b(f"{seed} {n}".encode(), digest_size=16).digest() for n in range(count)]
    perms: Hashes = np.frombuffer(b"".join(drawn), dtype="<u8").reshape(count, 2).T.astype(np.uint64)
    perms[0] |= np.uint64(1)
    return perms


def signature(hashes: Hashes, perms: Hashes) -> Hashes:
    """MinHash values: (n,) and (2, k) -> uint64 (k,), each below 2**32.

    Each permutation is multiply-shift, ``(a * h + b mod 2**64) >> 32`` (Dietzfelbinger et al. 1997), so the wrap of
    uint64 arithmetic is meant.

    Raises:
        ValueError: `hashes` is empty; an empty set has no minimum.
    """
    if hashes.size == 0:
        raise ValueError("no shingles: a text without words has no signature")
    # Shifted after the minimum, which commutes with it: one number for each permutation instead of n.
    permuted = np.outer(hashes, perms[0])
    permuted += perms[1]
    smallest: Hashes = permuted.min(axis=0) >> np.uint64(32)
    return smallest


def signatures_of(hashes: Hashes, offsets: Offsets, perms: Hashes) -> Hashes:
    """`signature` of each text: ragged and (2, k) -> uint64 (texts, k). A text without shingles has all ones."""
    sizes = np.diff(offsets)
    found = np.full((sizes.size, perms.shape[1]), np.iinfo(np.uint64).max, dtype=np.uint64)
    filled = np.flatnonzero(sizes)
    first = 0
    while first < filled.size:
        # As many whole texts as fit in a block, at least one: a long text alone is done by `signature` in parts.
        start = offsets[filled[first]]
        last = max(first + 1, int(np.searchsorted(offsets[filled + 1], start + BLOCK_SHINGLES, side="right")))
        rows = filled[first:last]
        if sizes[rows[0]] > BLOCK_SHINGLES:
            found[rows[0]] = _long_signature(hashes[offsets[rows[0]] : offsets[rows[0] + 1]], perms)
        else:
            block = hashes[start : offsets[rows[-1] + 1]]
            permuted = np.outer(block, perms[0])
            permuted += perms[1]
            found[rows] = np.minimum.reduceat(permuted, offsets[rows] - start, axis=0) >> np.uint64(32)
        first = last
    return found


def band_hashes(signature: Hashes, bands: int) -> list[int]:
    """A hash of the values of each band: (k,) -> `bands` signed 64-bit numbers."""
    return [int(value) for value in band_hashes_of(signature[np.newaxis], bands)[0]]


def band_hashes_of(signatures: Hashes, bands: int) -> npt.NDArray[np.int64]:
    """`band_hashes` of each text: (texts, k) -> int64 (texts, bands).

    Raises:
        ValueError: k is no multiple of `bands`.
    """
    texts, size = signatures.shape
    if bands < 1 or size % bands:
        raise ValueError(f"a signature of {size} values has no {bands} bands of one size")
    rows = signatures.reshape(texts, bands, size // bands)
    hashed = np.zeros((texts, bands), dtype=np.uint64)
    for row in range(rows.shape[2]):
        hashed = _mixed(hashed * np.uint64(_STEP) + rows[:, :, row])
    signed: npt.NDArray[np.int64] = hashed.view(np.int64)
    return signed


def jaccard(left: Hashes, right: Hashes) -> float:
    """The similarity of two sets of hashes, each sorted and without repeats: 0 to 1. Two empty sets are equal: 1."""
    shared = np.intersect1d(left, right, assume_unique=True).size
    union = left.size + right.size - shared
    return shared / union if union else 1.0


def probability(similarity: float, bands: int, rows: int) -> float:
    """That two texts of a similarity share at least one band."""
    return float(1 - (1 - similarity**rows) ** bands)


@functools.lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def _shingles(hashes: Hashes, counts: npt.NDArray[np.int64], size: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hash of each shingle of each text, and the text it is of. `hashes` are of the words, `counts` words of a text."""
    # One shingle at least for each text with words: the last ones of a short text run into what stands for no word.
    numbers = np.where(counts == 0, 0, np.maximum(counts - size + 1, 1))
    text_of = np.repeat(np.arange(counts.size), numbers)
    first_word = np.concatenate(([0], np.cumsum(counts)))[:-1]
    first_shingle = np.concatenate(([0], np.cumsum(numbers)))[:-1]
    starts = np.arange(text_of.size) - first_shingle[text_of] + first_word[text_of]
    ends = (first_word + counts)[text_of]
    rolled = np.zeros(text_of.size, dtype=np.uint64)
    for step in range(size):
        place = starts + step
        is_word = place < ends
        word = hashes[np.where(is_word, place, 0)] if hashes.size else rolled
        rolled = np.where(is_word, rolled * np.uint64(_STEP) + word, rolled)
    return _mixed(rolled), text_of


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> _SHIFT)) * _MIX[0]
    values = (values ^ (values >> _SHIFT)) * _MIX[1]
    mixed: Hashes = values ^ (values >> _SHIFT)
    return mixed


def _long_signature(hashes: Hashes, perms: Hashes) -> Hashes:
    parts = [
        signature(hashes[start : start + BLOCK_SHINGLES], perms) for start in range(0, hashes.size, BLOCK_SHINGLES)
    ]
    return np.min(parts, axis=0)  # type: ignore[no-any-return]
