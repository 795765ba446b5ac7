"""Train a fastText classifier on two sides of a lake, each a query: texts to have more of, and ordinary ones.

The recipe is that of DCLM (Li et al. 2024, section 4.4): bigrams of words, balanced sides, and a threshold that keeps
a share of what is to be filtered; only the vectors are smaller, so that a model is some megabytes. The file has the
same bytes whenever the queries give the same texts: duplicates count once, a side is cut to size by the hashes of its
texts and read in their order, and fastText runs on one thread. Tables are read at one version each, which the card
names, also where somebody writes them meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import fasttext
import numpy as np
import yaml
from numpy.typing import NDArray
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import etl
from etl import cli, config, job, tables, views
from etl.config import STRICT
from etl.errors import ConfigError, InputError
from etl.kernels import fasttext_classifier, intervals, ranking
from etl.kernels.fasttext_classifier import Settings, line
from etl.kernels.fasttext_file import LABEL
from etl.lake import Lake
from etl.stages.score import SURVIVORS, Scorer

logger = logging.getLogger(__name__)

POSITIVE, NEGATIVE = "positive", "negative"
POPULATION = "SELECT text FROM documents WHERE text IS NOT NULL"
CARD, SCORER = "card.md", "scorer.yaml"
MIN_HELD_OUT = 2  # texts of each side: of one, there is no spread
BATCH = 1000  # texts scored at once

LEAST_EPOCHS, MOST_EPOCHS, EXAMPLES = 5, 100, 200_000
"""Passes over the examples where none are said: fastText's own five, and more until so many examples were shown.

On 1,115 pages of WCXB, articles against others, the AUC on 361 of other hosts is 0.64 after 5 passes, 0.86 after 50 and
0.91 after 100; the steps of the training are the examples, and DCLM has 2,000,000 of them in its five passes.
"""

_RELATION = re.compile(r"Relation ([^\s\[]*)\[")
_VIEW = re.compile(r"View \(`([^`]+)`,")
_TREE = " :+-|"  # what the drawing of a plan is made of
_SHOWN_CHARACTERS = 600  # of a message of Spark, which adds the plan to it


@dataclass(frozen=True)
class Training:
    """Settings of fastText, and how a text becomes a line of it.

    The rate and the n-grams are DCLM's, which has 100 `dimensions` and 2,000,000 `buckets`, a file of 800 MB and more.
    Without `epochs` there are as many as `passes` says. `min_count` leaves out rarer words. `quantize` makes a file of
    a fifth of the size, whose scores differ a little.
    """

    __pydantic_config__ = STRICT

    word_ngrams: int = 2
    learning_rate: float = 0.1
    epochs: int | None = None
    dimensions: int = 16
    buckets: int = 1 << 18
    min_count: int = 2
    seed: int = 1
    lowercase: bool = False
    max_characters: int = 100_000
    quantize: bool = False

    def __post_init__(self) -> None:
        least = {"word_ngrams": 1, "epochs": 1, "dimensions": 2, "buckets": 256, "min_count": 1, "max_characters": 1}
        given = {name: value for name in least if (value := getattr(self, name)) is not None}
        problems = [
            f"{name} is {value}, wanted at least {least[name]}" for name, value in given.items() if value < least[name]
        ]
        if not 0 < self.learning_rate < math.inf:
            problems.append(f"learning_rate is {self.learning_rate}, wanted more than 0")
        if problems:
            raise ValueError("; ".join(problems))

    def passes(self, examples: int) -> int:
        """How often all of so many examples are shown."""
        return self.epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(EXAMPLES / max(1, examples))))


@dataclass(frozen=True)
class Texts:
    """Which texts of a lake: a query for each side and for what the model is to filter, each with a column ``text``.

    Where a query has a column ``url_host_name`` too, all texts of a host are held out together or not at all. A side
    has at most `max_per_side` texts, and with `balance` no more than the other. `held_out` is the share of texts that
    the figures are from. The threshold keeps the share `keep_share` of at most `max_population` texts of `population`.
    """

    positives: str
    negatives: str
    population: str = POPULATION
    keep_share: float = 0.1
    held_out: float = 0.1
    max_per_side: int = 200_000
    max_population: int = 100_000
    balance: bool = True

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, wanted more than 0 and less than 1"
            for name in ("keep_share", "held_out")
            if not 0 < getattr(self, name) < 1
        ]
        problems += [
            f"{name} is {getattr(self, name)}, wanted at least 1"
            for name in ("max_per_side", "max_population")
            if getattr(self, name) < 1
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def queries(self) -> dict[str, str]:
        return {"positives": self.positives, "negatives": self.negatives, "population": self.population}


class Example(NamedTuple):
    """A text with its side. Examples of one `group` are held out together."""

    text: str
    is_positive: bool
    group: str


class Learned(NamedTuple):
    """How many examples of each side a model was trained on, and its scores for those that it never saw."""

    positives: int
    negatives: int
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]


class Cut(NamedTuple):
    """A threshold, and what reaches it: `kept` of `n` texts of the population."""

    threshold: float
    kept: int
    n: int

    def __str__(self) -> str:
        low, high = intervals.wilson(self.kept, self.n)
        return f"{self.kept / self.n:.4f} [{low:.4f}, {high:.4f}] of {self.n:,} texts"


def is_held_out(group: str, share: float) -> bool:
    """Whether examples of a group are for the figures: the share of groups, by their hash."""
    start = hashlib.sha256(f"held out {group}".encode(errors="replace")).digest()[:8]
    return int.from_bytes(start, "big") < share * 2**64


def learn(examples: Iterable[Example], training: Training, held_out: float, model: Path) -> Learned:
    """Write the file of a model that was trained on `examples`, in their order, but for those held out.

    Only lines on disk are kept of examples, so that there can be more of them than memory holds. The order matters:
    sides that follow one another teach less than sides that are mixed.

    Raises:
        InputError: a side has too few examples.
        ConfigError: fastText fails with these settings, mostly because it does not converge.
    """
    counts = {(is_positive, is_test): 0 for is_positive in (True, False) for is_test in (True, False)}
    with tempfile.TemporaryDirectory() as folder:
        lines, tests = Path(folder) / "train.txt", Path(folder) / "test.jsonl"
        with lines.open("w", encoding="utf-8") as train_file, tests.open("w", encoding="utf-8") as test_file:
            for text, is_positive, group in examples:
                is_test = is_held_out(group, held_out)
                counts[is_positive, is_test] += 1
                if is_test:
                    test_file.write(json.dumps([text, is_positive]) + "\n")
                else:
                    words = line(text, lowercase=training.lowercase, max_characters=training.max_characters)
                    train_file.write(f"{LABEL}{POSITIVE if is_positive else NEGATIVE} {words}\n")
        _check_counts(counts, held_out)
        _fit(lines, training, training.passes(counts[True, False] + counts[False, False]), model)
        with tests.open(encoding="utf-8") as rows:
            found = [(text, label) for text, label in map(json.loads, rows)]
    scores = scored((text for text, _ in found), settings(model, training))
    labels = np.array([label for _, label in found], dtype=np.bool_)
    return Learned(counts[True, False], counts[False, False], labels[~np.isnan(scores)], scores[~np.isnan(scores)])


def _check_counts(counts: Mapping[tuple[bool, bool], int], held_out: float) -> None:
    problems = []
    for is_positive, side in ((True, "positives"), (False, "negatives")):
        seen, unseen = counts[is_positive, False], counts[is_positive, True]
        if seen < 1 or unseen < MIN_HELD_OUT:
            problems.append(f"{seen + unseen:,} {side}, of which {unseen:,} are held out")
    if problems:
        raise InputError(
            f"too few examples: {'; '.join(problems)}; wanted at least {MIN_HELD_OUT} of each side among the share of "
            f"{held_out:g} that is held out, and some besides"
        )


def _fit(lines: Path, training: Training, passes: int, model: Path) -> None:
    try:
        fitted = fasttext.train_supervised(
            input=str(lines),
            wordNgrams=training.word_ngrams,
            lr=training.learning_rate,
            epoch=passes,
            dim=training.dimensions,
            bucket=training.buckets,
            minCount=training.min_count,
            loss="softmax",
            seed=training.seed,
            thread=1,  # with more, sums have no order
            verbose=0,
        )
        if training.quantize:
            fitted.quantize(input=str(lines), qnorm=True, thread=1, verbose=0)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"fastText has failed: {error} A learning_rate below {training.learning_rate} helps where numbers overflow"
        ) from error
    fitted.save_model(str(model))


def settings(model: Path, training: Training) -> Settings:
    """How a scorer asks for the model in a file: texts as in training, and this file alone."""
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return Settings(str(model.resolve()), sha256, POSITIVE, training.lowercase, training.max_characters)


def scored(texts: Iterable[str], settings: Settings) -> NDArray[np.float64]:
    """The score of every text, in order; no number where it has none."""
    rest, parts = iter(texts), []
    while batch := list(islice(rest, BATCH)):
        found = fasttext_classifier.score(batch, settings)
        parts.append(np.array([math.nan if each.score is None else each.score for each in found]))
    return np.concatenate(parts) if parts else np.zeros(0)


def cut(scores: NDArray[np.float64], keep_share: float) -> Cut:
    """The threshold that the highest scores reach, at least the share `keep_share` of all; texts without a score
    reach none. It is the shortest decimal between the lowest that is kept and the next.

    Raises:
        InputError: there are no scores.
    """
    known = np.sort(scores[~np.isnan(scores)])
    if not known.size:
        raise InputError("the population has no text that can be scored: name another with --population")
    wanted = min(known.size, max(1, math.ceil(keep_share * scores.size - 1e-9)))
    lowest = float(known[-wanted])
    below = known[known < lowest]
    threshold = _between(float(below[-1]) if below.size else -math.inf, lowest)
    return Cut(threshold, int((known >= threshold).sum()), scores.size)


def _between(below: float, value: float) -> float:
    """The shortest decimal above `below` and at most `value`, which is not negative."""
    for digits in range(1, 17):
        shorter = float(math.floor(value * 10**digits) / 10**digits)
        if below < shorter <= value:
            return shorter
    return value


@contextmanager
def pinned(lake: Lake, queries: Mapping[str, str], at: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """The versions of the tables that `queries` read, and while the block runs, the tables at these versions.

    `at` says the version of some; others are read as they are now. Names without a namespace stand for them.

    Raises:
        InputError: a query cannot be run, or has no column ``text`` of strings, or reads a table past its version.
    """
    plans = {name: _plan(lake, name, query) for name, query in queries.items()}
    known = {f"spark_catalog.{lake.name(table)}": table for table in tables.ALL}
    known |= {lake.name(table): table for table in tables.ALL}
    read = sorted({known[name].name for plan in plans.values() for name in _RELATION.findall(plan) if name in known})
    unread = sorted(set(at) - set(read))
    if unread:
        raise InputError(f"--at names {', '.join(unread)}, which no query reads: they read {', '.join(read) or 'none'}")
    of_name = {table.name: table for table in tables.ALL}
    versions = {name: at.get(name, lake.version(of_name[name])) for name in read}
    used = [view for view in views.ALL if any(f"`{view.name}`, [" in plan for plan in plans.values())]
    try:
        for name, version in versions.items():
            _run(lake, "--at", f"CREATE OR REPLACE TEMPORARY VIEW {name} AS SELECT * FROM {lake.name(of_name[name])} "
                 f"VERSION AS OF {version}")  # fmt: skip
        for view in used:
            lake.spark.sql(view.ddl.replace("REPLACE VIEW", "REPLACE TEMPORARY VIEW", 1))
        for name, query in queries.items():
            past = sorted(set(_unpinned(_plan(lake, name, query), set(known), set(versions))))
            if past:
                raise InputError(f"--{name} reads {', '.join(past)}: name tables of the lake without a namespace")
        yield versions
    finally:
        for name in [*(view.name for view in used), *versions]:
            lake.spark.catalog.dropTempView(name)


def _plan(lake: Lake, name: str, query: str) -> str:
    """The analyzed plan of a query that has a column ``text``."""
    # A statement that is no query is not even described.
    columns = {
        row["col_name"]: row["data_type"] for row in _run(lake, f"--{name}", f"DESCRIBE QUERY {query}").collect()
    }
    if columns.get("text") != "string":
        found = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        raise InputError(f"--{name} has the columns {found}: wanted one called text, of type string")
    explained = str(_run(lake, f"--{name}", f"EXPLAIN EXTENDED {query}").collect()[0][0])
    return explained.partition("== Analyzed Logical Plan ==")[2].partition("== Optimized Logical Plan ==")[0]


def _run(lake: Lake, place: str, statement: str) -> DataFrame:
    with _reported(place):
        return lake.spark.sql(statement)


@contextmanager
def _reported(place: str) -> Iterator[None]:
    """What Spark says of a query, as an error of ours."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        message = " ".join(str(error).split("JVM stacktrace")[0].split(";\n'")[0].split())
        raise InputError(f"{place} cannot be run: {message[:_SHOWN_CHARACTERS]}") from error


def _unpinned(plan: str, known: set[str], pins: set[str]) -> Iterator[str]:
    """Tables of the lake that a plan reads, but not through one of our temporary views, whose names have one part."""
    above: list[tuple[int, bool]] = []  # depth of a node, and whether it is such a view
    for node in plan.splitlines():
        depth = len(node) - len(node.lstrip(_TREE))
        while above and above[-1][0] >= depth:
            above.pop()
        relation = _RELATION.search(node)
        if relation and relation[1] in known and not any(is_view for _, is_view in above):
            yield relation[1].removeprefix("spark_catalog.")
        view = _VIEW.search(node)
        above.append((depth, view is not None and view[1] in pins))


def _hashed(lake: Lake, name: str, query: str) -> DataFrame:
    """The texts of a query with a word in them: text, hash, group."""
    rows = _run(lake, f"--{name}", query)
    digest = F.sha2("text", 256)
    group = F.coalesce(F.col("url_host_name").cast("string"), digest) if "url_host_name" in rows.columns else digest
    return rows.where("trim(text) <> ''").select("text", digest.alias("hash"), group.alias("group"))


def _first(hashed: DataFrame, most: int) -> tuple[int, str]:
    """How many different texts there are, at most `most`, and the hash up to which they are taken."""
    hashes = hashed.select("hash").distinct().orderBy("hash").limit(most)
    count, last = hashes.agg(F.count("hash"), F.max("hash")).collect()[0]
    return count, last or ""


def _distinct(hashed: DataFrame, last: str, max_characters: int) -> DataFrame:
    # Rows of one hash have one text, but may be of several hosts.
    chosen = hashed.where(F.col("hash") <= last).groupBy("hash")
    return chosen.agg(F.substring(F.min("text"), 1, max_characters).alias("text"), F.min("group").alias("group"))


def read_examples(lake: Lake, texts: Texts, max_characters: int) -> Iterator[Example]:
    """The examples of both sides, in the order of the hashes of their texts.

    A text of both sides is a positive.

    Raises:
        InputError: a side has no text, or a query fails.
    """
    positives = _hashed(lake, "positives", texts.positives)
    negatives = _hashed(lake, "negatives", texts.negatives)
    with _reported("--positives"):
        count, last = _first(positives, texts.max_per_side)
    if not count:
        raise InputError("--positives gives no text with a word in it")
    # Key: hashes are distinct.
    others = negatives.join(positives.select("hash").distinct(), "hash", how="left_anti")
    with _reported("--negatives"):
        other_count, other_last = _first(others, count if texts.balance else texts.max_per_side)
        if not other_count:
            both = "" if negatives.isEmpty() else " that is not one of --positives too"
            raise InputError(f"--negatives gives no text with a word in it{both}")
        if texts.balance and other_count < count:
            _, last = _first(positives, other_count)
        sides = [(positives, last, True), (others, other_last, False)]
        rows = [_distinct(side, end, max_characters).withColumn("is_positive", F.lit(is_positive))
                for side, end, is_positive in sides]  # fmt: skip
        for row in rows[0].unionByName(rows[1]).orderBy("hash").toLocalIterator():
            yield Example(row["text"], row["is_positive"], row["group"])


def read_population(lake: Lake, texts: Texts, max_characters: int) -> Iterator[str]:
    """The different texts of the population, or as many of them as are wanted, in the order of their hashes.

    Raises:
        InputError: there are none, or the query fails.
    """
    population = _hashed(lake, "population", texts.population)
    with _reported("--population"):
        count, last = _first(population, texts.max_population)
        if not count:
            raise InputError(
                "--population gives no text with a word in it, so that there is nothing to keep a share of"
            )
        for row in _distinct(population, last, max_characters).orderBy("hash").toLocalIterator():
            yield row["text"]


def train(
    lake: Lake, name: str, texts: Texts, training: Training, output: Path, *, at: Mapping[str, int] | None = None
) -> Cut:
    """Train the model `name` and write its file, its card and its scorer to the folder ``output/name``.

    The scorer is written last: until then the folder holds the one of before, if any, which refuses another model.

    Raises:
        ConfigError: `name` cannot be that of a scorer, or the training does not converge.
        InputError: a query cannot be run, reads nothing, or gives too little to learn from.
    """
    _scorer(name, "", Settings("model", "0" * 64))
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        model = Path(scratch) / ("model.ftz" if training.quantize else "model.bin")
        with views.using(lake.spark, lake.namespace), pinned(lake, texts.queries, at or {}) as versions:
            logger.info("%s: learning from %s", name, versions)
            learned = learn(
                read_examples(lake, texts, training.max_characters), training, texts.held_out, model
            )  # fmt: skip
            population = read_population(lake, texts, training.max_characters)
            found = cut(scored(population, settings(model, training)), texts.keep_share)
        for other in fasttext_classifier.FILES:
            (folder / other).unlink(missing_ok=True)
        shutil.move(model, folder / model.name)
    own = settings(folder / model.name, training)
    source = f"goldenlake train-classifier {etl.__version__}; {CARD} beside the model"
    content = yaml.safe_dump(_as_file(_scorer(name, source, own)), sort_keys=False, allow_unicode=True, width=120)
    card = _card(name, texts, training, versions, learned, found, own)
    for file, text in ((CARD, card), (SCORER, content)):
        (folder / f".{file}").write_text(text, encoding="utf-8")
        os.replace(folder / f".{file}", folder / file)
    return found


def _scorer(name: str, source: str, settings: Settings) -> Scorer:
    description = "Probability that the text is one of the positives that the classifier was trained on"
    try:
        return Scorer(name, description, source, SURVIVORS, fasttext=settings)
    except ValueError as error:
        raise ConfigError(f"--name: {error}") from error


def _as_file(scorer: Scorer) -> dict[str, object]:
    """The content of a file of ``conf/scorers``."""
    return {
        "name": scorer.name,
        "description": scorer.description,
        "source": scorer.source,
        "scope": scorer.scope,
        "fasttext": asdict(scorer.settings),
    }


def figures(learned: Learned, threshold: float) -> list[tuple[str, str]]:
    """What the held-out texts say of a model, each figure with its 95 % interval and n."""
    auc = ranking.auc_interval(learned.labels, learned.scores)
    kept = learned.scores >= threshold
    right, positives = int((kept & learned.labels).sum()), int(learned.labels.sum())
    rows = [("AUC", str(auc))]
    for what, hits, n in (("precision", right, int(kept.sum())), ("recall", right, positives)):
        low, high = intervals.wilson(hits, n)
        rows.append((f"{what} at the threshold", f"{hits / n:.4f} [{low:.4f}, {high:.4f}] n {n:,}" if n else "n 0"))
    return rows


def _card(
    name: str,
    texts: Texts,
    training: Training,
    versions: Mapping[str, int],
    learned: Learned,
    found: Cut,
    settings: Settings,
) -> str:
    model = Path(settings.model)
    read = "\n".join(f"- {table}: version {version}" for table, version in versions.items()) or "- none of the lake"
    queries = "\n".join(f"{side}:\n\n```sql\n{query.strip()}\n```\n" for side, query in texts.queries.items())
    held_out = "\n".join(f"| {what} | {value} |" for what, value in figures(learned, found.threshold))
    return f"""# {name}: a fastText classifier

| | |
| --- | --- |
| What | two labels, {POSITIVE} and {NEGATIVE}; a score is the probability of {POSITIVE} |
| Made by | goldenlake train-classifier {etl.__version__} |
| File | {model.name}, {model.stat().st_size:,} bytes, SHA-256 `{settings.sha256}` |
| Trained on | {learned.positives:,} positives and {learned.negatives:,} negatives, different texts |
| Settings | `{json.dumps(asdict(training))}`, {training.passes(learned.positives + learned.negatives)} passes |
| Sides | at most {texts.max_per_side:,} texts each, {"balanced" if texts.balance else "as they are"} |

## What was read

{queries}
Versions of the tables that they read:

{read}

A text of both sides counts as a positive. Names of other tables or files in the queries were read as they were.

## Figures

On the {texts.held_out:.0%} of texts (of hosts, where a query has `url_host_name`) that the model never saw, with 95 %
intervals:

| | |
| --- | --- |
{held_out}

Precision is that of sides of the sizes above; among the population it is another.

## Threshold

`{found.threshold!r}` keeps {found} of the population; asked for was {texts.keep_share:g}.

## Limits

The model tells the two sides apart by their words and pairs of words, whatever sets them apart: topic, site, language
or length as well as quality. Scores are not calibrated for another mixture of texts.
"""


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Train what the options of `argv` say, and print where the model is and the rule for a recipe."""
    options = _parser(doc).parse_args(argv)
    with job.reported_errors():
        training = config.build(job.given(options), Training, origin=str(options.config or "options"))
        chosen = {name: getattr(options, name) for name in Texts.__dataclass_fields__}
        texts = config.build(chosen, Texts, origin="options")
        at = _versions(options.at)
        lake = job.open_lake(cli.existing(options))
        found = train(lake, options.name, texts, training, options.output, at=at)
        folder = options.output / options.name
        sys.stdout.write(
            f"{folder}: {CARD} and {SCORER}\n"
            f"keeps {found}\n"
            f"in a recipe:\n"
            f"  scorers: {{{options.name}: {folder / SCORER}}}\n"
            f"  rules:\n"
            f"  - {{name: {options.name}, signal: {options.name}.score, min: {found.threshold!r}}}\n"
        )


def _versions(assignments: Sequence[str]) -> dict[str, int]:
    wrong = [each for each in assignments if not re.fullmatch(r"\w+=\d+", each)]
    if wrong:
        raise ConfigError(f"--at {', '.join(wrong)}: wanted TABLE=VERSION, such as documents=12")
    return {name: int(version) for name, version in (each.split("=") for each in assignments)}


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    result.add_argument("--name", required=True, help="name of the scorer: letters, digits and _")
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder below which it is written")
    texts = result.add_argument_group("texts")
    texts.add_argument("--positives", required=True, metavar="SQL", help="texts to have more of, in a column text")
    texts.add_argument("--negatives", required=True, metavar="SQL", help="ordinary texts, in a column text")
    texts.add_argument("--population", default=POPULATION, metavar="SQL", help=f"texts to filter ({POPULATION})")
    texts.add_argument("--keep-share", type=float, default=Texts.keep_share, help="share of them to keep (0.1)")
    texts.add_argument("--held-out", type=float, default=Texts.held_out, help="share of texts for the figures (0.1)")
    texts.add_argument("--max-per-side", type=int, default=Texts.max_per_side, help="texts of a side (200,000)")
    texts.add_argument("--max-population", type=int, default=Texts.max_population, help="texts of it (100,000)")
    texts.add_argument("--no-balance", dest="balance", action="store_false", help="let a side be larger than the other")
    texts.add_argument(
        "--at", action="append", default=[], metavar="TABLE=VERSION", help="read a table as of a version (the newest)"
    )
    job.add_config_options(result.add_argument_group("training"), "training.yaml", "epochs=10")
    job.add_lake_options(result)
    return result
