"""Main text against gold: word F1, segments, and pages per second and core, an engine a line.

    python -m tests.bench.extraction --warc wcxb_dev.warc.gz --gold wcxb_dev.gold.jsonl.gz
    python -m tests.bench.extraction --warc trafilatura-eval.warc.gz --gold trafilatura-eval.gold.jsonl.gz
    python -m tests.bench.extraction --tar mozilla_readability_130.tar.gz
    python -m tests.bench.extraction --html html --gold ground-truth.json

Gold rows are found by ``url``. With ``main_content`` the score is the mean over pages of the F1 of words, ``\\w+`` in
lower case, as multisets; a page without gold words scores 1 for no words and else 0. ``with`` and ``without`` are the
shares of their segments that occur in the text, mean over pages, letters in lower case; a page without segments counts
as 1. Rows that have only segments are counted as trafilatura's own evaluation does: accuracy, precision, recall and F1
over all segments, letters as they are. A tar holds ``source.html`` and ``expected.html`` per folder. A folder holds
``ID.html.gz`` per key of a JSON object with ``articleBody``, as in the article extraction benchmark of Scrapinghub, and
is counted as there: shingles of four words, precision and recall as means over pages, F1 of these two means.

Intervals are 95 %, by 2,000 bootstrap samples of registered domains. Times are process CPU time of one thread, from
decoded page to text; decoding has its own line. Our engine takes its steps with as many pages by turns as the stage
that extracts them. The packaged model was trained on WCXB's development set, so a page of a host of that set is scored
by the fold that never saw the host, and the line says how many were; times are those of the whole model.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trafilatura
from resiliparse.extract.html2text import extract_plain_text

from etl import labelled
from etl.kernels import content, html, warc
from etl.learn.scores import word_scores, words
from etl.stages.extract import PAGES_AT_ONCE

SAMPLES = 2_000
SHINGLE = 4


@dataclass(frozen=True)
class Page:
    """One page with what is known of its main text; `gold` is None where only segments are."""

    host: str
    kind: str
    html: str
    gold: str | None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    is_article: bool = False
    url: str = ""


@dataclass
class Outcome:
    """Texts of an engine, and the CPU seconds it took."""

    texts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""


def of_trafilatura(**options: Any) -> Callable[[str], str]:
    return lambda page: trafilatura.extract(page, include_comments=False, **options) or ""


def of_resiliparse(**options: Any) -> Callable[[str], str]:
    return lambda page: extract_plain_text(page, alt_texts=False, **options)


ENGINES: dict[str, Callable[[str], str]] = {
    "trafilatura": of_trafilatura(),
    "trafilatura fast": of_trafilatura(fast=True),
    "trafilatura precision": of_trafilatura(favor_precision=True),
    "trafilatura recall": of_trafilatura(favor_recall=True),
    "resiliparse main_content": of_resiliparse(main_content=True),
    "all visible text": of_resiliparse(main_content=False),
}
OURS = "goldenlake"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--tar", type=Path)
    parser.add_argument("--engines", nargs="+", choices=[*ENGINES, OURS], default=[*ENGINES, OURS])
    parser.add_argument("--every", type=int, default=1, help="only each n-th page, to look quickly")
    options = parser.parse_args(argv)
    if not options.tar and not (options.gold and (options.warc or options.html)):
        parser.error("give --warc and --gold, --html and --gold, or --tar")
    start = time.process_time()
    if options.tar:
        found = of_tar(options.tar)
    elif options.html:
        found = of_folder(options.html, options.gold)
    else:
        found = of_archive(options.warc, options.gold)
    pages = list(found)[:: options.every]
    seconds = time.process_time() - start
    line(f"{len(pages)} pages of {len({page.host for page in pages})} hosts, read and decoded in {seconds:.1f} s CPU")
    for name in options.engines:
        report(name, pages, run_ours(pages) if name == OURS else run(ENGINES[name], pages))


def of_archive(archive: Path, gold: Path) -> Iterator[Page]:
    rows = {row["url"]: row for _, row in labelled.rows(gold)}
    with archive.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=archive.name, crawl="bench"):
            for row in batch.to_pylist():
                truth = rows.get(row["url"])
                if truth is None or row["payload"] is None:
                    continue
                body = warc.payload(row["payload"], row["payload_length"])
                yield Page(
                    row["url_host_registered_domain"] or row["url_host_name"] or "",
                    truth.get("page_type") or "",
                    html.decode(body, row["content_charset_declared"])[0],
                    (truth["main_content"] or "") if "main_content" in truth else None,
                    truth.get("with") or (),
                    truth.get("without") or (),
                    url=row["url"],
                )


def of_tar(archive: Path) -> Iterator[Page]:
    found: dict[str, dict[str, str]] = {}
    with tarfile.open(archive) as members:
        for member in members:
            folder, _, name = member.name.rpartition("/")
            stream = members.extractfile(member)
            if stream and name in ("source.html", "expected.html"):
                found.setdefault(folder, {})[name] = html.decode(stream.read())[0]
    for folder, files in sorted(found.items()):
        yield Page(folder, "", files["source.html"], content.read(files["expected.html"]).text)


def of_folder(folder: Path, gold: Path) -> Iterator[Page]:
    for key, truth in sorted(json.loads(gold.read_text("utf-8")).items()):
        source = html.decode(gzip.decompress((folder / f"{key}.html.gz").read_bytes()))[0]
        host = warc._host(truth.get("url") or "")[1] or key  # pages of one domain are drawn together
        yield Page(host, "", source, truth.get("articleBody") or "", is_article=True)


def run(engine: Callable[[str], str], pages: Sequence[Page]) -> Outcome:
    outcome = Outcome()
    failed = 0
    start = time.process_time()
    for page in pages:
        try:
            outcome.texts.append(engine(page.html))
        except Exception:  # an engine that fails on a page has no text of it
            outcome.texts.append("")
            failed += 1
    outcome.seconds = time.process_time() - start
    outcome.note = f"failed on {failed}" if failed else ""
    return outcome


def run_ours(pages: Sequence[Page]) -> Outcome:
    outcome = Outcome(note=content.MODEL)
    content.load()
    for start in range(0, len(pages), PAGES_AT_ONCE):
        batch = pages[start : start + PAGES_AT_ONCE]
        began = time.process_time()
        opened: list[Any] = [page.html for page in batch]
        for step in html.ENGINES[OURS].steps:
            opened = list(map(step, opened))
        texts = content.written(opened)
        outcome.seconds += time.process_time() - began
        if any(content.fold_of(page.host) is not None for page in batch):
            texts = content.main_text([page.layout for page in opened], hosts=[page.host for page in batch])
        outcome.texts += texts
    seen = sum(content.fold_of(page.host) is not None for page in pages)
    outcome.note += f", {seen} of {len(pages)} pages out of fold"
    return outcome


def report(name: str, pages: Sequence[Page], outcome: Outcome) -> None:
    speed = f"pages/s/core {len(pages) / outcome.seconds:.0f}"
    note = f" ({outcome.note})" if outcome.note else ""
    if all(page.gold is None for page in pages):
        line(f"{name:26} {segment_scores(pages, outcome.texts)} {speed}{note}")
        return
    if all(page.is_article for page in pages):
        line(f"{name:26} {shingle_scores(pages, outcome.texts)} {speed}{note}")
        return
    table = np.array([page_scores(page, text) for page, text in zip(pages, outcome.texts, strict=True)])
    low, high = interval([page.host for page in pages], table[:, 0])
    line(f"{name:26} {means(table)} {speed} F1 95 % {low:.3f} to {high:.3f}{note}")
    kinds = sorted({page.kind for page in pages})
    for kind in kinds if len(kinds) > 1 else ():
        chosen = np.array([page.kind == kind for page in pages])
        low, high = interval([page.host for page in pages if page.kind == kind], table[chosen, 0])
        line(f"  {kind:24} {means(table[chosen])} n {chosen.sum()} F1 95 % {low:.3f} to {high:.3f}")


def page_scores(page: Page, text: str) -> tuple[float, ...]:
    lowered = text.lower()
    shares = [
        sum(segment.lower() in lowered for segment in segments) / len(segments) if segments else 1.0
        for segments in (page.include, page.exclude)
    ]
    return (*word_scores(words(text), words(page.gold or "")), *shares)


def means(table: Any) -> str:
    names = ("F1", "P", "R", "with", "without")
    return " ".join(f"{name} {value:.3f}" for name, value in zip(names, table.mean(axis=0), strict=True))


def segment_scores(pages: Sequence[Page], texts: Sequence[str]) -> str:
    """Over all segments: wanted ones found are true positives, unwanted ones found false positives."""

    def counts(chosen: Sequence[int]) -> tuple[int, int, int, int]:
        hits = sum(segment in texts[i] for i in chosen for segment in pages[i].include)
        wrong = sum(segment in texts[i] for i in chosen for segment in pages[i].exclude)
        wanted = sum(len(pages[i].include) for i in chosen)
        unwanted = sum(len(pages[i].exclude) for i in chosen)
        return hits, wanted - hits, wrong, unwanted - wrong

    def f1(hits: float, missed: float, wrong: float) -> float:
        return 2 * hits / max(2 * hits + missed + wrong, 1)

    hits, missed, wrong, right = counts(range(len(pages)))
    each = np.array([counts([i]) for i in range(len(pages))])
    samples = [f1(*each[chosen, :3].sum(axis=0)) for chosen in resampled([page.host for page in pages])]
    low, high = np.percentile(samples, [2.5, 97.5])
    return (
        f"F1 {f1(hits, missed, wrong):.3f} P {hits / max(hits + wrong, 1):.3f} R {hits / max(hits + missed, 1):.3f} "
        f"accuracy {(hits + right) / max(hits + missed + wrong + right, 1):.3f} F1 95 % {low:.3f} to {high:.3f}"
    )


def shingle_scores(pages: Sequence[Page], texts: Sequence[str]) -> str:
    """By shingles of four words; a page without text has no precision, one without gold text no recall."""
    table = np.array([shingle_shares(text, page.gold or "") for page, text in zip(pages, texts, strict=True)])

    def scores(chosen: Any) -> tuple[float, float, float]:
        precision, recall = np.nanmean(table[chosen], axis=0)
        return 2 * precision * recall / (precision + recall), precision, recall

    f1, precision, recall = scores(slice(None))
    low, high = np.percentile([scores(each)[0] for each in resampled([page.host for page in pages])], [2.5, 97.5])
    return f"F1 {f1:.3f} P {precision:.3f} R {recall:.3f} F1 95 % {low:.3f} to {high:.3f}"


def shingle_shares(text: str, gold: str) -> tuple[float, float]:
    """Precision and recall; letters are taken as they are, a text of fewer words is one shingle."""
    found, wanted = (
        Counter(tuple(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1)) if words)
        for words in (re.findall(r"\w+", each) for each in (text, gold))
    )
    common = (found & wanted).total()
    return tuple(common / total if (total := each.total()) else np.nan for each in (found, wanted))  # type: ignore[return-value]


def interval(hosts: Sequence[str], values: Any) -> tuple[float, float]:
    samples = [values[chosen].mean() for chosen in resampled(hosts)]
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def resampled(hosts: Sequence[str]) -> Iterator[Any]:
    """Numbers of pages, hosts drawn with replacement."""
    names = {host: number for number, host in enumerate(dict.fromkeys(hosts))}
    owner = np.array([names[host] for host in hosts])
    groups = [np.flatnonzero(owner == number) for number in range(len(names))]
    random = np.random.default_rng(1)
    for _ in range(SAMPLES):
        yield np.concatenate([groups[number] for number in random.integers(len(groups), size=len(groups))])


def line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
