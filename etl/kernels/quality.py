"""Signals of the published heuristic filters, all from one pass over a text.

Nothing is decided here: thresholds live in the recipes, and a changed threshold measures
nothing again. Every value is the number that datatrove, with which FineWeb was made, compares
with its thresholds, so a recipe decides as the published pipelines do; where a paper and its
code differ, the code is followed. `tests.bench.rules` counts the differences on any texts.

Three things are called words. *Words and marks* are what `etl.kernels.words` cuts a text into;
n-grams, and shares of words, are of these. *Words* alone leave out what is punctuation only.
*Runs* are what white space separates, which C4 counts. `etl.kernels.lines` says how texts in
scripts without spaces are cut: datatrove takes a dictionary for each language instead.

Common to all signals: a share of nothing is 0.0, never NaN, so a text without words has
zeros only; every column whose name ends in ``_ratio`` lies in [0, 1]; every function is
pure, deterministic, linear in the length of the text (times a logarithm for sorting
n-grams), and raises for no `str`.
"""

import functools
import re
import sys
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.kernels import lines as text_lines
from etl.kernels.words import cut

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Traits = npt.NDArray[np.uint16]

# Gopher, Rae et al. 2021, appendix A.1
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("\u2022", "-")
ELLIPSES = ("...", "\u2026")
TOP_NGRAMS = (2, 3, 4)
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)

# Punctuation as datatrove has it, with which it leaves words out; it is not that of Unicode.
PUNCTUATION = text_lines.LINE_END_PUNCTUATION.union(
    map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    "\"#$%&'()*+,-/:;<=>@[\\]^_`{|}~\u00ab\u00b4\u00bb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba",
    "\u3001\u3008\u3009\u300a\u300b\u300c\u300d\u3010\u3011\uff05\uff08\uff09\uff0c\uff11\uff1a\uff1b\uff5e",
)

SHORT_LINE_CHARACTERS = 30  # FineWeb, Penedo et al. 2024

# Texts are measured in groups of about this many characters: enough to spread the cost of
# a NumPy call over many texts, little enough to stay in the cache of a core.
GROUP_CHARACTERS = 1 << 17
# Runs that are remembered, so that each is cut once; with about 100 MB of them, all are forgotten.
MAX_RUNS = 1 << 17


class Signals(NamedTuple):
    """The columns of the table document_quality that describe a text, in its order.

    Its comments say what each value is; what they leave open:

    symbol_word_ratio: an ellipsis is "..." or the one character for it.
    alpha_word_ratio: a letter is what `str.isalpha` says.
    bullet_line_ratio, ellipsis_line_ratio: blank lines count as lines.
    duplicate_*_ratio: every occurrence of an equal line or paragraph but the first one.
    top_*gram_char_ratio: the n-gram with a space between its words, times its count; of several
        most frequent ones the first, which is the first n-gram where none occurs twice.
    duplicate_*gram_char_ratio: from the start of the text, an n-gram whose characters were
        seen before counts, and the next one looked at is the one after it.
    fineweb_*: of the lines that FineWeb keeps, as `etl.kernels.lines.fineweb_lines` leaves them.
    """

    words: int
    lines: int
    paragraphs: int
    mean_word_length: float
    symbol_word_ratio: float
    bullet_line_ratio: float
    ellipsis_line_ratio: float
    alpha_word_ratio: float
    stop_words: int
    duplicate_line_ratio: float
    duplicate_paragraph_ratio: float
    duplicate_line_char_ratio: float
    duplicate_paragraph_char_ratio: float
    top_2gram_char_ratio: float
    top_3gram_char_ratio: float
    top_4gram_char_ratio: float
    duplicate_5gram_char_ratio: float
    duplicate_6gram_char_ratio: float
    duplicate_7gram_char_ratio: float
    duplicate_8gram_char_ratio: float
    duplicate_9gram_char_ratio: float
    duplicate_10gram_char_ratio: float
    punctuated_line_ratio: float
    short_line_ratio: float
    repeated_line_char_ratio: float
    newline_word_ratio: float
    longest_word: int
    lorem_ipsum: int
    curly_brackets: int
    c4_lorem_ipsum: int
    c4_curly_brackets: int
    c4_sentences: int
    c4_kept_line_ratio: float
    c4_policy_lines: int
    fineweb_sentences: int
    fineweb_punctuated_line_ratio: float
    fineweb_short_line_ratio: float
    fineweb_repeated_line_char_ratio: float
    fineweb_newline_word_ratio: float
    refinedweb_removed_word_ratio: float


def signals(text: str) -> Signals:
    """The signals of one text. For many texts `batch` is several times as fast."""
    columns = _measure([text])
    return Signals(*(columns[name][0].item() for name in Signals._fields))


def count_words(text: str) -> int:
    """The signal `words` alone, at a small part of the cost."""
    vocabulary = _shared_vocabulary()
    words, _ = vocabulary.words_of(text_lines.splitter(text)(text))
    return int(np.count_nonzero(vocabulary.kinds[words] & _NOT_PUNCTUATION))


def batch(texts: Sequence[str] | pa.Array) -> pa.RecordBatch:
    """One row of signals per text, in order: int64 and float64 columns named as in `Signals`.

    Equal to `signals` of each text, to the last bit, however the texts are grouped.
    """
    strings: Sequence[str] = texts.to_pylist() if isinstance(texts, (pa.Array, pa.ChunkedArray)) else texts
    groups = [_measure(group) for group in _groups(strings)] or [_measure([])]
    return pa.RecordBatch.from_arrays(
        [pa.array(np.concatenate([group[name] for group in groups])) for name in Signals._fields],
        names=list(Signals._fields),
    )


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = characters = 0
    for end, text in enumerate(texts):
        if characters + len(text) > GROUP_CHARACTERS and end > start:
            yield texts[start:end]
            start, characters = end, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


# What a word or mark is, as bits; the lowest eight say which stop word.
_ALPHA, _NOT_PUNCTUATION, _SENTENCE_END, _MARK = (1 << bit for bit in range(8, 12))
_STOP_WORDS = {word: 1 << bit for bit, word in enumerate(STOP_WORDS)}


def _kind(word: str) -> int:
    kind = _STOP_WORDS.get(word, 0)
    if any(map(str.isalpha, word)):
        return kind | _ALPHA | _NOT_PUNCTUATION
    if not PUNCTUATION.issuperset(word):
        kind |= _NOT_PUNCTUATION
    if word in text_lines.SENTENCE_ENDS:
        return kind | _SENTENCE_END
    return kind | _MARK if text_lines.is_punctuation(word) else kind


class _Vocabulary(dict[str, int]):
    """The number of each run of characters that was met, and what it is cut into.

    Lives as long as the process, so that a run that texts share is cut once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._number_of: dict[str, int] = {}
        self._new_words: list[str] = []
        self._new_parts: list[int] = []
        self._new_starts: list[int] = []
        # Per run where its words start in `parts`, which are numbers of words.
        self.starts = self.parts = np.zeros(0, dtype=np.int64)
        # Per word; see _hashed for the last three.
        self.kinds = self.lengths = np.zeros(0, dtype=np.int64)
        self.hashes = self.powers = self.inverses = np.zeros(0, dtype=np.uint64)

    def __missing__(self, run: str) -> int:
        number = self[run] = len(self)
        self._new_starts.append(self.parts.size + len(self._new_parts))
        for word in cut(run):
            if word not in self._number_of:
                self._number_of[word] = len(self._number_of)
                self._new_words.append(word)
            self._new_parts.append(self._number_of[word])
        return number

    def words_of(self, runs: Sequence[str]) -> tuple[Ints, Ints]:
        """The numbers of the words of all runs, and how many each run has."""
        numbers = np.fromiter(map(self.__getitem__, runs), dtype=np.int64, count=len(runs))
        self._take_in()
        starts = self.starts[numbers]
        sizes = np.append(self.starts, self.parts.size)[numbers + 1] - starts
        ends = np.cumsum(sizes)
        return self.parts[np.repeat(starts - ends + sizes, sizes) + np.arange(sizes.sum())], sizes

    def _take_in(self) -> None:
        if self._new_words:
            kinds = np.array(list(map(_kind, self._new_words)), dtype=np.int64)
            lengths = _lengths(self._new_words)
            hashes, powers, inverses = _hashed(self._new_words, lengths)
            self.kinds, self.lengths = np.append(self.kinds, kinds), np.append(self.lengths, lengths)
            self.hashes, self.powers = np.append(self.hashes, hashes), np.append(self.powers, powers)
            self.inverses = np.append(self.inverses, inverses)
            self._new_words.clear()
        if self._new_starts:
            self.starts = np.append(self.starts, np.array(self._new_starts, dtype=np.int64))
            self.parts = np.append(self.parts, np.array(self._new_parts, dtype=np.int64))
            self._new_starts.clear()
            self._new_parts.clear()


_BASE = 0x5851F42D4C957F2D  # any odd number


def _hashed(words: Sequence[str], lengths: Ints) -> tuple[Hashes, Hashes, Hashes]:
    """Per word its characters as the coefficients of a polynomial in _BASE, modulo 2**64; _BASE and its inverse
    to the power of its length.

    With these the hash of any stretch of words is that of its characters, wherever its words end.
    """
    longest = int(lengths.max())
    powers, inverses = (_powers(base, longest + 1) for base in (_BASE, pow(_BASE, -1, 1 << 64)))
    starts = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    codes = _code_points("".join(words)).astype(np.uint64) + np.uint64(1)
    hashes: Hashes = np.add.reduceat(codes * powers[places], starts)
    return hashes, powers[lengths], inverses[lengths]


def _powers(base: int, size: int) -> Hashes:
    powers = np.full(size, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_vocabulary = _Vocabulary()


def _shared_vocabulary() -> _Vocabulary:
    global _vocabulary
    if len(_vocabulary) > MAX_RUNS:
        _vocabulary = _Vocabulary()
    return _vocabulary


@dataclass(frozen=True)
class _Group:
    """Texts cut into lines, runs, and words and marks, all in one row, text after text.

    Where things end is counted from the start of the group.
    """

    texts: Sequence[str]
    is_unspaced: list[bool]  # per text
    lowered: list[str]  # the texts in small letters
    lines: list[str]  # between any line breaks, not blank, without white space at their ends
    breaks: Ints  # per text: its lines, blank ones too
    line_ends: Ints  # per text
    traits: Traits  # of the characters of all lines, with a newline between two lines
    trait_ends: Ints  # per line
    run_lengths: Ints
    line_run_ends: Ints  # per line; no line is without runs
    vocabulary: _Vocabulary
    words: Ints  # numbers of words and marks; equal words have equal numbers
    lengths: Ints  # per word
    kinds: Ints  # per word
    line_word_ends: Ints  # per line
    text_word_ends: Ints  # per text


def _cut(texts: Sequence[str]) -> _Group:
    is_unspaced = list(map(text_lines.is_unspaced, texts))
    all_lines_of = list(map(str.splitlines, texts))
    lines_of = [[line for line in map(str.strip, of_text) if line] for of_text in all_lines_of]
    lines = list(chain.from_iterable(lines_of))
    runs_of = [
        text_lines.words(line) if unspaced else line.split()
        for of_text, unspaced in zip(lines_of, is_unspaced, strict=True)
        for line in of_text
    ]
    runs = list(chain.from_iterable(runs_of))
    vocabulary = _shared_vocabulary()
    words, sizes = vocabulary.words_of(runs)
    line_ends = np.cumsum(_lengths(lines_of))
    line_run_ends = np.cumsum(_lengths(runs_of))
    line_word_ends = _from_zero(np.cumsum(sizes))[line_run_ends]
    return _Group(
        texts=texts,
        is_unspaced=is_unspaced,
        lowered=list(map(str.lower, texts)),
        lines=lines,
        breaks=_lengths(all_lines_of),
        line_ends=line_ends,
        traits=_traits("\n".join(lines)),
        trait_ends=np.cumsum(_lengths(lines) + 1) - 1,
        run_lengths=_lengths(runs),
        line_run_ends=line_run_ends,
        vocabulary=vocabulary,
        words=words,
        lengths=vocabulary.lengths[words],
        kinds=vocabulary.kinds[words],
        line_word_ends=line_word_ends,
        text_word_ends=_from_zero(line_word_ends)[line_ends],
    )


_UPPERCASE, _UNSPACED, _BULLET, _DOT, _ELLIPSIS, _LINE_END, _C4_LINE_END, _BRACKET, _SPACE, _OTHER_SPACE, _DIGIT = (
    1 << bit for bit in range(11)
)


def _traits(text: str) -> Traits:
    """What each character of `text` is, as bits."""
    # A lone surrogate is a code point like another here.
    return _traits_of_code_points()[_code_points(text)]


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@functools.cache
def _traits_of_code_points() -> Traits:
    traits = np.zeros(sys.maxunicode + 1, dtype=np.uint16)
    in_use = list(map(chr, range(0x40000)))  # Unicode has no letter after these
    for bit, characters in (
        (_UPPERCASE, filter(str.isupper, in_use)),
        (_BULLET, BULLETS),
        (_DOT, "."),
        (_ELLIPSIS, "\u2026"),
        (_LINE_END, text_lines.LINE_END_PUNCTUATION),
        (_C4_LINE_END, text_lines.C4_TERMINAL_PUNCTUATION),
        (_BRACKET, "["),
        (_DIGIT, filter(str.isdecimal, in_use)),
        (_SPACE, filter(str.isspace, in_use)),
        (_OTHER_SPACE, filter(str.isspace, in_use)),
    ):
        traits[list(map(ord, characters))] |= bit
    traits[ord(" ")] &= ~np.uint16(_OTHER_SPACE)
    traits[ord("\n")] &= ~np.uint16(_SPACE | _OTHER_SPACE)  # only between lines
    for first, last in text_lines.UNSPACED_RANGES:
        traits[first : last + 1] |= _UNSPACED
    return traits


def _lengths(items: Sequence[Sized]) -> Ints:
    return np.fromiter(map(len, items), dtype=np.int64, count=len(items))


# Consecutive runs without a gap, such as the lines of each text, are told by where they end.


def _from_zero(ends: Ints) -> Ints:
    return np.concatenate((_ZERO, ends))


_ZERO = np.zeros(1, dtype=np.int64)


def _slices(ends: Ints) -> Iterator[slice]:
    return map(slice, _from_zero(ends).tolist(), ends.tolist())


def _sizes(ends: Ints) -> Ints:
    sizes: Ints = ends.copy()
    sizes[1:] -= ends[:-1]
    return sizes


def _sums(values: npt.NDArray[Any], ends: Ints) -> Ints:
    """Sum of `values` over each run."""
    return _sizes(_from_zero(np.cumsum(values, dtype=np.int64))[ends])


def _counts(values: npt.NDArray[Any], ends: Ints) -> Ints:
    """How many of `values` are not zero in each run; quicker than `_sums` where few are."""
    return _sizes(np.searchsorted(np.flatnonzero(values), ends))


def _share(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(whole.size), where=whole > 0)


def _measure(texts: Sequence[str]) -> dict[str, Ints | Floats]:
    """The columns of `Signals` for a group of texts."""
    group = _cut(texts)
    return _word_signals(group) | _ngram_signals(group) | _line_signals(group) | _text_signals(group)


def _word_signals(group: _Group) -> dict[str, Ints | Floats]:
    ends = group.text_word_ends
    words_and_marks = _sizes(ends)
    is_word = group.kinds & _NOT_PUNCTUATION > 0
    words = _sums(is_word, ends)
    stop_words = _reduced(np.bitwise_or, group.kinds & 0xFF, ends)
    symbols = np.array([max(text.count("#"), sum(map(text.count, ELLIPSES))) for text in group.texts], dtype=np.int64)
    return {
        "words": words,
        "mean_word_length": _share(_sums(np.where(is_word, group.lengths, 0), ends), words),
        "symbol_word_ratio": np.minimum(_share(symbols, words_and_marks), 1.0),
        "alpha_word_ratio": _share(_sums(group.kinds & _ALPHA > 0, ends), words_and_marks),
        "stop_words": sum((stop_words >> bit & 1 for bit in range(len(STOP_WORDS))), np.zeros_like(words)),
        "longest_word": _reduced(np.maximum, group.run_lengths, _from_zero(group.line_run_ends)[group.line_ends]),
    }


def _reduced(function: np.ufunc, values: Ints, ends: Ints) -> Ints:
    """`function` over each run of `values`; 0 over an empty one."""
    found = np.zeros_like(ends)
    sizes = _sizes(ends)
    if values.size:
        found[sizes > 0] = function.reduceat(values, (ends - sizes)[sizes > 0])
    return found


def _ngram_signals(group: _Group) -> dict[str, Floats]:
    text_of = np.repeat(np.arange(len(group.texts)), _sizes(group.text_word_ends))
    offsets = _from_zero(np.cumsum(group.lengths))
    characters = _lengths(group.texts)
    return {
        **_top_ngrams(group, text_of, offsets, characters),
        **_duplicate_ngrams(group, text_of, offsets, characters),
    }


def _top_ngrams(group: _Group, text_of: Ints, offsets: Ints, characters: Ints) -> dict[str, Floats]:
    """Share of the most frequent n-gram, the first of several; of each text the first where none occurs twice."""
    columns = {}
    starts = group.text_word_ends - _sizes(group.text_word_ends)
    # At each step `at` holds, ascending, where an n-gram starts that the text may have more than once;
    # equal n-grams of one text have one number in `ngram`, those of two texts never.
    at = np.arange(group.words.size)
    ngram = text_of * (group.words.max(initial=0) + 1) + group.words
    _, ngram = np.unique(ngram, return_inverse=True)
    for n in range(2, TOP_NGRAMS[-1] + 1):
        # An n-gram is told by the two (n-1)-grams inside it, and is repeated only if both are.
        pair = np.flatnonzero((at[1:] == at[:-1] + 1) & (text_of[at[1:]] == text_of[at[:-1]]))
        keys = ngram[pair] * (ngram.max(initial=0) + 1) + ngram[pair + 1]
        at = at[pair]
        at, keys = _repeated(at, keys)
        _, first, ngram, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        best = starts.copy()
        frequency = np.ones_like(starts)
        if at.size:
            text = text_of[at[first]]
            ranked = np.lexsort((first, -counts, text))
            of_text, place = np.unique(text[ranked], return_index=True)
            best[of_text] = at[first[ranked[place]]]
            frequency[of_text] = counts[ranked[place]]
        exists = _sizes(group.text_word_ends) >= n
        size = np.zeros_like(starts)
        size[exists] = offsets[best[exists] + n] - offsets[best[exists]] + n - 1
        columns[f"top_{n}gram_char_ratio"] = np.minimum(_share(size * frequency, characters), 1.0)
    return columns


def _repeated(at: Ints, keys: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """Those of `at` and `keys` whose key is there more than once, in the same order."""
    # A rough sieve first, as sorting costs more: a key alone in its bucket is alone.
    bits = max(4, int(keys.size).bit_length() + 2)
    buckets = ((keys.astype(np.uint64) * _ODD) >> np.uint64(64 - bits)).astype(np.int64)
    maybe = np.flatnonzero(np.bincount(buckets, minlength=1 << bits)[buckets] > 1)
    at, keys = at[maybe], keys[maybe]
    _, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    is_repeated = counts[number] > 1
    return at[is_repeated], keys[is_repeated]


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _duplicate_ngrams(group: _Group, text_of: Ints, offsets: Ints, characters: Ints) -> dict[str, Floats]:
    """Share of n-grams seen before. Two are equal if their characters are, wherever words end in them."""
    hashes, inverses = _prefix_hashes(group)
    columns = {}
    for n in DUPLICATE_NGRAMS:
        covered = [0] * len(group.texts)
        inside = np.flatnonzero(text_of[n - 1 :] == text_of[: max(text_of.size - n + 1, 0)])
        keys = (hashes[inside + n] - hashes[inside]) * inverses[inside]
        # So that equal n-grams of two texts are not equal.
        keys += (text_of[inside].astype(np.uint64) + np.uint64(1)) * _ODD
        at, keys = _repeated(inside, keys)
        sizes = offsets[at + n] - offsets[at]
        seen: set[int] = set()
        past = 0
        for place, key, size, text in zip(
            at.tolist(), keys.tolist(), sizes.tolist(), text_of[at].tolist(), strict=True
        ):
            if place < past:
                continue
            if key in seen:
                covered[text] += size
                past = place + n
            else:
                seen.add(key)
        columns[f"duplicate_{n}gram_char_ratio"] = _share(np.array(covered, dtype=np.int64), characters)
    return columns


def _prefix_hashes(group: _Group) -> tuple[Hashes, Hashes]:
    """At each end of a word a hash of all characters before it, and what takes their number out of it.

    The hash of the characters of words i to j is ``(h[j] - h[i]) * inverse[i]``.
    """
    one, none = np.ones(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64)
    vocabulary, words = group.vocabulary, group.words
    powers = np.concatenate((one, np.multiply.accumulate(vocabulary.powers[words])))
    inverses = np.concatenate((one, np.multiply.accumulate(vocabulary.inverses[words])))
    hashes = np.cumsum(vocabulary.hashes[words] * powers[:-1], dtype=np.uint64)
    return np.concatenate((none, hashes)), inverses


def _line_signals(group: _Group) -> dict[str, Ints | Floats]:
    lines, runs = _sizes(group.line_ends), _sizes(group.line_run_ends)
    characters = _sizes(group.trait_ends + 1) - 1
    first = group.traits[group.trait_ends - characters]
    last, second_last, third_last = (group.traits[np.maximum(group.trait_ends - back, 0)] for back in (1, 2, 3))
    in_dots = (characters >= 3) & (last & second_last & third_last & _DOT > 0)

    def share(of_lines: Bools) -> Floats:
        return _share(_sums(of_lines, group.line_ends), group.breaks)

    return {
        "lines": lines,
        "bullet_line_ratio": share(first & _BULLET > 0),
        "ellipsis_line_ratio": share(in_dots | (last & _ELLIPSIS > 0)),
        "refinedweb_removed_word_ratio": _refinedweb_removed_word_ratio(group, runs, characters),
        **_c4_signals(group, characters, punctuated=(last & _C4_LINE_END > 0) & ~in_dots, is_end=last & _LINE_END > 0),
    }


def _c4_signals(group: _Group, characters: Ints, *, punctuated: Bools, is_end: Bools) -> dict[str, Ints | Floats]:
    longest = _reduced(np.maximum, group.run_lengths, group.line_run_ends)
    is_long_enough = (_sizes(group.line_run_ends) >= text_lines.C4_MIN_WORDS) & (
        longest <= text_lines.C4_MAX_WORD_LENGTH
    )
    sentences = _sentences(group)
    has_javascript, has_policy, has_lorem_ipsum, has_curly_bracket = (
        np.zeros(len(group.lines), dtype=np.bool_) for _ in range(4)
    )
    for of_text, text, lower in zip(_slices(group.line_ends), group.texts, group.lowered, strict=True):
        for found, phrase in ((has_javascript, "javascript"), (has_lorem_ipsum, "lorem ipsum")):
            if phrase in lower:
                found[of_text] = [phrase in line.lower() for line in group.lines[of_text]]
        if text_lines.has_policy_phrase(lower):
            has_policy[of_text] = [text_lines.has_policy_phrase(line.lower()) for line in group.lines[of_text]]
        if "{" in text:
            has_curly_bracket[of_text] = ["{" in line for line in group.lines[of_text]]
    changed = _without_citations(group)
    for index, (line, line_sentences, _) in changed.items():
        punctuated[index] = line.is_punctuated
        has_javascript[index], has_policy[index] = line.has_javascript, line.has_policy
        has_lorem_ipsum[index], has_curly_bracket[index] = line.has_lorem_ipsum, line.has_curly_bracket
        sentences[index] = line_sentences
    kept = is_long_enough & ~has_javascript & ~has_policy
    lorem_ipsum, curly_brackets = is_long_enough & has_lorem_ipsum, is_long_enough & ~has_javascript & has_curly_bracket

    def count(of_lines: Ints | Bools) -> Ints:
        return _sums(of_lines, group.line_ends)

    return {
        "lorem_ipsum": count(lorem_ipsum),
        "curly_brackets": count(curly_brackets),
        "c4_lorem_ipsum": count(lorem_ipsum & punctuated),
        "c4_curly_brackets": count(curly_brackets & punctuated),
        "c4_sentences": count(sentences * (kept & punctuated)),
        "c4_kept_line_ratio": _share(count(kept & punctuated), _sizes(group.line_ends)),
        "c4_policy_lines": count(has_javascript | has_policy),
        "fineweb_sentences": count(sentences * kept),
        **_fineweb_signals(group, characters, kept, is_end, changed),
    }


_Changed = dict[int, tuple[text_lines.C4Line, int, int]]


def _without_citations(group: _Group) -> _Changed:
    """By index the lines out of which C4 cuts a citation mark, with the sentences and words of what is left."""
    text_of = np.repeat(np.arange(len(group.texts)), _sizes(group.line_ends))
    changed = {}
    for index in np.flatnonzero(_counts(group.traits & _BRACKET, group.trait_ends)).tolist():
        if text_lines.CITATION.search(group.lines[index]):
            split = text_lines.words if group.is_unspaced[text_of[index]] else str.split
            line = text_lines.c4_line(group.lines[index], split)
            words = sum(len(cut(run)) for run in split(line.text))
            changed[index] = (line, text_lines.sentences(line.text, split), words)
    return changed


def _sentences(group: _Group) -> Ints:
    """Per line: its sentences, as `etl.kernels.lines.sentences` counts them, for all lines at once."""
    words = np.flatnonzero(group.kinds & _MARK == 0)  # a mark that ends no sentence decides nothing
    line_of = np.repeat(np.arange(len(group.lines)), _sizes(group.line_word_ends))[words]
    is_end = group.kinds[words] & _SENTENCE_END > 0
    is_break = is_end[:-1] & ~is_end[1:] & (line_of[1:] == line_of[:-1])
    sentences: Ints = 1 + np.bincount(line_of[1:][is_break], minlength=len(group.lines))
    # White space that is not one space is a word there.
    space = group.traits & _SPACE > 0
    is_odd = group.traits & _OTHER_SPACE > 0
    is_odd[1:] |= space[1:] & space[:-1]
    text_of = np.repeat(np.arange(len(group.texts)), _sizes(group.line_ends))
    for index in np.flatnonzero(_counts(is_odd, group.trait_ends)).tolist():
        split = text_lines.words if group.is_unspaced[text_of[index]] else str.split
        sentences[index] = text_lines.sentences(group.lines[index], split)
    return sentences


def _fineweb_signals(
    group: _Group, characters: Ints, kept: Bools, is_end: Bools, changed: _Changed
) -> dict[str, Ints | Floats]:
    """Of the lines that FineWeb keeps: they are what its own filter reads."""
    ends = group.line_ends
    words = _sizes(group.line_word_ends)
    for index, (_, _, line_words) in changed.items():
        words[index] = line_words
    lines = _sums(kept, ends)
    repeated = np.zeros_like(lines)
    kept_lines = [
        [line for line, is_kept in zip(group.lines[of_text], kept[of_text].tolist(), strict=True) if is_kept]
        for of_text in _slices(ends)
    ]
    for text, of_text in enumerate(kept_lines):
        distinct = set(of_text)
        if len(distinct) < len(of_text):
            repeated[text] = sum(map(len, of_text)) - sum(map(len, distinct))
    kept_words = _sums(np.where(kept, words, 0), ends)
    columns: dict[str, Ints | Floats] = {
        "fineweb_punctuated_line_ratio": _share(_sums(kept & is_end, ends), lines),
        "fineweb_short_line_ratio": _share(_sums(kept & (characters <= SHORT_LINE_CHARACTERS), ends), lines),
        "fineweb_repeated_line_char_ratio": _share(repeated, _sums(np.where(kept, characters, 0), ends)),
        "fineweb_newline_word_ratio": np.minimum(_share(np.maximum(lines - 1, 0), kept_words), 1.0),
    }
    # What is left of a line may be blank, or have white space at an end.
    for text in {int(np.searchsorted(ends, index, side="right")) for index in changed}:
        first = int(ends[text - 1]) if text else 0
        left = [
            changed[index][0].text if index in changed else group.lines[index]
            for index in range(first, int(ends[text]))
            if kept[index]
        ]
        tally = _fineweb_tally("\n".join(left).strip())
        for name, value in tally.ratios(int(kept_words[text])).items():
            columns[f"fineweb_{name}"][text] = value
    return columns


class _FineWebTally(NamedTuple):
    """What FineWeb's filter counts in a text."""

    lines: int
    punctuated: int
    short: int
    repeated_characters: int
    characters: int
    newlines: int

    def ratios(self, words_and_marks: int) -> dict[str, float]:
        return {
            "punctuated_line_ratio": self.punctuated / self.lines if self.lines else 0.0,
            "short_line_ratio": self.short / self.lines if self.lines else 0.0,
            "repeated_line_char_ratio": self.repeated_characters / self.characters if self.characters else 0.0,
            "newline_word_ratio": min(self.newlines / words_and_marks, 1.0) if words_and_marks else 0.0,
        }


def _fineweb_tally(text: str) -> _FineWebTally:
    every = text.split("\n")
    lines = [line for line in every if line and not line.isspace()]
    return _FineWebTally(
        lines=len(lines),
        punctuated=sum(line[-1] in text_lines.LINE_END_PUNCTUATION for line in lines),
        short=sum(len(line) <= SHORT_LINE_CHARACTERS for line in lines),
        repeated_characters=sum(map(len, lines)) - sum(map(len, set(lines))),
        characters=len(text) - len(every) + 1,
        newlines=len(every) - 1,
    )


def _refinedweb_removed_word_ratio(group: _Group, runs: Ints, characters: Ints) -> Floats:
    """By lines between newlines and words in which each letter of a script without spaces is one."""
    words = runs.copy()
    for index in np.flatnonzero(_counts(group.traits & _UNSPACED, group.trait_ends)).tolist():
        words[index] = len(text_lines.words(group.lines[index]))
    uppercase = _counts(group.traits & _UPPERCASE, group.trait_ends)
    dropped: Bools = text_lines.refinedweb_drops(words, characters, uppercase)
    removed = np.where(dropped, words, 0)
    may_hold_phrase = np.zeros(words.size, dtype=np.bool_)
    for of_text, lower in zip(_slices(group.line_ends), group.lowered, strict=True):
        may_hold_phrase[of_text] = text_lines.has_refinedweb_phrase(lower)
    # A counter has a digit.
    has_digit = _counts(group.traits & _DIGIT, group.trait_ends) > 0
    is_short = words <= text_lines.REFINEDWEB_SHORT_LINE_WORDS
    for index in np.flatnonzero(~dropped & is_short & (may_hold_phrase | has_digit)).tolist():
        line = group.lines[index]
        if may_hold_phrase[index] or not line[0].isalpha():  # a counter does not start with a letter
            left = text_lines.refinedweb_short_line(line)
            removed[index] = words[index] - len(text_lines.words(left))
    removed, words = _sums(removed, group.line_ends), _sums(words, group.line_ends)
    for index, text in enumerate(group.texts):
        if _OTHER_LINE_BREAK.search(text):
            left = text_lines.refinedweb_lines(text)
            removed[index] = words[index] - len(text_lines.words(left))
    return _share(removed, words)


_OTHER_LINE_BREAK = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


class _Tally(NamedTuple):
    """What is counted text by text."""

    paragraphs: int
    duplicate_paragraphs: int
    duplicate_paragraph_characters: int
    breaks: int
    duplicate_lines: int
    duplicate_line_characters: int


def _tally(text: str) -> _Tally:
    paragraphs = text_lines.paragraphs(text)
    distinct_paragraphs = set(paragraphs)
    lines = [line for line in text.split("\n") if line]
    distinct_lines = set(lines)
    # A newline at an end of the text has an empty line before or after it, one at both ends has two.
    edges = 2 if not lines and text else text.startswith("\n") + text.endswith("\n")
    return _Tally(
        paragraphs=len(paragraphs),
        duplicate_paragraphs=len(paragraphs) - len(distinct_paragraphs),
        duplicate_paragraph_characters=sum(map(len, paragraphs)) - sum(map(len, distinct_paragraphs)),
        breaks=len(lines) + edges,
        duplicate_lines=len(lines) - len(distinct_lines) + (edges == 2),
        duplicate_line_characters=sum(map(len, lines)) - sum(map(len, distinct_lines)),
    )


def _text_signals(group: _Group) -> dict[str, Ints | Floats]:
    tallies = list(map(_tally, group.texts))
    of = dict(
        zip(_Tally._fields, np.array(tallies, dtype=np.int64).reshape(len(tallies), len(_Tally._fields)).T, strict=True)
    )
    words = _sizes(group.text_word_ends).tolist()
    ratios = [_fineweb_tally(text).ratios(count) for text, count in zip(group.texts, words, strict=True)]
    characters = _lengths(group.texts)
    has_words = _sizes(group.text_word_ends) > 0
    columns: dict[str, Ints | Floats] = {
        name: np.array([of_text[name] for of_text in ratios], dtype=np.float64)
        for name in ("punctuated_line_ratio", "short_line_ratio", "repeated_line_char_ratio", "newline_word_ratio")
    }
    return columns | {
        "paragraphs": of["paragraphs"],
        "duplicate_line_ratio": _share(of["duplicate_lines"] * has_words, of["breaks"]),
        "duplicate_paragraph_ratio": _share(of["duplicate_paragraphs"], of["paragraphs"]),
        "duplicate_line_char_ratio": _share(of["duplicate_line_characters"] * has_words, characters),
        "duplicate_paragraph_char_ratio": _share(of["duplicate_paragraph_characters"], characters),
    }
