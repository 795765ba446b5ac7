"""What the report says, as plain data: one function per section, each named like its template.

A function asks the lake a few questions and gives back numbers and texts, or None when there is nothing to say. Lists
are cut to what a reader looks at, in an order that does not depend on how Spark split the work.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import funnel, tables, views
from etl.funnel import STAGE_WORDS, Funnel
from etl.job import DEFAULT_WAREHOUSE
from etl.kernels.quality_score import Estimate, Gain
from etl.lake import Lake
from etl.progress import StageRun
from etl.report import clusters, gains, instructions, models, river, scorers, scoring
from etl.report.clusters import Recall
from etl.report.gains import Copies
from etl.report.instructions import Decided
from etl.report.models import Evaluation, Model
from etl.report.scorers import Scored
from etl.report.scoring import Scores
from etl.sets import HELD_OUT
from etl.stages.curate import Recipe
from etl.stages.dedup import ClusterParams
from etl.stages.extract import PAGE_RECORDS
from etl.views import View

EXAMPLES = 3  # of each rule
SNIPPET = 320  # characters of text
HOSTS, LANGUAGES, ARCHIVES = 20, 20, 20  # rows that are shown
QUANTILES = {"5 %": 0.05, "25 %": 0.25, "50 %": 0.5, "75 %": 0.75, "95 %": 0.95}

UNITS = ("tokens", "characters")

Data = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What a report is about: a lake, what one recipe made of it, and what is known besides."""

    lake: Lake
    funnel: Funnel
    training_set: str
    truth: Path | None = None
    runs: tuple[StageRun, ...] | None = None

    @property
    def recipe(self) -> str:
        return self.funnel.recipe

    @cached_property
    def archives(self) -> list[Data]:
        """The view archive_health: one row per crawl and status."""
        return [row.asDict() for row in self.view(views.ARCHIVE_HEALTH).collect()]

    @cached_property
    def examples(self) -> list[Data]:
        """Some pages of each rule: those with the smallest hashes, so chosen by chance, but always the same."""
        is_page = (F.col("decision") == "dropped") & (F.col("rule") != "record_type")
        by_hash = Window.partitionBy("rule").orderBy(F.xxhash64("doc_id"), "doc_id")
        ranked = self.decided().where(is_page).withColumn("place", F.row_number().over(by_hash))
        columns = ("place", "doc_id", "warc_filename", "url", "rule", "value", "detail")
        rows = ranked.where(F.col("place") <= EXAMPLES).select(*columns).collect()
        found = [{**row.asDict(), "detail": funnel.detail(row)} for row in rows]
        texts = _beginnings(self.lake, found) if found else {}
        return [{**row, "text": texts.get(row["doc_id"])} for row in sorted(found, key=lambda row: int(row["place"]))]

    @cached_property
    def applied(self) -> Recipe | None:
        """The recipe as it was applied."""
        return funnel.applied(self.lake, self.recipe)

    @cached_property
    def scores(self) -> Scores | None:
        """The lake against the truth of a sample, where there is one."""
        return None if self.truth is None else scoring.score(self.lake, self.recipe, self.truth)

    @cached_property
    def copies(self) -> dict[str, Copies]:
        """Copies among all documents and in the corpus, by method."""
        return gains.copies(self.lake, self.recipe)

    @cached_property
    def scored(self) -> dict[str, Scored]:
        """What models say of documents, by scorer."""
        return scorers.scored(self.lake, self.recipe, self.applied)

    @cached_property
    def near(self) -> ClusterParams | None:
        """How near duplicates were put together."""
        return clusters.settings(self.lake)

    @cached_property
    def recall(self) -> Recall | None:
        """What is found of near duplicates."""
        return clusters.recall(self.lake, self.near)

    @cached_property
    def semantic_recall(self) -> Estimate | None:
        """What is found of documents that say the same."""
        return clusters.semantic_recall(self.lake)

    @cached_property
    def diversity(self) -> Gain | None:
        """How different documents are, all and kept."""
        return gains.diversity(self.lake, self.recipe)

    @cached_property
    def training_sets(self) -> list[Data]:
        """All training sets by name, with what each asked of its sources and got."""
        columns = ("training_set", "kind", "documents", "tokens", "shares", "manifest")
        rows = self.lake.read(tables.TRAINING_SETS).select(*columns).orderBy("training_set").collect()
        return [_training_set(row.asDict(recursive=True)) for row in rows]

    @cached_property
    def instruction_recipes(self) -> list[Decided]:
        """Recipes that have decided about instruction data; the one that a set was drawn by comes first."""
        decided = instructions.decided(self.lake)
        manifests = [json.loads(each["manifest"]) for each in self.training_sets if each["kind"] == "examples"]
        drawn = {(each["recipe"]["name"], each["collection"]) for each in manifests}
        return sorted(decided, key=lambda by: (by.recipe, by.collection) not in drawn)

    @property
    def instruction_recipe(self) -> Decided | None:
        """The first of them: what the report says of instruction data is said of it."""
        return self.instruction_recipes[0] if self.instruction_recipes else None

    @cached_property
    def instruction_sources(self) -> list[instructions.Source]:
        """Instruction data by source."""
        return instructions.sources(self.lake, self.instruction_recipe)

    @cached_property
    def instruction_diversity(self) -> Gain | None:
        """How different prompts are, all and kept."""
        return instructions.diversity_gain(self.lake, self.instruction_recipe)

    @cached_property
    def models(self) -> list[Model]:
        """All models, every child after its parent."""
        return models.models(self.lake)

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """What all models were measured by."""
        return models.evaluations(self.lake, self.models)

    @cached_property
    def experiments(self) -> dict[str, list[Data]]:
        """Models that differ in their data alone, by experiment: one row per benchmark, metric and arm."""
        rows = self.lake.read(tables.EXPERIMENTS).orderBy("experiment", "benchmark", "metric", "change").collect()
        found: dict[str, list[Data]] = {}
        for row in rows:
            found.setdefault(row["experiment"], []).append(row.asDict())
        return found

    @property
    def place(self) -> str:
        """The option that names the lake to a command, for the folder that holds it."""
        if self.lake.warehouse is None:
            return f"--namespace {self.lake.namespace}"
        name = Path(self.lake.warehouse).name
        return "" if name == DEFAULT_WAREHOUSE else f"--warehouse {name}"

    def prepare(self) -> None:
        """Ask the lake for what more than one section shows, so that sections that run side by side ask once."""
        with ThreadPoolExecutor(4) as pool:
            for names in _SHARED:
                list(pool.map(lambda name: getattr(self, name), names))

    @property
    def is_sample(self) -> bool:
        """Whether what came in was made by goldenlake itself."""
        names = [row["crawl"] == "sample" or row["crawl"].startswith("sample-") for row in self.archives]
        return self.truth is not None or (bool(names) and all(names))

    def view(self, view: View) -> DataFrame:
        """The rows of a view, of this recipe where it knows recipes."""
        rows = self.lake.spark.table(f"{self.lake.namespace}.{view.name}")
        return rows.where(F.col("recipe") == self.recipe) if "recipe" in rows.columns else rows

    def decided(self) -> DataFrame:
        """The dispositions of this recipe."""
        return self.lake.read(tables.DISPOSITIONS).where(F.col("recipe") == self.recipe)


# What more than one section asks for, or another property; each group needs only those before it.
_SHARED = (
    (
        "scores",
        "archives",
        "examples",
        "copies",
        "recall",
        "semantic_recall",
        "diversity",
        "training_sets",
        "models",
        "applied",
    ),
    ("instruction_recipes", "evaluations", "scored"),
    ("instruction_diversity", "instruction_sources"),
)


def _training_set(row: Data) -> Data:
    """A row of `training_sets`, its shares with those of the rows, and whether each was met."""
    for share in row["shares"]:
        asked, given = share["asked_share"], share["share"]
        share["row_share"] = share["documents"] / row["documents"] if row["documents"] else None
        share["is_short"] = share["capacity_tokens"] < share["asked_tokens"]
        share["off"] = given - asked if asked is not None and given is not None else None
    return {**row, "is_held_out": row["training_set"].endswith(HELD_OUT)}


def flow(subject: Subject) -> Data:
    """The picture."""
    frames = {"wide": river.WIDE, "narrow": river.NARROW}
    pictures = {name: river.draw(subject.funnel, frame) for name, frame in frames.items()}
    return {"funnel": subject.funnel, "pictures": pictures}


def truth(subject: Subject) -> Data | None:
    """The report measures itself, where the truth is known."""
    return None if subject.scores is None else {"scores": subject.scores}


def arrivals(subject: Subject) -> Data:
    """Archives, records by type, answers by status and MIME type, and what could not be read."""
    captures = subject.lake.read(tables.CAPTURES)
    kind_of_error = F.split("ingest_error", ":")[0].alias("error")
    kinds = captures.groupBy("warc_record_type", "fetch_status", "content_mime_detected", kind_of_error)
    sums = kinds.agg(
        F.count(F.lit(1)).alias("records"),
        F.sum("payload_length").alias("bytes"),
        F.min("ingest_error").alias("example"),
    )
    types: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    mimes: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    examples: dict[str, str] = {}
    content = 0
    for row in sums.collect():
        types[row["warc_record_type"]] += row["records"]
        content += row["bytes"] or 0
        if row["warc_record_type"] in PAGE_RECORDS:
            statuses["none" if row["fetch_status"] is None else str(row["fetch_status"])] += row["records"]
            mimes[row["content_mime_detected"] or "none"] += row["records"]
        if row["error"] is not None:
            errors[row["error"]] += row["records"]
            examples[row["error"]] = min(row["example"], examples.get(row["error"], row["example"]))
    return {
        "archives": subject.archives,
        "content_bytes": content,
        "counts": {
            "Records by type": _largest(types),
            "Pages by HTTP status": _largest(statuses),
            "Pages by detected MIME type": _largest(mimes),
        },
        "errors": [(error, count, examples.get(error, "")) for error, count in _largest(errors, HOSTS)],
    }


def _largest(counts: Counter[str], rows: int = 8) -> list[tuple[str, int]]:
    """The largest counts, ties by name, and the sum of the rest."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[rows:])
    return [*ordered[:rows], *([(f"{len(ordered) - rows} others", rest)] if rest else [])]


def drops(subject: Subject) -> Data:
    """Every rule that dropped something: first to fail, failed at all, failed alone."""
    failures = {row["rule"]: row.asDict() for row in subject.view(views.RULE_FAILURES).collect()}
    rules = [
        {**asdict(step), "word": STAGE_WORDS.get(step.stage, step.stage), **_failed(failures.get(step.rule, {}))}
        for step in subject.funnel.steps
    ]
    idle = [{"rule": rule, **_failed(failures.get(rule, {}))} for rule in subject.funnel.idle]
    return {"rules": rules, "idle": idle, "funnel": subject.funnel}


def _failed(row: Data) -> Data:
    return {"failed": row.get("documents", 0), "failed_only": row.get("documents_only", 0)}


def examples(subject: Subject) -> Data | None:
    """Some pages of each rule that dropped pages, with the reason and the beginning of the text."""
    rules = []
    for step in subject.funnel.steps:
        pages = [row for row in subject.examples if row["rule"] == step.rule]
        if pages:
            rules.append({"rule": step.rule, "reason": step.reason, "dropped": step.documents_dropped, "pages": pages})
    return {"rules": rules} if rules else None


def _beginnings(lake: Lake, pages: list[Data]) -> dict[str, str]:
    """The first characters of each text by doc_id. Names of archives let Delta skip the files of all others."""
    archives, ids = sorted({row["warc_filename"] for row in pages}), [row["doc_id"] for row in pages]
    documents = lake.read(tables.DOCUMENTS).where(F.col("warc_filename").isin(archives) & F.col("doc_id").isin(ids))
    beginning = F.substring("text", 1, SNIPPET).alias("text")
    texts = documents.where(F.col("text").isNotNull()).select("doc_id", beginning, "text_length")
    return {
        row["doc_id"]: " ".join(row["text"].split()) + ("..." if row["text_length"] > SNIPPET else "")
        for row in texts.collect()
    }


def languages(subject: Subject) -> Data | None:
    """Languages by tokens that came in."""
    rows = subject.view(views.LANGUAGE_SHARES).orderBy(F.desc("tokens"), "language").limit(LANGUAGES + 1).collect()
    return {"rows": [row.asDict() for row in rows[:LANGUAGES]], "has_more": len(rows) > LANGUAGES} if rows else None


PERSONAL = {
    "emails": "e-mail addresses",
    "ip_addresses": "public IP addresses",
    "phones": "phone numbers",
    "cards": "payment card numbers",
    "ibans": "bank account numbers",
}
RIGHTS = {
    "no_index": "noindex for all crawlers",
    "no_ai": "against training of models (noai, train-ai=n and alike)",
    "tdm_reserved": "text and data mining reserved (TDMRep)",
    "licensed": "a licence",
}


def personal(subject: Subject) -> Data | None:
    """Personal data in texts, and what pages say of their use: of all pages that were read, and of those kept."""
    # Key: all three have one row per doc_id.
    kept = subject.decided().where(F.col("decision") == "kept").select("doc_id", F.lit(1).alias("kept"))
    pages = subject.lake.read(tables.DOCUMENTS).where(F.col("no_index").isNotNull())
    licensed = (F.col("license") != "none").cast("bigint").alias("licensed")
    said = pages.select("doc_id", "no_index", "no_ai", "tdm_reserved", licensed)
    held = subject.lake.read(tables.DOCUMENT_PII).select("doc_id", *PERSONAL)
    joined = said.join(held, "doc_id", how="left").join(kept, "doc_id", how="left")
    names = [*PERSONAL, *RIGHTS]
    sums = [F.count(F.lit(1)).alias("all_pages"), F.count("kept").alias("kept_pages")]
    for name in names:
        value, is_kept = F.coalesce(F.col(name), F.lit(0)), F.col("kept").isNotNull()
        sums += [
            F.count(F.when(value > 0, 1)).alias(f"pages_{name}"),
            F.coalesce(F.sum(value), F.lit(0)).alias(f"found_{name}"),
            F.count(F.when(is_kept & (value > 0), 1)).alias(f"kept_{name}"),
            F.coalesce(F.sum(F.when(is_kept, value)), F.lit(0)).alias(f"kept_found_{name}"),
        ]
    row = joined.agg(*sums).collect()[0].asDict()
    if not row["all_pages"]:
        return None

    def lines(words: dict[str, str]) -> list[Data]:
        parts = ("pages", "found", "kept", "kept_found")
        return [{"words": text, **{part: row[f"{part}_{name}"] for part in parts}} for name, text in words.items()]

    masked = subject.applied.mask if subject.applied is not None else ()
    return {"personal": lines(PERSONAL), "rights": lines(RIGHTS), "masked": masked, **row}


def hosts(subject: Subject) -> Data | None:
    """The hosts that gave most pages."""
    view = subject.view(views.HOST_SHARES)
    rows = view.orderBy(F.desc("pages"), F.desc("kept_tokens"), "url_host_name").limit(HOSTS).collect()
    if not rows:
        return None
    count = view.agg(F.count(F.lit(1)).alias("hosts"), F.count(F.when(F.col("kept_documents") > 0, 1)).alias("kept"))
    return {"rows": [row.asDict() for row in rows], **count.collect()[0].asDict()}


def duplicates(subject: Subject) -> Data:
    """Clusters by method, compared pairs, the one that is kept of each cluster, and what sources lose."""
    asked = subject.funnel.duplicates
    return {
        "methods": clusters.by_method(subject.view(views.DUPLICATES_KEPT), asked),
        "names": {method: name for method, (name, _) in clusters.METHODS.items()},
        "asked": asked,
        "similarities": clusters.similarities(subject.lake),
        "near": subject.near,
        "recall": subject.recall,
        "pairs": clusters.pairs(subject.lake, subject.near),
        "survivor": clusters.survivor(subject.applied),
        "sources": clusters.sources(subject.decided(), subject.applied),
    }


def lengths(subject: Subject) -> Data | None:
    """How long documents are, in tokens and in characters, all and kept."""
    decided = subject.decided().where(F.col("tokens").isNotNull()).select("doc_id", "decision", "tokens")
    documents = subject.lake.read(tables.DOCUMENTS).select("doc_id", F.col("text_length").alias("characters"))
    # Key: a document has one disposition under a recipe.
    measured = decided.join(documents, "doc_id", how="inner")
    pairs = [F.struct(F.lit(unit).alias("unit"), F.col(unit).alias("length")) for unit in UNITS]
    lengths_of = measured.select("decision", F.inline(F.array(*pairs)))
    is_kept = F.col("decision") == "kept"
    # The largest power of two that is not greater; 0 has a bin of its own.
    power = F.pow(F.lit(2), F.floor(F.log2("length"))).cast("bigint")
    bins = lengths_of.groupBy("unit", F.when(F.col("length") < 1, F.lit(0)).otherwise(power).alias("begin"))
    counts = bins.agg(F.count(F.lit(1)).alias("documents"), F.count(F.when(is_kept, True)).alias("kept"))
    rows = [row.asDict() for row in counts.orderBy("unit", "begin").collect()]
    everything, kept = _quantiles(F.col("length")), _quantiles(F.when(is_kept, F.col("length")))
    sums = lengths_of.groupBy("unit").agg(everything.alias("all"), kept.alias("kept")).collect()
    quantiles = {row["unit"]: _named(row["all"], row["kept"]) for row in sums}
    if not rows:
        return None
    return {
        "units": {
            unit: {"rows": [row for row in rows if row["unit"] == unit], "quantiles": quantiles[unit]} for unit in UNITS
        }
    }


def _named(everything: list[int], kept: list[int] | None) -> list[tuple[str, int, int | None]]:
    return [(name, everything[place], kept[place] if kept else None) for place, name in enumerate(QUANTILES)]


def _quantiles(value: Column) -> Column:
    return F.percentile_approx(value, list(QUANTILES.values()), 10_000)


def model_scores(subject: Subject) -> Data | None:
    """What models say of documents, all and kept."""
    found = list(subject.scored.values())
    if not found:
        return None
    rows = {
        each.scorer: [
            (place * each.top / scorers.BINS, *both)
            for place, both in enumerate(zip(each.counts, each.kept, strict=True))
        ]
        for each in found
    }
    return {"scored": found, "rows": rows, "bins": scorers.BINS, "flagged": scorers.FLAGGED}


def training(subject: Subject) -> Data:
    """The training set and what it was made of."""
    rows = subject.lake.read(tables.TRAINING_SETS).where(F.col("training_set") == subject.training_set).collect()
    if not rows:
        return {"name": subject.training_set, "set": None}
    manifest = json.loads(rows[0]["manifest"])
    return {
        "name": subject.training_set,
        "set": rows[0].asDict(),
        "inputs": sorted(manifest.get("inputs", {}).items()),
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True),
        "is_of_recipe": manifest.get("recipe", {}).get("name") == subject.recipe,
    }


def books(subject: Subject) -> Data:
    """Records read against dispositions written."""
    rows = subject.view(views.LEDGER).orderBy("balances", "warc_filename").limit(ARCHIVES).collect()
    records = sum(row["records"] for row in subject.archives)
    return {
        "archives": sum(row["archives"] for row in subject.archives),
        "records": records,
        "funnel": subject.funnel,
        "balances": records == subject.funnel.records and all(row["balances"] for row in rows),
        "rows": [row.asDict() for row in rows],
    }


def timings(subject: Subject) -> Data:
    """What each stage of the run took that wrote this report."""
    return {"runs": subject.runs, "seconds": sum(run.seconds for run in subject.runs or ())}


def next_steps(subject: Subject) -> Data:
    """Commands to go on with, about this lake."""
    urls = [row["url"] for row in subject.examples if row["url"] and row["text"]]
    return {
        "place": subject.place,
        "page": urls[0] if urls else None,
        "tables": [table.name for table in tables.ALL],
        "views": views.ALL,
    }
