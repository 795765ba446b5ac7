"""Starts a training under Accelerate and follows its log."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl import config
from etl.align.job import LOG, PROBLEM
from etl.errors import ConfigError, TrainingError

TRAIN = "etl.align.train"
OUTPUT = "launch.log"
_WORDS = 2000  # characters of the output that an error quotes


@dataclass(frozen=True)
class Launch:
    """A configuration file of Accelerate, what of it decides the result, and the module that the processes run."""

    path: Path
    processes: int
    is_multi_cpu: bool
    module: str = TRAIN

    def command(self, job: Path) -> list[str]:
        """How the processes are started. Accelerate starts one process where a file asks for several CPU processes, or
        wants MPI, so these are started by torchrun, whose environment Accelerate reads."""
        module = ["-m", self.module, str(job)]
        if self.is_multi_cpu:
            count = ["--standalone", "--nproc_per_node", str(self.processes)]
            return [sys.executable, "-m", "torch.distributed.run", *count, *module]
        return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(self.path), *module]


def read(name: str, module: str = TRAIN) -> Launch:
    """The launch of `module` that a file of ``conf/accelerate``, or any other of Accelerate's files, describes.

    Raises:
        ConfigError: there is no such file, it does not say how many processes there are, or it needs a package that is
            not installed.
    """
    path = config.find("accelerate", name)
    settings = config.read_yaml(path)
    processes = settings.get("num_processes")
    if not isinstance(processes, int) or processes < 1:
        raise ConfigError(f"{path}: 'num_processes' is {processes!r}, wanted a number of processes")
    if settings.get("distributed_type") == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(f"{path} wants DeepSpeed, which is not installed: pip install deepspeed, or take fsdp2")
    on_cpu = settings.get("use_cpu") is True or settings.get("distributed_type") == "MULTI_CPU"
    return Launch(path.resolve(), processes, on_cpu and processes > 1, module)


def run(launch: Launch, job: Path, follow: Callable[[dict[str, Any]], None]) -> None:
    """Train as the folder `job` says; `follow` gets each new line of its log.

    Raises:
        TrainingError: a process failed; the message is what it left, or the end of its output.
    """
    (job / PROBLEM).unlink(missing_ok=True)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    if launch.is_multi_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    lines = _new_lines(job / LOG)
    next(lines)  # those of a run that was killed; the one that resumes it writes them again, in another file
    with (job / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            launch.command(job.resolve()), stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            while process.poll() is None:
                time.sleep(0.2)
                for line in next(lines):
                    follow(line)
        finally:
            process.terminate()  # the launcher ends its processes
            process.wait()
    if process.returncode:
        problem = job / PROBLEM
        said = problem if problem.is_file() else job / OUTPUT
        words = said.read_text(encoding="utf-8", errors="replace")[-_WORDS:].strip()
        origin = "" if said is problem else f"{said} ends with status {process.returncode}: "
        raise TrainingError(f"{origin}{words}")
    for line in next(lines):
        follow(line)


def _new_lines(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The whole lines added to a file since the last call. Another file in its place is read from its start."""
    place, inode = 0, -1
    while True:
        found: list[dict[str, Any]] = []
        if path.is_file():
            with path.open("rb") as file:
                is_another = os.fstat(file.fileno()).st_ino != inode
                inode = os.fstat(file.fileno()).st_ino
                place = file.seek(0 if is_another else place)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            place += len(whole)
            found = [json.loads(line) for line in whole.splitlines()]
        yield found
