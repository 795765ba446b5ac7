"""The probability that a careful reader calls a web document good text to train on, by a small packaged model.

Two kinds of evidence go into one logistic regression. *Shape* is what can be seen without reading: how much of the
text stands in long lines that end as sentences do, how lines and words repeat, where capitals, digits, commas and
ornaments stand. It is counted in kinds of characters, not in letters of a language, lengths are in columns (a wide
letter, as of Chinese, has two), and what needs capitals counts in proportion to the letters that have case. *Words* are
sums of the weights of the distinct words that the model knows, over the root of all distinct words, so that in a
language of which it knows none they say nothing, and the shape alone decides.

Everything is NumPy and the standard library. Of a long text the start, the middle and the end are read, so that any
text takes bounded time. A score is of one text, whatever stands beside it, and has the same bits on every call.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etl import models
from etl.kernels.lines import LINE_END_PUNCTUATION, UNSPACED
from etl.kernels.ranking import logistic
from etl.kernels.scoring import Score
from etl.models import ModelError

PACKAGED = "quality.npz"
VERSION = 1  # of `measure`: a model holds the one that it was trained with

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What decides a score beside the text: the model, packaged or a file of `train-quality`, and how much is read.

    Of a text of more than `characters`, half of them are read at its start, a quarter in its middle and a quarter at
    its end.
    """

    model: str = PACKAGED
    characters: int = 32_768

    def __post_init__(self) -> None:
        if self.characters < 1_000:
            raise ValueError(f"characters is {self.characters}, wanted at least 1000")


def score(texts: Sequence[str], settings: Settings | None = None) -> list[Score]:
    """One score a text, in order: the probability of a good document.

    A text of white space only has none. `read` counts the characters that were looked at.

    Raises:
        ModelError: as `check`.
    """
    settings = settings or Settings()
    model = _model(settings.model)
    return [_score(text, model, settings.characters) for text in texts]


def digest(settings: Settings | None = None) -> str:
    """SHA-256 of what decides the scores: the model, how much is read, and the version of `measure`.

    Raises:
        ModelError: the model is missing or damaged.
    """
    settings = settings or Settings()
    content = hashlib.sha256(_content(settings.model)).hexdigest()
    return hashlib.sha256(f"{content} {settings.characters} {VERSION}".encode()).hexdigest()


def check(settings: Settings | None = None) -> None:
    """Load the model.

    Raises:
        ModelError: it is missing, damaged, or no model of this kind and version.
    """
    _model((settings or Settings()).model)


class Model(NamedTuple):
    """What a file of weights holds; the names of the columns are `FEATURES`."""

    low: Floats  # (features,) what lies outside is taken as the nearest value that training has seen
    high: Floats
    mean: Floats
    weights: Floats  # (features,) per unit of the feature
    bias: float
    words: dict[str, int]
    word_weights: Floats  # (words, len(WORD_FEATURES))


def _score(text: str, model: Model, characters: int) -> Score:
    read = sample(text, characters)
    if not read or read.isspace():
        return Score(None, 0, error="empty: no character but white space in what is read of the text")
    measured = measure(read, len(text), model.words, model.word_weights)
    return Score(probability(measured, model), min(len(text), characters))


def columns(measured: Floats, low: Floats, high: Floats, mean: Floats) -> Floats:
    """(n, features + 3) from `measure` to what the weights are for, (n, features): differences from the mean.

    Where a script has no spaces or capitals, or few words are known, what needs them fades to 0, which says nothing.
    """
    found: Floats = np.clip(measured[:, : len(FEATURES)], low, high) - mean
    for place, part in enumerate((_SPACED, _CASED, _READ), start=len(FEATURES)):
        found[:, part] *= measured[:, place : place + 1]
    return found


def probability(measured: Floats, model: Model) -> float:
    """The score of what `measure` found."""
    terms = columns(measured[None], model.low, model.high, model.mean)[0] * model.weights
    odds = math.fsum([model.bias, *terms.tolist()])  # exact, so in any order
    return logistic(odds)


def sample(text: str, characters: int) -> str:
    """`text`, or of a longer one its start, middle and end, cut anywhere, each on lines of its own."""
    if len(text) <= characters:
        return text
    quarter = characters // 4
    middle = (len(text) - quarter) // 2
    return "\n".join((text[: characters - 2 * quarter], text[middle : middle + quarter], text[-quarter:]))


# Kinds of characters. Letters with case, without, wide as Hangul is, and of scripts that put no spaces between words,
# narrow as Thai and wide as Han; marks belong to the letter before them.
(
    _OTHER, _LOWER, _UPPER, _CASELESS, _WIDE, _UNSPACED, _UNSPACED_WIDE, _MARK, _DIGIT, _SPACE, _NEWLINE, _END, _COMMA,
    _QUOTE, _ORNAMENT, _BROKEN, _CURRENCY, _PUNCTUATION,
) = range(18)  # fmt: skip
_STEP = 32  # of the first in the number of a pair of kinds
_COMMAS = ",;\u060c\u061b\u3001\uff0c\uff1b\u055d"
_ORNAMENTS = "|\u00a6<>{}[]\\^_=*~#+\u2022\u00b7\u203a\u00bb\u2039\u00ab\u00a9\u00ae\u2122"
_CLOSERS = "\"')]\u2019\u201d\u00bb\u300d\u300f\uff09"
_ENDS = LINE_END_PUNCTUATION | {"\u2026"}
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
_REPLACEMENT = 0xFFFD
_IN_USE = 0x40000  # Unicode has no letter after these


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """(code points,) what kind each is; the Unicode tables of this Python."""
    kinds = np.zeros(0x110000, dtype=np.uint8)
    for code in range(_IN_USE):
        kinds[code] = _kind(chr(code))
    kinds[0xD800:0xE000] = _BROKEN  # lone surrogates
    kinds[0xE000:0xF900] = _BROKEN  # private use
    kinds[0xF0000:] = _BROKEN
    kinds[_REPLACEMENT] = _BROKEN
    for characters, kind in ((_COMMAS, _COMMA), (_ORNAMENTS, _ORNAMENT), (LINE_END_PUNCTUATION, _END)):
        kinds[list(map(ord, characters))] = kind
    kinds[ord("\n")] = _NEWLINE
    return kinds


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    category = unicodedata.category(character)
    if category[0] == "L":
        is_wide = unicodedata.east_asian_width(character) in "WF"
        if _UNSPACED_LETTER.match(character):
            return _UNSPACED_WIDE if is_wide else _UNSPACED
        if is_wide:
            return _WIDE
        if character.isupper() or category == "Lt":
            return _UPPER
        return _LOWER if character.islower() else _CASELESS
    if category[0] == "M":
        return _MARK
    if category[0] == "N":
        return _DIGIT
    if category in ("Pi", "Pf") or character in "\"'\u201e\u201a":
        return _QUOTE
    if category == "Cc":
        return _BROKEN
    if category == "Sc":
        return _CURRENCY
    if category == "So":
        return _ORNAMENT
    return _PUNCTUATION if category[0] == "P" else _OTHER


SHAPE_FEATURES = (
    *("log_columns", "log_prose_columns", "prose_ratio", "long_line_ratio", "short_line_ratio"),
    *("short_line_column_ratio", "log_lines", "log_mean_line", "log_longest_line", "first_line_is_long"),
    *("repeated_line_ratio", "letter_ratio", "digit_ratio", "end_rate", "log_ends"),
    *("log_columns_per_end", "comma_rate", "quote_rate", "ornament_rate", "broken_rate", "currency_rate"),
    *("number_mark_rate", "address_rate", "exclamation_rate", "question_rate", "ellipsis_rate"),
)
SPACED_FEATURES = (
    *("early_distinct_ratio", "distinct_exponent", "early_repeats", "repeats", "log_mean_word", "long_word_ratio"),
)
CASED_FEATURES = ("lower_word_ratio", "short_lower_word_ratio", "capital_pair_ratio", "shout_ratio", "low_start_ratio")
WORD_FEATURES = ("kind_words", "rest_words")
FEATURES = (*SHAPE_FEATURES, *SPACED_FEATURES, *CASED_FEATURES, *WORD_FEATURES)
_SPACED = slice(len(SHAPE_FEATURES), len(SHAPE_FEATURES) + len(SPACED_FEATURES))
_CASED = slice(_SPACED.stop, _SPACED.stop + len(CASED_FEATURES))
_READ = slice(_CASED.stop, len(FEATURES))

PROSE_COLUMNS = 60  # a line of prose has as many columns and ends as a sentence does
LONG_COLUMNS = 200
SHORT_COLUMNS = 40
EARLY_WORDS = 200
LONG_WORD = 30
# Prose repeats more words the longer it is, but has more distinct ones than this: what is below is repetition.
USUAL_EARLY_DISTINCT = 0.5
USUAL_EXPONENT = 0.8
FEW_STARTS = 5  # of sentences: so many more with a capital are taken for granted
READ_RATIO = 0.5  # of the distinct words, which a text in a language of the model has; words count in full from there
RATE = 100  # rates are per so many columns of letters, about twenty words

_WORD = re.compile(r"[^\W\d_]+")
ADDRESS_MARKS = ("://", "www.", "@", ".com")
_COLUMNS = dict.fromkeys((_LOWER, _UPPER, _CASELESS, _UNSPACED), 1) | dict.fromkeys((_WIDE, _UNSPACED_WIDE), 2)
_IS_LETTER = np.isin(np.arange(_STEP), [*_COLUMNS, _MARK])


def measure(text: str, length: int, words: dict[str, int], word_weights: Floats) -> Floats:
    """`FEATURES` of a text that stands for one of `length` characters, then what spaces, capitals and words tell of it.

    These three are shares: of letters in scripts with spaces, of words that begin with a letter that has case, and of
    distinct words that the model knows, doubled and at most 1. `text` has a character that is not white space.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _kinds()[codes]
    pairs = np.bincount(kinds[:-1] * np.uint16(_STEP) + kinds[1:], minlength=_STEP * _STEP).reshape(_STEP, _STEP)
    counts = np.bincount(kinds, minlength=_STEP).tolist()
    letters = sum(counts[kind] for kind in _COLUMNS)
    columns = sum(counts[kind] * width for kind, width in _COLUMNS.items())
    cased, cased_share = _cased_features(kinds)
    sums, known_share = _word_features(text, words, word_weights)
    unspaced = counts[_UNSPACED] + counts[_UNSPACED_WIDE]
    return np.array(
        [
            *_line_features(text, length, 1 + (columns - letters) / len(text)),
            *_character_features(text, counts, pairs, columns),
            *_spaced_features(text, columns),
            *cased,
            *sums,
            1 - unspaced / max(letters, 1),
            cased_share,
            min(known_share / READ_RATIO, 1.0),
        ]
    )


def _line_features(text: str, length: int, columns_a_character: float) -> list[float]:
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    sizes = [len(line) * columns_a_character for line in lines]
    total = sum(sizes)
    is_prose = [size >= PROSE_COLUMNS and _ends_sentence(line) for line, size in zip(lines, sizes, strict=True)]
    prose = sum(size for size, yes in zip(sizes, is_prose, strict=True) if yes)
    short = [size for size in sizes if size < SHORT_COLUMNS]
    scale = length / len(text)  # the sample stands for the whole text
    return [
        math.log1p(total * scale),
        math.log1p(prose * scale),
        prose / total,
        sum(size for size in sizes if size >= LONG_COLUMNS) / total,
        len(short) / len(lines),
        sum(short) / total,
        math.log1p(len(lines) * scale),
        math.log1p(total / len(lines)),
        math.log1p(max(sizes)),
        float(sizes[0] >= 2 * PROSE_COLUMNS),
        1 - len(set(lines)) / len(lines),
    ]


def _ends_sentence(line: str) -> bool:
    return line[-1] in _ENDS or (line[-1] in _CLOSERS and line.rstrip(_CLOSERS)[-1:] in _ENDS)


def _character_features(text: str, counts: list[int], pairs: NDArray[np.int64], columns: int) -> list[float]:
    letters = sum(counts[kind] for kind in _COLUMNS)
    visible = max(len(text) - counts[_SPACE] - counts[_NEWLINE], 1)
    # Columns of letters that all rates are taken over; a text without any is not divided by zero.
    base = max(columns, 1) / RATE
    # An end inside a number, an address or an abbreviation ends nothing.
    ends = counts[_END] - int(pairs[_END, [_DIGIT, _LOWER, _UPPER, _END]].sum())
    return [
        (letters + counts[_MARK]) / visible,
        counts[_DIGIT] / max(counts[_DIGIT] + columns, 1),
        math.log1p(ends / base),
        math.log1p(ends),
        math.log1p(columns / (ends + 1)),
        math.log1p(counts[_COMMA] / base),
        math.log1p(counts[_QUOTE] / base),
        math.log1p(counts[_ORNAMENT] / base),
        math.log1p(counts[_BROKEN] / base),
        math.log1p(counts[_CURRENCY] / base),
        math.log1p((int(pairs[_DIGIT, _PUNCTUATION]) + int(pairs[_PUNCTUATION, _DIGIT])) / base),
        math.log1p(sum(map(text.count, ADDRESS_MARKS)) / base),
        math.log1p((text.count("!") + text.count("\uff01")) / base),
        math.log1p((text.count("?") + text.count("\uff1f") + text.count("\u061f")) / base),
        math.log1p((text.count("...") + text.count("\u2026")) / base),
    ]


def _spaced_features(text: str, columns: int) -> list[float]:
    """What needs spaces between words."""
    runs = text.split()
    early = runs[:EARLY_WORDS]
    early_distinct = len(set(early)) / len(early)
    exponent = math.log(len(set(runs))) / math.log(len(runs)) if len(runs) > 1 else 1.0
    return [
        early_distinct,
        exponent,
        max(0.0, USUAL_EARLY_DISTINCT - early_distinct),
        max(0.0, USUAL_EXPONENT - exponent),
        math.log1p(columns / len(runs)),
        int((np.fromiter(map(len, runs), np.int64, len(runs)) > LONG_WORD).sum()) / len(runs),
    ]


def _cased_features(kinds: NDArray[np.uint8]) -> tuple[list[float], float]:
    """What needs capitals, of the words that begin with a letter that has case, and their share of all words."""
    is_letter = np.zeros(len(kinds) + 2, dtype=np.bool_)
    is_letter[1:-1] = _IS_LETTER[kinds]
    edges = np.flatnonzero(is_letter[1:] != is_letter[:-1])
    starts, ends = edges[::2], edges[1::2]
    first = kinds[starts]
    is_upper, is_lower = first == _UPPER, first == _LOWER
    is_cased = is_upper | is_lower
    cased = int(is_cased.sum())
    if not cased:
        return [0.0] * len(CASED_FEATURES), 0.0
    lengths = ends - starts
    is_pair = (starts[1:] - ends[:-1] == 1) & is_cased[1:] & is_cased[:-1]
    is_shouted = is_upper & (lengths > 1) & (kinds[np.minimum(starts + 1, len(kinds) - 1)] == _UPPER)
    before, mark, place = (kinds[np.maximum(starts - back, 0)] for back in (3, 2, 1))
    # "3. artikla" is no start of a sentence.
    is_start = is_cased & (starts >= 3) & (before != _DIGIT) & (mark == _END) & (place == _SPACE)
    return [
        int(is_lower.sum()) / cased,
        int((is_lower & (lengths <= 4)).sum()) / cased,
        int((is_pair & is_upper[1:] & is_upper[:-1]).sum()) / max(int(is_pair.sum()), 1),
        int(is_shouted.sum()) / cased,
        int((is_start & is_lower).sum()) / (int(is_start.sum()) + FEW_STARTS),
    ], cased / len(starts)


def distinct_words(text: str) -> set[str]:
    """The words whose weights are summed: runs of letters, in small ones."""
    return set(_WORD.findall(text.lower()))


def _word_features(text: str, words: dict[str, int], word_weights: Floats) -> tuple[list[float], float]:
    """Sums of weights, and the share of the distinct words that have some."""
    distinct = distinct_words(text)
    # A set has another order in every process, but weights have half precision, so that sums in double are exact.
    known = [number for number in map(words.get, distinct) if number is not None]
    sums = word_weights[known].sum(axis=0) / math.sqrt(max(len(distinct), 1))
    return sums.tolist(), len(known) / max(len(distinct), 1)


_ARRAYS = ("version", "low", "high", "mean", "weights", "bias", "words", "word_weights")


def parse(content: bytes, name: str) -> Model:
    """The model in a file.

    Raises:
        ModelError: the bytes are no such model, or one for another `VERSION`.
    """
    arrays = models.arrays(content, name)
    problems = [f"{key} is missing" for key in _ARRAYS if key not in arrays]
    if not problems:
        problems = _problems(arrays)
    if problems:
        raise ModelError(f"{name} is no model of quality: {'; '.join(problems)}")
    low, high, mean, weights, word_weights = (
        arrays[key].astype(np.float64) for key in ("low", "high", "mean", "weights", "word_weights")
    )
    words = {word: number for number, word in enumerate(str(arrays["words"]).split())}
    return Model(low, high, mean, weights, float(arrays["bias"]), words, word_weights)


def _problems(arrays: dict[str, Any]) -> list[str]:
    if arrays["version"] != VERSION:
        return [f"it was trained for version {arrays['version']} of the measures, this is {VERSION}; train it again"]
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("low", "high", "mean", "weights"), (len(FEATURES),))
    wanted |= {"bias": (), "word_weights": (len(str(arrays["words"]).split()), len(WORD_FEATURES))}
    problems = [
        f"{key} has shape {arrays[key].shape}, wanted {shape}"
        for key, shape in wanted.items()
        if arrays[key].shape != shape
    ]
    return problems or [f"{key} has values that are no numbers" for key in wanted if not np.isfinite(arrays[key]).all()]


def _content(model: str) -> bytes:
    if model == PACKAGED:
        return models.read(PACKAGED)
    try:
        return Path(model).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"there is no model of quality {model!r}: {reason}; wanted {PACKAGED} or a file") from error


def _model(model: str) -> Model:
    return _loaded(model, None if model == PACKAGED else _stamp(model))


def _stamp(model: str) -> tuple[int, int] | None:
    try:
        stat = Path(model).stat()
    except OSError:
        return None  # `_content` says what is wrong
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=4)
def _loaded(model: str, _stamp: tuple[int, int] | None) -> Model:
    return parse(_content(model), model)
