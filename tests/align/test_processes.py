"""One process, two, and two that share the weights (FSDP2): the same training, and what a kill leaves goes on.

Slow because each start takes seconds. On two processes sums round differently than on one, and with FSDP2 differently
again; of one kind, two runs are the same bits.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from etl.align import job as jobs
from etl.align import train
from etl.align.job import LOG, MODEL, RESULT
from tests.align import packs, processes, sharded

pytestmark = pytest.mark.slow

KINDS: dict[str, tuple[int, Callable[[Path], None]]] = {
    "one": (1, processes.plain),
    "two": (2, processes.plain),
    "fsdp2": (2, sharded.fsdp2),
}
# 214 blocks in steps of 100, the last of an epoch with 14: in two processes, both have less than a micro-batch of 10.
TRAINING = dataclasses.replace(packs.TRAINING, epochs=2.0, checkpoint_steps=1, checkpoints=2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.write(tmp_path_factory.mktemp("packed"))


def begin(folder: Path, tables: Path, kind: str) -> list[Any]:
    world, work = KINDS[kind]
    folder.mkdir(exist_ok=True)
    jobs.write(folder, packs.job(tables, TRAINING, world=world))
    return processes.start(folder, world, work)


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return found


@pytest.fixture(scope="module")
def whole(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of trainings of each kind that nothing interrupted."""
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        processes.join(begin(folders[kind], tables, kind), folders[kind])
    return folders


def test_processes_change_nothing_but_rounding(whole: dict[str, Path]) -> None:
    """Within 1e-5 of weights whose step is 3e-3: 500 times as much would be a batch that differs by a block."""
    found = {kind: load_file(folder / MODEL / "model.safetensors") for kind, folder in whole.items()}
    for kind, weights in found.items():
        assert result(whole[kind])["tokens"] == 2 * packs.TOKENS
        assert result(whole[kind])["environment"]["world_size"] == str(KINDS[kind][0])
        assert weights.keys() == found["one"].keys()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, found["one"][name], rtol=0, atol=1e-5)
    kinds = {kind: result(folder)["environment"]["distributed"] for kind, folder in whole.items()}
    assert kinds == {"one": "NO", "two": "MULTI_CPU", "fsdp2": "FSDP"}


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_were_killed_go_on_to_the_same_bits(
    kind: str, tables: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    found = begin(tmp_path, tables, kind)
    log, deadline = tmp_path / LOG, time.monotonic() + 120
    while not log.is_file() or len(jobs.log(tmp_path)) < 3:
        assert time.monotonic() < deadline and all(each.is_alive() for each in found)
        time.sleep(0.01)
    for each in found:
        each.kill()
        each.join()
    assert not (tmp_path / RESULT).exists()
    kept = [step for step, _ in train.checkpoints(tmp_path)]
    assert kept and len(kept) <= TRAINING.checkpoints + 1, "a kill may come before the oldest is removed"
    processes.join(begin(tmp_path, tables, kind), tmp_path)
    assert result(tmp_path)["weights_sha256"] == result(whole[kind])["weights_sha256"]
    assert result(tmp_path)["tokens"] == 2 * packs.TOKENS
    assert [line["step"] for line in jobs.log(tmp_path) if line["is_resumed"]] == kept[-1:]
