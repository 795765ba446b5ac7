"""Items of benchmarks in texts: which item, where, and how much of it.

A benchmark measures nothing of a model that has read its items. A text holds an item by one of two kinds of evidence:

``ngram``
    a run of words that the text shares with the item: 13 words as GPT-3 (Brown et al. 2020, appendix C), or all of a
    shorter text of the item.
``near``
    an edited copy: a passage of the text that, word by word and in order, has most of what the item says. Rare runs of
    a few words propose a passage, an alignment decides.

It counts which words are shared, not only how many. A word that one item alone has weighs 1, a word that all items have
next to nothing, so "which of the following is" is no evidence. Runs that stand in more than ten items are nobody's, as
GPT-3 left out n-grams that were too frequent.

A word is a run of letters and digits, without case and accents; punctuation, signs and underscores are none. A single
letter is none either, so that choices are the same whether A. or (a) stands before them. In scripts without spaces
each letter is a word, as in `etl.kernels.lines`. Translations and paraphrases are out of reach.

All is done by NumPy for many texts at once. A text of any size is read in pieces of some million characters.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etl.config import STRICT
from etl.kernels import lines
from etl.kernels.benchmarks import WHOLE, Item

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

NGRAM, NEAR = "ngram", "near"  # values of `kind`

GROUP_CHARACTERS = 1 << 20  # hashed at once
BLOCK_WORDS = 1 << 18  # of passages looked at together
MOST_PASSAGES = 4  # of one text that are aligned with one text of an item, those with most evidence first


# --- words -----------------------------------------------------------------------------------------------------------


class Words(NamedTuple):
    """Words of a text, in order: a hash each, and where in the text it starts and ends, in code points."""

    hashes: Hashes
    starts: Ints
    ends: Ints


# What a character is to a word.
_NONE, _LETTER, _LONE, _MARK, _IGNORED, _UNKNOWN = range(6)
_KINDS = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
_FOLDED = np.zeros(0x110000, dtype=np.uint64)
_IS_SINGLE = np.zeros(0x110000, dtype=bool)  # Latin letters that are no word alone

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)
# MurmurHash3's 64-bit finalizer, Appleby 2011.
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)


def words(text: str) -> Words:
    """The words of a text of any length."""
    found = list(_pieces(text))
    if len(found) == 1:
        return found[0]
    return Words(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _pieces(text: str) -> Iterator[Words]:
    """The words of a text piece by piece: a piece ends where no word goes on, or is one word of a million letters."""
    start = 0
    while True:
        end = _cut_after(text, start + GROUP_CHARACTERS)
        found = _words(text[start:end])
        yield Words(found.hashes, found.starts + start, found.ends + start)
        start = end
        if start >= len(text):
            return


def _cut_after(text: str, place: int) -> int:
    """The first place from `place` on at which a white space ends, but for a word without end."""
    most = min(len(text), place + GROUP_CHARACTERS)
    while place < most and not text[place - 1].isspace():
        place += 1
    return min(place, len(text))


def _words(text: str) -> Words:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kinds = _KINDS[codes]
    if kinds.size and kinds.max() >= _IGNORED:
        if (kinds == _UNKNOWN).any():
            _learn(np.unique(codes[kinds == _UNKNOWN]))
            kinds = _KINDS[codes]
        places = np.flatnonzero(kinds != _IGNORED)
        found = _runs(codes[places], kinds[places])
        if places.size == kinds.size:
            return found
        # An accent that follows a letter is a part of it.
        return Words(found.hashes, places[found.starts], np.append(places, kinds.size)[found.ends])
    return _runs(codes, kinds)


def _runs(codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> Words:
    """Words of characters: the polynomial of each in `_BASE`, from differences of one running sum."""
    is_word = kinds != _NONE
    before = np.concatenate(([_NONE], kinds[:-1])).astype(np.uint8)
    is_start = is_word & ((before == _NONE) | (kinds == _LONE) | ((before == _LONE) & (kinds == _LETTER)))
    starts = np.flatnonzero(is_start)
    if not starts.size:
        return Words(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    # A word ends where the next begins or before what is none, whichever is first.
    is_end = is_word & ~np.concatenate((is_word[1:], [False]))
    is_end[starts[1:] - 1] |= is_word[starts[1:] - 1]
    ends = np.flatnonzero(is_end) + 1
    powers, inverses = _powers(_power_of_two(codes.size))
    sums = np.zeros(codes.size + 1, dtype=np.uint64)
    np.cumsum(np.where(is_word, _FOLDED[codes], np.uint64(0)) * powers[: codes.size], out=sums[1:])
    hashes = _mixed((sums[ends] - sums[starts]) * inverses[starts])
    is_kept = (ends - starts > 1) | ~_IS_SINGLE[codes[starts]]
    if is_kept.all():
        return Words(hashes, starts, ends)
    return Words(hashes[is_kept], starts[is_kept], ends[is_kept])


def _power_of_two(size: int) -> int:
    return 1 << max(10, (size - 1).bit_length())


@functools.lru_cache(maxsize=4)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """Powers of `_BASE` and of its inverse modulo 2**64, from 0."""
    return _powers_of(_BASE, size), _powers_of(_INVERSE, size)


def _powers_of(base: int, size: int) -> Hashes:
    powers = np.ones(size, dtype=np.uint64)
    done = 1
    while done < size:
        step = min(done, size - done)
        powers[done : done + step] = powers[:step] * np.uint64(pow(base, done, 1 << 64))
        done += step
    return powers


def _learn(codes: Iterable[int]) -> None:
    """Fill the tables for characters that were not seen before."""
    for code in map(int, codes):
        character = chr(code)
        folded = _folded(character)
        _FOLDED[code] = ord(folded)
        _IS_SINGLE[code] = folded.isalpha() and (folded.isascii() or ord(folded) < 0x250)
        _KINDS[code] = _kind(character)


def _folded(character: str) -> str:
    """Without case, accent and form, where that is one character."""
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if not "\u0300" <= c <= "\u036f").casefold()
    return base if len(base) == 1 else character


def _kind(character: str) -> int:
    # Soft hyphens and joiners, and the accents of letters that are written as two characters.
    if character in "\u00ad\u200c\u200d\u2060\ufeff" or "\u0300" <= character <= "\u036f":
        return _IGNORED
    if unicodedata.category(character) in ("Mn", "Mc"):
        return _MARK
    if not character.isalnum():
        return _NONE
    return _LONE if len(lines.words(character * 2)) == 2 else _LETTER


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> _SHIFT)) * _MIX[0]
    values = (values ^ (values >> _SHIFT)) * _MIX[1]
    mixed: Hashes = values ^ (values >> _SHIFT)
    return mixed


def ngram_hashes(hashes: Hashes, size: int) -> Hashes:
    """A hash of each run of `size` words: (n,) -> (max(0, n - size + 1),).

    Runs are doubled until they are as long as asked, the last time with an overlap: log2(size) passes.
    """
    covered = 1
    while covered < size and hashes.size:
        step = min(covered, size - covered)
        factor = np.uint64(pow(_BASE, covered, 1 << 64))
        hashes = hashes[:-step] * factor + hashes[step:]
        covered += step
    return _mixed(hashes)


# --- the index -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What counts as a find.

    A run of `ngram` words that a text shares with an item counts when it weighs `min_weight`: 3 is as much as three
    words that no other item has. A text of an item that is shorter, but has `shortest` words and that weight, counts as
    a whole. `min_overlap` is the least share of a text of an item, by weight, that is asked for beside a shared run;
    `near` that of an edited copy without one, which must also have `near_words` of the words in common, of whichever
    has more: a passage on the same matter shares the rare words, but not the others. Runs of `seed` words propose
    edited copies, at most `seeds` of one text; what stands in more than `max_items` texts of items is nobody's.
    """

    __pydantic_config__ = STRICT

    ngram: int = 13
    shortest: int = 8
    min_weight: float = 3.0
    min_overlap: float = 0.0
    near: float = 0.65
    near_words: float = 0.6
    seed: int = 3
    seeds: int = 32
    max_items: int = 10

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, wanted at least 1"
            for name in ("ngram", "shortest", "seed", "seeds", "max_items")
            if getattr(self, name) < 1
        ]
        problems += [
            f"{name} is {getattr(self, name):g}, wanted 0 to 1"
            for name in ("min_overlap", "near", "near_words")
            if not 0 <= getattr(self, name) <= 1
        ]
        if self.ngram < self.shortest:
            problems.append(f"ngram is {self.ngram}, wanted at least shortest, which is {self.shortest}")
        if self.shortest < self.seed:
            problems.append(f"shortest is {self.shortest}, wanted at least seed, which is {self.seed}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Postings:
    """Where runs of words stand: sorted hashes, and of hash i the places [offsets[i], offsets[i + 1])."""

    hashes: Hashes
    offsets: npt.NDArray[np.int32]
    units: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]

    @functools.cached_property
    def _table(self) -> npt.NDArray[np.bool_]:
        """Which first bits some hash has: most of what is asked for is told from what is there in one look."""
        table = np.zeros(1 << self._bits, dtype=bool)
        table[self.hashes >> np.uint64(64 - self._bits)] = True
        return table

    @property
    def _bits(self) -> int:
        return max(10, (16 * self.hashes.size).bit_length())

    def find(self, asked: Hashes) -> tuple[Ints, Ints, Ints]:
        """(place in asked, unit, position in the unit) of every hash that is there."""
        maybe = np.flatnonzero(self._table[asked >> np.uint64(64 - self._bits)])
        if not maybe.size or not self.hashes.size:
            empty = np.zeros(0, np.int64)
            return empty, empty, empty
        at = np.minimum(np.searchsorted(self.hashes, asked[maybe]), self.hashes.size - 1)
        is_there = self.hashes[at] == asked[maybe]
        maybe, at = maybe[is_there], at[is_there]
        numbers = self.offsets[at + 1] - self.offsets[at]
        which = _ranges(self.offsets[at], numbers)
        return np.repeat(maybe, numbers), self.units[which].astype(np.int64), self.positions[which].astype(np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_table"}


def _ranges(starts: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> Ints:
    """The numbers from each start on, as many as its size says, in a row."""
    ends = np.cumsum(sizes)
    found: Ints = np.arange(int(ends[-1]) if ends.size else 0) + np.repeat(starts - (ends - sizes), sizes)
    return found


@dataclass(frozen=True)
class Report:
    """How many items of a benchmark are looked for, and how many cannot be: too short, or too common."""

    benchmark: str
    items: int
    tested: int
    as_whole: int
    too_short: int
    too_common: int


@dataclass(frozen=True)
class Index:
    """Items as they are looked for. A unit is a text of an item that is looked for, with one or more pieces.

    Word i of unit u is at offsets[u] + i: its hash, what it weighs, and the piece of the unit it is of.
    """

    settings: Settings
    benchmarks: tuple[str, ...]
    parts: tuple[str, ...]
    items: npt.NDArray[np.uint8]  # (items, 32): SHA-256
    benchmark_of: npt.NDArray[np.int16]  # by item
    item_of: npt.NDArray[np.int32]  # by unit
    part_of: npt.NDArray[np.int16]  # by unit
    offsets: npt.NDArray[np.int32]  # by unit, and one more
    hashes: npt.NDArray[np.uint32]  # by word; with the 64 bits of the run that led there, 32 will do
    weights: npt.NDArray[np.float32]
    piece_of: npt.NDArray[np.int16]
    runs: Postings
    seeds: Postings
    report: tuple[Report, ...] = field(compare=False)

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        arrays = [value for value in self.__dict__.values() if isinstance(value, np.ndarray)]
        for postings in (self.runs, self.seeds):
            arrays += [postings.hashes, postings.offsets, postings.units, postings.positions]
        return sum(array.nbytes for array in arrays)

    def tested(self) -> frozenset[tuple[str, str]]:
        """(item, part) of all that can be found; `WHOLE` where only the whole item can be."""
        units = np.unique(np.concatenate((self.runs.units, self.seeds.units))).tolist()
        return frozenset(
            (self.items[self.item_of[unit]].tobytes().hex(), self.parts[self.part_of[unit]]) for unit in units
        )

    def pieces(self, unit: int) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]]:
        """Words and weights of each piece of a unit."""
        start, end = int(self.offsets[unit]), int(self.offsets[unit + 1])
        ends = np.flatnonzero(np.diff(self.piece_of[start:end])) + 1
        for first, last in pairwise([start, *(start + ends).tolist(), end]):
            yield self.hashes[first:last], self.weights[first:last]

    @functools.cached_property
    def totals(self) -> npt.NDArray[np.float64]:
        """What the words of each unit weigh together."""
        sums = np.concatenate(([0.0], np.cumsum(self.weights, dtype=np.float64)))
        found: npt.NDArray[np.float64] = sums[self.offsets[1:]] - sums[self.offsets[:-1]]
        return found

    @functools.cached_property
    def slack(self) -> Ints:
        """How many words a passage may have been moved against each unit by what was put in or left out."""
        lengths = np.diff(self.offsets)
        found: Ints = np.maximum(self.settings.shortest, lengths // 3).astype(np.int64)
        return found

    @functools.cached_property
    def needed(self) -> Ints:
        """Seeds of each unit that propose a passage: one of ten."""
        return np.maximum(1, np.bincount(self.seeds.units, minlength=self.item_of.size) // 10)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}


def build(items: Sequence[Item], settings: Settings | None = None) -> Index:
    """The index of items. The same items in the same order give the same index."""
    settings = settings or Settings()
    said = [(number, part, text) for number, item in enumerate(items) for part, text in item.texts]
    hashed = [hashes for group in _groups([text for _, _, text in said]) for hashes in _hashes_of(group)]
    texts = [(number, part, hashes) for (number, part, _), hashes in zip(said, hashed, strict=True)]
    weigh = _Weights(texts, len(items))
    units, reasons = _units(texts, weigh, len(items), settings)
    lengths = np.fromiter((sum(map(len, unit.pieces)) for unit in units), np.int64, len(units))
    pieces = [np.concatenate(unit.pieces) for unit in units]
    hashes = np.concatenate(pieces) if pieces else np.zeros(0, np.uint64)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    weights = (weigh(hashes) / _occurrence(hashes, lengths)).astype(np.float32)
    names = tuple(dict.fromkeys(item.benchmark for item in items))
    parts = tuple(dict.fromkeys([*(part for item in items for part, _ in item.texts), WHOLE]))
    runs = _postings(hashes, offsets, settings.shortest, _run_block(settings), settings.max_items)
    seeds = _postings(hashes, offsets, settings.seed, functools.partial(_seed_block, settings), settings.max_items)
    digest = b"".join(bytes.fromhex(item.item) for item in items)
    benchmark_of = np.array([names.index(item.benchmark) for item in items], np.int16)
    return Index(
        settings,
        names,
        parts,
        np.frombuffer(digest, np.uint8).reshape(len(items), 32),
        benchmark_of,
        np.array([unit.item for unit in units], np.int32),
        np.array([parts.index(unit.part) for unit in units], np.int16),
        offsets,
        hashes.astype(np.uint32),
        weights,
        np.array([n for unit in units for n, piece in enumerate(unit.pieces) for _ in piece], np.int16),
        runs,
        seeds,
        _report(names, benchmark_of, units, np.unique(np.concatenate((runs.units, seeds.units))), reasons),
    )


class _Weights:
    """Weight of a word that k of n items have: log((n + 1) / k) / log(n + 1), so 1 if one item alone has it."""

    def __init__(self, texts: Sequence[tuple[int, str, Hashes]], items: int) -> None:
        words = np.concatenate([np.zeros(0, np.uint64), *(hashes for _, _, hashes in texts)])
        of = np.repeat([number for number, _, _ in texts], [hashes.size for _, _, hashes in texts])
        order = np.lexsort((of, words))
        words, of = words[order], of[order]
        is_new = np.ones(words.size, bool)
        is_new[1:] = (words[1:] != words[:-1]) | (of[1:] != of[:-1])
        self.words, counts = np.unique(words[is_new], return_counts=True)
        self.weights = np.log((1 + items) / counts) / np.log(1 + items)

    def __call__(self, hashes: Hashes) -> npt.NDArray[np.float64]:
        """Of each word; all are words of the items."""
        found: npt.NDArray[np.float64] = self.weights[np.searchsorted(self.words, hashes)]
        return found


def _occurrence(hashes: Hashes, lengths: Ints) -> Ints:
    """Of each word the how manyth it is of its kind in its text, from 1; texts follow one another."""
    text_of = np.repeat(np.arange(lengths.size), lengths)
    order = np.lexsort((hashes, text_of))
    is_new = np.ones(order.size, bool)
    is_new[1:] = (hashes[order][1:] != hashes[order][:-1]) | (text_of[order][1:] != text_of[order][:-1])
    starts = np.flatnonzero(is_new)
    found = np.empty(order.size, np.int64)
    found[order] = np.arange(order.size) - starts[np.cumsum(is_new) - 1] + 1
    return found


class _Unit(NamedTuple):
    item: int
    part: str
    pieces: list[Hashes]


def _units(
    texts: Sequence[tuple[int, str, Hashes]], weigh: _Weights, items: int, settings: Settings
) -> tuple[list[_Unit], Ints]:
    """Texts that can be looked for, and of each item why it has none: 0 it has, 1 too short, 2 too common."""

    def is_long(hashes: Hashes) -> bool:
        return hashes.size >= settings.shortest

    def is_telling(hashes: Hashes) -> bool:
        weights = weigh(hashes) / _occurrence(hashes, np.array([hashes.size]))
        return float(weights.sum()) >= settings.min_weight

    units: list[_Unit] = []
    reasons = np.ones(items, np.int64)
    for number, group in groupby(texts, key=lambda text: text[0]):
        of_item = list(group)
        found = [_Unit(number, part, [hashes]) for _, part, hashes in of_item if is_long(hashes) and is_telling(hashes)]
        if not found:
            pieces = [hashes for _, _, hashes in of_item if hashes.size]
            together = np.concatenate([np.zeros(0, np.uint64), *pieces])
            if is_long(together) and is_telling(together):
                found = [_Unit(number, WHOLE, pieces)]
            elif is_long(together):
                reasons[number] = 2
        seen = set()
        for unit in found:
            reasons[number] = 0
            key = (unit.part, *(piece.tobytes() for piece in unit.pieces))
            if key not in seen:
                seen.add(key)
                units.append(unit)
    return units, reasons


def _run_block(settings: Settings) -> Any:
    """Of consecutive runs of `shortest` words one of each block is kept, so that a run of `ngram` words has one.

    Such a run has k = ngram - shortest + 1 of them, and k consecutive places hold a whole block of (k + 1) // 2. A
    shorter text is one block.
    """
    block = (settings.ngram - settings.shortest + 2) // 2

    def of(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.where(places + settings.shortest - 1 < settings.ngram, places, block)

    return of


def _seed_block(settings: Settings, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return -(-places // settings.seeds)


def _postings(hashes: Hashes, offsets: npt.NDArray[np.int32], size: int, block_of: Any, max_items: int) -> Postings:
    """Of the runs of `size` words of each unit, the rarest of each block, if no more than `max_items` units have it."""
    found = ngram_hashes(hashes, size)
    numbers = np.maximum(np.diff(offsets) - size + 1, 0).astype(np.int64)
    units = np.repeat(np.arange(numbers.size), numbers)
    positions = _ranges(np.zeros(numbers.size, np.int64), numbers)
    found = found[offsets[units] + positions]
    # In how many units each run stands, a repeat within one unit counted once.
    order = np.lexsort((units, found))
    is_new_run, is_new = np.ones(order.size, bool), np.ones(order.size, bool)
    is_new_run[1:] = found[order][1:] != found[order][:-1]
    is_new[1:] = is_new_run[1:] | (units[order][1:] != units[order][:-1])
    run_number = np.cumsum(is_new_run) - 1
    counts = np.bincount(run_number, weights=is_new)[run_number] if order.size else np.zeros(0)
    frequency = np.empty(order.size)
    frequency[order] = counts
    blocks = positions // np.maximum(block_of(numbers), 1)[units]
    order = np.lexsort((positions, frequency, blocks, units))
    is_first = np.ones(order.size, bool)
    is_first[1:] = (units[order][1:] != units[order][:-1]) | (blocks[order][1:] != blocks[order][:-1])
    kept = order[is_first]
    kept = kept[frequency[kept] <= max_items]
    kept = kept[np.lexsort((positions[kept], units[kept], found[kept]))]
    unique, first = np.unique(found[kept], return_index=True)
    return Postings(
        unique,
        np.append(first, kept.size).astype(np.int32),
        units[kept].astype(np.int32),
        positions[kept].astype(np.int32),
    )


def _report(
    names: Sequence[str], benchmark_of: npt.NDArray[np.int16], units: Sequence[_Unit], known: Ints, reasons: Ints
) -> tuple[Report, ...]:
    item_of = np.array([unit.item for unit in units], np.int64)
    is_tested = np.zeros(benchmark_of.size, bool)
    is_tested[item_of[known]] = True
    is_whole = np.zeros(benchmark_of.size, bool)
    is_whole[[unit.item for unit in units if unit.part == WHOLE]] = True
    found = []
    for number, name in enumerate(names):
        own = benchmark_of == number
        tested, short = int((own & is_tested).sum()), int((own & ~is_tested & (reasons == 1)).sum())
        whole = int((own & is_tested & is_whole).sum())
        found.append(Report(name, int(own.sum()), tested, whole, short, int(own.sum()) - tested - short))
    return tuple(found)


# --- finding ---------------------------------------------------------------------------------------------------------


class Match(NamedTuple):
    """A text of an item in `text[start:end]`, in code points; `overlap` is the share of it that stands there."""

    benchmark: str
    item: str
    part: str
    kind: str
    overlap: float
    start: int
    end: int


def find(texts: Sequence[str | None], index: Index) -> list[list[Match]]:
    """The matches of each text, in order of place: of each text of an item the best, and of equal ones the first.

    Neither the order of the texts nor what else is in `texts` changes anything.
    """
    found: list[list[Match]] = []
    for group in _groups(texts):
        found += _find([text or "" for text in group], index)
    return found


def _groups(texts: Sequence[str | None]) -> Iterator[Sequence[str | None]]:
    """Texts that are hashed at once: of some million characters together, or one that is longer."""
    first, characters = 0, 0
    for place, text in enumerate(texts):
        size = len(text or "")
        if characters and characters + size > GROUP_CHARACTERS:
            yield texts[first:place]
            first, characters = place, 0
        characters += size
    if first < len(texts):
        yield texts[first:]


def _find(texts: Sequence[str], index: Index) -> list[list[Match]]:
    matches: list[list[Match]] = [[] for _ in texts]
    if not index.item_of.size:
        return matches
    found, begins, borders = _joined(texts)
    best = _Best(index)
    _by_runs(found.hashes, borders, index, best)
    _by_seeds(found.hashes, borders, index, best)
    for (text, unit), (kind, overlap, first, last) in best.found.items():
        item = int(index.item_of[unit])
        matches[text].append(
            Match(
                index.benchmarks[index.benchmark_of[item]],
                index.items[item].tobytes().hex(),
                index.parts[index.part_of[unit]],
                kind,
                overlap,
                int(found.starts[first] - begins[text]),
                int(found.ends[last] - begins[text]),
            )
        )
    return [sorted(of_text, key=lambda match: (match.start, match.end, match)) for of_text in matches]


def _joined(texts: Sequence[str]) -> tuple[Words, Ints, Ints]:
    """Words of all texts in a row; of each text, and of the end, where it begins, in code points and in words."""
    # Joined by what is no word; no run may cross it.
    joined = texts[0] if len(texts) == 1 else "\n".join(texts)
    begins = np.concatenate(([0], np.cumsum([len(text) + 1 for text in texts])))
    found = words(joined)
    borders = np.searchsorted(found.starts, begins)
    borders[-1] = found.starts.size
    return found, begins, borders


def _hashes_of(texts: Sequence[str | None]) -> list[Hashes]:
    found, _, borders = _joined([text or "" for text in texts])
    return [found.hashes[start:end] for start, end in pairwise(borders)]


class _Best:
    """Of each text and unit the best passage: (kind, overlap, first word, last word)."""

    def __init__(self, index: Index) -> None:
        self.found: dict[tuple[int, int], tuple[str, float, int, int]] = {}

    def take(self, text: int, unit: int, passage: tuple[str, float, int, int]) -> None:
        known = self.found.get((text, unit))
        if known is None or (-passage[1], passage[2]) < (-known[1], known[2]):
            self.found[text, unit] = passage

    def overlap(self, text: int, unit: int) -> float:
        known = self.found.get((text, unit))
        return known[1] if known else 0.0


def _by_runs(hashes: Hashes, borders: Ints, index: Index, best: _Best) -> None:
    """Runs of words that a text and a unit share, long enough and telling enough, and what of the unit is around."""
    size = index.settings.shortest
    places, units, positions = index.runs.find(ngram_hashes(hashes, size))
    if not places.size:
        return
    texts = np.searchsorted(borders, places, side="right") - 1
    runs = _extended(hashes.astype(np.uint32), borders, index, texts, units, places, positions)
    longest = sorted(runs, key=lambda run: (run.text, run.unit, -run.words, run.first))
    for (text, unit), group in groupby(longest, key=lambda run: (run.text, run.unit)):
        length = int(index.offsets[unit + 1] - index.offsets[unit])
        for run in list(group)[:MOST_PASSAGES]:
            if run.words == length:
                best.take(text, unit, (NGRAM, 1.0, run.first, run.last))
                break
            at = [np.array([value]) for value in (text, unit, run.diagonal)]
            passages = _passages(at[0], at[1], at[2], at[2], borders, index)
            low, high = int(passages.lows[0]), int(passages.highs[0])
            passage = _aligned(hashes, index, unit, low, high)
            if passage[0] < index.settings.near:
                passage = (run.overlap, run.first, run.last)
            if passage[0] >= index.settings.min_overlap:
                best.take(text, unit, (NGRAM, *passage))


class _Run(NamedTuple):
    text: int
    unit: int
    first: int
    last: int
    diagonal: int  # place in the texts of what would be the unit's first word
    words: int
    overlap: float


def _extended(
    hashes: npt.NDArray[np.uint32],
    borders: Ints,
    index: Index,
    texts: Ints,
    units: Ints,
    places: Ints,
    positions: Ints,
) -> list[_Run]:
    """The longest shared run around each place that counts, each once."""
    first = index.offsets[units].astype(np.int64)
    back = np.minimum(positions, places - borders[texts])
    ahead = np.minimum(index.offsets[units + 1] - first - positions, borders[texts + 1] - places)
    there = first + positions
    ahead = _shared(hashes, index.hashes, places, there, ahead, 1)
    back = _shared(hashes, index.hashes, places - 1, there - 1, back, -1)
    starts, sizes = positions - back, back + ahead
    sums = np.concatenate(([0.0], np.cumsum(index.weights, dtype=np.float64)))
    weights = sums[first + starts + sizes] - sums[first + starts]
    is_whole = sizes == index.offsets[units + 1] - first
    # What crosses the end of a text has been cut there, and is shorter than the run that was asked for.
    counts = (weights >= index.settings.min_weight) & ((sizes >= index.settings.ngram) | is_whole)
    columns = (texts, units, places - back, places + ahead - 1, places - positions, sizes)
    found = np.unique(np.stack([column[counts] for column in columns], axis=1), axis=0)
    first = index.offsets[found[:, 1]] + found[:, 2] - found[:, 4]
    shares = (sums[first + found[:, 5]] - sums[first]) / index.totals[found[:, 1]]
    return [_Run._make(row) for row in zip(*found.T.tolist(), shares.tolist(), strict=True)]


def _shared(
    left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32], places: Ints, others: Ints, most: Ints, step: int
) -> Ints:
    """How many words from each pair of places on, in steps of `step`, are the same: at most so many."""
    counts = np.zeros(places.size, np.int64)
    active = np.flatnonzero(most > 0)
    while active.size:
        done = counts[active]
        active = active[left[places[active] + step * done] == right[others[active] + step * done]]
        counts[active] += 1
        active = active[counts[active] < most[active]]
    return counts


def _by_seeds(hashes: Hashes, borders: Ints, index: Index, best: _Best) -> None:
    """Passages that have some rare runs of a unit in about its order, and most of its words."""
    places, units, positions = index.seeds.find(ngram_hashes(hashes, index.settings.seed))
    texts = np.searchsorted(borders, places, side="right") - 1
    is_inside = places + index.settings.seed <= borders[texts + 1]
    passages = _dense(texts[is_inside], units[is_inside], (places - positions)[is_inside], borders, index)
    is_possible = _most_overlap(hashes, passages, index) >= index.settings.near
    for text, unit, low, high in zip(*(column[is_possible].tolist() for column in passages), strict=True):
        if best.overlap(text, unit) < index.settings.near:
            passage = _aligned(hashes, index, unit, low, high)
            if _is_copy(hashes, index, unit, passage):
                best.take(text, unit, (NEAR, *passage))


def _is_copy(hashes: Hashes, index: Index, unit: int, passage: tuple[float, int, int]) -> bool:
    overlap, first, last = passage
    rules = index.settings
    if overlap < rules.near or overlap * index.totals[unit] < rules.min_weight:
        return False
    window = hashes[first : last + 1].astype(np.uint32)
    common = sum(_subsequence(piece, np.ones(piece.size), window)[-1] for piece, _ in index.pieces(unit))
    length = index.offsets[unit + 1] - index.offsets[unit]
    return bool(common >= rules.near_words * max(length, window.size))


class _Passages(NamedTuple):
    """Words [low, high) of a text in which a unit may stand."""

    texts: Ints
    units: Ints
    lows: Ints
    highs: Ints


def _passages(texts: Ints, units: Ints, firsts: Ints, lasts: Ints, borders: Ints, index: Index) -> _Passages:
    """Around the diagonals [firsts, lasts]: the places of what would be the first word of the unit."""
    lengths = (index.offsets[units + 1] - index.offsets[units]).astype(np.int64)
    lows = np.maximum(borders[texts], firsts - index.slack[units])
    highs = np.minimum(borders[texts + 1], lasts + lengths + index.slack[units])
    return _Passages(texts, units, lows, highs)


def _dense(texts: Ints, units: Ints, diagonals: Ints, borders: Ints, index: Index) -> _Passages:
    """Where there are enough seeds of a unit on near diagonals: of each text and unit those with most, first."""
    if not texts.size:
        return _Passages(texts, units, texts, texts)
    order = np.lexsort((diagonals, units, texts))
    texts, units, diagonals = texts[order], units[order], diagonals[order]
    is_new = np.ones(texts.size, bool)
    is_new[1:] = (texts[1:] != texts[:-1]) | (units[1:] != units[:-1])
    # One number for text, unit and diagonal, in the same order.
    keys = np.cumsum(is_new) - 1
    line = keys * (int(np.ptp(diagonals)) + 1 + int(index.slack.max())) + diagonals - diagonals.min()
    ends = np.searchsorted(line, line + index.slack[units], side="right")
    counts = ends - np.arange(line.size)
    enough = np.flatnonzero(counts >= index.needed[units])
    # Most stand alone; of others those are taken that begin after a denser one has ended.
    is_alone = np.bincount(keys[enough], minlength=keys[-1] + 1)[keys[enough]] == 1
    taken = enough[is_alone].tolist()
    for _, group in groupby(enough[~is_alone].tolist(), key=lambda at: keys[at]):
        chosen: list[int] = []
        for at in sorted(group, key=lambda at: (-counts[at], at)):
            if all(at >= ends[other] or other >= ends[at] for other in chosen):
                chosen.append(at)
            if len(chosen) == MOST_PASSAGES:
                break
        taken += chosen
    at = np.array(sorted(taken), np.int64)
    return _passages(texts[at], units[at], diagonals[at], diagonals[ends[at] - 1], borders, index)


def _most_overlap(hashes: Hashes, passages: _Passages, index: Index) -> npt.NDArray[np.float64]:
    """A bound of the overlap of each passage, whatever the order: the share of the unit whose words are there at all.

    Words are looked up by some bits of their hash, which can only raise it.
    """
    numbers = np.arange(passages.units.size)
    sizes = np.diff(index.offsets)[passages.units].astype(np.int64)
    most = np.zeros(numbers.size)
    for block in _blocks(passages.highs - passages.lows):
        lengths = (passages.highs - passages.lows)[block]
        window = hashes[_ranges(passages.lows[block], lengths)].astype(np.uint32)
        own = _ranges(index.offsets[passages.units[block]], sizes[block])
        of = np.repeat(numbers[block] - block.start, sizes[block])
        bits = max(10, (16 * window.size).bit_length())
        is_there = np.zeros(1 << bits, bool)
        is_there[_slots(np.repeat(numbers[block] - block.start, lengths), window, bits)] = True
        weights = np.where(is_there[_slots(of, index.hashes[own], bits)], index.weights[own], 0)
        most[block] = np.bincount(of, weights, minlength=lengths.size) / index.totals[passages.units[block]]
    # Rounding must not cost a whole copy.
    return most + 1e-6


def _slots(numbers: Ints, hashes: npt.NDArray[np.uint32], bits: int) -> Hashes:
    together = (numbers.astype(np.uint64) << np.uint64(32)) | hashes
    slots: Hashes = (together * np.uint64(_BASE)) >> np.uint64(64 - bits)
    return slots


def _blocks(sizes: Ints) -> Iterator[slice]:
    """Slices of passages of some hundred thousand words together."""
    ends = np.cumsum(sizes)
    first = 0
    while first < sizes.size:
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK_WORDS, side="right")))
        yield slice(first, last)
        first = last


def _aligned(hashes: Hashes, index: Index, unit: int, low: int, high: int) -> tuple[float, int, int]:
    """(share by weight, first word, last word) of what a unit and the words [low, high) have in common, in order.

    Each piece of the unit is aligned alone, so that choices may stand in another order.
    """
    window = hashes[low:high].astype(np.uint32)
    score, first, last = 0.0, high, low
    for piece, weights in index.pieces(unit):
        found, begin, stop = align(piece, weights, window)
        if found:
            score, first, last = score + found, min(first, low + begin), max(last, low + stop - 1)
    return min(1.0, score / float(index.totals[unit])), first, last


def align(
    words: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32], window: npt.NDArray[np.uint32]
) -> tuple[float, int, int]:
    """The heaviest common subsequence of `words` and `window`: (weight, start, end) of the window.

    Of the passages with that weight the one that ends first, and of these the one that begins last.
    """
    scores = _subsequence(words, weights, window)
    end = int(np.searchsorted(scores, scores[-1]))
    if end == 0:
        return 0.0, 0, 0
    back = _subsequence(words[::-1], weights[::-1], window[:end][::-1])
    return float(scores[-1]), end - int(np.searchsorted(back, back[-1])), end


def _subsequence(
    words: npt.NDArray[np.uint32], weights: npt.NDArray[np.floating[Any]], window: npt.NDArray[np.uint32]
) -> npt.NDArray[np.float64]:
    """Weight of the heaviest common subsequence of `words` and each beginning of `window`, of length 0 to its own."""
    scores = np.zeros(window.size + 1)
    for word, weight in zip(words, weights, strict=True):
        is_same = window == word
        if is_same.any():
            longer = np.where(is_same, scores[:-1] + weight, 0.0)
            scores[1:] = np.maximum.accumulate(np.maximum(scores[1:], longer))
    return scores
