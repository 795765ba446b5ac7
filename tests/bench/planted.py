"""Documents of which it is known how similar they are, for measuring how duplicates are found.

    python -m tests.bench.planted --documents 10000 --seed 1 --jsonl FILE [--truth FILE]

A stream of families, each made from its number and the seed alone: single documents; exact copies; near duplicates, by
words put in, left out or exchanged and blocks moved, of one original or each of the one before; and one large family
of pages from a template, which differ in some numbers only. Words are drawn by Zipf's law, lengths are lognormal with
a mean of 5.4 kB, as pages of Common Crawl are after extraction. The similarity of two documents is that of their sets
of shingles, counted here in plain Python.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

VOCABULARY = 50_000
MEAN_WORDS = 905  # 5.4 kB
SIGMA = 0.8  # of the logarithm of the number of words
SINGLE, COPY, NEAR, CHAIN, TEMPLATE = KINDS = ("single", "copy", "near", "chain", "template")
SHARES = (0.70, 0.08, 0.12, 0.04, 0.06)  # of the families; a family has one to six documents, see _family
TEMPLATE_WORDS, TEMPLATE_SLOTS = 600, 10
_WORD = re.compile("[a-z0-9]+")


@dataclass(frozen=True)
class Document:
    doc_id: str  # as the project's: hexadecimal, in no order
    text: str
    family: str
    kind: str


@dataclass(frozen=True)
class Pair:
    """Two documents of a family, smaller id first, and the Jaccard similarity of their shingles."""

    left: str
    right: str
    similarity: float


def documents(number: int, seed: int) -> Iterator[Document]:
    """The first `number` documents of the stream of a seed."""
    return islice((document for family in families(seed) for document in family), number)


def truth(number: int, seed: int, size: int = 5, largest: int = 50) -> Iterator[Pair]:
    """Pairs within families of `documents`; of the pages of the template, those of the first `largest` only.

    Documents of two families share no more than chance gives: hardly any run of five words.
    """
    family: list[Document] = []
    template: list[Document] = []
    for document in documents(number, seed):
        if document.kind == TEMPLATE:
            template.append(document)
            continue
        if family and family[0].family != document.family:
            yield from _pairs(family, size)
            family = []
        family.append(document)
    yield from _pairs(family, size)
    yield from _pairs(template[:largest], size)


def similarity(left: str, right: str, size: int = 5) -> float:
    """The Jaccard similarity of two texts of this module, by brute force."""
    sets = [shingles(text, size) for text in (left, right)]
    return _similarity(*sets)


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))} if words else set()


def families(seed: int) -> Iterator[list[Document]]:
    """Without end; one family after the other, so that the first of them are the same in a longer stream."""
    number = 0
    while True:
        yield _family(np.random.default_rng([seed, number]), seed, number)
        number += 1


def _family(rng: np.random.Generator, seed: int, number: int) -> list[Document]:
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    family = f"{seed}-{TEMPLATE if kind == TEMPLATE else number}"
    texts = []
    if kind == TEMPLATE:
        texts = [_template(rng, seed)]
    else:
        words = _words(rng, max(8, int(rng.lognormal(math.log(MEAN_WORDS) - SIGMA**2 / 2, SIGMA))))
        texts = [_written(words, seed + number)]
        for _ in range(0 if kind == SINGLE else int(rng.integers(1, 6))):
            if kind == COPY:
                texts.append(texts[0])
                continue
            edited = _edited(rng, words, float(rng.uniform(0.4, 1)))
            texts.append(_written(edited, seed + number))
            words = edited if kind == CHAIN else words
    ids = [hashlib.blake2b(f"{seed} {number} {n}".encode(), digest_size=16).hexdigest() for n in range(len(texts))]
    return [Document(doc_id, text, family, kind) for doc_id, text in zip(ids, texts, strict=True)]


def _edited(rng: np.random.Generator, words: Sequence[str], wanted: float) -> list[str]:
    """Words with about as many changes as leave `wanted` of the shingles of five; what is left is counted, not set."""
    edited = list(words)
    edits = max(1, round(len(words) * (1 - wanted) / (5 * (1 + wanted))))
    for kind, word in zip(rng.integers(0, 10, edits).tolist(), _words(rng, edits), strict=True):
        place = int(rng.integers(0, len(edited)))
        if kind < 5:
            edited[place] = word
        elif kind < 7:
            edited.insert(place, word)
        elif kind < 9 and len(edited) > 8:
            del edited[place]
        else:  # a block of up to 30 words to another place
            block = edited[place : place + 30]
            del edited[place : place + 30]
            to = int(rng.integers(0, len(edited) + 1))
            edited[to:to] = block
    return edited


def _template(rng: np.random.Generator, seed: int) -> str:
    words = _words(np.random.default_rng([seed]), TEMPLATE_WORDS)
    places = range(0, TEMPLATE_WORDS, TEMPLATE_WORDS // TEMPLATE_SLOTS)
    for place, value in zip(places, rng.integers(0, 1_000_000, len(places)).tolist(), strict=True):
        words[place] = str(value)
    return _written(words, seed)


def _words(rng: np.random.Generator, number: int) -> list[str]:
    vocabulary, shares = _vocabulary()
    drawn: list[str] = vocabulary[np.searchsorted(shares, rng.random(number))].tolist()
    return drawn


@functools.cache
def _vocabulary() -> tuple[npt.NDArray[np.object_], npt.NDArray[np.float64]]:
    """The words, and the share of those up to each one; frequent words are short."""
    rng = np.random.default_rng(0)
    syllables = np.array([consonant + vowel for consonant in "bcdfghklmnprstvz" for vowel in "aeiou"], dtype=object)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        lengths = 1 + rng.poisson(min(3.2, len(words) ** 0.13 * 0.75), 100)
        drawn = syllables[rng.integers(0, syllables.size, lengths.sum())]
        words.update(dict.fromkeys(map("".join, np.split(drawn, np.cumsum(lengths)[:-1]))))
    words = dict.fromkeys(islice(words, VOCABULARY))
    weights = 1 / (np.arange(VOCABULARY) + 2.7)  # Mandelbrot 1953
    return np.array(list(words), dtype=object), np.cumsum(weights) / weights.sum() * (1 - 1e-12)


def _written(words: Sequence[str], seed: int) -> str:
    """Sentences of 6 to 24 words, some to a line; copies that differ in words may differ in where these end."""
    rng = np.random.default_rng([seed, 7])
    pieces = []
    start = 0
    while start < len(words):
        end = start + int(rng.integers(6, 25))
        sentence = words[start:end]
        pieces.append(f"{sentence[0].capitalize()} {' '.join(sentence[1:])}".rstrip() + ".")
        pieces.append("\n" if rng.random() < 0.2 else " ")
        start = end
    return "".join(pieces).rstrip()


def _pairs(family: Sequence[Document], size: int) -> Iterator[Pair]:
    if len(family) < 2:
        return
    sets = {document.doc_id: shingles(document.text, size) for document in family}
    for left, right in combinations(sorted(sets), 2):
        yield Pair(left, right, _similarity(sets[left], sets[right]))


def _similarity(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    return len(left & right) / len(left | right) if left | right else 1.0


def write(path: Path, number: int, seed: int) -> None:
    """`documents` as JSON lines with the keys id, text, family and kind."""
    with path.open("w", encoding="utf-8") as file:
        for document in documents(number, seed):
            row = {"id": document.doc_id, "text": document.text, "family": document.family, "kind": document.kind}
            file.write(json.dumps(row) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jsonl", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="a file for the pairs: JSON lines of left, right, similarity")
    options = parser.parse_args(argv)
    write(options.jsonl, options.documents, options.seed)
    if options.truth:
        with options.truth.open("w", encoding="utf-8") as file:
            for pair in truth(options.documents, options.seed):
                file.write(json.dumps(vars(pair)) + "\n")


if __name__ == "__main__":
    main()
