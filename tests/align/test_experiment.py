"""An experiment compares data, and nothing else: its models differ in what they read alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyspark.sql import Row, SparkSession
from rich.console import Console

from etl import config, experiment, tables
from etl.errors import ConfigError
from etl.experiment import Arm, ExperimentConfig
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner
from tests.align import tiny

ARMS = (Arm("raw", "raw"), Arm("filtered", "fineweb-rules"))
LINE = PipelineConfig(scorers=())


def settings(folder: Path) -> ExperimentConfig:
    """Two arms and two seeds, models of a few steps, and some sentences to measure on."""
    texts = folder / "clean.jsonl"
    sentences = ["Rain falls on the hills and runs to the lake.", "A tree grows by a ring each year."]
    texts.write_text("\n".join(json.dumps({"text": text}) for text in sentences))
    training = folder / "training.yaml"
    training.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(tiny.BASE)))))
    evaluations = folder / "evaluations.yaml"
    benchmark = {"name": "clean", "task": "bits_per_byte", "file": str(texts)}
    evaluations.write_text(yaml.safe_dump({"benchmarks": [benchmark]}))
    return ExperimentConfig(
        "e", "d", ARMS, "raw", str(training), steps=3, evaluations=str(evaluations), seeds=(1, 2), tokens=20_000
    )


@pytest.fixture(scope="module")
def performed(lake: Lake, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, list[Row]]:
    """A lake of its own, and the rows of the experiment. Slow: six models are trained, each by processes of its own."""
    folder = tmp_path_factory.mktemp("experiment")
    shutil.copytree(str(lake.warehouse), folder / "lake")
    own = Lake(spark, str(folder / "lake"), "experiment").open()
    runner = Runner(own, Reporter(spark, Console(quiet=True)))
    return own, experiment.perform(runner, experiment.plan(settings(folder), LINE))


@pytest.mark.slow
def test_models_of_one_seed_begin_alike_and_see_as_many_tokens(performed: tuple[Lake, list[Row]]) -> None:
    """Slow: see `performed`."""
    own, _ = performed
    models = {row["model"]: row for row in own.read(tables.MODELS).collect()}
    assert set(models) == {f"e.{arm}.{seed}" for arm in ("start", "raw", "filtered") for seed in (1, 2)}
    for seed in (1, 2):
        raw, filtered, start = (models[f"e.{arm}.{seed}"] for arm in ("raw", "filtered", "start"))
        assert raw["parent_sha256"] == filtered["parent_sha256"] == start["weights_sha256"]
        assert raw["tokens"] == filtered["tokens"] > 0
        assert raw["weights_sha256"] != filtered["weights_sha256"]
    sets = {row["training_set"]: row for row in own.read(tables.TRAINING_SETS).collect()}
    assert all(0.8 * 20_000 < sets[f"e.{arm}.1"]["tokens"] <= 20_000 for arm in ("raw", "filtered"))
    assert sets["e.raw.1"]["content_hash"] != sets["e.raw.2"]["content_hash"], "a seed draws documents of its own"


@pytest.mark.slow
def test_changes_are_taken_seed_by_seed(performed: tuple[Lake, list[Row]]) -> None:
    """Slow: see `performed`."""
    own, rows = performed
    stored = own.read(tables.EXPERIMENTS).collect()
    assert sorted(row["arm"] for row in stored) == ["filtered", "raw"]
    values = {row["model"]: row["value"] for row in own.read(tables.EVALUATIONS).collect()}
    changes = [values[f"e.filtered.{seed}"] - values[f"e.raw.{seed}"] for seed in (1, 2)]
    found = next(row for row in rows if row["arm"] == "filtered")
    assert found["change"] == pytest.approx(np.mean(changes))
    half = 12.7062 * np.std(changes, ddof=1) / np.sqrt(2)  # Student's t of one degree of freedom
    assert (found["change_low"], found["change_high"]) == pytest.approx(
        (found["change"] - half, found["change"] + half), rel=1e-3
    )
    base = next(row for row in rows if row["arm"] == "raw")
    assert (base["change"], base["change_low"], base["change_high"]) == (0.0, 0.0, 0.0)


def test_shipped_experiments_name_what_there_is() -> None:
    found = config.load(config.find("experiments", "curation"), ExperimentConfig)
    planned = experiment.plan(found, LINE)
    assert [line.recipe.name for _, line, _ in planned.arms] == ["raw", "fineweb-rules", "fineweb", "golden"]


def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as raised:
        ExperimentConfig("e", "d", (*ARMS, ARMS[0]), "none", "t", steps=0, evaluations="v", seeds=(1, 1))
    for part in ("each named once", "baseline is 'none'", "wanted two or more different ones", "steps is 0"):
        assert part in str(raised.value)
    wrong = settings(tmp_path)
    held_out = {"name": "own", "task": "bits_per_byte", "training_set": "pretrain.held_out"}
    Path(wrong.evaluations).write_text(yaml.safe_dump({"benchmarks": [held_out]}))
    with pytest.raises(ConfigError, match="benchmarks own read sets of the lake, which an arm may have seen"):
        experiment.plan(wrong, LINE)
