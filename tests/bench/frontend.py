"""From WARC to kept text: documents per second and core, where the time goes, what the cascade loses.

    python -m tests.bench.frontend --warc W [--gold G] [--language en] [--datatrove PYTHON] [--spark] [--memory 100000]

W is a WARC file, G a file of gold (JSON lines with ``url`` and ``main_content``, or else ``with`` and ``without``,
segments that are to be found or not). All that is timed is timed as CPU time of one process and its children, so other
work on the machine counts little.

Printed are, for the recipe FineWeb and every page of W: our kernels, with and without the cascade (`etl.stages.rules.
Early`), and with ``--language all`` without a rule on the language; which pages are kept with only one of the two;
with ``--datatrove`` the same filters by datatrove, run by an interpreter that has it (see ``datatrove_fineweb.py``);
with ``--gold`` the word F1 of both extractors, mean over all pages of G, or the F1 over all segments, where a lost page
has no text; with ``--spark`` what Spark adds to the kernels, in CPU of its processes over a run of some minutes on
copies of W, and without the first copy, with which the JVM starts; with ``--memory N`` the size of the extracting
process over N pages.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from etl import config, models, pipeline, session, tables
from etl.kernels import content, html, language, pages, pii, quality, tokens, urls, warc
from etl.kernels.sandbox import Sandbox
from etl.lake import Lake
from etl.progress import Reporter
from etl.runner import Runner
from etl.sample.pages import gzip_member
from etl.stages.curate import Recipe
from etl.stages.extract import PAGE_MIMES, PAGE_RECORDS, PAGE_STATUS, PAGES_AT_ONCE, ExtractParams
from etl.stages.rules import Early
from etl.stages.urls import UrlParams
from tests.bench import extraction
from tests.bench.dedup import cpu_seconds

CONSOLE = Console(highlight=False, width=160)
BATCH_BYTES = 16 << 20


@dataclass
class Front:
    """What one way of doing it gave."""

    name: str
    read: int = 0
    seconds: float = 0.0
    parts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    texts: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    skipped: int = 0
    lost: int = 0

    @property
    def rate(self) -> float:
        return self.read / self.seconds

    def show(self) -> None:
        of = f"{self.read} pages, {len(self.texts)} with text, {len(self.kept)} kept, {self.skipped} left out early"
        CONSOLE.print(f"{self.name:34} {self.rate:7.1f} documents/s/core  {of}, {self.lost} without a row")
        if self.parts:
            parts = (f"{name} {seconds / self.read * 1e3:.2f}" for name, seconds in self.parts.items())
            CONSOLE.print(f"{'':34} ms a page: {', '.join(parts)}")


@contextmanager
def timed(front: Front, part: str) -> Iterator[None]:
    began = time.process_time()
    yield
    front.parts[part] += time.process_time() - began


def groups(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(rows)
    while group := list(islice(source, size)):
        yield group


def is_page(row: dict[str, Any]) -> bool:
    """As `etl.stages.extract.is_page`, of a row."""
    return (
        row["ingest_error"] is None
        and row["warc_record_type"] in PAGE_RECORDS
        and row["fetch_status"] in (None, PAGE_STATUS)
        and bool(row["payload_length"])
        and row["content_mime_detected"] in PAGE_MIMES
    )


def kernels(name: str, path: Path, recipe: Recipe, params: ExtractParams, *, cascade: bool) -> Front:
    """The line from the archive to the decision, in this process."""
    early = Early(Early.of(recipe.rules)) if cascade else None
    front = Front(name)
    with path.open("rb") as file:
        batches = warc.record_batches(file, warc_filename=path.name, crawl="bench", batch_bytes=BATCH_BYTES)
        while True:
            with timed(front, "archive"):
                batch = next(batches, None)
                rows = [row for row in batch.to_pylist() if is_page(row)] if batch is not None else []
            if batch is None:
                break
            for group in groups(rows, PAGES_AT_ONCE):
                with timed(front, "extract"):
                    found = pages.read(
                        list(map(pages.Capture.of, group)), engine=params.engine, form=params.form, cascade=early
                    )
                decide(front, [row["url"] for row in group], found, recipe)
            front.read += len(rows)
    front.seconds = sum(front.parts.values())
    return front


def decide(front: Front, urls: list[str], found: list[pages.Page], recipe: Recipe) -> None:
    """Measure the texts of a batch and apply the rules."""
    front.skipped += sum(page.skipped is not None for page in found)
    texts = {url: page.text for url, page in zip(urls, found, strict=True) if page.text is not None}
    front.texts |= texts
    with timed(front, "language"):
        languages = language.detect(list(texts.values()))
    with timed(front, "signals"):
        signals = quality.batch(list(texts.values())).to_pylist()
    with timed(front, "rules"):
        for url, (name, score), measured in zip(texts, languages, signals, strict=True):
            known = measured | {"language": name, "language_score": score}
            rules = (rule for rule in recipe.rules if rule.signal in known)
            if all(rule.passes(known[rule.signal], name) for rule in rules):
                front.kept.add(url)


def datatrove(python: Path, path: Path, wanted: str | None, pages_of_archive: int) -> Front:
    """The same by datatrove, in its own interpreter. Pages that it loses before they are documents count as read."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / language.MODEL
        model.write_bytes(models.read(language.MODEL))
        command = [python, Path(__file__).with_name("datatrove_fineweb.py"), "--warc", path.resolve(), "--lid", model]
        found = subprocess.run(
            [*map(str, command), *(["--language", wanted] if wanted else [])],
            capture_output=True,
            text=True,
            check=False,
        )
    if found.returncode:
        sys.exit(found.stderr[-2000:])
    *lines, last = (json.loads(line) for line in found.stdout.splitlines())
    front = Front("datatrove, its FineWeb filters", pages_of_archive, last["cpu_seconds"])
    for line in lines:
        if line["event"] == "text":
            front.texts[line["url"]] = line["text"]
        else:
            front.kept.add(line["url"])
    front.lost = pages_of_archive - len(front.texts)
    return front


def f1(front: Front, gold: Sequence[extraction.Page]) -> str:
    texts = [front.texts.get(page.url, "") for page in gold]
    if all(page.gold is None for page in gold):
        return extraction.segment_scores(gold, texts)
    scores = [extraction.page_scores(page, text)[0] for page, text in zip(gold, texts, strict=True)]
    return f"F1 {sum(scores) / len(scores):.3f}"


def every_kernel(path: Path, params: ExtractParams) -> Front:
    """All that the stages from archive to annotations ask of kernels, in this process."""
    front, cascade = Front("all kernels of the stages"), Early(params.cascade)
    lists, counter = urls.Lists.load(UrlParams().lists), tokens.counter(tokens.GPT2)
    with path.open("rb") as file:
        batches = warc.record_batches(file, warc_filename=path.name, crawl="bench", batch_bytes=BATCH_BYTES)
        began = time.process_time()
        for batch in batches:
            rows = [row for row in batch.to_pylist() if is_page(row)]
            urls.batch([row["url"] for row in rows], lists)
            for group in groups(rows, PAGES_AT_ONCE):
                found = pages.read(
                    list(map(pages.Capture.of, group)), engine=params.engine, form=params.form, cascade=cascade
                )
                texts = [page.text for page in found if page.text is not None]
                language.batch(texts)
                quality.batch(texts)
                counter(texts)
                pii.batch(texts)
            front.read += len(rows)
        front.seconds = time.process_time() - began
    return front


def members(path: Path) -> Iterator[bytes]:
    """The records of an archive, each as it is when unpacked."""
    stored = path.read_bytes()
    with path.open("rb") as file:
        for batch in warc.record_batches(file, warc_filename=path.name, crawl="bench", batch_bytes=BATCH_BYTES):
            places = (batch.column(name).to_pylist() for name in ("warc_record_offset", "warc_record_length"))
            for start, length in zip(*places, strict=True):
                yield gzip.decompress(stored[start : start + length])


def write_copy(records: Sequence[bytes], number: int, path: Path) -> None:
    """An archive of the same pages, each with a digest of its own: a payload that is known already is not read again.

    Raises:
        SystemExit: a page has no digest in its header, by which it could be told from its copies.
    """
    digest = re.compile(rb"(?<=WARC-Payload-Digest: sha1:)\S+", re.IGNORECASE)
    with path.open("wb") as file:
        for record in records:
            head, blank, rest = record.partition(b"\r\n\r\n")
            if b"WARC-Type: response" in head and not digest.search(head):
                sys.exit(f"a response without a sha1 in WARC-Payload-Digest: {head[:500]!r}")
            head = digest.sub(
                lambda found: base64.b32encode(hashlib.sha1(b"%d %s" % (number, found[0])).digest()), head
            )
            file.write(gzip_member(head + blank + rest, 1))


def in_spark(path: Path, params: ExtractParams, recipe: Recipe, minutes: float) -> None:
    """The stages from archive to annotations through Spark on one core, beside their kernels alone."""
    alone = every_kernel(path, params)
    copies = max(2, round(minutes * 60 / alone.seconds))
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        records = list(members(path))
        for number in range(copies):
            inputs.append(Path(folder) / f"{number}-{path.name}")
            write_copy(records, number, inputs[-1])
        spark = session.connect(session.SessionConfig(cores=1, options=(("spark.sql.shuffle.partitions", "4"),)))
        runner = Runner(Lake(spark, f"{folder}/lake", "bench").open(), Reporter(spark, Console(quiet=True)))
        settings = pipeline.PipelineConfig(input=tuple(map(str, inputs)), crawl="bench", extract=params)
        plan = pipeline.plan(settings)
        # What the kernels did, and no more: by the same rules, without scores of models and without duplicates.
        settings = dataclasses.replace(plan.config, extract=params)
        plan = dataclasses.replace(plan, recipe=recipe, config=settings, scorers=(), clusters={})
        first = dataclasses.replace(plan, archives=plan.archives[:1])
        seconds: dict[str, list[float]] = defaultdict(list)
        for run in (first, plan):
            for step in (pipeline.ingest, pipeline.extract, pipeline.annotate):
                before = cpu_seconds()
                step(runner, run)
                seconds[step.__name__].append(cpu_seconds() - before)
        documents = runner.lake.read(tables.DOCUMENTS).count()
        spark.stop()
    bare = alone.seconds / alone.read
    alone.show()
    cold, warm = (sum(times[run] for times in seconds.values()) for run in (0, 1))
    others = documents - documents // copies
    parts = ", ".join(f"{name} {times[1] / others * 1e3:.2f}" for name, times in seconds.items())
    CONSOLE.print(f"Spark: {documents} pages, {copies} copies: {cold + warm:.0f} s of CPU, {cold:.0f} of the first")
    CONSOLE.print(f"ms a page of the others: {parts}")
    over_all, over_others = (whole / bare - 1 for whole in ((cold + warm) / documents, warm / others))
    CONSOLE.print(
        f"Spark over the kernels {over_all:+.1%}, once it is warm {over_others:+.1%} (of {bare * 1e3:.2f} ms a page)"
    )


def memory(path: Path, params: ExtractParams, count: int) -> None:
    """Resident size of the process that extracts, over many pages."""

    def work(items: Any, begin: Callable[[int | None], None]) -> list[tuple[int, int]]:
        found = pages.read(items, begin, engine=params.engine, form=params.form)
        status = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return [(int(status[1]) << 12, len(page.text or "")) for page in found]

    with path.open("rb") as file:
        rows = [
            pages.Capture.of(row)
            for batch in warc.record_batches(file, warc_filename=path.name, crawl="bench", batch_bytes=BATCH_BYTES)
            for row in batch.to_pylist()
            if is_page(row)
        ]
    work([pages.EXAMPLE], lambda _place: None)
    with Sandbox(work, seconds=params.timeout_seconds, memory_bytes=params.memory_mb << 20) as sandbox:
        done, sizes = 0, []
        while done < count:
            for group in groups(rows, PAGES_AT_ONCE):
                answers = sandbox(group)
                done += len(group)
                sizes.append((done, max(answer[0] for answer in answers if isinstance(answer[0], int))))
        for at in range(0, len(sizes), max(1, len(sizes) // 10)):
            CONSOLE.print(f"after {sizes[at][0]:7} pages {sizes[at][1] / 2**20:7.0f} MiB")
        first, last = (sizes[at][1] for at in (len(sizes) // 10, -1))
        CONSOLE.print(f"memory of the extracting process over {done} pages: {last / first:.2f} of that after a tenth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, required=True)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--language", default="en", help="the one that is wanted, or all (en)")
    parser.add_argument("--engine", default=ExtractParams().engine, choices=sorted(html.ENGINES))
    parser.add_argument("--datatrove", type=Path, metavar="PYTHON")
    parser.add_argument("--spark", action="store_true")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the run on Spark (2)")
    parser.add_argument("--memory", type=int, default=0, metavar="N")
    options = parser.parse_args()
    recipe = config.load(config.find("recipes", "fineweb"), Recipe)
    if options.language == "all":
        rules = tuple(rule for rule in recipe.rules if rule.signal != "language")
    else:
        wanted = {"language": (options.language,)}
        rules = tuple(
            dataclasses.replace(rule, one_of=wanted[rule.signal]) if rule.signal in wanted else rule
            for rule in recipe.rules
        )
    recipe = dataclasses.replace(recipe, rules=rules)
    params = ExtractParams(engine=options.engine)
    kernels("warm", options.warc, recipe, params, cascade=True)
    plain = kernels("ours, cascade off", options.warc, recipe, params, cascade=False)
    ours = kernels("ours", options.warc, recipe, params, cascade=True)
    for front in (plain, ours):
        front.show()
    apart = len(plain.kept ^ ours.kept)
    CONSOLE.print(
        f"kept with and without cascade {len(plain.kept & ours.kept)}, only without {len(plain.kept - ours.kept)}, "
        f"only with {len(ours.kept - plain.kept)}: {apart / max(1, len(plain.kept)):.2%} of the kept apart"
    )
    peer = None
    if options.datatrove is not None:
        peer = datatrove(
            options.datatrove, options.warc, None if options.language == "all" else options.language, ours.read
        )
        peer.show()
    if options.gold is not None:
        gold = list(extraction.of_archive(options.warc, options.gold))
        for front in filter(None, (plain, peer)):
            note = ""
            if front is plain and params.engine == "goldenlake":
                trained = sum(content.fold_of(page.host) is not None for page in gold)
                note = f", of which {trained} trained the model: tests.bench.extraction scores those out of fold"
            CONSOLE.print(f"{front.name:34} {f1(front, gold)} over {len(gold)} pages{note}")
    if options.memory:
        memory(options.warc, params, options.memory)
    if options.spark:
        early = Early.of(recipe.rules)
        in_spark(options.warc, dataclasses.replace(params, cascade=early), recipe, options.minutes)
    if peer is not None:
        CONSOLE.print(
            f"documents/s/core against datatrove {ours.rate / peer.rate:.1f}, cascade off {plain.rate / peer.rate:.1f}"
        )


if __name__ == "__main__":
    main()
