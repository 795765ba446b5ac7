"""How right, how fast and how repeatable the scores of models are.

    python -m tests.bench.scores --scorer quality --jsonl FILE --text-field text --label-field label [--threshold 3]
    python -m tests.bench.scores speed [--scorer quality] [--jsonl FILE --text-field text] [--limit 2000]
    python -m tests.bench.scores partitions [--scorer quality] [--pages 300]

A scorer is a file of conf/scorers, by name or path. The first command scores the texts of a file, whose labels are good
or bad, toxic or not, 1 or 0, or numbers with a threshold; its last line is the area under the ROC curve. The second
gives documents per second and core in batches, against one by one and against the published floor of NeMo Curator on a
CPU (547 documents/s/core, language identification and a fastText classifier of quality), with the memory of the
process; without a file, on the texts of the embedded sample. The third scores a lake on 1, 2 and 4 partitions and
compares every row. Times are CPU times of one process.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import functions as F
from rich.console import Console

from etl import config, labelled, pipeline, sample, session, tables
from etl.errors import GoldenlakeError
from etl.kernels import ranking
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner
from etl.stages.score import DOCUMENT_SCORES, ScoreParams, Scorer

FLOOR = 547  # documents/s/core; NeMo Curator's release notes, see the module text
BATCH = 1000


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
        options.jsonl, options.text_field, options.label_field, names=names, threshold=options.threshold
    )
    started = time.process_time()
    found = scores(by, texts)
    took = time.process_time() - started
    values = np.array([np.nan if each.score is None else each.score for each in found])
    lacking = int(np.isnan(values).sum())
    if lacking == len(values):
        raise SystemExit(f"{options.jsonl}: no text has a score; the first says {found[0].error}")
    values[np.isnan(values)] = np.nanmin(values) - 1
    area = ranking.auc_interval(labels, values)
    say(f"model {by.model}: {by.description}")
    say(f"{len(texts):,} texts, {int(labels.sum()):,} labelled yes, {lacking:,} without a score")
    say(f"mean of yes {values[labels].mean():.4f}, of no {values[~labels].mean():.4f}")
    say(f"{len(texts) / max(took, 1e-9):,.0f} documents/s of CPU time")
    say(f"AUC {area}")
    say(f"AUC {area.value:.4f}")


def speed(options: argparse.Namespace) -> None:
    """Print documents/s/core in batches and one by one."""
    texts = _texts(options)
    by = scorer(options.scorer)
    scores(by, texts[:20])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    together = scores(by, texts)
    batched = len(texts) / (time.process_time() - started)
    some = texts[: max(20, len(texts) // 5)]
    started = time.process_time()
    alone = scores(by, some, batch=1)
    single = len(some) / (time.process_time() - started)
    assert [each.score for each in alone] == [each.score for each in together[: len(some)]], "a batch changes scores"
    mean = sum(map(len, texts)) / len(texts)
    say(f"model {by.model}, {len(texts):,} texts of {mean:,.0f} characters on average")
    say(f"in batches {batched:,.0f} documents/s/core, one by one {single:,.0f}; scores are equal")
    say(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most, {before:,.0f} MB loaded")
    say(f"ratio to one by one {batched / single:.2f}, to NeMo Curator's published CPU floor {batched / FLOOR:.2f}")


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


def partitions(options: argparse.Namespace) -> None:
    """Score one lake anew on 1, 2 and 4 partitions, and compare every row."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spark = session.connect(session.SessionConfig(cores=2, driver_memory="3g"), root / "log")
        lake = Lake(spark, str(root / "lake")).open()
        runner = Runner(lake, Reporter(spark, Console(quiet=True)))
        crawl = sample.write_sample(root / "crawl", pages=options.pages)
        plan = pipeline.plan(PipelineConfig(input=tuple(map(str, crawl.files)), crawl="sample", scorers=()))
        for step in (pipeline.ingest, pipeline.extract):
            step(runner, plan)
        by = scorer(options.scorer)
        found = []
        for parts in (1, 2, 4):
            spark.conf.set("spark.sql.shuffle.partitions", str(parts))
            spark.sql(f"DELETE FROM {lake.name(tables.DOCUMENT_SCORES)}")
            runner.by_document(DOCUMENT_SCORES, ScoreParams(by), {"model": by.model})
            rows = lake.read(tables.DOCUMENT_SCORES).orderBy("doc_id", "model")
            found.append(rows.select(*[F.col(name).cast("string") for name in rows.columns]).collect())
            say(f"{parts} partitions: {len(found[-1]):,} rows")
        spark.stop()
    same = found[0] == found[1] == found[2] and bool(found[0])
    say("identical" if same else "DIFFERENT")
    raise SystemExit(0 if same else 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("labels", "speed", "partitions"), default="labels")
    parser.add_argument("--scorer", default="quality", help="a file of conf/scorers, by name or path")
    parser.add_argument("--jsonl", type=Path, help="JSON lines, may be gzipped")
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--label-field", default="label")
    parser.add_argument("--threshold", type=float, help="labels are numbers, and yes from here on")
    parser.add_argument("--limit", type=int, default=2000, help="texts whose speed is measured")
    parser.add_argument("--pages", type=int, default=300, help="of the sample")
    options = parser.parse_args(argv)
    if options.what == "labels" and options.jsonl is None:
        parser.error("wanted --jsonl FILE with labels, or speed, or partitions")
    try:
        {"labels": against_labels, "speed": speed, "partitions": partitions}[options.what](options)
    except GoldenlakeError as error:
        sys.exit(f"scores: {error}")


if __name__ == "__main__":
    main()
