"""Every document has a row that says which items of benchmarks it holds; of instructions those that hold some."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from etl import config, resources, tables
from etl.errors import ConfigError, InputError
from etl.kernels import benchmarks
from etl.kernels.benchmarks import BenchmarkFile, BenchmarkList
from etl.stages.contamination import (
    DOCUMENT_CONTAMINATION,
    INSTRUCTION_CONTAMINATION,
    ContaminationParams,
    InstructionContaminationParams,
    document_contamination,
    instruction_contamination,
)
from etl.tables import Table

FERRY = "A ferry carries 48 lorries on each crossing and sails seven times between Larne and Cairnryan every Tuesday."
STEPS = "Seven crossings of 48 lorries each make 336 lorries that the ferry carries between both ports on Tuesday."
GLACIER = "Meltwater that freezes beneath a glacier plucks fragments of bedrock and carries them down the valley."
CLEAN = "Our garden opens at nine. Tickets are sold at the gate."


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> ContaminationParams:
    folder: Path = tmp_path_factory.mktemp("benchmarks")
    sums, rocks = folder / "sums.jsonl", folder / "rocks.json"
    sums.write_text(json.dumps({"question": FERRY, "answer": STEPS}) + "\n")
    rocks.write_text(json.dumps([{"text": GLACIER}]))
    return ContaminationParams(
        (
            BenchmarkFile("sums", str(sums), {"question": ("question",), "answer": ("answer",)}),
            BenchmarkFile("rocks", str(rocks), {"question": ("text",)}),
        )
    )


def rows(spark: SparkSession, table: Table, given: list[dict[str, Any]]) -> DataFrame:
    """Rows of a table from the columns that matter; the others are null, or empty where the contract forbids null."""
    fillers = {"string": "", "bigint": 0, "int": 0, "double": 0.0, "timestamp": None}
    empty = {f.name: None if f.nullable else fillers[f.dataType.simpleString()] for f in table.schema.fields}
    return spark.createDataFrame([Row(**(empty | values)) for values in given], table.schema)


def documents(spark: SparkSession, **texts: str | None) -> DataFrame:
    return spark.createDataFrame(
        [(name, "file", text) for name, text in texts.items()], "doc_id string, warc_filename string, text string"
    )


def test_every_document_with_text_has_a_row(spark: SparkSession, params: ContaminationParams) -> None:
    given = documents(spark, leak=f"{CLEAN}\n{FERRY}\n{GLACIER}", clean=CLEAN, empty="", unread=None)
    found = document_contamination(given, params)
    DOCUMENT_CONTAMINATION.output.check(found.schema)
    by_id = {row.doc_id: row for row in found.collect()}
    assert set(by_id) == {"leak", "clean", "empty"}
    leak = by_id["leak"]
    assert (leak.warc_filename, leak.contaminated_items, leak.contamination) == ("file", 2, 1.0)
    assert leak.benchmarks == ["rocks", "sums"]
    first = leak.matches[0]
    assert (first.benchmark, first.part, first.kind, first.overlap) == ("sums", "question", "ngram", 1.0)
    assert first.item == benchmarks.sha256({"question": FERRY, "answer": STEPS})
    assert f"{CLEAN}\n{FERRY}"[first.start : first.end] == FERRY[2:-1]
    for name in ("clean", "empty"):
        assert (by_id[name].contaminated_items, by_id[name].contamination, by_id[name].matches) == (0, 0.0, [])


def test_partitions_change_nothing(spark: SparkSession, params: ContaminationParams) -> None:
    given = documents(spark, **{f"d{n}": text for n, text in enumerate([FERRY, CLEAN, GLACIER, STEPS, CLEAN])})
    one, four = (
        sorted(document_contamination(given.repartition(parts), params).collect(), key=lambda row: str(row.doc_id))
        for parts in (1, 4)
    )
    assert one == four
    assert [row.contaminated_items for row in one] == [1, 0, 1, 1, 0]


def test_instructions_say_in_which_message(spark: SparkSession, params: ContaminationParams) -> None:
    def talk(*contents: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": content} for content in contents]

    place = {"collection": "c", "source": "s", "file": "f"}
    instructions = rows(
        spark,
        tables.INSTRUCTIONS,
        [
            {**place, "record": 0, "example_id": "leak", "messages": talk(CLEAN, FERRY, STEPS)},
            {**place, "record": 1, "example_id": "clean", "messages": talk(CLEAN)},
            {**place, "record": 2, "import_error": "empty: nothing"},
            {**place, "record": 3, "example_id": "other", "messages": talk(FERRY), "collection": "other"},
        ],
    )
    preferences = rows(
        spark,
        tables.PREFERENCES,
        [
            {
                **place,
                "record": 0,
                "example_id": "pair",
                "prompt": talk(CLEAN),
                "chosen": talk(CLEAN),
                "rejected": talk(GLACIER),
            }
        ],
    )
    asked = InstructionContaminationParams(params.benchmarks, collection="c")
    found = instruction_contamination(instructions, preferences, asked)
    INSTRUCTION_CONTAMINATION.output.check(found.schema)
    by_id = {row.example_id: row for row in found.collect()}
    assert set(by_id) == {"leak", "pair"}
    leak, pair = by_id["leak"], by_id["pair"]
    assert (leak.kind, leak.record, leak.contaminated_items, leak.benchmarks) == ("examples", 0, 1, ["sums"])
    assert [(m.column, m.message, m.part) for m in leak.matches] == [
        ("messages", 1, "question"),
        ("messages", 2, "answer"),
    ]
    assert (pair.kind, pair.contaminated_items, pair.contamination) == ("pairs", 1, 1.0)
    assert [(m.column, m.message, m.benchmark) for m in pair.matches] == [("rejected", 0, "rocks")]


def test_other_items_are_another_fingerprint(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"text": FERRY}) + "\n")
    params = ContaminationParams((BenchmarkFile("quiz", str(path), {"question": ("text",)}),))
    before = params.pinned()
    assert before == params.pinned()
    path.write_text(json.dumps({"text": GLACIER}) + "\n")
    after = params.pinned()
    assert DOCUMENT_CONTAMINATION.fingerprint(before) != DOCUMENT_CONTAMINATION.fingerprint(after)
    given = documents(spark, leak=GLACIER)
    with pytest.raises(ConfigError, match="benchmarks have changed since the run was planned: quiz"):
        document_contamination(given, before)
    assert [row.contaminated_items for row in document_contamination(given, after).collect()] == [1]


def test_wrong_files_are_told_before_anything_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"query": "one"}\n')
    wrong = ContaminationParams((BenchmarkFile("quiz", str(path), {"question": ("question",)}),))
    with pytest.raises(InputError, match=r"items.jsonl, record 1: found query, wanted question"):
        wrong.pinned()
    with pytest.raises(InputError, match=r"missing.jsonl: cannot be read"):
        replace(wrong, benchmarks=(BenchmarkFile("gone", str(tmp_path / "missing.jsonl"), {"q": ("q",)}),)).pinned()
    with pytest.raises(ValueError, match="benchmarks is empty, wanted one at least"):
        ContaminationParams(())


def test_the_standard_benchmarks_are_read_from_their_file() -> None:
    known = config.load(config.find("benchmarks", "standard"), BenchmarkList)
    names = [benchmark.name for benchmark in known.benchmarks]
    assert names == ["mmlu", "hellaswag", "gsm8k", "humaneval", "mt_bench", "alpaca_eval"]
    written = json.loads(json.dumps(asdict(ContaminationParams(known.benchmarks))))
    assert config.build(written, ContaminationParams, "here") == ContaminationParams(known.benchmarks)


def test_a_misspelt_setting_is_refused() -> None:
    given = {"benchmarks": [{"name": "a", "file": "b", "parts": {"q": ["q"]}}], "settings": {"nagram": 13}}
    with pytest.raises(ConfigError, match="did you mean 'ngram'"):
        config.build(given, ContaminationParams, "here")


@pytest.mark.parametrize("name", ["document_contamination", "instruction_contamination"])
def test_statement_runs_as_it_stands(name: str, spark: SparkSession) -> None:
    table = tables.load(name)
    spark.sql("CREATE SCHEMA IF NOT EXISTS contamination")
    spark.sql(table.ddl.replace(f"EXISTS {name} (", f"EXISTS contamination.{name} ("))
    assert spark.table(f"contamination.{name}").columns == list(table.columns)
    assert (resources.folder("schemas") / f"{name}.sql").is_file()
