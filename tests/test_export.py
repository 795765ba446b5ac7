"""Exports: every format read back by other code, whole or not there, and the blocks that are on record."""

from __future__ import annotations

import hashlib
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from rich.console import Console

from etl import export, tables
from etl.align import rows, stream
from etl.align.rows import Source
from etl.errors import ConfigError, InputError
from etl.export import MDS, MEGATRON, PARQUET
from etl.lake import Lake
from etl.progress import Reporter
from etl.runner import Runner
from etl.stages.pack import BLOCKS, PACKINGS, PackParams
from jobs import export_training_set
from tests import packed

CONTEXT, END = 16, 999
DRAW = np.random.default_rng(5)
SHARDS = [[DRAW.integers(0, 900, size).tolist() for size in DRAW.integers(1, 50, 30)] for _ in range(3)]
ROWS = [row for shard, documents in enumerate(SHARDS) for row in packed.rows(documents, shard, CONTEXT, END)]
PADDED = [row["ids"] + [END] * row["padding"] for row in ROWS]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash() -> str:
    shards = []
    for shard in range(len(SHARDS)):
        mine = [row for row in ROWS if row["shard"] == shard]
        blocks = [sha256(f"{row['ids']} {row['starts']}".replace(", ", ",")) for row in mine]
        shards.append(sha256(" ".join(blocks)))
    return sha256(" ".join(shards))


PACKED = {
    "training_set": "set",
    "packing": "p",
    "mode": "concat",
    "context": CONTEXT,
    "tokenizer": "gpt2",
    "end_of_text": END,
    "seed": 1,
    "shard_documents": 30,
    "content_hash": content_hash(),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two files, the later rows in the first."""
    path = str(tmp_path_factory.mktemp("lake") / "training_blocks")
    schema = pa.schema([("block", pa.int32()), ("ids", pa.list_(pa.int32())), ("starts", pa.list_(pa.int32()))])
    for part in (ROWS[40:], ROWS[:40]):
        table = pa.Table.from_pylist(part)
        for field in schema:
            table = table.set_column(
                table.schema.get_field_index(field.name), field, table[field.name].cast(field.type)
            )
        write_deltalake(path, table, mode="append")
    return Source(path, 1, rows.BLOCKS, {"training_set": "set", "packing": "p"})


def test_parquet_has_blocks_and_starts_in_the_order_of_training(source: Source, tmp_path: Path) -> None:
    manifest = export.export_blocks(source, PACKED, PARQUET, tmp_path / "out", shard_rows=25)
    found = [row for each in manifest["shards"] for row in pq.read_table(tmp_path / "out" / each["path"]).to_pylist()]
    assert found == [{"ids": row["ids"], "starts": row["starts"]} for row in ROWS]
    assert [each["rows"] for each in manifest["shards"][:-1]] == [25] * (len(ROWS) // 25)


def test_megatron_files_have_the_layout_that_megatron_documents(source: Source, tmp_path: Path) -> None:
    export.export_blocks(source, PACKED, MEGATRON, tmp_path / "out")
    index = (tmp_path / "out" / "blocks.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert (version, code, sequences, documents) == (1, 4, len(ROWS), len(ROWS) + 1)
    lengths = np.frombuffer(index, np.int32, sequences, 34)
    pointers = np.frombuffer(index, np.int64, sequences, 34 + lengths.nbytes)
    ends = np.frombuffer(index, np.int64, documents, 34 + lengths.nbytes + pointers.nbytes)
    assert len(index) == 34 + lengths.nbytes + pointers.nbytes + ends.nbytes
    assert ends.tolist() == list(range(documents))
    tokens = np.memmap(tmp_path / "out" / "blocks.bin", np.int32, mode="r")
    found = [tokens[at // 4 : at // 4 + size].tolist() for at, size in zip(pointers, lengths, strict=True)]
    assert found == PADDED


def mds_samples(folder: Path) -> list[list[int]]:
    """By the description of the format: a count, offsets of samples, the columns, the samples."""
    found = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        assert shard["column_encodings"] == [f"ndarray:int32:{CONTEXT}"]
        content = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(content) == shard["raw_data"]["bytes"]
        (count,) = struct.unpack_from("<I", content)
        offsets = np.frombuffer(content, np.uint32, count + 1, 4)
        assert json.loads(content[4 + offsets.nbytes : offsets[0]])["column_names"] == shard["column_names"] == ["ids"]
        assert (count, offsets[-1]) == (shard["samples"], len(content))
        found += [np.frombuffer(content[a:b], np.int32).tolist() for a, b in pairwise(offsets)]
    return found


def test_mds_files_have_every_block(source: Source, tmp_path: Path) -> None:
    export.export_blocks(source, PACKED, MDS, tmp_path / "out", shard_rows=30)
    assert mds_samples(tmp_path / "out") == PADDED


def test_mosaicml_streaming_reads_what_was_written(source: Source, tmp_path: Path) -> None:
    streaming = pytest.importorskip("streaming.base.format.mds.reader")
    export.export_blocks(source, PACKED, MDS, tmp_path / "out", shard_rows=30)
    listed = json.loads((tmp_path / "out" / "index.json").read_text())["shards"]
    readers = [streaming.MDSReader.from_json(str(tmp_path / "out"), None, shard) for shard in listed]
    assert [reader[n]["ids"].tolist() for reader in readers for n in range(len(reader))] == PADDED


@pytest.mark.parametrize("format", export.FORMATS)
def test_the_manifest_counts_and_names_every_byte(source: Source, tmp_path: Path, format: str) -> None:
    made = export.export_blocks(source, PACKED, format, tmp_path / "out", shard_rows=20)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == made
    assert (manifest["rows"], manifest["version"], manifest["content_hash"]) == (len(ROWS), 1, content_hash())
    assert manifest["tokens_and_separators"] + manifest["padding"] == len(ROWS) * CONTEXT
    assert manifest["tokens_and_separators"] == sum(len(document) + 1 for shard in SHARDS for document in shard)
    assert sum(each["rows"] for each in manifest["shards"]) == len(ROWS)
    for each in manifest["shards"]:
        content = (tmp_path / "out" / each["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["bytes"], each["sha256"])
    again = export.export_blocks(source, PACKED, format, tmp_path / "again", shard_rows=20)
    assert again == made, "the same bytes"


def test_rests_are_left_out_when_the_source_says_so(source: Source, tmp_path: Path) -> None:
    whole = Source(source.location, 1, rows.BLOCKS, {**source.where, "is_rest": False})
    manifest = export.export_blocks(whole, PACKED, MDS, tmp_path / "out")
    assert mds_samples(tmp_path / "out") == [row["ids"] for row in ROWS if not row["is_rest"]]
    assert manifest["padding"] == 0


def test_an_export_is_made_once_and_never_mixed_with_another(source: Source, tmp_path: Path) -> None:
    export.export_blocks(source, PACKED, MDS, tmp_path / "out")
    before = (tmp_path / "out" / "index.json").stat().st_mtime_ns
    export.export_blocks(source, PACKED, MDS, tmp_path / "out")
    assert (tmp_path / "out" / "index.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"out: is there already, and is another export: format is 'mds'"):
        export.export_blocks(source, PACKED, PARQUET, tmp_path / "out")
    with pytest.raises(ConfigError, match="format is 'csv', wanted one of parquet, mds, megatron"):
        export.export_blocks(source, PACKED, "csv", tmp_path / "csv")


def test_blocks_that_are_not_those_on_record_leave_no_export(source: Source, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the blocks have content .*, training_packings says 0000"):
        export.export_blocks(source, {**PACKED, "content_hash": "0" * 64}, PARQUET, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export.export_blocks(source, PACKED, PARQUET, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "what a failed try left is gone"


def test_texts_go_to_parquet_with_their_positions(tmp_path: Path) -> None:
    path = str(tmp_path / "training_documents")
    for places in ([2, 0], [1, 3]):
        found = {"training_set": ["set"] * 2, "position": places, "text": [f"text {n}" for n in places]}
        write_deltalake(path, pa.table({**found, "tokens": [2, 2]}), mode="append")
    texts = Source(path, 1, rows.DOCUMENTS, {"training_set": "set"})
    manifest = export.export_texts(texts, tmp_path / "out", shard_rows=3)
    shards = [pq.read_table(tmp_path / "out" / each["path"]).to_pylist() for each in manifest["shards"]]
    assert [len(shard) for shard in shards] == [3, 1]
    assert [row["text"] for shard in shards for row in shard] == [f"text {n}" for n in range(4)]
    assert (manifest["rows"], manifest["tokens"]) == (4, 8)


def test_the_job_packs_a_set_and_writes_what_the_stream_reads(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lake of the tables that matter here: to open all takes longer than the rest of this test.
    spark.sql("CREATE SCHEMA packed")
    lake = Lake(spark, str(tmp_path / "lake"), "packed")
    assert not [
        problem for table in (tables.TRAINING_DOCUMENTS, BLOCKS, PACKINGS) if (problem := lake._open_table(table))
    ]
    runner = Runner(lake, Reporter(spark, Console(quiet=True)))
    texts = [f"Document {n} of the set. " * (1 + n % 9) for n in range(40)]
    values = {"training_set": "set", "source": "web", "epoch": 1}
    found = [
        {**values, "position": n, "doc_id": f"{n:064d}", "text": text, "tokens": len(text)}
        for n, text in enumerate(texts)
    ]
    columns = tables.TRAINING_DOCUMENTS.columns
    documents = spark.createDataFrame(
        [tuple(row[name] for name in columns) for row in found], tables.TRAINING_DOCUMENTS.schema
    )
    part = {"training_set": ["set"]}
    lake.replace(tables.TRAINING_DOCUMENTS, documents, part, {"slice": part})
    monkeypatch.setattr(export.job, "writer", lambda options: _Held(runner))
    arguments = ["set", "--tokenizer", "bytes", "--mode", "best_fit", "--context", "256", "--set", "shard_documents=9"]
    export_training_set.main([*arguments, "--format", "megatron", "--out", str(tmp_path / "out")])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    name = PackParams("set", "bytes", "best_fit", 256).pinned().packing
    assert manifest["packing"] == name == "best_fit-256-bytes"
    location = lake.location(BLOCKS)
    items = stream.blocks(location, lake.version(BLOCKS), "set", str(name), filler=256)
    tokens = np.memmap(tmp_path / "out" / "blocks.bin", np.int32, mode="r").reshape(-1, 256)
    assert [item["ids"].tolist() for item in items] == tokens.tolist()
    account = export.recorded(lake.location(PACKINGS), PackParams("set", packing=name))
    assert account["tokens"] == account["set_tokens"] == sum(map(len, texts))
    assert items.tokens == account["tokens"] + account["separators"]
    with pytest.raises(SystemExit):
        export_training_set.main(["none", "--out", str(tmp_path / "none")])


class _Held:
    """A lake that is open already, in the place of one that the job would open."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def __enter__(self) -> Any:
        return self.runner

    def __exit__(self, *error: object) -> None:
        pass
