"""Sets as torch datasets: read at a version, in the order of the key, cut by rank."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from etl.align import data
from etl.align.losses import IGNORED
from etl.errors import InputError
from tests.align.tiny import Saved

TEXTS = [f"Row {n} of the table. " * (1 + n % 5) for n in range(40)]


def documents(places: list[int], name: str = "set") -> pa.Table:
    return pa.table(
        {
            "training_set": [name] * len(places),
            "position": pa.array(places, pa.int64()),
            "text": [TEXTS[n] for n in places],
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Version 3: the set in four files out of order; 4: another set beside it; 5: files joined; 6: the set shorter."""
    path = str(tmp_path / "training_documents")
    write_deltalake(path, documents([3, 1, 2, 0]))
    for part in ([9, 8], [4, 7, 5], [6]):
        write_deltalake(path, documents(part), mode="append")
    write_deltalake(path, documents([0, 1], "other"), mode="append")
    DeltaTable(path).optimize.compact()
    write_deltalake(path, documents([0, 1, 2]), mode="overwrite", predicate="training_set = 'set'")
    return path


def test_a_version_is_read_in_the_order_of_the_key(table: str) -> None:
    found = data.read(table, 3, "set", "documents")
    assert found["position"].to_pylist() == list(range(10))
    assert found["text"].to_pylist() == TEXTS[:10]


def test_rearranged_files_give_the_same_rows_and_another_version_others(table: str) -> None:
    assert data.read(table, 5, "set", "documents").equals(data.read(table, 3, "set", "documents"))
    assert data.read(table, 6, "set", "documents").num_rows == 3


def test_a_version_that_was_vacuumed_is_named(table: str) -> None:
    DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(InputError, match=r"version 3 cannot be read; the table has versions 0 to \d+"):
        data.read(table, 3, "set", "documents")
    with pytest.raises(InputError, match="version 77 cannot be read"):
        data.read(table, 77, "set", "documents")


def test_what_is_not_there_is_said(table: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows of training set 'none'"):
        data.read(table, 3, "none", "documents")
    with pytest.raises(InputError, match="there is no Delta table"):
        data.read(str(tmp_path / "nothing"), 0, "set", "documents")
    write_deltalake(table, documents([0, 2], "gap"), mode="append")
    with pytest.raises(InputError, match="positions of training set 'gap' are not 0 to 1"):
        data.read(table, DeltaTable(table).version(), "gap", "documents")


def test_a_set_that_memory_does_not_hold_is_refused(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "EXPANSION", 1 << 40)
    with pytest.raises(InputError, match=r"'set' takes about .* GB in memory, .* are free: draw a smaller set"):
        data.read(table, 3, "set", "documents")


def test_blocks_are_the_stream_of_all_documents(loaded: Saved) -> None:
    rows = documents(list(range(20)))
    blocks = data.Blocks(rows, loaded.tokenizer, context=32)
    stream = [token for n in range(len(blocks)) for token in blocks[n]["ids"]]
    wanted = "".join(f"{text}<|endoftext|>" for text in TEXTS[:20])
    assert wanted.startswith(loaded.tokenizer.decode(stream))
    assert len(wanted) - len(loaded.tokenizer.decode(stream)) < 32 * 8, "less than a block is left out"
    ends = [loaded.tokenizer.decode(stream[: 32 * n]).count("<|endoftext|>") for n in range(1, len(blocks) + 1)]
    begun = [blocks.rows_of(n) for n in range(1, len(blocks) + 1)]
    assert all(finished <= seen <= finished + 1 for finished, seen in zip(ends, begun, strict=True))


def messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_examples_without_an_answer_in_the_context_are_left_out_and_counted(loaded: Saved) -> None:
    rows = pa.table({"messages": [messages("Where?", "In the lake."), messages("cold " * 60, "Yes."),
                                  messages("Where?", "In the lake. " * 60)]})  # fmt: skip
    found = data.examples(rows, loaded.tokenizer, context=48)
    assert (found.positions, found.left_out, found.cut) == ([0, 2], 1, 2)
    assert [len(item["ids"]) for item in found.items][1] == 48
    assert found.rows_of(2) == 3, "rows of the set, those left out among them"


def test_pairs_learn_from_what_follows_the_prompt(loaded: Saved) -> None:
    prompt = [*messages("Where?", "In the lake."), {"role": "user", "content": "Is it cold?"}]
    sides = [[{"role": "assistant", "content": text}] for text in ("It is.", "No, it is " + "very " * 60 + "warm.")]
    rows = pa.table({"prompt": [prompt] * 2, "chosen": [sides[0], sides[0]], "rejected": [sides[0][:1], sides[1]]})
    found = data.pairs(rows, loaded.tokenizer, context=64)
    assert (found.positions, found.left_out) == ([0], 1), "a cut answer would be another answer"
    labels = [label for label in found[0]["chosen_labels"] if label != IGNORED]
    assert loaded.tokenizer.decode(labels) == "It is.<|im_end|>", "the answer in the prompt is not learned"


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), st.integers(0, 3))
def test_ranks_share_each_step_and_a_resumed_run_goes_on(
    items: int, share: int, world: int, steps: int, seed: int
) -> None:
    batch = share * world

    def of(rank: int, count: int, start: int = 0) -> list[list[int]]:
        return list(data.Steps(items, batch, steps, seed=seed, rank=rank, world=count, start=start))

    alone = of(0, 1)
    together = [sorted(chain(*parts)) for parts in zip(*(of(rank, world) for rank in range(world)), strict=True)]
    assert together == [sorted(step) for step in alone]
    assert of(0, 1, start=steps // 2) == alone[steps // 2 :]
    flat = [index for step in alone for index in step]
    assert flat[:items] == list(range(items))[: len(flat)], "the first pass is in order"
    passes = Counter(flat)
    assert max(passes.values()) - min(passes.get(n, 0) for n in range(items)) <= 1, "every pass has every item once"


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match="a batch of 5 cannot be cut into equal parts for 2 processes"):
        data.Steps(10, 5, 1, seed=1, rank=0, world=2)
