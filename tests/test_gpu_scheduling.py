"""Spark's own scheduler hands out GPUs, and each task's process sees the one that its task was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from etl import resources, session

ROOT = Path(__file__).resolve().parents[1]

# A cluster of one executor with four slots and two GPUs that a script invents, as drivers have scripts to find real
# ones. Half a GPU a task: four tasks run at once, two on each.
WORK = """
import json, os, sys
import pyarrow as pa
from pyspark.sql import SparkSession
from etl.stages import devices

builder = SparkSession.builder.master("local-cluster[1,4,512]")
for name, value in json.loads(sys.argv[1]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()

def seen(batches):
    list(batches)
    rows = [{"claimed": devices.claim(), "again": devices.claim(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
             "torch": "torch" in sys.modules, "process": os.getpid()}]
    yield pa.RecordBatch.from_pylist(rows)

schema = "claimed string, again string, visible string, torch boolean, process long"
rows = spark.range(0, 4, 1, 4).mapInArrow(seen, schema).collect()
print(json.dumps([row.asDict() for row in rows]))
spark.stop()
"""


def settings(name: str) -> dict[str, str]:
    """What a file of conf/spark sets."""
    lines = (resources.folder("conf") / "spark" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))


def test_an_executor_has_a_core_for_each_task_on_its_gpus() -> None:
    told = settings("gpu.conf")
    gpus, share = float(told["spark.executor.resource.gpu.amount"]), float(told["spark.task.resource.gpu.amount"])
    assert gpus / share == int(told["spark.executor.cores"])


@pytest.mark.slow  # a driver and an executor are two JVMs to start, beside that of the other tests
def test_tasks_of_a_cluster_share_its_gpus_as_the_settings_say(tmp_path: Path) -> None:
    discover = tmp_path / "discover.sh"
    discover.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["0", "1"]}'\n""")
    discover.chmod(0o755)
    options = {
        **settings("gpu.conf"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        session.SHORT_RUN[0]: session.SHORT_RUN[1],
        "spark.executor.extraJavaOptions": session.SHORT_RUN[1],
        "spark.python.daemon.module": "etl.daemon",
        "spark.executor.memory": "512m",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.local.dir": str(tmp_path),
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(discover),
        "spark.executor.resource.gpu.amount": "2",
        "spark.executor.resource.gpu.discoveryScript": str(discover),
        "spark.task.resource.gpu.amount": "0.5",
    }
    # A worker keeps its files below SPARK_HOME, which is to be a place of this test's own.
    home = tmp_path / "spark"
    home.mkdir()
    for part in Path(pyspark.__file__).parent.iterdir():
        if part.name != "work":
            (home / part.name).symlink_to(part)
    told = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, json.dumps(options)],
        env={
            **told,
            "PYTHONPATH": str(ROOT),
            "SPARK_HOME": str(home),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert sorted(row["claimed"] for row in rows) == ["0", "0", "1", "1"]
    assert all(row["claimed"] == row["again"] == row["visible"] for row in rows)
    assert len({row["process"] for row in rows}) == 4
    assert not any(row["torch"] for row in rows)
