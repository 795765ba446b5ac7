"""A packed set as files for trainers that do not read Delta, with a manifest.

============  =========================================================================================
``parquet``   ``ids`` and ``starts`` of each block, without padding; also texts of a set that is not packed
``mds``       shards of MosaicML Streaming (``StreamingDataset`` with ``ids`` as ``ndarray:int32:<context>``)
``megatron``  ``<name>.bin`` and ``<name>.idx`` of Megatron-LM's indexed datasets. Each block is a document of one
              sequence, so that ``--seq-length <context>`` makes samples of the blocks as they are
============  =========================================================================================

MDS and Megatron have blocks of one length: padding is written as end-of-texts. Both formats are written here, since
mosaicml-streaming 0.13 wants transformers before 5 and megatron-core brings a trainer along; the tests read them with
other code, and with mosaicml-streaming where it is installed. The order is that of training.

An export is whole or not there: it is made in ``.<folder>.partial`` and renamed. The hash of the blocks is compared
with the one on record in `training_packings` on the way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

import etl
from etl import config, job, models, tables
from etl.align import rows
from etl.align.rows import Index, Reader, Source
from etl.errors import ConfigError, InputError
from etl.kernels import packing
from etl.runner import Runner
from etl.stages.pack import BLOCKS, PACKINGS, TRAINING_BLOCKS, TRAINING_PACKINGS, PackParams

FORMATS = PARQUET, MDS, MEGATRON = ("parquet", "mds", "megatron")  # of blocks
TEXT = "text"  # of a set that is not packed
MANIFEST = "manifest.json"
SHARD_ROWS = 16384

# Of an .idx file, megatron/core/datasets/indexed_dataset.py.
_MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
_MEGATRON_VERSION = 1
_MEGATRON_INT32 = 4  # code of the type of tokens

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Block:
    """Tokens of a block without padding, and where pieces of documents begin in it."""

    ids: Ids
    starts: npt.NDArray[np.int32]

    def padded(self, context: int, filler: int) -> Ids:
        result = np.full(context, filler, np.int32)
        result[: len(self.ids)] = self.ids
        return result


@dataclass(frozen=True)
class Shard:
    """A file of an export that holds `rows` of the set from `first` on."""

    path: str
    first: int
    rows: int


def export_blocks(
    blocks: Source, packed: Mapping[str, Any], format: str, target: Path, *, shard_rows: int = SHARD_ROWS
) -> dict[str, Any]:
    """Write the blocks of a source to a new folder; the manifest that is in it.

    `packed` is their row of `training_packings`. A source whose blocks are whole (``is_rest`` false) leaves rests out.

    Raises:
        ConfigError: there is no such format.
        InputError: the folder is there and is no export of this, or the blocks are not those on record.
    """
    if format not in FORMATS:
        raise ConfigError(f"format is {format!r}, wanted one of {', '.join(FORMATS)}")
    context, end = int(packed["context"]), int(packed["end_of_text"])
    index = rows.index(blocks)
    writers: dict[str, Callable[[Iterator[Block], Path], list[Shard]]] = {
        PARQUET: lambda found, folder: _parquet(map(_as_row, found), folder, _BLOCK_SCHEMA, shard_rows),
        MDS: lambda found, folder: _mds((block.padded(context, end) for block in found), folder, context, shard_rows),
        MEGATRON: lambda found, folder: _megatron((block.padded(context, end) for block in found), folder, context),
    }
    hashes = _Hashes()
    recorded = packed["content_hash"] if "is_rest" not in blocks.where else None

    def write(folder: Path) -> tuple[list[Shard], dict[str, Any]]:
        shards = writers[format](hashes.of(_blocks(index)), folder)
        made = hashes.total()
        if recorded is not None and made != recorded:
            raise InputError(
                f"{blocks}: the blocks have content {made[:16]}..., training_packings says {recorded[:16]}...: pack "
                f"the set again"
            )
        chosen = ("mode", "context", "tokenizer", "end_of_text", "seed", "shard_documents")
        counts = {"rows": len(index), "tokens_and_separators": len(index) * context - index.tokens}
        is_padded = format != PARQUET
        return shards, {
            **{name: packed[name] for name in chosen},
            **counts,
            "padding": index.tokens,
            "padding_written_as": end if is_padded else None,
            "content_hash": made,
        }

    return _whole(target, _identity(blocks, format), write)


def export_texts(source: Source, target: Path, *, shard_rows: int = SHARD_ROWS) -> dict[str, Any]:
    """Write a set that is not packed to Parquet files in a new folder; the manifest that is in it.

    Raises:
        InputError: the folder is there and is no export of this.
    """
    index = rows.index(source)
    columns = (*source.layout.columns, source.layout.tokens)

    def write(folder: Path) -> tuple[list[Shard], dict[str, Any]]:
        batches = Reader(index, columns).read(0, len(index))
        first = next(batches)
        found = (row for batch in chain([first], batches) for row in batch.to_pylist())
        return _parquet(found, folder, first.schema, shard_rows), {"rows": len(index), "tokens": index.tokens}

    return _whole(target, _identity(source, PARQUET), write)


def _identity(source: Source, format: str) -> dict[str, Any]:
    return {"format": format, "table": source.layout.table, "version": source.version, **source.where}


def _whole(
    target: Path, identity: Mapping[str, Any], write: Callable[[Path], tuple[list[Shard], dict[str, Any]]]
) -> dict[str, Any]:
    """An export in its folder: the one that is there, if it is the same, or a new one."""
    if target.exists():
        manifest = target / MANIFEST
        known: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
        differences = [f"{key} is {known.get(key)!r}" for key in identity if known.get(key) != identity[key]]
        if differences:
            raise InputError(f"{target}: is there already, and is another export: {'; '.join(differences)}")
        return known
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shards, facts = write(partial)
    listed = [
        {"path": shard.path, "first": shard.first, "rows": shard.rows, **_measured(partial / shard.path)}
        for shard in shards
    ]
    manifest_of = {**identity, **facts, "package": f"goldenlake {etl.__version__}", "shards": listed}
    (partial / MANIFEST).write_text(json.dumps(manifest_of, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(target)
    return manifest_of


def _measured(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": models.sha256(path)}


def _blocks(index: Index) -> Iterator[tuple[int, Block]]:
    """Blocks with the numbers of their shards, in the order of training."""
    for batch in Reader(index).read(0, len(index)):
        shards = batch.column("shard").to_pylist()
        ids, starts = batch.column("ids"), batch.column("starts")
        values, edges = ids.values.to_numpy(), ids.offsets.to_numpy()
        begins, begin_edges = starts.values.to_numpy(), starts.offsets.to_numpy()
        for row, shard in enumerate(shards):
            tokens = values[edges[row] : edges[row + 1]]
            yield shard, Block(tokens, begins[begin_edges[row] : begin_edges[row + 1]])


class _Hashes:
    """The hash of blocks that pass by, as `etl.stages.pack.training_packings` makes it."""

    def __init__(self) -> None:
        self._shards: list[str] = []
        self._blocks: list[str] = []

    def of(self, found: Iterable[tuple[int, Block]]) -> Iterator[Block]:
        current: int | None = None
        for shard, block in found:
            if shard != current and current is not None:
                self._end_shard()
            current = shard
            content = f"{_json(block.ids)} {_json(block.starts)}"
            self._blocks.append(hashlib.sha256(content.encode()).hexdigest())
            yield block
        self._end_shard()

    def _end_shard(self) -> None:
        self._shards.append(hashlib.sha256(" ".join(self._blocks).encode()).hexdigest())
        self._blocks = []

    def total(self) -> str:
        return hashlib.sha256(" ".join(self._shards).encode()).hexdigest()


def _json(values: npt.NDArray[np.int32]) -> str:
    return json.dumps(values.tolist(), separators=(",", ":"))


_BLOCK_SCHEMA = pa.schema([("ids", pa.list_(pa.int32())), ("starts", pa.list_(pa.int32()))])


def _as_row(block: Block) -> dict[str, Any]:
    return {"ids": block.ids, "starts": block.starts}


def _lots(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while lot := list(islice(iterator, size)):
        yield lot


def _parquet(found: Iterable[dict[str, Any]], folder: Path, schema: pa.Schema, shard_rows: int) -> list[Shard]:
    shards: list[Shard] = []
    first = 0
    for number, lot in enumerate(_lots(found, shard_rows)):
        shard = Shard(f"{number:05d}.parquet", first, len(lot))
        columns = [pa.array([row[field.name] for row in lot], field.type) for field in schema]
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / shard.path, compression="zstd")
        shards.append(shard)
        first += len(lot)
    return shards


def _mds(found: Iterable[Ids], folder: Path, context: int, shard_rows: int) -> list[Shard]:
    """Files of a count, offsets of samples, the description of the columns, and the samples; and ``index.json``."""
    columns = {
        "column_encodings": [f"ndarray:int32:{context}"],
        "column_names": ["ids"],
        "column_sizes": [4 * context],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": None,
    }
    described = json.dumps(columns, sort_keys=True).encode()
    shards: list[Shard] = []
    listed: list[dict[str, Any]] = []
    first = 0
    # Offsets are 32 bits wide.
    for number, lot in enumerate(_lots(found, min(shard_rows, max(1, (1 << 31) // (4 * context))))):
        shard = Shard(f"shard.{number:05d}.mds", first, len(lot))
        begin = 4 * (len(lot) + 2) + len(described)
        offsets = begin + 4 * context * np.arange(len(lot) + 1, dtype=np.uint32)
        with (folder / shard.path).open("wb") as stream:
            stream.write(struct.pack("<I", len(lot)) + offsets.astype("<u4").tobytes() + described)
            for ids in lot:
                stream.write(ids.astype("<i4").tobytes())
        size = (folder / shard.path).stat().st_size
        raw = {"basename": shard.path, "bytes": size, "hashes": {}}
        listed.append({**columns, "raw_data": raw, "samples": len(lot), "version": 2, "zip_data": None})
        shards.append(shard)
        first += len(lot)
    (folder / "index.json").write_text(json.dumps({"shards": listed, "version": 2}, sort_keys=True), encoding="utf-8")
    return shards


def _megatron(found: Iterable[Ids], folder: Path, context: int) -> list[Shard]:
    """Tokens one after the other, and an index of lengths, places in bytes, and documents."""
    count = 0
    with (folder / "blocks.bin").open("wb") as stream:
        for ids in found:
            stream.write(ids.astype("<i4").tobytes())
            count += 1
    with (folder / "blocks.idx").open("wb") as stream:
        stream.write(_MEGATRON_MAGIC + struct.pack("<QBQQ", _MEGATRON_VERSION, _MEGATRON_INT32, count, count + 1))
        stream.write(np.full(count, context, "<i4").tobytes())
        stream.write((np.arange(count, dtype="<i8") * context * 4).tobytes())
        stream.write(np.arange(count + 1, dtype="<i8").tobytes())
    return [Shard("blocks.bin", 0, count), Shard("blocks.idx", 0, 0)]


def pack(runner: Runner, params: PackParams) -> PackParams:
    """Pack a set of the lake unless it stands so; the params with what they leave open.

    Raises:
        InputError: there is no such set of documents.
        ConfigError: there is no such tokenizer, or it does not say how a text ends.
    """
    try:
        settings = params.pinned()
    except ValueError as error:
        raise ConfigError(f"{params.training_set}: {error}") from error
    part = {"training_set": settings.training_set, "packing": str(settings.packing)}
    runner.whole(TRAINING_BLOCKS, settings, part)
    runner.whole(TRAINING_PACKINGS, settings, part)
    return settings


def recorded(location: str, settings: PackParams, storage_options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The row of a packing in the table `training_packings` at `location`, read without Spark.

    Raises:
        InputError: there is none.
    """
    table = DeltaTable(location, storage_options=dict(storage_options) if storage_options else None)
    found: list[dict[str, Any]] = [
        row
        for row in table.to_pyarrow_table().to_pylist()
        if (row["training_set"], row["packing"]) == (settings.training_set, settings.packing)
    ]
    if not found:
        raise InputError(f"{location}: there is no packing {settings.packing!r} of {settings.training_set!r}")
    return found[0]


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Pack the set that the options of `argv` name, and write it to a folder."""
    options = parser(doc).parse_args(argv)
    with job.reported_errors():
        if options.format == TEXT:
            _export_texts(options)
        else:
            _export_blocks(options)


def _export_texts(options: argparse.Namespace) -> None:
    with job.writer(options) as runner:
        lake = runner.lake
        location, version = lake.location(tables.TRAINING_DOCUMENTS), lake.version(tables.TRAINING_DOCUMENTS)
    source = Source(location, version, rows.DOCUMENTS, {"training_set": options.training_set})
    export_texts(source, options.out, shard_rows=options.shard_rows)


def _export_blocks(options: argparse.Namespace) -> None:
    values = config.override({"training_set": options.training_set, **_given(options)}, options.assignments)
    params = config.build(values, PackParams, origin="options")
    with job.writer(options) as runner:
        settings = pack(runner, params)
        lake = runner.lake
        location, version = lake.location(BLOCKS), lake.version(BLOCKS)
        packed = recorded(lake.location(PACKINGS), settings)
    where: dict[str, str | bool] = {"training_set": settings.training_set, "packing": str(settings.packing)}
    if options.whole_blocks:
        where["is_rest"] = False
    source = Source(location, version, rows.BLOCKS, where)
    export_blocks(source, packed, options.format, options.out, shard_rows=options.shard_rows)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    named = {name: getattr(options, name) for name in ("mode", "context", "tokenizer")}
    return {name: value for name, value in named.items() if value is not None}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of an export."""
    result = job.described(doc)
    result.add_argument("training_set", help="name of a set of documents")
    result.add_argument("--out", type=Path, required=True, help="new folder for the files and their manifest")
    result.add_argument(
        "--format", choices=(*FORMATS, TEXT), default=PARQUET, help="blocks as one of these, or texts as Parquet"
    )
    result.add_argument("--mode", choices=packing.MODES, help="how documents are packed (concat)")
    result.add_argument("--context", type=int, help="tokens of a block (2048)")
    result.add_argument("--tokenizer", help="what makes the ids (gpt2)")
    result.add_argument("--whole-blocks", action="store_true", help="leave out blocks that hold the rest of a shard")
    result.add_argument("--shard-rows", type=int, default=SHARD_ROWS, help=f"rows of a file ({SHARD_ROWS})")
    job.add_assignments(result, "any other key of the packing, such as seed=2 or end_of_text=2")
    job.add_lake_options(result)
    return result
