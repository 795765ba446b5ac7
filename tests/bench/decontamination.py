"""Leaks of benchmark items planted in clean pages: how many are found, by kind; and what is found in clean pages.

    python -m tests.bench.decontamination --benchmarks BENCHMARKS.yaml --warc PAGES.warc.gz [--datatrove PYTHON]
    python -m tests.bench.decontamination --benchmarks BENCHMARKS.yaml --jsonl FILE --text-field text

BENCHMARKS.yaml has the form of ``conf/benchmarks/standard.yaml``. With --warc, items drawn from each benchmark are
planted one by one into pages, in these ways: verbatim; reformatted (case, punctuation, white space, letters before the
choices, and their order); 10, 20 and 30 % of the words replaced, dropped or followed by another word, a third each;
the question alone, plain and edited; the answers alone. An item is found when a match names it inside of what was
planted. Intervals are 95 %, Wilson's. What the index says is too short or too common to be looked for counts as missed
in the first number, and is left out of the second. Translations and paraphrases are not tried: nothing here finds them.

What is found in the pages themselves is listed, for the eye: is it a leak? With --jsonl only this is done, and every
match of the file is listed.

With --datatrove, an interpreter that has it, its n-gram filter decides about the same planted texts, with its default
settings and with n-grams of questions too. It names no item, so any drop counts as a find. Times are CPU times.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl import config
from etl.kernels import benchmarks, contamination, html, intervals, warc
from etl.kernels.benchmarks import Item
from etl.kernels.contamination import Index, Match

OTHER_SIDE = Path(__file__).with_name("decontamination_datatrove.py")
BATCH = 256
HOST_CHARACTERS = 4_000  # of the page that a leak is planted in
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Leak:
    """An item in `text[start:end]`."""

    kind: str
    item: Item
    text: str
    start: int
    end: int


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


def pages(path: Path) -> Iterator[str]:
    """Main texts of the pages of an archive."""
    engine = html.ENGINES["resiliparse"]
    with path.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=path.name, crawl="bench"):
            for row in batch.to_pylist():
                if row["payload"] is not None:
                    body = warc.payload(row["payload"], row["payload_length"])
                    source, _ = html.decode(body, row["content_charset_declared"])
                    text = engine.main_texts([engine.open(source)], "text")[0].strip()
                    if text:
                        yield text


def rows(path: Path, text_field: str) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if text_field not in row:
                raise SystemExit(f"{path}: line {number + 1} has no key {text_field!r}, but {', '.join(row)}")
            yield str(row[text_field] or "").encode("utf-8", "replace").decode("utf-8")


def plain(item: Item, _draw: random.Random, _vocabulary: Sequence[str]) -> str:
    return "\n".join(text for _, text in item.texts)


def reformatted(item: Item, draw: random.Random, _vocabulary: Sequence[str]) -> str:
    """The same words in another dress, and all texts but the first in another order."""
    first, *others = [text for _, text in item.texts]
    draw.shuffle(others)
    form = draw.choice(("({}) ", "{}. ", "{}) ", "- "))
    dressed = [f"{form.format(letter)}{text}" for letter, text in zip("ABCDEFGHIJ", others, strict=False)]
    text = "  \n".join([first, *dressed])
    text = draw.choice((str.upper, str.lower, str.title, str))(text)
    for mark in ".,;:'\"":
        if draw.random() < 0.5:
            text = text.replace(mark, "" if mark not in ".,;:" else draw.choice((" ", " -- ", " * ")))
    return "".join(draw.choice((" ", "  ", "\n", "\u00a0")) if c.isspace() else c for c in text)


def edited(share: float, change: Callable[[Item, random.Random, Sequence[str]], str]) -> Callable[..., str]:
    """`share` of the words replaced, dropped or followed by another word, a third each, drawn independently."""

    def edit(item: Item, draw: random.Random, vocabulary: Sequence[str]) -> str:
        found = []
        for word in change(item, draw, vocabulary).split():
            way = draw.random() / share
            if way >= 1:
                found.append(word)
            elif way < 1 / 3:
                found.append(draw.choice(vocabulary))
            elif way < 2 / 3:
                found += [word, draw.choice(vocabulary)]
        return " ".join(found)

    return edit


def question(item: Item, _draw: random.Random, _vocabulary: Sequence[str]) -> str:
    part = item.texts[0][0]
    return "\n".join(text for name, text in item.texts if name == part)


def answer(item: Item, _draw: random.Random, _vocabulary: Sequence[str]) -> str:
    part = item.texts[0][0]
    return "\n".join(text for name, text in item.texts if name != part)


KINDS: dict[str, Callable[..., str]] = {
    "verbatim": plain,
    "reformatted": reformatted,
    "edited, 10 %": edited(0.1, plain),
    "edited, 20 %": edited(0.2, plain),
    "edited, 30 %": edited(0.3, plain),
    "question only": question,
    "question only, 20 %": edited(0.2, question),
    "answer only": answer,
    "answer only, 20 %": edited(0.2, answer),
}


def plant(items: Sequence[Item], hosts: Sequence[str], draw: random.Random) -> list[Leak]:
    """Each item in each way, in a page of its own; not where nothing would be planted."""
    vocabulary = sorted({word for host in hosts[:200] for word in host.split()})
    leaks = []
    for item in items:
        for kind, change in KINDS.items():
            planted = change(item, draw, vocabulary)
            if not planted.strip():
                continue
            host = draw.choice(hosts)[:HOST_CHARACTERS]
            place = draw.randrange(len(host) + 1)
            place = host.rfind("\n", 0, place) + 1
            text = f"{host[:place]}{planted}\n{host[place:]}"
            leaks.append(Leak(kind, item, text, place, place + len(planted)))
    return leaks


def found_in(texts: Sequence[str], index: Index) -> tuple[list[list[Match]], float]:
    """The matches of each text, and the CPU seconds they took."""
    contamination.find(texts[:10], index)
    start = time.process_time()
    found = [
        matches for at in range(0, len(texts), BATCH) for matches in contamination.find(texts[at : at + BATCH], index)
    ]
    return found, time.process_time() - start


def is_found(leak: Leak, matches: Iterable[Match]) -> bool:
    return any(m.item == leak.item.item and m.start < leak.end and m.end > leak.start for m in matches)


def share(hits: Sequence[bool]) -> str:
    low, high = intervals.wilson(sum(hits), len(hits))
    return f"{sum(hits) / max(1, len(hits)):6.1%} ({low:5.1%} to {high:6.1%}) of {len(hits):,}"


def is_tested(leak: Leak, tested: frozenset[tuple[str, str]]) -> bool:
    """Whether the index looks for what was planted: the item, or the part of it."""
    first = leak.item.texts[0][0]
    own = {contamination.WHOLE, *(part for part, _ in leak.item.texts)}
    parts = {part for part in own if (leak.item.item, part) in tested}
    if leak.kind.startswith("question only"):
        return first in parts
    return bool(parts - {first, contamination.WHOLE}) if leak.kind.startswith("answer only") else bool(parts)


def tell_recall(leaks: Sequence[Leak], hits: Sequence[bool], looked_for: Sequence[bool], title: str) -> None:
    write(f"{title:24}{'all that was planted':>36}{'all that can be looked for':>38}")
    for kind in KINDS:
        of_kind = [place for place, leak in enumerate(leaks) if leak.kind == kind]
        some = [place for place in of_kind if looked_for[place]]
        write(f"{kind:24}{share([hits[p] for p in of_kind]):>36}{share([hits[p] for p in some]):>38}")


def tell_matches(texts: Sequence[str], found: Sequence[Sequence[Match]], items: dict[str, Item], most: int) -> None:
    shown = 0
    for place, (text, matches) in enumerate(zip(texts, found, strict=True)):
        for match in matches:
            shown += 1
            if shown > most:
                continue
            said = [said for part, said in items[match.item].texts if match.part in (part, contamination.WHOLE)]
            write(
                f"    text {place}, {match.start} to {match.end}: {match.benchmark} {match.item[:12]} {match.part}, "
                f"{match.kind} {match.overlap:.2f}"
            )
            write(f"        text {' '.join(text[match.start : match.end].split())[:SHOWN_CHARACTERS]!r}")
            write(f"        item {' '.join(' / '.join(said).split())[:SHOWN_CHARACTERS]!r}")
    if shown > most:
        write(f"    and {shown - most:,} more")


def of_datatrove(
    python: str, items: Sequence[Item], texts: Sequence[str], timed: Sequence[str]
) -> dict[str, list[bool]]:
    """What the other side answers."""
    pairs = [
        (question(item, random.Random(), ()), [t for p, t in item.texts if p != item.texts[0][0]] or [""])
        for item in items
    ]
    with tempfile.TemporaryDirectory() as folder:
        request: dict[str, Any] = {"items": pairs}
        for name, some in (("texts", texts), ("timed", timed)):
            path = Path(folder) / f"{name}.jsonl"
            path.write_text("".join(json.dumps(text) + "\n" for text in some), encoding="utf-8")
            request[name] = str(path)
        completed = subprocess.run(
            [python, str(OTHER_SIDE)], input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=True
        )
    found: dict[str, Any] = json.loads(completed.stdout)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--warc", type=Path, nargs="+", default=[])
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--items", type=int, default=60, help="items planted of each benchmark")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--datatrove", help="an interpreter that has datatrove")
    parser.add_argument("--timed", type=int, default=300, help="clean texts that datatrove is timed on")
    parser.add_argument("--shown", type=int, default=40, help="matches to list")
    options = parser.parse_args(argv)
    if bool(options.warc) == bool(options.jsonl):
        parser.error("wanted --warc or --jsonl")

    items = benchmarks.read(config.load(options.benchmarks, benchmarks.BenchmarkList).benchmarks)
    by_id = {item.item: item for item in items}
    start = time.process_time()
    index = contamination.build(items)
    write(f"index of {len(items):,} items: {index.bytes / 1e6:.1f} MB, {time.process_time() - start:.1f} s")
    for line in index.report:
        write(
            f"    {line.benchmark:16}{line.items:8,} items, {line.tested:,} looked for ({line.as_whole:,} as a whole), "
            f"{line.too_short:,} too short, {line.too_common:,} too common"
        )
    texts = [text for path in options.warc for text in pages(path)] or list(rows(options.jsonl, options.text_field))
    found, seconds = found_in(texts, index)
    contaminated = sum(map(bool, found))
    size = sum(map(len, texts))
    speed = len(texts) / seconds
    write(
        f"{len(texts):,} texts as they are, {size / len(texts):,.0f} characters each: {contaminated:,} with a match, "
        f"{sum(len({match.item for match in matches}) for matches in found):,} items; "
        f"{speed:,.0f} texts/s/core, {size / seconds / 1e6:.1f} million characters/s"
    )
    tell_matches(texts, found, by_id, options.shown)
    own = f"goldenlake {speed:,.0f} texts/s/core"
    if options.jsonl:
        write(own)
        return

    draw = random.Random(options.seed)
    sampled = []
    for name in index.benchmarks:
        of_benchmark = [item for item in items if item.benchmark == name]
        sampled += draw.sample(of_benchmark, min(options.items, len(of_benchmark)))
    clean = [text for text, matches in zip(texts, found, strict=True) if not matches]
    leaks = plant(sampled, clean, draw)
    planted, _ = found_in([leak.text for leak in leaks], index)
    hits = [is_found(leak, matches) for leak, matches in zip(leaks, planted, strict=True)]
    tested = index.tested()
    looked_for = [is_tested(leak, tested) for leak in leaks]
    tell_recall(leaks, hits, looked_for, "goldenlake finds")
    others = sum(len({m.item for m in ms} - {leak.item.item}) for leak, ms in zip(leaks, planted, strict=True))
    write(f"{others:,} other items are named in {len(leaks):,} planted texts")
    if options.datatrove is None:
        write(f"{own}; --datatrove names an interpreter to compare with")
        return
    timed = texts[: options.timed]
    theirs = of_datatrove(options.datatrove, items, [leak.text for leak in leaks], timed)
    for name, title in (("default", "datatrove, as it is"), ("questions", "with questions")):
        tell_recall(leaks, theirs[name], looked_for, title)
    _, seconds = found_in(timed, index)
    own_speed, their_speed = len(timed) / seconds, len(timed) / theirs["seconds"]
    write(f"{sum(theirs['clean']):,} of {len(timed):,} clean texts are dropped by datatrove with questions")
    write(
        f"on these, goldenlake {own_speed:,.0f} texts/s/core, datatrove {their_speed:,.0f}: "
        f"{own_speed / their_speed:.1f} times"
    )


if __name__ == "__main__":
    main()
