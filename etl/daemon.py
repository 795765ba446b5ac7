"""The process that forks Spark's Python workers, with 90 ms less to do for every task.

Spark 4.0 and 4.1 put the Spark jar and two zip files on the worker's path, and each task lists them again
(SPARK-54744, mended in 4.2): two thirds of the fixed cost of a Python task. Here they leave the path, because
an installed pyspark does not need them, and the libraries that every worker imports are loaded once, before the
fork. Chosen by ``spark.python.daemon.module`` in `etl.session`; without it everything works, slower.
"""

import sys


def _leave_archives() -> None:
    def is_archive(path: str) -> bool:
        return path.endswith((".jar", "pyspark.zip")) or ("py4j-" in path and path.endswith("-src.zip"))

    sys.path[:] = [path for path in sys.path if not is_archive(path)]
    for path in [path for path in sys.path_importer_cache if is_archive(path)]:
        del sys.path_importer_cache[path]


_leave_archives()
import numpy  # noqa: E402, F401  shared by every fork; never anything that starts threads or CUDA
import pandas  # noqa: E402, F401
import pyarrow  # noqa: E402, F401
from pyspark.daemon import manager  # noqa: E402

_leave_archives()

if __name__ == "__main__":
    manager()  # type: ignore[no-untyped-call]  # pyspark has no types here
