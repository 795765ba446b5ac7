"""What the steps of a training read on each process: rows that are held in memory, or packed blocks as they come.

A batch is cut into equal parts by rank. What a step reads follows from its number alone, so a training that is gone on
with reads what it would have read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from etl.align import data, rows, stream
from etl.align.config import Training
from etl.align.job import Job
from etl.align.rows import Index, Reader, Source
from etl.errors import ConfigError, InputError

Item = Mapping[str, Any]

CHECKED_BLOCKS = 16  # from the first on, whose documents the tokenizer of the model must cut alike


class Feed(Protocol):
    """The items of `steps` steps. `left_out` rows of the set gave none, and `cut` ones lack their end."""

    steps: int
    left_out: int
    cut: int

    def batches(self, start: int) -> Iterator[Sequence[Item]]:
        """Items of this process for each step from `start` on."""

    def rows_seen(self) -> int:
        """Rows of the set, from position 0 on, that hold all that the steps read."""

    def state_dict(self) -> dict[str, Any]:
        """How far the reading is, for a checkpoint."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            InputError: it was taken of other rows.
        """


class Held:
    """Rows of a set in memory, see `data.Steps`."""

    def __init__(self, dataset: Any, training: Training, rank: int, world: int) -> None:
        self.dataset, self._training, self._rank, self._world = dataset, training, rank, world
        self.steps = _at_most(training, max(1, round(training.epochs * len(dataset) / training.batch)))
        self.left_out, self.cut = getattr(dataset, "left_out", 0), getattr(dataset, "cut", 0)

    def batches(self, start: int) -> Iterator[Sequence[Item]]:
        training = self._training
        chosen = data.Steps(
            len(self.dataset),
            training.batch,
            self.steps,
            seed=training.seed,
            rank=self._rank,
            world=self._world,
            start=start,
        )
        for places in chosen:
            yield [self.dataset[place] for place in places]

    def rows_seen(self) -> int:
        seen: int = self.dataset.rows_of(min(self.steps * self._training.batch, len(self.dataset)))
        return seen

    def state_dict(self) -> dict[str, Any]:
        return {}  # the number of the step says it all

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Packed:
    """Blocks of a packed set, never more in memory than the stream reads ahead.

    An epoch is every block once, in the same order each time. Where the batch does not divide it, its last step is
    smaller, and some processes may have less of it than others, or nothing.
    """

    left_out = cut = 0

    def __init__(self, job: Job, rank: int, world: int) -> None:
        training, blocks = job.training, job.blocks
        if blocks is None or training.packing is None:
            raise ConfigError(f"{training.model} names no packing")
        self._share, self._batch = training.batch // world, training.batch
        self._stream = stream.blocks(
            blocks.table,
            blocks.version,
            training.training_set,
            training.packing,
            chunk=self._share,
            rank=rank,
            world=world,
            filler=blocks.end_of_text,
        )
        self._job, self._packed = job, blocks
        whole, part = divmod(training.epochs, 1)
        self._epoch = -(-len(self._stream.index) // self._batch)  # steps
        steps = int(whole) * self._epoch + round(part * len(self._stream.index) / self._batch)
        self.steps = _at_most(training, max(1, steps))

    def batches(self, start: int) -> Iterator[Sequence[Item]]:
        done = start % self._epoch
        if not done:
            # A state that was taken at the end of an epoch would give an epoch of nothing.
            self._stream.load_state_dict(self._stream.state_at(0))
        while True:
            items = iter(self._stream)
            for _ in range(done, self._epoch):
                if start == self.steps:
                    return
                yield list(islice(items, self._share))
                start += 1
            done = 0

    def rows_seen(self) -> int:
        return documents_of(self._stream.index, min(self.steps * self._batch, len(self._stream.index)))

    def state_dict(self) -> dict[str, Any]:
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stream.load_state_dict(state)

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Compare the tokens of the first blocks with those that `tokenizer` makes of their documents.

        Raises:
            InputError: they are others.
        """
        job, index = self._job, self._stream.index
        documents = Source(job.table, job.version, rows.DOCUMENTS, {"training_set": job.training.training_set})
        texts = Reader(rows.index(documents))
        encoded: dict[int, list[int]] = {}
        for document, begin, ids in _pieces(index, min(CHECKED_BLOCKS, len(index))):
            if document not in encoded:
                text = next(texts.read(document, document + 1)).column("text")[0].as_py()
                is_plain = not any(mark in text for mark in tokenizer.all_special_tokens)
                # A mark in a text is none to the packing, but to this call.
                known = tokenizer(text, add_special_tokens=False)["input_ids"] if is_plain else []
                encoded[document] = [*known, self._packed.end_of_text] if is_plain else []
            wanted = encoded[document]
            if wanted and wanted[begin : begin + len(ids)] != ids:
                raise InputError(
                    f"{index.source}: the tokenizer of the model makes other tokens of document {document} than "
                    f"{self._packed.tokenizer}, which the set was packed with: pack it with the tokenizer.json of the "
                    f"model"
                )


def _pieces(index: Index, blocks: int) -> Iterator[tuple[int, int, list[int]]]:
    """Of the first blocks, each piece: its document, the token of it that it begins with, and its ids."""
    for batch in Reader(index, ("ids", "starts", "documents", "begins")).read(0, blocks):
        for row in batch.to_pylist():
            edges = [*row["starts"], len(row["ids"])]
            for place, (document, begin) in enumerate(zip(row["documents"], row["begins"], strict=True)):
                yield document, begin, row["ids"][edges[place] : edges[place + 1]]


def documents_of(index: Index, blocks: int) -> int:
    """Documents from position 0 to the last that the first `blocks` hold a part of.

    Shards have consecutive documents, so the last shard of them decides.
    """
    window = 1
    while True:
        first = max(0, blocks - window)
        found = pa.Table.from_batches(list(Reader(index, ("documents",)).read(first, blocks)))
        if first == 0 or found["shard"][0] != found["shard"][-1]:
            return int(pc.max(pc.list_flatten(found["documents"])).as_py()) + 1
        window *= 8


def _at_most(training: Training, steps: int) -> int:
    return min(steps, training.max_steps) if training.max_steps else steps
