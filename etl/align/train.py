"""The training loop that Accelerate starts on every process.

    accelerate launch --config_file conf/accelerate/cpu.yaml -m etl.align.train JOB

JOB is a folder with the file ``job.json`` that `etl.align.run` writes; weights, log and checkpoints go below it. The
loop knows no method: a method is a dataset, a way to batch it, and a loss, see `METHODS`.

The loss of a step is the mean over all tokens, or all pairs, of all processes and micro-batches, so the cut into
micro-batches and processes changes it by rounding alone. On a CPU, the same job on the same number of processes and
threads gives the same bits, also when it was killed and resumed from a checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import accelerate
import psutil
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import DistributedType, GradientAccumulationPlugin, set_seed

from etl.align import chat, data, losses, models, process
from etl.align import job as jobs
from etl.align.config import Optimizer, Training
from etl.align.feed import Feed, Held, Packed
from etl.align.job import CHECKPOINT, LOG, MODEL, RESULT, Job
from etl.align.methods import METHODS, PACKED, Batch, Loss, logits
from etl.errors import ConfigError, InputError

logger = logging.getLogger(__name__)


def train(folder: Path) -> None:
    """Train as ``job.json`` says and leave ``model`` and ``result.json`` in `folder`.

    Raises:
        ConfigError: batch, processes and chat template do not fit each other.
        InputError: the set cannot be read, the parent is another, or memory does not hold the model.
    """
    job = jobs.read(folder)
    training = job.training
    method = METHODS[training.method] if job.blocks is None else PACKED
    micro = _micro_batch(training, job.world_size)
    share = training.batch // job.world_size
    accelerator = process.begin(
        training.threads,
        job.world_size,
        mixed_precision="bf16" if training.dtype == "bfloat16" else "no",
        # As a number, it would give way to what `accelerate launch` puts into the environment.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=share // micro),
    )
    model, tokenizer, feed = _begin(job, accelerator)
    collate = partial(method.collate, filler=tokenizer.pad_token_id)
    optimizer = models.adamw(model, training.optimizer)
    _check_memory(model, training, micro, accelerator)
    _tell_deepspeed(accelerator, training, micro)
    model, optimizer = accelerator.prepare(model, optimizer)
    if isinstance(feed, Held) and method.needs_reference:
        _add_reference(accelerator, model, feed.dataset, collate, micro)
    model.train()
    set_seed(training.seed, device_specific=True)  # of dropout, in models that have it
    run = _Run(folder, job, accelerator, model, optimizer, feed)
    start = run.resume()
    for step, items in enumerate(feed.batches(start), start):
        run.step(step, [collate(items[at : at + micro]) for at in range(0, share, micro)], method.loss)
    run.finish(tokenizer)


def _micro_batch(training: Training, world: int) -> int:
    micro = training.micro_batch or training.batch // world
    if micro < 1 or training.batch % (world * micro):
        raise ConfigError(
            f"batch is {training.batch}, wanted a multiple of processes x micro_batch = {world} x {max(1, micro)}"
        )
    return micro


def _begin(job: Job, accelerator: Accelerator) -> tuple[Any, Any, Feed]:
    """The model and the tokenizer as training finds them, new or the parent's, and what this process reads."""
    training, place = job.training, (accelerator.process_index, accelerator.num_processes)
    if job.blocks is not None:
        model, tokenizer = _parent(job) if job.parent_location else _new(job)
        packed = Packed(job, *place)
        packed.check(tokenizer)
        return model, tokenizer, packed
    rows = data.read(job.table, job.version, training.training_set, training.kind)
    model, tokenizer = _parent(job) if job.parent_location else _new(job, rows)
    return model, tokenizer, Held(METHODS[training.method].dataset(rows, tokenizer, training.context), training, *place)


def _new(job: Job, rows: Any = None) -> tuple[Any, Any]:
    """A model of random weights, and a tokenizer: that of the packing, or one learned from `rows`."""
    training = job.training
    template = training.chat_template or "chatml"
    if job.blocks is not None:
        tokenizer = models.known_tokenizer(job.blocks.tokenizer, job.blocks.end_of_text, template)
    elif training.vocab_size is not None:
        texts = (text.as_py() for text in rows["text"])
        tokenizer = models.train_tokenizer(texts, training.vocab_size, template)
    if training.architecture is None or (job.blocks is None and training.vocab_size is None):
        raise ConfigError("a model without a parent needs architecture, and vocab_size or packing")
    return models.build(training.architecture, tokenizer, training.seed), tokenizer


def _parent(job: Job) -> tuple[Any, Any]:
    training, location = job.training, str(job.parent_location)
    loaded = models.load(location)
    found = models.weights_sha256(loaded.model)
    if job.parent_sha256 is not None and found != job.parent_sha256:
        raise InputError(f"{location}: the weights have SHA-256 {found[:16]}..., wanted {job.parent_sha256[:16]}...")
    if training.kind != "documents":
        chat.set_template(loaded.tokenizer, training.chat_template, training.parent or location)
    longest = getattr(loaded.model.config, "max_position_embeddings", None)
    if longest is not None and training.context > longest:
        raise ConfigError(f"context is {training.context}, {training.parent} has {longest}")
    return loaded.model, loaded.tokenizer


def _check_memory(model: Any, training: Training, micro: int, accelerator: Accelerator) -> None:
    """Refuse what cannot fit: weights, gradients and two moments of four bytes each, and the logits with their
    gradients in float32, which are the largest activations."""
    sides = 2 if training.kind == "pairs" else 1
    states = 16 * sum(weight.numel() for weight in model.parameters()) / accelerator.num_processes
    logits = 12 * micro * sides * training.context * model.config.vocab_size
    cuda = accelerator.device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if cuda else psutil.virtual_memory().available
    if states + logits > free:
        raise InputError(
            f"{training.model}: training takes at least {(states + logits) / 1e9:.1f} GB on each process (weights and "
            f"optimizer {states / 1e9:.1f}, logits {logits / 1e9:.1f}), {free / 1e9:.1f} GB are free: "
            f"set a smaller micro_batch or context, or use more processes with FSDP"
        )


def _tell_deepspeed(accelerator: Accelerator, training: Training, micro: int) -> None:
    """DeepSpeed cuts batches and gradients by its own settings, which are to be those of the training."""
    if accelerator.distributed_type is DistributedType.DEEPSPEED:
        accelerator.state.deepspeed_plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": micro,
            "gradient_accumulation_steps": training.batch // accelerator.num_processes // micro,
            "gradient_clipping": training.optimizer.clip,
        }


def _rate(settings: Optimizer, step: int, steps: int) -> float:
    """Learning rate of a step, from 0."""
    warmup = max(1, round(settings.warmup * steps))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    way = (step - warmup) / max(1, steps - warmup)
    return settings.lr * (settings.final + (1 - settings.final) * (1 + math.cos(math.pi * way)) / 2)


@torch.no_grad()
def _add_reference(accelerator: Accelerator, model: Any, dataset: data.Rows, collate: Any, micro: int) -> None:
    """Put the log-probabilities of the model as it begins beside each pair: (chosen, rejected).

    Pairs go in the same groups whatever step a run begins with, so a resumed run has the same reference to the bit.
    """
    model.eval()
    world, found = accelerator.num_processes, []
    for start in range(0, len(dataset), micro * world):
        mine = [(start + accelerator.process_index * micro + place) % len(dataset) for place in range(micro)]
        part = collate([dataset[index] for index in mine])
        batch = {name: value.to(accelerator.device) for name, value in part.items()}
        sums, _ = losses.sequence_logps(logits(model, batch), batch["labels"])
        found.append(accelerator.gather(torch.stack(sums.float().chunk(2), dim=1)).cpu())
    for item, reference in zip(dataset.items, torch.cat(found)[: len(dataset)].tolist(), strict=True):
        item["reference"] = reference


class _Run:
    """A training under way: its steps, its log, its checkpoints."""

    def __init__(self, folder: Path, job: Job, accelerator: Accelerator, model: Any, optimizer: Any, feed: Feed):
        self.folder, self.job, self.accelerator = folder, job, accelerator
        self.model, self.optimizer, self.feed = model, optimizer, feed
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.begun = 0  # the step that this process begins with
        self.tokens = 0
        self.seconds = 0.0

    @property
    def steps(self) -> int:
        return self.feed.steps

    def resume(self) -> int:
        """Go on from the last checkpoint, if there is one; the step to go on with."""
        if self.accelerator.is_main_process:
            for unfinished in self.folder.glob(f".{CHECKPOINT}*"):
                shutil.rmtree(unfinished)
        found = checkpoints(self.folder)
        if not found:
            self._log_from([])
            return 0
        step, path = found[-1]
        self.accelerator.load_state(str(path))
        self.feed.load_state_dict(json.loads((path / self._position).read_text(encoding="utf-8")))
        lines = [line for line in jobs.log(self.folder) if line["step"] < step]
        self.first, self.last = lines[0], lines[-1]
        self.tokens, self.seconds = lines[-1]["tokens"], lines[-1]["seconds"]
        self.begun = step
        self._log_from(lines)
        logger.info("%s: resumed at step %d of %d", self.job.training.model, step, self.steps)
        return step

    @property
    def _position(self) -> str:
        """The file of a checkpoint that says how far this process has read."""
        return f"position-{self.accelerator.process_index}.json"

    def _log_from(self, lines: Sequence[dict[str, Any]]) -> None:
        if self.accelerator.is_main_process:
            # Another file in its place, never a shorter one: who follows the log must not read on in the middle of it.
            unfinished = self.folder / f".{LOG}"
            unfinished.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
            unfinished.rename(self.folder / LOG)
        self.accelerator.wait_for_everyone()

    def step(self, step: int, parts: Sequence[Batch], loss_of: Loss) -> None:
        """One step of the optimizer over the micro-batches `parts` of this process."""
        began = time.perf_counter()
        accelerator, training = self.accelerator, self.job.training
        # The last block of a packed set may be a single token, of which nothing is predicted.
        count = max(1.0, self._sum(torch.tensor([float(sum(int(part["count"]) for part in parts))]))[0])
        rate = _rate(training.optimizer, step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, torch.Tensor] = {}
        norm = 0.0
        for part in parts:
            batch = {name: value.to(accelerator.device) for name, value in part.items()}
            with accelerator.accumulate(self.model):
                found = loss_of(self.model, batch, training)
                # Accelerate takes the mean over micro-batches and processes; what is wanted is the sum over `count`.
                scale = len(parts) * accelerator.num_processes / count
                accelerator.backward(found["loss"] * scale)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), training.optimizer.clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().float().cpu()
        total = self._sum(torch.stack([*sums.values(), torch.tensor(float(sum(int(p["tokens"]) for p in parts)))]))
        *values, tokens = total
        self.tokens += int(tokens)
        self.seconds += time.perf_counter() - began
        if not math.isfinite(values[0]):
            raise InputError(f"{training.model}: the loss of step {step} is {values[0]}: set a smaller optimizer.lr")
        self.last = {
            "step": step,
            "steps": self.steps,
            **{name: value / count for name, value in zip(sums, values, strict=True)},
            "lr": rate,
            "gradient_norm": 0.0 if norm is None else float(norm),
            "is_resumed": 0 < self.begun == step,
            "tokens": self.tokens,
            "tokens_per_second": tokens / max(1e-9, time.perf_counter() - began),
            "seconds": self.seconds,
        }
        self.first = self.first or self.last
        if accelerator.is_main_process:
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(f"{json.dumps(self.last)}\n")
        if (step + 1) % training.checkpoint_steps == 0 and step + 1 < self.steps:
            self._checkpoint(step + 1)

    def _sum(self, values: torch.Tensor) -> list[float]:
        """Sums over all processes, in float64."""
        summed = self.accelerator.reduce(values.double().to(self.accelerator.device), reduction="sum")
        return [float(value) for value in summed.cpu()]

    def _checkpoint(self, step: int) -> None:
        """Weights, moments, random states and places of reading; complete when the folder gets its name."""
        unfinished = self.folder / f".{CHECKPOINT}{step}"
        self.accelerator.save_state(str(unfinished))
        (unfinished / self._position).write_text(json.dumps(self.feed.state_dict()), encoding="utf-8")
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            unfinished.rename(self.folder / f"{CHECKPOINT}{step}")
            for _, path in checkpoints(self.folder)[: -self.job.training.checkpoints]:
                # Half a checkpoint must not have the name of a whole one, at no moment.
                shutil.rmtree(path.rename(path.with_name(f".{path.name}")))
        self.accelerator.wait_for_everyone()

    def finish(self, tokenizer: Any) -> None:
        """Save weights and tokenizer, and say what was done."""
        accelerator = self.accelerator
        accelerator.wait_for_everyone()
        model = accelerator.unwrap_model(self.model)
        state = accelerator.get_state_dict(self.model)
        if not accelerator.is_main_process:
            return
        # Gathered from shards, weights that are one under two names come as two.
        tied = getattr(model, "all_tied_weights_keys", {})
        state = {name: weight for name, weight in state.items() if tied.get(name) not in state}
        target = self.folder / MODEL
        model.save_pretrained(target, state_dict=state)
        tokenizer.save_pretrained(target)
        saved = models.load(str(target))
        counted = ("step", "steps", "lr", "gradient_norm", "is_resumed", "tokens", "tokens_per_second", "seconds")
        metrics = {f"first_{name}": value for name, value in self.first.items() if name not in counted}
        metrics |= {f"last_{name}": value for name, value in self.last.items() if name not in counted}
        result = {
            "weights_sha256": models.weights_sha256(saved.model),
            "tokenizer_sha256": models.tokenizer_sha256(target),
            "parameters": sum(weight.numel() for weight in saved.model.parameters()),
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "rows": self.feed.rows_seen(),
            "metrics": {**metrics, "rows_left_out": float(self.feed.left_out), "rows_cut": float(self.feed.cut)},
            "environment": environment(accelerator),
        }
        unfinished = self.folder / f".{RESULT}"
        unfinished.write_text(json.dumps(result, indent=2), encoding="utf-8")
        unfinished.rename(self.folder / RESULT)


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Whole checkpoints below a job, oldest first, by the step that comes next."""
    return sorted((int(path.name.removeprefix(CHECKPOINT)), path) for path in folder.glob(f"{CHECKPOINT}*"))


def environment(accelerator: Accelerator) -> dict[str, str]:
    """What besides the job may decide the bits."""
    cuda = accelerator.device.type == "cuda"
    return {
        "accelerator": accelerator.device.type,
        "device": torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability(),
        "world_size": str(accelerator.num_processes),
        "distributed": accelerator.distributed_type.value,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
    }


if __name__ == "__main__":
    process.main(train)
