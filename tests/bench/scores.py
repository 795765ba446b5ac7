"""How right, how fast and how repeatable the scores of models are.

    python -m tests.bench.scores --scorer quality --jsonl FILE --text-field text --label-field label
        [--threshold 3 | --yes WORD ...]
    python -m tests.bench.scores speed [--scorer quality] [--jsonl FILE --text-field text] [--limit 2000]
    python -m tests.bench.scores partitions [--scorer quality] [--pages 300]
    python -m tests.bench.scores memory [--scorer quality] [--pages 300]
    python -m tests.bench.scores kill [--scorer quality] [--pages 300] [--kills 3]

A scorer is a file of conf/scorers, by name or path. The first command scores the texts of a file, whose labels are good
or bad, toxic or not, 1 or 0, two numbers, numbers with a threshold, or words of which some mean yes; its last line is
the area under the ROC curve. `speed` gives documents per second and core in batches, against one by one and against the
published floor of NeMo Curator on a CPU (547 documents/s/core, language identification and a fastText classifier of
quality), with the memory of the process; without a file, on the texts of the embedded sample. Times are CPU times of
one process.

The others score a lake made of the embedded sample. `partitions` does so on 1, 2 and 4 partitions and compares every
row. `memory` samples the memory of Spark's Python workers while they score on two. `kill` scores it archive by archive,
kills the run by SIGKILL within one archive after the other, lets the last run end, and compares every row with those of
a run that was not killed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyspark.sql import functions as F
from rich.console import Console

from etl import config, labelled, pipeline, runner, sample, session, tables
from etl.errors import GoldenlakeError, InputError
from etl.kernels import ranking
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner
from etl.stages.score import DOCUMENT_SCORES, ScoreParams, Scorer
from tests.comparing import differing

FLOOR = 547  # documents/s/core; NeMo Curator's release notes, see the module text
BATCH = 1000
SAMPLED_SECONDS = 0.05
CHILD = "score"  # what `kill` starts: a run that scores the lake of --warehouse


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def scorer(name: str) -> Scorer:
    """The scorer of this name or path, loaded."""
    return config.load(config.find("scorers", name), Scorer).pinned()


def scores(by: Scorer, texts: Sequence[str], batch: int = BATCH) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(texts), batch):
        found += by.engine.score(texts[start : start + batch], by.settings)
    return found


def against_labels(options: argparse.Namespace) -> None:
    """Print how scores and labels agree; texts without a score are named and take the lowest score."""
    by = scorer(options.scorer)
    names = labelled.TOXICITY if by.name in ("toxicity", "perspective") else labelled.QUALITY
    texts, labels = labelled.labelled(
        options.jsonl, options.text_field, options.label_field, names=names, threshold=options.threshold,
        yes=options.yes,
    )  # fmt: skip
    started = time.process_time()
    found = scores(by, texts)
    took = time.process_time() - started
    values = np.array([np.nan if each.score is None else each.score for each in found])
    lacking = int(np.isnan(values).sum())
    if lacking == len(values):
        raise InputError(f"{options.jsonl}: no text has a score; the first says {found[0].error}")
    means = [np.nanmean(values[side]) if not np.isnan(values[side]).all() else np.nan for side in (labels, ~labels)]
    values[np.isnan(values)] = np.nanmin(values) - 1
    area = ranking.auc_interval(labels, values)
    say(f"model {by.model}: {by.description}")
    say(f"{len(texts):,} texts, {int(labels.sum()):,} labelled yes, {lacking:,} without a score")
    say(f"mean of yes {means[0]:.4f}, of no {means[1]:.4f}")
    say(f"{len(texts) / max(took, 1e-9):,.0f} documents/s of CPU time")
    say(f"AUC {area}")
    say(f"AUC {area.value:.4f}")


def speed(options: argparse.Namespace) -> None:
    """Print documents/s/core in batches and one by one."""
    texts = _texts(options)
    by = scorer(options.scorer)
    scores(by, texts[:20])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    some = texts[: max(20, len(texts) // 5)]
    batched, together = rate(by, texts, BATCH)
    single, alone = rate(by, some, 1)
    assert [each.score for each in alone] == [each.score for each in together[: len(some)]], "a batch changes scores"
    mean = sum(map(len, texts)) / len(texts)
    say(f"model {by.model}, {len(texts):,} texts of {mean:,.0f} characters on average")
    say(f"in batches {batched:,.0f} documents/s/core, one by one {single:,.0f}; scores are equal")
    say(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most, {before:,.0f} MB loaded")
    say(f"ratio to one by one {batched / single:.2f}, to NeMo Curator's published CPU floor {batched / FLOOR:.2f}")


def rate(by: Scorer, texts: Sequence[str], batch: int) -> tuple[float, list[Any]]:
    """Documents a second of CPU time, the better of two rounds: models remember words, which favours what is later."""
    took, found = [], []
    for _ in range(2):
        started = time.process_time()
        found = scores(by, texts, batch)
        took.append(time.process_time() - started)
    return len(texts) / min(took), found


def _texts(options: argparse.Namespace) -> list[str]:
    if options.jsonl:
        texts = [row[options.text_field] for _, row in labelled.rows(options.jsonl)]
        return [text for text in texts if isinstance(text, str)][: options.limit]
    with tempfile.TemporaryDirectory() as folder:
        crawl = sample.write_sample(Path(folder), pages=max(300, options.limit // 4))
        truth = [row.get("text") or "" for _, row in labelled.rows(crawl.truth)]
    texts = [text for text in truth if text.strip()]
    if not texts:
        raise SystemExit("the sample has no texts")
    return [texts[place % len(texts)] for place in range(options.limit)]


@contextmanager
def spark_on(warehouse: Path) -> Iterator[Runner]:
    """A runner on the lake of a folder, two tasks at once; Spark ends with it."""
    settings = session.SessionConfig(cores=2, driver_memory="2g", options=(session.SHORT_RUN,))
    spark = session.connect(settings, warehouse.with_suffix(".log"))
    try:
        yield Runner(Lake(spark, str(warehouse), warehouse.name).open(), Reporter(spark, Console(quiet=True)))
    finally:
        spark.stop()


def extracted(on: Runner, pages: int) -> None:
    """Bring the documents of the embedded sample into a lake."""
    crawl = sample.write_sample(Path(on.lake.warehouse).with_suffix(".crawl"), pages=pages)
    plan = pipeline.plan(PipelineConfig(input=tuple(map(str, crawl.files)), crawl="sample", scorers=()))
    for step in (pipeline.ingest, pipeline.extract):
        step(on, plan)


def scored(on: Runner, by: Scorer) -> None:
    on.by_document(DOCUMENT_SCORES, ScoreParams(by), {"model": by.model})


def partitions(options: argparse.Namespace) -> None:
    """Score one lake anew on 1, 2 and 4 partitions, and compare every row."""
    by = scorer(options.scorer)
    found = []
    with tempfile.TemporaryDirectory() as folder, spark_on(Path(folder) / "lake") as on:
        extracted(on, options.pages)
        for parts in (1, 2, 4):
            on.lake.spark.conf.set("spark.sql.shuffle.partitions", str(parts))
            on.lake.spark.sql(f"DELETE FROM {on.lake.name(tables.DOCUMENT_SCORES)}")
            scored(on, by)
            rows = on.lake.read(tables.DOCUMENT_SCORES).orderBy("doc_id", "model")
            found.append(rows.select(*[F.col(name).cast("string") for name in rows.columns]).collect())
            say(f"{parts} partitions: {len(found[-1]):,} rows")
    same = found[0] == found[1] == found[2] and bool(found[0])
    say("identical" if same else "DIFFERENT")
    raise SystemExit(0 if same else 1)


def memory(options: argparse.Namespace) -> None:
    """Print what the Python workers of Spark hold at most while they score."""
    by = scorer(options.scorer)
    most: dict[int, tuple[int, int]] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLED_SECONDS):
            for process in workers():
                with suppress(psutil.Error):  # it has ended
                    sizes = process.memory_full_info()
                    before = most.get(process.pid, (0, 0))
                    most[process.pid] = max(before[0], sizes.rss), max(before[1], sizes.uss)

    with tempfile.TemporaryDirectory() as folder:
        warehouse = Path(folder) / "lake"
        with spark_on(warehouse) as on:
            extracted(on, options.pages)
        # Another Spark has workers of its own, which hold nothing of the pages that were extracted.
        with spark_on(warehouse) as on:
            on.lake.spark.conf.set("spark.sql.shuffle.partitions", "2")
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                scored(on, by)
            finally:
                ended.set()
                watcher.join()
            rows = on.lake.read(tables.DOCUMENT_SCORES).count()
    say(f"model {by.model}, {rows:,} documents, {len(most)} workers")
    for place, (whole, own) in enumerate(sorted(most.values(), reverse=True), start=1):
        say(f"worker {place}: {whole / 1e6:,.0f} MB at most, {own / 1e6:,.0f} MB of them shared with no other process")
    if not most:
        raise SystemExit("no worker was seen")


def workers() -> list[psutil.Process]:
    """Spark's Python workers: the children of its daemon, which is a child of the JVM."""
    return [
        worker
        for java in psutil.Process().children()
        for daemon in java.children()
        if "python" in daemon.name()
        for worker in daemon.children()
    ]


def kill(options: argparse.Namespace) -> None:
    """Kill runs that score, go on, and compare every row with that of a run that was let end."""
    scorer(options.scorer)
    with tempfile.TemporaryDirectory() as folder:
        clean, killed = Path(folder) / "clean", Path(folder) / "killed"
        with spark_on(clean) as on:
            extracted(on, options.pages)
        shutil.copytree(clean, killed)
        whole = start(clean, options)
        if whole.wait() != 0:
            raise SystemExit("the run that was let end has failed")
        say(f"clean run: {commits(clean)} commits of scores")
        for _ in range(options.kills):
            standing, files = commits(killed), len(rows_of(killed))
            run = start(killed, options)
            # Rows are being written when there are files that no commit names yet.
            while run.poll() is None and len(rows_of(killed)) == files:
                time.sleep(0.01)
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            ended = "" if run.wait() != 0 else ", the run had ended"
            say(f"killed: {standing} commits stood before, {commits(killed)} stand now{ended}")
        if start(killed, options).wait() != 0:
            raise SystemExit("the run after the kills has failed")
        with spark_on(clean) as on:
            found = differing(on.lake, Lake(on.lake.spark, str(killed), "killed").open())
            rows = on.lake.read(tables.DOCUMENT_SCORES).count()
        say(f"{rows:,} rows: " + ("the same table" if not found and rows else f"DIFFERENT {found}"))
        raise SystemExit(0 if not found and rows else 1)


def start(warehouse: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """A run in a process group of its own, JVM and Python workers with it."""
    command = [sys.executable, "-m", "tests.bench.scores", CHILD, "--scorer", options.scorer]
    return subprocess.Popen([*command, "--warehouse", str(warehouse)], start_new_session=True)


def score_lake(options: argparse.Namespace) -> None:
    runner.BATCH_DOCUMENTS_PER_PARTITION = 1  # a commit an archive, so that there is something to go on with
    by = scorer(options.scorer)
    with spark_on(options.warehouse) as on:
        scored(on, by)


def commits(warehouse: Path) -> int:
    return len(list(warehouse.glob(f"{tables.DOCUMENT_SCORES.name}/_delta_log/*.json")))


def rows_of(warehouse: Path) -> list[Path]:
    return list((warehouse / tables.DOCUMENT_SCORES.name).rglob("part-*.parquet"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run = {
        "labels": against_labels, "speed": speed, "partitions": partitions, "memory": memory, "kill": kill,
        CHILD: score_lake,
    }  # fmt: skip
    parser.add_argument("what", nargs="?", choices=tuple(run), default="labels")
    parser.add_argument("--scorer", default="quality", help="a file of conf/scorers, by name or path")
    parser.add_argument("--jsonl", type=Path, help="JSON lines, may be gzipped")
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--label-field", default="label")
    parser.add_argument("--threshold", type=float, help="labels are numbers, and yes from here on")
    parser.add_argument("--yes", nargs="+", default=(), metavar="WORD", help="labels that mean yes; all others mean no")
    parser.add_argument("--limit", type=int, default=2000, help="texts whose speed is measured")
    parser.add_argument("--pages", type=int, default=300, help="of the sample")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--warehouse", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.what == "labels" and options.jsonl is None:
        parser.error("wanted --jsonl FILE with labels, or speed, partitions, memory or kill")
    try:
        run[options.what](options)
    except GoldenlakeError as error:
        sys.exit(f"scores: {error}")


if __name__ == "__main__":
    main()
