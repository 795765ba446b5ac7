"""Streams over Delta tables: in the order of training whatever the files, every row once, resumed where they were."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from deltalake import DeltaTable, WriterProperties, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from etl.align import rows, stream
from etl.align.losses import IGNORED
from etl.align.stream import Part, Stream
from etl.errors import ConfigError, InputError
from etl.kernels import packing
from tests import packed as packed_rows

# More workers than this machine may have cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

CONTEXT = 16
SHARDS = 4
SMALL_GROUPS = WriterProperties(max_row_group_size=7)
DRAW = np.random.default_rng(3)
DOCUMENTS = [[DRAW.integers(1, 999, size).tolist() for size in DRAW.integers(1, 60, 25)] for _ in range(SHARDS)]


def packed(shard: int, name: str = "set") -> list[dict[str, Any]]:
    """Blocks of the documents of a shard."""
    return packed_rows.rows(DOCUMENTS[shard], shard, CONTEXT, 0, name)


BLOCKS = [row for shard in range(SHARDS) for row in packed(shard)]
TOKENS = sum(len(row["ids"]) for row in BLOCKS)


def write(path: str, found: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(found, schema=packed_rows.SCHEMA)
    write_deltalake(path, table, mode="append", writer_properties=SMALL_GROUPS)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Version 3: shards in files out of order, one of them mixed, another set between; 4: all files joined into one;
    5: the set written again with rows in no order at all."""
    path = str(tmp_path_factory.mktemp("lake") / "training_blocks")
    write(path, packed(3) + packed(1))
    write(path, packed(0, "other"))
    write(path, packed(2)[5:])
    write(path, packed(2)[:5] + packed(0))
    DeltaTable(path).optimize.compact(writer_properties=SMALL_GROUPS)
    mixed = [BLOCKS[n] for n in np.random.default_rng(1).permutation(len(BLOCKS))]
    again = pa.Table.from_pylist(mixed, schema=packed_rows.SCHEMA)
    write_deltalake(path, again, mode="overwrite", predicate="training_set = 'set'", writer_properties=SMALL_GROUPS)
    assert DeltaTable(path).version() == 5
    return path


def opened(table: str, version: int = 3, **options: Any) -> Stream:
    return stream.blocks(table, version, "set", "p", **options)


def tokens_of(items: Iterator[dict[str, Any]] | Stream) -> list[list[int]]:
    return [item["ids"][item["labels"] != IGNORED].tolist() for item in items]


WANTED = [row["ids"] for row in BLOCKS]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_blocks_come_in_the_order_of_training_from_any_files(table: str, version: int) -> None:
    found = opened(table, version)
    assert tokens_of(found) == WANTED
    assert (found.rows, found.tokens, found.handed_out) == (len(WANTED), TOKENS, TOKENS)


def test_a_reader_gives_any_range(table: str) -> None:
    for version in (3, 5):
        index = rows.index(opened(table, version).index.source)
        reader = rows.Reader(index, ("ids",))
        for first, last in [(0, 3), (2, len(WANTED)), (5, 5), (0, 1), (len(WANTED) - 1, len(WANTED))]:
            found = [ids for batch in reader.read(first, last) for ids in batch.column("ids").to_pylist()]
            assert found == WANTED[first:last]


def test_memory_holds_batches_and_not_the_table(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows in no order too: the same bytes with room for one row, one open row group, and one whole one."""
    for name in ("BATCH_BYTES", "OPEN_GROUPS", "WHOLE_BYTES"):
        monkeypatch.setattr(rows, name, 1)
    for version in (3, 5):
        found = opened(table, version)
        reader = rows.Reader(found.index)
        batches = list(reader.read(0, found.rows))
        assert [ids for batch in batches for ids in batch.column("ids").to_pylist()] == WANTED
        assert max(batch.num_rows for batch in batches) <= 7, "never more than a row group"
        assert len(reader._open) <= 1
        assert len(reader._whole) <= 1


def test_what_pads_a_block_has_no_label_and_places_begin_anew(table: str) -> None:
    for item, row in zip(opened(table, filler=7, places=True), BLOCKS, strict=True):
        size = len(row["ids"])
        assert item["ids"].tolist() == row["ids"] + [7] * row["padding"]
        assert item["labels"].tolist() == row["ids"] + [IGNORED] * row["padding"]
        assert item["positions"][:size].tolist() == packing.positions(row["starts"], size).tolist()
        assert item["segments"].tolist() == packing.segments(row["starts"], size).tolist() + [-1] * row["padding"]


def test_rests_are_left_out_when_asked_and_the_count_says_so(table: str) -> None:
    found = opened(table, rest="drop")
    whole = [row["ids"] for row in BLOCKS if not row["is_rest"]]
    assert len(whole) < len(WANTED)
    assert tokens_of(found) == whole
    assert found.tokens == len(whole) * CONTEXT
    with pytest.raises(ConfigError, match="rest is 'some', wanted one of keep, drop"):
        opened(table, rest="some")


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranks_share_every_row_once(table: str, total: int, chunk: int, world: int, even: bool) -> None:
    parts = [Part(chunk, rank, world, even) for rank in range(world)]
    assert sum(part.rows(total) for part in parts) + parts[0].left_out(total) == total
    if even:
        assert len({part.rows(total) for part in parts}) == 1
    whole = opened(table)
    shares = [tokens_of(Stream(whole.index, part, whole.items, whole.tokens)) for part in parts]
    assert [len(share) for share in shares] == [part.rows(len(WANTED)) for part in parts]
    left = len(WANTED) - parts[0].left_out(len(WANTED))
    chunks = [[share[at : at + chunk] for at in range(0, len(share), chunk)] for share in shares]
    dealt = [chunks[n % world][n // world] for n in range(-(-left // chunk))]
    assert [ids for each in dealt for ids in each] == WANTED[:left]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_same_with_any_number_of_workers(table: str, workers: int) -> None:
    found = DataLoader(opened(table, chunk=4, rank=1, world=2), batch_size=4, num_workers=workers)
    batches = [batch["ids"].tolist() for batch in found]
    one = [batch["ids"].tolist() for batch in DataLoader(opened(table, chunk=4, rank=1, world=2), batch_size=4)]
    assert batches == one
    assert len(batches) > 3


def test_two_ranks_take_the_rows_of_one_process_with_twice_the_batch(table: str) -> None:
    whole = tokens_of(opened(table))
    shares = [tokens_of(opened(table, chunk=4, rank=rank, world=2)) for rank in range(2)]
    for step in range(len(whole) // 8):
        both = [ids for share in shares for ids in share[step * 4 : step * 4 + 4]]
        assert both == whole[step * 8 : step * 8 + 8]


@given(st.integers(0, len(WANTED)), st.integers(1, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_goes_on_where_it_was(table: str, taken: int, chunk: int) -> None:
    before = opened(table, chunk=chunk)
    iterator = iter(before)
    first = tokens_of(next(iterator) for _ in range(taken))
    state = pickle.loads(pickle.dumps(before.state_dict()))
    assert state["tokens"] == sum(map(len, first))
    after = opened(table, chunk=chunk)
    after.load_state_dict(state)
    assert first + tokens_of(after) == WANTED
    assert after.handed_out == TOKENS
    assert tokens_of(after) == WANTED, "the pass after begins at the beginning"
    assert after.handed_out == TOKENS


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_loader_goes_on_with_another_number_of_workers(table: str, workers: int) -> None:
    whole = [batch["ids"].tolist() for batch in DataLoader(opened(table, chunk=4), batch_size=4)]
    after = opened(table, chunk=4)
    after.load_state_dict(after.state_at(5 * 4))
    assert [batch["ids"].tolist() for batch in DataLoader(after, batch_size=4, num_workers=workers)] == whole[5:]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # by torchdata 0.11 with a newer PyTorch
def test_a_stateful_loader_goes_on_with_its_workers(table: str) -> None:
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        return torchdata.StatefulDataLoader(opened(table, chunk=3), batch_size=3, num_workers=2)

    whole = [batch["ids"].tolist() for batch in loader()]
    first = loader()
    iterator = iter(first)
    begun = [next(iterator)["ids"].tolist() for _ in range(4)]
    after = loader()
    after.load_state_dict(first.state_dict())
    assert begun + [batch["ids"].tolist() for batch in after] == whole


def test_a_state_of_something_else_is_refused(table: str) -> None:
    state = opened(table, chunk=2).state_dict()
    with pytest.raises(InputError, match=r"another stream: version was 3, is 4; chunk was 2, is 1"):
        opened(table, 4).load_state_dict(state)
    middle = opened(table, chunk=4)
    middle.load_state_dict(middle.state_at(6))
    with pytest.raises(InputError, match="taken by one of 1 workers after 6 rows, and 2 workers cannot go on with it"):
        middle._dealt_out_to(2)  # as each of two workers asks; PyTorch takes ten seconds to end workers that raised


def test_a_version_that_is_gone_is_named(table: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="version 77 cannot be read; the table has versions 0 to 5"):
        opened(table, 77)
    with pytest.raises(InputError, match="there is no Delta table"):
        opened(str(tmp_path / "none"), 0)
    with pytest.raises(InputError, match="training_set 'none', packing 'p': there are no rows"):
        stream.blocks(table, 3, "none", "p")
    path = str(tmp_path / "training_blocks")
    write(path, packed(0))
    found = stream.blocks(path, 0, "set", "p")
    DeltaTable(path).delete()
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(InputError, match=r"version 0 cannot be read.*removed by VACUUM"):
        list(found)
    with pytest.raises(InputError, match=r"version 0 cannot be read.*removed by VACUUM"):
        stream.blocks(path, 0, "set", "p")


def test_rows_that_are_missing_or_double_are_refused(tmp_path: Path) -> None:
    missing, double = str(tmp_path / "missing"), str(tmp_path / "double")
    write(missing, packed(0) + packed(1)[1:])
    with pytest.raises(InputError, match="rows from shard 1, block 1 on have rows missing before them"):
        stream.blocks(missing, 0, "set", "p")
    write(double, packed(0))
    write(double, packed(0)[3:5])
    with pytest.raises(InputError, match=r"rows from shard 0, block \d+ on come twice"):
        stream.blocks(double, 1, "set", "p")


def test_texts_come_in_the_order_of_their_positions(tmp_path: Path) -> None:
    path = str(tmp_path / "training_documents")
    for places in ([3, 1, 2, 0], [9, 8], [4, 7, 5], [6]):
        found = {"training_set": ["set"] * len(places), "position": places, "text": [f"text {n}" for n in places]}
        write_deltalake(path, pa.table({**found, "tokens": [n + 1 for n in places]}), mode="append")
    found = stream.texts(path, 3, "set")
    assert list(found) == [{"position": n, "text": f"text {n}", "tokens": n + 1} for n in range(10)]
    assert found.tokens == found.handed_out == 55
    with pytest.raises(ConfigError, match="kind is 'blocks', wanted one of documents, examples, pairs"):
        stream.texts(path, 3, "set", "blocks")


def test_an_object_store_is_read_through_delta_and_not_by_forked_workers(table: str) -> None:
    found = opened(f"file://{table}", storage_options={"timeout": "10s"})
    assert tokens_of(found) == WANTED
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        pytest.raises(InputError, match="give the DataLoader multiprocessing_context='spawn'"),
    ):
        pool.apply(list, (found,))


@pytest.mark.slow  # a spawned worker loads PyTorch anew
def test_spawned_workers_read_an_object_store(table: str) -> None:
    found = opened(f"file://{table}")
    spawned = DataLoader(found, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert tokens_of(iter(spawned)) == WANTED


def test_datasets_of_hugging_face_have_the_same_rows(table: str, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    found = opened(table)
    mapped = stream.dataset(found, cache=str(tmp_path))
    assert [row["ids"][: len(ids)] for row, ids in zip(mapped, WANTED, strict=True)] == WANTED
    assert [row["ids"].tolist() for row in stream.iterable_dataset(found)] == [row["ids"] for row in mapped]
    shards = stream.iterable_dataset(opened(table, chunk=4), parts=2)
    assert shards.num_shards == 2
    halves = [tokens_of(opened(table, chunk=4, rank=rank, world=2)) for rank in range(2)]
    dealt = halves[0] + halves[1]
    assert [row["ids"][: len(ids)].tolist() for row, ids in zip(shards, dealt, strict=True)] == dealt


def test_ranks_and_chunks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"chunk is 0, wanted at least 1; rank is 2, wanted 0 to world - 1 = 1"):
        Part(0, 2, 2)


def test_items_are_made_while_the_ones_before_are_used() -> None:
    made: list[int] = []

    def values() -> Iterator[int]:
        for n in range(6):
            made.append(n)
            yield n

    ahead = stream._ahead(values(), 2)
    assert next(ahead) == 0
    assert list(ahead) == [1, 2, 3, 4, 5]
    broken = stream._ahead((1 // n for n in (1, 0)), 2)
    assert next(broken) == 1
    with pytest.raises(ZeroDivisionError):
        next(broken)
    torch.manual_seed(0)
