"""``goldenlake explain``: the whole life of a page, from its place in an archive to its place in a training set."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from etl import cli, funnel, job, tables
from etl.life import Check, Decision, Fields, Life, choose, find, lives, suggestions
from etl.stages.curate import DUPLICATES
from etl.stages.rules import SIGNAL_TABLES, SIGNALS, scorer_of

FIRST_LINES, FIRST_CHARACTERS = 6, 600

# Of texts from the web, what could steer a terminal: control characters, and those that turn the order of letters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """`text` without what could steer a terminal."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def _safe_text(text: Text) -> Text:
    text.plain = safe(text.plain)
    return text


def show(life: Life, console: Console, *, whole_text: bool = False) -> None:
    """Print the life of a page."""
    console.print()
    console.print(Text(safe(str(life.capture["url"])), style="bold"), soft_wrap=True)
    for decision in life.decisions:
        console.print(_safe_text(Text("  ").append(_verdict(decision))), soft_wrap=True)
    console.print()
    _print_facts(console, _stored(life))
    # On one line however long, so that it can be copied.
    command = life.fetch or "not possible: the length of the record is not known"
    console.print(Text("  to fetch it  ", style="dim").append(safe(command), style="not dim"), soft_wrap=True)
    _print_facts(console, [*_captured(life), *_extracted(life, whole_text=whole_text)])
    if "language" in life.scores:
        _print_scores(life, console)
    _print_facts(console, [*_copies(life), *_decided(life), *_trained(life)])
    if whole_text and life.document is not None and life.document["text"]:
        console.print()
        console.print(Text(safe(life.document["text"])), soft_wrap=True)


def _print_facts(console: Console, facts: Sequence[tuple[str, Text | str]]) -> None:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", width=14, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in facts:
        grid.add_row(f"  {label}", _safe_text(value if isinstance(value, Text) else Text(value)))
    console.print(grid, highlight=False)


def _stored(life: Life) -> list[tuple[str, str]]:
    record = life.capture
    length = record["warc_record_length"]
    size = f"{length:,} bytes" if length is not None else "of unknown length"
    return [
        ("captured", f"{record['fetch_time'] or 'at an unknown time'} by crawl {record['crawl']}"),
        ("record", f"{record['warc_record_type']}, {size} from byte {record['warc_record_offset']:,}"),
        ("archive", f"{record['warc_filename']} at {life.archive.get('location', 'an unknown place')}"),
    ]


def _captured(life: Life) -> list[tuple[str, str]]:
    record = life.capture
    charset = record["content_charset_declared"]
    answer = [f"HTTP {record['fetch_status']}" if record["fetch_status"] is not None else "no HTTP answer"]
    if record["content_mime_type"]:
        answer.append(f"sent as {record['content_mime_type']}")
    if record["content_mime_detected"] not in (None, record["content_mime_type"]):
        answer.append(f"detected {record['content_mime_detected']}")
    if charset:
        answer.append(f"charset {charset}")
    if record["payload_length"] is not None:
        answer.append(f"{record['payload_length']:,} bytes of content")
    facts = [
        ("answer", ", ".join(answer)),
        ("redirect", record["fetch_redirect"]),
        ("truncated", record["content_truncated"]),
        ("error", record["ingest_error"]),
        ("digest", record["content_digest"]),
        ("doc_id", record["doc_id"]),
    ]
    return [(label, value) for label, value in facts if value]


def _extracted(life: Life, *, whole_text: bool) -> list[tuple[str, str]]:
    document = life.document
    if document is None:
        return [("", ""), ("document", "none: the record was not read as a page")]
    if document["skipped"] is not None:
        return [("", ""), ("document", f"none, as no text of it could be kept: {document['skipped']['detail']}")]
    if document["text"] is None:
        return [("", ""), ("document", f"none: {document['extractor']} says {document['extract_error']}")]
    facts = [f"{document['text_length']:,} characters", f"by {document['extractor']}"]
    facts.append(f"decoded as {document['content_charset']}")
    begins = [] if whole_text else [("begins", _beginning(document["text"])), ("", "")]
    return [("", ""), ("document", ", ".join(facts)), ("title", document["title"] or "none"), *begins]


def _beginning(text: str) -> str:
    lines = [line for line in text.split("\n") if line.strip()][:FIRST_LINES]
    beginning = "\n".join(lines)
    return beginning if len(beginning) <= FIRST_CHARACTERS else beginning[: FIRST_CHARACTERS - 3] + "..."


def _print_scores(life: Life, console: Console) -> None:
    """Every signal, and beside it the bounds of each recipe; as many recipes side by side as fit."""
    text = f"{life.scores.get('language')} at {_number(life.scores.get('language_score'))}"
    facts = [("language", f"{text}, by {life.scores.get('model')}")]
    facts.append(("tokens", f"{_number(life.scores.get('tokens'))} by {life.scores.get('tokenizer')}"))
    facts += [("score" if place == 0 else "", _said(row, life)) for place, row in enumerate(life.models)]
    _print_facts(console, [*facts, ("", "")])
    asked = [decision for decision in life.decisions if decision.checks]
    cell = max([16, *(len(_bound(check)) for decision in asked for check in decision.checks)]) + 2
    beside = max(1, (console.width - 48) // cell)
    for first in range(0, max(1, len(asked)), beside):
        shown = asked[first : first + beside]
        grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column("  signal", no_wrap=True)
        grid.add_column("measured", justify="right", no_wrap=True)
        for decision in shown:
            grid.add_column(_safe_text(Text(f"recipe {decision.recipe}")), overflow="fold")
        for signal, value in _signals(life, shown, everything=first == 0).items():
            cells = [_cell([check for check in each.checks if check.signal == signal]) for each in shown]
            grid.add_row(f"  {signal}", _safe_text(Text(_number(value))), *map(_safe_text, cells))
        console.print(grid, highlight=False)
        console.print()


def _said(row: Fields, life: Life) -> str:
    """What a model says of the page, and of its worst sentence."""
    if row["error"] is not None:
        return f"none by {row['model']}: {row['error']}"
    level = f", level {row['level']}" if row["level"] is not None else ""
    worst = f", {_number(row['worst'])} in its worst sentence" if row["worst"] is not None else ""
    text = (life.document or {}).get("text") or ""
    part = "" if row["read"] >= len(text) else f", of the first {row['read']:,} characters"
    return f"{_number(row['score'])}{level} by {row['model']}{worst}{part}"


def _signals(life: Life, decisions: Sequence[Decision], *, everything: bool) -> Fields:
    """What the rules read, or else all numbers that were measured, in the order of the tables."""
    read = {check.signal for decision in decisions for check in decision.checks}
    measured = {**(life.document or {}), **life.scores}
    quality = [column for column in tables.DOCUMENT_QUALITY.columns if SIGNALS[column] == tables.DOCUMENT_QUALITY.name]
    others = [column for table in SIGNAL_TABLES for column in table.columns if column in read and column not in quality]
    names = [*dict.fromkeys(others), *quality]
    found = {name: measured.get(name) for name in names if everything or name in read}
    # Scores are those of the model that a recipe reads, so they come from its checks.
    return found | {check.signal: check.value for each in decisions for check in each.checks if scorer_of(check.signal)}


def _cell(checks: Sequence[Check]) -> Text:
    styles = {"pass": "green", "fail": "bold red", "not asked": "dim"}
    lines = [Text(_bound(check), style=styles[check.outcome]) for check in checks]
    return Text("\n").join(lines)


def _bound(check: Check) -> str:
    outcome = check.outcome.upper() if check.outcome == "fail" else check.outcome
    return f"{outcome}  {check.wanted}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


# What the documents of a cluster have in common, by method.
_COMMON = {
    "payload": "documents were sent as these bytes",
    "exact": "documents have this text",
    "normal": "documents have these words",
    "minhash": "documents have nearly this text",
    "semantic": "documents say the same",
}


def _copies(life: Life) -> list[tuple[str, Text]]:
    if not life.duplicates:
        return [("duplicates", Text("none found"))] if "language" in life.scores else []
    facts = []
    for cluster in life.duplicates:
        how = cluster["method"] if cluster["least"] is None else f"{cluster['method']}, {cluster['least']:g} or more"
        text = Text(f"{cluster['cluster_size']:,} {_COMMON[cluster['method']]} ({how})")
        for member in cluster["members"]:
            fate = f"kept by {', '.join(member['kept_by'])}" if member["kept_by"] else "dropped"
            itself = " (this page)" if member["doc_id"] == life.capture["doc_id"] else ""
            similar = f", {member['similarity']:.3f} like this page" if member["similarity"] is not None else ""
            text.append(f"\n{fate}: {member['url']}{itself}{similar}")
        if cluster["cluster_size"] > len(cluster["members"]):
            text.append(f"\nand {cluster['cluster_size'] - len(cluster['members']):,} more")
        facts.append(("duplicates", text))
    return facts


def _survivor(life: Life, decision: Decision) -> str | None:
    """The page for which this one was dropped as a duplicate."""
    survivor = decision.disposition["duplicate_of"]
    if decision.is_kept or survivor is None:
        return None
    for cluster in life.duplicates:
        rule, _ = DUPLICATES[cluster["method"]]
        for member in cluster["members"] if rule == decision.disposition["rule"] else ():
            if member["doc_id"] == survivor:
                more = f", {member['similarity']:.3f} like this page" if member["similarity"] is not None else ""
                return f"gives way to {member['url']}{more}"
    return None


def _verdict(decision: Decision) -> Text:
    row, text = decision.disposition, Text()
    if decision.is_kept:
        return text.append("kept", style="bold green").append(f" by recipe {decision.recipe}")
    text.append("dropped", style="bold red").append(f" by recipe {decision.recipe}, rule ")
    return text.append(row["rule"], style="bold").append(f" ({row['stage']}): {funnel.detail(row)}")


def _decided(life: Life) -> list[tuple[str, Text]]:
    facts = []
    for decision in life.decisions:
        text = _verdict(decision)
        if decision.is_kept and decision.checks:
            passed = sum(check.outcome == "pass" for check in decision.checks)
            text.append(f", {passed} rules pass")
        if decision.is_kept and (decision.disposition["stands_for"] or 1) > 1:
            text.append(f", and it stands for {decision.disposition['stands_for']:,} documents with its duplicates")
        tokens = decision.corpus_tokens
        if tokens is not None and tokens != decision.disposition["tokens"]:
            text.append(f"\n{tokens:,} of {decision.disposition['tokens']:,} tokens are left after its line filter")
        survivor = _survivor(life, decision)
        if survivor is not None:
            text.append(f"\n{survivor}")
        also = [rule for rule in decision.disposition["failed_rules"] if rule != decision.disposition["rule"]]
        if also:
            text.append(f"\nfails as well: {', '.join(also)}")
        if decision.stale:
            text.append(f"\nwritten again since this decision: {', '.join(decision.stale)}", style="dim")
        facts.append(("decision", text))
    return facts or [("decision", Text("none: no recipe has been applied to it yet"))]


def _trained(life: Life) -> list[tuple[str, str]]:
    return [
        (
            "training set",
            f"{place['training_set']}: position {place['position']:,} of {place['documents']:,}, "
            f"from source {place['source']}",
        )
        for place in life.training
    ] or [("training set", "in none")]


def as_json(page: str, found: Sequence[Life], others: Sequence[Fields], near: Sequence[str]) -> str:
    """What `explain` knows, for programs."""
    answer = {"page": page, "captures": [asdict(life) for life in found], "other_records": others, "suggestions": near}
    return json.dumps(answer, indent=2, ensure_ascii=False, default=str)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("The whole life of a page: capture, text, scores, copies, decisions, training sets.")
    parser.add_argument("page", metavar="URL", help="URL of the page, or a doc_id")
    parser.add_argument("--recipe", help="decisions of this recipe only")
    parser.add_argument("--all", action="store_true", help="every capture of the URL, not one of them")
    parser.add_argument("--text", action="store_true", help="the whole text")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    options = parser.parse_args(argv)
    console = Console()
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        records = find(lake, options.page)
        pages = [row for row in records if row["warc_record_type"] not in ("request", "metadata")] or records
        others = [row for row in records if row not in pages]
        found = lives(lake, pages, options.recipe)
        near = suggestions(lake, options.page) if not found else []
    if options.json:
        sys.stdout.write(as_json(options.page, found, others, near) + "\n")
    elif not found:
        _say_not_found(options.page, near, console)
    else:
        _show_all(found, others, console, whole_text=options.text, everything=options.all)
    if not found:
        raise SystemExit(1)


def _say_not_found(page: str, near: Sequence[str], console: Console) -> None:
    console.print(Text(f"{safe(page)} is not in this lake."), soft_wrap=True)
    if near:
        console.print("Near it are:", highlight=False)
    for url in near:
        console.print(Text(f"  {safe(url)}"), soft_wrap=True)


def _show_all(
    found: Sequence[Life], others: Sequence[Fields], console: Console, *, whole_text: bool, everything: bool
) -> None:
    shown = list(found) if everything else [choose(found)]
    for life in shown:
        show(life, console, whole_text=whole_text)
    console.print()
    if len(found) > 1:
        more = "" if everything else "; the one marked is shown, --all shows each"
        console.print(f"  captured {len(found)} times{more}", highlight=False)
        for life in found:
            mark = "*" if not everything and life is shown[0] else " "
            fates = [f"{each.recipe}: {each.disposition['rule'] or 'kept'}" for each in life.decisions]
            when = life.capture["fetch_time"] or "unknown time        "
            line = f"  {mark} {when}  {life.capture['doc_id']}  {', '.join(fates)}"
            console.print(Text(safe(line)), soft_wrap=True)
    if others:
        kinds = sorted({str(row["warc_record_type"]) for row in others})
        console.print(f"  beside it in the archives: {', '.join(kinds)} records of the same URL", highlight=False)
