"""Write the sample: ``python -m etl.sample DIRECTORY --pages 2000 --seed 1``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from etl import sample
from etl.errors import GoldenlakeError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m etl.sample", description="Write a crawl of fictional sites.")
    parser.add_argument("directory", type=Path, help="where the files go; a sample that is there is replaced")
    parser.add_argument("--pages", type=int, default=2000, help=f"{sample.MIN_PAGES} to {sample.MAX_PAGES}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(argv)
    try:
        written = sample.write_sample(
            options.directory, pages=options.pages, seed=options.seed, processes=options.processes
        )
    except GoldenlakeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    records = sum(counts.records for counts in written.counts)
    sys.stdout.write(f"{options.pages} pages, {records} records in {len(written.files)} files; {written.truth}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
