"""Pages per second of CPU that the embedded sample is written at, and how big the pages are.

    python tests/bench/bench_sample.py --pages 6000

One process; times are CPU times, so other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from etl import sample
from etl.sample import passages


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=6000)
    pages = parser.parse_args(argv).pages
    start = time.process_time()
    pool = passages.pool()
    ready = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        written = sample.write_sample(Path(folder), pages=pages)
        seconds = time.process_time() - ready
        stored = sum(counts.bytes for counts in written.counts)
    words = sum(passage.words for passage in pool.passages)
    sys.stdout.write(
        f"pool: {len(pool.passages):,} passages, {words:,} words in {ready - start:.1f} s\n"
        f"sample: {pages:,} pages in {seconds:.1f} s, {pages / seconds:,.0f} pages/s, "
        f"{stored / pages:,.0f} stored bytes a page\n"
    )


if __name__ == "__main__":
    main()
