"""Train a model again from its row of `models` alone, and compare the weights."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from pyspark.sql import Row
from rich.console import Console

from etl import config, tables
from etl.align import launch, run
from etl.align.config import Training
from etl.align.job import MODEL, Blocks, Job
from etl.align.launch import Launch
from etl.align.run import Prepared
from etl.errors import InputError
from etl.lake import Lake
from etl.progress import Reporter
from etl.stages.mix import ROWS


@dataclass(frozen=True)
class Comparison:
    """SHA-256 of the weights of a model as recorded and as trained again, and what is another machine or package now:
    bits are promised for the same kind of processor and the same versions."""

    model: str
    recorded: str
    rebuilt: str
    changes: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        return self.recorded == self.rebuilt

    def lines(self) -> list[str]:
        return [
            f"{word:<9} {weights}  {self.model}"
            for word, weights in (("recorded", self.recorded), ("rebuilt", self.rebuilt))
        ] + [f"          {change}" for change in self.changes]


def rebuild(lake: Lake, model: str) -> list[Comparison]:
    """Train `model` again as its row says, and before it each parent whose weights are gone. Writes nothing.

    Raises:
        InputError: there is no such model, its set has another content at the version it was trained on, or that
            version cannot be read any more.
        TrainingError: a process of the training failed.
    """
    with tempfile.TemporaryDirectory(prefix="goldenlake-") as folder:
        reporter = Reporter(lake.spark, Console(stderr=True))
        comparisons: list[Comparison] = []
        _again(lake, model, Path(folder), reporter, comparisons)
        return comparisons


def _again(lake: Lake, model: str, folder: Path, reporter: Reporter, comparisons: list[Comparison]) -> Path:
    """Train `model` below `folder`; where its weights are then."""
    row = run.find(lake, model)
    if row is None:
        raise InputError(f"there is no model {model!r} in models")
    decided = json.loads(row["config"])
    settings = {**decided["training"], "model": model}
    training = config.build(settings, Training, origin=f"models.config of {model}")
    own = next(each for each in row["training_sets"] if not each["is_inherited"])
    run.check_content(lake, training.kind, own)
    parent = _parent(lake, row, folder, reporter, comparisons)
    job = Job(
        training=training,
        table=lake.location(ROWS[training.kind].output),
        version=own["version"],
        content_hash=own["content_hash"],
        world_size=decided["world_size"],
        parent_location=parent,
        parent_sha256=row["parent_sha256"],
        blocks=_blocks(lake, row),
    )
    run.check_blocks(lake, job)
    place = folder / model
    with reporter.stage(f"{training.method} {model}") as stage:
        stage.unit = "tokens"
        prepared = Prepared(job, _launch(row, decided["world_size"], folder), ())
        result = run.perform(prepared, place, stage, reporter)
    before, now = row["environment"], result["environment"]
    changes = tuple(
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )
    comparisons.append(Comparison(model, row["weights_sha256"], result["weights_sha256"], changes))
    return place / MODEL


def _blocks(lake: Lake, row: Row) -> Blocks | None:
    if row["packing"] is None:
        return None
    packed = {name: value for name, value in row["packing"].asDict().items() if name != "packing"}
    return Blocks(table=lake.location(tables.TRAINING_BLOCKS), **packed)


def _parent(lake: Lake, row: Row, folder: Path, reporter: Reporter, comparisons: list[Comparison]) -> str | None:
    """Where the weights of the parent are: as recorded, or else made again."""
    if row["parent"] is None:
        return None
    known = run.find(lake, row["parent"])
    if known is None:
        return str(row["parent"])
    # Training refuses weights that are not those on record.
    if Path(known["location"]).is_dir() and known["weights_sha256"] == row["parent_sha256"]:
        return str(known["location"])
    return str(_again(lake, row["parent"], folder, reporter, comparisons))


def _launch(row: Row, processes: int, folder: Path) -> Launch:
    """Processes as they were: the row says how many and whether on a CPU."""
    is_cpu = row["environment"]["accelerator"] == "cpu"
    if row["environment"]["distributed"] not in ("NO", "MULTI_CPU", "MULTI_GPU"):
        raise InputError(
            f"{row['model']} was trained with {row['environment']['distributed']}, which a rebuild does not start: "
            f"train it with the same configuration under another name and compare weights_sha256"
        )
    settings = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "NO" if processes == 1 else "MULTI_CPU" if is_cpu else "MULTI_GPU",
        "use_cpu": is_cpu,
        "num_machines": 1,
        "num_processes": processes,
    }
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return launch.read(str(path))
