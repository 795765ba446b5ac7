"""How toxic a text is, by the packaged network over its words, in NumPy alone.

A text is cut into sentences. Each word is a vector, its own and the mean of those of its character n-grams, so that
misspelt, disguised and inflected words stay near the word they come from. Two convolutions see the words around it,
the highest value of each unit over a sentence goes into a dense layer, and that gives the probability that the
sentence alone is toxic. The score of a text is the power mean of its sentences,

    (sum w p**3 / sum w) ** (1/3), w the square root of a sentence's words,

which is a sentence's own probability for a comment of one sentence, and falls with the share of a page that is toxic:
to about a half where one sentence in eight is. The network was trained through this mean, on labels of whole
comments. A single sentence on a long page is found by `Score.worst` and `Score.spans`, whatever its share.

Training is in `etl.learn.toxicity`, the card of the packaged model in `etl/models/README.md`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etl import models
from etl.errors import InputError
from etl.kernels.scoring import Score, Span
from etl.models import ModelError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

PACKAGED = "toxicity.npz"
VERSION = 1  # grows whenever code, not weights, changes a score
POWER = 3
GAP = 2  # rows of zeros between sentences, as far as the convolutions see to one side
MAX_WORDS = 64  # a sentence that goes on is cut, so that text without marks is read in windows of a comment's size
NGRAMS = (3, 4, 5)
MAX_LETTERS = 32  # of a word that become n-grams
MAX_CACHED = 1 << 17  # words whose vectors are kept in memory, 12 MB


@dataclass(frozen=True)
class Settings:
    """What decides a toxicity score.

    `span_threshold` is the score from which a sentence is a span. `max_characters` of a text are read, the rest is not,
    and `Score.read` says so. `model` is the path of another model of `etl.learn.toxicity`; empty for the packaged one.
    """

    span_threshold: float = 0.5
    max_characters: int = 1_000_000
    model: str = ""

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.span_threshold <= 1:
            problems.append(f"span_threshold is {self.span_threshold}, wanted above 0 and at most 1")
        if self.max_characters < 1:
            problems.append(f"max_characters is {self.max_characters}, wanted at least 1")
        if problems:
            raise InputError(f"toxicity: {'; '.join(problems)}")


# Marks that end a sentence, and those that only part words. Other signs may stand for letters, as in sh*t or a$$.
_END = ".!?\u2026\u3002\uff01\uff1f\uff61\u0964\u061f\u06d4"
_QUOTE = '"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d'
_PART = ",;:()[]{}<>/\\#%&=^_`~\u2013\u2014\u2015\u2022\u00b7\u00a1\u00bf\u00a6\u060c\u061b\u3001\uff0c\uff1b\uff1a-"
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = f"[^\\s{re.escape(_END + _QUOTE + _PART)}{_IDEOGRAPH}]"
TOKEN = re.compile(
    f"(?:https?://|www\\.)\\S+|{_WORD}+(?:!+{_WORD}+)*|[{_IDEOGRAPH}]|[{re.escape(_END)}]+|[{_QUOTE}]|\n+"
)
# Letters one by one, s p a c e d or d.o.t.t.e.d.
_SPELT = re.compile(r"(?<![^\W_])[^\W\d_](?:[ .*_-][^\W\d_]){2,}(?![^\W_])")
_LEET = str.maketrans("@$!+|013457", "asitloieast")
_RUN = re.compile(r"(.)\1{2,}")
_MARKS = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]")
_SIGNS = frozenset("+|$@!*")


def spelling(token: str) -> str:
    """The form in which a token is looked up: small letters without accents, disguises and repetitions undone."""
    first = token[0]
    if first in _END or first in "\n":
        return "!" if "!" in token or "\uff01" in token else "?" if "?" in token or "\uff1f" in token else "."
    if first in _QUOTE:
        return '"'
    if first == "@" and len(token) > 3 and token.isascii():
        return "@user"
    if token.startswith(("http://", "https://", "www.")):
        return "@link"
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", token)).casefold()
    plain = unicodedata.normalize("NFC", plain)
    if not plain.isalpha():
        if any(map(str.isdecimal, plain)) and all(sign.isdecimal() or sign in _SIGNS for sign in plain):
            return "@number"
        plain = plain.strip("'\u2019\u2018").replace("\u2019", "'")
        if any(letter.isalpha() for letter in plain):
            plain = plain.translate(_LEET)
    return _RUN.sub(r"\1", plain)


def _bucket(text: str, buckets: int) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) & (buckets - 1)


def word_bucket(word: str, buckets: int) -> int:
    """The row of a word, of `spelling`, in the table of words."""
    return _bucket(word, buckets)


def ngram_buckets(word: str, buckets: int) -> list[int]:
    """The rows of the character n-grams of a word in their table; none for marks and words of one letter."""
    if len(word) < 2 or word[0] == "@":
        return []
    padded = f"<{word[:MAX_LETTERS]}>"
    return [_bucket(padded[at : at + n], buckets) for n in NGRAMS for at in range(len(padded) - n + 1)]


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order: words, ideographs, marks that end a sentence, quotes and line ends."""
    return TOKEN.findall(_together(text))


def _together(text: str) -> str:
    """`text` with letters that stand apart drawn together, each separator replaced by a soft hyphen: same length."""
    if not _SPELT.search(text):
        return text
    return _SPELT.sub(lambda found: re.sub("[ .*_-]", "\u00ad", found[0]), text)


def is_end(token: str) -> bool:
    """The token ends a sentence."""
    return token[0] in _END or token[0] == "\n"


class Network(NamedTuple):
    """The arrays of a model: rows of 8-bit numbers for words and n-grams, times `scale`; the rest in float32."""

    words: npt.NDArray[np.int8]
    ngrams: npt.NDArray[np.int8]
    scale: Floats  # (2,) of words, of n-grams
    near: Floats  # (3 d, h) over a word and its neighbours
    near_bias: Floats
    wide: Floats  # (3 h, h) over a unit and those two words away
    wide_bias: Floats
    dense: Floats  # (h, k)
    dense_bias: Floats
    last: Floats  # (k,)
    last_bias: Floats  # (1,)


def parse(content: bytes, model: str = PACKAGED) -> Network:
    """The network of a file of `etl.learn.toxicity`.

    Raises:
        ModelError: it is no such file, or its arrays do not fit each other.
    """
    found = models.arrays(content, model)
    missing = [name for name in Network._fields if name not in found]
    if missing:
        raise ModelError(f"{model} is no model of toxicity: it lacks {', '.join(missing)}")
    network = Network(**{name: _stored(name, found[name]) for name in Network._fields})
    width, units = network.words.shape[-1], network.near.shape[-1]
    kinds = network.dense.shape[-1]
    wanted: dict[str, tuple[int, ...]] = {
        "ngrams": (len(network.ngrams), width), "scale": (2,), "near": (3 * width, units), "near_bias": (units,),
        "wide": (3 * units, units), "wide_bias": (units,), "dense": (units, kinds), "dense_bias": (kinds,),
        "last": (kinds,), "last_bias": (1,),
    }  # fmt: skip
    problems = [
        f"{name!r} is {getattr(network, name).shape}, wanted {shape}"
        for name, shape in wanted.items()
        if getattr(network, name).shape != shape
    ]
    problems += [
        f"{name!r} has {len(rows)} rows, wanted a power of two"
        for name, rows in (("words", network.words), ("ngrams", network.ngrams))
        if len(rows) & (len(rows) - 1) or not len(rows)
    ]
    if problems:
        raise ModelError(f"{model} is no model of toxicity: {'; '.join(problems)}")
    return network


def _stored(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if name in ("words", "ngrams") else np.ascontiguousarray(array, np.float32)


class Scorer:
    """A network with the vectors of the words it has met. A word's vector never depends on what was read before."""

    def __init__(self, network: Network) -> None:
        self.network = network
        width = network.words.shape[1]
        self._rows: dict[str, int] = {}
        self._ends = np.zeros(1024, np.bool_)
        self._vectors = np.zeros((1024, width), np.float32)

    def vector(self, token: str) -> Floats:
        """(d,) the vector of a token."""
        network = self.network
        word = spelling(token)
        row = network.words[word_bucket(word, len(network.words))].astype(np.float32) * network.scale[0]
        grams = ngram_buckets(word, len(network.ngrams))
        if grams:
            row += network.ngrams[grams].sum(0, dtype=np.float32) * (network.scale[1] / np.float32(len(grams)))
        return np.asarray(row, np.float32)

    def _learn(self, found: Iterable[str]) -> None:
        for token in found:
            row = len(self._rows) + 1  # row 0 stands between sentences
            if row == len(self._vectors):
                self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
                self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
            self._rows[token] = row
            self._vectors[row] = self.vector(token)
            self._ends[row] = is_end(token)

    def sentences(self, found: Sequence[str]) -> tuple[Ints, Ints, Floats]:
        """Of every sentence its first token, its end, and its probability of being toxic."""
        if len(self._rows) > MAX_CACHED:
            self._rows.clear()
        unknown = set(found).difference(self._rows)
        if unknown:
            self._learn(sorted(unknown))
        rows = np.fromiter(map(self._rows.__getitem__, found), np.int64, len(found))
        starts, ends = bounds(self._ends[rows])
        lengths = ends - starts
        # Sentences end to end with rows of zeros around each.
        places = np.arange(len(rows)) + GAP * np.repeat(np.arange(1, len(starts) + 1), lengths)
        total = len(rows) + GAP * (len(starts) + 1)
        network = self.network
        width, units = network.words.shape[1], network.near.shape[1]
        inputs = np.zeros((total, width), np.float32)
        inputs[places] = self._vectors[rows]
        near = np.zeros((total, units), np.float32)
        kernel = network.near.reshape(3, width, units)
        inner = inputs[:-2] @ kernel[0]
        inner += inputs[1:-1] @ kernel[1]
        inner += inputs[2:] @ kernel[2]
        inner += network.near_bias
        np.maximum(inner, 0, out=inner)
        near[places] = inner[places - 1]
        kernel = network.wide.reshape(3, units, units)
        outer = near[:-4] @ kernel[0]
        outer += near[2:-2] @ kernel[1]
        outer += near[4:] @ kernel[2]
        outer += network.wide_bias
        np.maximum(outer, 0, out=outer)
        outer += near[2:-2]
        highest = np.maximum.reduceat(outer[places - 2], starts, axis=0)
        hidden = np.maximum(highest @ network.dense + network.dense_bias, 0)
        logits = hidden @ network.last + network.last_bias[0]
        return starts, ends, np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def bounds(ends_sentence: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """First and last place of each sentence: after a run of end marks, and after MAX_WORDS tokens."""
    count = len(ends_sentence)
    is_first = np.zeros(count, np.bool_)
    is_first[0] = True
    is_first[1:] = ends_sentence[:-1] & ~ends_sentence[1:]
    starts = np.flatnonzero(is_first)
    lengths = np.diff(np.append(starts, count))
    if lengths.max() > MAX_WORDS:
        parts = -(-lengths // MAX_WORDS)
        within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = np.repeat(starts, parts) + MAX_WORDS * within
    return starts, np.append(starts[1:], count)


def pooled(probabilities: Floats, lengths: Ints) -> float:
    """The score of a text from those of its sentences, as the module says."""
    weights = np.sqrt(lengths.astype(np.float64))
    return float((weights @ probabilities.astype(np.float64) ** POWER / weights.sum()) ** (1 / POWER))


@lru_cache(maxsize=4)
def _content(model: str) -> bytes:
    if not model:
        return models.read(PACKAGED)
    try:
        return Path(model).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(
            f"there is no model of toxicity {model!r}: {reason}; wanted a file of train-toxicity"
        ) from error


@lru_cache(maxsize=4)
def _scorer(model: str) -> Scorer:
    return Scorer(parse(_content(model), model or PACKAGED))


def check(settings: Settings) -> None:
    """Load the model.

    Raises:
        ModelError: it is missing, damaged, or no model of this kind.
    """
    _scorer(settings.model)


def digest(settings: Settings) -> str:
    """SHA-256 of weights, settings and the version of this code: equal digests give equal scores."""
    known = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name != "model"}
    parts = [f"toxicity {VERSION}", repr(sorted(known.items())), hashlib.sha256(_content(settings.model)).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def score(texts: Sequence[str], settings: Settings) -> list[Score]:
    """How toxic each text is, from 0 to 1, its worst sentence, and the sentences from `span_threshold` on.

    Each text is worked on alone. A text without words has no score.
    """
    scorer = _scorer(settings.model)
    return [_score(text, settings, scorer) for text in texts]


def _score(text: str, settings: Settings, scorer: Scorer) -> Score:
    seen = _together(text[: settings.max_characters])
    found = TOKEN.findall(seen)
    if not found or all(map(is_end, found)):
        return Score(None, len(seen), error="empty: no words")
    starts, ends, probabilities = scorer.sentences(found)
    worst = round(float(probabilities.max()), 4)
    value = min(round(pooled(probabilities, ends - starts), 4), worst)
    spans: tuple[Span, ...] = ()
    if worst >= settings.span_threshold:
        places = [match.span() for match in TOKEN.finditer(seen)]
        rounded = np.round(probabilities.astype(np.float64), 4)
        spans = tuple(
            Span(places[starts[each]][0], places[ends[each] - 1][1], float(rounded[each]))
            for each in np.flatnonzero(rounded >= settings.span_threshold)
        )
    return Score(value, len(seen), worst=worst, spans=spans)
