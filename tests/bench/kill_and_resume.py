"""Kill runs of the pipeline with SIGKILL at many moments, go on, and compare every row with that of a clean run.

Usage:
    python -m tests.bench.kill_and_resume --kills 12 --pages 300

One lake is killed again and again: each run goes some commits further than the last, drawn from --seed, and then up to
six seconds into the work on the next, so the kills are spread over all stages. Then one run is left to end. Prints a
line for each kill with the commits that stood by then, and the verdict; ends with status 1 when a table differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from etl import sample, session, tables
from etl.lake import Lake
from tests.comparing import differing


def start(warehouse: Path, archives: tuple[Path, ...], log: Path) -> subprocess.Popen[bytes]:
    """A run of the pipeline in a process group of its own, JVM and Python workers with it."""
    command = [sys.executable, "-m", "etl.cli", "run", "--warehouse", str(warehouse), "--crawl", "sample", "--input"]
    return subprocess.Popen(
        [*command, *map(str, archives)], stdout=log.open("ab"), stderr=subprocess.STDOUT, start_new_session=True
    )


def commits(warehouse: Path) -> int:
    """Commits in all tables, without asking Spark."""
    return len(list(warehouse.glob("*/_delta_log/*.json")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console, moments = Console(highlight=False), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        crawl = sample.write_sample(root / "crawl", pages=options.pages)
        log = root / "log"
        began = time.perf_counter()
        clean = start(root / "clean", crawl.files, log).wait()
        whole = time.perf_counter() - began
        if clean != 0:
            console.print(log.read_text()[-3000:])
            return 2
        final = commits(root / "clean")
        console.print(f"clean run: {whole:.0f} s, {final} commits")
        for kill in range(1, options.kills + 1):
            # Some commits further than the last kill, and then anywhere in the work on the next one.
            standing = commits(root / "killed")
            target = min(final - 1, standing + moments.randint(0, max(1, 2 * final // options.kills)))
            delay = moments.uniform(0, 6)
            run = start(root / "killed", crawl.files, log)
            while run.poll() is None and (
                commits(root / "killed") < target or not (root / "killed/warc_files").exists()
            ):
                time.sleep(0.05)
            try:
                run.wait(delay)
                console.print(f"kill {kill:>2}: the run had ended")
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
                console.print(f"kill {kill:>2}: {commits(root / 'killed'):>3} of {final} commits stand")
        if start(root / "killed", crawl.files, log).wait() != 0:
            console.print(log.read_text()[-3000:])
            return 2
        return compare(root / "clean", root / "killed", console)


def compare(clean: Path, killed: Path, console: Console) -> int:
    """Print, for each table, how many rows only one of the lakes has; 1 when there are any."""
    spark = session.connect(session.SessionConfig(cores=2, driver_memory="2g"), clean / "_spark.log")
    left, right = Lake(spark, str(clean), "clean").open(), Lake(spark, str(killed), "killed").open()
    found = differing(left, right)
    for table in tables.ALL:
        console.print(f"  {table.name:<24} {found.get(table.name, 0)} rows differ")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
