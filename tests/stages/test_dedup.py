"""Clusters: copies by what they share, near duplicates by what was measured, and no chain joins what is unlike."""

from __future__ import annotations

import random
from datetime import datetime
from itertools import combinations
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import tables
from etl.kernels import minhash
from etl.kernels.minhash import Geometry
from etl.stages.dedup import COMPLETE, CONNECTED, ClusterParams, duplicate_clusters
from etl.stages.minhash import MinHashParams, document_minhash, duplicate_candidates, duplicate_pairs
from tests.stages.test_curate import rows

GEOMETRY = Geometry("small", "one word", "these tests", size=1, bands=32, rows=2)
INDEX = MinHashParams(GEOMETRY)


def clusters(
    spark: SparkSession,
    texts: dict[str, str | None],
    params: ClusterParams,
    partitions: int = 2,
    fetched: dict[str, datetime] | None = None,
) -> Any:
    """The members of each cluster that these documents make, by its name."""
    times = fetched or {}
    given = [{"doc_id": doc_id, "text": text, "fetch_time": times.get(doc_id)} for doc_id, text in texts.items()]
    documents: DataFrame = rows(spark, tables.DOCUMENTS, *given).repartition(partitions, "doc_id")
    indexed = document_minhash(documents, INDEX).localCheckpoint()
    candidates = duplicate_candidates(indexed, INDEX).localCheckpoint()
    pairs = duplicate_pairs(candidates, documents, rows(spark, tables.DUPLICATE_PAIRS), INDEX).localCheckpoint()
    known = rows(spark, tables.DUPLICATE_CLUSTERS)
    found = duplicate_clusters(
        rows(spark, tables.CAPTURES), documents, indexed, pairs, rows(spark, tables.SEMANTIC_PAIRS), known, params
    ).collect()
    members: dict[str, set[str]] = {}
    for row in found:
        members.setdefault(row["cluster_id"], set()).add(row["doc_id"])
    assert len(found) == sum(map(len, members.values()))
    for row in found:
        assert row["cluster_id"] == min(members[row["cluster_id"]])
        assert row["cluster_size"] == len(members[row["cluster_id"]])
    return members


def chain(links: int, words: int = 20, step: int = 2) -> dict[str, str | None]:
    """Texts that each share all but `step` words with the one before; the first and the last share next to none."""
    return {
        f"link{number:02d}": " ".join(f"w{word}" for word in range(number * step, number * step + words))
        for number in range(links)
    }


NEAR = ClusterParams("minhash", 0.8, COMPLETE, GEOMETRY)


def test_a_chain_is_cut_where_its_ends_are_unlike(spark: SparkSession) -> None:
    texts = chain(9)
    connected = clusters(spark, texts, ClusterParams("minhash", 0.8, CONNECTED, GEOMETRY))
    assert connected == {"link00": set(texts)}
    complete = clusters(spark, texts, NEAR)
    sets = {doc_id: minhash.shingle_hashes(text or "", 1) for doc_id, text in texts.items()}
    for members in complete.values():
        assert all(minhash.jaccard(sets[one], sets[other]) >= 0.8 for one in members for other in members)
    assert sum(map(len, complete.values())) >= 8


def test_what_a_star_drops_is_like_what_it_keeps(spark: SparkSession) -> None:
    """The ends of the chain were fetched first, so that it is taken apart from both."""
    texts = chain(9)
    fetched = {doc_id: datetime(2024, 1, 9 - abs(4 - number)) for number, doc_id in enumerate(texts)}
    star = clusters(spark, texts, ClusterParams("minhash", 0.8, geometry=GEOMETRY), fetched=fetched)
    sets = {doc_id: minhash.shingle_hashes(text or "", 1) for doc_id, text in texts.items()}
    first = [min(members, key=lambda doc_id: (fetched[doc_id], doc_id)) for members in star.values()]
    for founder, members in zip(first, star.values(), strict=True):
        assert all(minhash.jaccard(sets[founder], sets[member]) >= 0.8 for member in members)
    kept = [*first, *(set(texts) - set().union(*star.values()))]
    assert not [(one, other) for one, other in combinations(kept, 2) if minhash.jaccard(sets[one], sets[other]) >= 0.8]


def test_copies_follow_the_document_that_stands_for_them(spark: SparkSession) -> None:
    texts = chain(9)
    copied = texts | {f"copy of {doc_id}": (text or "").upper() + "." for doc_id, text in texts.items()}
    copied |= {"alone": "nothing like it", "again": "Nothing like it!"}
    alone, found = clusters(spark, texts, NEAR), clusters(spark, copied, NEAR)
    assert found.pop("again") == {"again", "alone"}
    together = {frozenset(m | {f"copy of {doc_id}" for doc_id in m}) for m in alone.values()}
    left_over = set(texts) - set().union(*alone.values())
    assert {frozenset(m) for m in found.values()} == together | {frozenset({d, f"copy of {d}"}) for d in left_over}


def test_what_was_taken_apart_is_not_read_again(spark: SparkSession) -> None:
    """The texts are gone, and the clusters of what has not changed are still told; another linkage finds none."""
    texts = {**chain(9), **{f"x{doc_id}": f"x{text}".replace(" ", " x") for doc_id, text in chain(7).items()}}
    documents = rows(spark, tables.DOCUMENTS, *[{"doc_id": each, "text": text} for each, text in texts.items()])
    indexed = document_minhash(documents, INDEX).localCheckpoint()
    nothing = [rows(spark, tables.CAPTURES), rows(spark, tables.DUPLICATE_PAIRS), rows(spark, tables.SEMANTIC_PAIRS)]
    candidates = duplicate_candidates(indexed, INDEX).localCheckpoint()
    pairs = duplicate_pairs(candidates, documents, nothing[1], INDEX).localCheckpoint()

    def found(texts: DataFrame, known: DataFrame, params: ClusterParams = NEAR) -> Any:
        made = duplicate_clusters(nothing[0], texts, indexed, pairs, nothing[2], known, params)
        return made.select(*tables.DUPLICATE_CLUSTERS.columns)

    first = found(documents, rows(spark, tables.DUPLICATE_CLUSTERS)).localCheckpoint()
    assert {row["evidence"] is None for row in first.collect()} == {False}
    gone = documents.withColumn("text", F.lit(""))
    assert sorted(found(gone, first).collect()) == sorted(first.collect())
    later = documents.withColumn(
        "fetch_time", F.when(F.col("doc_id") != "link04", F.lit(datetime(2024, 1, 2))).otherwise(datetime(2024, 1, 1))
    )
    other = rows(spark, tables.DUPLICATE_CLUSTERS)
    assert sorted(found(later, first).collect()) == sorted(found(later, other).collect())
    star = ClusterParams("minhash", 0.8, geometry=GEOMETRY)
    assert sorted(found(documents, first, star).collect()) == sorted(found(documents, other, star).collect())


def test_partitions_change_no_cluster(spark: SparkSession) -> None:
    rng = random.Random(2)
    words = [f"w{number}" for number in range(40)]
    texts: dict[str, str | None] = {
        f"{family}{number}": " ".join(rng.sample(words, 36)) + f" family{family} " * 2
        for family in range(4)
        for number in range(15)
    }
    assert clusters(spark, texts, NEAR, partitions=1) == clusters(spark, texts, NEAR, partitions=5)


def test_copies_share_a_hash_and_meanings_a_pair(spark: SparkSession) -> None:
    documents = rows(
        spark,
        tables.DOCUMENTS,
        *[
            {"doc_id": doc_id, "text": text, "text_hash": text}
            for doc_id, text in (("a", "One."), ("b", "One."), ("c", "one"))
        ],
        {"doc_id": "d"},
        {"doc_id": "e"},
    )
    captures = rows(
        spark,
        tables.CAPTURES,
        *[{"doc_id": doc_id, "content_digest": digest} for doc_id, digest in zip("abcde", "12223", strict=True)],
    )
    indexed, pairs = document_minhash(documents, INDEX), rows(spark, tables.DUPLICATE_PAIRS)
    meanings = rows(
        spark,
        tables.SEMANTIC_PAIRS,
        {"model": "m", "left_id": "a", "right_id": "d", "similarity": 0.8},
        {"model": "m", "left_id": "d", "right_id": "e", "similarity": 0.79},
        {"model": "other", "left_id": "b", "right_id": "c", "similarity": 0.9},
    )

    def members(method: str, **params: Any) -> set[str]:
        asked = ClusterParams(method, **params)
        known = rows(spark, tables.DUPLICATE_CLUSTERS)
        found = duplicate_clusters(captures, documents, indexed, pairs, meanings, known, asked).collect()
        return {row["doc_id"] for row in found}

    assert members("exact") == {"a", "b"}
    assert members("normal") == {"a", "b", "c"}
    assert members("payload") == {"b", "c"}
    assert members("semantic", linkage=CONNECTED, model="m") == {"a", "d"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "fuzzy"}, "method is 'fuzzy', wanted one of payload, exact, normal, minhash, semantic"),
        ({"similarity": 1.5}, "similarity is 1.5, wanted more than 0, at most 1"),
        ({"linkage": "single"}, "linkage is 'single', wanted star, complete or connected"),
        ({"method": "semantic"}, "method is 'semantic', wanted a model, and connected linkage"),
        ({"method": "minhash"}, "method is 'minhash' without a geometry to compare shingles by"),
    ],
)
def test_bad_params_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterParams(**values)
