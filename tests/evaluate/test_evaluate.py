"""Benchmarks from YAML, metrics with intervals, and what the lake keeps of them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from etl import config, resources, tables
from etl.align import models
from etl.align.models import Loaded
from etl.errors import ConfigError, InputError
from etl.evaluate import Benchmark, Data, EvaluationConfig, Given, Item, evaluate, evaluations, run
from etl.evaluate.run import evaluate_models
from etl.kernels import intervals
from etl.lake import Lake
from tests.evaluate.conftest import SENTENCES

BENCHMARK = Benchmark("text", "bits_per_byte", file="a.jsonl")
QUIET = Console(quiet=True)


def items(metric: str, *pairs: tuple[float, float]) -> list[Item]:
    return [Item(metric, place, str(place), value, weight) for place, (value, weight) in enumerate(pairs)]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((resources.folder("conf") / "evaluations").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_file_of_conf_is_read(path: Path) -> None:
    assert config.load(path, EvaluationConfig).benchmarks


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"task": "hellaswagg", "file": "a"}, "task is 'hellaswagg', wanted one of hellaswag, mmlu"),
        ({"task": "gsm8k"}, "wanted either file or training_set"),
        ({"task": "gsm8k", "file": "a", "training_set": "b"}, "gsm8k reads a file, not a training set; wanted either"),
        ({"task": "mmlu", "file": "a", "shots": 5}, "wanted shots and examples together"),
        ({"task": "mmlu", "file": "a", "reference": "m"}, "reference is for held_out_pairs only"),
        ({"task": "mmlu", "file": "a", "limit": 0, "context": 1}, "limit is 0, wanted at least 1; context is 1"),
        ({"task": "mmlu", "file": "a", "shot": 1}, "unknown key 'benchmarks.0.shot', did you mean 'shots'"),
    ],
)
def test_a_wrong_benchmark_says_all_that_is_wrong(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: .*{message}"):
        config.build({"benchmarks": [{"name": "b", **chosen}]}, EvaluationConfig, "here")


def test_a_wrong_config_says_all_that_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"named twice: \['text'\]; dtype is 'int8', .*; batch_tokens is 0"):
        EvaluationConfig((BENCHMARK, BENCHMARK), dtype="int8", batch_tokens=0)
    with pytest.raises(ValueError, match="benchmarks is empty"):
        EvaluationConfig(())


def test_limit_and_set_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("benchmarks: [{name: a, task: bits_per_byte, file: x.jsonl, limit: 9}]\n", encoding="utf-8")
    arguments = ["--model", "m", "--config", str(path), "--set", "batch_tokens=7", "--limit", "3"]
    chosen = run.chosen_config(run.parser(None).parse_args(arguments))
    assert (chosen.batch_tokens, chosen.benchmarks[0].limit) == (7, 3)
    with pytest.raises(
        ConfigError, match="--config is missing: wanted a YAML file, or one of curation, demo, standard"
    ):
        run.chosen_config(run.parser(None).parse_args(["--model", "m"]))


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_a_metric_is_the_sum_of_values_over_the_sum_of_weights() -> None:
    (found,) = evaluations(items("bits_per_byte", (10, 8), (2, 1), (0, 0)), BENCHMARK)
    assert (found.value, found.n) == (12 / 9, 3)
    assert (found.low, found.high) == intervals.ratio([10, 2], [8, 1], floor=0.0)


def test_proportions_have_wilsons_interval() -> None:
    (found,) = evaluations(items("accuracy", (1, 1), (0, 1), (1, 1)), BENCHMARK)
    assert (found.value, found.low, found.high) == (2 / 3, *intervals.wilson(2, 3))


def test_margins_may_be_negative_and_losses_may_not() -> None:
    pairs = [(0.1, 1), (9, 1)]
    assert evaluations(items("margin", *pairs), BENCHMARK)[0].low < 0
    assert evaluations(items("answer_loss", *pairs), BENCHMARK)[0].low == 0


def test_an_interval_holds_its_value_when_all_items_are_alike() -> None:
    (found,) = evaluations(items("margin", *[(0.1, 0.3)] * 7), BENCHMARK)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 1e-12


def test_settings_tell_apart_what_decides_the_numbers(loaded: Loaded) -> None:
    given = Given(Data("a.jsonl", "0", [{"text": "a"}, {"text": "b"}]))
    examples = Data("e.jsonl", "1", [{"text": "a"}])
    variants = [
        evaluate(loaded, BENCHMARK, given),
        evaluate(loaded, replace(BENCHMARK, limit=1), given),
        evaluate(loaded, replace(BENCHMARK, context=5), given),
        evaluate(loaded, BENCHMARK, replace(given, examples=examples)),
        evaluate(loaded, replace(BENCHMARK, chat_template="plain"), given),
    ]
    assert len({variant.settings for variant in variants}) == len(variants)
    renamed = evaluate(loaded, replace(BENCHMARK, name="other", file="elsewhere/a.jsonl"), given)
    assert renamed.settings == variants[0].settings
    assert len(variants[1].items) == 1


# --- the lake --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def evaluated(spark: SparkSession, place: Path, loaded: Loaded) -> Iterator[Lake]:
    """A lake with a held-out set, a trained model that did not see it, and files of a benchmark."""
    lake = Lake(spark, str(place / "lake"), "evaluated").open()
    loaded.model.save_pretrained(place / "model")
    loaded.tokenizer.save_pretrained(place / "model")
    rows = [
        ("web.held_out", place, "web", f"doc{place}", 1, text, 9) for place, text in reversed([*enumerate(SENTENCES)])
    ]
    documents = lake.spark.createDataFrame(rows, tables.TRAINING_DOCUMENTS.schema)
    lake.replace(tables.TRAINING_DOCUMENTS, documents, {"training_set": ["web.held_out"]}, {})
    a_set = ("web.held_out", "documents", "{}", "m", "c0ffee", "r", "x", "bytes", 5, 45, [])
    lake.replace(
        tables.TRAINING_SETS,
        spark.createDataFrame([a_set], tables.TRAINING_SETS.schema),
        {"training_set": ["web.held_out"]},
        {},
    )
    write_models(lake, place, small=models.weights_sha256(loaded.model), changed="0" * 64)
    questions = [{"question": text[:9], "choices": [text[9:], "no"], "answer": 0} for text in SENTENCES]
    (place / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions), encoding="utf-8")
    yield lake


def write_models(lake: Lake, place: Path, **sha256_of: str) -> None:
    """Rows of `models` that all lie in one folder."""
    seen = [("web", "documents", "m", "c", 1, 10, False)]
    rows = [
        (
            name,
            None,
            None,
            "pretrain",
            "{}",
            "h",
            seen,
            None,
            sha256,
            "t",
            str(place / "model"),
            1000,
            1,
            1,
            0.1,
            {},
            {},
        )
        for name, sha256 in sha256_of.items()
    ]
    lake.replace(tables.MODELS, lake.spark.createDataFrame(rows, tables.MODELS.schema), {"model": list(sha256_of)}, {})


def config_of(place: Path, **chosen: Any) -> EvaluationConfig:
    text = Benchmark("text", "bits_per_byte", training_set="web.held_out", **chosen)
    choice = Benchmark("choice", "multiple_choice", file=str(place / "questions.jsonl"))
    return EvaluationConfig((text, choice), device="cpu")


def test_the_lake_keeps_items_and_metrics_and_measures_nothing_twice(
    evaluated: Lake, place: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config_of(place)
    found = evaluate_models(evaluated, ["small"], chosen, QUIET)
    wanted = evaluate(loaded, chosen.benchmarks[0], run.given_data(evaluated, chosen.benchmarks[0]))
    assert found[0] == ("small", "text", wanted.evaluations[0])

    rows = evaluated.read(tables.EVALUATION_ITEMS).where("benchmark = 'text'").orderBy("place").collect()
    assert [row["item"] for row in rows] == [f"doc{place}" for place in range(5)]
    assert [row["value"] for row in rows] == [item.value for item in wanted.items]
    metrics = {(row["benchmark"], row["metric"]): row for row in evaluated.read(tables.EVALUATIONS).collect()}
    assert set(metrics) == {("text", "bits_per_byte"), ("choice", "accuracy"), ("choice", "accuracy_per_character")}
    text = metrics["text", "bits_per_byte"]
    assert (text["data"], text["data_sha256"], text["n"]) == ("web.held_out", "c0ffee", 5)
    assert text["weights_sha256"] == models.weights_sha256(loaded.model)
    assert metrics["choice", "accuracy"]["data"] == "questions.jsonl"
    by_sql = evaluated.spark.sql(
        "SELECT benchmark, metric, sum(i.value) / sum(weight) AS value FROM evaluated.evaluation_items i "
        "GROUP BY benchmark, metric"
    ).collect()
    for row in by_sql:
        assert row["value"] == pytest.approx(metrics[row["benchmark"], row["metric"]]["value"])

    # Neither written nor even loaded again.
    version = evaluated.version(tables.EVALUATIONS)
    with monkeypatch.context() as patched:
        patched.delattr(models, "load")
        again = evaluate_models(evaluated, ["small"], chosen, QUIET)
    assert sorted(again, key=str) == sorted(found, key=str)
    assert evaluated.version(tables.EVALUATIONS) == version

    # Other settings of one benchmark replace its rows and leave the other benchmark alone.
    limited = evaluate_models(evaluated, ["small"], config_of(place, limit=1), QUIET)
    assert evaluated.read(tables.EVALUATION_ITEMS).where("benchmark = 'text'").count() == 1
    # One text tells nothing about the spread, and the table holds that.
    row = evaluated.read(tables.EVALUATIONS).where("benchmark = 'text'").first()
    assert (limited[0][2].n, row["n"], row["low"], row["high"]) == (1, 1, 0.0, math.inf)
    assert evaluated.version(tables.EVALUATIONS) == version + 1


def test_weights_that_are_not_those_on_record_are_refused(evaluated: Lake, place: Path) -> None:
    with pytest.raises(InputError, match=r"model changed: the weights at .* models says 0000"):
        evaluate_models(evaluated, ["changed"], config_of(place), QUIET)


def test_what_is_not_there_is_named_before_a_model_is_loaded(evaluated: Lake) -> None:
    def wanted(**chosen: Any) -> EvaluationConfig:
        return EvaluationConfig((Benchmark("b", **chosen),), device="cpu")

    with pytest.raises(InputError, match=r"there is no training set 'x', there are \['web.held_out'\]"):
        evaluate_models(evaluated, ["none"], wanted(task="held_out_answers", training_set="x"), QUIET)
    with pytest.raises(InputError, match=r"'web.held_out' has documents, held_out_answers wants examples"):
        evaluate_models(evaluated, ["none"], wanted(task="held_out_answers", training_set="web.held_out"), QUIET)
    with pytest.raises(InputError, match="no model that transformers can load"):
        evaluate_models(
            evaluated, ["./none"], wanted(task="bits_per_byte", training_set="web.held_out", context=7), QUIET
        )


def test_results_are_shown_as_a_table() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    (found,) = evaluations(items("accuracy", (1, 1), (0, 1)), BENCHMARK)
    console.print(run.grid([("small", "mmlu", found)]))
    assert "small  mmlu       accuracy  0.5000  0.0945 to 0.9055      2" in console.export_text()


def test_progress_counts_items_while_requests_are_several_to_an_item() -> None:
    console = Console(force_terminal=True, width=120, file=io.StringIO())
    with run.progress(console, "small choice", 10) as watch:
        watch(20, 40)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5 items" in shown
    assert shown.rstrip().endswith("items/s")
