"""What a text says, as a set: its words, or its characters, in overlapping runs of some length.

Two texts are compared by the runs that both have, called shingles (Broder 1997). They are made of words, or of
characters, and a text of fewer than a shingle takes is one shingle, so that short texts are compared too; a text
without words has none. Case, white space and the punctuation of sentences do not matter, numbers do: pages made from
one template differ in nothing else.

A *word* is a run of letters, digits and marks, casefolded. A sign such as ``+`` or ``=``, in which code and arithmetic
differ, and an emoji are words of their own; punctuation ends a word and is none. In scripts without spaces (Han, Kana,
Thai, Lao, Khmer, Burmese and others) each letter with its combining marks is a word, as in `etl.kernels.lines`. Full
width forms are the characters that they show, and what is invisible (soft hyphens, joiners, directions, skin tones) is
not there. Texts are not normalised otherwise: an accent as a character of its own makes another word. *Characters* are
those of the words, with one space where there were spaces or punctuation, which is about how SlimPajama prepares texts.

What is read as what is fixed here, whatever Unicode this Python knows, since rows of a table are compared with those
that another machine wrote years ago. `VERSION` grows with each change that makes other shingles of some text.

Shingles are 64-bit hashes. Many texts are done at once in ragged arrays: the values of all texts in a row, and
`offsets` of one more than there are texts, where text i has the values [offsets[i], offsets[i + 1]). Time and memory
are linear in the length of a text. One of more than `PIECE_BYTES` is read in pieces that end in white space; where
there is none for `SEARCH_BYTES`, the piece ends anywhere, and with it a word.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etl.kernels import lines

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

VERSION = 1
WORDS, CHARACTERS = UNITS = ("words", "characters")
PIECE_BYTES = 1 << 20
SEARCH_BYTES = 1 << 16
# Done at once: enough to spread the cost of a NumPy call over many texts, little enough to stay in a core's cache.
GROUP_BYTES = 1 << 18

# Code points, of Unicode 14. Punctuation, spaces, control characters and modifiers; then symbols.
_PUNCTUATION = (
    "80-a1 a7-a8 ab af b4 b6-b8 bb bf 2c2-2c5 2d2-2df 2e5-2eb 2ed 2ef-2ff 375 37e 384-385 387 55a-55f 589-58a 5be 5c0 "
    "5c3 5c6 5f3-5f4 609-60a 60c-60d 61b 61d-61f 66a-66d 6d4 700-70d 7f7-7f9 830-83e 85e 888 964-965 970 9fd a76 af0 "
    "c77 c84 df4 e4f e5a-e5b f04-f12 f14 f3a-f3d f85 fd0-fd4 fd9-fda 104a-104f 10fb 1360-1368 1400 166e 1680 "
    "169b-169c 16eb-16ed 1735-1736 17d4-17d6 17d8-17da 1800-180a 1944-1945 1a1e-1a1f 1aa0-1aa6 1aa8-1aad 1b5a-1b60 "
    "1b7d-1b7e 1bfc-1bff 1c3b-1c3f 1c7e-1c7f 1cc0-1cc7 1cd3 1fbd 1fbf-1fc1 1fcd-1fcf 1fdd-1fdf 1fed-1fef 1ffd-200b "
    "2010-2029 202f-2043 2045-2051 2053-205f 207d-207e 208d-208e 2308-230b 2329-232a 2768-2775 27c5-27c6 27e6-27ef "
    "2983-2998 29d8-29db 29fc-29fd 2cf9-2cfc 2cfe-2cff 2d70 2e00-2e2e 2e30-2e4f 2e52-2e5d 3000-3003 3008-3011 "
    "3014-301f 3030 303d 309b-309c 30a0 30fb a4fe-a4ff a60d-a60f a673 a67e a6f2-a716 a720-a721 a789-a78a a874-a877 "
    "a8ce-a8cf a8f8-a8fa a8fc a92e-a92f a95f a9c1-a9cd a9de-a9df aa5c-aa5f aade-aadf aaf0-aaf1 ab5b ab6a-ab6b abeb "
    "fbb2-fbc2 fd3e-fd3f fe10-fe19 fe30-fe61 fe63 fe68 fe6a-fe6b ff5f-ff65 ffe3 10100-10102 1039f 103d0 1056f 10857 "
    "1091f 1093f 10a50-10a58 10a7f 10af0-10af6 10b39-10b3f 10b99-10b9c 10ead 10f55-10f59 10f86-10f89 11047-1104d "
    "110bb-110bc 110be-110c1 11140-11143 11174-11175 111c5-111c8 111cd 111db 111dd-111df 11238-1123d 112a9 "
    "1144b-1144f 1145a-1145d 114c6 115c1-115d7 11641-11643 11660-1166c 116b9 1173c-1173e 1183b 11944-11946 119e2 "
    "11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11c41-11c45 11c70-11c71 11ef7-11ef8 11fff 12470-12474 12ff1-12ff2 "
    "16a6e-16a6f 16af5 16b37-16b3b 16b44 16e97-16e9a 16fe2 1bc9f 1da87-1da8b 1e95e-1e95f"
)
_SIGNS = (
    "a2-a6 a9 ac ae b0-b1 d7 f7 3f6 482 58d-58f 606-608 60b 60e-60f 6de 6e9 6fd-6fe 7f6 7fe-7ff 9f2-9f3 9fa-9fb af1 "
    "b70 bf3-bfa c7f d4f d79 e3f f01-f03 f13 f15-f17 f1a-f1f f34 f36 f38 fbe-fc5 fc7-fcf fd5-fd8 109e-109f 1390-1399 "
    "166d 17db 1940 19de-19ff 1b61-1b6a 1b74-1b7c 2044 2052 207a-207c 208a-208c 20a0-20c0 2100-2101 2103-2106 "
    "2108-2109 2114 2116-2118 211e-2123 2125 2127 2129 212e 213a-213b 2140-2144 214a-214d 214f 218a-2307 230c-2328 "
    "232b-244a 249c-24e9 2500-2767 2794-27c4 27c7-27e5 27f0-2982 2999-29d7 29dc-29fb 29fe-2bff 2ce5-2cea 2e50-2e51 "
    "2e80-2ffb 3004 3012-3013 3020 3036-3037 303e-303f 3190-3191 3196-319f 31c0-31e3 3200-321e 322a-3247 3250 "
    "3260-327f 328a-32b0 32c0-33ff 4dc0-4dff a490-a4c6 a828-a82b a836-a839 aa77-aa79 fb29 fd40-fd4f fdcf fdfc-fdff "
    "fe62 fe64-fe66 fe69 ffe0-ffe2 ffe4-ffee fffc-fffd 10137-1013f 10179-10189 1018c-101a0 101d0-101fc 10877-10878 "
    "10ac8 1173f 11fd5-11ff1 16b3c-16b3f 16b45 1bc9c 1cf50-1cfc3 1d000-1d164 1d16a-1d16c 1d183-1d184 1d18c-1d1a9 "
    "1d1ae-1d241 1d245 1d300-1d356 1d6c1 1d6db 1d6fb 1d715 1d735 1d74f 1d76f 1d789 1d7a9 1d7c3 1d800-1d9ff "
    "1da37-1da3a 1da6d-1da74 1da76-1da83 1da85-1da86 1e14f 1e2ff 1ecac 1ecb0 1ed2e 1eef0-1eef1 1f000-1f0f5 "
    "1f10d-1f1ad 1f1e6-1f265 1f300-1f3fa 1f400-1f8b1 1f900-1fbca"
)
_INVISIBLE = (
    "ad 34f 61c 180b-180e 200c-200f 202a-202e 2060-206f fe00-fe0f feff 1f3fb-1f3ff e0001 e0020-e007f e0100-e01ef"
)
# Capitals that Unicode 13, which Python 3.10 has, does not know.
_FOLDED_LATER = "1c89 2c2f a7c0-a7c1 a7cb-a7dc 10570-105bf 10d50-10d8f 16ea0-16edf"
_LAST_CAPITAL = 0x1E943

_SPACE, _LETTER, _MARK, _SIGN, _UNSPACED = range(5)
_LONGER, _NOTHING = 1 << 6, 1 << 7  # two or three characters when casefolded; invisible

# Splitmix64's finalizer, Steele, Lea and Flood 2014.
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
STEP = 0x9E3779B97F4A7C15  # odd, so that no power of it is 0 modulo 2**64
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_LONG_WORD = 64  # bytes; longer ones are rare, and hashed one by one


class Group(NamedTuple):
    """Texts that were read together: which ones, and the hashes of their words and of their sets of shingles."""

    texts: Places
    words: Hashes  # in order, for each text
    word_offsets: Offsets
    shingles: Hashes  # sorted and without repeats, for each text
    offsets: Offsets


def words(text: str) -> list[str]:
    """The words of a text; the definition that the rest of this module follows, for a text of one piece."""
    found: list[str] = _word_pattern().findall(_folded(text))
    return found


def characters(text: str) -> str:
    """What shingles of characters are made of; the definition, for a text of one piece."""
    return _space_pattern().sub(" ", _folded(text)).strip(" ")


def sets_of(texts: Sequence[str], size: int, unit: str = WORDS) -> tuple[Hashes, Offsets]:
    """The shingles of each text, sorted and without repeats, ragged.

    Raises:
        ValueError: `size` is less than 1, or `unit` is none of `UNITS`.
    """
    found: list[Hashes] = [np.zeros(0, np.uint64)] * len(texts)
    for group in groups(*encoded(texts), size, unit):
        for text, hashes in zip(group.texts.tolist(), split(group.shingles, group.offsets), strict=True):
            found[text] = hashes
    offsets = ends_of([hashes.size for hashes in found])
    return (np.concatenate(found) if found else np.zeros(0, np.uint64)), offsets


def encoded(texts: Sequence[str]) -> tuple[Bytes, Offsets]:
    """Texts as UTF-8, ragged; a lone surrogate is a character like another."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    return np.frombuffer(b"".join(parts), np.uint8), ends_of(list(map(len, parts)))


def split(values: npt.NDArray[np.uint64], offsets: Offsets) -> Iterator[Hashes]:
    """The values of each text."""
    for start, end in pairwise(offsets.tolist()):
        yield values[start:end]


def ends_of(sizes: Sequence[int] | npt.NDArray[Any]) -> Offsets:
    """Offsets from the number of values of each text."""
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def groups(data: Bytes, offsets: Offsets, size: int, unit: str, some: Places | None = None) -> Iterator[Group]:
    """Texts of UTF-8, ragged, in groups of `GROUP_BYTES`: `some` of them or all, each once, in no order.

    Bytes that are no UTF-8 count as replacement characters. The hashes of a text do not depend on its group.

    Raises:
        ValueError: as `sets_of`.
    """
    _check(size, unit)
    sizes = np.diff(offsets)
    for texts in _grouped(data, offsets, sizes, np.arange(sizes.size) if some is None else some):
        if sizes[texts[0]] > PIECE_BYTES:
            yield _long(data[offsets[texts[0]] : offsets[texts[0] + 1]], texts, size, unit)
        else:
            raw = b"".join([data[offsets[text] : offsets[text + 1]].tobytes() for text in texts.tolist()])
            characters = _characters(raw, ends_of(sizes[texts]))
            hashed, word_offsets = _words(characters)
            units, ends = (hashed, word_offsets) if unit == WORDS else _letters(characters)
            shingles, shingle_offsets = _unique(*_shingles(units, ends, size))
            yield Group(texts, hashed, word_offsets, shingles, shingle_offsets)


def stream(data: Bytes, size: int, unit: str) -> Iterator[tuple[Hashes, Hashes]]:
    """The words of one text, and its shingles, piece by piece; as long as it may be, a piece is held at a time.

    Shingles are in the order of the text, and repeated as they are.
    """
    _check(size, unit)
    carried = np.zeros(0, np.uint64)  # the last units of the pieces before, too few for a shingle
    seen = 0
    was_space = False
    for raw, ends_in_space in _pieces(data):
        characters = _characters(raw, np.array([0, len(raw)]))
        hashed, _ = _words(characters)
        units = hashed if unit == WORDS else _letters(characters)[0]
        if unit == CHARACTERS and units.size:
            opens = characters.classes[0] == _SPACE
            if seen and (was_space or opens):
                units = np.concatenate((_SPACE_HASH, units))
            was_space = False
        was_space |= ends_in_space or bool(characters.classes.size and characters.classes[-1] == _SPACE)
        seen += units.size
        units = np.concatenate((carried, units))
        yield hashed, mixed(_windows(units, size)) if units.size >= size else np.zeros(0, np.uint64)
        carried = units[max(0, units.size - size + 1) :] if size > 1 else units[:0]
    if 0 < seen < size:
        yield np.zeros(0, np.uint64), mixed(_short(carried, np.array([0]), np.array([seen])))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_folds())


def _check(size: int, unit: str) -> None:
    if size < 1:
        raise ValueError(f"size is {size}, wanted at least 1")
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}, wanted one of {', '.join(UNITS)}")


def _grouped(data: Bytes, offsets: Offsets, sizes: Places, some: Places) -> Iterator[Places]:
    """Which texts are read together: a long one alone, and those of ASCII, which take fewer steps, apart."""
    yield from some[sizes[some] > PIECE_BYTES][:, np.newaxis]
    filled = some[(sizes[some] > 0) & (sizes[some] <= PIECE_BYTES)]
    if filled.size:
        # Where one in between is left out its bytes count as of the text before it, which costs steps at most.
        is_ascii = np.maximum.reduceat(data[: offsets[filled[-1] + 1]], offsets[filled]) < 0x80
        for texts in (filled[is_ascii], filled[~is_ascii]):
            number = np.cumsum(sizes[texts]) // GROUP_BYTES
            yield from (part for part in np.split(texts, np.flatnonzero(np.diff(number)) + 1) if part.size)
    empty = some[sizes[some] == 0]
    if empty.size:
        yield empty


def _pieces(data: Bytes) -> Iterator[tuple[bytes, bool]]:
    """A text in parts of at most `PIECE_BYTES`, and whether each ends in white space."""
    start = 0
    while data.size - start > PIECE_BYTES:
        end = start + PIECE_BYTES
        spaces = np.flatnonzero(data[end - SEARCH_BYTES : end] <= 0x20)
        if spaces.size:
            end += int(spaces[-1]) + 1 - SEARCH_BYTES
        else:
            # Not inside of a character, of which the first byte alone is not 0b10xxxxxx.
            while data[end] & 0xC0 == 0x80 and end > start + PIECE_BYTES - 3:
                end -= 1
        yield data[start:end].tobytes(), bool(spaces.size)
        start = end
    yield data[start:].tobytes(), False


def _long(data: Bytes, texts: Places, size: int, unit: str) -> Group:
    """The group of one long text."""
    parts = list(stream(data, size, unit))
    hashed, shingles = (np.concatenate(part) for part in zip(*parts, strict=True))
    unique, offsets = _unique(shingles, np.array([0, shingles.size]))
    return Group(texts, hashed, np.array([0, hashed.size]), unique, offsets)


class _Characters(NamedTuple):
    """What is visible of some texts, casefolded."""

    raw: bytes  # UTF-8
    codes: npt.NDArray[Any]  # code points
    classes: Bytes  # of each character
    offsets: Offsets  # of each text, in characters
    firsts: Places  # the first byte of each character, and the end; empty if each has one byte


def _characters(raw: bytes, offsets: Offsets) -> _Characters:
    folded = raw.lower()  # of ASCII only
    if raw.isascii():
        classes = np.frombuffer(raw.translate(_ASCII), np.uint8)
        return _Characters(folded, np.frombuffer(folded, np.uint8), classes, offsets, np.zeros(0, np.int64))
    try:
        codes = np.frombuffer(folded.decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass"), "<u4")
    except UnicodeDecodeError:
        return _characters(*_repaired(raw, offsets))
    firsts = _firsts(folded)
    offsets = np.searchsorted(firsts[:-1], offsets)
    # Most characters of most texts are ASCII, so only the others are looked up.
    table = _table()
    classes = np.frombuffer(folded.translate(_ASCII, _FURTHER_BYTES), np.uint8).copy()
    wide = np.flatnonzero(codes >= 0x80)
    found = codes[wide]
    classes[wide] = table.classes[found]
    is_folded = bool((table.folds[found] != found).any())
    if classes.max() >= _LONGER:
        codes, offsets = _rewritten(codes, classes, offsets)
        classes, is_folded = table.classes[codes], True
    if is_folded:
        codes = table.folds[codes]
        folded = codes.tobytes().decode("utf-32-le", "surrogatepass").encode("utf-8", "surrogatepass")
        firsts = _firsts(folded)
    return _Characters(folded, codes, classes, offsets, firsts)


_FURTHER_BYTES = bytes(range(0x80, 0xC0))  # of a character, all but the first


def _firsts(raw: bytes) -> Places:
    # With a sign, what is in _FURTHER_BYTES is less.
    return np.append(np.flatnonzero(np.frombuffer(raw, np.int8) >= -0x40), len(raw))


def _repaired(raw: bytes, offsets: Offsets) -> tuple[bytes, Offsets]:
    """Texts of which some are no UTF-8, as UTF-8."""
    parts = []
    for start, end in pairwise(offsets.tolist()):
        part = raw[start:end]
        try:
            part.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            part = part.decode("utf-8", "replace").encode()
        parts.append(part)
    return b"".join(parts), ends_of(list(map(len, parts)))


def _rewritten(codes: npt.NDArray[Any], classes: Bytes, offsets: Offsets) -> tuple[npt.NDArray[Any], Offsets]:
    """Code points without the invisible ones, and with all that a ligature or a sharp s stands for."""
    longer = _longer()
    lengths = np.ones(codes.size, np.int64)
    lengths[classes & _NOTHING > 0] = 0
    places = np.flatnonzero(classes & _LONGER)
    sequences = [longer[code] for code in codes[places].tolist()]
    lengths[places] = list(map(len, sequences))
    ends = ends_of(lengths)
    found = np.repeat(codes, lengths)
    for place, sequence in zip(ends[places].tolist(), sequences, strict=True):
        found[place : place + len(sequence)] = sequence
    return found, ends[offsets]


def _words(characters: _Characters) -> tuple[Hashes, Offsets]:
    """The hash of each word, ragged."""
    raw, _, classes, offsets, firsts = characters
    if not classes.size:
        return np.zeros(0, np.uint64), np.zeros(offsets.size, np.int64)
    is_new = np.empty(classes.size, dtype=bool)
    np.not_equal(classes[1:], classes[:-1], out=is_new[1:])
    is_new |= classes >= _SIGN
    if firsts.size:
        is_new[1:] &= (classes[1:] != _MARK) | (classes[:-1] != _UNSPACED)
    is_new[offsets[:-1][offsets[:-1] < classes.size]] = True
    places = np.flatnonzero(is_new)
    is_word = classes[places] != _SPACE
    starts, ends = places[is_word], np.append(places[1:], classes.size)[is_word]
    word_offsets = np.searchsorted(starts, offsets)
    if firsts.size:
        starts, ends = firsts[starts], firsts[ends]
    return _hashed(raw, starts, ends - starts), word_offsets


def _hashed(raw: bytes, starts: Places, lengths: Places) -> Hashes:
    """A hash of each word: stretches of bytes."""
    # Eight bytes from any place on, as one number. No word has a byte 0, so that zeros tell where one ended.
    eights = np.ndarray(len(raw) + 1, "<u8", raw + bytes(8), strides=(1,))
    hashes = mixed(eights.take(starts) & _MASKS.take(np.minimum(lengths, 8)))
    longer = np.flatnonzero(lengths > 8)
    for step in range(8, _LONG_WORD, 8):
        if not longer.size:
            return hashes
        left = lengths[longer] - step
        more = eights.take(starts[longer] + step) & _MASKS.take(np.minimum(left, 8))
        hashes[longer] = mixed(hashes[longer] * np.uint64(STEP) + more)
        longer = longer[left > 8]
    for place in longer.tolist():
        word = raw[starts[place] : starts[place] + lengths[place]]
        hashes[place] = int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
    return hashes


def _letters(characters: _Characters) -> tuple[Hashes, Offsets]:
    """The hash of each character, and of one space for what is between words, ragged."""
    _, codes, classes, offsets, _ = characters
    if not classes.size:
        return np.zeros(0, np.uint64), np.zeros(offsets.size, np.int64)
    is_space = classes == _SPACE
    # Of a run of spaces the last one stays, unless it opens or closes a text.
    is_kept = ~is_space
    is_kept[:-1] |= is_space[:-1] & ~is_space[1:]
    closing = offsets[1:][np.diff(offsets) > 0] - 1
    is_kept[closing] = ~is_space[closing]
    ends = ends_of(_sums(is_kept.view(np.uint8), offsets))
    kept = np.where(is_space, np.uint32(0x20), codes)[is_kept].astype(np.uint64)
    firsts = ends[:-1][np.diff(ends) > 0]
    opening = firsts[kept[firsts] == 0x20]
    if opening.size:
        kept, ends = np.delete(kept, opening), ends - np.searchsorted(opening, ends)
    return mixed((kept + np.uint64(1)) * np.uint64(STEP)), ends


def _shingles(units: Hashes, offsets: Offsets, size: int) -> tuple[Hashes, Offsets]:
    """The hash of each run of `size` units of each text, and of all units of a text of fewer."""
    counts = np.diff(offsets)
    if not units.size:
        return units, np.zeros(offsets.size, np.int64)
    found = np.zeros(units.size, np.uint64)
    if units.size >= size:
        found[: units.size - size + 1] = _windows(units, size)
    is_kept = np.ones(units.size, dtype=bool)
    for back in range(1, size):
        is_kept[offsets[1:][counts >= back] - back] = False
    short = np.flatnonzero((counts > 0) & (counts < size))
    if short.size:
        found[offsets[short]] = _short(units, offsets[short], counts[short])
        is_kept[offsets[short]] = True
    return mixed(found[is_kept]), ends_of(np.where(counts > 0, np.maximum(counts - size + 1, 1), 0))


def _windows(units: Hashes, size: int) -> Hashes:
    """For each run of `size` units: the first times STEP**(size - 1), and so on, the last times 1, modulo 2**64.

    Runs of 1, 2, 4, 8 units are put together, so that a run of 24 takes 5 steps.
    """
    width, runs = 1, units
    done, found = 0, units[:0]
    while True:
        if size & width:
            found = _joined(found, runs[done:], width) if done else runs
            done += width
        if 2 * width > size:
            return found[: units.size - size + 1]
        runs = _joined(runs, runs[width:], width)
        width *= 2


def _joined(left: Hashes, right: Hashes, width: int) -> Hashes:
    number = min(left.size, right.size)
    joined: Hashes = left[:number] * np.uint64(pow(STEP, width, 1 << 64))
    joined += right[:number]
    return joined


def _short(units: Hashes, starts: Places, counts: Places) -> Hashes:
    """As `_windows`, one for each text of too few units."""
    found = np.zeros(starts.size, np.uint64)
    for step in range(int(counts.max())):
        has_more = counts > step
        found[has_more] = found[has_more] * np.uint64(STEP) + units[starts[has_more] + step]
    return found


def _unique(shingles: Hashes, offsets: Offsets) -> tuple[Hashes, Offsets]:
    """Sorted for each text, in place, and each once."""
    if not shingles.size:
        return shingles, offsets
    for hashes in split(shingles, offsets):
        hashes.sort()
    is_repeat = np.zeros(shingles.size, dtype=bool)
    np.equal(shingles[1:], shingles[:-1], out=is_repeat[1:])
    is_repeat[offsets[:-1][offsets[:-1] < shingles.size]] = False
    repeats = np.flatnonzero(is_repeat)
    if not repeats.size:
        return shingles, offsets
    return shingles[~is_repeat], offsets - np.searchsorted(repeats, offsets)


def mixed(values: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of a value; no two values have one result."""
    mixed: Hashes = values >> _SHIFTS[0]
    mixed ^= values
    mixed *= _MIX[0]
    mixed ^= mixed >> _SHIFTS[1]
    mixed *= _MIX[1]
    mixed ^= mixed >> _SHIFTS[2]
    return mixed


def _sums(values: Bytes, offsets: Offsets) -> Places:
    """Sum of the values of each text, where most are 1."""
    return np.diff(offsets) - np.diff(np.searchsorted(np.flatnonzero(values == 0), offsets))


_SPACE_HASH = mixed(np.array([(0x20 + 1) * STEP % (1 << 64)], dtype=np.uint64))


class _Table(NamedTuple):
    classes: Bytes
    folds: npt.NDArray[np.uint32]


# No character below 0x80 is in a list above; the rest of ASCII is letters, digits and the low line.
_DROPPED = (*map(chr, range(0x21)), *".,;:!?\"'()[]{}", "\x7f")
_ASCII_SIGNS = "#$%&*+-/<=>@\\^`|~"
_ASCII = bytes(
    _SPACE if chr(code) in _DROPPED else _SIGN if chr(code) in _ASCII_SIGNS else _LETTER for code in range(256)
)


@functools.cache
def _table() -> _Table:
    """The class of each code point, and its case folded; of what folds to more than one, neither matters."""
    classes = np.full(0x110000, _LETTER, np.uint8)
    classes[:0x80] = np.frombuffer(_ASCII[:0x80], np.uint8)
    for code in chain.from_iterable(_class_members(lines.UNSPACED)):
        classes[code] = _UNSPACED
    for code in chain.from_iterable(_class_members(lines.UNSPACED_MARKS)):
        classes[code] = _MARK
    for ranges, kind in ((_PUNCTUATION, _SPACE), (_SIGNS, _SIGN), (_INVISIBLE, _NOTHING)):
        for part in _ranges(ranges):
            classes[part.start : part.stop] = kind
    folds = np.arange(0x110000, dtype=np.uint32)
    later = set(chain.from_iterable(_ranges(_FOLDED_LATER)))
    for code in range(_LAST_CAPITAL + 1):
        folded = chr(code).casefold()
        if len(folded) > 1:
            classes[code] = _LONGER
        elif ord(folded) != code and code not in later:
            folds[code] = ord(folded)
    for code in range(0xFF01, 0xFF5F):
        plain = code - 0xFF01 + 0x21
        folds[code], classes[code] = ord(chr(plain).lower()), classes[plain]
    return _Table(classes, folds)


@functools.cache
def _longer() -> dict[int, list[int]]:
    """The code points that each one of `_LONGER` folds to."""
    found = np.flatnonzero(_table().classes & _LONGER).tolist()
    return {code: list(map(ord, chr(code).casefold())) for code in found}


@functools.cache
def _folds() -> dict[int, str | None]:
    """What `str.translate` needs to do as `_characters` does."""
    classes, folds = _table()
    changed = {code: chr(folds[code]) for code in np.flatnonzero(folds != np.arange(folds.size)).tolist()}
    longer = {code: "".join(map(chr, codes)) for code, codes in _longer().items()}
    return {**changed, **longer, **dict.fromkeys(np.flatnonzero(classes == _NOTHING).tolist())}


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    classes = _table().classes
    of = {kind: _as_class(np.flatnonzero(classes == kind)) for kind in (_LETTER, _MARK, _SIGN, _UNSPACED)}
    return re.compile(f"[{of[_LETTER]}]+|[{of[_SIGN]}]|[{of[_UNSPACED]}][{of[_MARK]}]*|[{of[_MARK]}]+")


@functools.cache
def _space_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_as_class(np.flatnonzero(_table().classes == _SPACE))}]+")


def _as_class(codes: Places) -> str:
    parts = np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1)
    return "".join(f"\\U{int(part[0]):08x}-\\U{int(part[-1]):08x}" for part in parts)


def _ranges(listed: str) -> Iterator[range]:
    """Of numbers in hexadecimal: 5be 61c-61f."""
    for part in listed.split():
        first, _, last = part.partition("-")
        yield range(int(first, 16), int(last or first, 16) + 1)


def _class_members(inside: str) -> Iterable[range]:
    """The code points of a character class of a regular expression that has characters and ranges only."""
    for first, last in re.findall("(.)(?:-(.))?", inside, re.DOTALL):
        yield range(ord(first), ord(last or first) + 1)
