"""Views: each says of the finished lake what plain Python says of the rows of its tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from etl import resources, sample, tables, views
from etl.errors import ContractError
from etl.lake import Lake


@pytest.fixture(scope="module")
def decided(lake: Lake) -> list[Row]:
    return lake.read(tables.DISPOSITIONS).collect()


@pytest.fixture
def by_hand(spark: SparkSession) -> Iterator[list[tuple[Any, ...]]]:
    """Put rows of hand-made dispositions in, and `query` asks the views about them and not about a lake."""
    rows: list[tuple[Any, ...]] = []
    yield rows
    spark.catalog.dropTempView("dispositions")


def query(spark: SparkSession, view: views.View, rows: list[tuple[Any, ...]]) -> list[Row]:
    columns = "recipe string, stage string, rule string, step int, tokens bigint, failed_rules array<string>"
    kept = "CASE WHEN rule IS NULL THEN 'kept' ELSE 'dropped' END AS decision"
    spark.createDataFrame(rows, columns).selectExpr("*", kept).createOrReplaceTempView("dispositions")
    return spark.sql(view.query).collect()


def rows_of(lake: Lake, view: views.View) -> list[Row]:
    return lake.spark.table(f"{lake.namespace}.{view.name}").collect()


def test_every_view_is_known() -> None:
    files = {path.stem for path in (resources.folder("schemas") / "views").glob("*.sql")}
    assert files == {view.name for view in views.ALL}


@pytest.mark.parametrize("view", views.ALL, ids=lambda view: view.name)
def test_a_view_and_its_columns_are_explained(view: views.View, lake: Lake) -> None:
    columns = lake.spark.sql(f"DESCRIBE {lake.namespace}.{view.name}").collect()
    assert not [row["col_name"] for row in columns if not row["comment"]]
    assert view.comment


def test_a_statement_of_another_form_is_refused() -> None:
    with pytest.raises(ContractError, match=r"odd\.sql: wanted CREATE OR REPLACE VIEW"):
        views.parse("CREATE VIEW odd AS SELECT 1", origin="odd.sql")


def test_opening_a_lake_leaves_the_current_namespace(lake: Lake) -> None:
    assert lake.spark.catalog.currentDatabase() == "default" != lake.namespace


def test_the_funnel_is_the_sum_of_the_dispositions(lake: Lake, decided: list[Row]) -> None:
    first, *steps, last = rows_of(lake, views.FUNNEL)
    dropped = Counter(row["rule"] for row in decided if row["rule"] is not None)
    tokens = Counter[str]()
    for row in decided:
        tokens[row["rule"]] += row["tokens"] or 0
    assert (first["rule"], first["documents_left"]) == ("read", len(decided))
    assert {row["rule"]: row["documents_dropped"] for row in steps} == dropped
    assert [row["tokens_dropped"] for row in steps] == [tokens[row["rule"]] for row in steps]
    for before, row in zip([first, *steps], [*steps, last], strict=True):
        assert row["documents_left"] == before["documents_left"] - row["documents_dropped"]
        assert row["tokens_left"] == before["tokens_left"] - row["tokens_dropped"]
    kept = [row["tokens"] for row in decided if row["decision"] == "kept"]
    assert (last["rule"], last["documents_left"], last["tokens_left"]) == ("kept", len(kept), sum(kept))


def test_the_funnel_follows_the_order_of_the_checks(lake: Lake, decided: list[Row]) -> None:
    steps = {row["rule"]: row["step"] for row in decided if row["rule"] is not None}
    rules = [row["rule"] for row in rows_of(lake, views.FUNNEL)[1:-1]]
    assert rules[0] == "record_type"
    assert [steps[rule] for rule in rules[1:]] == sorted(steps[rule] for rule in rules[1:])


def test_shares_of_the_funnel_are_of_pages(spark: SparkSession, by_hand: list[tuple[Any, ...]]) -> None:
    by_hand += [("a", "captures", "record_type", 2, None, ["record_type"])] * 5
    by_hand += [("a", "captures", "unreadable", 1, None, ["unreadable"])]
    by_hand += [("a", "document_quality", "few_words", 9, 3, ["few_words"])] * 2 + [("a", None, None, None, 10, [])]
    found = query(spark, views.FUNNEL, by_hand)
    assert [(row["place"], row["rule"], row["documents_left"], row["tokens_left"]) for row in found] == [
        (0, "read", 9, 16),
        (1, "record_type", 4, 16),
        (2, "unreadable", 3, 16),
        (3, "few_words", 1, 10),
        (4, "kept", 1, 10),
    ]
    assert [row["share_left"] for row in found] == [None, 1.0, 0.75, 0.25, 0.25]


def test_a_recipe_that_keeps_nothing_still_has_a_last_row(spark: SparkSession, by_hand: list[tuple[Any, ...]]) -> None:
    by_hand += [("none", "captures", "record_type", 2, None, ["record_type"]), ("all", None, None, None, 7, [])]
    found = [(row["recipe"], row["rule"], row["documents_left"]) for row in query(spark, views.FUNNEL, by_hand)]
    assert found == [
        ("all", "read", 1),
        ("all", "kept", 1),
        ("none", "read", 1),
        ("none", "record_type", 0),
        ("none", "kept", 0),
    ]


def test_rule_failures_count_a_page_for_every_rule_it_fails(
    spark: SparkSession, by_hand: list[tuple[Any, ...]]
) -> None:
    by_hand += [("a", "document_quality", "x", 9, 5, ["x", "y"]), ("a", "document_quality", "y", 10, 2, ["y"])]
    by_hand += [("a", None, None, None, 7, [])]
    found = {row["rule"]: tuple(row)[2:] for row in query(spark, views.RULE_FAILURES, by_hand)}
    assert found == {"x": (1, 5, 0, 0), "y": (2, 7, 1, 2)}


def test_hosts_are_counted_without_what_holds_no_page(lake: Lake, decided: list[Row]) -> None:
    pages, kept = Counter[str](), Counter[str]()
    drops: dict[tuple[str, str], int] = Counter()
    for row in decided:
        if row["rule"] != "record_type":
            pages[row["url_host_name"]] += 1
            kept[row["url_host_name"]] += row["decision"] == "kept"
            drops[row["url_host_name"], row["rule"]] += row["rule"] is not None
    shares = rows_of(lake, views.HOST_SHARES)
    assert {row["url_host_name"]: row["pages"] for row in shares} == pages
    assert {row["url_host_name"]: row["kept_documents"] for row in shares} == dict(kept)
    assert sum(row["kept_share"] for row in shares) == pytest.approx(1)
    by_rule = rows_of(lake, views.DROPS_BY_RULE_AND_HOST)
    assert {(row["url_host_name"], row["rule"]): row["documents"] for row in by_rule} == {
        key: count for key, count in drops.items() if count
    }
    assert all(row["host_pages"] == pages[row["url_host_name"]] for row in by_rule)


def test_language_shares_are_those_of_documents_with_text(lake: Lake, decided: list[Row]) -> None:
    tokens, kept = Counter[str](), Counter[str]()
    for row in decided:
        if row["tokens"] is not None:
            tokens[row["language"]] += row["tokens"]
            kept[row["language"]] += row["tokens"] if row["decision"] == "kept" else 0
    found = rows_of(lake, views.LANGUAGE_SHARES)
    assert {row["language"]: row["tokens"] for row in found} == tokens
    assert {row["language"]: row["kept_tokens"] for row in found} == kept
    assert sum(row["token_share"] for row in found) == pytest.approx(1)
    assert sum(row["kept_share"] for row in found) == pytest.approx(1)


def test_the_ledger_agrees_with_what_the_sample_wrote(lake: Lake, crawl: sample.Sample) -> None:
    written = {f"sample/{counts.warc_filename}": counts.records for counts in crawl.counts}
    found = rows_of(lake, views.LEDGER)
    assert {row["warc_filename"]: row["records"] for row in found} == written
    assert all(row["balances"] and row["dispositions"] == row["kept"] + row["dropped"] for row in found)


def test_an_archive_without_dispositions_does_not_balance(lake: Lake, spark: SparkSession) -> None:
    spark.createDataFrame([("a", 3), ("b", 2)], "warc_filename string, records bigint").createOrReplaceTempView(
        "warc_files"
    )
    decided = [("strict", "a", "kept"), ("strict", "a", "dropped"), ("strict", "a", "dropped"), ("strict", "c", "kept")]
    columns = "recipe string, warc_filename string, decision string"
    spark.createDataFrame(decided, columns).createOrReplaceTempView("dispositions")
    try:
        found = {row["warc_filename"]: tuple(row)[2:] for row in spark.sql(views.LEDGER.query).collect()}
    finally:
        spark.catalog.dropTempView("warc_files")
        spark.catalog.dropTempView("dispositions")
    assert found == {"a": (3, 3, 1, 2, True), "b": (2, 0, 0, 0, False), "c": (0, 1, 1, 0, False)}


def test_archive_health_adds_up_and_names_a_failure(lake: Lake) -> None:
    archives = lake.read(tables.WARC_FILES).collect()
    found = rows_of(lake, views.ARCHIVE_HEALTH)
    assert sum(row["archives"] for row in found) == len(archives)
    assert sum(row["bytes"] for row in found) == sum(row["bytes"] for row in archives)
    assert sum(row["with_errors"] for row in found) == sum(row["error"] is not None for row in archives) > 0
    truncated = next(row for row in found if row["status"] == "truncated")
    assert "truncated: " in truncated["example"]


DROPPED_BY = {"exact": "exact_duplicate", "minhash": "near_duplicate"}


def test_of_each_cluster_one_document_is_kept_and_named(lake: Lake, decided: list[Row]) -> None:
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in lake.read(tables.DUPLICATE_CLUSTERS).collect():
        members[row["method"], row["cluster_id"]].append(row["doc_id"])
    by_id = {row["doc_id"]: row for row in decided}
    found = rows_of(lake, views.DUPLICATES_KEPT)
    assert {(row["method"], row["cluster_id"]) for row in found} == set(members) and len(found) == len(members)
    for row in found:
        of_cluster = sorted(members[row["method"], row["cluster_id"]])
        kept = [doc_id for doc_id in of_cluster if by_id[doc_id]["decision"] == "kept"]
        copies = [doc_id for doc_id in of_cluster if by_id[doc_id]["rule"] == DROPPED_BY[row["method"]]]
        failed = [doc_id for doc_id in of_cluster if by_id[doc_id]["stage"] not in (None, "duplicate_clusters")]
        assert (row["kept"], row["copies"], row["failed"]) == (len(kept), len(copies), len(failed))
        assert row["kept_doc_id"] == (kept[0] if kept else None)
        assert row["kept_url"] == (by_id[kept[0]]["url"] if kept else None)
        assert row["tokens_saved"] == sum(by_id[doc_id]["tokens"] for doc_id in copies)
    assert {row["method"] for row in found if row["copies"]} == set(DROPPED_BY)


def test_evidence_says_what_was_measured_and_what_became_of_both(lake: Lake, decided: list[Row]) -> None:
    by_id = {row["doc_id"]: row for row in decided}
    cluster = {
        row["doc_id"]: row["cluster_id"]
        for row in lake.read(tables.DUPLICATE_CLUSTERS).where("method = 'minhash'").collect()
    }
    pairs = {(row["left_id"], row["right_id"]): row for row in lake.read(tables.DUPLICATE_PAIRS).collect()}
    found = {(row["left_id"], row["right_id"]): row for row in rows_of(lake, views.DUPLICATE_EVIDENCE)}
    assert found.keys() == pairs.keys()
    for ids, row in found.items():
        left, right = (by_id[doc_id] for doc_id in ids)
        for name in ("method", "similarity", "containment", "bands"):
            assert row[name] == pairs[ids][name]
        assert (row["left_url"], row["right_url"]) == (left["url"], right["url"])
        assert (row["left_fate"], row["right_fate"]) == (left["rule"] or "kept", right["rule"] or "kept")
        is_one = ids[0] in cluster and cluster[ids[0]] == cluster.get(ids[1])
        assert row["cluster_id"] == (cluster[ids[0]] if is_one else None)
        is_survivor = {"left": right["duplicate_of"] == ids[0], "right": left["duplicate_of"] == ids[1]}
        assert [side for side, is_it in is_survivor.items() if is_it] == [row["survivor"]] * (
            row["survivor"] is not None
        )
    assert {row["survivor"] for row in found.values()} >= {"left", "right"}
    assert any(row["cluster_id"] is None for row in found.values())


def test_a_cluster_whose_last_document_gives_way_elsewhere_has_not_failed(spark: SparkSession) -> None:
    """Two copies, of which the one that is left is nearly the text of another: it is dropped by the next method."""
    decided = [
        ("r", "a", "u/a", "dropped", "duplicate_clusters", "exact_duplicate", 5),
        ("r", "b", "u/b", "dropped", "duplicate_clusters", "near_duplicate", 7),
        ("r", "c", "u/c", "kept", None, None, 9),
        ("r", "d", "u/d", "dropped", "document_quality", "short", 1),
    ]
    columns = "recipe string, doc_id string, url string, decision string, stage string, rule string, tokens bigint"
    spark.createDataFrame(decided, columns).createOrReplaceTempView("dispositions")
    clusters = [("exact", each, "a", 2) for each in "ab"] + [("minhash", each, "a", 4) for each in "abcd"]
    columns = "method string, doc_id string, cluster_id string, cluster_size bigint"
    spark.createDataFrame(clusters, columns).createOrReplaceTempView("duplicate_clusters")
    try:
        found = {row["method"]: row for row in spark.sql(views.DUPLICATES_KEPT.query).collect()}
    finally:
        spark.catalog.dropTempView("dispositions")
        spark.catalog.dropTempView("duplicate_clusters")
    names = ("kept", "copies", "failed", "kept_url", "tokens_saved")
    assert {method: tuple(row[name] for name in names) for method, row in found.items()} == {
        "exact": (0, 1, 0, None, 5),
        "minhash": (1, 1, 1, "u/c", 7),
    }


def test_evidence_of_meaning_stands_beside_that_of_words(spark: SparkSession) -> None:
    frames = {
        "dispositions": (
            "recipe string, doc_id string, url string, decision string, rule string, duplicate_of string",
            [
                ("r", "a", "u/a", "dropped", "semantic_duplicate", "b"),
                ("r", "b", "u/b", "kept", None, None),
            ],
        ),
        "duplicate_pairs": (
            "method string, left_id string, right_id string, similarity double, containment double, bands array<int>",
            [("minhash", "a", "b", 0.5, 0.6, [3])],
        ),
        "semantic_pairs": ("model string, left_id string, right_id string, similarity double", [("m", "a", "b", 0.96)]),
        "duplicate_clusters": (
            "method string, doc_id string, cluster_id string",
            [
                ("semantic", "a", "a"),
                ("semantic", "b", "a"),
            ],
        ),
    }
    for name, (columns, values) in frames.items():
        spark.createDataFrame(values, columns).createOrReplaceTempView(name)
    try:
        found = {row["method"]: row for row in spark.sql(views.DUPLICATE_EVIDENCE.query).collect()}
    finally:
        for name in frames:
            spark.catalog.dropTempView(name)
    names = ("model", "similarity", "containment", "bands", "cluster_id", "left_fate", "right_fate", "survivor")
    fates = ("semantic_duplicate", "kept", "right")
    assert {method: tuple(row[name] for name in names) for method, row in found.items()} == {
        "minhash": (None, 0.5, 0.6, [3], None, *fates),
        "semantic": ("m", 0.96, None, None, "a", *fates),
    }


def test_annotations_have_every_signal_of_every_document(lake: Lake) -> None:
    rows = lake.spark.table(f"{lake.namespace}.{views.ANNOTATIONS.name}")
    signals = [*tables.DOCUMENT_QUALITY.columns, "language", "language_score", "tokens", "text_length"]
    assert set(signals) <= set(rows.columns)
    found = {row["doc_id"]: row["words"] for row in rows.collect()}
    assert found == {row["doc_id"]: row["words"] for row in lake.read(tables.DOCUMENT_QUALITY).collect()}
