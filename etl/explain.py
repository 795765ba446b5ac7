"""``goldenlake explain``: the whole life of a page, from its place in an archive to its place in a training set."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from etl import cli, funnel, job, tables
from etl.lake import Lake
from etl.stages.curate import DUPLICATES, Recipe
from etl.stages.dedup import MINHASH, SEMANTIC
from etl.stages.extract import PAGE_RECORDS
from etl.stages.rules import SCORE_FIELDS, SIGNAL_TABLES, SIGNALS, Rule, scorer_of
from etl.tables import Table

MAX_SUGGESTIONS = 5
MAX_MEMBERS = 20  # of a cluster of duplicates that are named
FIRST_LINES, FIRST_CHARACTERS = 6, 600

_DOC_ID = re.compile(r"[0-9a-f]{32}")
# Of texts from the web, what could steer a terminal: control characters, and those that turn the order of letters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DECOMPRESS = {".gz": "gunzip", ".zst": "zstd -d", ".lz4": "lz4 -d", ".bz2": "bunzip2"}

Fields = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """A rule beside what was measured; `outcome` is pass, fail, or not asked."""

    rule: str
    signal: str
    value: Any
    wanted: str
    outcome: str


@dataclass(frozen=True)
class Decision:
    """What a recipe decided, its disposition, and every rule it has.

    `stale` are inputs written again since then; `corpus_tokens` are those of the text that is kept, after the recipe
    has removed lines.
    """

    recipe: str
    disposition: Fields
    checks: tuple[Check, ...]
    stale: tuple[str, ...] = ()
    corpus_tokens: int | None = None

    @property
    def is_kept(self) -> bool:
        return bool(self.disposition["decision"] == "kept")


@dataclass(frozen=True)
class Life:
    """All that a lake knows of one capture. `document` is None where none was extracted, `scores` is empty then.

    `models` are rows of document_scores: what models say of the text as it is now.
    """

    capture: Fields
    archive: Fields
    fetch: str | None
    document: Fields | None
    scores: Fields
    models: tuple[Fields, ...]
    duplicates: tuple[Fields, ...]
    decisions: tuple[Decision, ...]
    training: tuple[Fields, ...]


def find(lake: Lake, page: str) -> list[Fields]:
    """The captures of a URL, or of a doc_id, in the order of fetching: of the URL as given, else of its variants.

    A URL without a scheme, with another one, or with one slash more or less at its end is a variant.
    """
    captures = lake.read(tables.CAPTURES).select(*[_readable(c) for c in tables.CAPTURES.columns if c != "payload"])
    if _DOC_ID.fullmatch(page):
        rows = captures.where(F.col("doc_id") == page).collect()
    else:
        rows = captures.where(F.col("url").isin(page, *variants(page))).collect()
        exact = [row for row in rows if row["url"] == page]
        rows = exact or rows
    found = [row.asDict() for row in rows]
    return sorted(found, key=lambda row: (row["fetch_time"] or "", row["warc_filename"], row["warc_record_offset"]))


def variants(url: str) -> list[str]:
    """Other ways to write a URL that a person may have meant."""
    bare = re.sub(r"\A[a-z][a-z0-9+.-]*://", "", url.strip(), flags=re.IGNORECASE).partition("#")[0]
    paths = [bare.rstrip("/"), bare.rstrip("/") + "/", bare]
    return sorted({f"{scheme}://{path}" for scheme in ("http", "https") for path in paths})


def suggestions(lake: Lake, page: str) -> list[str]:
    """What is in the lake and looks most like a URL that is not: pages of its host, else pages of hosts named alike."""
    wanted = variants(page)[-1]
    host = (urlsplit(wanted).hostname or page).lower()
    pages = lake.read(tables.CAPTURES).where(F.col("warc_record_type").isin(*PAGE_RECORDS))
    same_host = pages.where(F.col("url_host_name") == host)
    found = _nearest(same_host.select("url"), wanted)
    if found:
        return found
    hosts = pages.groupBy("url_host_name").agg(F.min("url").alias("url"))
    return _nearest(hosts, host, by="url_host_name")


def _nearest(rows: DataFrame, wanted: str, by: str = "url") -> list[str]:
    """URLs of the rows whose column `by` is nearest to `wanted` by edit distance."""
    distance = F.levenshtein(F.col(by), F.lit(wanted))
    ranked = rows.where(F.col(by).isNotNull()).distinct().orderBy(distance, "url").limit(MAX_SUGGESTIONS)
    return [row["url"] for row in ranked.collect()]


def lives(lake: Lake, captures: Sequence[Fields], recipe: str | None = None) -> list[Life]:
    """The life of each capture, with the decisions of all recipes or of the one that is named."""
    recipes = _recipes(lake, recipe)
    return [_life(lake, capture, recipes) for capture in captures]


def _recipes(lake: Lake, only: str | None) -> dict[str, tuple[Recipe | None, tuple[str, ...]]]:
    """For each recipe that has decided: the recipe as it was, and its inputs that have been written since."""
    names = [row["recipe"] for row in lake.read(tables.DISPOSITIONS).select("recipe").distinct().collect()]
    found = {}
    for name in sorted(names if only is None else {only}.intersection(names)):
        metadata = lake.last_metadata(tables.DISPOSITIONS, {"recipe": [name]}) or {}
        inputs = {table.name: table for table in tables.ALL if table.name in metadata.get("inputs", {})}
        stale = [name for name, table in inputs.items() if lake.version(table) != metadata["inputs"][name]]
        found[name] = (funnel.applied(lake, name), tuple(stale))
    return found


def _life(lake: Lake, capture: Fields, recipes: Mapping[str, tuple[Recipe | None, tuple[str, ...]]]) -> Life:
    doc_id, archive = capture["doc_id"], capture["warc_filename"]
    in_archive = (F.col("warc_filename") == archive) & (F.col("doc_id") == doc_id)
    place = in_archive & (F.col("warc_record_offset") == capture["warc_record_offset"])
    with ThreadPoolExecutor(4) as pool:
        # The name of the archive lets Delta skip the files of all others.
        annotations = [pool.submit(_rows, lake, table, in_archive) for table in SIGNAL_TABLES]
        models = pool.submit(_rows, lake, tables.DOCUMENT_SCORES, in_archive)
        files = pool.submit(_rows, lake, tables.WARC_FILES, F.col("warc_filename") == archive)
        decided = pool.submit(_rows, lake, tables.DISPOSITIONS, place & F.col("recipe").isin(*recipes))
        corpus = pool.submit(_rows, lake, tables.CORPUS, F.col("doc_id") == doc_id)
        training = pool.submit(_training, lake, doc_id)
        duplicates = pool.submit(_duplicates, lake, doc_id)
    found = [dict(next(iter(future.result()), {})) for future in annotations]
    document = found[SIGNAL_TABLES.index(tables.DOCUMENTS)]
    scores = [row for row in found if row is not document]
    known = {key: value for row in scores for key, value in row.items() if key not in ("doc_id", "warc_filename")}
    location = files.result()[0] if files.result() else {}
    of_text = [row for row in models.result() if row["text_hash"] == document.get("text_hash")]
    kept_tokens = {row["recipe"]: row["tokens"] for row in corpus.result()}
    return Life(
        capture=capture,
        archive=location,
        fetch=fetch_command(location.get("location"), capture),
        document=document or None,
        scores=known,
        models=tuple(sorted(of_text, key=lambda row: str(row["model"]))),
        duplicates=tuple(duplicates.result()),
        decisions=tuple(
            replace(
                decide(
                    row,
                    {**document, **known, **_read_scores(of_text, recipes[row["recipe"]][0])},
                    *recipes[row["recipe"]],
                ),
                corpus_tokens=kept_tokens.get(row["recipe"]),
            )
            for row in sorted(decided.result(), key=lambda row: str(row["recipe"]))
        ),
        training=tuple(training.result()),
    )


def _read_scores(models: Sequence[Fields], recipe: Recipe | None) -> Fields:
    """The scores that a recipe reads, by the names that its rules have for them."""
    read = dict(recipe.scorers) if recipe is not None else {}
    found = {row["model"]: row for row in models}
    return {
        f"{scorer}.{name}": found[model][name]
        for scorer, model in read.items()
        if model in found
        for name in SCORE_FIELDS
    }


def _rows(lake: Lake, table: Table, condition: Column) -> list[Fields]:
    heavy = {"payload"} if table is not tables.CORPUS else {"text"}
    columns = [_readable(column) for column in table.columns if column not in heavy]
    return [row.asDict() for row in lake.read(table).where(condition).select(*columns).collect()]


def _readable(column: str) -> Column:
    """Times as text in UTC: as Python values they would be in the time zone of this machine."""
    if column == "fetch_time":
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss'Z'").alias(column)
    return F.col(column)


def decide(row: Fields, measured: Fields, recipe: Recipe | None, stale: tuple[str, ...] = ()) -> Decision:
    """A disposition beside the rules of its recipe; `measured` are the signals by name."""
    rules = recipe.rules if recipe is not None else ()
    names = {rule.name for rule in rules}
    # The ledger says which rules failed. It asks none where a record got no further than to be no page.
    was_left_out = measured.get("skipped") is not None
    is_ruled = row["rule"] is None or row["rule"] in names or row["stage"] == tables.DUPLICATE_CLUSTERS.name
    was_asked = is_ruled and not was_left_out
    checks = tuple(_check(rule, row, measured, was_asked=was_asked) for rule in rules)
    return Decision(row["recipe"], row, checks, stale)


def _check(rule: Rule, row: Fields, measured: Fields, *, was_asked: bool) -> Check:
    applies = was_asked and (not rule.languages or measured.get("language") in rule.languages)
    outcome = "not asked" if not applies else "fail" if rule.name in row["failed_rules"] else "pass"
    return Check(rule.name, rule.signal, measured.get(rule.signal), rule.wanted(), outcome)


def _duplicates(lake: Lake, doc_id: str) -> list[Fields]:
    """The clusters of a document, each with some members, those first that are kept by a recipe.

    A member has `similarity` to the document where the two were compared, or else None.
    """
    clusters = lake.read(tables.DUPLICATE_CLUSTERS)
    mine = [row.asDict() for row in clusters.where(F.col("doc_id") == doc_id).collect()]
    found = []
    for cluster in sorted(mine, key=lambda row: list(DUPLICATES).index(row["method"])):
        same = (F.col("cluster_id") == cluster["cluster_id"]) & (F.col("method") == cluster["method"])
        members = clusters.where(same).select("doc_id")
        # Key: doc_id and recipe name a disposition, and a cluster has a document once.
        decided = lake.read(tables.DISPOSITIONS).join(members, "doc_id", how="left_semi")
        kept = F.array_sort(F.collect_set(F.when(F.col("decision") == "kept", F.col("recipe"))))
        fates = decided.groupBy("doc_id", "url").agg(kept.alias("kept_by"))
        rows = fates.orderBy(F.size("kept_by") == 0, "doc_id").limit(MAX_MEMBERS).collect()
        similar = _similarities(lake, cluster["method"], doc_id, [row["doc_id"] for row in rows])
        found.append(
            {
                **cluster,
                "least": _least(lake, cluster["method"]),
                "members": [{**row.asDict(), "similarity": similar.get(row["doc_id"])} for row in rows],
            }
        )
    return found


def _similarities(lake: Lake, method: str, doc_id: str, others: Sequence[str]) -> dict[str, float]:
    """By doc_id of `others`: how similar each was measured to be to a document.

    Of documents with one set of shingles one was compared for all, so near duplicates are looked up by their sets.
    """
    if method == SEMANTIC:
        pairs = lake.read(tables.SEMANTIC_PAIRS)
        names = {other: other for other in others}
        mine: str | None = doc_id
    elif method == MINHASH:
        pairs = lake.read(tables.DUPLICATE_PAIRS).where(F.col("method") == method)
        pairs = pairs.select(F.col("left_set").alias("left_id"), F.col("right_set").alias("right_id"), "similarity")
        indexed = lake.read(tables.DOCUMENT_MINHASH).where(F.col("doc_id").isin(doc_id, *others))
        names = {row["doc_id"]: row["shingle_set"] for row in indexed.select("doc_id", "shingle_set").collect()}
        mine = names.get(doc_id)
    else:
        return {}
    if mine is None:
        return {}
    other = F.when(F.col("left_id") == mine, F.col("right_id")).otherwise(F.col("left_id"))
    asked = pairs.where((F.col("left_id") == mine) | (F.col("right_id") == mine))
    rows = asked.groupBy(other.alias("other")).agg(F.max("similarity").alias("similarity")).collect()
    measured = {row["other"]: float(row["similarity"]) for row in rows}
    found = {other: 1.0 if method == MINHASH and name == mine else measured.get(name) for other, name in names.items()}
    return {other: value for other, value in found.items() if value is not None and other != doc_id}


def _least(lake: Lake, method: str) -> float | None:
    """The similarity from which documents are duplicates by a method, where it has one and a commit of ours says so."""
    if method not in (MINHASH, SEMANTIC):
        return None
    metadata = lake.last_metadata(tables.DUPLICATE_CLUSTERS, {"method": [method]})
    return float(metadata["params"]["similarity"]) if metadata is not None else None


def _training(lake: Lake, doc_id: str) -> list[Fields]:
    sets = lake.read(tables.TRAINING_SETS).select("training_set", "documents")
    places = lake.read(tables.TRAINING_DOCUMENTS).where(F.col("doc_id") == doc_id)
    # Key: training_sets has one row per set.
    rows = places.join(sets, "training_set", how="left").select("training_set", "position", "source", "documents")
    return [row.asDict() for row in rows.orderBy("training_set", "position").collect()]


def fetch_command(location: str | None, capture: Fields) -> str | None:
    """A shell command that prints the record as it was archived; None where its place is not known in full."""
    start, length = capture["warc_record_offset"], capture["warc_record_length"]
    if location is None or length is None:
        return None
    last = start + length - 1
    unpack = _DECOMPRESS.get(PurePosixPath(location).suffix)
    if location.startswith("s3://"):
        bucket, _, key = location.removeprefix("s3://").partition("/")
        names = f"--bucket {shlex.quote(bucket)} --key {shlex.quote(key)}"
        return f"aws s3api get-object {names} --range bytes={start}-{last} record{PurePosixPath(location).suffix}"
    if location.startswith(("http://", "https://")):
        read = f"curl -s -r {start}-{last} {shlex.quote(location)}"
    else:
        read = f"tail -c +{start + 1} {shlex.quote(location)} | head -c {length}"
    return f"{read} | {unpack}" if unpack else read


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


def choose(found: Sequence[Life]) -> Life:
    """Of several captures of a URL the one to show: the last that is kept, else that has a text, else the last."""
    return max(
        found,
        key=lambda life: (
            any(decision.is_kept for decision in life.decisions),
            life.document is not None and life.document["text"] is not None,
            life.capture["fetch_time"] or "",
        ),
    )


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
