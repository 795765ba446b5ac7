"""Where the sentences of a text stand, and how many words and marks each has.

A line break ends a sentence, for lines of web pages are titles, items and paragraphs. Within a line there are as many
sentences as `lines.sentences` counts: a mark that ends sentences, as a word of its own once `words.cut` has cut the
line, ends one, and marks that follow it belong to it, unless they stand before a word, as quotation marks do. So
"e.g. this" goes on.

Any `str` is taken, lone surrogates included, in time linear in its length.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from etl.kernels.lines import SENTENCE_ENDS, is_punctuation, is_unspaced, words
from etl.kernels.words import cut

ENGINE = "goldenlake 1"  # raise the number when sentences end elsewhere
STRUCT = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("tokens", pa.int64())])


class Sentence(NamedTuple):
    """From `start` up to `end`, in characters of the text, without white space at its ends; `tokens`: words, marks."""

    start: int
    end: int
    tokens: int


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order. Together they hold every character that is no white space."""
    read = _unspaced_run if is_unspaced(text) else _run
    return [sentence for line in _LINE.finditer(text) for sentence in _of_line(line[0], line.start(), read)]


def batch(texts: Sequence[str]) -> pa.RecordBatch:
    """One row a text: its sentences and the tokens of all."""
    found = [sentences(text) for text in texts]
    places = pa.array([[sentence._asdict() for sentence in of_text] for of_text in found], pa.list_(STRUCT))
    tokens = pa.array([sum(sentence.tokens for sentence in of_text) for of_text in found], pa.int64())
    return pa.RecordBatch.from_arrays([places, tokens], names=["sentences", "tokens"])


_LINE = re.compile(r"[^\n]+")
_NO_SPACE = re.compile(r"\S+")


class _Run(NamedTuple):
    """What stands between white space, by itself."""

    tokens: int  # before the first sentence that starts in it
    inner: tuple[tuple[int, int], ...]  # sentences that start within it: place and tokens
    has_word: bool
    is_over: bool  # a sentence ends in it, and no word follows


def _of_line(line: str, offset: int, read: Callable[[str], _Run]) -> Iterator[Sentence]:
    start, end, tokens, is_over = -1, 0, 0, False
    for match in _NO_SPACE.finditer(line):
        run, place = read(match[0]), match.start()
        if start < 0:
            start = place
        elif is_over and run.has_word:
            yield Sentence(start + offset, end + offset, tokens)
            start, tokens, is_over = place, 0, False
        tokens += run.tokens
        for inner, count in run.inner:
            yield Sentence(start + offset, place + inner + offset, tokens)
            start, tokens = place + inner, count
        end = match.end()
        is_over = run.is_over or (is_over and not run.has_word)
    if start >= 0:
        yield Sentence(start + offset, end + offset, tokens)


def _measured(pieces: Sequence[str]) -> _Run:
    starts, counts = [0], [0]
    place, has_word, is_over = 0, False, False
    for piece in pieces:
        is_word = not is_punctuation(piece)
        if is_over and is_word:
            starts.append(place)
            counts.append(0)
            is_over = False
        counts[-1] += 1
        has_word = has_word or is_word
        is_over = is_over or piece in SENTENCE_ENDS
        place += len(piece)
    return _Run(counts[0], tuple(zip(starts[1:], counts[1:], strict=True)), has_word, is_over)


@functools.lru_cache(maxsize=1 << 14)
def _run(run: str) -> _Run:
    return _measured(cut(run))


@functools.lru_cache(maxsize=1 << 12)
def _unspaced_run(run: str) -> _Run:
    return _measured([piece for word in words(run) for piece in cut(word)])
