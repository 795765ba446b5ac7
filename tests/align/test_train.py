"""Training as Accelerate starts it: two processes really two, killed and resumed to the bit, and clear refusals."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from deltalake import write_deltalake

from etl import config, resources
from etl.align import job as jobs
from etl.align import launch, methods, train
from etl.align.config import Optimizer, Training
from etl.align.job import RESULT, Job
from etl.errors import ConfigError, InputError, TrainingError
from tests.align import packs, tiny
from tests.align.tiny import Saved

QUIET = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sixty texts and as many examples and pairs, each in a table."""
    folder = tmp_path_factory.mktemp("sets")
    places = range(60)
    question = [[{"role": "user", "content": f"What is {n} plus one?"}] for n in places]
    good, bad = (
        [[{"role": "assistant", "content": text.format(n + 1)}] for n in places] for text in ("It is {}.", "No {}")
    )
    columns = {
        "documents": {"text": [f"Row {n} is read in the order of its key. " * 3 for n in places]},
        "examples": {"messages": [[*q, *a] for q, a in zip(question, good, strict=True)]},
        "pairs": {"prompt": question, "chosen": good, "rejected": bad},
    }
    for kind, values in columns.items():
        rows = pa.table({"training_set": ["set"] * 60, "position": pa.array(places, pa.int64()), **values})
        write_deltalake(str(folder / kind), rows)
    return str(folder)


def prepared(folder: Path, table: str, training: Training, *, world: int = 1, parent: str | None = None) -> Path:
    job = Job(training, f"{table}/{training.kind}", 0, "content", world, parent)
    folder.mkdir()
    jobs.write(folder, job)
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found


def started(training: Training, folder: Path, table: str, name: str = "cpu") -> dict[str, Any]:
    chosen = launch.read(name)
    launch.run(chosen, prepared(folder, table, training, world=chosen.processes), lambda line: None)
    return result_of(folder)


TRAINING = dataclasses.replace(tiny.BASE, training_set="set", context=32, max_steps=None, epochs=3.0)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.write(tmp_path_factory.mktemp("packed"))


def trained(folder: Path, job: Job) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    jobs.write(folder, job)
    train.train(folder)
    return result_of(folder)


def test_an_epoch_of_a_packed_set_reads_as_many_tokens_as_were_packed(blocks: Path, tmp_path: Path) -> None:
    once = dataclasses.replace(packs.TRAINING, epochs=1.0)
    result = trained(tmp_path / "job", packs.job(blocks, once))
    assert result["tokens"] == packs.TOKENS
    assert result["rows"] == len(packs.TEXTS)
    assert result["steps"] == -(-len(packs.blocks()) // once.batch)
    assert result["metrics"]["last_loss"] < result["metrics"]["first_loss"]


def test_blocks_are_learned_from_as_the_same_documents_in_memory(blocks: Path, tmp_path: Path) -> None:
    """Both read the same stream of tokens in the same blocks, as far as a shard goes; to the bit."""
    parent = trained(tmp_path / "parent", packs.job(blocks, dataclasses.replace(packs.TRAINING, max_steps=1)))
    place = str(tmp_path / "parent" / "model")
    change = {"parent": "parent", "architecture": None, "batch": 4, "micro_batch": 2, "epochs": 1.0, "max_steps": 4}
    training = dataclasses.replace(packs.TRAINING, **change)
    packed = packs.job(blocks, training, parent=place)
    held = dataclasses.replace(packed, blocks=None, training=dataclasses.replace(training, packing=None))
    found = [trained(tmp_path / name, job) for name, job in (("packed", packed), ("held", held))]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"] != parent["weights_sha256"]


class _Killed(BaseException):
    pass


def test_a_training_that_ends_after_any_step_goes_on_to_the_same_weights(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch does not divide an epoch, so its last step is smaller. A real kill takes seconds, see below."""
    job = packs.job(blocks, dataclasses.replace(packs.TRAINING, epochs=2.0, checkpoint_steps=1, checkpoints=2))
    whole = trained(tmp_path / "whole", job)
    assert whole["steps"] == 6
    step_of, left = train._Run.step, [0]

    def step(run: train._Run, *args: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed
        step_of(run, *args)

    monkeypatch.setattr(train._Run, "step", step)
    for steps in (2, 3, 4):  # in an epoch, at its end, and in the next
        folder = tmp_path / f"{steps}"
        left[0] = steps
        with pytest.raises(_Killed):
            trained(folder, job)
        assert [step for step, _ in train.checkpoints(folder)] == list(range(max(1, steps - 1), steps + 1))
        shutil.copytree(folder / f"checkpoint-{steps}", folder / f".checkpoint-{steps + 1}")
        left[0] = whole["steps"]
        assert trained(folder, job)["weights_sha256"] == whole["weights_sha256"]
        lines = jobs.log(folder)
        assert [line["step"] for line in lines] == list(range(whole["steps"]))
        assert [line["step"] for line in lines if line["is_resumed"]] == [steps]
        assert lines[-1]["tokens"] == whole["tokens"] == 2 * packs.TOKENS
        assert [step for step, _ in train.checkpoints(folder)] == [4, 5]
        assert not list(folder.glob(".checkpoint-*")), "what a kill left in the middle of a checkpoint is none"


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(table: str, tmp_path: Path) -> None:
    """Slow because each start of a process loads PyTorch."""
    whole = started(TRAINING, tmp_path / "whole", table)
    folder = prepared(tmp_path / "killed", table, TRAINING)
    with (tmp_path / "log").open("wb") as log:
        command = launch.read("cpu").command(folder)
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=QUIET)
        deadline = time.monotonic() + 120
        while not list(folder.glob("checkpoint-*")) and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / RESULT).exists(), "killed in the middle"
    lines: list[dict[str, Any]] = []
    launch.run(launch.read("cpu"), folder, lines.append)
    assert "resumed at step" in (folder / launch.OUTPUT).read_text()
    assert result_of(folder)["weights_sha256"] == whole["weights_sha256"]
    assert [line["step"] for line in lines] == list(range(whole["steps"])), "the log goes on where it was"
    assert (folder / "model" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model" / "model.safetensors"
    ).read_bytes()


def test_a_log_in_the_place_of_another_is_followed_from_its_start(tmp_path: Path) -> None:
    """A resumed training drops the steps after its checkpoint, so its log may be shorter, longer or as long."""
    log = tmp_path / "log"
    log.write_text('{"step": 0}\n{"step": 1}\n')
    lines = launch._new_lines(log)
    assert next(lines) == [{"step": 0}, {"step": 1}]
    for new in ([10], [10, 11], [10, 11, 12, 13]):
        other = tmp_path / "other"
        other.write_text("".join(f'{{"step": {step}}}\n' for step in new))
        other.rename(log)
        assert [line["step"] for line in next(lines)] == new
    with log.open("a") as file:
        file.write('{"step": 14}\n{"st')
    assert next(lines) == [{"step": 14}], "a line that is still being written waits"


@pytest.mark.slow
def test_two_processes_are_two_and_give_what_one_gives(table: str, tmp_path: Path) -> None:
    """Slow because each start of a process loads PyTorch. The sums of two processes round differently, no more."""
    training = dataclasses.replace(TRAINING, max_steps=4)
    two = started(training, tmp_path / "two", table, "cpu-two")
    assert (two["environment"]["world_size"], two["environment"]["distributed"]) == ("2", "MULTI_CPU")
    one = started(training, tmp_path / "one", table)
    assert two["metrics"]["last_loss"] == pytest.approx(one["metrics"]["last_loss"], rel=1e-4)
    assert two["tokens"] == one["tokens"]


def test_one_process_where_two_were_asked_for_is_refused(table: str, tmp_path: Path) -> None:
    """What `accelerate launch --cpu --num_processes 2` does in silence."""
    with pytest.raises(ConfigError, match="1 processes are running, 2 were asked for"):
        train.train(prepared(tmp_path / "job", table, TRAINING, world=2))


@pytest.mark.parametrize("method", ["pretrain", "sft", "dpo", "simpo", "orpo"])
def test_each_method_lowers_its_loss(method: str, table: str, tmp_path: Path, loaded: Saved) -> None:
    training = dataclasses.replace(
        TRAINING, method=method, parent="tiny", architecture=None, vocab_size=None, epochs=2.0, context=64
    )
    train.train(prepared(tmp_path / "job", table, training, parent=str(loaded.folder)))
    metrics = result_of(tmp_path / "job")["metrics"]
    assert metrics["last_loss"] < metrics["first_loss"]
    if training.kind == "pairs":
        assert metrics["last_margin"] > metrics["first_margin"]


def test_micro_batches_change_nothing_but_rounding(table: str, tmp_path: Path, loaded: Saved) -> None:
    """The mean is over all tokens of the step: examples of different lengths would show a mean of means."""
    losses = []
    for micro in (8, 2):
        training = dataclasses.replace(
            tiny.SFT, training_set="set", parent="tiny", micro_batch=micro, max_steps=4, context=64
        )
        train.train(prepared(tmp_path / f"{micro}", table, training, parent=str(loaded.folder)))
        losses.append(result_of(tmp_path / f"{micro}")["metrics"]["last_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_reference_is_the_model_as_it_begins(table: str, tmp_path: Path, loaded: Saved) -> None:
    """So the first loss of DPO is log 2, and its margin nothing."""
    training = dataclasses.replace(tiny.DPO, training_set="set", parent="tiny", max_steps=1, context=64)
    train.train(prepared(tmp_path / "job", table, training, parent=str(loaded.folder)))
    metrics = result_of(tmp_path / "job")["metrics"]
    assert metrics["first_loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert metrics["first_margin"] == pytest.approx(0, abs=1e-4)


REFUSED = {
    "a batch that processes and micro-batches do not divide": (
        {"batch": 9, "micro_batch": 2},
        ConfigError,
        r"batch is 9, wanted a multiple of processes x micro_batch = 1 x 2",
    ),
    "a context longer than the parent's": (
        {"context": 4096},
        ConfigError,
        "context is 4096, tiny has 128",
    ),
    "a rate that blows up": (
        {"optimizer": Optimizer(lr=1e30, clip=1e30, warmup=0.0)},
        InputError,
        "the loss of step .* is nan",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused(name: str, table: str, tmp_path: Path, loaded: Saved) -> None:
    change, kind, words = REFUSED[name]
    training = dataclasses.replace(tiny.SFT, training_set="set", parent="tiny", **{"context": 64, **change})
    with pytest.raises(kind, match=words):
        train.train(prepared(tmp_path / "job", table, training, parent=str(loaded.folder)))


def test_another_parent_is_refused(table: str, tmp_path: Path, loaded: Saved) -> None:
    training = dataclasses.replace(tiny.SFT, training_set="set")
    folder = prepared(tmp_path / "job", table, training, parent=str(loaded.folder))
    jobs.write(folder, dataclasses.replace(jobs.read(folder), parent_sha256="0" * 64))
    with pytest.raises(InputError, match=r"the weights have SHA-256 [0-9a-f]{16}\.\.\., wanted 0000000000000000"):
        train.train(folder)


def test_a_model_that_memory_does_not_hold_is_refused(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 20})())
    monkeypatch.setattr("etl.align.data._check_memory", lambda *_: None)
    with pytest.raises(InputError, match=r"at least .* GB on each process .*: set a smaller micro_batch"):
        train.train(prepared(tmp_path / "job", table, TRAINING))


def test_the_words_of_a_failed_process_arrive(table: str, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "job", table, dataclasses.replace(TRAINING, training_set="none"))
    with pytest.raises(TrainingError, match=r"^.*has no rows of training set 'none'$"):
        launch.run(launch.read("cpu"), folder, lambda line: None)


def test_a_launch_says_how_many_processes(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("use_cpu: true\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: 'num_processes' is None, wanted a number of processes"):
        launch.read(str(tmp_path / "x.yaml"))
    assert "torch.distributed.run" in launch.read("cpu-two").command(tmp_path)
    assert "accelerate.commands.launch" in launch.read("fsdp2").command(tmp_path)


@pytest.mark.parametrize(
    "path", sorted((resources.folder("conf") / "accelerate").glob("*.yaml")), ids=lambda path: path.stem
)
def test_accelerate_reads_our_files_as_they_are_meant(path: Path) -> None:
    """As far as it goes without GPUs; FSDP2 is trained with in test_processes."""
    arguments = launch_command_parser().parse_args(["--config_file", str(path), "script"])
    settings, defaults, _ = _validate_launch_command(arguments)
    assert settings.num_processes == config.read_yaml(path)["num_processes"]
    assert settings.use_cpu == path.stem.startswith("cpu")
    assert settings.use_fsdp == (path.stem == "fsdp2")
    assert settings.use_deepspeed == path.stem.startswith("deepspeed")
    if settings.use_fsdp:
        assert int(settings.fsdp_version) == 2
    if settings.use_deepspeed:
        assert int(settings.zero_stage) == (2 if path.stem.endswith("zero2") else 3)
        assert "gradient_accumulation_steps" not in defaults.deepspeed_config, "the training says it"


def test_deepspeed_gets_the_batches_of_the_training() -> None:
    """It takes those of its own configuration, or of the environment, for better ones."""
    plugin = SimpleNamespace(deepspeed_config={"gradient_accumulation_steps": 1, "zero_optimization": {"stage": 3}})
    accelerator: Any = SimpleNamespace(
        distributed_type=DistributedType.DEEPSPEED, num_processes=2, state=SimpleNamespace(deepspeed_plugin=plugin)
    )
    train._tell_deepspeed(accelerator, dataclasses.replace(TRAINING, batch=12), 3)
    assert plugin.deepspeed_config == {
        "train_micro_batch_size_per_gpu": 3,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": 3},
    }


def test_deepspeed_that_is_not_installed_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"deepspeed\.yaml wants DeepSpeed, which is not installed: pip install"):
        launch.read("deepspeed")


def test_a_number_in_the_environment_does_not_change_the_batch(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate takes it for the number of micro-batches of a step, and steps would be taken between them."""
    job = packs.job(blocks, dataclasses.replace(packs.TRAINING, max_steps=2))
    wanted = trained(tmp_path / "without", job)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    assert trained(tmp_path / "with", job)["weights_sha256"] == wanted["weights_sha256"]


def test_padding_is_no_input() -> None:
    """A row gives the same log-probabilities alone and beside a longer one."""
    items = [{"ids": [5, 6, 7], "labels": [5, 6, 7]}, {"ids": [8] * 9, "labels": [8] * 9}]
    alone, both = (methods.METHODS["sft"].collate(some, 0) for some in (items[:1], items))
    assert both["attention"][0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert (alone["count"], both["count"]) == (2, 10)
    assert torch.equal(both["ids"][0, :3], alone["ids"][0])
