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

from etl import pipeline, rebuild, tables
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
            [*command, "--warehouse", str(warehouse), "--set", "cascade=off", "--input", *inputs],
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
        plan = pipeline.plan(PipelineConfig(input=tuple(inputs), crawl="sample", cascade=False))
        for step in pipeline.STEPS:
            step(resumed, plan)
        assert resumed.reporter.runs[0].skipped, "what stood before the kill is not done again"
        assert differing(lake, resumed.lake) == {}
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")


def test_a_page_that_cannot_be_kept_is_not_extracted_and_the_corpus_is_the_same(
    spark: SparkSession, lake: Lake, crawl: Sample, tmp_path: Path
) -> None:
    """The cascade on the whole sample, beside the lake in which every page was extracted."""
    runner = runner_on(spark, tmp_path / "lake", "cascade")
    plan = pipeline.plan(PipelineConfig(input=tuple(map(str, crawl.files)), crawl="sample"))
    for step in (pipeline.ingest, pipeline.extract, pipeline.annotate, pipeline.curate):
        step(runner, plan)
    columns = ["doc_id", "text", "tokens"]
    left, right = (each.read(tables.CORPUS).select(*columns) for each in (runner.lake, lake))
    assert {row["doc_id"] for row in left.exceptAll(right).collect()} == set()
    assert {row["doc_id"] for row in right.exceptAll(left).collect()} == set()
    skipped = runner.lake.read(tables.DOCUMENTS).where("skipped IS NOT NULL")
    early = {row["doc_id"]: row["skipped"]["rule"] for row in skipped.collect()}
    assert len(early) > 20
    whole = {row["doc_id"]: row for row in lake.read(tables.DISPOSITIONS).collect()}
    assert all(
        rule in whole[doc_id]["failed_rules"] or whole[doc_id]["stage"] == "documents" for doc_id, rule in early.items()
    )
    decided = {row["doc_id"]: row for row in runner.lake.read(tables.DISPOSITIONS).collect()}
    assert len(decided) == len(whole), "the ledger is whole"
    assert all(decided[doc_id]["rule"] == rule for doc_id, rule in early.items())


@pytest.mark.parametrize("partitions", [1, 7])
def test_a_training_set_is_rebuilt_from_its_manifest(lake: Lake, spark: SparkSession, partitions: int) -> None:
    spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
    try:
        result = rebuild.rebuild(lake, "pretrain")
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")
    assert result.is_equal
    assert result.rebuilt[1] > 100
