"""The training loop of a search, which Accelerate starts on every process.

    accelerate launch --config_file conf/accelerate/cpu.yaml -m etl.search.train JOB

JOB is a folder with the file ``job.json``, beside ``domains.npz``. Its runs are done one after another in one start of
the processes, since a proxy takes less time than loading PyTorch; each leaves a file of its own. A job that was killed
goes on with the first run that has none. The blocks of a batch are cut into equal parts by process, so their number
changes results by rounding alone; on a CPU, the same job on as many processes and threads gives the same bits.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM, get_cosine_with_min_lr_schedule_with_warmup

from etl.align import losses, models, process
from etl.align.job import LOG
from etl.errors import ConfigError, InputError
from etl.search import domains as streams
from etl.search import dro, job
from etl.search.config import Proxy
from etl.search.domains import Batch, Domains, Floats, Tokens
from etl.search.job import DOMAINS, Job, Measured, Result, Run

logger = logging.getLogger(__name__)

LOG_EVERY = 20  # steps
PATH_POINTS = 50  # of the way of the shares that a result keeps
EVALUATION_TOKENS = 1 << 14  # of a batch whose loss is only measured


def train(folder: Path) -> None:
    """Do the runs of the job in `folder` that are not done.

    Raises:
        InputError: the domains are not those of the job, too short for a block, or a loss is no number.
        ConfigError: other processes are running than the job is for.
    """
    settled = job.read(folder)
    accelerator = process.begin(settled.proxy.threads, settled.world_size)
    domains = streams.load(folder.parent / DOMAINS)
    if domains.sha256 != settled.domains:
        raise InputError(
            f"{folder.parent / DOMAINS}: the tokens have SHA-256 {domains.sha256[:16]}..., the job is for "
            f"{settled.domains[:16]}...: another search has been started in the same folder"
        )
    domains.check(settled.proxy.context)
    kept = {run.reference for run in settled.runs}
    for place, run in enumerate(settled.runs):
        if job.result(folder, run) is None:
            _Training(folder, settled, run, domains, accelerator, place).perform(keep=run.name in kept)
        accelerator.wait_for_everyone()


def build(proxy: Proxy, vocab_size: int, seed: int) -> LlamaForCausalLM:
    """A proxy with random weights, the same for the same seed."""
    return models.llama(proxy.architecture, vocab_size, seed)


def token_losses(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Nats of each token but the first of its block: (blocks, context) -> (blocks, context - 1)."""
    return -losses.token_logps(model(input_ids=ids, use_cache=False).logits, ids)


class _Training:
    """One run under way."""

    def __init__(self, folder: Path, settled: Job, run: Run, domains: Domains, accelerator: Accelerator, place: int):
        self.folder, self.job, self.run, self.domains, self.place = folder, settled, run, domains, place
        self.accelerator, self.proxy = accelerator, settled.proxy
        self.shares: Floats = np.array(run.shares) / sum(run.shares)
        self.sum_of_shares = np.zeros(len(self.shares))
        self.path: list[tuple[int, tuple[float, ...], tuple[float, ...]]] = []
        self.seen = np.zeros(len(self.shares), dtype=np.int64)
        self.loss = 0.0
        model = build(self.proxy, domains.vocab_size, run.seed)
        settings = self.proxy.optimizer
        optimizer = models.adamw(model, settings)
        self.schedule = get_cosine_with_min_lr_schedule_with_warmup(
            optimizer,
            max(1, round(settings.warmup * self.proxy.steps)),
            self.proxy.steps,
            min_lr_rate=settings.final,
        )
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.reference = None if run.reference is None else self._load_reference(run.reference)

    def _load_reference(self, name: str) -> Any:
        model = build(self.proxy, self.domains.vocab_size, 0)
        model.load_state_dict(torch.load(self.folder / f"{name}.pt", weights_only=True))
        return model.to(self.accelerator.device).eval()

    def perform(self, *, keep: bool) -> None:
        """Train and leave the result; with `keep`, the weights before it, for the runs that refer to them."""
        began = time.perf_counter()
        self.model.train()
        for step, batch in enumerate(self._batches()):
            self._step(step, batch)
            if step % LOG_EVERY == 0 or step == self.proxy.steps - 1:
                self._log(step)
        if not self.accelerator.is_main_process:
            return
        model = self.accelerator.unwrap_model(self.model).eval()
        if keep:
            torch.save(model.state_dict(), self.folder / f".{self.run.name}.pt")
            (self.folder / f".{self.run.name}.pt").rename(self.folder / f"{self.run.name}.pt")
        trained = int(self.seen.sum())
        # A token costs 6 operations per weight to learn from, and 2 to be rated by the reference.
        flops = (6 if self.reference is None else 8) * float(self.parameters) * trained
        found = self.shares if self.reference is None else self.sum_of_shares / self.proxy.steps
        sizes = [len(domain.train) for domain in self.domains.domains]
        done = Result(
            run=self.run,
            shares=tuple(found.tolist()),
            loss=self.loss,
            validation=tuple(self._measure(model, domain.validation) for domain in self.domains.domains),
            test=tuple(self._measure(model, domain.test) for domain in self.domains.domains),
            domain_tokens=tuple(self.seen.tolist()),
            passes=tuple((self.seen / sizes).tolist()),
            parameters=self.parameters,
            flops=flops,
            seconds=time.perf_counter() - began,
            path=tuple(self.path),
        )
        job.write(self.folder, f"{self.run.name}.json", done)
        logger.info("%s: loss %.4f after %d steps in %.1f s", self.run.name, self.loss, self.proxy.steps, done.seconds)

    def _batches(self) -> Iterator[Batch]:
        proxy = self.proxy
        drawn = self.shares if self.reference is None else self.domains.uniform
        yield from streams.batches(
            self.domains, drawn, context=proxy.context, batch=proxy.batch, steps=proxy.steps, seed=self.run.seed
        )

    def _step(self, step: int, batch: Batch) -> None:
        accelerator, world = self.accelerator, self.accelerator.num_processes
        mine = slice(accelerator.process_index, None, world)
        rows = batch.domains[mine]
        ids = torch.from_numpy(batch.ids[mine]).to(accelerator.device)
        nats = token_losses(self.model, ids)
        count = len(self.shares)
        self.seen += np.bincount(batch.domains, minlength=count) * (self.proxy.context - 1)
        if self.reference is None:
            weights = np.full(len(rows), 1 / (self.proxy.batch * (self.proxy.context - 1)))
        else:
            with torch.no_grad():
                reference = token_losses(self.reference, ids)
            weights = self._reweigh(step, nats.detach(), reference, rows)
        # Accelerate takes the mean over processes; what is wanted is the sum.
        loss = (nats.sum(-1) * torch.from_numpy(weights).to(nats)).sum() * world
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(self.model.parameters(), self.proxy.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.loss = self._sum(loss.detach().reshape(1).double() / world)[0]
        if not np.isfinite(self.loss):
            raise InputError(f"{self.run.name}: the loss of step {step} is {self.loss}: set a smaller optimizer.lr")

    def _reweigh(self, step: int, nats: torch.Tensor, reference: torch.Tensor, rows: Any) -> Floats:
        """Move the shares by the excess losses of the whole batch; the weight of each row of this process."""
        settings = self.job.doremi
        if settings is None:
            raise ConfigError(f"{self.run.name}: has a reference, and doremi is missing")
        count = len(self.shares)
        sums, tokens = dro.excess_sums(nats.cpu().numpy(), reference.cpu().numpy(), rows, count)
        both = np.array(self._sum(torch.from_numpy(np.concatenate([sums, tokens]))))
        sums, tokens = both[:count], both[count:]
        excess = dro.mean_excess(sums, tokens)
        self.shares = dro.updated(self.shares, excess, step_size=settings.step_size, smoothing=settings.smoothing)
        self.sum_of_shares += self.shares
        if step % max(1, self.proxy.steps // PATH_POINTS) == 0 or step == self.proxy.steps - 1:
            self.path.append((step, tuple(self.shares.tolist()), tuple(excess.tolist())))
        return dro.row_weights(self.shares, tokens, rows)

    def _sum(self, values: torch.Tensor) -> list[float]:
        """Sums over all processes, in float64."""
        summed = self.accelerator.reduce(values.double().to(self.accelerator.device), reduction="sum")
        return [float(value) for value in summed.cpu()]

    @torch.no_grad()
    def _measure(self, model: Any, stream: Tokens) -> Measured:
        whole = streams.blocks(stream, self.proxy.context)
        nats = 0.0
        at_once = max(1, EVALUATION_TOKENS // self.proxy.context)
        for start in range(0, len(whole), at_once):
            ids = torch.from_numpy(whole[start : start + at_once].astype(np.int64)).to(self.accelerator.device)
            nats += float(token_losses(model, ids).double().sum())
        predicted = whole[:, 1:]
        return Measured(nats, predicted.size, int(self.domains.token_bytes[predicted].sum()))

    def _log(self, step: int) -> None:
        if not self.accelerator.is_main_process:
            return
        line = {
            "run": self.run.name,
            "place": self.place,
            "runs": len(self.job.runs),
            "step": step,
            "steps": self.proxy.steps,
            "loss": self.loss,
            "tokens": int(self.seen.sum()),
        }
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    process.main(train)
