"""The sample: a crawl that goldenlake makes itself, with the truth about every page of it.

Web archives are big, belong to others, and nobody knows what is true about their pages. The
sample is for trying goldenlake without a network and for measuring it: WARC files of
fictional sites whose articles are prose that every installation has (`etl.sample.passages`)
or that was written for it (`etl.sample.texts`), together with duplicates, spam, broken pages and
broken records (`etl.sample.kinds`), and a file that says what is what.

    python -m etl.sample crawl --pages 2000

The same number of pages, seed and installed packages give the same bytes.
"""

import dataclasses
import itertools
import json
import math
import multiprocessing
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from etl.errors import ConfigError
from etl.sample import archive, kinds, passages
from etl.sample.archive import Counts, Plan
from etl.sample.pages import MAX_PAGES as MAX_PAGES
from etl.sample.pages import Crawl
from etl.sample.passages import Pool

MIN_PAGES = kinds.DECK
PAGES_PER_FILE = 5000
MIN_FILES = 4  # so that a small sample too is read in parallel, and holds one undamaged file

TRUTH, SUMMARY = "truth.jsonl.gz", "truth.json"
_FILE_NAME = re.compile(r"sample-\d{5}\.warc\.gz(?:\.truth)?")


@dataclass(frozen=True)
class Sample:
    """What `write_sample` has written.

    ``truth`` has one JSON object a line and page: where its record is, its kind, its main text, and
    what should become of it (`etl.sample.archive`, `etl.sample.kinds`). ``summary`` is one object
    with the number of records in each file, so that a ledger can be checked against it. Of a page
    and its exact duplicates one should be kept; the truth takes the one fetched first for the original.
    A near duplicate has its ``jaccard`` to the original, by runs of five words: from the similarity on
    that a recipe wants, it is one more of those.
    """

    files: tuple[Path, ...]
    truth: Path
    summary: Path
    counts: tuple[Counts, ...]  # one for each file

    @property
    def kinds(self) -> dict[str, int]:
        """Pages of each kind."""
        return dict(sum((Counter(counts.kinds) for counts in self.counts), Counter()))


def write_sample(directory: Path, *, pages: int, seed: int = 1, processes: int = 1) -> Sample:
    """Write a sample of `pages` pages to `directory`, in place of the sample that may be there.

    `processes` changes nothing but the time it takes.

    Raises:
        ConfigError: `pages` or `processes` is out of range.
    """
    problems = []
    if not MIN_PAGES <= pages <= MAX_PAGES:
        problems.append(f"pages is {pages}, wanted {MIN_PAGES} to {MAX_PAGES}")
    if processes < 1:
        problems.append(f"processes is {processes}, wanted 1 or more")
    if problems:
        raise ConfigError(f"sample: {'; '.join(problems)}")
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if _FILE_NAME.fullmatch(path.name) or path.name in (TRUTH, SUMMARY):
            path.unlink()
    plans = _plans(pages)
    truth, summary = directory / TRUTH, directory / SUMMARY
    counts = []
    with truth.open("wb") as lines:
        for written, part in _write_all(plans, seed, directory, min(processes, len(plans))):
            counts.append(written)
            # Gzip members one after the other are a gzip file (RFC 1952, 2.2).
            with part.open("rb") as source:
                shutil.copyfileobj(source, lines)
            part.unlink()
    sample = Sample(tuple(directory / plan.name for plan in plans), truth, summary, tuple(counts))
    facts = {
        "pages": pages,
        "seed": seed,
        "records": sum(file.records for file in counts),
        "unreadable": sum(file.unreadable for file in counts),
        "kinds": sample.kinds,
        "files": {file.warc_filename: dataclasses.asdict(file) for file in counts},
    }
    summary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return sample


def _plans(pages: int) -> list[Plan]:
    """The files of a sample: the second, third and last are damaged, each in its way."""
    size = min(PAGES_PER_FILE, math.ceil(pages / MIN_FILES))
    ranges = [range(start, min(start + size, pages)) for start in range(0, pages, size)]
    damages = {1: kinds.CORRUPT_MEMBER, 2: kinds.BAD_LENGTH, len(ranges) - 1: kinds.CUT_RECORD}
    return [Plan(f"sample-{number:05d}.warc.gz", serials, damages.get(number)) for number, serials in enumerate(ranges)]


def _write_all(plans: Sequence[Plan], seed: int, directory: Path, processes: int) -> Iterator[tuple[Counts, Path]]:
    """Write every file, and yield what was written in the order of `plans`."""
    pool = passages.pool()
    if processes == 1:
        crawl = Crawl(seed, pool)
        yield from (archive.write(plan, crawl, directory) for plan in plans)
        return
    # Spawned and not forked: the caller may have threads, such as those of a Spark session.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _prepare, (seed, pool)) as executor:
        yield from executor.map(_write_one, plans, itertools.repeat(directory))


_crawl: Crawl


def _prepare(seed: int, pool: Pool) -> None:
    global _crawl
    _crawl = Crawl(seed, pool)


def _write_one(plan: Plan, directory: Path) -> tuple[Counts, Path]:
    return archive.write(plan, _crawl, directory)
