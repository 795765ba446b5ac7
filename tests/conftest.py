"""One Spark session and one finished lake for all tests: both take seconds to make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from etl import pipeline, sample, session
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner

SAMPLE_PAGES = 300


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session of two cores with Delta, tuned for tests: few partitions, no UI, a small heap."""
    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
    }
    config = session.SessionConfig(cores=2, driver_memory="2g", options=(*options.items(), session.SHORT_RUN))
    spark = session.connect(config, log=folder / "spark.log")
    yield spark
    spark.stop()


def runner_on(spark: SparkSession, warehouse: Path, namespace: str) -> Runner:
    """A runner on a lake of its own beside others in the same session."""
    lake = Lake(spark, str(warehouse), namespace).open()
    return Runner(lake, Reporter(spark, Console(quiet=True)))


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> sample.Sample:
    """The embedded sample, small."""
    return sample.write_sample(tmp_path_factory.mktemp("sample"), pages=SAMPLE_PAGES, seed=1)


@pytest.fixture(scope="session")
def lake(spark: SparkSession, crawl: sample.Sample, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The whole line run on the sample. Tests read it and leave it as it is."""
    runner = runner_on(spark, tmp_path_factory.mktemp("lake"), "finished")
    inputs = tuple(str(path) for path in crawl.files)
    plan = pipeline.plan(PipelineConfig(input=inputs, crawl="sample"))
    for step in pipeline.STEPS:
        step(runner, plan)
    return runner.lake
