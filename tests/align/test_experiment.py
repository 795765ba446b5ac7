"""An experiment compares data, and nothing else: its models differ in what they read alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from etl import config, experiment, pipeline, tables
from etl.errors import ConfigError, InputError
from etl.evaluate import EvaluationConfig
from etl.evaluate.tasks import Benchmark
from etl.experiment import Arm, ExperimentConfig
from etl.kernels.benchmarks import BenchmarkList
from etl.lake import Lake
from etl.pipeline import PipelineConfig
from etl.progress import Reporter
from etl.runner import Runner
from etl.stages.mix import Mixture, Source
from etl.stages.rules import Rule
from tests.align import tiny

ARMS = (Arm("raw", "raw"), Arm("filtered", "fineweb-rules"))
LINE = PipelineConfig(scorers=())


def settings(folder: Path) -> ExperimentConfig:
    """Two arms and two seeds, models of a few steps, and some sentences to measure on."""
    texts = folder / "clean.jsonl"
    sentences = ["Rain falls on the hills and runs to the lake.", "A tree grows by a ring each year."]
    texts.write_text("\n".join(json.dumps({"text": text}) for text in sentences))
    training = folder / "training.yaml"
    training.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(tiny.BASE)))))
    evaluations = folder / "evaluations.yaml"
    benchmark = {"name": "clean", "task": "bits_per_byte", "file": str(texts)}
    evaluations.write_text(yaml.safe_dump({"benchmarks": [benchmark]}))
    return ExperimentConfig(
        "e", "d", ARMS, "raw", str(training), steps=3, evaluations=str(evaluations), seeds=(1, 2), tokens=20_000
    )


@pytest.fixture(scope="module")
def performed(lake: Lake, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, list[Row]]:
    """A lake of its own, and the rows of the experiment. Slow: six models are trained, each by processes of its own.

    It was tried before with questions that its models cannot answer, which was said when no arm had been trained.
    """
    folder = tmp_path_factory.mktemp("experiment")
    shutil.copytree(str(lake.warehouse), folder / "lake")
    own = Lake(spark, str(folder / "lake"), "experiment").open()
    runner = Runner(own, Reporter(spark, Console(quiet=True)))
    planned = experiment.plan(settings(folder), LINE)
    (folder / "sums.jsonl").write_text(json.dumps({"question": "What is 1 and 1?", "answer": "Two.\n#### 2"}))
    too_long = Benchmark("sums", "gsm8k", file=str(folder / "sums.jsonl"), max_new_tokens=tiny.BASE.context)
    unanswerable = replace(planned, evaluations=EvaluationConfig((*planned.evaluations.benchmarks, too_long)))
    with pytest.raises(InputError, match="max_new_tokens is 128, wanted less than the context of 128"):
        experiment.perform(runner, unanswerable)
    assert {row["model"] for row in own.read(tables.MODELS).collect()} == {"e.start.1", "e.start.2"}
    return own, experiment.perform(runner, planned)


@pytest.mark.slow
def test_models_of_one_seed_begin_alike_and_see_as_many_tokens(performed: tuple[Lake, list[Row]]) -> None:
    """Slow: see `performed`."""
    own, _ = performed
    models = {row["model"]: row for row in own.read(tables.MODELS).collect()}
    assert set(models) == {f"e.{arm}.{seed}" for arm in ("start", "raw", "filtered") for seed in (1, 2)}
    for seed in (1, 2):
        raw, filtered, start = (models[f"e.{arm}.{seed}"] for arm in ("raw", "filtered", "start"))
        assert raw["parent_sha256"] == filtered["parent_sha256"] == start["weights_sha256"]
        assert raw["tokens"] == filtered["tokens"] > 0
        assert raw["weights_sha256"] != filtered["weights_sha256"]
    sets = {row["training_set"]: row for row in own.read(tables.TRAINING_SETS).collect()}
    longest = own.read(tables.CORPUS).agg(F.max("tokens")).head()[0]
    assert all(0 <= 20_000 - sets[f"e.{arm}.1"]["tokens"] < longest for arm in ("raw", "filtered"))
    assert sets["e.raw.1"]["content_hash"] != sets["e.raw.2"]["content_hash"], "a seed draws documents of its own"


@pytest.mark.slow
def test_changes_are_taken_seed_by_seed(performed: tuple[Lake, list[Row]]) -> None:
    """Slow: see `performed`."""
    own, rows = performed
    stored = own.read(tables.EXPERIMENTS).collect()
    assert sorted(row["arm"] for row in stored) == ["filtered", "raw"]
    values = {row["model"]: row["value"] for row in own.read(tables.EVALUATIONS).collect()}
    changes = [values[f"e.filtered.{seed}"] - values[f"e.raw.{seed}"] for seed in (1, 2)]
    found = next(row for row in rows if row["arm"] == "filtered")
    assert found["change"] == pytest.approx(np.mean(changes))
    half = 12.7062 * np.std(changes, ddof=1) / np.sqrt(2)  # Student's t of one degree of freedom
    assert (found["change_low"], found["change_high"]) == pytest.approx(
        (found["change"] - half, found["change"] + half), rel=1e-3
    )
    assert [found["step"], found["step_low"]] == [found["change"], found["change_low"]], (
        "the arm before is the baseline"
    )
    base = next(row for row in rows if row["arm"] == "raw")
    assert (base["change"], base["change_low"], base["change_high"]) == (0.0, 0.0, 0.0)
    assert (base["step"], base["step_low"], base["step_high"]) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_passes_are_tokens_seen_over_those_of_the_set_by_one_tokenizer(performed: tuple[Lake, list[Row]]) -> None:
    """Slow: see `performed`."""
    own, rows = performed
    row = next(row for row in rows if row["arm"] == "raw")
    assert row["seen"] == tiny.BASE.batch * tiny.BASE.context * 3
    texts = own.read(tables.TRAINING_DOCUMENTS).where("training_set IN ('e.raw.1', 'e.raw.2')").collect()
    assert row["documents"] == len(texts) / 2
    # A byte-level tokenizer joins bytes, and ends each text with a mark.
    bytes_of_set = sum(len(text["text"].encode()) + 1 for text in texts) / 2
    assert bytes_of_set / 8 < row["tokens"] < bytes_of_set


def test_an_arm_cannot_do_with_pages_that_were_left_out(lake: Lake, spark: SparkSession, tmp_path: Path) -> None:
    """Its corpus would be that of the rules by which they were, and the experiment would compare something else."""
    shutil.copytree(str(lake.warehouse), tmp_path / "lake")
    own = Lake(spark, str(tmp_path / "lake"), "left_out").open()
    kept = own.read(tables.CORPUS).select(F.min("doc_id")).head()[0]
    skip = "named_struct('stage', 'document_language', 'rule', 'language', 'signal', 'language', "
    skip += "'value', CAST(NULL AS DOUBLE), 'threshold', CAST(NULL AS DOUBLE), 'detail', 'language is de')"
    spark.sql(
        f"UPDATE delta.`{own.location(tables.DOCUMENTS)}` SET text = NULL, text_hash = NULL, skipped = {skip} "
        f"WHERE doc_id = '{kept}'"
    )
    runner = Runner(own, Reporter(spark, Console(quiet=True)))
    planned = experiment.plan(settings(tmp_path), LINE)
    with pytest.raises(InputError, match="arm 'raw': 1 pages have no text, left out by rules that recipe 'raw' lacks"):
        experiment.perform(runner, planned)


def test_rules_of_the_experiment_come_before_those_of_every_recipe(tmp_path: Path) -> None:
    """And make another recipe of it, so that the corpus of the recipe alone stays what it is."""
    every, own = Rule("lists", "url_list", none_of=("held_out",)), Rule("crawl", "crawl", one_of=("web:pages",))
    arms = (ARMS[0], replace(ARMS[1], rules=(own,)))
    planned = experiment.plan(replace(settings(tmp_path), arms=arms, rules=(every,)), LINE)
    raw, filtered = (line.recipe for _, line, _ in planned.arms)
    assert (raw.name, raw.rules) == ("e.raw", (every,))
    assert (filtered.name, filtered.rules[:2]) == ("e.filtered", (every, own))
    assert len(filtered.rules) > 30
    contaminated = Rule("contaminated", "contaminated_items", max=0)
    with pytest.raises(ConfigError, match="has a rule on contamination, wanted benchmarks"):
        experiment.plan(replace(settings(tmp_path), rules=(contaminated,)), LINE)
    with pytest.raises(ConfigError, match=r"arm 'raw'.*rules named twice: lists"):
        experiment.plan(
            replace(settings(tmp_path), arms=(replace(ARMS[0], rules=(every,)), ARMS[1]), rules=(every,)), LINE
        )


def test_the_largest_common_set_is_that_of_the_mixtures_not_of_the_corpora(lake: Lake) -> None:
    """A mixture draws less than there is where one of its sources is scarce, or where no source fits a document."""
    recipe = pipeline.plan(replace(LINE, recipe="fineweb")).recipe
    whole = Mixture("all", (Source("web"),))
    host = lake.read(tables.CORPUS).select(F.min("url_host_name")).head()[0]
    is_host = f"url_host_name = '{host}'"
    halves = Mixture("halves", (Source("one", is_host, 0.5), Source("others", share=0.5)))
    tokens = lake.read(tables.CORPUS).groupBy(F.expr(is_host)).agg(F.sum("tokens")).collect()
    of = {row[0]: row[1] for row in tokens}
    assert experiment.available(lake, recipe, whole) == sum(of.values())
    assert experiment.available(lake, recipe, halves) == 2 * min(of.values())
    assert experiment.available(lake, recipe, Mixture("one", (Source("one", is_host),))) == of[True]
    with pytest.raises(InputError, match="recipe 'raw' keeps no document"):
        experiment.available(lake, replace(recipe, name="raw"), whole)


@pytest.mark.parametrize("name", ["curation", "web"])
def test_shipped_experiments_name_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    for benchmark in config.load(config.find("benchmarks", "web"), BenchmarkList).benchmarks:
        row = {"text": "rain", "query": "rain", "choices": ["falls", "runs"]}
        (tmp_path / benchmark.file).write_text(json.dumps(row))
    monkeypatch.chdir(tmp_path)
    found = config.load(config.find("experiments", name), ExperimentConfig)
    planned = experiment.plan(found, replace(LINE, benchmarks=("web",)))
    assert {"raw", "filtered", "deduplicated", "scored"} <= {arm.name for arm, _, _ in planned.arms}
    measured = {benchmark.file for benchmark in planned.evaluations.benchmarks}
    looked_for = {benchmark.file for benchmark in planned.arms[0][1].contamination.benchmarks}
    assert name != "web" or measured == looked_for, "what is measured on is looked for in what is learned from"


def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    scored, late = Rule("good", "quality.score", min=0.5), Arm("late", "raw", after="later", tokens=0)
    with pytest.raises(ValueError) as raised:
        ExperimentConfig(
            "e", "d", (*ARMS, ARMS[0], late), "none", "t", 0, evaluations="v", seeds=(1, 1), rules=(scored,)
        )
    for part in (
        "each named once",
        "baseline is 'none'",
        "wanted two or more different ones",
        "steps is 0",
        "tokens of arm late is 0",
        "arm 'late' is after 'later', wanted one of the arms before it",
        "rules good read scores, wanted them in a recipe",
    ):
        assert part in str(raised.value)
    wrong = settings(tmp_path)
    held_out = {"name": "own", "task": "bits_per_byte", "training_set": "pretrain.held_out"}
    Path(wrong.evaluations).write_text(yaml.safe_dump({"benchmarks": [held_out]}))
    with pytest.raises(ConfigError, match="benchmarks own read sets of the lake, which an arm may have seen"):
        experiment.plan(wrong, LINE)
