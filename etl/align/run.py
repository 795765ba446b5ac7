"""What the lake does around a training: find the set and the parent, launch, and write the row of `models`.

A training is a folder below the models: ``.<name>`` while it runs, ``<name>`` when it is done. The row is written last,
so a run that is killed at any moment is gone on with by starting it again: from the last checkpoint, or, where the
weights are there already, from them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Row
from pyspark.sql import functions as F

import etl
from etl import config, job, tables
from etl.align import job as jobs
from etl.align import launch
from etl.align.config import Training
from etl.align.job import CHECKPOINT, JOB, MODEL, RESULT, Blocks, Job
from etl.align.launch import Launch
from etl.errors import ConfigError, InputError
from etl.lake import Lake
from etl.locks import is_local
from etl.progress import Reporter, StageRun
from etl.runner import Runner
from etl.stage import digest
from etl.stages.mix import KINDS, ROWS, content
from etl.stages.pack import content_hash
from etl.tables import Table

# Columns of `models` that the training process measures.
_OF_RESULT = (
    "weights_sha256",
    "tokenizer_sha256",
    "parameters",
    "steps",
    "tokens",
    "seconds",
    "metrics",
    "environment",
)

FOLDER = "_models"  # below a warehouse that is a folder


@dataclass(frozen=True)
class Prepared:
    """A job, and what its row of `models` says of sets and parents besides."""

    job: Job
    launch: Launch
    training_sets: tuple[dict[str, Any], ...]

    @property
    def config(self) -> str:
        """The JSON that ``models.config`` holds: `Job.decides` without what the row names in other columns."""
        return json.dumps(self._decides, sort_keys=True, ensure_ascii=False)

    @property
    def config_hash(self) -> str:
        return digest(self._decides)

    @property
    def _decides(self) -> dict[str, Any]:
        decides = self.job.decides()
        return {name: decides[name] for name in ("training", "world_size")}


def train(runner: Runner, training: Training, accelerate: str, models: Path | None = None) -> None:
    """Train the model, or go on with it, unless it stands with the same settings, rows and parent.

    `accelerate` names a file of ``conf/accelerate``, `models` the folder for weights where the warehouse is no folder.

    Raises:
        InputError: the set, the parent or a table version is not there.
        ConfigError: the training does not fit the set, or a checkpoint is of another configuration.
        TrainingError: a process of the training failed.
    """
    folder = models or models_folder(runner.lake)
    prepared = prepare(runner.lake, training, launch.read(accelerate))
    with runner.reporter.stage(f"{training.method} {training.model}") as run:
        run.unit = "tokens"
        known = find(runner.lake, training.model)
        run.skipped = known is not None and _stands(known, prepared)
        if run.skipped:
            return
        check_content(runner.lake, training.kind, prepared.training_sets[-1])
        check_blocks(runner.lake, prepared.job)
        place, target = folder / f".{training.model}", folder / training.model
        result = perform(prepared, place, run, runner.reporter)
        if (place / MODEL).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            (place / MODEL).rename(target)
        _write(
            runner.lake, tables.MODEL_STEPS, training.model, [_step(training.model, line) for line in jobs.log(place)]
        )
        _write(runner.lake, tables.MODELS, training.model, [_row(prepared, result, target)])
        shutil.rmtree(place)


def _write(lake: Lake, table: Table, model: str, rows: Sequence[Row]) -> None:
    """Put rows in the place of those that the table has of the model."""
    part = {"model": [model]}
    values = [tuple(row[name] for name in table.columns) for row in rows]
    metadata = {"stage": table.name, "package": f"goldenlake {etl.__version__}", "slice": part}
    lake.replace(table, lake.spark.createDataFrame(values, table.schema), part, metadata)


def models_folder(lake: Lake) -> Path:
    """Where weights go when nothing else is said."""
    return Path(lake.warehouse) / FOLDER if lake.warehouse and is_local(lake.warehouse) else Path("models")


def find(lake: Lake, model: str) -> Row | None:
    """The row of a model."""
    rows: list[Row] = lake.read(tables.MODELS).where(F.col("model") == model).collect()
    return rows[0] if rows else None


def prepare(lake: Lake, training: Training, launched: Launch) -> Prepared:
    """The training with the set and the parent that it names.

    Raises:
        InputError: the set is not there; the message lists those there are.
        ConfigError: the set is of another kind than the method reads.
    """
    sets = {row["training_set"]: row for row in lake.read(tables.TRAINING_SETS).collect()}
    if training.training_set not in sets:
        raise InputError(
            f"{training.model}: there is no training set {training.training_set!r}, known are {sorted(sets)}"
        )
    chosen = sets[training.training_set]
    if chosen["kind"] != training.kind:
        raise ConfigError(
            f"{training.model}: training set {training.training_set!r} has {chosen['kind']}, "
            f"{training.method} learns from {training.kind}"
        )
    table = ROWS[training.kind].output
    version, blocks = (lake.version(table), None) if training.packing is None else _packed(lake, training)
    own = {
        "training_set": training.training_set,
        "kind": training.kind,
        "manifest_hash": chosen["manifest_hash"],
        "content_hash": chosen["content_hash"],
        "version": version,
        "rows": chosen["documents"],
        "is_inherited": False,
    }
    parent = find(lake, training.parent) if training.parent is not None else None
    inherited = [{**each.asDict(), "is_inherited": True} for each in parent["training_sets"]] if parent else []
    found = Job(
        training=training,
        table=lake.location(table),
        version=own["version"],
        content_hash=own["content_hash"],
        world_size=launched.processes,
        parent_location=parent["location"] if parent else training.parent,
        parent_sha256=parent["weights_sha256"] if parent else None,
        blocks=blocks,
    )
    return Prepared(found, launched, (*inherited, own))


def _packed(lake: Lake, training: Training) -> tuple[int, Blocks]:
    """The version of the documents that were packed, and the blocks as they stand.

    Raises:
        InputError: there is no such packing; the message lists those there are.
        ConfigError: its blocks have another length.
    """
    rows = lake.read(tables.TRAINING_PACKINGS).where(F.col("training_set") == training.training_set).collect()
    known = {row["packing"]: row for row in rows}
    if training.packing is None or training.packing not in known:
        raise InputError(
            f"{training.model}: training set {training.training_set!r} is not packed as {training.packing!r}, known "
            f"are {sorted(known)}; goldenlake export packs a set"
        )
    found = known[training.packing]
    if found["context"] != training.context:
        raise ConfigError(
            f"{training.model}: context is {training.context}, the blocks of {training.packing} have {found['context']}"
        )
    part = {"training_set": [training.training_set], "packing": [training.packing]}
    inputs = (lake.last_metadata(tables.TRAINING_BLOCKS, part) or {}).get("inputs", {})
    version = inputs.get(tables.TRAINING_DOCUMENTS.name, lake.version(tables.TRAINING_DOCUMENTS))
    return version, Blocks(
        table=lake.location(tables.TRAINING_BLOCKS),
        version=lake.version(tables.TRAINING_BLOCKS),
        content_hash=found["content_hash"],
        tokenizer=found["tokenizer"],
        end_of_text=found["end_of_text"],
    )


def check_blocks(lake: Lake, wanted: Job) -> None:
    """Compare the blocks of a packing at a version, if the training reads any, with those on record.

    Raises:
        InputError: they are others, or the version cannot be read any more.
    """
    blocks, training = wanted.blocks, wanted.training
    if blocks is None or training.packing is None:
        return
    with _readable(tables.TRAINING_BLOCKS, blocks.version):
        rows = lake.read(tables.TRAINING_BLOCKS, blocks.version)
        found = content_hash(rows, training.training_set, training.packing).collect()[0]["content_hash"]
    if found != blocks.content_hash:
        raise InputError(
            f"{tables.TRAINING_BLOCKS.name} at version {blocks.version}: packing {training.packing!r} of "
            f"{training.training_set!r} has content {found[:16]}..., wanted {blocks.content_hash[:16]}...: pack the "
            f"set again"
        )


@contextmanager
def _readable(table: Table, version: int) -> Iterator[None]:
    """What Spark says of a version that is gone, as an error of ours."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise InputError(
            f"{table.name} cannot be read at version {version}; VACUUM removes "
            f"the files of old versions: {str(error).splitlines()[0][:200]}"
        ) from error


def check_content(lake: Lake, kind: str, own: Any) -> None:
    """Compare the rows of a set at a version with the content on record.

    Raises:
        InputError: they are others, or the version cannot be read any more.
    """
    table = ROWS[kind].output
    with _readable(table, own["version"]):
        rows = lake.read(table, own["version"]).where(F.col("training_set") == own["training_set"])
        found = content(rows, KINDS[kind]).collect()[0]["content_hash"]
    if found != own["content_hash"]:
        raise InputError(
            f"{table.name} at version {own['version']}: training set {own['training_set']!r} has content "
            f"{found[:16]}..., wanted {own['content_hash'][:16]}...: build the set again"
        )


def _stands(known: Row, prepared: Prepared) -> bool:
    """Whether the model in the row is what the training would make, and its weights are in their place."""
    own = [each["content_hash"] for each in known["training_sets"] if not each["is_inherited"]]
    blocks = prepared.job.blocks
    return (
        known["config_hash"] == prepared.config_hash
        and own == [prepared.job.content_hash]
        and (known["packing"] and known["packing"]["content_hash"]) == (blocks and blocks.content_hash)
        and known["parent_sha256"] == prepared.job.parent_sha256
        and Path(known["location"]).is_dir()
    )


def perform(prepared: Prepared, place: Path, run: StageRun, reporter: Reporter) -> dict[str, Any]:
    """Train in the folder `place`, from where an earlier try of the same job left off; what the result file says.

    Raises:
        ConfigError: the folder has a checkpoint of another job.
        TrainingError: a process of the training failed.
    """
    place.mkdir(parents=True, exist_ok=True)
    if (place / JOB).is_file():
        _check_same(jobs.read(place), prepared.job, place)
    if not (place / RESULT).is_file():
        jobs.write(place, prepared.job)
        losses: list[float] = []

        def follow(line: dict[str, Any]) -> None:
            losses.append(line["loss"])
            seconds = (line["steps"] - line["step"] - 1) * line["seconds"] / (line["step"] + 1)
            left = f", {seconds:.0f} s left" if seconds else ""
            note = f"loss {losses[0]:.3f} to {line['loss']:.3f}, step {line['step'] + 1} of {line['steps']}{left}"
            reporter.show(run, (line["step"] + 1) / line["steps"], line["tokens"], note)

        launch.run(prepared.launch, place, follow)
        run.note = f"loss {losses[0]:.3f} to {losses[-1]:.3f}"
    result: dict[str, Any] = json.loads((place / RESULT).read_text(encoding="utf-8"))
    return result


def _check_same(found: Job, wanted: Job, place: Path) -> None:
    """Refuse to go on with what another job began; where it has kept nothing, begin anew."""
    if found.decides() == wanted.decides():
        return
    if not any(place.glob(f"{CHECKPOINT}*")):
        (place / RESULT).unlink(missing_ok=True)
        return
    before, after = _flat(found.decides()), _flat(wanted.decides())
    changes = [
        f"{key} was {before.get(key)!r}, is {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    raise ConfigError(
        f"{place} has a checkpoint of another configuration: {'; '.join(changes)}. Delete the folder to begin anew, "
        f"or give the model another name"
    )


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _row(prepared: Prepared, result: Mapping[str, Any], location: Path) -> Row:
    settled = prepared.job
    *inherited, own = prepared.training_sets
    sets = [*inherited, {**own, "rows": result["rows"]}]
    return Row(
        model=settled.training.model,
        parent=settled.training.parent,
        parent_sha256=settled.parent_sha256,
        method=settled.training.method,
        config=prepared.config,
        config_hash=prepared.config_hash,
        training_sets=[tuple(each.values()) for each in sets],
        location=str(location.resolve()),
        packing=_packing(settled),
        **{name: result[name] for name in _OF_RESULT},
    )


def _packing(settled: Job) -> tuple[Any, ...] | None:
    if settled.blocks is None:
        return None
    blocks = settled.blocks
    return settled.training.packing, blocks.version, blocks.content_hash, blocks.tokenizer, blocks.end_of_text


def _step(model: str, line: Mapping[str, Any]) -> Row:
    names = ("step", "loss", "gradient_norm", "tokens", "seconds", "is_resumed")
    return Row(model=model, learning_rate=line["lr"], **{name: line[name] for name in names})


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Train what the options of `argv` name, one after another."""
    options = parser(doc).parse_args(argv)
    with job.reported_errors():
        launch.read(options.accelerate)
        trainings = chosen(options)
        with job.writer(options) as runner:
            for training in trainings:
                train(runner, training, options.accelerate, options.models)


def chosen(options: argparse.Namespace) -> list[Training]:
    """The files that the options name, each with what ``--set`` says.

    Raises:
        ConfigError: a file or an assignment is wrong.
    """
    paths = [config.find("align", name) for name in options.training]
    return [config.load(path, Training, options.assignments) for path in paths]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of a training."""
    result = job.described(doc)
    result.add_argument("training", nargs="+", help="files of conf/align, or paths; parents before children")
    result.add_argument("--accelerate", default="cpu", help="file of conf/accelerate, or a path (cpu)")
    result.add_argument("--models", type=Path, help="folder of weights, where the warehouse is no folder (models)")
    job.add_assignments(result, "any key of the training, such as optimizer.lr=1.0e-4")
    job.add_lake_options(result)
    return result
