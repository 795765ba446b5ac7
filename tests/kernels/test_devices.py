"""A process uses one GPU, the one that it was given, and says once where its models run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.kernels import devices
from etl.stages import devices as tasks


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A process that has chosen nothing, on a machine without a driver."""
    for name in (devices.VISIBLE, "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # what a test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "_taken", [])
    caches = (devices._installed, devices._warn_kept, devices.device)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def install(tmp_path: Path, script: str) -> None:
    """An nvidia-smi on the path."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_the_address_of_a_scheduler_is_what_cuda_sees() -> None:
    assert devices.take(["3"], number=7) == "3"
    assert os.environ[devices.VISIBLE] == "3"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_of_several_addresses_the_first_is_used() -> None:
    assert devices.take(["2", "3"], number=1) == "2"


@pytest.mark.parametrize(("number", "wanted"), [(0, "0"), (1, "1"), (2, "2"), (3, "0"), (7, "1")])
def test_without_addresses_partitions_are_dealt_out_over_the_gpus(tmp_path: Path, number: int, wanted: str) -> None:
    install(tmp_path, "printf '0\\n1\\n2\\n'")
    assert devices.take(number=number) == wanted


def test_only_gpus_that_the_process_may_use_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "5, GPU-8932f937")
    assert devices.visible() == ["5", "GPU-8932f937"]
    assert devices.take(number=1) == "GPU-8932f937"


@pytest.mark.parametrize(("told", "seen"), [("", []), ("-1", []), ("1,-1,2", ["1"]), ("NoDevFiles", ["NoDevFiles"])])
def test_what_is_hidden_from_cuda_is_not_used(monkeypatch: pytest.MonkeyPatch, told: str, seen: list[str]) -> None:
    monkeypatch.setenv(devices.VISIBLE, told)
    assert devices.visible() == seen


@pytest.mark.parametrize("script", ["exit 9", "echo No devices were found >&2; exit 6", None])
def test_a_machine_without_a_gpu_that_works_has_none(tmp_path: Path, script: str | None) -> None:
    if script:
        install(tmp_path, script)
    assert devices.visible() == []
    assert devices.take(number=1) is None
    assert devices.VISIBLE not in os.environ


def test_a_process_keeps_its_gpu_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [devices.take([address]) for address in ("1", "1", "0", "2")] == ["1"] * 4
    assert os.environ[devices.VISIBLE] == "1"
    assert [record.message for record in caplog.records if "stays on GPU 1" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 1


def test_where_there_is_no_gpu_that_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with caplog.at_level(logging.INFO):
        assert [devices.device() for _ in range(3)] == ["cpu"] * 3
    assert [record.message for record in caplog.records] == ["models run on the CPU: PyTorch finds no GPU"]


def test_outside_of_a_task_nothing_is_chosen() -> None:
    assert tasks.claim() is None
    assert devices.VISIBLE not in os.environ


def test_choosing_a_gpu_loads_no_torch(tmp_path: Path) -> None:
    """CUDA reads the choice once, when PyTorch first uses it."""
    import subprocess

    code = "import sys; from etl.kernels import devices; devices.take(['0']); sys.exit('torch' in sys.modules)"
    root = Path(devices.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(root)}).returncode == 0
