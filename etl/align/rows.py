"""Rows of a Delta table at a version, in the order of their key, read without Spark and without holding the table.

Files of a table come in no order, and a file holds rows of several sets after it was compacted. So the key of every
row is read first, which is little, and kept as *runs*: rows that follow each other in a file and in the order. `Index`
is the order of runs, and says how many rows and tokens there are before a row of text is read; `Reader` then reads any
range of places, a batch of a row group at a time. A row group whose rows are in no order is held as a whole.

Two readings of one version, or of a later one that only rearranges files, give the same rows.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from etl.errors import InputError
from etl.locks import is_local

Places = npt.NDArray[np.int64]

BATCH_BYTES = 4 << 20  # of rows in memory, decoded at once from each row group that is being read
BUFFER_BYTES = 1 << 20  # of a file, fetched at once
THREADS = 8  # that read keys, which for an object store is waiting
OPEN_GROUPS = 32  # row groups that are being read at the same time
WHOLE_BYTES = 256 << 20  # of row groups in no order that are held, one in any case
PREFIX_CHARACTERS = 32  # Delta cuts strings in statistics to so many

# Processes that are forked from one that has used delta-rs cannot use it: its runtime has no threads there.
_used_delta_in: set[int] = set()


@dataclass(frozen=True)
class Layout:
    """Of a kind of table: the key that rows are in the order of, the columns that a trainer reads, and the column that
    says how many tokens a row has (`lacks`: how many it lacks to the context)."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    tokens: str = "tokens"
    lacks: bool = False


DOCUMENTS = Layout("training_documents", ("position",), ("text",))
EXAMPLES = Layout("training_examples", ("position",), ("messages",))
PAIRS = Layout("training_pairs", ("position",), ("prompt", "chosen", "rejected"))
BLOCKS = Layout("training_blocks", ("shard", "block"), ("ids", "starts"), tokens="padding", lacks=True)
LAYOUTS = {"documents": DOCUMENTS, "examples": EXAMPLES, "pairs": PAIRS, "blocks": BLOCKS}


@dataclass(frozen=True)
class Source:
    """The table at `location`, a folder or an address, as of a version, and which of its rows are meant: those with
    these values. `storage_options` are delta-rs's, such as keys of an object store."""

    location: str
    version: int
    layout: Layout
    where: Mapping[str, str | bool]
    storage_options: Mapping[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        named = ", ".join(f"{column} {value!r}" for column, value in self.where.items())
        return f"{self.location}: version {self.version}, {named}"


@dataclass(frozen=True)
class Index:
    """The order of the rows of a source: run i is `sizes[i]` rows of file `files[numbers[i]]` from its row `firsts[i]`
    on, and has the places from `places[i]` on.

    `tokens` is their sum as the table says, or, where it says what rows lack, that sum.
    """

    source: Source
    files: tuple[str, ...]
    numbers: Places
    firsts: Places
    places: Places
    sizes: Places
    tokens: int

    def __len__(self) -> int:
        return int(self.sizes.sum())


def index(source: Source) -> Index:
    """Find the rows of a source, their order and their number.

    Raises:
        InputError: the version is gone or was never there, it has no such rows, or rows are missing or double.
    """
    with _explained(source):
        delta = _open(source)
        _used_delta_in.add(os.getpid())
        files, known = _files(delta, source)
        filesystem = _filesystem(source)
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda path: _runs(source, path, filesystem, known[path]), files))
    keys, firsts, sizes = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in _columns(found))
    numbers = np.repeat(np.arange(len(files)), [len(each[0]) for each in found])
    order = np.argsort(keys, kind="stable")
    keys, firsts, sizes, numbers = keys[order], firsts[order], sizes[order], numbers[order]
    if not len(keys):
        raise InputError(f"{source}: there are no rows")
    _check_gaps(source, keys, sizes)
    places = np.cumsum(sizes) - sizes
    return Index(source, tuple(files), numbers, firsts, places, sizes, sum(each[3] for each in found))


def _columns(found: list[tuple[Places, Places, Places, int]]) -> Iterator[list[Places]]:
    for column in range(3):
        yield [each[column] for each in found]  # type: ignore[misc]


def _open(source: Source) -> DeltaTable:
    options = dict(source.storage_options) if source.storage_options else None
    delta = DeltaTable(source.location, version=source.version, storage_options=options)
    features = set(delta.protocol().reader_features or ())
    if features & {"columnMapping", "deletionVectors"}:
        # The features of a table stand in its protocol also where no file uses them.
        raise DeltaProtocolError(f"the table has {', '.join(sorted(features))}, which files alone do not show")
    return delta


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Errors of delta-rs and of files that are not there, in the words of who asked for a version."""
    try:
        yield
    except TableNotFoundError as error:
        raise InputError(f"{source.location}: there is no Delta table") from error
    except DeltaProtocolError as error:
        raise InputError(f"{source.location}: cannot be read without Spark: {error}") from error
    except (DeltaError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source.location}: version {source.version} cannot be read; the table has versions "
            f"{versions(source.location, source.storage_options)}, and files of old ones may have been removed by "
            f"VACUUM: {reason}"
        ) from error


def versions(location: str, storage_options: Mapping[str, str] | None = None) -> str:
    """The first and the last version that the log of a table has, in words."""
    try:
        options = dict(storage_options) if storage_options else None
        history = [entry["version"] for entry in DeltaTable(location, storage_options=options).history()]
    except DeltaError:
        return "unknown"
    return f"{min(history)} to {max(history)}"


def _files(delta: DeltaTable, source: Source) -> tuple[list[str], dict[str, set[str]]]:
    """Files that may have rows of the source, and for each the columns of `where` that all its rows fulfil."""
    files: list[str] = []
    known: dict[str, set[str]] = {}
    for action in pa.table(delta.get_add_actions(flatten=True)).to_pylist():
        fulfilled: set[str] = set()
        may_have = True
        for column, value in source.where.items():
            low, high = action.get(f"min.{column}"), action.get(f"max.{column}")
            if low is None or high is None or not isinstance(value, str):
                continue
            may_have &= low <= value[: len(low)] and value[:PREFIX_CHARACTERS] <= high
            if low == high == value and len(value) < PREFIX_CHARACTERS:
                fulfilled.add(column)
        if may_have:
            files.append(action["path"])
            known[action["path"]] = fulfilled
    return sorted(files), known


def _filesystem(source: Source) -> pafs.FileSystem | None:
    """None for a folder, which needs none."""
    if is_local(source.location):
        return None
    if _used_delta_in and os.getpid() not in _used_delta_in:
        raise InputError(
            f"{source.location}: a forked process cannot read an object store; give the DataLoader "
            f"multiprocessing_context='spawn' or 'forkserver'"
        )
    _used_delta_in.add(os.getpid())
    options = dict(source.storage_options) if source.storage_options else None
    return pafs.PyFileSystem(DeltaStorageHandler(source.location, options))


def _parquet(source: Source, path: str, filesystem: pafs.FileSystem | None) -> pq.ParquetFile:
    # Without pre_buffer and with a buffer, a column of a row group is fetched in parts and not as a whole.
    if filesystem is None:
        return pq.ParquetFile(os.path.join(source.location, path), buffer_size=BUFFER_BYTES, pre_buffer=False)
    return pq.ParquetFile(filesystem.open_input_file(path), buffer_size=BUFFER_BYTES, pre_buffer=False)


def _runs(
    source: Source, path: str, filesystem: pafs.FileSystem | None, fulfilled: set[str]
) -> tuple[Places, Places, Places, int]:
    """Key of the first row, first row and size of each run of a file, and the tokens of its rows."""
    layout, file = source.layout, _parquet(source, path, filesystem)
    where = {column: value for column, value in source.where.items() if column not in fulfilled}
    found: list[tuple[Places, Places]] = []
    tokens = row = 0
    for batch in file.iter_batches(columns=[*layout.key, layout.tokens, *where], use_threads=False):
        rows = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        if where:
            masks = [pc.equal(batch.column(column), pa.scalar(value)) for column, value in where.items()]
            mask = masks[0] if len(masks) == 1 else pc.and_(*masks)
            for more in masks[2:]:
                mask = pc.and_(mask, more)
            batch, rows = batch.filter(mask), rows[mask.to_numpy(zero_copy_only=False)]
        found.append((_keys(batch, layout), rows))
        tokens += pc.sum(batch.column(layout.tokens)).as_py() or 0
    file.close()
    keys, rows = (np.concatenate([np.zeros(0, np.int64), *(each[n] for each in found)]) for n in range(2))
    begins = np.flatnonzero((np.diff(keys, prepend=-2) != 1) | (np.diff(rows, prepend=-2) != 1))
    return keys[begins], rows[begins], np.diff(begins, append=len(keys)), tokens


def _keys(batch: pa.RecordBatch, layout: Layout) -> Places:
    """The key as one number: consecutive rows of one part have consecutive numbers."""
    columns: list[Places] = [batch.column(name).to_numpy(zero_copy_only=False).astype(np.int64) for name in layout.key]
    return columns[0] if len(columns) == 1 else (columns[0] << 32) + columns[1]


def _check_gaps(source: Source, keys: Places, sizes: Places) -> None:
    """Refuse what is not whole: places from 0 on, or parts of which each has places from 0 on."""
    ends = np.concatenate([[0], (keys + sizes)[:-1]])
    is_next = keys == ends
    if len(source.layout.key) > 1:
        is_next |= (keys & 0xFFFFFFFF == 0) & (keys > ends)
    if is_next.all():
        return
    wrong = int(np.flatnonzero(~is_next)[0])
    named = _named(source.layout, int(keys[wrong]))
    what = "come twice" if keys[wrong] < ends[wrong] else "have rows missing before them"
    raise InputError(f"{source}: the rows from {named} on {what}")


def _named(layout: Layout, key: int) -> str:
    values = [key] if len(layout.key) == 1 else [key >> 32, key & 0xFFFFFFFF]
    return ", ".join(f"{name} {value}" for name, value in zip(layout.key, values, strict=True))


class Reader:
    """Reads ranges of places of an index. Cheap where they ascend; each process needs one of its own."""

    def __init__(self, index: Index, columns: tuple[str, ...] | None = None) -> None:
        self.index = index
        self.columns = [*index.source.layout.key, *(index.source.layout.columns if columns is None else columns)]
        self._filesystem = _filesystem(index.source)
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._edges: dict[int, Places] = {}  # rows of the file before each of its row groups
        self._mixed: set[tuple[int, int]] = set()  # row groups whose rows are in another order than they are asked for
        self._open: OrderedDict[tuple[int, int], _Group] = OrderedDict()
        self._whole: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()

    def read(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """Rows of the places [first, last), in order.

        Raises:
            InputError: a file of the version has gone since the index was made.
        """
        index = self.index
        with _explained(index.source):
            run = int(np.searchsorted(index.places, first, side="right")) - 1
            while first < last:
                skip = first - int(index.places[run])
                size = min(int(index.sizes[run]) - skip, last - first)
                yield from self._rows(int(index.numbers[run]), int(index.firsts[run]) + skip, size)
                first += size
                run += 1

    def _rows(self, number: int, row: int, size: int) -> Iterator[pa.RecordBatch]:
        """`size` rows of a file from `row` on."""
        if number not in self._edges:
            self._look_at(number)
        edges = self._edges[number]
        while size:
            group = int(np.searchsorted(edges, row, side="right")) - 1
            count = min(size, int(edges[group + 1]) - row)
            yield from self._of_group((number, group), row - int(edges[group]), count)
            row, size = row + count, size - count

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._files:
            self._files[number] = _parquet(self.index.source, self.index.files[number], self._filesystem)
        self._files.move_to_end(number)
        if len(self._files) > OPEN_GROUPS:
            self._files.popitem(last=False)  # closed when no row group of it is being read
        return self._files[number]

    def _look_at(self, number: int) -> None:
        """Find the row groups of a file, and those that hold runs in another order than they have places."""
        metadata = self._file(number).metadata
        groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        edges = self._edges[number] = np.cumsum([0, *groups])
        runs = np.flatnonzero(self.index.numbers == number)
        runs = runs[np.argsort(self.index.firsts[runs])]
        later = runs[1:][np.diff(self.index.places[runs]) < 0]
        found = np.searchsorted(edges, self.index.firsts[later], side="right") - 1
        self._mixed |= {(number, int(group)) for group in found}

    def _of_group(self, group: tuple[int, int], row: int, size: int) -> Iterator[pa.RecordBatch]:
        reading = self._open.get(group)
        if group in self._mixed or (reading is not None and row < reading.begin):
            # Rows that are asked for in another order than they are in are decoded once, and held.
            self._open.pop(group, None)
            self._mixed.add(group)
            yield from self._held(group).slice(row, size).to_batches()
            return
        if reading is None:
            reading = self._open[group] = _Group(self._file(group[0]), group[1], self.columns)
            if len(self._open) > OPEN_GROUPS:
                self._open.popitem(last=False)
        self._open.move_to_end(group)
        yield from reading.rows(row, size)
        if row + size == reading.num_rows:
            self._open.pop(group, None)

    def _held(self, group: tuple[int, int]) -> pa.Table:
        if group not in self._whole:
            self._whole[group] = self._file(group[0]).read_row_group(group[1], self.columns, use_threads=False)
            while len(self._whole) > 1 and sum(table.nbytes for table in self._whole.values()) > WHOLE_BYTES:
                self._whole.popitem(last=False)
        self._whole.move_to_end(group)
        return self._whole[group]


class _Group:
    """A row group that is read from its start on, a batch in memory at a time."""

    def __init__(self, file: pq.ParquetFile, group: int, columns: list[str]) -> None:
        found = file.metadata.row_group(group)
        self.num_rows = int(found.num_rows)
        size = max(1, min(8192, BATCH_BYTES * found.num_rows // max(1, found.total_byte_size)))
        self._batches = file.iter_batches(size, row_groups=[group], columns=columns, use_threads=False)
        self.begin = 0  # row of the group that the batch begins with
        self._batch: pa.RecordBatch = pa.RecordBatch.from_pylist([])

    def rows(self, row: int, size: int) -> Iterator[pa.RecordBatch]:
        while size:
            while row >= self.begin + self._batch.num_rows:
                self.begin += self._batch.num_rows
                self._batch = next(self._batches)
            skip = row - self.begin
            count = min(size, self._batch.num_rows - skip)
            yield self._batch.slice(skip, count)
            row, size = row + count, size - count
