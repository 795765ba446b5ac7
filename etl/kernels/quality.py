"""Signals of the published heuristic filters, all from one pass over a text.

Nothing is decided here: thresholds live in the recipes, and a changed threshold measures
nothing again. `etl.kernels.lines` says what a word, a line, a paragraph and a sentence is.

Common to all signals: a share of nothing is 0.0, never NaN, so a text without words has
zeros only; every column whose name ends in ``_ratio`` lies in [0, 1]; every function is
pure, deterministic, linear in the length of the text (times a logarithm for sorting word
n-grams), and raises for no `str`.

Word n-grams are compared as they stand, case and punctuation included, and their length is
that of their words without the spaces. A text of many words is cheap as long as it repeats
little: an n-gram can be repeated only where the two (n-1)-grams inside it are, so each step
looks only at what the step before found repeated.
"""

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.kernels import lines as text_lines

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Traits = npt.NDArray[np.uint16]

# Gopher, Rae et al. 2021, appendix A.1
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("\u2022", "\u25cf", "\u25e6", "\u25aa", "\u2023", "*", "-")
ELLIPSES = ("...", "\u2026")
TOP_NGRAMS = (2, 3, 4)
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)

SHORT_LINE_CHARACTERS = 30  # FineWeb, Penedo et al. 2024

# Texts are measured in groups of about this many characters: enough to spread the cost of
# a NumPy call over many texts, little enough to stay in the cache of a core.
GROUP_CHARACTERS = 1 << 17


class Signals(NamedTuple):
    """The columns of the table document_quality that describe a text, in its order.

    Its comments say what each value is; what they leave open:

    symbol_word_ratio: an ellipsis is "..." or the one character for it.
    alpha_word_ratio: a letter is what `str.isalpha` says.
    stop_words: in any case, between characters that are not letters, digits or "_".
    duplicate_*_ratio: every occurrence of an equal line or paragraph but the first one.
    top_*gram_char_ratio: characters of the most frequent n-gram times its count, over the
        characters of all words; at most 1, as occurrences may overlap.
    duplicate_*gram_char_ratio: characters of the words covered by n-grams that occurred
        before, each word once, over the characters of all words.
    newline_word_ratio: of the text without white space at its ends.
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
    newline_word_ratio: float
    longest_word: int
    lorem_ipsum: int
    curly_brackets: int
    c4_sentences: int
    c4_kept_line_ratio: float
    c4_policy_lines: int
    fineweb_sentences: int
    refinedweb_removed_word_ratio: float


def signals(text: str) -> Signals:
    """The signals of one text. For many texts `batch` is two to three times as fast."""
    columns = _measure([text])
    return Signals(*(columns[name][0].item() for name in Signals._fields))


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


@dataclass(frozen=True)
class _Group:
    """Texts cut into lines and words, all in one row, text after text.

    Where things end is counted from the start of the group. Words are integers: equal words
    of one text share an id, words of two texts never do, so nothing that spans two texts
    looks repeated. Ids ascend in the order of the texts.
    """

    texts: Sequence[str]
    lowered: list[str]  # the texts in small letters
    lines: list[str]
    line_ends: Ints  # per text
    traits: Traits  # of the characters of all lines, with a newline between two lines
    trait_ends: Ints  # per line
    words: list[str]  # per id
    word_traits: Traits  # of the characters of `words`
    word_trait_ends: Ints  # per id
    ids: Ints  # of all words of all texts
    line_id_ends: Ints  # per line; no line is without words
    text_id_ends: Ints  # per text


def _cut(texts: Sequence[str]) -> _Group:
    lines_of = list(map(text_lines.lines, texts))
    lines = list(chain.from_iterable(lines_of))
    line_ends = np.cumsum(_lengths(lines_of))
    traits, trait_ends = _traits("\n".join(lines)), np.cumsum(_lengths(lines) + 1) - 1
    unspaced = _counts(traits & _UNSPACED, trait_ends)
    words_of = [
        text_lines.words(line) if is_unspaced else line.split()
        for line, is_unspaced in zip(lines, unspaced.tolist(), strict=True)
    ]
    words: list[str] = []
    ids: list[int] = []
    next_id = count().__next__
    for of_text in _slices(line_ends):
        vocabulary: defaultdict[str, int] = defaultdict(next_id)
        ids.extend(map(vocabulary.__getitem__, chain.from_iterable(words_of[of_text])))
        words.extend(vocabulary)
    line_id_ends = np.cumsum(_lengths(words_of))
    return _Group(
        texts=texts,
        lowered=list(map(str.lower, texts)),
        lines=lines,
        line_ends=line_ends,
        traits=traits,
        trait_ends=trait_ends,
        words=words,
        word_traits=_traits("".join(words)),
        word_trait_ends=np.cumsum(_lengths(words)),
        ids=np.array(ids, dtype=np.int64),
        line_id_ends=line_id_ends,
        text_id_ends=_from_zero(line_id_ends)[line_ends],
    )


(
    _LETTER,
    _UPPERCASE,
    _LOWERCASE,
    _UNSPACED,
    _BULLET,
    _DOT,
    _ELLIPSIS,
    _LINE_END,
    _C4_LINE_END,
    _SENTENCE_TAIL,
    _BRACKET,
) = (1 << bit for bit in range(11))


def _traits(text: str) -> Traits:
    """What each character of `text` is, as bits."""
    # A lone surrogate is a code point like another here.
    return _traits_of_code_points()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)]


@functools.cache
def _traits_of_code_points() -> Traits:
    traits = np.zeros(sys.maxunicode + 1, dtype=np.uint16)
    in_use = list(map(chr, range(0x40000)))  # Unicode has no letter after these
    for bit, characters in (
        (_LETTER, filter(str.isalpha, in_use)),
        (_UPPERCASE, filter(str.isupper, in_use)),
        (_LOWERCASE, filter(str.islower, in_use)),
        (_BULLET, BULLETS),
        (_DOT, "."),
        (_ELLIPSIS, "\u2026"),
        (_LINE_END, text_lines.LINE_END_PUNCTUATION),
        (_C4_LINE_END, text_lines.C4_TERMINAL_PUNCTUATION),
        (_SENTENCE_TAIL, text_lines.SENTENCE_TAILS),
        (_BRACKET, "["),
    ):
        traits[list(map(ord, characters))] |= bit
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
    return _word_signals(group) | _line_signals(group) | _text_signals(group)


def _word_signals(group: _Group) -> dict[str, Ints | Floats]:
    ends = group.text_id_ends
    words = _sizes(ends)
    lengths = _sizes(group.word_trait_ends)[group.ids]
    characters = _sums(lengths, ends)
    has_words = words > 0
    longest = np.zeros_like(words)
    if group.ids.size:
        longest[has_words] = np.maximum.reduceat(lengths, (ends - words)[has_words])
    is_letterless = _counts(group.word_traits & _LETTER, group.word_trait_ends) == 0
    columns: dict[str, Ints | Floats] = {
        "words": words,
        "mean_word_length": _share(characters, words),
        "alpha_word_ratio": _share(words - _counts(is_letterless[group.ids], ends), words),
        "longest_word": longest,
    }
    return columns | _ngram_signals(group.ids, lengths, np.repeat(np.arange(words.size), words), characters)


def _ngram_signals(ids: Ints, lengths: Ints, text_of: Ints, characters: Ints) -> dict[str, Floats]:
    """The n-gram signals of texts.

    Per word its id, length and text; per text the length of its words.
    """
    columns = {
        f"{kind}_{n}gram_char_ratio": np.zeros(characters.size)
        for kind, sizes in (("top", TOP_NGRAMS), ("duplicate", DUPLICATE_NGRAMS))
        for n in sizes
    }
    offsets = _from_zero(np.cumsum(lengths))
    # At each step `at` holds, ascending, where an n-gram starts that the text has more than once;
    # equal n-grams have one number in `ngram`, and the numbers ascend in the order of the texts.
    at = np.flatnonzero(np.bincount(ids)[ids] > 1) if ids.size else ids
    ngram = ids[at]
    for n in range(2, DUPLICATE_NGRAMS[-1] + 1):
        # An n-gram is told by the two (n-1)-grams inside it, and is repeated only if both are.
        pair = np.flatnonzero(at[1:] == at[:-1] + 1)
        keys = ngram[pair] * (ngram.max(initial=0) + 1) + ngram[pair + 1]
        at = at[pair]
        order = np.argsort(keys, kind="stable")
        is_new = np.ones(keys.size, dtype=np.bool_)
        is_new[1:] = keys[order][1:] != keys[order][:-1]
        number = np.cumsum(is_new) - 1
        counts = np.bincount(number)
        ngram = np.empty_like(keys)
        ngram[order] = number
        repeated = counts[ngram] > 1
        is_first = np.zeros(keys.size, dtype=np.bool_)
        is_first[order[is_new]] = True  # the sort is stable
        at, ngram, is_first = at[repeated], ngram[repeated], is_first[repeated]
        if not at.size:
            break
        text = text_of[at]
        if n in TOP_NGRAMS:
            size = offsets[at + n] - offsets[at]
            frequency = counts[ngram]
            ranked = np.lexsort((size, frequency, text))
            best = ranked[np.flatnonzero(text[ranked] != np.append(text[ranked][1:], -1))]
            top = np.zeros(characters.size, dtype=np.int64)
            top[text[best]] = size[best] * frequency[best]
            columns[f"top_{n}gram_char_ratio"] = np.minimum(_share(top, characters), 1.0)
        else:
            start = at[~is_first]
            stop = np.minimum(start + n, np.append(start[1:], ids.size))
            covered = np.zeros(characters.size, dtype=np.int64)
            np.add.at(covered, text[~is_first], offsets[stop] - offsets[start])
            columns[f"duplicate_{n}gram_char_ratio"] = _share(covered, characters)
    return columns


def _line_signals(group: _Group) -> dict[str, Ints | Floats]:
    lines, words = _sizes(group.line_ends), _sizes(group.line_id_ends)
    characters = _sizes(group.trait_ends + 1) - 1
    first = group.traits[group.trait_ends - characters]
    last, second_last, third_last = (group.traits[np.maximum(group.trait_ends - back, 0)] for back in (1, 2, 3))
    in_dots = (characters >= 3) & (last & second_last & third_last & _DOT > 0)

    def share(of_lines: Bools) -> Floats:
        return _share(_sums(of_lines, group.line_ends), lines)

    return {
        "lines": lines,
        "bullet_line_ratio": share(first & _BULLET > 0),
        "ellipsis_line_ratio": share(in_dots | (last & _ELLIPSIS > 0)),
        "punctuated_line_ratio": share(last & _LINE_END > 0),
        "short_line_ratio": share(characters <= SHORT_LINE_CHARACTERS),
        "refinedweb_removed_word_ratio": _refinedweb_removed_word_ratio(group, words, characters),
        **_c4_signals(group, words, characters, punctuated=(last & _C4_LINE_END > 0) & ~in_dots),
    }


def _c4_signals(group: _Group, words: Ints, characters: Ints, punctuated: Bools) -> dict[str, Ints | Floats]:
    kept = words >= text_lines.C4_MIN_WORDS
    sentences = 1 + _sentence_breaks(group)
    has_phrase = np.zeros(words.size, dtype=np.bool_)
    for of_text, lower in zip(_slices(group.line_ends), group.lowered, strict=True):
        if text_lines.has_c4_phrase(lower):
            has_phrase[of_text] = [text_lines.has_c4_phrase(line.lower()) for line in group.lines[of_text]]
    has_bracket = _counts(group.traits & _BRACKET, group.trait_ends) > 0
    # Something may be cut out of these lines, or they may go for another reason than few words.
    for index in np.flatnonzero(has_phrase | has_bracket | (characters > text_lines.C4_MAX_WORD_LENGTH)).tolist():
        left = text_lines.c4_kept(group.lines[index : index + 1])
        kept[index] = bool(left)
        if left:
            punctuated[index] = text_lines.ends_in_terminal_punctuation(left[0])
            sentences[index] = text_lines.sentences(text_lines.words(left[0]))
    return {
        "c4_sentences": _sums(sentences * (kept & punctuated), group.line_ends),
        "c4_kept_line_ratio": _share(_sums(kept & punctuated, group.line_ends), _sizes(group.line_ends)),
        "c4_policy_lines": _sums(has_phrase, group.line_ends),
        "fineweb_sentences": _sums(sentences * kept, group.line_ends),
    }


def _sentence_breaks(group: _Group) -> Ints:
    """Per line: sentence ends before its last word; `etl.kernels.lines.sentences` for all lines at once."""
    last = group.word_traits[group.word_trait_ends - 1]
    ends_sentence = last & _SENTENCE_TAIL > 0
    tails = np.flatnonzero(ends_sentence)
    ends_sentence[tails] = [text_lines.ends_sentence(group.words[index]) for index in tails.tolist()]
    breaks = ends_sentence[group.ids]
    breaks[group.line_id_ends - 1] = False
    at = np.flatnonzero(breaks)
    first = group.word_traits[_from_zero(group.word_trait_ends)[group.ids[at + 1]]]
    breaks[at] = first & _LOWERCASE == 0
    return _counts(breaks, group.line_id_ends)


def _refinedweb_removed_word_ratio(group: _Group, words: Ints, characters: Ints) -> Floats:
    uppercase = _counts(group.traits & _UPPERCASE, group.trait_ends)
    dropped: Bools = text_lines.refinedweb_drops(words, characters, uppercase)
    removed = np.where(dropped, words, 0)
    may_hold_phrase = np.zeros(words.size, dtype=np.bool_)
    for of_text, lower in zip(_slices(group.line_ends), group.lowered, strict=True):
        may_hold_phrase[of_text] = text_lines.has_refinedweb_phrase(lower)
    for index in np.flatnonzero(~dropped & (words <= text_lines.REFINEDWEB_SHORT_LINE_WORDS)).tolist():
        line = group.lines[index]
        if may_hold_phrase[index] or not line[0].isalpha():  # a counter does not start with a letter
            left = text_lines.refinedweb_short_line(line)
            removed[index] = words[index] - len(text_lines.words(left))
    return _share(_sums(removed, group.line_ends), _sizes(group.text_id_ends))


_STOP_WORDS = {
    # Starts with the word itself, so that the search is one for a plain string.
    word: re.compile(rf"{word}(?<!\w{word})(?!\w)")
    for word in STOP_WORDS
}


class _Tally(NamedTuple):
    """What is counted text by text."""

    paragraphs: int
    duplicate_lines: int
    duplicate_paragraphs: int
    line_characters: int
    duplicate_line_characters: int
    paragraph_characters: int
    duplicate_paragraph_characters: int
    symbols: int
    newlines: int
    stop_words: int
    lorem_ipsum: int
    curly_brackets: int


def _tally(text: str, lower: str, lines: list[str]) -> _Tally:
    paragraphs = text_lines.paragraphs(text)
    distinct_lines, distinct_paragraphs = set(lines), set(paragraphs)
    line_characters, paragraph_characters = sum(map(len, lines)), sum(map(len, paragraphs))
    return _Tally(
        paragraphs=len(paragraphs),
        duplicate_lines=len(lines) - len(distinct_lines),
        duplicate_paragraphs=len(paragraphs) - len(distinct_paragraphs),
        line_characters=line_characters,
        duplicate_line_characters=line_characters - sum(map(len, distinct_lines)),
        paragraph_characters=paragraph_characters,
        duplicate_paragraph_characters=paragraph_characters - sum(map(len, distinct_paragraphs)),
        symbols=max(text.count("#"), sum(map(text.count, ELLIPSES))),
        newlines=text.strip().count("\n"),
        stop_words=sum(word in lower and pattern.search(lower) is not None for word, pattern in _STOP_WORDS.items()),
        lorem_ipsum=lower.count("lorem ipsum"),
        curly_brackets=text.count("{"),
    )


def _text_signals(group: _Group) -> dict[str, Ints | Floats]:
    lines_of = map(group.lines.__getitem__, _slices(group.line_ends))
    tallies = list(map(_tally, group.texts, group.lowered, lines_of))
    of = dict(
        zip(_Tally._fields, np.array(tallies, dtype=np.int64).reshape(len(tallies), len(_Tally._fields)).T, strict=True)
    )
    lines, words = _sizes(group.line_ends), _sizes(group.text_id_ends)
    return {
        "paragraphs": of["paragraphs"],
        "symbol_word_ratio": np.minimum(_share(of["symbols"], words), 1.0),
        "stop_words": of["stop_words"],
        "duplicate_line_ratio": _share(of["duplicate_lines"], lines),
        "duplicate_paragraph_ratio": _share(of["duplicate_paragraphs"], of["paragraphs"]),
        "duplicate_line_char_ratio": _share(of["duplicate_line_characters"], of["line_characters"]),
        "duplicate_paragraph_char_ratio": _share(of["duplicate_paragraph_characters"], of["paragraph_characters"]),
        "newline_word_ratio": np.minimum(_share(of["newlines"], words), 1.0),
        "lorem_ipsum": of["lorem_ipsum"],
        "curly_brackets": of["curly_brackets"],
    }
