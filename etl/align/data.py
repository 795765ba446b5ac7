"""A set of the lake as torch datasets: one Delta table at a version, read without Spark, in the order of `position`.

Files of a table come in no order that a reader could count on, so rows are sorted by their key; two readings of one
version, or of a later version that only rearranges files, give the same tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import torch
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from torch.utils.data import Dataset, Sampler

from etl.align import chat
from etl.align import rows as rows_of
from etl.align.losses import IGNORED
from etl.errors import InputError

CONTENT = {"documents": ("text",), "examples": ("messages",), "pairs": ("prompt", "chosen", "rejected")}
EXPANSION = 6  # bytes in memory for one of a compressed file: texts, tokens and what reading takes


def read(table: str, version: int, training_set: str, kind: str) -> pa.Table:
    """Rows of a set in the order of training: position, and the columns that the kind of set has for a trainer.

    Raises:
        InputError: the version is gone or was never there, the set is empty or has gaps, or memory does not hold it.
    """
    try:
        delta = DeltaTable(table, version=version)
        _check_memory(delta, training_set)
        rows = delta.to_pyarrow_dataset().to_table(
            columns=["position", *CONTENT[kind]], filter=ds.field("training_set") == training_set
        )
    except TableNotFoundError as error:
        raise InputError(f"{table}: there is no Delta table") from error
    except (DeltaError, FileNotFoundError) as error:
        raise InputError(
            f"{table}: version {version} cannot be read; the table has versions {rows_of.versions(table)}, and files "
            f"of old ones may have been removed by VACUUM: {' '.join(str(error).split())[:200]}"
        ) from error
    rows = rows.sort_by("position")
    if rows.num_rows == 0:
        raise InputError(f"{table}: version {version} has no rows of training set {training_set!r}")
    if not pc.all(pc.equal(rows["position"], pa.array(np.arange(rows.num_rows)))).as_py():
        raise InputError(f"{table}: the positions of training set {training_set!r} are not 0 to {rows.num_rows - 1}")
    return rows


def _check_memory(delta: DeltaTable, training_set: str) -> None:
    actions = pa.table(delta.get_add_actions(flatten=True))
    low, high = "min.training_set", "max.training_set"
    if low in actions.column_names:
        # A file whose statistics are missing may hold rows of the set.
        holds = pc.and_(
            pc.fill_null(pc.less_equal(actions[low], training_set), True),
            pc.fill_null(pc.greater_equal(actions[high], training_set), True),
        )
        actions = actions.filter(holds)
    wanted = EXPANSION * (pc.sum(actions["size_bytes"]).as_py() or 0)
    free = psutil.virtual_memory().available
    if wanted > free:
        raise InputError(
            f"training set {training_set!r} takes about {wanted / 1e9:.1f} GB in memory, {free / 1e9:.1f} GB are free: "
            f"draw a smaller set with tokens in its mixture"
        )


class Blocks(Dataset[dict[str, list[int]]]):
    """Documents as blocks of `context` tokens: one stream of all documents, an end-of-text after each; the rest that
    fills no block is left out. A block may hold the end of one document and the beginning of the next."""

    def __init__(self, rows: pa.Table, tokenizer: Any, context: int) -> None:
        self.context = context
        self.ends: list[int] = []  # place in the stream after each document
        pieces: list[np.ndarray[Any, Any]] = []
        total = 0
        for texts in _slices(rows["text"], 256):
            for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
                pieces.append(np.asarray([*ids, tokenizer.eos_token_id], dtype=np.uint32))
                total += len(ids) + 1
                self.ends.append(total)
        self.stream = np.concatenate(pieces)
        if len(self) == 0:
            raise InputError(f"the set has {total} tokens, wanted at least one block of {context}")

    def __len__(self) -> int:
        return len(self.stream) // self.context

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids = self.stream[index * self.context : (index + 1) * self.context].tolist()
        return {"ids": ids, "labels": ids}

    def rows_of(self, items: int) -> int:
        """Documents that the first `items` blocks hold a part of."""
        return int(np.searchsorted(self.ends, min(items, len(self)) * self.context, side="left")) + 1


@dataclass(frozen=True)
class Rows(Dataset[dict[str, list[int]]]):
    """Encoded rows of a set, and the position each had there: rows that a model cannot learn from are left out."""

    items: list[dict[str, list[int]]]
    positions: list[int]
    left_out: int
    cut: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.items[index]

    def rows_of(self, items: int) -> int:
        """Rows of the set up to the last of the first `items`."""
        return self.positions[min(items, len(self)) - 1] + 1


def examples(rows: pa.Table, tokenizer: Any, context: int) -> Rows:
    """Conversations cut to `context` tokens, with a loss on what the assistant wrote. Those that have nothing of it
    within the context are left out."""
    items: list[dict[str, list[int]]] = []
    positions: list[int] = []
    cut = 0
    for position, row in enumerate(rows.to_pylist()):
        encoded = chat.encode(tokenizer, row["messages"])
        cut += len(encoded.ids) > context
        item = _learn(encoded, context)
        if item is not None:
            items.append(item)
            positions.append(position)
    return _checked(Rows(items, positions, rows.num_rows - len(items), cut), context)


def pairs(rows: pa.Table, tokenizer: Any, context: int) -> Rows:
    """Preference pairs: two conversations that share the prompt, with a loss on what follows it. A pair with an answer
    that does not end within `context` tokens is left out, since a cut answer is another answer."""
    items: list[dict[str, list[int]]] = []
    positions: list[int] = []
    for position, row in enumerate(rows.to_pylist()):
        chosen, rejected = chat.encode_answers(tokenizer, row["prompt"], row["chosen"], row["rejected"])
        sides = {"chosen": _learn(chosen, len(chosen.ids)), "rejected": _learn(rejected, len(rejected.ids))}
        if all(side is not None and len(side["ids"]) <= context for side in sides.values()):
            items.append(
                {f"{side}_{key}": value for side, item in sides.items() for key, value in (item or {}).items()}
            )
            positions.append(position)
    return _checked(Rows(items, positions, rows.num_rows - len(items), 0), context)


def _learn(encoded: chat.Encoded, context: int) -> dict[str, list[int]] | None:
    labels = [token if mark else IGNORED for token, mark in zip(encoded.ids, encoded.mask, strict=True)][:context]
    # The first token has nothing before it to be predicted from.
    return {"ids": encoded.ids[:context], "labels": labels} if any(label != IGNORED for label in labels[1:]) else None


def _checked(rows: Rows, context: int) -> Rows:
    if not rows.items:
        raise InputError(f"none of {rows.left_out} rows of the set has an answer within a context of {context} tokens")
    return rows


def _slices(column: pa.ChunkedArray, size: int) -> Iterator[list[str]]:
    for start in range(0, len(column), size):
        yield column.slice(start, size).to_pylist()


def pad(sequences: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Sequences as one tensor (rows, longest), filled up with `value` on the right."""
    longest = max(map(len, sequences))
    return torch.tensor([[*sequence, *[value] * (longest - len(sequence))] for sequence in sequences])


class Steps(Sampler[list[int]]):
    """Which items each step of one process takes, from `start` on: a batch is cut into equal parts by rank.

    Items come in their order; in each later pass over the data, in an order drawn from `seed` and the pass. The last
    step of the last pass takes what it finds by going on into the next, so that every step is whole.
    """

    def __init__(self, items: int, batch: int, steps: int, *, seed: int, rank: int, world: int, start: int = 0) -> None:
        if batch % world:
            raise InputError(f"a batch of {batch} cannot be cut into equal parts for {world} processes")
        self.items, self.batch, self.steps, self.seed = items, batch, steps, seed
        self.rank, self.world, self.start = rank, world, start

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        order: tuple[int, list[int]] = (-1, [])
        for step in range(self.start, self.steps):
            mine = []
            for place in range(step * self.batch + self.rank, (step + 1) * self.batch, self.world):
                turn, index = divmod(place, self.items)
                if order[0] != turn:
                    order = (turn, self._order(turn))
                mine.append(order[1][index])
            yield mine

    def _order(self, turn: int) -> list[int]:
        if turn == 0:
            return list(range(self.items))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + turn)
        order: list[int] = torch.randperm(self.items, generator=generator).tolist()
        return order
