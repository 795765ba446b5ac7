"""What the experiment `web` needs besides archives: text to measure on that no arm sees, and pages as they show.

    python -m tests.bench.experiment_pages --warc PAGES.warc.gz ... --gold GOLD.jsonl.gz --out FOLDER

One registered domain of ten that gold rows (``url``, ``main_content``) know is held out: their main texts go to
``held_out/web.jsonl``, and the domains to the list ``lists/held_out``, which a run and the experiment's recipes name.
All text that each other page shows, menus and notices with it, goes to ``shown/pages.jsonl.gz`` for
``goldenlake collect``: what a pipeline without extraction reads, as Common Crawl's WET files have it. The whole way is
in ``conf/experiments/web.yaml``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etl.kernels import html, warc
from etl.kernels.sandbox import Begin, Failure, Sandbox

HTML = ("text/html", "application/xhtml+xml")
HELD_OUT = 10  # one domain of so many
MIN_CHARACTERS, MAX_CHARACTERS = 500, 3000  # of a main text to measure on; of a longer one, the beginning


def pages(archive: Path) -> Iterator[dict[str, Any]]:
    """The records of an archive that hold HTML."""
    with archive.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=archive.name, crawl="pages"):
            for row in batch.to_pylist():
                if row["payload"] is not None and row["content_mime_detected"] in HTML:
                    yield row


def is_held_out(domain: str) -> bool:
    """By hash, so that the same domains are held out whatever pages there are."""
    return int(hashlib.sha256(domain.encode()).hexdigest()[:8], 16) % HELD_OUT == 0


def shown(rows: Sequence[dict[str, Any]], begin: Begin) -> list[str]:
    """All text of each page, in a process that a hostile page may break."""
    found = []
    for place, row in enumerate(rows):
        begin(place)
        body = warc.payload(row["payload"], row["payload_length"])
        found.append(html.visible_text(html.decode(body, row["content_charset_declared"])[0]))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, nargs="+", required=True)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    with gzip.open(options.gold, "rt", encoding="utf-8") as lines:
        gold = {row["url"]: row["main_content"] or "" for row in map(json.loads, lines)}
    for folder in ("held_out", "lists/held_out", "shown"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    domains: set[str] = set()
    counts = {"measured on": 0, "shown": 0, "failed": 0, "without text": 0}
    with (
        (options.out / "held_out" / "web.jsonl").open("w", encoding="utf-8") as texts,
        gzip.open(options.out / "shown" / "pages.jsonl.gz", "wt", encoding="utf-8") as others,
        Sandbox(shown, seconds=10.0, memory_bytes=1 << 30) as sandbox,
    ):
        for row in (row for archive in options.warc for row in pages(archive)):
            domain = row["url_host_registered_domain"] or row["url_host_name"] or ""
            if domain and is_held_out(domain):
                domains.add(domain)
                text = gold.get(row["url"], "")
                if len(text) >= MIN_CHARACTERS:
                    text = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rsplit(" ", 1)[0]
                    texts.write(json.dumps({"url": row["url"], "text": text}, ensure_ascii=False) + "\n")
                    counts["measured on"] += 1
                continue
            found = sandbox([row])[0]
            if isinstance(found, Failure):
                counts["failed"] += 1
            elif not found.strip():
                counts["without text"] += 1
            else:
                others.write(json.dumps({"url": row["url"], "text": found}, ensure_ascii=False) + "\n")
                counts["shown"] += 1
    names = "".join(f"{domain}\n" for domain in sorted(domains))
    (options.out / "lists" / "held_out" / "domains").write_text(names, encoding="utf-8")
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    sys.stdout.write(f"{len(domains)} domains held out; pages: {said}\n")


if __name__ == "__main__":
    main()
