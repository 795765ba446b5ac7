"""Instruction data as a user imports it: once, again, changed, and wrong."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl import config, instruct, tables
from etl.errors import ConfigError, InputError, LedgerError
from etl.instruct import Collection, InstructionSource
from etl.lake import Lake
from etl.runner import Runner
from etl.sample.instructions import InstructionSample, write_instructions
from etl.stages.instruct_curate import InstructionRecipe, InstructionRule
from jobs import import_instructions
from tests.conftest import runner_on

TABLES = (
    tables.INSTRUCTION_FILES,
    tables.INSTRUCTIONS,
    tables.PREFERENCES,
    tables.INSTRUCTION_DUPLICATES,
    tables.INSTRUCTION_DISPOSITIONS,
)
CHAT = config.load(config.find("instruction_recipes", "chat"), InstructionRecipe)


def versions(lake: Lake) -> list[int]:
    return [lake.version(table) for table in TABLES]


def ledger_of(lake: Lake, collection: str, recipe: str = "chat") -> dict[str, dict[str, dict[str, int]]]:
    """Rows by kind, source and rule; what is kept counts as "kept"."""
    is_asked = (F.col("recipe") == recipe) & (F.col("collection") == collection)
    decided = lake.read(tables.INSTRUCTION_DISPOSITIONS).where(is_asked)
    counts: dict[str, Any] = defaultdict(lambda: defaultdict(dict))
    for row in decided.groupBy("kind", "source", "rule").count().collect():
        counts[row["kind"]][row["source"]][row["rule"] or "kept"] = row["count"]
    return {kind: dict(sources) for kind, sources in counts.items()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> InstructionSample:
    return write_instructions(tmp_path_factory.mktemp("instructions"), examples=300, pairs=100)


@pytest.fixture(scope="module")
def runner(spark: SparkSession, sample: InstructionSample, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A lake with the sample imported."""
    runner = runner_on(spark, tmp_path_factory.mktemp("lake"), "imported")
    instruct.import_instructions(runner, instruct.load(sample.collection), CHAT)
    return runner


def test_the_ledger_is_what_was_planted(runner: Runner, sample: InstructionSample) -> None:
    assert ledger_of(runner.lake, "sample") == sample.counts


def test_a_second_import_commits_nothing(runner: Runner, sample: InstructionSample) -> None:
    instruct.import_instructions(runner, instruct.load(sample.collection), CHAT)
    before = versions(runner.lake)
    runner.reporter.runs.clear()
    instruct.import_instructions(runner, instruct.load(sample.collection), CHAT)
    assert versions(runner.lake) == before
    assert [run.skipped for run in runner.reporter.runs] == [True] * 4


def test_another_recipe_reads_no_file_again(runner: Runner, sample: InstructionSample) -> None:
    long = InstructionRecipe("long", "d", "s", (InstructionRule("long", "answer_length", min=40),))
    before, decided = versions(runner.lake), ledger_of(runner.lake, "sample")
    instruct.import_instructions(runner, instruct.load(sample.collection), long)
    changed = [new != old for new, old in zip(versions(runner.lake), before, strict=True)]
    assert changed == [False] * 4 + [True]
    assert ledger_of(runner.lake, "sample") == decided, "what the first recipe decided stands"
    assert set(ledger_of(runner.lake, "sample", "long")["examples"]["code"]) >= {"kept", "long", "import_error"}


def test_what_is_kept_is_there_once(runner: Runner) -> None:
    kept = runner.lake.read(tables.INSTRUCTION_DISPOSITIONS).where("decision = 'kept' AND recipe = 'chat'")
    assert kept.count() == kept.select("kind", "example_id").distinct().count()


def test_no_question_of_an_evaluation_is_trained_on(runner: Runner, sample: InstructionSample) -> None:
    messages = runner.lake.read(tables.INSTRUCTIONS).select(F.explode("messages").alias("message"))
    prompts = runner.lake.read(tables.PREFERENCES).select(F.explode("prompt").alias("message"))
    asked = {row[0] for row in messages.union(prompts).select("message.content").distinct().collect()}
    items = [json.loads(line) for path in sample.evaluations.values() for line in path.read_text().splitlines()]
    questions = {item.get("question") or item["ctx"] for item in items}
    assert len(questions) == len(items) == 600
    assert questions.isdisjoint(asked)


def test_a_ledger_that_does_not_balance_is_an_error(runner: Runner) -> None:
    lake = runner.lake
    assert instruct.check(lake, "chat", "sample") == sum(
        n for sources in ledger_of(lake, "sample").values() for rules in sources.values() for n in rules.values()
    )
    with pytest.raises(LedgerError, match=r"collection sample: examples of code/code.parquet: \d+ read, 0 accounted"):
        instruct.check(lake, "nobody's", "sample")


def written(folder: Path, name: str, *records: dict[str, Any]) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(path)


def talk(question: str) -> dict[str, Any]:
    return {"instruction": question, "output": "Yes, that is what I would say too."}


def collection_file(folder: Path, name: str) -> str:
    """A collection of one source with one file."""
    path = folder / "collection.yaml"
    source = f"{{name: talks, files: [{name}], format: alpaca, license: MIT, generator: people, category: general}}"
    path.write_text(f"name: by_job\nsources: [{source}]\n")
    return str(path)


SOURCE = InstructionSource("talks", ("",), "alpaca", "MIT", "people", "general")


def test_the_job_reads_what_has_changed_and_leaves_nothing_stale(
    runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "data/a.jsonl", talk("Is it so?"), talk("Is it so?"), talk("Is it not so?"))
    written(tmp_path, "data/b.jsonl", talk("Shall we say that it is so?"))
    path = collection_file(tmp_path, "data/*.jsonl")
    options = ["--collection", path, "--warehouse", str(runner.lake.warehouse), "--namespace", runner.lake.namespace]
    import_instructions.main(options)
    assert "4 rows" in capsys.readouterr().err
    assert ledger_of(runner.lake, "by_job") == {"examples": {"talks": {"kept": 3, "exact_duplicate": 1}}}
    import_instructions.main(options)
    assert capsys.readouterr().err.count("up to date") == 4
    written(tmp_path, "data/a.jsonl", talk("Will it be so?"))
    (tmp_path / "data" / "b.jsonl").unlink()
    import_instructions.main(options)
    assert ledger_of(runner.lake, "by_job") == {"examples": {"talks": {"kept": 1}}}
    rows = [runner.lake.read(table).where("collection = 'by_job'").count() for table in TABLES]
    assert rows == [1, 1, 0, 0, 1]


def test_the_job_ends_with_the_message_of_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = collection_file(tmp_path, "a.jsonl")
    with pytest.raises(SystemExit) as ended:
        import_instructions.main(["--collection", path, "--warehouse", str(tmp_path / "lake")])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message == (
        f"goldenlake: collection by_job: source talks: {tmp_path}/a.jsonl: there is no such file or folder\n"
    )
    assert not (tmp_path / "lake").exists()


def test_a_folder_gives_its_data_for_training(tmp_path: Path) -> None:
    for name in (
        "en/train-00000.jsonl",
        "de/train-00000.jsonl",
        "en/test-00000.jsonl",
        "dataset_info.json",
        "README.md",
    ):
        written(tmp_path, name, talk("Is it so?"))
    found = instruct.locate(Collection("c", (replace(SOURCE, files=(str(tmp_path),)),)))
    assert [file.name for file in found] == ["de/train-00000.jsonl", "en/train-00000.jsonl"]
    matching = instruct.locate(Collection("c", (replace(SOURCE, files=(f"{tmp_path}/en/t*", f"{tmp_path}/**/test*")),)))
    assert [file.name for file in matching] == ["test-00000.jsonl", "train-00000.jsonl"]


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    one, other = written(tmp_path, "x/a.jsonl", talk("a")), written(tmp_path, "y/a.jsonl", talk("b"))
    (tmp_path / "empty").mkdir()
    places = (one, other, str(tmp_path / "gone.jsonl"), f"{tmp_path}/*.parquet", str(tmp_path / "empty"))
    with pytest.raises(InputError) as error:
        instruct.locate(Collection("c", (replace(SOURCE, files=places),)))
    assert str(error.value) == (
        f"collection c: source talks: {one} and {other} are both called a.jsonl; "
        f"source talks: {tmp_path}/gone.jsonl: there is no such file or folder; "
        f"source talks: {tmp_path}/*.parquet: no file matches; "
        f"source talks: {tmp_path}/empty: no data file (.jsonl, .json, .jsonl.gz, .json.gz, .parquet) among its 0 files"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "name: c\nsources: [{name: s, files: [a], format: parquet, license: x, generator: y, category: ''}]",
            "sources.0: source 's': format is 'parquet', wanted one of alpaca, sharegpt, messages, oasst, preference; "
            "category is empty",
        ),
        ("name: c\nsources: []", "sources is empty, wanted one at least"),
        ("name: ' '\nsources: []", "name is empty; sources is empty"),
        (
            "name: c\nsources: [{name: s, files: [], format: alpaca, license: x, generator: y, category: z}]",
            "source 's': files is empty, wanted one at least",
        ),
        ("name: c\nsources: [{name: s}]", "key 'sources.0.files' is missing; key 'sources.0.format' is missing"),
        ("name: c\nsource: []", "unknown key 'source', did you mean 'sources'?"),
    ],
)
def test_a_wrong_collection_is_refused(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        instruct.load(path)
    assert wanted in str(error.value)
    assert str(error.value).startswith(str(path))


def test_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="sources named twice: talks"):
        Collection("c", (replace(SOURCE, files=("a",)), replace(SOURCE, files=("b",))))


def test_the_example_collection_is_read() -> None:
    example = instruct.load(config.find("collections", "example"))
    assert {source.format for source in example.sources} == {"alpaca", "oasst", "sharegpt", "preference"}
    assert all(Path(name).is_absolute() for source in example.sources for name in source.files)
