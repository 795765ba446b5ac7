"""Near duplicates: what a band proposes is what the rule says, what it proposed is compared once, and copies follow."""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import tables
from etl.errors import InputError
from etl.kernels import minhash
from etl.kernels.minhash import Geometry
from etl.stages.minhash import (
    MinHashParams,
    document_minhash,
    duplicate_candidates,
    duplicate_pairs,
    is_of_geometry,
    with_added,
)
from tests.stages.test_curate import rows

GEOMETRY = Geometry("small", "five words", "these tests", size=3, bands=16, rows=2)
PARAMS = MinHashParams(GEOMETRY, neighbours=4, neighbours_in_crowd=2)
BANDS = 3


def made_up(documents: int, seed: int, alone: int = 0) -> list[dict[str, Any]]:
    """Rows of an index in which many documents share a set, sets share bands, after some that they are alone in, and
    some buckets are crowds."""
    rng = random.Random(seed)
    sets = []
    for number in range(documents * 2 // 3):
        bands = [-(number * 1000 + band) for band in range(1, alone + 1)]
        bands += [rng.randrange(documents // 12) * 10 + band for band in range(BANDS)]
        sets.append(
            {"shingle_set": f"set{number}", "sketch": rng.randrange(-5, 5) << 33, "bands": bands, "shingles": 1}
        )
    return [
        {**rng.choice(sets), "doc_id": f"d{number:04d}", "warc_filename": f"w{number % 4}"}
        for number in range(documents)
    ]


def index(spark: SparkSession, given: Iterable[dict[str, Any]]) -> DataFrame:
    found: DataFrame = rows(spark, tables.DOCUMENT_MINHASH, *given)
    return found


def by_the_rule(given: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """Pairs and bands as the docstrings tell them, in plain Python."""
    first: dict[str, dict[str, Any]] = {}
    for row in sorted(given, key=lambda row: row["doc_id"]):
        first.setdefault(row["shingle_set"], row)
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in given:
        if row["doc_id"] != first[row["shingle_set"]]["doc_id"]:
            found[first[row["shingle_set"]]["doc_id"], row["doc_id"]] = []
    for band in range(len(first[given[0]["shingle_set"]]["bands"])):
        buckets = defaultdict(list)
        for row in first.values():
            buckets[row["bands"][band]].append(row)
        for bucket in buckets.values():
            bucket.sort(key=lambda row: (row["sketch"], zlib.crc32(row["shingle_set"].encode())))
            reach = PARAMS.neighbours if len(bucket) <= PARAMS.neighbours + 1 else PARAMS.neighbours_in_crowd
            for place, one in enumerate(bucket):
                for other in bucket[place + 1 : place + 1 + reach]:
                    left, right = sorted((one["doc_id"], other["doc_id"]))
                    found[left, right].append(band)
    return dict(found)


def pairs_of(candidates: DataFrame) -> dict[tuple[str, str], list[int]]:
    found = candidates.select(*tables.DUPLICATE_CANDIDATES.columns).collect()
    pairs = {(row["left_id"], row["right_id"]): row["bands"] for row in found}
    assert len(pairs) == len(found)
    return pairs


@pytest.mark.parametrize("documents", [40, 150])
def test_candidates_are_those_of_the_rule(spark: SparkSession, documents: int) -> None:
    given = made_up(documents, seed=documents)
    found = pairs_of(duplicate_candidates(index(spark, given), PARAMS))
    assert found == by_the_rule(given)
    assert {len(bands) for bands in found.values()} >= {0, 1}


def test_more_bands_than_a_word_has_bits_are_told_apart(spark: SparkSession) -> None:
    params = replace(PARAMS, geometry=replace(GEOMETRY, bands=130, rows=1))
    given = made_up(60, seed=2, alone=127)
    before = [row for row in given if row["warc_filename"] != "w0"]
    known, everything = (duplicate_candidates(index(spark, part), params).localCheckpoint() for part in (before, given))
    assert pairs_of(everything) == by_the_rule(given)
    assert {band for bands in pairs_of(everything).values() for band in bands} == {127, 128, 129}
    updated = with_added(index(spark, given), known, ["w0"], params)
    assert pairs_of(updated) == pairs_of(everything)


def test_partitions_change_no_candidate(spark: SparkSession) -> None:
    documents = index(spark, made_up(100, seed=5)).localCheckpoint()
    one, seven = (pairs_of(duplicate_candidates(documents.repartition(n, "doc_id"), PARAMS)) for n in (1, 7))
    assert one == seven


@pytest.mark.parametrize("added", [["w0"], ["w1", "w3"], ["w0", "w1", "w2", "w3"], []])
def test_added_archives_give_the_candidates_of_the_whole(spark: SparkSession, added: list[str]) -> None:
    given = made_up(150, seed=9)
    before = index(spark, [row for row in given if row["warc_filename"] not in added] or given[:1])
    known = duplicate_candidates(before, PARAMS).localCheckpoint()
    everything = index(spark, given)
    found = with_added(everything, known, added, PARAMS).select(*tables.DUPLICATE_CANDIDATES.columns)
    whole = duplicate_candidates(everything, PARAMS).select(*tables.DUPLICATE_CANDIDATES.columns)
    assert sorted(found.collect()) == sorted(whole.collect())
    again = with_added(everything, found.localCheckpoint(), added, PARAMS).select(*tables.DUPLICATE_CANDIDATES.columns)
    assert sorted(again.collect()) == sorted(whole.collect()), "a run that was killed after its commit adds them again"


def texts_of(spark: SparkSession) -> tuple[DataFrame, dict[str, str]]:
    """Documents of which some are edited copies, some the same but for case and spaces, one empty and one null."""
    rng = random.Random(3)
    texts: dict[str, Any] = {}
    for family in range(20):
        words = [f"w{rng.randrange(5000)}" for _ in range(60)]
        for edits in range(family % 4):
            edited = list(words)
            for place in rng.sample(range(60), edits):
                edited[place] = f"edit{rng.randrange(5000)}"
            texts[f"{family:02d}{edits}"] = " ".join(edited)
        texts[f"{family:02d}x"] = "  ".join(words).upper() + "!"
    texts |= {"empty": "", "blank": " ... ", "none": None}
    given = [{"doc_id": doc_id, "text": text, "warc_filename": "w"} for doc_id, text in texts.items()]
    return rows(spark, tables.DOCUMENTS, *given), texts


def test_pairs_have_the_similarity_of_their_texts(spark: SparkSession) -> None:
    documents, texts = texts_of(spark)
    indexed = document_minhash(documents, PARAMS).localCheckpoint()
    assert indexed.count() == len(texts) - 1
    candidates = duplicate_candidates(indexed, PARAMS).localCheckpoint()
    nothing = rows(spark, tables.DUPLICATE_PAIRS)
    found = duplicate_pairs(candidates, documents, nothing, PARAMS).collect()
    assert {(row["left_id"], row["right_id"]) for row in found} == set(pairs_of(candidates))
    assert {"empty", "blank"}.isdisjoint({row["left_id"] for row in found} | {row["right_id"] for row in found})
    for row in found:
        left, right = (minhash.shingle_hashes(texts[row[side]], 3) for side in ("left_id", "right_id"))
        assert row["similarity"] == minhash.jaccard(left, right)
        assert row["containment"] >= row["similarity"]
    copies = [row for row in found if not row["bands"]]
    assert copies and all(row["similarity"] == 1 for row in copies)
    assert any(row["similarity"] < 1 for row in found)


def test_what_was_compared_is_not_compared_again(spark: SparkSession) -> None:
    """The texts are gone, and what was known of them is still told; a pair that nothing is known of cannot be."""
    documents, _ = texts_of(spark)
    candidates = duplicate_candidates(document_minhash(documents, PARAMS), PARAMS).localCheckpoint()
    first = duplicate_pairs(candidates, documents, rows(spark, tables.DUPLICATE_PAIRS), PARAMS).localCheckpoint()
    forgotten, known = first.where("similarity < 1").limit(1).collect()[0], first.where(F.col("similarity") > 0)
    known = known.where(F.col("left_id") != forgotten["left_id"])
    gone = documents.where("false")
    again = duplicate_pairs(candidates, gone, known, PARAMS)
    is_near = F.size("bands") > 0
    assert sorted(again.where(is_near).collect()) == sorted(known.where(is_near).collect())


def test_an_index_of_another_geometry_is_refused(spark: SparkSession) -> None:
    other = MinHashParams(Geometry("other", "seven words", "these tests", size=7, bands=16, rows=2))
    indexed = document_minhash(texts_of(spark)[0], other)
    with pytest.raises(InputError) as error:
        is_of_geometry(indexed, PARAMS)
    assert other.geometry.label in str(error.value)
    assert PARAMS.geometry.label in str(error.value)
    is_of_geometry(indexed, other)
