"""The GPU of a Spark task. ``conf/spark/gpu.conf`` has the settings that clusters need."""

from __future__ import annotations

from pyspark import TaskContext

from etl.kernels import devices

RESOURCE = "gpu"  # as in spark.executor.resource.gpu.amount


def claim() -> str | None:
    """Give this process the GPU that Spark has for its task; None where there is none, and models run on the CPU.

    To be called in a task before a model is loaded. Spark hands out addresses and leaves the rest to the worker. Where
    it hands out none, as in local mode, on serverless clusters or without the settings, partitions are dealt out over
    the GPUs of the machine. Outside of a task nothing is chosen: CUDA then takes the first GPU.
    """
    context = TaskContext.get()
    if context is None:
        return None
    given = context.resources().get(RESOURCE)
    return devices.take(given.addresses if given else (), context.partitionId())
