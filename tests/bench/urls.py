"""URLs per second of `etl.kernels.urls`, and what it costs to hold long lists; beside datatrove's URL filter.

    python -m tests.bench.urls --warc PAGES.warc.gz [--domains FILE] [--urls FILE] [--hosts N]

`--warc` gives real addresses, `--domains` and `--urls` block lists in the form of UT1. With `--theirs`, datatrove's URL
filter reads the same addresses with the lists and words that it ships, and the rules that both have are compared one
by one. It pins other packages, so give it an environment of its own:

    python -m venv datatrove-env
    datatrove-env/bin/pip install "datatrove[processing]" pyahocorasick fastwarc "pandas<3" pyarrow tldextract idna
    PYTHONPATH=. datatrove-env/bin/python -m tests.bench.urls --warc PAGES.warc.gz --theirs

Addresses of the lists themselves are mixed in (`--hosts`, 20,000 unless told), so that the rules have something to
find. Times are CPU times of one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecordType

from etl.kernels import urls

ROUNDS = 3
BATCH_ROWS = 5000


def addresses(warcs: Sequence[str]) -> list[str]:
    found = []
    for name in warcs:
        with open(name, "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                found.append(record.headers["WARC-Target-URI"].strip("<>"))
    return found


def listed_addresses(domains: Path | None, listed_urls: Path | None, count: int) -> list[str]:
    """Addresses that a list covers, and as many that look alike and are not covered."""
    draw = random.Random(1)
    made: list[str] = []
    if domains:
        names = domains.read_text().split()
        for name in draw.sample(names, min(count // 2, len(names))):
            made += [f"https://www.{name}/page", f"https://not{name}/page"]
    if listed_urls:
        lines = listed_urls.read_text().split()
        for line in draw.sample(lines, min(count // 4, len(lines))):
            made += [f"http://{line}", line.join(("http://", "/below"))]
    draw.shuffle(made)
    return made


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def rate(count: int, seconds: float) -> str:
    return f"{count / seconds:12,.0f} URLs/s/core"


def datatrove_lists() -> tuple[Path, dict[str, Path]]:
    """The lists that datatrove ships, unpacked, and its words."""
    import tarfile

    from datatrove.utils._import_utils import ASSETS_PATH

    folder = Path(tempfile.mkdtemp())
    (archive,) = Path(ASSETS_PATH).glob("url_filterblacklists*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    names = {"hard_words": "banned_words", "soft_words": "soft_banned_words", "sub_words": "banned_subwords"}
    return folder, {kind: Path(ASSETS_PATH) / f"{name}.txt" for kind, name in names.items()}


def as_ours(source: Path, words: dict[str, Path], folder: Path) -> None:
    """datatrove's words as it reads them: each line without what is no letter or digit."""
    from datatrove.pipeline.filters.url_filter import normalize

    for kind in ("domains", "urls"):
        (folder / kind).symlink_to((source / kind).resolve())
    for kind, path in words.items():
        lines = [normalize(line) for line in path.read_text().splitlines() if not line.startswith("#")]
        (folder / kind).write_text("\n".join(sorted(set(lines))) + "\n")


def their_reasons(given: Sequence[str]) -> tuple[list[str | None], float]:
    from datatrove.data import Document
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    url_filter = URLFilter()
    url_filter.tldextractor = TLDExtract(suffix_list_urls=())  # the list that comes with the package
    url_filter.filter(Document(text="", id="0", metadata={"url": "https://example.com/"}))  # loads its lists
    reasons: list[str | None] = []
    start = time.process_time()
    for url in given:
        outcome: Any = url_filter.filter(Document(text="", id="0", metadata={"url": url}))
        reasons.append(outcome[1] if isinstance(outcome, tuple) else None)
    return reasons, time.process_time() - start


# Per reason of datatrove, in the order of its checks: what our columns say.
SAME_RULES = {
    ("domain", "subdomain", "url"): lambda row: row["url_list"] != urls.NONE,
    ("hard_blacklisted",): lambda row: row["url_hard_words"] > 0,
    ("soft_blacklisted",): lambda row: row["url_soft_words"] > 1,
    ("blacklisted_subword",): lambda row: row["url_sub_words"] > 0,
}


def compare(given: Sequence[str], rows: Sequence[dict[str, Any]], reasons: Sequence[str | None]) -> list[str]:
    """One line per rule, and up to three addresses on which the two differ. datatrove stops at its first reason."""
    lines = [f"{'rule':28}{'both':>8}{'datatrove only':>16}{'ours only':>12}{'neither':>10}"]
    order = list(SAME_RULES)
    for position, (names, fires) in enumerate(SAME_RULES.items()):
        counts = {"both": 0, "theirs": 0, "ours": 0, "neither": 0}
        examples: list[str] = []
        earlier = {name for before in order[:position] for name in before}
        for url, row, reason in zip(given, rows, reasons, strict=True):
            if reason in earlier:
                continue
            ours, theirs = bool(fires(row)), reason in names
            case = "both" if ours and theirs else "ours" if ours else "theirs" if theirs else "neither"
            counts[case] += 1
            if ours != theirs and sum(case in example for example in examples) < 3:
                examples.append(f"    {case} only: {url[:110]} ({row['url_words_found'] or row['url_list_entry']})")
        lines.append(
            f"{'/'.join(names):28}{counts['both']:8}{counts['theirs']:16}{counts['ours']:12}{counts['neither']:10}"
        )
        lines += examples
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", nargs="+", required=True)
    parser.add_argument("--domains", type=Path)
    parser.add_argument("--urls", type=Path)
    parser.add_argument("--hosts", type=int, default=20_000, help="addresses made from the lists")
    parser.add_argument("--theirs", action="store_true", help="the lists and words that datatrove ships")
    options = parser.parse_args(argv)
    write = sys.stdout.write
    if options.theirs and importlib.util.find_spec("datatrove") is None:
        parser.error("--theirs needs datatrove")

    real = addresses(options.warc)
    folder = Path(tempfile.mkdtemp())
    domains, listed_urls = options.domains, options.urls
    if options.theirs:
        unpacked, words = datatrove_lists()
        as_ours(unpacked, words, folder)
        domains, listed_urls = unpacked / "domains", unpacked / "urls"
    else:
        for kind, path in (("domains", domains), ("urls", listed_urls)):
            if path:
                (folder / kind).symlink_to(path.resolve())
    paths: list[str | Path] = [folder] if any(folder.iterdir()) else []
    before, start = resident_bytes(), time.process_time()
    lists = urls.Lists.load(paths if options.theirs else [*paths, "adult"])
    seconds = time.process_time() - start
    write(
        f"{lists.domains.size:,} domains, {lists.urls.size:,} URLs, {len(lists.hard_words)} hard, "
        f"{len(lists.soft_words)} soft and {len(lists.sub_words)} sub-words: {seconds:.1f} s to read, "
        f"{(resident_bytes() - before) / 2**20:.0f} MiB more of which arrays {_array_bytes(lists) / 2**20:.0f}\n"
    )
    given = [*real, *listed_addresses(domains, listed_urls, options.hosts)]
    write(f"{len(given):,} addresses, {len(real):,} of them real\n")
    best, rows = float("inf"), []
    for _ in range(ROUNDS):
        start = time.process_time()
        batches = [urls.batch(given[at : at + BATCH_ROWS], lists) for at in range(0, len(given), BATCH_ROWS)]
        best = min(best, time.process_time() - start)
    rows = [row for batch in batches for row in batch.to_pylist()]
    write(f"urls.batch           {rate(len(given), best)}\n")
    of_real = rows[: len(real)]
    for column in ("url_list", "url_path_kind"):
        counts: dict[str, int] = {}
        for row in of_real:
            counts[row[column]] = counts.get(row[column], 0) + 1
        write(f"real pages, {column}: {dict(sorted(counts.items(), key=lambda item: -item[1]))}\n")
    if options.theirs:
        reasons, seconds = their_reasons(given)
        write(f"datatrove URLFilter  {rate(len(given), seconds)}\n")
        write("\n".join(compare(given, rows, reasons)) + "\n")
        shutil.rmtree(unpacked)
    shutil.rmtree(folder)


def _array_bytes(lists: urls.Lists) -> int:
    arrays = (lists.domains, lists.domain_lists, lists.urls, lists.url_lists, lists.url_hosts)
    return sum(array.nbytes for array in arrays)


if __name__ == "__main__":
    main()
