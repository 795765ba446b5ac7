"""One Spark session for all tests of a process, and one finished lake for all processes: it takes minutes to make."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession
from rich.console import Console

from etl import pipeline, sample, session
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner

SAMPLE_PAGES = 300

# On a machine with other work an example may take any time; what hangs is seen without a deadline too.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of short tests last, so that no process ends with a long one while another has nothing left."""
    items.sort(key=lambda item: item.path.parent.name in ("kernels", "learn"))


@contextmanager
def made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of a test run share, and whether it is made; the first makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_suffix(".made")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, made.exists()
        made.touch()


# Of queries over some hundred rows most is to write and compile code for them. Jobs that tests start as processes of
# their own have it compiled, as users do. A lake with all of its pages took 131 s instead of 180.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
BLANK = "spark.goldenlake.blank"  # where the session knows of a lake without rows


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session of two cores with Delta, tuned for tests: few partitions, no UI, a small heap, no compiling."""
    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
        **INTERPRETED,
    }
    config = session.SessionConfig(cores=2, driver_memory="2g", options=(*options.items(), session.SHORT_RUN))
    spark = session.connect(config, log=folder / "spark.log")
    with made_once(tmp_path_factory, "blank") as (blank, is_made):
        if not is_made:
            Lake(spark, str(blank), "blank").open()
    spark.conf.set(BLANK, str(blank))
    yield spark
    spark.stop()


def runner_on(spark: SparkSession, warehouse: Path, namespace: str) -> Runner:
    """A runner on a lake of its own beside others in the same session; tables are copied in a sixth of the time that
    making them takes."""
    blank = spark.conf.get(BLANK)
    assert blank is not None
    for table in Path(blank).iterdir():
        if not (warehouse / table.name).exists():
            shutil.copytree(table, warehouse / table.name)
    lake = Lake(spark, str(warehouse), namespace).open()
    return Runner(lake, Reporter(spark, Console(quiet=True)))


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> sample.Sample:
    """The embedded sample, small; one for all processes, since the finished lake names its place."""
    with made_once(tmp_path_factory, "sample") as (folder, is_made):
        made = folder / "sample.pickle"
        if not is_made:
            made.parent.mkdir()
            made.write_bytes(pickle.dumps(sample.write_sample(folder, pages=SAMPLE_PAGES, seed=1)))
        written: sample.Sample = pickle.loads(made.read_bytes())
    return written


@pytest.fixture(scope="session")
def lake(spark: SparkSession, crawl: sample.Sample, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The whole line run on a sample like `crawl`. Tests read it and leave it as it is."""
    with made_once(tmp_path_factory, "lake") as (folder, is_made):
        runner = runner_on(spark, folder, "finished")
        inputs = tuple(str(path) for path in crawl.files)
        plan = pipeline.plan(PipelineConfig(input=inputs, crawl="sample", cascade=False))
        for step in () if is_made else pipeline.STEPS:
            step(runner, plan)
    return runner.lake
