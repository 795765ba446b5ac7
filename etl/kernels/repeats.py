"""What documents repeat of each other: lines, paragraphs and runs of words; and how it is cut out of a text.

Lines and paragraphs are compared by a hash of 64 bits over their words: letters casefolded, white space between them
one space, digits and punctuation as they stand. A *paragraph* is what stands between blank lines, one line or many.

Runs of words are found as Lee et al. 2022 define them, every run of `length` words (50 there, of a tokenizer) that
another document has too, but without a suffix array. Words are those of `etl.kernels.lines.words`: characters between
white space, and in scripts without spaces each letter; letters are not folded. Winnowing (Schleimer, Wilkerson and
Aiken 2003) picks the candidates: of the hashes of all k words in a row, each w in a row give up the smallest. Equal
runs of w + k - 1 words give up the same one, so with w + k - 1 = `length` none is missed, and a text has about
2 / (w + 1) fingerprints a word. A run of `length` words whose fingerprint no other document has is not repeated. The
others, and only these, are compared by a hash of their own.

Of n different values, 64 bits make about n**2 / 2**65 pairs equal by chance: 0.03 among a billion.

Every function takes any `str`, lone surrogates and NULs included, in time linear in its length, and raises for none.
Texts are read piece by piece, so that one of hundreds of megabytes needs little more memory than itself.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etl.kernels import lines

LINE, PARAGRAPH, SUBSTRING = KINDS = ("line", "paragraph", "substring")

# Of one document, so that its spans fit in a row; what follows is not compared.
MAX_BLOCKS = 1 << 20

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_PIECE = 1 << 20  # characters, or words, that are worked on at once
# MurmurHash3's 64-bit finalizer, Appleby 2011, and odd numbers that spread characters, their places and words.
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)
_OF_CHARACTER = np.uint64(0x9E3779B97F4A7C15)
_OF_PLACE = np.uint64(0xD1B54A32D192ED03)
_OF_WORD = 0x8CB92BA72F3D8DD7


class Block(NamedTuple):
    """A line or paragraph: `text[start:end]`, without white space at its ends."""

    kind: str
    hash: int  # signed, 64 bits
    words: int
    start: int
    end: int


class Runs(NamedTuple):
    """Words of a text, or runs of so many, in order: `text[starts[i]:ends[i]]`, and a hash of each."""

    starts: Places
    ends: Places
    hashes: Hashes


class Span(NamedTuple):
    """`text[start:end]` is repeated: places are in code points, `documents` is how many have it."""

    kind: str
    start: int
    end: int
    documents: int = 0


class Replacement(NamedTuple):
    """What stands for `text[start:end]`."""

    start: int
    end: int
    text: str


def blocks(text: str, kinds: Collection[str] = (LINE, PARAGRAPH)) -> Iterator[Block]:
    """The lines and paragraphs of `text` that hold a non-space character, at most `MAX_BLOCKS` of each kind."""
    first = last = -1  # of the paragraph that goes on
    counts = dict.fromkeys((LINE, PARAGRAPH), 0)

    def block(kind: str, start: int, end: int) -> Iterator[Block]:
        if kind in kinds and counts[kind] < MAX_BLOCKS:
            counts[kind] += 1
            yield Block(kind, *_block_hash(text, start, end), start, end)

    for start, end in _line_places(text):
        if start < end:
            yield from block(LINE, start, end)
            first = start if first < 0 else first
            last = end
        elif first >= 0:
            yield from block(PARAGRAPH, first, last)
            first = -1
    if first >= 0:
        yield from block(PARAGRAPH, first, last)


def words(text: str) -> Iterator[Runs]:
    """The words of `text` as `lines.words` cuts it, about a million characters at a time."""
    # The word that a piece ends in may go on in the next one. There it stands for one character before the others.
    open_start, open_size, open_sum = 0, 0, np.uint64(0)
    before = _SPACE
    for base in range(0, len(text), _PIECE):
        codes = _codes(text[base : base + _PIECE])
        kinds = _character_kinds()[codes]
        is_start = np.concatenate(([open_size > 0], _is_start(kinds, before)))
        sizes = np.concatenate(([open_size], kinds != _SPACE))
        places = np.arange(base - 1, base + codes.size)
        own_starts = np.where(is_start, places, 0)
        own_starts[0] = open_start
        np.maximum.accumulate(own_starts, out=own_starts)
        # The hash of a word is of the sum over its characters, each spread together with its place in the word.
        values = np.empty(places.size, dtype=np.uint64)
        values[1:] = codes
        values *= _OF_CHARACTER
        values += (places - own_starts).view(np.uint64) * _OF_PLACE
        _mix(values)
        values[0] = open_sum
        values[1:][kinds == _SPACE] = 0
        firsts = np.flatnonzero(is_start)
        open_size = 0
        if firsts.size:
            starts, sums = own_starts[firsts], np.add.reduceat(values, firsts)
            sizes = np.add.reduceat(sizes, firsts)
            ends = starts + sizes
            if ends[-1] == base + codes.size < len(text):
                open_start, open_size, open_sum = int(starts[-1]), int(sizes[-1]), sums[-1]
                starts, ends, sums = starts[:-1], ends[:-1], sums[:-1]
            yield Runs(starts, ends, _mix(sums))
        before = kinds[-1]


def fingerprints(text: str, length: int) -> npt.NDArray[np.int64]:
    """The winnowed hashes of `text`, sorted, each once: two texts with `length` words in a row in common share one.

    Raises:
        ValueError: `length` is less than 2.
    """
    found = [np.unique(chosen) for _, chosen in _chosen(text, length)]
    prints = found[0] if len(found) == 1 else np.unique(np.concatenate([np.zeros(0, np.uint64), *found]))
    return prints.view(np.int64)


def candidates(text: str, shared: npt.NDArray[np.int64], length: int) -> Iterator[Runs]:
    """Each run of `length` words whose fingerprint is in `shared`, in order; no other can be in another document.

    Raises:
        ValueError: `length` is less than 2.
    """
    wanted = np.sort(np.asarray(shared, dtype=np.int64).view(np.uint64))
    if not wanted.size:
        return
    for some, chosen in _chosen(text, length):
        is_shared = wanted[np.minimum(np.searchsorted(wanted, chosen), wanted.size - 1)] == chosen
        first = np.flatnonzero(is_shared)
        if first.size:
            yield Runs(some.starts[first], some.ends[first + length - 1], _grams(some.hashes, length)[first])


def cut(
    text: str, spans: Iterable[Span], kinds: Collection[str] = KINDS, replacements: Sequence[Replacement] = ()
) -> str:
    """`text` without the spans of `kinds`, and with `replacements`, whose places are in the same `text`.

    Spans may overlap; replacements, as of `etl.kernels.pii.mask`, do not, and one that a span covers goes with it. A
    line that is cut whole goes with its line break, and with one of two blank lines that would meet. What is left of a
    line has no white space where the span was at its start or end, and not twice in its middle; where a span reached
    over a line break, there still is one. All else stays as it is.

    Raises:
        ValueError: a kind is unknown.
    """
    unknown = sorted(set(kinds).difference(KINDS))
    if unknown:
        raise ValueError(f"kinds of repeats are {', '.join(KINDS)}, not {', '.join(unknown)}")
    stretches = _union(text, [(span.start, span.end) for span in spans if span.kind in kinds])
    return _edited(text, _cut_edits(text, stretches), replacements)


_OTHER, _SPACE, _LETTER, _MARK = 0, 1, 2, 3
_NON_SPACE = re.compile(r"\S")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@functools.cache
def _character_kinds() -> npt.NDArray[np.uint8]:
    """For each code point: a space, a letter of a script without spaces, a mark that may follow one, or else."""
    table = np.full(0x110000, _OTHER, dtype=np.uint8)
    table[[code for code in range(0x3001) if chr(code).isspace()]] = _SPACE
    for first, last in lines.UNSPACED_RANGES:
        every = "".join(map(chr, range(first, last + 1)))
        for kind, letters in ((_LETTER, lines.UNSPACED), (_MARK, lines.UNSPACED_MARKS)):
            table[[ord(letter) for letter in re.findall(f"[{letters}]", every)]] = kind
    return table


def _codes(piece: str) -> npt.NDArray[Any]:
    """The code points of some characters."""
    if piece.isascii():
        return np.frombuffer(piece.encode(), dtype=np.uint8)
    return np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _is_start(kinds: npt.NDArray[np.uint8], before: int) -> Mask:
    """Whether a word starts at each character, by its kind and those of the ones before it."""
    previous = np.empty_like(kinds)
    previous[0], previous[1:] = before, kinds[:-1]
    is_start: Mask = (kinds == _OTHER) & (previous != _OTHER)
    if kinds.max() >= _LETTER:
        is_start |= (kinds == _LETTER) | ((kinds == _MARK) & (previous < _LETTER))
    return is_start


def _line_places(text: str) -> Iterator[tuple[int, int]]:
    """Where each line of `text` is, without white space at its ends; a blank line is empty."""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        left = line.lstrip()
        first = start + len(line) - len(left)
        yield first, first + len(left.rstrip())
        start = end + 1


def _block_hash(text: str, start: int, end: int) -> tuple[int, int]:
    """Hash of the casefolded words of `text[start:end]`, one space between them, and how many words there are."""
    hasher = hashlib.blake2b(digest_size=8)
    count = 0
    is_apart = True  # whether white space, or nothing, was last
    for place in range(start, end, _PIECE):
        piece = text[place : min(end, place + _PIECE)]
        split = piece.casefold().split()
        if split:
            starts_apart = is_apart or piece[0].isspace()
            if starts_apart and place > start:
                hasher.update(b" ")
            hasher.update(" ".join(split).encode("utf-8", "surrogatepass"))
            is_spaced = piece.isascii() or not lines.MAYBE_UNSPACED.search(piece)
            count += (len(split) if is_spaced else len(lines.words(piece))) - (not starts_apart)
            is_apart = piece[-1].isspace()
        else:
            is_apart = True
    return int.from_bytes(hasher.digest(), "little", signed=True), count


def _mix(values: Hashes) -> Hashes:
    """`values`, spread in place."""
    for multiplier in _MIX:
        values ^= values >> _SHIFT
        values *= multiplier
    values ^= values >> _SHIFT
    return values


def _chosen(text: str, length: int) -> Iterator[tuple[Runs, Hashes]]:
    """Some words of `text`, and for each run of `length` among them the hash that it is known by."""
    if length < 2:
        raise ValueError(f"length is {length}, wanted at least 2 words")
    size = length // 2
    if len(text) < length:
        return
    starts, ends, hashes = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64)
    for some in words(text):
        # What is left of the words before starts the runs that end in these.
        starts, ends = np.concatenate((starts, some.starts)), np.concatenate((ends, some.ends))
        hashes = np.concatenate((hashes, some.hashes))
        if hashes.size >= length:
            yield Runs(starts, ends, hashes), _smallest(_grams(hashes, size), length - size + 1)
        rest = max(0, hashes.size - length + 1)
        starts, ends, hashes = starts[rest:], ends[rest:], hashes[rest:]


def _grams(hashes: Hashes, size: int) -> Hashes:
    """Hash of every `size` words in a row: (n,) -> uint64 (n - size + 1,)."""
    # The polynomial of a run is a difference of those of all words before its end and before its start, times the
    # power that brings it to 0. The base is odd, so that it has an inverse modulo 2**64.
    powers, inverses = _powers(1 << max(10, hashes.size.bit_length()))
    sums = np.zeros(hashes.size + 1, dtype=np.uint64)
    np.cumsum(hashes * powers[: hashes.size], out=sums[1:])
    return _mix((sums[size:] - sums[:-size]) * inverses[: hashes.size - size + 1])


@functools.lru_cache(maxsize=16)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The first powers, from 0, of the base of `_grams`, and of its inverse."""
    found = []
    for base in (_OF_WORD, pow(_OF_WORD, -1, 1 << 64)):
        factors = np.full(count, base, dtype=np.uint64)
        factors[0] = 1
        found.append(np.cumprod(factors, dtype=np.uint64))
    return found[0], found[1]


def _smallest(hashes: Hashes, window: int) -> Hashes:
    """The smallest of every `window` hashes in a row: (n,) -> uint64 (n - window + 1,)."""
    smallest, width = hashes, 1
    while width < window:
        step = min(width, window - width)
        smallest = np.minimum(smallest[:-step], smallest[step:])
        width += step
    return smallest


def _union(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that `spans` cover, in order, without white space at their ends; more than that is between any two."""
    stretches: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        inner = text[start:end]
        start, end = start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())
        if start >= end:
            continue
        if stretches and (start <= stretches[-1][1] or _is_blank(text, stretches[-1][1], start)):
            stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
        else:
            stretches.append((start, end))
    return stretches


def _is_blank(text: str, start: int, end: int) -> bool:
    return _NON_SPACE.search(text, start, end) is None


def _cut_edits(text: str, stretches: list[tuple[int, int]]) -> list[Replacement]:
    """What to do to `text` so that `stretches` are gone, and lines and words around them stand as they should."""
    content_start, content_end = len(text) - len(text.lstrip()), len(text.rstrip())
    return [_cut_edit(text, start, end, content_start, content_end) for start, end in stretches]


def _cut_edit(text: str, start: int, end: int, content_start: int, content_end: int) -> Replacement:
    before, after = start, end
    while before > 0 and text[before - 1] != "\n" and text[before - 1].isspace():
        before -= 1
    while after < len(text) and text[after] != "\n" and text[after].isspace():
        after += 1
    is_at_start = before == 0 or text[before - 1] == "\n"
    is_at_end = after == len(text) or text[after] == "\n"
    if is_at_start and is_at_end:
        return _line_edit(text, before, after, is_first=start == content_start, is_last=end == content_end)
    if is_at_start:
        return Replacement(start, after, "")
    if is_at_end:
        return Replacement(before, end, "")
    if "\n" in text[start:end]:
        return Replacement(before, after, "\n\n" if _BLANK_LINE.search(text, start, end) else "\n")
    return Replacement(start, after if before < start else end, "")


def _line_edit(text: str, start: int, end: int, is_first: bool, is_last: bool) -> Replacement:
    """For whole lines, the ends of which are given: with a line break, and with blank lines that would be doubled."""
    if is_first and is_last:
        return Replacement(0, len(text), "")
    if is_last:
        return Replacement(len(text[:start].rstrip()), end, "")
    next_line = _NON_SPACE.search(text, end)
    rest = text.rfind("\n", end, next_line.start() if next_line else len(text)) + 1
    has_blank_after = rest > end + 1
    has_blank_before = _is_blank(text, text.rfind("\n", 0, start - 1) + 1, start) if start else True
    return Replacement(start, rest if is_first or (has_blank_before and has_blank_after) else end + 1, "")


def _edited(text: str, edits: list[Replacement], replacements: Sequence[Replacement]) -> str:
    """`text` with all of them done; of a replacement that an edit overlaps, only what the edit leaves is replaced."""
    done: list[Replacement] = []
    place = 0
    for start, end, new in sorted(replacements):
        while place < len(edits) and edits[place].end <= start:
            done.append(edits[place])
            place += 1
        while place < len(edits) and start < edits[place].start and edits[place].end < end:
            place += 1  # within the replacement
        if place < len(edits) and edits[place].start <= start < edits[place].end:
            start = edits[place].end
            if start < end:
                done.append(edits[place])
                place += 1
                while place < len(edits) and edits[place].end < end:
                    place += 1
        if place < len(edits) and start < edits[place].start < end:
            end = edits[place].start
        if start < end:
            done.append(Replacement(start, end, new))
    pieces = []
    last = 0
    for start, end, new in (*done, *edits[place:]):
        pieces += [text[last:start], new]
        last = end
    return "".join((*pieces, text[last:]))
