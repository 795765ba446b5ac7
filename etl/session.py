"""The one place that knows how a Spark session with Delta comes about.

On Databricks, EMR, Spark Connect or under ``spark-submit`` the platform has made one, and we take it as it is:
settings for clusters are in ``conf/spark``. Otherwise a classic local session is started, with settings for small
machines: Delta's defaults run fifty tasks to read a table's log, which is nine tenths of the time on two cores.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from etl.errors import SessionError

logger = logging.getLogger(__name__)

JARS_VARIABLE = "GOLDENLAKE_JARS"
NLP_VARIABLE = "GOLDENLAKE_SPARK_NLP"
_DELTA = {"3.5": "io.delta:delta-spark_2.12:3.3.2", "4.0": "io.delta:delta-spark_2.13:4.0.0"}
_DELTA_NEWEST = "io.delta:delta-spark_{spark}_2.13:4.4.0"

# What Delta asks Maven for and Spark has already: without these, 7 jars of 13 MB are fetched instead of 33 of 87 MB.
_SPARK_HAS = (
    "com.fasterxml.jackson.core:jackson-annotations",
    "com.fasterxml.jackson.core:jackson-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "com.fasterxml.jackson.datatype:jackson-datatype-jdk8",
    "com.github.luben:zstd-jni",
    "com.google.code.findbugs:jsr305",
    "commons-logging:commons-logging",
    "commons-pool:commons-pool",
    "io.airlift:aircompressor",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
    "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j:log4j-core",
    "org.apache.logging.log4j:log4j-slf4j2-impl",
    "org.apache.parquet:parquet-hadoop",
    "org.roaringbitmap:RoaringBitmap",
    "org.slf4j:slf4j-api",
    "org.xerial.snappy:snappy-java",
)

# Spark NLP as Maven Central has it: for Spark 3.5 alone. Its annotators of ONNX models name classes of TensorFlow's
# API, but run nothing of it, nor of the other two engines, which are gigabytes.
SPARK_NLP = ("com.johnsnowlabs.nlp:spark-nlp_2.12:5.5.3", "org.tensorflow:tensorflow-core-api:0.4.0")
_NLP_UNUSED = (
    "com.johnsnowlabs.nlp:jsl-llamacpp-cpu_2.12",
    "com.johnsnowlabs.nlp:jsl-openvino-cpu_2.12",
    "com.johnsnowlabs.nlp:tensorflow-cpu_2.12",
)
# Tasks are as many as cores; without it each would compute on threads of its own besides.
SETTINGS_NLP = {"spark.jsl.settings.onnx.intraOpNumThreads": "1"}

SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.io.compression.codec": "zstd",
    # Text rows are large: the defaults of 10,000 rows a batch and 4,096 a vector overflow 2 GiB buffers.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "256",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
    "spark.sql.parquet.columnarReaderBatchSize": "256",
    "spark.hadoop.parquet.block.size": str(32 << 20),
    # What hangs is the business of etl.kernels.sandbox; this is for what hangs elsewhere, and must leave time for a
    # batch in which every page takes all of its own.
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.sql.execution.pyspark.udf.idleTimeoutSeconds": "3600",
    "spark.sql.execution.pyspark.udf.killOnIdleTimeout": "true",
}
SETTINGS_LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "8",
    "spark.python.daemon.module": "etl.daemon",
    "spark.executor.heartbeatInterval": "1s",  # how often the progress bar hears of rows
    "spark.executor.heartbeat.maxFailures": "600",  # ten minutes as ever, not one: a machine with other work is slow
    "spark.network.timeoutInterval": "60s",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:-UsePerfData",
}

# For runs of a minute or two, where most of the JVM's work is to compile itself: a fifth of the time less. The quick
# compiler alone would get 48 MB for its code, which the queries of some hundred tests fill; then all is compiled anew.
SHORT_RUN = (
    "spark.driver.extraJavaOptions",
    "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:-UsePerfData",
)


@dataclass(frozen=True)
class SessionConfig:
    """A local session: `cores` of this machine (0: all of them), heap of the JVM, more Spark options.

    `jars` is a directory of jar files for machines that reach no Maven repository; else the environment variable
    GOLDENLAKE_JARS names it; else Spark resolves Delta by its coordinates and keeps it in its Ivy cache.

    `nlp` brings the 95 jars of Spark NLP along, some 290 MB, as does any value of GOLDENLAKE_SPARK_NLP. For its jar for
    Spark 4, which its makers give to their customers, put it into the directory of `jars` beside Delta's.
    """

    cores: int = 0
    driver_memory: str = "3g"
    jars: str | None = None
    nlp: bool = False
    options: tuple[tuple[str, str], ...] = ()


def delta_coordinates(spark_version: str) -> str:
    """Maven coordinates of the Delta that fits a Spark version such as 4.1.4."""
    line = ".".join(spark_version.split(".")[:2])
    return _DELTA.get(line, _DELTA_NEWEST.format(spark=line))


def is_given() -> bool:
    """Whether a platform has made the session, or the JVM, before us."""
    variables = ("DATABRICKS_RUNTIME_VERSION", "SPARK_REMOTE", "PYSPARK_GATEWAY_PORT")
    return any(name in os.environ for name in variables) or SparkSession.getActiveSession() is not None


def connect(config: SessionConfig, log: Path | None = None) -> SparkSession:
    """The platform's session, or else a local one whose JVM writes its messages to `log`.

    Raises:
        SessionError: Java is missing, jars could not be had, or the platform's session has no Delta.
    """
    if is_given():
        spark = SparkSession.builder.getOrCreate()
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    else:
        spark = _local(config, log)
    _check_delta(spark)
    return spark


def _local(config: SessionConfig, log: Path | None) -> SparkSession:
    if pyspark.__version__ == "4.2.0":
        raise SessionError("pyspark 4.2.0 hangs on Python functions over Parquet (SPARK-58241); install pyspark 4.1.4")
    # Workers started from a virtual environment that was not activated would be another Python.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # Four attempts, as on a cluster: one attempt, the default of local mode, could not repeat a killed worker's task.
    builder = SparkSession.builder.appName("goldenlake").master(f"local[{config.cores or '*'},4]")
    for name, value in local_settings(config).items():
        builder = builder.config(name, value)
    try:
        with _errors_to(log):
            return builder.getOrCreate()
    except Exception as error:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:] if log and log.exists() else []
        hint = "is Java 17 or 21 installed, and can the Maven repository be reached? Offline, name a directory of jars"
        raise SessionError(f"Spark did not start: {hint} in {JARS_VARIABLE}\n" + "\n".join(tail)) from error


def local_settings(config: SessionConfig) -> dict[str, str]:
    """Every Spark option of a local session.

    Raises:
        SessionError: the directory of jars has no Delta, or Spark NLP was asked for and cannot be had.
    """
    settings = {**SETTINGS, **SETTINGS_LOCAL, "spark.driver.memory": config.driver_memory, **_jars(config)}
    if _wants_nlp(config):
        settings |= SETTINGS_NLP
    return {**settings, **dict(config.options)}


def _wants_nlp(config: SessionConfig) -> bool:
    return config.nlp or bool(os.environ.get(NLP_VARIABLE))


def _jars(config: SessionConfig) -> dict[str, str]:
    directory = config.jars or os.environ.get(JARS_VARIABLE)
    nlp = _wants_nlp(config)
    if not directory:
        packages, excludes = [delta_coordinates(pyspark.__version__)], [*_SPARK_HAS]
        if nlp:
            if not pyspark.__version__.startswith("3.5."):
                raise SessionError(
                    f"Spark NLP was asked for, but its public jar is for Spark 3.5 and this is pyspark "
                    f"{pyspark.__version__}: use ./run --spark 3.5, or put your jar of it beside Delta's into the "
                    f"directory that {JARS_VARIABLE} names"
                )
            packages, excludes = [*packages, *SPARK_NLP], [*excludes, *_NLP_UNUSED]
        return {"spark.jars.packages": ",".join(packages), "spark.jars.excludes": ",".join(excludes)}
    jars = sorted(str(path) for path in Path(directory).glob("*.jar"))
    found = f"found {len(jars)} jar files"
    if not any("delta-spark" in Path(jar).name for jar in jars):
        raise SessionError(f"{directory}: wanted delta-spark and delta-storage jars, {found}")
    if nlp and not any("spark-nlp" in Path(jar).name for jar in jars):
        raise SessionError(f"{directory}: wanted spark-nlp and the jars it needs beside Delta's, {found} without it")
    return {"spark.jars": ",".join(jars)}


@contextmanager
def _errors_to(log: Path | None) -> Iterator[None]:
    """Let processes started inside inherit `log` as their standard output and error."""
    if log is None:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with log.open("ab") as target:
            os.dup2(target.fileno(), 1)
            os.dup2(target.fileno(), 2)
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        os.close(kept[0])
        os.close(kept[1])


def _check_delta(spark: SparkSession) -> None:
    extensions = spark.conf.get("spark.sql.extensions", "") or ""
    if "DeltaSparkSessionExtension" not in extensions and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        wanted = delta_coordinates(spark.version)
        raise SessionError(
            f"this Spark {spark.version} session has no Delta (spark.sql.extensions is {extensions!r}); start it with "
            f"--properties-file conf/spark/local.conf, or with --packages {wanted} and the two settings named there"
        )
