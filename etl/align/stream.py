"""A set of the lake as a stream for PyTorch and for `datasets`: a Delta table at a version, read without Spark.

    from torch.utils.data import DataLoader
    from etl.align import stream

    blocks = stream.blocks("lake/training_blocks", version, "web", "concat-2048-gpt2", chunk=8, rank=rank, world=world)
    loader = DataLoader(blocks, batch_size=8, num_workers=4)

Rows come in the order of training. They are dealt out in *chunks* of consecutive rows: chunk n goes to rank
n % world, and of those of a rank the workers of its DataLoader take one after the other. So with a batch of one chunk,
batches are the same, and come in the same order, with any number of workers; and ranks together take the same rows
for a step as one process with a batch as large as theirs together. No row is read twice, none is left out (`even`
leaves out what does not make a chunk for every rank, and says how much that is).

A stream goes on in the middle: ``state_dict`` counts what was handed out, and after ``load_state_dict`` the next pass
begins there, without reading what came before. ``StatefulDataLoader`` of torchdata does this for its workers; with a
plain DataLoader, `Stream.state_at` gives the state after so many rows of the rank. A plain DataLoader with workers
copies the stream for each pass, so load ``state_at(0)`` before the pass after one that was gone on with.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import IterableDataset, get_worker_info

from etl.align import rows
from etl.align.losses import IGNORED
from etl.align.rows import Index, Reader, Source
from etl.errors import ConfigError, InputError
from etl.kernels.packing import positions, segments

Item = dict[str, Any]
T = TypeVar("T")

KEEP, DROP = RESTS = ("keep", "drop")
AHEAD = 2  # lots of rows that are made while those before are worked on
LOT_ROWS = 64


@dataclass(frozen=True)
class Part:
    """Which rows a process takes: chunk n of `chunk` rows is for rank n % world. With `even`, every rank has the same
    number of whole chunks, and rows after the last round of them are left out."""

    chunk: int = 1
    rank: int = 0
    world: int = 1
    even: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.chunk < 1:
            problems.append(f"chunk is {self.chunk}, wanted at least 1")
        if not 0 <= self.rank < self.world:
            problems.append(f"rank is {self.rank}, wanted 0 to world - 1 = {self.world - 1}")
        if problems:
            raise ConfigError("; ".join(problems))

    def rows(self, total: int) -> int:
        """How many of `total` rows are taken."""
        whole_rounds, left = divmod(total, self.chunk * self.world)
        mine = 0 if self.even else min(self.chunk, max(0, left - self.rank * self.chunk))
        return whole_rounds * self.chunk + mine

    def left_out(self, total: int) -> int:
        """How many of `total` rows no rank takes."""
        return total % (self.chunk * self.world) if self.even else 0


@dataclass
class _Progress:
    """How far a pass is: rows and their tokens that one of `workers` has given since chunk `start` of the rank, with
    which the first of them began."""

    start: int = 0
    taken: int = 0
    workers: int = 1
    tokens: int = 0


class Items(Protocol):
    """Makes items and their numbers of tokens of rows that have these columns."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def __call__(self, batch: pa.RecordBatch) -> Iterator[tuple[Item, int]]: ...


class Stream(IterableDataset[Item]):
    """The rows of `index` that `part` names, made into items: see `blocks` and `texts`.

    `tokens` are those of the whole index, exact, before anything was read.
    """

    def __init__(self, index: Index, part: Part, items: Items, tokens: int) -> None:
        self.index, self.part, self.items, self.tokens = index, part, items, tokens
        self._begin_at, self._progress = _Progress(), _Progress()

    @property
    def rows(self) -> int:
        """Rows of this rank."""
        return self.part.rows(len(self.index))

    @property
    def handed_out(self) -> int:
        """Tokens of the rows of this pass so far, in this process; with those before it, where it was gone on with."""
        return self._progress.tokens

    @property
    def left_out(self) -> int:
        """Rows that no rank reads."""
        return self.part.left_out(len(self.index))

    def for_rank(self, rank: int, world: int) -> Stream:
        """The same rows dealt out to `world` processes, from the start."""
        return Stream(self.index, replace(self.part, rank=rank, world=world), self.items, self.tokens)

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        begin = self._dealt_out_to(workers)
        self._begin_at, self._progress = _Progress(), replace(begin)
        progress = self._progress
        for lot in _ahead(self._lots(begin, worker), AHEAD):
            for item, tokens in lot:
                progress.taken += 1
                progress.tokens += tokens
                yield item

    def _dealt_out_to(self, workers: int) -> _Progress:
        """Where this pass begins, for one of so many workers."""
        begin, chunk = self._begin_at, self.part.chunk
        if begin.workers == workers:
            return begin
        # What one process has taken is a beginning of the order, and anybody can go on from the end of a chunk.
        if begin.taken and (begin.workers != 1 or begin.taken % chunk):
            raise InputError(
                f"{self.index.source}: the state was taken by one of {begin.workers} workers after {begin.taken} "
                f"rows, and {workers} workers cannot go on with it: use as many, or a state of Stream.state_at at the "
                f"end of a chunk of {chunk}"
            )
        return _Progress(begin.start + begin.taken // chunk, 0, workers, 0)

    def _lots(self, begin: _Progress, worker: int) -> Iterator[list[tuple[Item, int]]]:
        reader = Reader(self.index, self.items.columns)
        lot: list[tuple[Item, int]] = []
        for first, last in self._ranges(begin, worker):
            for batch in reader.read(first, last):
                lot += self.items(batch)
            if len(lot) >= LOT_ROWS:
                yield lot
                lot = []
        yield lot

    def _ranges(self, begin: _Progress, worker: int) -> Iterator[tuple[int, int]]:
        """First and last place of what is left of each chunk of this worker; of some, where they follow each other."""
        part, total = self.part, len(self.index) - self.left_out
        number, skip = divmod(begin.taken, part.chunk)
        number = begin.start + worker + number * begin.workers
        joined = max(1, LOT_ROWS // part.chunk) if part.world == begin.workers == 1 else 1
        while (first := (number * part.world + part.rank) * part.chunk) < total:
            yield first + skip, min(first + joined * part.chunk, total)
            number, skip = number + joined * begin.workers, 0

    def state_dict(self) -> dict[str, Any]:
        """What was handed out, in this process or this worker of a DataLoader."""
        return {**self._identity(), **asdict(self._progress)}

    def state_at(self, rows: int) -> dict[str, Any]:
        """The state after the first `rows` rows of this rank: for any number of workers, if a chunk ends there. Tokens
        are counted from there on."""
        return {**self._identity(), **asdict(_Progress(0, rows, 1, 0))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin after what `state` says was handed out.

        Raises:
            InputError: the state is of other rows, or of another way to deal them out; the message has all differences.
        """
        own = self._identity()
        differences = [f"{key} was {state.get(key)!r}, is {own[key]!r}" for key in own if state.get(key) != own[key]]
        if differences:
            raise InputError(f"the state is of another stream: {'; '.join(differences)}")
        self._begin_at = _Progress(**{each.name: state[each.name] for each in fields(_Progress)})
        self._progress = replace(self._begin_at)

    def _identity(self) -> dict[str, Any]:
        source, part = self.index.source, self.part
        dealt = {"chunk": part.chunk, "rank": part.rank, "world": part.world, "even": part.even}
        return {**source.where, "version": source.version, "rows": len(self.index), **dealt}


_END: Any = object()


def _ahead(values: Iterator[T], count: int) -> Iterator[T]:
    """`values`, of which up to `count` are made in a thread before they are asked for."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, values, _END) for _ in range(count))
        while (value := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, values, _END))
            yield value
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Blocks:
    """Blocks as tensors of `context` tokens, padded with `filler`."""

    context: int
    filler: int
    places: bool

    @property
    def columns(self) -> tuple[str, ...]:
        return ("ids", "starts") if self.places else ("ids",)

    def __call__(self, batch: pa.RecordBatch) -> Iterator[tuple[Item, int]]:
        ids = batch.column("ids")
        edges = ids.offsets.to_numpy()
        sizes = np.diff(edges)
        values = ids.values.to_numpy()[edges[0] : edges[-1]].astype(np.int64)
        is_token = np.arange(self.context) < sizes[:, None]
        tensors = {"ids": _filled(is_token, values, self.filler)}
        tensors["labels"] = tensors["ids"] if is_token.all() else _filled(is_token, values, IGNORED)
        if self.places:
            starts = [each.values.to_numpy() for each in batch.column("starts")]
            pairs = list(zip(starts, sizes.tolist(), strict=True))
            for name, place_of, filler in (("positions", positions, 0), ("segments", segments, -1)):
                found = np.concatenate([place_of(begins, size) for begins, size in pairs])
                tensors[name] = _filled(is_token, found, filler)
        for parts in zip(*tensors.values(), sizes.tolist(), strict=True):
            yield dict(zip(tensors, parts, strict=False)), parts[-1]


def _filled(is_token: np.ndarray[Any, Any], values: np.ndarray[Any, Any], filler: int) -> torch.Tensor:
    """`values` in the places of tokens, row by row, and `filler` in those of padding."""
    if is_token.all():
        return torch.from_numpy(values.reshape(is_token.shape))
    result = np.full(is_token.shape, filler, np.int64)
    result[is_token] = values
    return torch.from_numpy(result)


@dataclass(frozen=True)
class _Rows:
    """Rows as they are in the table."""

    columns: tuple[str, ...]

    def __call__(self, batch: pa.RecordBatch) -> Iterator[tuple[Item, int]]:
        for row in batch.to_pylist():
            yield row, row["tokens"]


def blocks(
    table: str,
    version: int,
    training_set: str,
    packing: str,
    *,
    rest: str = KEEP,
    chunk: int = 1,
    rank: int = 0,
    world: int = 1,
    even: bool = False,
    filler: int = 0,
    places: bool = False,
    storage_options: Mapping[str, str] | None = None,
) -> Stream:
    """A packed set: items of `ids` and `labels`, int64 tensors of the length of the context.

    A block that is not full is filled up with `filler` in `ids`, and has no label there. With `places`, `positions`
    begin anew with each document in the block, and `segments` number them (-1: padding). With `rest` drop, the blocks
    that hold the rest of a shard are left out.

    Raises:
        InputError: the version is gone, it has no such blocks, or they are not whole.
        ConfigError: chunk, rank and world do not fit each other, or `rest` is neither keep nor drop.
    """
    if rest not in RESTS:
        raise ConfigError(f"rest is {rest!r}, wanted one of {', '.join(RESTS)}")
    part = Part(chunk, rank, world, even)
    where: dict[str, str | bool] = {"training_set": training_set, "packing": packing}
    if rest == DROP:
        where["is_rest"] = False
    index = rows.index(Source(table, version, rows.BLOCKS, where, storage_options))
    first = next(Reader(index, ("ids", "padding")).read(0, 1))
    context = len(first.column("ids")[0]) + first.column("padding")[0].as_py()
    return Stream(index, part, _Blocks(context, filler, places), len(index) * context - index.tokens)


def texts(
    table: str,
    version: int,
    training_set: str,
    kind: str = "documents",
    *,
    chunk: int = 1,
    rank: int = 0,
    world: int = 1,
    even: bool = False,
    storage_options: Mapping[str, str] | None = None,
) -> Stream:
    """A set that is not packed: items with the `position`, what a model reads, such as `text`, and `tokens`.

    `kind` is documents, examples or pairs; `tokens` of the stream are as the set counts them.

    Raises:
        InputError: the version is gone, it has no such set, or positions are missing.
        ConfigError: chunk, rank and world do not fit each other, or there is no such kind.
    """
    kinds = [name for name in rows.LAYOUTS if name != "blocks"]
    if kind not in kinds:
        raise ConfigError(f"kind is {kind!r}, wanted one of {', '.join(kinds)}")
    part, layout = Part(chunk, rank, world, even), rows.LAYOUTS[kind]
    index = rows.index(Source(table, version, layout, {"training_set": training_set}, storage_options))
    return Stream(index, part, _Rows((*layout.columns, layout.tokens)), index.tokens)


def iterable_dataset(stream: Stream, parts: int = 1) -> Any:
    """The stream as an ``IterableDataset`` of the package `datasets`, of `parts` shards.

    `datasets` reads one shard after the other, and deals shards out to workers and nodes. One shard has the order of
    training; several are the shares that ranks would have.

    Raises:
        ConfigError: the package is not installed.
    """
    shares = [stream.for_rank(rank, parts) for rank in range(parts)]
    return _datasets().IterableDataset.from_generator(_items, gen_kwargs={"streams": shares})


def dataset(stream: Stream, cache: str | None = None) -> Any:
    """The stream as a ``Dataset`` of the package `datasets`, which it copies to its `cache` as Arrow files.

    Raises:
        ConfigError: the package is not installed.
    """
    return _datasets().Dataset.from_generator(_items, gen_kwargs={"streams": [stream]}, cache_dir=cache)


def _items(streams: Sequence[Stream]) -> Iterator[Item]:
    for stream in streams:
        for item in stream:
            yield {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in item.items()}


def _datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ConfigError("the package datasets is not installed: pip install datasets") from error
