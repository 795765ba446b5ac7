"""A training with FSDP2 on CPU processes.

Accelerate shards where it finds GPUs alone, and on CPUs trains with DDP instead, in silence. Here it is told that CPU
processes over gloo are what it looks for. All else is real: the file of conf/accelerate is read by Accelerate, weights,
gradients and moments are shards, and our loop runs as it does on GPUs.
"""

from __future__ import annotations

import os
from pathlib import Path

from accelerate import PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from etl import config
from tests.align import processes


def fsdp2(folder: Path) -> None:
    """Train as conf/accelerate/fsdp2.yaml says."""
    named = ["--config_file", str(config.find("accelerate", "fsdp2")), "--num_processes", os.environ["WORLD_SIZE"]]
    settings, _, _ = _validate_launch_command(launch_command_parser().parse_args([*named, "script"]))
    found = prepare_multi_gpu_env(settings)
    os.environ |= {name: value for name, value in found.items() if name.startswith(("ACCELERATE_", "FSDP_"))}
    os.environ |= {"ACCELERATE_TORCH_DEVICE": "cpu", "ACCELERATE_USE_CPU": "false"}
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    processes.plain(folder)
