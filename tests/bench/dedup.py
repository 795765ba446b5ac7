"""Deduplication measured: what it finds, what it costs, and that it ends the same whichever way it is run.

    python -m tests.bench.dedup accuracy [--families FILE] [--documents 5000]
    python -m tests.bench.dedup speed [--documents 20000] [--datatrove PYTHON]
    python -m tests.bench.dedup growth [--documents 10000 100000 1000000]
    python -m tests.bench.dedup incremental [--crawls 10] [--documents 50000] [--together 1]
    python -m tests.bench.dedup shuffle [--documents 50000]
    python -m tests.bench.dedup partitions [--documents 5000]
    python -m tests.bench.dedup kill [--kills 20]
    python -m tests.bench.dedup skew [--copies 100000] [--template 20000]
    python -m tests.bench.dedup components [--edges 1000000]
    python -m tests.bench.dedup --jsonl FILE [--text-field text] [--geometry fineweb] [--similarity 0.8]

Documents are those of `tests.bench.planted` unless a file is given. CPU is that of Spark's JVM and all its Python
workers, so that what runs beside it matters little; the last line of each says the figure that it is about.

The aim for a crawl that is a tenth of the lake is 0.15 of the CPU of all at once. It is not reached on one machine:

| documents, crawls | CPU of the last crawl | all at once | share |
| --- | --- | --- | --- |
| 100,000, after eight together and one alone, which compiles its code | 44.5 s | 58.4 s | 0.76 |
| 500,000, the same | 87.1 s | 175.2 s | 0.50 |

Rows are equal. Of the 87 s some 25 are what planning and compiling cost, whatever is read, 13 are Python's, against 78
for all at once, and 39 work on rows in the JVM, against 62, most of it on code that is not compiled yet: in a JVM that
has done the same update three times, candidates of 400,000 documents, a tenth of them new, take 7.6 s instead of 16.
All texts are read to find those that are compared, which is the part that would remain. Of the planted documents more
than half lie in families, and a tenth drawn by chance meets the buckets of half of these, which are all searched again.

A million documents with a heap of 6 GB: 354 s of CPU, 232 s by the clock on two cores, 2,826 documents/s/core, 5.5 GB
in all processes. The others, each run once to its end: 1, 2, 4 and 7 partitions give equal tables; a run killed at 20
moments ends with the tables of one that was not; 5,000 documents shuffle 1,064 bytes each; 100,000 copies of a page,
20,000 pages of a template and 5,000 others take 104 s of CPU, 1,201 documents/s/core, 2.1 pairs a document, one cluster
each; a million edges are joined in one task at 9.3 s of CPU, where stars on Spark take 160 s for the same rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from rich.console import Console

from etl import job, pipeline, session, tables
from etl.errors import InputError
from etl.kernels import minhash, shingles
from etl.kernels.components import of_edges
from etl.kernels.intervals import wilson
from etl.lake import Lake
from etl.pipeline import DuplicatesConfig, PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner
from etl.stages import dedup
from etl.tables import Table
from tests.bench import planted
from tests.comparing import differing

Texts = Iterable[tuple[str, "str | None"]]
MADE = (tables.DOCUMENT_MINHASH, tables.DUPLICATE_CANDIDATES, tables.DUPLICATE_PAIRS, tables.DUPLICATE_CLUSTERS)
CHUNK = 5_000  # documents that are written at once
say = Console(highlight=False, soft_wrap=True).print


@dataclass
class Bench:
    """A session, a folder, and the settings that all lakes of a run share."""

    spark: SparkSession
    folder: Path
    plan: pipeline.Plan

    def lake(self, name: str) -> Runner:
        return Runner(Lake(self.spark, str(self.folder / name), name).open(), Reporter(self.spark, Console(quiet=True)))

    def put(self, runner: Runner, crawl: str, texts: Texts) -> int:
        """Documents as `extract` would have left them: rows, and the marks by which the next stages know of them."""
        raw = self.folder / f"{crawl}.parquet"
        count = write(raw, texts)
        read = self.spark.read.parquet(str(raw))
        place = {"crawl": F.lit(crawl), "warc_filename": F.lit(crawl)}
        text_hash = F.sha2(F.col("text").cast("binary"), 256)
        documents = {**place, "doc_id": F.col("doc_id"), "text": F.col("text"), "text_hash": text_hash}
        runner.lake.replace(tables.DOCUMENTS, filled(read, tables.DOCUMENTS, documents), {"warc_filename": [crawl]}, {})
        size = raw.stat().st_size
        rows = [(tables.DOCUMENTS.name, crawl, blake2b(raw.read_bytes(), digest_size=16).hexdigest())]
        marks = self.spark.createDataFrame(rows, tables.STAGE_FILES.schema)
        runner.lake.replace(tables.STAGE_FILES, marks, {"stage": ["documents"], "warc_filename": [crawl]}, {})
        archive = {**place, "bytes": F.lit(size), "status": F.lit("complete")}
        row = filled(self.spark.range(1), tables.WARC_FILES, archive)
        runner.lake.replace(tables.WARC_FILES, row, {"warc_filename": [crawl]}, {})
        return count

    def find(self, runner: Runner) -> Cost:
        """Run the stages of deduplication and say what they took."""
        before, shuffled, began = cpu_seconds(), self.shuffled(), time.perf_counter()
        pipeline.find_duplicates(runner, self.plan)
        return Cost(cpu_seconds() - before, time.perf_counter() - began, self.shuffled() - shuffled, runner)

    def shuffled(self) -> int:
        """Bytes that all stages so far have written for others to read."""
        context = self.spark.sparkContext
        quantiles = context._gateway.new_array(context._jvm.double, 0)  # type: ignore[union-attr]
        store = context._jsc.sc().statusStore()  # type: ignore[union-attr]
        stages = store.stageList(None, False, False, quantiles, None)
        return sum(int(stages.apply(place).shuffleWriteBytes()) for place in range(stages.size()))


@dataclass
class Cost:
    cpu: float
    seconds: float
    shuffled: int
    runner: Runner

    def by_stage(self) -> str:
        runs = [run for run in self.runner.reporter.runs if not run.skipped]
        return ", ".join(f"{run.name} {run.seconds:.1f} s" for run in runs[-8:])


@contextmanager
def bench(options: argparse.Namespace, recipe: str = "fineweb", partitions: int = 8) -> Iterator[Bench]:
    config = PipelineConfig(
        recipe=recipe,
        duplicates=DuplicatesConfig(options.geometry, options.similarity, options.linkage),
    )
    plan = pipeline.plan(config)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        settings = (
            ("spark.sql.shuffle.partitions", str(partitions)),
            ("spark.sql.warehouse.dir", f"{folder}/warehouse"),
            ("spark.local.dir", f"{folder}/local"),
            ("spark.ui.retainedStages", "100000"),
        )
        log = Path(folder) / "spark.log"
        started = session.connect(session.SessionConfig(2, options.heap, options=settings), log)
        yield Bench(started, Path(folder), plan)
        started.stop()


def filled(rows: DataFrame, table: Table, columns: dict[str, Column]) -> DataFrame:
    """Rows of a table of which only some columns matter here."""
    nothing = {"string": "", "boolean": False}
    return rows.select(
        *[
            columns.get(field.name, F.lit(None if field.nullable else nothing.get(field.dataType.simpleString(), 0)))
            .cast(field.dataType)
            .alias(field.name)
            for field in table.schema
        ]
    )


def cpu_seconds() -> float:
    """CPU of all processes below this one, and of those that they have waited for."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def write(path: Path, texts: Texts) -> int:
    """Documents to a Parquet file, some at a time."""
    schema = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
    count, rows = 0, iter(texts)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while chunk := list(islice(rows, CHUNK)):
            writer.write_table(pa.table([list(column) for column in zip(*chunk, strict=True)], schema=schema))
            count += len(chunk)
    return count


def planted_texts(number: int, seed: int) -> Texts:
    return ((document.doc_id, document.text) for document in planted.documents(number, seed))


def jsonl(path: Path, field: str) -> Texts:
    """Texts of a file of JSON lines, also gzipped; ids are hashes of file and line. Empty lines are passed over."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:  # also of bytes that are no UTF-8
                raise InputError(f"{place} is no JSON: {error}") from error
            if not isinstance(row, dict) or field not in row:
                known = ", ".join(row) if isinstance(row, dict) else f"no fields, it is {type(row).__name__}"
                raise InputError(f"{place}: there is no {field!r}, known are {known}: name one with --text-field")
            text = row[field]
            if text is not None and not isinstance(text, str):
                raise InputError(f"{place}: {field!r} is {type(text).__name__}, wanted text")
            # A half of a surrogate pair, which JSON can hold and UTF-8 cannot.
            text = text and text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
            yield blake2b(f"{path.name} {number}".encode(), digest_size=16).hexdigest(), text


def file(options: argparse.Namespace) -> None:
    """Any file: documents, exact and near duplicates, clusters."""
    if not options.jsonl.is_file():
        raise InputError(f"{options.jsonl}: there is no such file")
    with bench(options) as made:
        runner = made.lake("any")
        count = made.put(runner, "file", jsonl(options.jsonl, options.text_field))
        cost = made.find(runner)
        clusters = runner.lake.read(tables.DUPLICATE_CLUSTERS).groupBy("method")
        sums = clusters.agg(
            F.countDistinct("cluster_id").alias("clusters"),
            F.count(F.lit(1)).alias("documents"),
            F.max("cluster_size").alias("largest"),
        )
        found = {row["method"]: row for row in sums.collect()}
        texts = runner.lake.read(tables.DOCUMENTS).where(F.col("text").isNotNull()).count()
        say(f"{count:,} documents, {texts:,} with text; {cost.cpu:.1f} s of CPU, {count / cost.cpu:,.0f}/s/core")
        say(
            f"geometry {made.plan.minhash.geometry.label}, similarity {options.similarity:g}, {options.linkage} linkage"
        )
        exact = near = clustered = 0
        for method, row in sorted(found.items()):
            extra = row["documents"] - row["clusters"]
            say(f"{method}: {row['clusters']:,} clusters of {row['documents']:,} documents, largest {row['largest']:,}")
            exact, near = (extra, near) if method == "exact" else (exact, extra)
            clustered = row["clusters"] if method == "minhash" else clustered
        near = max(near - exact, 0)
        say(f"documents {count} exact duplicates {exact} near duplicates {near} clusters {clustered}")


def accuracy(options: argparse.Namespace) -> None:
    """Recall by similarity against the curve of the geometry, and whether any cluster joins what is unlike.

    A pair of different sets of shingles is found when it was compared, or when similar pairs join its two documents:
    pages of one template are not all compared with all. What stays is one document of each cluster.
    """
    with bench(options) as made:
        given = jsonl(options.families, options.text_field) if options.families else planted_texts(options.documents, 1)
        texts = dict(given)
        runner = made.lake("accuracy")
        made.put(runner, "texts", texts.items())
        made.find(runner)
        geometry = made.plan.minhash.geometry
        sets = dict(zip(texts, shingle_sets(list(texts.values()), geometry), strict=True))
        columns = ("left_id", "right_id", "similarity")
        compared = runner.lake.read(tables.DUPLICATE_PAIRS).select(*columns).collect()
        pairs = {(row[0], row[1]): row[2] for row in compared}
        wrong = [
            (one, other) for (one, other), found in pairs.items() if found != minhash.jaccard(sets[one], sets[other])
        ]
        say(f"{len(texts):,} documents, {len(pairs):,} pairs compared, {len(wrong)} with another similarity than here")
        clusters = cluster_of(runner)
        first = standing(sets)
        similar = by_brute_force(sets, 0.5)
        joined = component_of([pair for pair, found in pairs.items() if found >= options.similarity])
        rows: list[tuple[float, bool, bool]] = []
        for (left, right), similarity in similar.items():
            if first[left] == left and first[right] == right:
                is_joined = joined.get(left, left) == joined.get(right, right)
                together = clusters.get(left, left) == clusters.get(right, right)
                rows.append((similarity, is_joined or (left, right) in pairs, together))
        say("Jaccard         pairs  by the curve     found  in one cluster")
        for low, high in (
            (0.5, 0.6),
            (0.6, 0.7),
            (0.7, 0.75),
            (0.75, 0.8),
            (0.8, 0.85),
            (0.85, 0.9),
            (0.9, 0.95),
            (0.95, 1),
        ):
            mine = [row for row in rows if low <= row[0] < high]
            if mine:
                hoped = sum(minhash.probability(row[0], geometry.bands, geometry.rows) for row in mine) / len(mine)
                found, together = (sum(row[place] for row in mine) / len(mine) for place in (1, 2))
                say(f"{low:.2f} to {high:.2f} {len(mine):8,}  {hoped:12.3f}  {found:8.3f}  {together:14.3f}")
        members: dict[str, list[str]] = {}
        for doc_id, cluster in clusters.items():
            members.setdefault(cluster, []).append(doc_id)
        # The founder of a star is the smallest: here all documents were fetched at one time.
        checked = [(one, other) for one, group in members.items() for other in group if other != one]
        false = sum(minhash.jaccard(sets[one], sets[other]) < options.similarity for one, other in checked)
        stays = {doc_id for doc_id in sets if clusters.get(doc_id, doc_id) == doc_id}
        left_over = sum(
            pair[0] in stays and pair[1] in stays for pair, found in similar.items() if found >= options.similarity
        )
        say(
            f"{len(members):,} clusters of {len(clusters):,} documents: {len(checked):,} pairs with what stays, "
            f"{false} of these unlike; {left_over} pairs of what stays are alike"
        )
        over = [row for row in rows if row[0] >= options.similarity]
        hoped = sum(minhash.probability(row[0], geometry.bands, geometry.rows) for row in over)
        found = sum(row[1] for row in over)
        low, high = wilson(found, len(over))
        say(
            f"recall at {options.similarity:g} {found / max(1, len(over)):.4f} "
            f"({low:.4f} to {high:.4f}, n {len(over)}), "
            f"of what the curve gives hope of {found / max(1e-9, hoped):.4f}, false removals {false}"
        )


def component_of(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The component that each document of some pairs is in."""
    if not pairs:
        return {}
    found = of_edges(*(pa.array([pair[side] for pair in pairs]) for side in (0, 1)))
    return dict(zip(found.column("node").to_pylist(), found.column("component").to_pylist(), strict=True))


def shingle_sets(texts: Sequence[str | None], geometry: minhash.Geometry) -> list[Any]:
    made, offsets = shingles.sets_of([text or "" for text in texts], geometry.size, geometry.unit)
    return list(shingles.split(made, offsets))


def by_brute_force(sets: dict[str, Any], at_least: float) -> dict[tuple[str, str], float]:
    """Every pair of documents with shingles that is so similar, by counting shared shingles of all pairs."""
    holders: dict[int, list[str]] = {}
    for doc_id, found in sets.items():
        for shingle in found.tolist():
            holders.setdefault(shingle, []).append(doc_id)
    shared: dict[tuple[str, str], int] = {}
    for doc_ids in holders.values():
        for pair in combinations(sorted(doc_ids), 2):
            shared[pair] = shared.get(pair, 0) + 1
    similar = {}
    for (left, right), count in shared.items():
        similarity = count / (sets[left].size + sets[right].size - count)
        if similarity >= at_least:
            similar[left, right] = similarity
    return similar


def standing(sets: dict[str, Any]) -> dict[str, str]:
    """For each document the smallest with the same set of shingles."""
    first: dict[bytes, str] = {}
    for doc_id in sorted(sets):
        first.setdefault(sets[doc_id].tobytes(), doc_id)
    return {doc_id: first[found.tobytes()] for doc_id, found in sets.items()}


def cluster_of(runner: Runner) -> dict[str, str]:
    rows = runner.lake.read(tables.DUPLICATE_CLUSTERS).where("method = 'minhash'").select("doc_id", "cluster_id")
    return {row[0]: row[1] for row in rows.collect()}


def speed(options: argparse.Namespace) -> None:
    """The whole of it against datatrove's, on the same documents in the same run."""
    with bench(options) as made:
        path = made.folder / "planted.jsonl"
        planted.write(path, options.documents, 1)
        warm = made.lake("warm")
        made.put(warm, "warm", planted_texts(500, seed=9))
        made.find(warm)
        runner = made.lake("speed")
        count = made.put(runner, "texts", planted_texts(options.documents, seed=1))
        cost = made.find(runner)
        size = path.stat().st_size / count
        ours = count / cost.cpu
        say(
            f"goldenlake: {count:,} documents of {size / 1000:.1f} kB in {cost.cpu:.1f} s of CPU, "
            f"{cost.seconds:.1f} s; {cost.by_stage()}"
        )
        if options.datatrove:
            import subprocess

            script = Path(__file__).with_name("dedup_datatrove.py")
            done = subprocess.run(
                [options.datatrove, str(script), str(path)], capture_output=True, text=True, check=True
            )
            theirs = json.loads(done.stdout.splitlines()[-1])
            rate = theirs["documents"] / theirs["seconds"]
            say(
                f"datatrove: {theirs['documents']:,} documents in {theirs['seconds']:.1f} s of CPU, "
                f"{theirs['kept']:,} kept"
            )
            say(f"documents/s/core {ours:,.0f}, datatrove {rate:,.0f}, ratio {ours / rate:.1f}")
        else:
            say(f"documents/s/core {ours:,.0f}")


def growth(options: argparse.Namespace) -> None:
    """Cost of ever more documents, and the memory that it takes."""
    with bench(options, partitions=16) as made:
        for number in options.sizes or (10_000, 100_000):
            runner = made.lake(f"of_{number}")
            made.put(runner, f"texts{number}", planted_texts(number, seed=1))
            cost = made.find(runner)
            say(
                f"{number:,} documents: {cost.cpu:.0f} s of CPU, {cost.seconds:.0f} s, {number / cost.cpu:,.0f} "
                f"documents/s/core, {memory() / 1e9:.1f} GB; {cost.by_stage()}"
            )
            shutil.rmtree(made.folder / f"of_{number}")


def memory() -> int:
    """Bytes that this process and those below it hold."""
    held = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held


def incremental(options: argparse.Namespace) -> None:
    """Crawl after crawl, and the same at once: are the tables equal, and what did the last crawl cost."""
    with bench(options, partitions=8) as made:
        texts = list(planted_texts(options.crawls * options.documents, seed=1))
        crawls = {f"crawl{number:02d}": texts[number :: options.crawls] for number in range(options.crawls)}
        growing, last = made.lake("growing"), None
        for number, (name, mine) in enumerate(crawls.items(), start=1):
            made.put(growing, name, mine)
            if number < options.together:
                continue
            last = made.find(growing)
            say(f"{name}: {len(mine):,} documents, {last.cpu:.1f} s of CPU; {last.by_stage()}")
        whole = made.lake("whole")
        for name, mine in crawls.items():
            made.put(whole, name, mine)
        full = made.find(whole)
        say(f"at once: {len(texts):,} documents, {full.cpu:.1f} s of CPU; {full.by_stage()}")
        differ = differing(growing.lake, whole.lake, MADE)
        say(f"tables that differ: {differ or 'none'}")
        share = 1 / options.crawls
        say(f"CPU of the last crawl, {share:.0%} of the lake, by that of all at once: {last.cpu / full.cpu:.3f}")


def shuffle(options: argparse.Namespace) -> None:
    """Bytes that go from task to task."""
    with bench(options) as made:
        runner = made.lake("shuffle")
        count = made.put(runner, "texts", planted_texts(options.documents, seed=1))
        cost = made.find(runner)
        say(
            f"{count:,} documents: {cost.shuffled:,} bytes shuffled; "
            f"shuffle bytes per document {cost.shuffled / count:.0f}"
        )


def partitions(options: argparse.Namespace) -> None:
    """The same rows on any number of partitions."""
    with bench(options) as made:
        lakes = {}
        for number in (1, 2, 4, 7):
            made.spark.conf.set("spark.sql.shuffle.partitions", str(number))
            runner = lakes[number] = made.lake(f"on_{number}")
            made.put(runner, "texts", planted_texts(options.documents, seed=1))
            made.find(runner)
        differ = {number: differing(lakes[1].lake, runner.lake, MADE) for number, runner in lakes.items() if number > 1}
        say(f"tables that differ from those on 1 partition: {differ}")
        say("equal on 1, 2, 4 and 7 partitions" if not any(differ.values()) else "NOT equal")
        sys.exit(1 if any(differ.values()) else 0)


def kill(options: argparse.Namespace) -> None:
    """`tests.bench.kill_and_resume`, whose runs find near duplicates too."""
    from tests.bench import kill_and_resume

    sys.argv = ["kill_and_resume", "--kills", str(options.kills)]
    sys.exit(kill_and_resume.main())


def skew(options: argparse.Namespace) -> None:
    """Very many copies of one page, and a family of pages that differ in some numbers."""
    with bench(options) as made:
        template = list(islice(planted_template(), options.template))
        copies = ((f"{number:032x}", "the same page again and again " * 150) for number in range(options.copies))
        others = planted_texts(options.documents, seed=3)
        runner = made.lake("skew")
        count = made.put(runner, "texts", (*template, *copies, *others))
        cost = made.find(runner)
        clusters = cluster_of(runner)
        same = {clusters.get(f"{number:032x}") for number in range(options.copies)}
        family: dict[str | None, int] = {}
        for doc_id, _ in template:
            family[clusters.get(doc_id)] = family.get(clusters.get(doc_id), 0) + 1
        largest = max(family.values())
        pairs = runner.lake.read(tables.DUPLICATE_PAIRS).count()
        say(f"{count:,} documents, {cost.cpu:.1f} s of CPU, {pairs:,} pairs compared; {cost.by_stage()}")
        say(
            f"{options.copies:,} copies in {len(same)} cluster(s); {len(template):,} pages of a template in "
            f"{len(family)} cluster(s), the largest of {largest:,}"
        )
        say(f"documents/s/core {count / cost.cpu:,.0f}, pairs per document {pairs / count:.2f}")


def in_one_task(edges: DataFrame) -> DataFrame:
    """Components as `duplicate_clusters` has them."""
    return dedup._components(edges).select("doc_id", "component")


def by_stars(edges: DataFrame) -> DataFrame:
    """Components by alternating large-star and small-star (Kiveris et al. 2014), each round cut off from its plan."""
    both = edges.select(F.greatest("left_id", "right_id").alias("u"), F.least("left_id", "right_id").alias("v"))
    while True:
        ways = both.select("u", "v").unionByName(both.select(F.col("v").alias("u"), F.col("u").alias("v")))
        least = F.least("u", F.min("v").over(Window.partitionBy("u")))
        large = (
            ways.select("u", "v", least.alias("m")).where(F.col("v") > F.col("u")).select(F.col("v").alias("u"), "m")
        )
        large = large.where(F.col("u") != F.col("m")).distinct().localCheckpoint()
        smallest = large.select("u", "m", F.min("m").over(Window.partitionBy("u")).alias("least"))
        small = smallest.select(F.explode(F.array("u", "m")).alias("u"), F.col("least").alias("v"))
        small = small.where(F.col("u") != F.col("v")).distinct().localCheckpoint()
        if small.exceptAll(both).isEmpty() and both.exceptAll(small).isEmpty():
            break
        both = small
    roots = both.select(F.col("v").alias("u"), "v").distinct()
    return both.unionByName(roots).toDF("doc_id", "component")


def components(options: argparse.Namespace) -> None:
    """One task with SciPy against large-star and small-star on Spark, on the same edges: families of up to six, chains
    of twenty, and a crowd in which each has an edge to the three after it."""
    with bench(options) as made:
        rng = np.random.default_rng(1)
        number = options.edges
        of = np.repeat(np.arange(number // 4), rng.integers(1, 6, number // 4))[: number // 2]
        families = [(f"f{family}", f"f{family}/{member}") for member, family in enumerate(of.tolist())]
        chains = [
            (f"c{link // 20}/{link % 20:02d}", f"c{link // 20}/{link % 20 + 1:02d}") for link in range(number // 4)
        ]
        crowd = [(f"t{one:08d}", f"t{one + after:08d}") for one in range(number // 12) for after in (1, 2, 3)]
        hashed = [
            (blake2b(a.encode(), digest_size=16).hexdigest(), blake2b(b.encode(), digest_size=16).hexdigest())
            for a, b in (*families, *chains, *crowd)
        ]
        path = made.folder / "edges.parquet"
        pq.write_table(
            pa.table([list(side) for side in zip(*hashed, strict=True)], names=["left_id", "right_id"]), path
        )
        edges = made.spark.read.parquet(str(path))
        found: dict[str, DataFrame] = {}
        cost: dict[str, float] = {}
        for name, way in (("one task", in_one_task), ("stars", by_stars)):
            way(edges.limit(1000)).write.format("noop").mode("overwrite").save()
            before, began = cpu_seconds(), time.perf_counter()
            way(edges).write.parquet(str(made.folder / name))
            cost[name] = cpu_seconds() - before
            found[name] = made.spark.read.parquet(str(made.folder / name))
            say(f"{name}: {len(hashed):,} edges, {cost[name]:.1f} s of CPU, {time.perf_counter() - began:.1f} s")
        differ = (
            found["one task"].exceptAll(found["stars"]).count() + found["stars"].exceptAll(found["one task"]).count()
        )
        say(f"CPU of stars by that of one task {cost['stars'] / cost['one task']:.1f}, rows that differ {differ}")


def planted_template() -> Iterator[tuple[str, str]]:
    for group in planted.families(3):
        for document in group:
            if document.kind == planted.TEMPLATE:
                yield document.doc_id, document.text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {
        each.__name__: each
        for each in (accuracy, speed, growth, incremental, shuffle, partitions, kill, skew, components)
    }
    parser.add_argument("what", nargs="?", choices=commands)
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--families", type=Path, help="a file of JSON lines instead of planted documents")
    parser.add_argument("--geometry", default="fineweb")
    parser.add_argument("--similarity", type=float, default=0.8)
    parser.add_argument("--linkage", default="star")
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--sizes", type=int, nargs="*")
    parser.add_argument("--crawls", type=int, default=10)
    parser.add_argument("--together", type=int, default=1, help="crawls that the first of the runs finds")
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--copies", type=int, default=100_000)
    parser.add_argument("--template", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--datatrove", help="an interpreter that has datatrove")
    parser.add_argument("--heap", default="4g", help="of Spark's JVM (4g)")
    parser.add_argument("--folder", type=Path, help="where the lakes are made, for as long as it runs")
    options = parser.parse_args()
    if options.jsonl or options.what:
        with job.reported_errors():
            (file if options.jsonl else commands[options.what])(options)
    else:
        parser.error("wanted one of " + ", ".join(commands) + ", or --jsonl FILE")


if __name__ == "__main__":
    main()
