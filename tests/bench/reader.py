"""How fast `etl.align.stream` hands out tokens, beside `datasets` on the same Parquet files and beside pyarrow alone.

    python -m tests.bench.reader [--blocks 20000] [--context 1024] [--workers 2]

A table of blocks of random tokens is written as Delta, in files of a few thousand rows, and read by each reader in
turns; the best of `--rounds` counts. Every reader gives int64 tensors of a block, or with `--batch` of a DataLoader,
except for pyarrow, which only decodes the ids: that is the most that any reader of these files can do in one thread.
Resuming is timed from the middle. The last line has the ratios.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from deltalake import DeltaTable, WriterProperties, write_deltalake
from torch.utils.data import DataLoader

from etl.align import stream

SHARD = 1000  # blocks
FILES = 5
VOCABULARY = 50257


def write(place: str, blocks: int, context: int) -> None:
    """A packed set, its shards dealt out to files."""
    draw = np.random.default_rng(1)
    shards = range(-(-blocks // SHARD))
    for file in range(FILES):
        for shard in list(shards)[file::FILES]:
            count = min(SHARD, blocks - shard * SHARD)
            # Zipf's law, as words have it: compresses about as tokens of texts do.
            ids = np.minimum(draw.zipf(1.2, count * context), VOCABULARY - 1).astype(np.int32)
            edges = np.arange(0, count * context + 1, context, dtype=np.int32)
            found = {
                "training_set": pa.array(["set"] * count),
                "packing": pa.array(["p"] * count),
                "shard": pa.array([shard] * count, pa.int64()),
                "block": pa.array(range(count), pa.int32()),
                "ids": pa.ListArray.from_arrays(edges, ids),
                "starts": pa.array([[0]] * count, pa.list_(pa.int32())),
                "padding": pa.array([0] * count, pa.int32()),
            }
            properties = WriterProperties(compression="ZSTD")
            write_deltalake(place, pa.table(found), mode="append", writer_properties=properties)
    DeltaTable(place).optimize.compact(target_size=(blocks * context * 2) // FILES)


def of_stream(place: str, version: int) -> Iterator[torch.Tensor]:
    for item in stream.blocks(place, version, "set", "p"):
        yield item["ids"]


def of_loader(place: str, version: int, batch: int, workers: int) -> Iterator[torch.Tensor]:
    blocks = stream.blocks(place, version, "set", "p", chunk=batch)
    for found in DataLoader(blocks, batch_size=batch, num_workers=workers):
        yield found["ids"]


def of_datasets(files: Sequence[str]) -> Iterator[torch.Tensor]:
    for row in _streamed(files):
        yield row["ids"]


def of_datasets_loader(files: Sequence[str], batch: int, workers: int) -> Iterator[torch.Tensor]:
    for found in DataLoader(_streamed(files), batch_size=batch, num_workers=workers):
        yield found["ids"]


def _streamed(files: Sequence[str]) -> Any:
    import datasets

    columns = ["ids"]
    found = datasets.load_dataset("parquet", data_files=list(files), split="train", streaming=True, columns=columns)
    return found.with_format("torch")


def of_pyarrow(files: Sequence[str]) -> Iterator[np.ndarray[Any, Any]]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(1024, columns=["ids"], use_threads=False):
            yield batch.column("ids").flatten().to_numpy()


def measured(read: Callable[[], Iterator[Any]], rounds: int, wanted: int) -> float:
    """Tokens per second, the best of some rounds.

    Raises:
        SystemExit: the reader gave another number of tokens than the set has.
    """
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        found = sum(ids.size if isinstance(ids, np.ndarray) else ids.numel() for ids in read())
        best = min(best, time.perf_counter() - start)
        if found != wanted:
            raise SystemExit(f"{found} tokens, wanted {wanted}")
    return wanted / best


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20000)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "training_blocks")
        write(place, options.blocks, options.context)
        delta = DeltaTable(place)
        files, version = delta.file_uris(), delta.version()
        size = sum(Path(file).stat().st_size for file in files)
        tokens = options.blocks * options.context
        sys.stdout.write(f"{tokens:,} tokens in {options.blocks:,} blocks, {len(files)} files, {size / 1e6:.1f} MB\n")
        loading = {"batch": options.batch, "workers": options.workers}
        readers: dict[str, Callable[[], Iterator[Any]]] = {
            "pyarrow, ids only": lambda: of_pyarrow(files),
            "stream": lambda: of_stream(place, version),
            "datasets": lambda: of_datasets(files),
            f"stream, {options.workers} workers": lambda: of_loader(place, version, **loading),
            f"datasets, {options.workers} workers": lambda: of_datasets_loader(files, **loading),
        }
        rates = {name: measured(read, options.rounds, tokens) for name, read in readers.items()}
        for name, rate in rates.items():
            sys.stdout.write(f"{name:24}{rate / 1e6:10.1f} M tokens/s\n")
        start = time.perf_counter()
        resumed = stream.blocks(place, version, "set", "p")
        resumed.load_state_dict(resumed.state_at(options.blocks // 2))
        next(iter(resumed))
        sys.stdout.write(f"first block from the middle on after {time.perf_counter() - start:.3f} s\n")
        alone, ours, theirs, ours_loaded, theirs_loaded = rates.values()
        sys.stdout.write(
            f"stream / datasets {ours / theirs:.1f}, with {options.workers} workers {ours_loaded / theirs_loaded:.1f}; "
            f"stream / pyarrow {ours / alone:.2f}\n"
        )


if __name__ == "__main__":
    main()
