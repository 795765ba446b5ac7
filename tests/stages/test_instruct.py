"""Instruction data is read row by row, compared, and decided about, and every row says why."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from etl import config, tables
from etl.errors import ConfigError
from etl.kernels import language, minhash, tokens
from etl.stages.instruct import ImportParams, instructions, preferences
from etl.stages.instruct_curate import (
    InstructionDispositionParams,
    InstructionRecipe,
    InstructionRule,
    instruction_dispositions,
)
from etl.stages.instruct_dedup import DuplicateParams, instruction_duplicates
from etl.tables import Table

RECIPE = InstructionRecipe(
    name="short",
    description="English that is long enough, of a free licence",
    source="these tests",
    rules=(
        InstructionRule("language", "language", one_of=("en",)),
        InstructionRule("license", "license", none_of=("secret",)),
        InstructionRule("min_answer", "answer_length", min=2),
        InstructionRule("max_turns", "turns", max=1),
        InstructionRule("rank", "scores.worst_rank", max=0),
    ),
)


def rows(spark: SparkSession, table: Table, given: list[dict[str, Any]]) -> DataFrame:
    """Rows of a table from the columns that matter; the others are null, or empty where the contract forbids null."""
    fillers = {"string": "", "bigint": 0, "int": 0, "double": 0.0}
    empty = {
        field.name: None if field.nullable else fillers.get(field.dataType.simpleString(), []) for field in table.schema
    }
    return spark.createDataFrame([Row(**(empty | {"collection": "c"} | values)) for values in given], table.schema)


def spoken(**values: Any) -> dict[str, Any]:
    """A row of `instructions` that the recipe keeps."""
    text = values.pop("text", "hello")
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "hi"}]
    found = {"language": "en", "answer_length": 9, "turns": 1, "messages": messages, "source": "s", "file": "f"}
    return found | values


def compared(**values: Any) -> dict[str, Any]:
    """A row of `preferences` that the recipe keeps."""
    found = spoken(**values)
    prompt = found.pop("messages")[:1]
    found.pop("turns")
    return found | {
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    }


@pytest.fixture(scope="module")
def known(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """`instruction_files` of four files, one of them missing, and one of another collection."""
    folder: Path = tmp_path_factory.mktemp("files")
    talk = [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "It is four."}]
    more = [{"role": "user", "content": "Sicher?"}, {"role": "assistant", "content": "Ja, da bin ich ganz sicher."}]
    first, second = {"messages": talk, "model": "teacher", "label": True}, {"messages": talk + more}
    (folder / "a.jsonl").write_text(f'{json.dumps(first)}\n{{"messages": [\n{json.dumps(second)}\n')
    answers = [
        {"role": "assistant", "text": "This one.", "rank": 0},
        {"role": "assistant", "text": "That one.", "rank": 1},
    ]
    tree = {"prompt": {"role": "prompter", "text": "Which is best?", "replies": answers}}
    (folder / "trees.jsonl.gz").write_bytes(gzip.compress(json.dumps(tree).encode()))
    pair = {"prompt": "Which is best?", "chosen": "This.", "rejected": "That.", "score_chosen": 2.5}
    (folder / "pairs.json").write_text(json.dumps([pair, {"prompt": "x"}]))
    given = [
        ("c", "talks", "a.jsonl", "messages"),
        ("c", "trees", "trees.jsonl.gz", "oasst"),
        ("c", "pairs", "pairs.json", "preference"),
        ("c", "talks", "gone.jsonl", "messages"),
        ("other", "talks", "a.jsonl", "messages"),
    ]
    found = [
        {"collection": c, "source": s, "file": f, "location": str(folder / f), "format": kind, "license": "MIT",
         "generator": "people", "category": "general"}
        for c, s, f, kind in given
    ]  # fmt: skip
    return rows(spark, tables.INSTRUCTION_FILES, found)


def test_examples_are_read_with_what_is_known_of_them(known: DataFrame) -> None:
    found = {(row["file"], row["record"], row["part"]): row for row in instructions(known, ImportParams("c")).collect()}
    assert sorted(found) == [
        ("a.jsonl", 0, 0),
        ("a.jsonl", 1, 0),
        ("a.jsonl", 2, 0),
        ("gone.jsonl", 0, 0),
        ("trees.jsonl.gz", 0, 0),
        ("trees.jsonl.gz", 0, 1),
    ]
    first, longer = found["a.jsonl", 0, 0], found["a.jsonl", 2, 0]
    texts = ["What is two and two?", "It is four."]
    assert [message["content"] for message in first["messages"]] == texts
    assert (first["language"], first["language_score"]) == language.detect(["\n".join(texts)])[0]
    assert first["tokens"] == sum(tokens.counter()(texts))
    assert (first["turns"], first["prompt_length"], first["answer_length"]) == (1, len(texts[0]), len(texts[1]))
    assert (first["license"], first["generator"], first["category"]) == ("MIT", "teacher", "general")
    assert (first["scores"], longer["scores"]) == ({"label": 1.0}, {})
    assert (longer["turns"], longer["language"], longer["generator"]) == (2, "de", "people")
    assert longer["prompt_length"] == sum(map(len, texts)) + len("Sicher?")
    assert first["prompt_id"] == longer["prompt_id"] != first["example_id"]
    assert [found["trees.jsonl.gz", 0, part]["scores"]["worst_rank"] for part in (0, 1)] == [0.0, 1.0]


def test_what_cannot_be_read_is_a_row_that_says_why(known: DataFrame) -> None:
    failed = instructions(known, ImportParams("c")).where("example_id IS NULL").orderBy("file").collect()
    assert [(row["file"], row["record"], row["import_error"]) for row in failed] == [
        ("a.jsonl", 1, "not_json: found Expecting value at character 15, wanted one JSON object a line"),
        ("gone.jsonl", 0, "unreadable: found No such file or directory, wanted a file that can be opened"),
    ]
    assert {row["license"] for row in failed} == {"MIT"}
    assert {row["messages"] for row in failed} == {row["tokens"] for row in failed} == {None}


def test_pairs_are_read_of_preferences_and_of_trees(known: DataFrame) -> None:
    found = preferences(known, ImportParams("c")).orderBy("file", "record").collect()
    assert [(row["file"], row["import_error"]) for row in found] == [
        ("pairs.json", None),
        ("pairs.json", "missing_key: found keys prompt, wanted chosen and rejected"),
        ("trees.jsonl.gz", None),
    ]
    pair, _, ranked = found
    assert (pair["chosen_score"], pair["rejected_score"]) == (2.5, None)
    assert (ranked["chosen_score"], ranked["rejected_score"]) == (0.0, -1.0)
    assert pair["tokens"] == sum(tokens.counter()(["Which is best?", "This.", "That."]))
    assert (pair["prompt_length"], pair["answer_length"], pair["language"]) == (14, 5, "en")
    assert pair["prompt_id"] == ranked["prompt_id"]


def test_a_record_of_too_many_bytes_is_not_read(known: DataFrame) -> None:
    found = instructions(known, ImportParams("c", max_record_bytes=100)).where("file = 'a.jsonl'").collect()
    errors = [(row["import_error"] or "read").partition(":")[0] for row in sorted(found, key=lambda row: row["record"])]
    assert errors == ["too_long", "not_json", "too_long"]


# Many bands of two rows: of similar texts none is missed, so that the result can be compared with the definition.
SURE = DuplicateParams("c", bands=64, rows=2)


def similar_texts(number: int) -> list[str]:
    """Texts of which many are similar, and some chains of neighbours that are not neighbours of each other."""
    rng = random.Random(5)
    found: list[str] = []
    for place in range(number):
        if found and rng.random() < 0.7:
            words = rng.choice(found).split()
            words[rng.randrange(len(words))] = f"new{place}"
        else:
            words = [f"word{rng.randrange(10**6)}" for _ in range(rng.randint(30, 80))]
        found.append(" ".join(words))
    return found


def near_rows(spark: SparkSession, texts: list[str]) -> DataFrame:
    given = [spoken(example_id=f"{n * 7919 % 1009:04d}", record=n, text=text) for n, text in enumerate(texts)]
    return rows(spark, tables.INSTRUCTIONS, given)


def found_rows(duplicates: DataFrame) -> set[tuple[Any, ...]]:
    found = [tuple(row) for row in duplicates.select(*tables.INSTRUCTION_DUPLICATES.columns).collect()]
    assert len(found) == len(set(found))
    return set(found)


def test_near_duplicates_are_those_of_the_definition(spark: SparkSession) -> None:
    texts = similar_texts(120)
    found = instruction_duplicates(near_rows(spark, texts), rows(spark, tables.PREFERENCES, []), SURE).collect()
    ids = {f"{n * 7919 % 1009:04d}": minhash.shingle_hashes(f"{text}\nhi", 5) for n, text in enumerate(texts)}
    neighbours = {
        one: {other for other in ids if other != one and minhash.jaccard(ids[one], ids[other]) >= 0.8} for one in ids
    }
    wanted = {one: min(near) for one, near in neighbours.items() if near and min(near) < one}
    assert {row["example_id"]: row["duplicate_of"] for row in found} == wanted
    assert {row["method"] for row in found} == {"minhash"}
    assert all(row["similarity"] == minhash.jaccard(ids[row["example_id"]], ids[row["duplicate_of"]]) for row in found)
    survivors = ids.keys() - wanted.keys()
    assert all(neighbours[one].isdisjoint(survivors) for one in survivors)
    assert 20 < len(wanted) < 100


def test_partitions_change_no_duplicate(spark: SparkSession) -> None:
    examples = near_rows(spark, similar_texts(80) * 2).localCheckpoint()
    pairs = rows(spark, tables.PREFERENCES, [compared(example_id="p", record=n, text="a b c") for n in range(3)])
    results = [
        found_rows(instruction_duplicates(examples.repartition(n, "record"), pairs, DuplicateParams("c")))
        for n in (1, 7)
    ]
    assert results[0] == results[1]
    assert {row[7] for row in results[0]} == {"exact", "minhash"}


def test_a_bucket_that_all_share_still_finds_every_copy(spark: SparkSession) -> None:
    """Thirty texts that differ in their last word: each is compared with three only, and all but one are found."""
    long = " ".join(f"word{n}" for n in range(200))
    examples = near_rows(spark, [f"{long} {n}" for n in range(30)])
    pairs = rows(spark, tables.PREFERENCES, [])
    found = found_rows(instruction_duplicates(examples, pairs, DuplicateParams("c", max_bucket=3)))
    smallest = min(row["example_id"] for row in examples.select("example_id").collect())
    assert len(found) == 29
    assert {row[8] for row in found} == {smallest}


def test_the_first_of_exact_copies_is_no_duplicate(spark: SparkSession) -> None:
    places = [("b", "x", 0, 0), ("a", "y", 0, 1), ("a", "x", 7, 0), ("a", "y", 0, 0)]
    names = ("source", "file", "record", "part")
    examples = [spoken(example_id="e", **dict(zip(names, place, strict=True))) for place in places]
    pairs = [compared(example_id="e", record=5), compared(example_id="e", record=9)]
    elsewhere = [spoken(example_id="e", collection="other", source="0")]
    found = found_rows(
        instruction_duplicates(
            rows(spark, tables.INSTRUCTIONS, examples + elsewhere),
            rows(spark, tables.PREFERENCES, pairs),
            DuplicateParams("c"),
        )
    )
    assert found == {
        *(("c", "examples", *place, "e", "exact", "e", 1.0) for place in places if place != ("a", "x", 7, 0)),
        ("c", "pairs", "s", "f", 9, 0, "e", "exact", "e", 1.0),
    }


def decide(
    spark: SparkSession,
    examples: list[dict[str, Any]],
    pairs: list[dict[str, Any]] | None = None,
    near: dict[str, tuple[str, float]] | None = None,
    recipe: InstructionRecipe = RECIPE,
    contaminated: list[dict[str, Any]] | None = None,
) -> dict[int, Row]:
    """The dispositions by record; `near` are the rows of `instruction_duplicates` that MinHash made, and `contaminated`
    the rows of `instruction_contamination`."""
    duplicates = [
        {"kind": "examples", "example_id": one, "method": "minhash", "duplicate_of": other, "similarity": similarity}
        for one, (other, similarity) in (near or {}).items()
    ]
    found = instruction_dispositions(
        rows(spark, tables.INSTRUCTIONS, examples),
        rows(spark, tables.PREFERENCES, pairs or []),
        rows(spark, tables.INSTRUCTION_DUPLICATES, duplicates),
        rows(spark, tables.INSTRUCTION_CONTAMINATION, contaminated or []),
        InstructionDispositionParams("c", recipe),
    ).collect()
    assert len(found) == len(examples) + len(pairs or [])
    return {row["record"]: row for row in found}


def test_a_drop_says_why(spark: SparkSession) -> None:
    found = decide(
        spark,
        [
            spoken(record=0, example_id="kept"),
            spoken(record=1, example_id=None, import_error="not_json: found x, wanted y", language=None),
            spoken(record=2, example_id="german", language="de", answer_length=1),
            spoken(record=3, example_id="curt", answer_length=1),
            spoken(record=4, example_id="unsure", language=None),
            spoken(record=5, example_id="lower", scores={"worst_rank": 2.0}),
            spoken(record=6, example_id="best", scores={"worst_rank": 0.0}),
            spoken(record=7, example_id="kept"),
            spoken(record=8, example_id="like"),
        ],
        [compared(record=9, example_id="pair"), compared(record=10, example_id="long", answer_length=1)],
        near={"like": ("kept", 0.9), "kept": ("german", 0.7)},
    )
    assert {place: (row["rule"], row["detail"]) for place, row in found.items()} == {
        0: (None, None),
        1: ("import_error", "not_json: found x, wanted y"),
        2: ("language", "language is de, wanted one of en"),
        3: ("min_answer", "answer_length is 1, wanted at least 2"),
        4: ("language", "language is missing, wanted one of en"),
        5: ("rank", "scores.worst_rank is 2.0, wanted at most 0"),
        6: (None, None),
        7: ("exact_duplicate", "the same as record 0 of s/f"),
        8: ("near_duplicate", "similarity is 0.900 to kept, wanted less than 0.8"),
        9: (None, None),
        10: ("min_answer", "answer_length is 1, wanted at least 2"),
    }
    measured = {place: (row["signal"], row["value"], row["threshold"]) for place, row in found.items()}
    assert measured[3] == ("answer_length", 1.0, 2.0)
    assert measured[5] == ("scores.worst_rank", 2.0, 0.0)
    assert measured[2] == ("language", None, None)
    assert measured[8] == ("similarity", 0.9, 0.8)
    assert {place: row["duplicate_of"] for place, row in found.items() if row["duplicate_of"]} == {7: "kept", 8: "kept"}
    assert {row["kind"] for place, row in found.items() if place >= 9} == {"pairs"}
    assert all((row["decision"] == "kept") == (row["rule"] is None) for row in found.values())


def test_a_copy_that_fails_a_rule_is_no_survivor(spark: SparkSession) -> None:
    """One source may not be used: what another has of it must not go down with it."""
    found = decide(
        spark,
        [
            spoken(record=0, example_id="e", license="secret"),
            spoken(record=1, example_id="e"),
            spoken(record=2, example_id="e"),
        ],
    )
    assert [found[place]["rule"] for place in range(3)] == ["license", None, "exact_duplicate"]
    assert found[2]["detail"] == "the same as record 1 of s/f"


def test_failures_are_no_copies_of_each_other(spark: SparkSession) -> None:
    broken = [spoken(record=n, example_id=None, import_error="not_json: found x, wanted y") for n in range(3)]
    assert {row["rule"] for row in decide(spark, broken).values()} == {"import_error"}


@pytest.mark.parametrize(("bound", "kept"), [(0.8, {"a"}), (0.95, {"a", "b"}), (None, {"a", "b", "c"})])
def test_a_recipe_says_how_near_a_copy_may_be(spark: SparkSession, bound: float | None, kept: set[str]) -> None:
    recipe = InstructionRecipe("near", "d", "s", (), max_similarity=bound)
    examples = [spoken(record=n, example_id=name) for n, name in enumerate("abc")]
    found = decide(spark, examples, near={"b": ("a", 0.9), "c": ("a", 0.99)}, recipe=recipe)
    assert {row["example_id"] for row in found.values() if row["decision"] == "kept"} == kept


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"max_similarity": 0.5}, "max_similarity is 0.5, wanted 0.8 to 1: instruction_duplicates knows no lower one"),
        ({"max_similiarity": 0.9}, "unknown key 'max_similiarity', did you mean 'max_similarity'?"),
        ({"rules": [{"name": "a", "signal": "words", "min": 1}]}, "reads 'words', which no table of signals has"),
        ({"rules": [{"name": "a", "signal": "scores.", "min": 1}]}, "reads 'scores.', which no table of signals has"),
        ({"rules": [{"name": "a", "signal": "turns"}]}, "has no bound, wanted one of min, max, one_of, none_of"),
        ({"rules": [{"name": "a", "signal": "turns", "min": 1}] * 2}, "rules named twice: a"),
    ],
)
def test_a_wrong_recipe_is_refused(change: dict[str, Any], wanted: str) -> None:
    data = {"name": "n", "description": "d", "source": "s", "rules": [], **change}
    with pytest.raises(ConfigError) as error:
        config.build(data, InstructionRecipe, origin="x.yaml")
    assert wanted in str(error.value)


def test_the_recipe_of_the_house_is_read() -> None:
    recipe = config.load(config.find("instruction_recipes", "chat"), InstructionRecipe)
    assert recipe.rules[0].name == "language"
    assert recipe.max_similarity == 0.8


def test_wrong_params_are_refused() -> None:
    with pytest.raises(
        ValueError, match="bands is 0, wanted at least 1; similarity is 2, wanted more than 0, at most 1"
    ):
        DuplicateParams("c", bands=0, similarity=2)
    with pytest.raises(ValueError, match="rule 'r' is about crawls, which instruction data has none of"):
        InstructionRule("r", "turns", max=1, except_crawls=("code:*",))
    with pytest.raises(ValueError, match="max_record_bytes is 0, wanted at least 1"):
        ImportParams("c", max_record_bytes=0)


def test_an_example_that_holds_a_benchmark_is_dropped_where_the_recipe_says_so(spark: SparkSession) -> None:
    examples = [spoken(record=number, example_id=f"e{number}") for number in range(3)]
    place = {"collection": "c", "kind": "examples", "source": "s", "file": "f", "part": 0}
    found = [
        {**place, "record": record, "contamination": share, "benchmarks": ["gsm8k", "mmlu"]}
        for record, share in ((0, 0.9), (1, 0.5))
    ]
    strict = replace(RECIPE, max_contamination=0.5)
    decided = decide(spark, examples, recipe=strict, contaminated=found)
    assert [decided[record]["decision"] for record in range(3)] == ["dropped", "kept", "kept"]
    assert decided[0]["rule"] == "contaminated"
    assert decided[0]["detail"] == "holds items of gsm8k, mmlu, 0.900 of one, wanted at most 0.5"
    assert {row["decision"] for row in decide(spark, examples, contaminated=found).values()} == {"kept"}
