"""Run the whole line on archives and say what it took: files, records, pages, kept, seconds, and peak memory.

Usage:
    python tests/bench/measure_run.py FILE_OR_FOLDER ... [--cores 2] [--driver-memory 3g] [--set KEY=VALUE]

Memory is the resident size of all processes of the run, sampled twice a second: the JVM, and the Python processes
(driver and workers; pages that forks share are counted in each, so this is an upper bound).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from etl import session, tables
from etl.lake import Lake

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident(group: int) -> tuple[int, int]:
    """Resident bytes of the JVM and of the Python processes in a process group.

    While the JVM starts a process, a copy of it is there for a moment: the largest one counts.
    """
    java = python = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group:
                size = int(fields[21]) * PAGE_BYTES
                is_java = (process / "exe").resolve().name == "java"
                java, python = (max(java, size), python) if is_java else (java, python + size)
        except (OSError, IndexError, ValueError):  # the process has ended
            continue
    return java, python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+")
    parser.add_argument("--warehouse", help="keep the lake here (a temporary folder)")
    parser.add_argument("--job", default="run", help="another job of goldenlake, such as ingest (run)")
    options, passed = parser.parse_known_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        lake = options.warehouse or f"{folder}/lake"
        command = [
            sys.executable,
            "-m",
            "etl.cli",
            options.job,
            "--warehouse",
            lake,
            "--input",
            *options.input,
            *passed,
        ]
        began, peak_java, peak_python, peak = time.perf_counter(), 0, 0, 0
        run = subprocess.Popen(command, start_new_session=True)
        while run.poll() is None:
            java, python = resident(run.pid)
            peak_java, peak_python, peak = max(peak_java, java), max(peak_python, python), max(peak, java + python)
            time.sleep(0.5)
        seconds = time.perf_counter() - began
        if run.returncode != 0:
            raise SystemExit(run.returncode)
        spark = session.connect(session.SessionConfig(cores=2), Path(folder) / "spark.log")
        tell(Lake(spark, lake).open(), console)
        console.print(f"{seconds:.0f} s, peak memory {peak / 1e9:.2f} GB (JVM {peak_java / 1e9:.2f}, ", end="")
        console.print(f"Python {peak_python / 1e9:.2f})")


def tell(lake: Lake, console: Console) -> None:
    files = lake.read(tables.WARC_FILES).groupBy("status").count().orderBy("status").collect()
    records = lake.read(tables.WARC_FILES).selectExpr("sum(records)", "sum(bytes)").collect()[0]
    pages = lake.read(tables.DOCUMENTS).selectExpr("count(*)", "count(text)").collect()[0]
    rows = lake.read(tables.DISPOSITIONS).groupBy("decision").count().collect()
    console.print("archives: " + ", ".join(f"{row['count']} {row['status']}" for row in files))
    console.print(f"records {records[0]:,} in {records[1]:,} bytes; pages {pages[0]:,}, with text {pages[1]:,}")
    console.print("dispositions: " + ", ".join(f"{row['count']:,} {row['decision']}" for row in rows))


if __name__ == "__main__":
    main()
