"""What steps read: every token of an epoch once, the same whether a training was interrupted or not."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.align import feed, models, rows
from etl.align.feed import Packed
from etl.align.losses import IGNORED
from etl.align.rows import Source
from etl.errors import InputError
from etl.kernels import tokens
from tests.align import packs
from tests.align.tiny import Saved

WANTED = [row["ids"] for row in packs.blocks()]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.write(tmp_path_factory.mktemp("packed"))


def opened(tables: Path, batch: int, epochs: float, rank: int = 0, world: int = 1) -> Packed:
    training = dataclasses.replace(packs.TRAINING, batch=batch, micro_batch=None, epochs=epochs)
    return Packed(packs.job(tables, training, world=world), rank, world)


def read(found: Packed, start: int = 0) -> Iterator[list[list[int]]]:
    for items in found.batches(start):
        yield [item["ids"][item["labels"] != IGNORED].tolist() for item in items]


@given(share=st.integers(1, 40), world=st.integers(1, 3), epochs=st.sampled_from([0.3, 1.0, 2.0, 2.5]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_epoch_has_every_block_once_and_in_order(tables: Path, share: int, world: int, epochs: float) -> None:
    batch = share * world
    shares = [list(read(opened(tables, batch, epochs, rank, world))) for rank in range(world)]
    steps = [[block for part in parts for block in part] for parts in zip(*shares, strict=True)]
    one_epoch = -(-len(WANTED) // batch)
    for turn in range(-(-len(steps) // one_epoch)):
        mine = [block for step in steps[turn * one_epoch : (turn + 1) * one_epoch] for block in step]
        assert mine == WANTED[: len(mine)]
        assert len(mine) == len(WANTED) or turn == len(steps) // one_epoch
    assert len(steps) == max(1, int(epochs) * one_epoch + round(epochs % 1 * len(WANTED) / batch))


@pytest.mark.parametrize(("batch", "world"), [(100, 1), (len(WANTED), 1), (34, 2)])
def test_reading_goes_on_after_any_step(tables: Path, batch: int, world: int) -> None:
    for rank in range(world):
        whole = list(read(opened(tables, batch, 2.5, rank, world)))
        for start in range(1, len(whole) + 1):
            before = opened(tables, batch, 2.5, rank, world)
            begun = list(islice(read(before), start))
            after = opened(tables, batch, 2.5, rank, world)
            after.load_state_dict(json.loads(json.dumps(before.state_dict())))
            assert begun + list(read(after, start)) == whole


def test_a_place_in_other_blocks_is_refused(tables: Path) -> None:
    state = opened(tables, 8, 1.0).state_dict()
    with pytest.raises(InputError, match="another stream: chunk was 8, is 4; rank was 0, is 1; world was 1, is 2"):
        opened(tables, 8, 1.0, rank=1, world=2).load_state_dict(state)


def test_documents_that_were_begun_are_counted_up_to_the_shard(tables: Path) -> None:
    place = packs.job(tables).blocks
    assert place is not None
    index = rows.index(Source(place.table, place.version, rows.BLOCKS, {"training_set": "set", "packing": "p"}))
    seen: set[int] = set()
    for number, row in enumerate(packs.blocks(), 1):
        seen |= set(row["documents"])
        assert feed.documents_of(index, number) == max(seen) + 1
        assert seen == set(range(max(seen) + 1))


def test_the_tokenizer_of_the_packing_is_that_of_the_model(tables: Path, loaded: Saved) -> None:
    found = opened(tables, 8, 1.0)
    found.check(models.known_tokenizer("bytes", 256, "chatml"))
    with pytest.raises(InputError, match="the tokenizer of the model makes other tokens of document 0 than bytes"):
        found.check(loaded.tokenizer)


@functools.cache
def known() -> dict[str, Any]:
    ends = {"gpt2": 50256, "bytes": 256}
    return {name: models.known_tokenizer(name, end, "chatml") for name, end in ends.items()}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(max_examples=50, deadline=None)
def test_tokenizers_by_name_give_a_model_the_tokens_that_the_lake_counts(text: str) -> None:
    for name, tokenizer in known().items():
        encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert encoded == tokens.encoder(name)([text])[0]
        assert tokenizer.decode(encoded) == text


@pytest.mark.parametrize(
    "change", [{"vocab_size": 512}, {"packing": None}, {"parent": "x"}, {"method": "sft", "parent": "x"}]
)
def test_a_packing_stands_in_the_place_of_a_vocabulary(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"wanted either parent, or architecture and one of vocab_size and packing"):
        dataclasses.replace(packs.TRAINING, **change)


def test_a_tokenizer_without_the_end_of_a_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tokenizer .*none\.json: "):
        models.known_tokenizer(str(tmp_path / "none.json"), 0, "chatml")
    known()["bytes"].save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no token 999, which ends the texts of the packing"):
        models.known_tokenizer(str(tmp_path / "tokenizer.json"), 999, "chatml")
