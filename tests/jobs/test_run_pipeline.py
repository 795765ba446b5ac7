"""The whole line as a user starts it: killed in the middle, gone on with, and the same on other partitions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from etl import pipeline, rebuild
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.sample import Sample
from tests.comparing import differing
from tests.conftest import runner_on


@pytest.mark.slow
def test_a_killed_run_ends_as_a_clean_one_on_other_partitions(
    spark: SparkSession, lake: Lake, crawl: Sample, tmp_path: Path
) -> None:
    """Slow because a process with a JVM of its own must be far enough to be worth a kill.

    More moments are tried by tests/bench/kill_and_resume.py.
    """
    warehouse = tmp_path / "lake"
    inputs = [str(path) for path in crawl.files]
    command = [sys.executable, "-m", "etl.cli", "run", "--cores", "2", "--driver-memory", "1g", "--crawl", "sample"]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [*command, "--warehouse", str(warehouse), "--input", *inputs],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not list(warehouse.glob("documents/_delta_log/*1.json")) and time.monotonic() < deadline:
            assert run.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        resumed = runner_on(spark, warehouse, "resumed")
        plan = pipeline.plan(PipelineConfig(input=tuple(inputs), crawl="sample"))
        for step in pipeline.STEPS:
            step(resumed, plan)
        assert resumed.reporter.runs[0].skipped, "what stood before the kill is not done again"
        assert differing(lake, resumed.lake) == {}
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")


@pytest.mark.parametrize("partitions", [1, 7])
def test_a_training_set_is_rebuilt_from_its_manifest(lake: Lake, spark: SparkSession, partitions: int) -> None:
    spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
    try:
        result = rebuild.rebuild(lake, "pretrain")
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")
    assert result.is_equal
    assert result.rebuilt[1] > 100
