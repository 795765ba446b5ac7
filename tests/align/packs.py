"""A packed set of sentences on disk, as the stage leaves it, and trainings that read it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from etl.align.config import Training
from etl.align.job import Blocks, Job
from etl.kernels import tokens
from tests import packed
from tests.align import tiny

CONTEXT = 32
SHARD = 17  # documents
TEXTS = [f"Line {n} of the lake is read where it stands. " * (1 + n % 4) for n in range(60)]


def blocks() -> list[dict[str, Any]]:
    """The set in shards, as bytes of its texts and 256 after each; the last block of each shard is not full."""
    encoded = tokens.encoder(tokens.BYTES)(TEXTS)
    return [
        row
        for shard, first in enumerate(range(0, len(TEXTS), SHARD))
        for row in packed.rows(encoded[first : first + SHARD], shard, CONTEXT, 256, first=first)
    ]


TOKENS = sum(len(row["ids"]) for row in blocks())
TRAINING = dataclasses.replace(
    tiny.BASE,
    training_set="set",
    vocab_size=None,
    packing="p",
    context=CONTEXT,
    batch=100,
    micro_batch=10,
    max_steps=None,
    epochs=2.5,
    checkpoint_steps=1,
)


def write(folder: Path) -> Path:
    """Tables of documents and blocks below `folder`; the shards of blocks in files of their own, the last first."""
    rows = blocks()
    for shard in range(rows[-1]["shard"], -1, -1):
        mine = [row for row in rows if row["shard"] == shard]
        write_deltalake(str(folder / "blocks"), pa.Table.from_pylist(mine, schema=packed.SCHEMA), mode="append")
    places = pa.array(range(len(TEXTS)), pa.int64())
    documents = {"training_set": ["set"] * len(TEXTS), "position": places, "text": TEXTS, "tokens": places}
    write_deltalake(str(folder / "documents"), pa.table(documents))
    return folder


def job(folder: Path, training: Training = TRAINING, *, world: int = 1, parent: str | None = None) -> Job:
    """The training on the tables below `folder`."""
    place = str(folder / "blocks")
    read = Blocks(place, DeltaTable(place).version(), "blocks", tokens.BYTES, 256)
    return Job(training, str(folder / "documents"), 0, "content", world, parent, blocks=read)
