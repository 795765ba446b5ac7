"""What a lake knows of a page, from its place in an archive to its place in a training set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import funnel, tables
from etl.lake import Lake
from etl.stages.curate import DUPLICATES, Recipe
from etl.stages.dedup import MINHASH, SEMANTIC
from etl.stages.extract import PAGE_RECORDS
from etl.stages.rules import SCORE_FIELDS, SIGNAL_TABLES, Rule
from etl.tables import Table

MAX_SUGGESTIONS = 5
MAX_MEMBERS = 20  # of a cluster of duplicates that are named

_DOC_ID = re.compile(r"[0-9a-f]{32}")
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
    is_in_language = not rule.languages or measured.get("language") in rule.languages
    applies = was_asked and is_in_language and rule.is_about(row["crawl"])
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
