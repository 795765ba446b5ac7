"""What is repeated in texts: recall of planted runs, what goes, and cost beside a suffix array.

    python -m tests.bench.repeats [--warc FILE ...] [--jsonl FILE --text-field text --host-field host] [--huge 200]

Without a file the texts are planted ones alone. Archives are read and their main texts cut out as the pipeline does;
a JSON file has one object a line and may be gzipped. Documents are in the order of the files, which decides who is
first. Kinds are looked for with the defaults of the stage, or with other bounds by host (--host-documents).

Planted: documents of random words, words of scripts without spaces among them, in which runs of 50 words and more are
copied from documents before. A run counts as found when the whole of it is in the spans.

Beside it the same words are found by a suffix array over word numbers (pydivsufsort, where it is installed), which
knows every run of words of every length, and so is an oracle too: words that one marks and the other does not are
counted. Times are CPU times of one thread. --huge measures memory on three documents of so many megabytes: words in
lines, words in one line, and one word.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
import multiprocessing
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.kernels import content, html, lines, repeats, warc
from etl.kernels.repeats import LINE, SUBSTRING, Span
from etl.stages.repeats import FIRST, LineParams, ParagraphParams, SubstringParams

BATCH = 64
EXAMPLE = 110  # characters
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Document:
    name: str
    host: str | None
    text: str


@dataclass(frozen=True)
class Planted:
    """`text[start:end]` of a document, by its number, was copied from another before."""

    document: int
    start: int
    end: int


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, nargs="+", default=[])
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--host-field", default="host")
    parser.add_argument("--documents", type=int, help="only so many")
    parser.add_argument("--planted", type=int, default=2000, help="runs to plant")
    parser.add_argument("--words", type=int, default=SubstringParams.words, help="shortest run that counts")
    parser.add_argument("--host-documents", type=int, default=LineParams.host_documents)
    parser.add_argument("--examples", type=int, default=6, help="spans to show for each kind")
    parser.add_argument("--huge", type=int, help="megabytes of one document, to measure memory")
    options = parser.parse_args(argv)
    if options.huge:
        huge(options.huge, options.words)
        return
    by_fingerprints(["\u6587 " * options.words * 2] * 2, options.words)  # what a process learns once
    ratios = [planted(options.planted, options.words)]
    for name, documents in sources(options):
        ratios.append(report(name, documents[: options.documents], options))
    write("; ".join(ratios))


def sources(options: argparse.Namespace) -> Iterator[tuple[str, list[Document]]]:
    if options.warc:
        yield "pages", [document for path in options.warc for document in of_archive(path)]
    if options.jsonl:
        yield options.jsonl.name, list(of_lines(options.jsonl, options.text_field, options.host_field))


def of_archive(path: Path) -> Iterator[Document]:
    with path.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=path.name, crawl="bench"):
            rows = [row for row in batch.to_pylist() if row["payload"] is not None]
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                bodies = [warc.payload(row["payload"], row["payload_length"]) for row in some]
                layouts = [
                    content.read(html.decode(body, row["content_charset_declared"])[0])
                    for body, row in zip(bodies, some, strict=True)
                ]
                for row, text in zip(some, content.main_text(layouts), strict=True):
                    yield Document(row["url"], row["url_host_name"], text)


def of_lines(path: Path, text_field: str, host_field: str) -> Iterator[Document]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if text_field not in row:
                raise SystemExit(f"{path}: line {number + 1} has no key {text_field!r}, but {', '.join(row)}")
            yield Document(str(row.get("id", number)), row.get(host_field), str(row[text_field] or ""))


def report(name: str, documents: Sequence[Document], options: argparse.Namespace) -> str:
    """What is repeated in `documents`, by kind, with examples; the ratio of costs."""
    texts = [document.text for document in documents]
    characters = sum(map(len, texts))
    hosts = {document.host for document in documents}
    write(f"{name}: {len(texts):,} documents of {len(hosts):,} hosts, {characters:,} characters")
    line = replace(LineParams(), host_documents=options.host_documents)
    blocks, seconds_of_blocks = repeated_blocks(documents, line, ParagraphParams())
    runs, seconds = by_fingerprints(texts, options.words)
    spans = [[*of_blocks, *of_runs] for of_blocks, of_runs in zip(blocks, runs, strict=True)]
    for kind in repeats.KINDS:
        show(kind, documents, spans, options.examples)
    begun = time.process_time()
    left = sum(len(repeats.cut(text, found)) for text, found in zip(texts, spans, strict=True) if found)
    seconds_of_cut = time.process_time() - begun
    cut = sum(len(text) for text, found in zip(texts, spans, strict=True) if found)
    write(f"all kinds: {(cut - left) / characters:.2%} of the characters go")
    speeds = {"lines and paragraphs": len(texts) / seconds_of_blocks, "runs of words": len(texts) / seconds}
    speeds["cut, of those that something is cut from"] = sum(map(bool, spans)) / seconds_of_cut
    write("documents/s/core: " + ", ".join(f"{part} {speed:,.0f}" for part, speed in speeds.items()))
    return f"{name}: {compare(texts, runs, seconds, options.words)}"


def show(kind: str, documents: Sequence[Document], spans: Sequence[Sequence[Span]], examples: int) -> None:
    found = [(document, span) for document, some in zip(documents, spans, strict=True) for span in some]
    found = [(document, span) for document, span in found if span.kind == kind]
    characters = sum(len(document.text) for document in documents)
    share = sum(span.end - span.start for _, span in found) / characters
    count = len({document.name for document, _ in found})
    write(f"{kind}: {len(found):,} spans in {count:,} documents, {share:.2%} of the characters")
    for document, span in random.Random(1).sample(found, min(examples, len(found))):
        piece = " ".join(document.text[span.start : span.end].split())
        piece = piece if len(piece) <= EXAMPLE else f"{piece[: EXAMPLE // 2]} ... {piece[-EXAMPLE // 2 :]}"
        write(f"    {document.host}, in {span.documents} documents: {piece}")


def repeated_blocks(
    documents: Sequence[Document], line: LineParams, paragraph: ParagraphParams
) -> tuple[list[list[Span]], float]:
    """Spans of each document by the rules of the stage, in one process, and the CPU seconds of the kernel."""
    begun = time.process_time()
    blocks = [list(repeats.blocks(document.text)) for document in documents]
    seconds = time.process_time() - begun
    anywhere: dict[tuple[str, int], set[int]] = defaultdict(set)
    on_host: dict[tuple[str | None, str, int], set[int]] = defaultdict(set)
    sizes: Counter[str | None] = Counter()
    for number, document in enumerate(documents):
        sizes[document.host] += 1
        for block in blocks[number]:
            anywhere[block.kind, block.hash].add(number)
            on_host[document.host, block.kind, block.hash].add(number)
    spans: list[list[Span]] = [[] for _ in documents]
    for number, document in enumerate(documents):
        for kind, hash_, words, start, end in blocks[number]:
            params: LineParams | ParagraphParams = line if kind == LINE else paragraph
            scopes = [(anywhere[kind, hash_], params.documents, params.min_words)]
            if kind == LINE and document.host is not None and line.host_documents is not None:
                bound = max(line.host_documents, math.ceil(line.host_share * sizes[document.host]))
                scopes.append((on_host[document.host, kind, hash_], bound, line.min_host_words))
            if any(
                least is not None
                and len(holders) >= least
                and words >= shortest
                and not (params.keep == FIRST and number == min(holders))
                for holders, least, shortest in scopes
            ):
                spans[number].append(Span(kind, start, end, len(anywhere[kind, hash_])))
    return spans, seconds


def by_fingerprints(texts: Sequence[str], length: int) -> tuple[list[list[Span]], float]:
    """Spans of runs of words of each text, and the CPU seconds; the windows of the stage are sorts here."""
    begun = time.process_time()
    prints = [repeats.fingerprints(text, length) for text in texts]
    values, counts = np.unique(np.concatenate(prints), return_counts=True)
    repeated = values[counts >= 2]
    parts: list[list[npt.NDArray[Any]]] = []
    for number, (text, own) in enumerate(zip(texts, prints, strict=True)):
        places = np.minimum(np.searchsorted(repeated, own), max(0, repeated.size - 1))
        shared = own[repeated[places] == own] if repeated.size else repeated
        for runs in repeats.candidates(text, shared, length):
            parts.append([runs.hashes, np.full(runs.hashes.size, number), runs.starts, runs.ends])
    spans: list[list[Span]] = [[] for _ in texts]
    if parts:
        hashes, documents, starts, ends = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(hashes, kind="stable")  # the texts, and places in them, stay in order
        hashes, documents, starts, ends = (column[order] for column in (hashes, documents, starts, ends))
        bounds = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        sizes = np.diff(np.append(bounds, hashes.size))
        first = np.repeat(documents[bounds], sizes)
        is_new = np.concatenate(([True], (hashes[1:] != hashes[:-1]) | (documents[1:] != documents[:-1])))
        holders = np.repeat(np.add.reduceat(is_new.astype(np.int64), bounds), sizes)
        later = np.flatnonzero(documents != first)
        later = later[np.lexsort((starts[later], documents[later]))]
        documents, starts, ends, holders = (column[later] for column in (documents, starts, ends, holders))
        # Runs are of so many words each, so of one text their ends are in the order of their starts.
        is_apart = (documents[1:] != documents[:-1]) | (starts[1:] > ends[:-1])
        bounds = np.flatnonzero(np.concatenate(([later.size > 0], is_apart)))
        lasts = np.append(bounds[1:], later.size) - 1
        most = np.maximum.reduceat(holders, bounds) if later.size else holders
        rows = zip(documents[bounds], starts[bounds], ends[lasts], most, strict=True)
        for document, start, end, count in (map(int, row) for row in rows):
            spans[document].append(Span(SUBSTRING, start, end, count))
    return spans, time.process_time() - begun


def by_suffix_array(texts: Sequence[str], length: int) -> tuple[Mask, float]:
    """Which words of all texts, in a row, are in a run that an earlier text has too, and the CPU seconds."""
    from pydivsufsort import divsufsort, kasai  # type: ignore[import-not-found]  # not among the requirements

    begun = time.process_time()
    split = [lines.words(text) for text in texts]
    numbers: dict[str, int] = {}
    # After each text a number that is nowhere else, so that no run goes over its end.
    rows = [
        [*(numbers.setdefault(word, len(numbers)) for word in words), (1 << 31) + row]
        for row, words in enumerate(split)
    ]
    sequence = np.array([number for row in rows for number in row], dtype=np.uint32)
    document = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    suffixes = divsufsort(sequence)
    common = kasai(sequence, suffixes)[:-1]  # with the next suffix
    group = np.concatenate(([0], np.cumsum(common < length)))
    holders = document[suffixes]
    first = np.full(int(group[-1]) + 1, len(rows))
    np.minimum.at(first, group, holders)
    begins = suffixes[holders != first[group]]
    edges = np.zeros(sequence.size + 1, dtype=np.int64)
    np.add.at(edges, begins, 1)
    np.add.at(edges, begins + length, -1)
    is_marked = np.cumsum(edges[:-1]) > 0
    return is_marked[sequence < 1 << 31], time.process_time() - begun


def marked_words(texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> Mask:
    """Which words of all texts, in a row, are in a span."""
    masks = []
    for text, some in zip(texts, spans, strict=True):
        starts = np.concatenate([np.zeros(0, np.int64), *(words.starts for words in repeats.words(text))])
        mask = np.zeros(starts.size, dtype=bool)
        for span in some:
            mask[np.searchsorted(starts, span.start) : np.searchsorted(starts, span.end)] = True
        masks.append(mask)
    return np.concatenate(masks)


def compare(texts: Sequence[str], spans: Sequence[Sequence[Span]], seconds: float, length: int) -> str:
    if importlib.util.find_spec("pydivsufsort") is None:
        return "pydivsufsort is not installed, nothing to compare with"
    ours = marked_words(texts, spans)
    theirs, their_seconds = by_suffix_array(texts, length)
    both = int((ours & theirs).sum())
    write(
        f"words of runs: {both:,} by both, {int((ours & ~theirs).sum()):,} only here, "
        f"{int((theirs & ~ours).sum()):,} only by the suffix array; recall {interval(both, int(theirs.sum()))}"
    )
    return (
        f"{len(texts) / seconds:,.0f} documents/s/core, suffix array {len(texts) / their_seconds:,.0f}: "
        f"{their_seconds / seconds:.1f} times"
    )


def planted(runs: int, length: int) -> str:
    texts, truth = planted_texts(runs, length)
    spans, seconds = by_fingerprints(texts, length)
    found = sum(any(span.start <= run.start and run.end <= span.end for span in spans[run.document]) for run in truth)
    write(f"planted: {len(truth):,} runs of {length} words and more in {len(texts):,} documents")
    write(f"runs found whole: {found:,}, recall {interval(found, len(truth))}")
    return f"planted: {compare(texts, spans, seconds, length)}"


def planted_texts(runs: int, length: int) -> tuple[list[str], list[Planted]]:
    drawn = random.Random(1)
    vocabulary = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(2, 9))) for _ in range(20_000)]
    letters = [chr(code) for code in range(0x4E00, 0x5E00)]
    texts: list[str] = []
    words: list[list[str]] = []
    truth = []
    for number in range(runs):
        of = letters if number % 5 == 4 else vocabulary
        gap = "" if of is letters else " "
        own = [of[min(len(of) - 1, int(drawn.paretovariate(0.6)))] for _ in range(drawn.randint(100, 900))]
        # From a document of the same script.
        before = words[4::5] if of is letters else [some for row, some in enumerate(words) if row % 5 != 4]
        if before:
            source = drawn.choice(before)
            size = min(len(source), drawn.randint(length, 4 * length))
            start = drawn.randint(0, len(source) - size)
            place = drawn.randint(0, len(own))
            left = gap.join(own[:place]) + (gap if place else "")
            run = gap.join(source[start : start + size])
            truth.append(Planted(number, len(left), len(left) + len(run)))
            own[place:place] = source[start : start + size]
        words.append(own)
        texts.append(gap.join(own))
    return texts, truth


def interval(hits: int, total: int) -> str:
    """A share and its 95 % interval by Wilson's score."""
    if not total:
        return "of nothing"
    share, z = hits / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5 / (1 + z * z / total)
    return f"{share:.4f} ({max(0.0, middle - half):.4f} to {min(1.0, middle + half):.4f}, n {total:,})"


def huge(megabytes: int, length: int) -> None:
    """Memory and time for one document, each kind in a process of its own."""
    begun = {"words in lines": "\n", "words in one line": " ", "one word": ""}
    for name, gap in begun.items():
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, gap, megabytes, length))
        process.start()
        process.join()


def measure(name: str, gap: str, megabytes: int, length: int) -> None:
    """Words are numbers that rise, so that no two runs of them are the same."""
    inner = " " if gap else ""
    rows = (inner.join(f"w{number:09}" for number in range(row, row + 10)) for row in range(0, 90_000 * megabytes, 10))
    text = gap.join(rows)[: megabytes * 1_000_000]
    steps: dict[str, Callable[[], object]] = {
        "blocks": lambda: sum(1 for _ in repeats.blocks(text)),
        "fingerprints": lambda: repeats.fingerprints(text, length),
        "candidates": lambda: sum(
            runs.hashes.size for runs in repeats.candidates(text, repeats.fingerprints(text, length), length)
        ),
    }
    for step, work in steps.items():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew: proc(5)
        before, begun = memory("VmRSS"), time.process_time()
        work()
        more, seconds = memory("VmHWM") - before, time.process_time() - begun
        write(f"{megabytes} MB, {name}: {step} {seconds:.1f} s, {more:,} MB more than the {before:,} MB before")


def memory(field: str) -> int:
    """Megabytes by the Linux kernel."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) // 1000


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
