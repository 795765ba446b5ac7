"""Documents as rows of at most `context` tokens, with every token in exactly one place.

A *piece* is a run of tokens of one document in one row. Two ways to make them:

``concat``    one stream of all documents, an end-of-text after each, cut every `context` tokens. No row is padded but
              the last, which holds the rest. A row may begin in the middle of a document.
``best_fit``  no document is cut unless it is longer than the context: documents go, longest first, into the row that
              they leave least room in (best-fit decreasing; Ding et al. 2024, "Fewer Truncations Improve Language
              Modeling"). Of a longer one, whole rows are cut off, and its end is placed like a document. What a row
              lacks is padding, which is counted and never stored. An end-of-text that would open a row, after a
              document that fills its last row to the end, is left out: the end of the row says as much.

`pack` depends on its arguments alone, so a set can be packed in parts, and in any place.

Tokens are int32, as a table has them. Lengths, places and counts are int64.
"""

from __future__ import annotations

import bisect
import importlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etl.kernels import tokens

Ids = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

CONCAT = "concat"
BEST_FIT = "best_fit"
MODES = (CONCAT, BEST_FIT)

# Marks of the end of a text in a tokenizer.json, the most telling first.
ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]")


@dataclass(frozen=True)
class Row:
    """Tokens of one row, without padding, and the pieces they are made of.

    Piece i begins at ``starts[i]`` of the row, and at token ``begins[i]`` of document ``documents[i]``.
    """

    ids: Ids
    starts: Places
    documents: Places
    begins: Places
    separators: int


@dataclass(frozen=True)
class Packed:
    """Rows of `context` tokens, as arrays of all of them: row r has the tokens [offsets[r], offsets[r + 1]) of `ids`.

    `starts`, `documents` and `begins` have a value for each piece, in order; `starts` are places in `ids`. `ends` says
    which pieces have an end-of-text after them. With `has_rest`, the last row is the rest of a stream.
    """

    context: int
    ids: Ids
    offsets: Places
    starts: Places
    documents: Places
    begins: Places
    ends: npt.NDArray[np.bool_]
    has_rest: bool

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Row]:
        edges = np.searchsorted(self.starts, self.offsets)
        for row in range(len(self)):
            first, last, begin = edges[row], edges[row + 1], self.offsets[row]
            yield Row(
                self.ids[begin : self.offsets[row + 1]],
                self.starts[first:last] - begin,
                self.documents[first:last],
                self.begins[first:last],
                int(self.ends[first:last].sum()),
            )

    def account(self) -> Account:
        """Where the tokens went."""
        separators = int(self.ends.sum())
        return Account(
            rows=len(self),
            tokens=len(self.ids) - separators,
            separators=separators,
            padding=len(self) * self.context - len(self.ids),
            rest=int(self.offsets[-1] - self.offsets[-2]) if self.has_rest else 0,
        )


@dataclass(frozen=True)
class Account:
    """What rows hold: tokens of documents, end-of-texts, and the padding that they lack to the context; together rows x
    context. `rest` is the length of the last row where that is the rest of a stream; its tokens are among the others.
    """

    rows: int
    tokens: int
    separators: int
    padding: int
    rest: int


def pack(documents: Sequence[npt.ArrayLike], context: int, end_of_text: int, mode: str = CONCAT) -> Packed:
    """`documents`, each the ids of its tokens, as rows of at most `context` tokens.

    The rest of a stream is a row of its own, the last: whoever does not want it leaves that row out, and knows what
    was in it. Rows are in the order of the documents they begin with; so are the pieces in a row.

    Raises:
        ValueError: the mode is none of `MODES`, or the context holds less than two tokens.
    """
    problems = []
    if mode not in MODES:
        problems.append(f"mode is {mode!r}, wanted one of {MODES}")
    if context < 2:
        problems.append(f"context is {context}, wanted at least 2 tokens")
    if problems:
        raise ValueError("; ".join(problems))
    texts = [np.asarray(document, dtype=np.int32) for document in documents]
    lengths = np.array([text.size for text in texts], dtype=np.int64)
    if mode == CONCAT:
        written = lengths + 1
        pieces = _cut(written, context)
    else:
        # A full last row is ended by its edge.
        written = lengths + (lengths % context > 0)
        pieces = _fit(written, context)
    stream = np.full(int(written.sum()), end_of_text, dtype=np.int32)
    firsts = np.cumsum(written) - written
    for text, first in zip(texts, firsts.tolist(), strict=True):
        stream[first : first + text.size] = text
    sizes = pieces.sizes
    starts = np.cumsum(sizes) - sizes
    of_document = pieces.documents
    # Place in the stream of each token of the rows: that of its piece, and how far it is into it.
    places = np.repeat(firsts[of_document] + pieces.begins - starts, sizes) + np.arange(len(stream))
    is_first = np.diff(pieces.rows, prepend=-1) > 0
    return Packed(
        context=context,
        ids=stream[places],
        offsets=np.append(starts[is_first], len(stream)).astype(np.int64),
        starts=starts,
        documents=of_document,
        begins=pieces.begins,
        ends=(pieces.begins + sizes == written[of_document]) & (written > lengths)[of_document],
        has_rest=mode == CONCAT and len(stream) % context > 0,
    )


@dataclass(frozen=True)
class _Pieces:
    """The row of each piece, its document, where it begins there, and its size, in the order of the rows."""

    rows: Places
    documents: Places
    begins: Places
    sizes: Places


def _cut(written: Places, context: int) -> _Pieces:
    """Pieces of a stream that is cut every `context` tokens."""
    ends = np.cumsum(written)
    total = int(ends[-1]) if len(ends) else 0
    edges = np.union1d(np.concatenate([[0], ends]), np.arange(0, total, context)).astype(np.int64)
    begins = edges[:-1]
    documents = np.searchsorted(ends, begins, side="right")
    firsts = ends - written
    return _Pieces(begins // context, documents, begins - firsts[documents], np.diff(edges))


def _fit(written: Places, context: int) -> _Pieces:
    """Pieces by best fit, longest first; of equal ones, and of rows with equal room, the earlier first."""
    whole = written // context
    documents = np.repeat(np.arange(len(written)), whole)
    nth = np.arange(len(documents)) - np.repeat(np.cumsum(whole) - whole, whole)
    ends = np.flatnonzero(written % context)
    sizes = written[ends] % context
    row_of = np.empty(len(ends), dtype=np.int64)
    room_of = defaultdict[int, deque[int]](deque)  # rows with so much room, the earliest first
    rooms: list[int] = []  # those that a row has, ascending
    rows = len(documents)
    for at in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[at])
        found = bisect.bisect_left(rooms, size)
        if found == len(rooms):
            row, room = rows, context
            rows += 1
        else:
            room = rooms[found]
            row = room_of[room].popleft()
            if not room_of[room]:
                del rooms[found]
        row_of[at] = row
        left = room - size
        if left:
            if not room_of[left]:
                bisect.insort(rooms, left)
            room_of[left].append(row)
    pieces = _Pieces(
        np.concatenate([np.arange(len(documents)), row_of]),
        np.concatenate([documents, ends]),
        np.concatenate([nth * context, whole[ends] * context]),
        np.concatenate([np.full(len(documents), context), sizes]).astype(np.int64),
    )
    return _in_order(pieces, rows)


def _in_order(pieces: _Pieces, rows: int) -> _Pieces:
    """Rows numbered in the order of what they begin with, pieces in the order of documents within their row."""
    order = np.lexsort((pieces.begins, pieces.documents))
    _, first = np.unique(pieces.rows[order], return_index=True)
    number = np.empty(rows, dtype=np.int64)
    number[np.argsort(first)] = np.arange(rows)
    numbered = number[pieces.rows]
    order = np.lexsort((pieces.begins, pieces.documents, numbered))
    return _Pieces(numbered[order], pieces.documents[order], pieces.begins[order], pieces.sizes[order])


def positions(starts: npt.ArrayLike, length: int) -> Places:
    """For each token of a row of `length`, how far it is into its piece: 0 where one begins."""
    begins = np.asarray(starts, dtype=np.int64)
    return np.arange(length) - np.repeat(begins, np.diff(begins, append=length))


def segments(starts: npt.ArrayLike, length: int) -> Places:
    """For each token of a row of `length`, the number of its piece, from 0: tokens of one piece may see each other."""
    begins = np.asarray(starts, dtype=np.int64)
    return np.repeat(np.arange(len(begins)), np.diff(begins, append=length))


def end_of_text(tokenizer: str) -> int:
    """Id of the end of a text in a tokenizer that `etl.kernels.tokens` knows; bytes, which have none, have 256.

    Raises:
        ValueError: the tokenizer says of no token that it is one.
    """
    if tokenizer == tokens.BYTES:
        return 256
    if tokenizer == tokens.GPT2:
        return 50256
    if tokenizer.startswith(tokens.TIKTOKEN_PREFIX):
        tiktoken = importlib.import_module("tiktoken")
        return int(tiktoken.get_encoding(tokenizer.removeprefix(tokens.TIKTOKEN_PREFIX)).eot_token)
    if not tokenizer.endswith(".json") or not Path(tokenizer).is_file():
        raise ValueError(f"tokenizer {tokenizer!r} has no file to look for its end-of-text in")
    known = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
    added = {token["content"]: int(token["id"]) for token in known.get("added_tokens", [])}
    for mark in ENDS_OF_TEXT:
        if mark in added:
            return added[mark]
    raise ValueError(
        f"{tokenizer}: none of its added tokens is one of {', '.join(ENDS_OF_TEXT)}: set end_of_text to the id of the "
        f"token that ends a text"
    )
