"""Blocks of a training set: the same bytes whatever the partitions, and every token of every document in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.types import StructType

from etl import tables
from etl.errors import InputError
from etl.kernels import packing, tokens
from etl.stages.pack import (
    TRAINING_BLOCKS,
    TRAINING_PACKINGS,
    PackParams,
    has_documents,
    training_blocks,
    training_packings,
)

WORDS = ("lake", "water", "deep", "cold", "é", "東京", "\n\n")
TEXTS = [" ".join(WORDS[(n + k) % len(WORDS)] for k in range(1 + n * n % 57)) for n in range(90)]
TEXTS[17] = ""
PARAMS = [PackParams("set", "bytes", mode, context=64, shard_documents=20, packing="tests") for mode in packing.MODES]


@pytest.fixture(scope="module")
def documents(spark: SparkSession) -> DataFrame:
    count = tokens.counter("bytes")
    rows = [("set", n, text, count([text])[0]) for n, text in enumerate(TEXTS)]
    rows.append(("other", 0, "not of this set", 15))
    columns = ["training_set", "position", "text", "tokens"]
    schema = StructType([tables.TRAINING_DOCUMENTS.schema[column] for column in columns])
    return spark.createDataFrame(rows, schema).localCheckpoint()


def packed(documents: DataFrame, params: PackParams) -> list[Any]:
    return sorted(training_blocks(documents, params).collect(), key=lambda row: (row["shard"], row["block"]))


@pytest.mark.parametrize("stage", [TRAINING_BLOCKS, TRAINING_PACKINGS], ids=lambda stage: stage.name)
def test_output_matches_contract(spark: SparkSession, stage: Any) -> None:
    inputs = [spark.createDataFrame([], table.schema) for table in stage.inputs]
    stage.output.check(stage.transform(*inputs, PARAMS[0]).schema)


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: params.mode)
def test_any_number_of_partitions_and_any_files_give_the_same_blocks(
    spark: SparkSession, documents: DataFrame, tmp_path: Path, params: PackParams
) -> None:
    wanted = packed(documents.repartition(1), params)
    for partitions in (2, 7):
        assert packed(documents.repartition(partitions, "text"), params) == wanted
    place = str(tmp_path / "training_documents")
    documents.repartition(4).write.format("delta").save(place)
    spark.sql(f"OPTIMIZE delta.`{place}`")
    assert packed(spark.read.format("delta").load(place), params) == wanted


def test_the_hash_is_of_the_blocks_and_not_of_their_partitions(spark: SparkSession, documents: DataFrame) -> None:
    blocks = packed(documents, PARAMS[0])
    other = [*blocks[:-1], Row(**{**blocks[-1].asDict(), "ids": [*blocks[-1]["ids"][:-1], 7]})]
    hashes = []
    for rows, partitions in ((blocks, 1), (blocks[::-1], 4), (other, 1)):
        found = spark.createDataFrame(rows, TRAINING_BLOCKS.output.schema).repartition(partitions)
        hashes.append(training_packings(documents, found, PARAMS[0]).collect()[0]["content_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: params.mode)
def test_every_document_can_be_put_together_again(documents: DataFrame, params: PackParams) -> None:
    found: list[dict[int, int]] = [{} for _ in TEXTS]
    for row in packed(documents, params):
        assert len(row["ids"]) + row["padding"] == params.context
        edges = [*row["starts"], len(row["ids"])]
        for n, (document, begin) in enumerate(zip(row["documents"], row["begins"], strict=True)):
            assert document // params.shard_documents == row["shard"]
            for place, token in enumerate(row["ids"][edges[n] : edges[n + 1]], begin):
                assert place not in found[document], "no place of a document is in two blocks"
                found[document][place] = token
    for text, places in zip(TEXTS, found, strict=True):
        ids = [places[n] for n in range(len(places))]
        assert bytes(token for token in ids if token != 256).decode() == text
        assert 256 not in ids[:-1]


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: params.mode)
def test_the_account_is_that_of_the_set(documents: DataFrame, params: PackParams) -> None:
    blocks = training_blocks(documents, params).localCheckpoint()
    row = training_packings(documents, blocks, params).collect()[0]
    rows = blocks.collect()
    assert row["tokens"] == row["set_tokens"] == sum(len(text.encode()) for text in TEXTS)
    assert row["tokens"] + row["separators"] + row["padding"] == row["blocks"] * params.context == len(rows) * 64
    assert row["separators"] == sum(ids.count(256) for ids in (each["ids"] for each in rows))
    assert (row["set_documents"], row["shards"], row["end_of_text"]) == (len(TEXTS), 5, 256)
    assert row["rest_tokens"] == sum(len(each["ids"]) for each in rows if each["is_rest"])
    if params.mode == packing.CONCAT:
        assert (row["documents"], row["separators"]) == (len(TEXTS), len(TEXTS))
        assert row["rests"] == 5, "one a shard"
        assert all(each["padding"] == 0 or each["is_rest"] for each in rows)
    else:
        assert (row["documents"], row["rests"]) == (len(TEXTS) - 1, 0), "the empty text has no token to write"


def test_blocks_are_shuffled_in_their_shard_and_the_rest_is_last(documents: DataFrame) -> None:
    first, second = (packed(documents, PackParams("set", "bytes", context=64, shard_documents=20, seed=seed))
                     for seed in (1, 2))  # fmt: skip
    for shard in range(5):
        orders = [[row for row in rows if row["shard"] == shard] for rows in (first, second)]
        assert [row["block"] for row in orders[0]] == list(range(len(orders[0])))
        assert [row["is_rest"] for row in orders[0]] == [False] * (len(orders[0]) - 1) + [True]
        assert sorted(row["ids"] for row in orders[0]) == sorted(row["ids"] for row in orders[1])
    assert [row["ids"] for row in first] != [row["ids"] for row in second]
    begun = [(row["documents"][0], row["begins"][0]) for row in first if not row["is_rest"]]
    assert begun != sorted(begun)


def test_a_larger_set_begins_with_the_same_blocks(documents: DataFrame) -> None:
    small, large = (packed(documents.where(f"position < {n}"), PARAMS[0]) for n in (40, 90))
    assert small == large[: len(small)], "as the smaller ends with a shard"


def test_params_name_the_packing_and_find_the_end_of_a_text() -> None:
    pinned = PackParams("set", context=512).pinned()
    assert (pinned.packing, pinned.end_of_text) == ("concat-512-gpt2", 50256)
    with pytest.raises(ValueError, match=r"mode is 'x'.*; context is 1.*; shard_documents is 0.*; end_of_text is -1"):
        PackParams("set", mode="x", context=1, shard_documents=0, end_of_text=-1)


def test_a_set_that_is_not_there_is_refused(documents: DataFrame) -> None:
    with pytest.raises(InputError, match=r"no training set 'none' of documents, known are \['other', 'set'\]"):
        has_documents(documents, PackParams("none"))
    has_documents(documents, PARAMS[0])
