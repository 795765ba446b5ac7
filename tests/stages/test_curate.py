"""A recipe decides about every record, once, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from etl import tables
from etl.stages.curate import Alarm, CorpusParams, Preference, Recipe, corpus, dispositions
from etl.stages.rules import Early, Rule, crawl_fits, fits
from etl.tables import Table

RECIPE = Recipe(
    name="short",
    description="English of at least three words",
    source="these tests",
    rules=(
        Rule("language", "language", one_of=("en",)),
        Rule("language_score", "language_score", min=0.65),
        Rule("min_words", "words", min=3),
        Rule("stop_words", "stop_words", min=2, languages=("en",)),
        Rule("lines", "lines", max=9, by_language={"fr": -1, "de": 99}),
        Rule("list", "url_list", one_of=("none",)),
    ),
)


def rows(spark: SparkSession, table: Table, *given: dict[str, Any]) -> Any:
    """Rows of a table from the columns that matter; the others are null, or empty where the contract forbids null."""
    filled = []
    for values in given:
        row = {field.name: _filler(field) for field in table.schema} | values
        filled.append(Row(**row))
    return spark.createDataFrame(filled, table.schema)


def _filler(field: Any) -> Any:
    if field.nullable:
        return None
    if field.dataType.simpleString().startswith("array"):
        return []
    return {"string": "", "bigint": 0, "int": 0, "double": 0.0, "boolean": False}[field.dataType.simpleString()]


def page(doc_id: str, offset: int, **values: Any) -> dict[str, Any]:
    row = {
        "doc_id": doc_id,
        "crawl": "c",
        "url": f"https://a.example/{doc_id}",
        "url_host_name": "a.example",
        "fetch_time": datetime(2024, 1, offset % 27 + 1),
        "fetch_status": 200,
        "content_mime_detected": "text/html",
        "warc_filename": "w",
        "warc_record_offset": offset,
        "warc_record_type": "response",
        "payload_length": 10,
    }
    return row | values


def addresses(spark: SparkSession, captures: list[dict[str, Any]], **lists: str) -> Any:
    """The signals of the URLs of captures; `lists` names those that are on one."""
    keys = [{"doc_id": row["doc_id"], "warc_filename": row["warc_filename"]} for row in captures]
    return rows(spark, tables.URL_SIGNALS, *[{**key, "url_list": lists.get(key["doc_id"], "none")} for key in keys])


def personal(spark: SparkSession, documents: Sequence[dict[str, Any]], **spans: list[dict[str, Any]]) -> Any:
    """The rows of document_pii: `spans` by doc_id, none for the others."""
    found = [
        {"doc_id": row["doc_id"], "warc_filename": "w", "spans": spans.get(row["doc_id"], [])} for row in documents
    ]
    return rows(spark, tables.DOCUMENT_PII, *found)


def annotated(doc_id: str, text: str, **values: Any) -> tuple[dict[str, Any], ...]:
    """The rows of documents, language, tokens and quality for one text."""
    keys = {"doc_id": doc_id, "warc_filename": "w"}
    return (
        {**keys, "text": text, "text_hash": text, "text_length": len(text), "extractor": "e"},
        {**keys, "language": values.get("language", "en"), "language_score": values.get("score", 0.9), "model": "m"},
        {**keys, "tokenizer": "gpt2", "tokens": len(text.split())},
        {**keys, "words": len(text.split()), "stop_words": values.get("stop_words", 2)},
    )


def judge(
    spark: SparkSession,
    captures: list[dict[str, Any]],
    texts: Sequence[tuple[dict[str, Any], ...]],
    clusters: Sequence[dict[str, Any]] = (),
    recipe: Recipe = RECIPE,
    *,
    others: Sequence[dict[str, Any]] = (),
    scores: Sequence[dict[str, Any]] = (),
    **lists: str,
) -> list[Row]:
    """The dispositions of captures; `texts` are rows of `annotated`, `others` documents without annotations."""
    documents, languages, tokens, quality = zip(*texts, strict=True)
    return dispositions(
        rows(spark, tables.CAPTURES, *captures),
        addresses(spark, captures, **lists),
        rows(spark, tables.DOCUMENTS, *documents, *others),
        rows(spark, tables.DOCUMENT_LANGUAGE, *languages),
        rows(spark, tables.DOCUMENT_TOKENS, *tokens),
        rows(spark, tables.DOCUMENT_QUALITY, *quality),
        personal(spark, documents),
        rows(spark, tables.DOCUMENT_CONTAMINATION),
        rows(spark, tables.DOCUMENT_ROBOTS),
        rows(spark, tables.DOCUMENT_SCORES, *scores),
        rows(spark, tables.DUPLICATE_CLUSTERS, *clusters),
        recipe,
    ).collect()


def cluster(method: str, *members: str) -> list[dict[str, Any]]:
    """The rows of one cluster of duplicates."""
    size = len(members)
    return [{"method": method, "doc_id": d, "cluster_id": min(members), "cluster_size": size} for d in members]


@pytest.fixture(scope="module")
def decided(spark: SparkSession) -> dict[str, Row]:
    captures = [
        page("kept", 1),
        page("first", 2),
        page("copy", 3),
        page("short", 4),
        page("french", 5),
        page("request", 6, warc_record_type="request", payload_length=None),
        page("missing", 7, fetch_status=404),
        page("image", 8, content_mime_detected="image/png"),
        page("broken", 9, warc_record_type="unreadable", ingest_error="truncated: the file ends here"),
        page("blank", 10),
        page("waiting", 11),
        page("empty", 12, payload_length=0),
        page("unscored", 13),
        page("nomime", 14, content_mime_detected=None),
        page("german", 15),
        page("ours_no_more", 16),
        page("listed", 17),
    ]
    texts = [
        annotated("kept", "the way of water"),
        annotated("first", "the same old song"),
        annotated("copy", "the same old song"),
        annotated("short", "of the", stop_words=1),
        annotated("french", "eau", language="fr", score=0.5),
        annotated("listed", "one two three"),
    ]
    blank = {
        "doc_id": "blank",
        "warc_filename": "w",
        "extractor": "e",
        "extract_error": "timeout: no result after 10 s",
    }
    why = {"stage": "documents", "rule": "language", "signal": "language", "detail": "language is de, wanted one of en"}
    german = {"doc_id": "german", "warc_filename": "w", "extractor": "e", "skipped": why, "page_language": "de"}
    lacking = {**german, "doc_id": "ours_no_more", "skipped": {**why, "rule": "gone"}}
    unscored = {"doc_id": "unscored", "warc_filename": "w", "extractor": "e", "text": "x", "text_hash": "x"}
    pair = {"method": "exact", "cluster_id": "copy", "cluster_size": 2}
    clusters = [{**pair, "doc_id": "first"}, {**pair, "doc_id": "copy"}]
    result = judge(spark, captures, texts, clusters, others=(blank, unscored, german, lacking), listed="bad")
    assert len(result) == len(captures)
    return {row["doc_id"]: row for row in result}


@pytest.mark.parametrize(
    ("doc_id", "stage", "rule", "detail"),
    [
        ("german", "documents", "language", "language is de, wanted one of en"),
        (
            "ours_no_more",
            "documents",
            "not_extracted",
            "left out by a rule that this recipe lacks, extract again: language is de, wanted one of en",
        ),
        ("listed", "url_signals", "list", "url_list is bad, wanted one of none"),
        ("copy", "duplicate_clusters", "exact_duplicate", "the same text as first"),
        ("short", "document_quality", "min_words", "words is 2, wanted at least 3"),
        ("french", "document_language", "language", "language is fr, wanted one of en"),
        ("request", "captures", "record_type", "warc_record_type is request"),
        ("missing", "captures", "fetch_status", "fetch_status is 404"),
        ("image", "captures", "mime_type", "content_mime_detected is image/png"),
        ("nomime", "captures", "mime_type", "content_mime_detected is missing"),
        ("broken", "captures", "unreadable", "ingest_error is truncated: the file ends here"),
        ("blank", "documents", "extract_timeout", "timeout: no result after 10 s"),
        ("waiting", "documents", "not_extracted", "not extracted yet"),
        ("empty", "captures", "empty_payload", "payload_length is 0"),
        ("unscored", "document_language", "not_annotated", "not annotated yet"),
    ],
)
def test_a_drop_says_why(decided: dict[str, Row], doc_id: str, stage: str, rule: str, detail: str) -> None:
    row = decided[doc_id]
    assert (row["decision"], row["stage"], row["rule"], row["detail"]) == ("dropped", stage, rule, detail)


def test_what_passes_every_rule_is_kept(decided: dict[str, Row]) -> None:
    assert {doc_id for doc_id, row in decided.items() if row["decision"] == "kept"} == {"kept", "first"}
    assert (decided["kept"]["rule"], decided["kept"]["failed_rules"]) == (None, [])


def test_value_and_threshold_are_numbers(decided: dict[str, Row]) -> None:
    assert (decided["short"]["value"], decided["short"]["threshold"]) == (2.0, 3.0)
    assert (decided["missing"]["value"], decided["missing"]["threshold"]) == (404.0, None)


def test_all_failed_rules_are_listed(decided: dict[str, Row]) -> None:
    assert decided["short"]["failed_rules"] == ["min_words", "stop_words"]
    assert decided["french"]["failed_rules"] == ["language", "language_score", "min_words", "lines"], (
        "stop words count in English, and French has a bound of its own"
    )
    assert decided["missing"]["failed_rules"] == ["fetch_status"], "a page that was not fetched is not measured"


def test_a_page_that_was_left_out_has_the_language_of_all_its_text(decided: dict[str, Row]) -> None:
    assert (decided["german"]["language"], decided["german"]["tokens"]) == ("de", None)
    assert decided["german"]["failed_rules"] == ["language"], "nothing else was measured"


SCOPED = replace(
    RECIPE,
    rules=(
        Rule("language", "language", one_of=("en",), except_crawls=("code:*",)),
        Rule("min_words", "words", min=3, crawls=("CC-*", "web"), except_crawls=("CC-old",)),
        Rule("quality", "quality.score", min=0.5, crawls=("CC-*",)),
    ),
    duplicates=(),
)


def test_a_rule_is_asked_of_the_crawls_that_it_is_about(spark: SparkSession) -> None:
    texts = [annotated(doc_id, text, language="fr") for doc_id, text in (("web", "x"), ("code", "x"), ("old", "x"))]
    texts.append(annotated("cc", "one two three"))
    captures = [
        page("web", 1, crawl="web"),
        page("code", 2, crawl="code:x"),
        page("old", 3, crawl="CC-old"),
        page("cc", 4, crawl="CC-MAIN-2024-10"),
    ]
    found = {row["doc_id"]: row for row in judge(spark, captures, texts, recipe=SCOPED)}
    assert {doc_id: row["failed_rules"] for doc_id, row in found.items()} == {
        "web": ["language", "min_words"],
        "code": [],
        "old": ["language"],
        "cc": ["not_scored"],
    }
    assert found["code"]["decision"] == "kept", "no rule on a score is about it, so it waits for none"


def test_a_page_that_was_left_out_by_a_rule_about_others_is_to_be_extracted_again(spark: SparkSession) -> None:
    why = {"stage": "documents", "rule": "language", "signal": "language", "detail": "language is fr"}
    skipped = [{"doc_id": doc_id, "warc_filename": "w", "extractor": "e", "skipped": why} for doc_id in ("code", "web")]
    captures = [page("code", 1, crawl="code:x"), page("web", 2, crawl="web"), page("cc", 3, crawl="CC-1")]
    texts = [annotated("cc", "one two three")]
    rules = {row["doc_id"]: row["rule"] for row in judge(spark, captures, texts, recipe=SCOPED, others=skipped)}
    assert rules == {"code": "not_extracted", "web": "language", "cc": "not_scored"}


PATTERNS = ["*", "code:*", "*:x", "CC-*-10", "100%", "a_b", "a\\*", "a*b*", "[a]?"]
CRAWLS = [
    "",
    "code:x",
    "code:",
    "codes",
    "CC-MAIN-2024-10",
    "CC-10",
    "100%",
    "100x",
    "a_b",
    "axb",
    "a\\c",
    "a-b-",
    "[a]?",
]


def test_patterns_of_crawls_fit_the_same_in_python_and_in_spark(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(crawl,) for crawl in CRAWLS], "crawl string")
    columns = [crawl_fits([pattern]).alias(str(place)) for place, pattern in enumerate(PATTERNS)]
    for row in frame.select("crawl", *columns).collect():
        assert list(row)[1:] == [fits(row["crawl"], [pattern]) for pattern in PATTERNS]
    assert [crawl for crawl in CRAWLS if fits(crawl, ["a_b", "a\\*", "CC-*-10", "[a]?"])] == [
        *("CC-MAIN-2024-10", "a_b", "a\\c", "[a]?")
    ]


def test_names_of_crawls_that_no_crawl_has_are_known() -> None:
    recipe = replace(SCOPED, as_is=("books:*", "code:*"))
    assert recipe.unmatched(["web", "code:linux"]) == ("books:*", "CC-*", "CC-old")
    with pytest.raises(ValueError, match="an empty list or name of crawls"):
        Rule("r", "words", min=1, crawls=())


def test_a_rule_says_the_same_in_python_and_in_spark(spark: SparkSession) -> None:
    """Of every kind of bound, at it and on both sides, for a language with a bound of its own and others."""
    rules = [
        Rule("low", "words", min=3, by_language={"de": 4}),
        Rule("high", "words", max=3, by_language={"de": 2}),
        Rule("some", "words", min=4, languages=("en", "de")),
        Rule("named", "language", one_of=("en", "de")),
        Rule("banned", "language", none_of=("en",)),
    ]
    values = [(language, words) for language in ("en", "de", "fr", None) for words in (2, 3, 4, None)]
    frame = spark.createDataFrame(values, "language string, words bigint")
    for row in frame.select("*", *[(~rule.fails()).alias(rule.name) for rule in rules]).collect():
        assert [row[rule.name] for rule in rules] == [rule.passes(row[rule.signal], row["language"]) for rule in rules]


def test_only_rules_that_no_main_text_could_satisfy_are_tried_early() -> None:
    early = Early(Early.of(RECIPE.rules))
    assert [rule.name for rule in early.rules] == ["language", "list"]
    sure = {"language": "fr", "language_score": 0.9, "crawl": "code:x"}
    assert early.rejects({**sure, "language_score": 0.5}) is None
    assert early.rejects({**sure, "language": "en"}) is None
    assert not early.asks_crawl and Early(SCOPED.rules[:1]).asks_crawl
    assert Early(SCOPED.rules[:1]).rejects(sure) is None, "code is spared"
    found = early.rejects(sure)
    assert found is not None
    assert (found.stage, found.rule, found.value) == ("documents", "language", None)
    assert found.detail == "language is fr (score 0.90) in all text that the page shows, wanted one of en"


def test_the_copy_names_the_survivor(decided: dict[str, Row]) -> None:
    assert decided["copy"]["duplicate_of"] == "first"
    assert decided["first"]["duplicate_of"] is None


def test_a_copy_that_fails_a_rule_is_no_survivor(spark: SparkSession) -> None:
    """The first fetched has the wrong language by its score; the other copy must not go down with it."""
    texts = [annotated("early", "one two three", score=0.1), annotated("late", "one two three")]
    result = judge(spark, [page("early", 1), page("late", 2)], texts, cluster("exact", "early", "late"))
    decisions = {row["doc_id"]: (row["decision"], row["rule"]) for row in result}
    assert decisions == {"early": ("dropped", "language_score"), "late": ("kept", None)}


NEAR = replace(RECIPE, duplicates=("exact", "minhash"))
# Copies: first and copy. Like them: near, and the others as they are used.
ALIKE = ("first", "copy", "near", "far")


@pytest.fixture(scope="module")
def alike(spark: SparkSession) -> Any:
    """What becomes of four documents with one family under a recipe, by doc_id."""
    captures = [page(doc_id, place, crawl=f"crawl {place}") for place, doc_id in enumerate(ALIKE, start=1)]
    captures[1]["fetch_time"] = None  # of `copy`
    texts = [annotated(doc_id, "one two three" + " four" * place) for place, doc_id in enumerate(ALIKE)]

    def found(recipe: Recipe, *clusters: dict[str, Any]) -> dict[str, Row]:
        return {row["doc_id"]: row for row in judge(spark, captures, texts, clusters, recipe)}

    return found


def fates(found: dict[str, Row]) -> dict[str, tuple[Any, ...]]:
    return {doc_id: (row["rule"], row["duplicate_of"], row["stands_for"]) for doc_id, row in found.items()}


def test_methods_are_asked_in_order_and_the_survivor_stands_for_all(alike: Any) -> None:
    found = alike(NEAR, *cluster("exact", "first", "copy"), *cluster("minhash", "first", "copy", "near"))
    assert fates(found) == {
        "first": (None, None, 3),
        "copy": ("exact_duplicate", "first", None),
        "near": ("near_duplicate", "first", None),
        "far": (None, None, 1),
    }
    near = found["near"]
    assert (near["detail"], near["value"], near["failed_rules"]) == ("nearly the text of first", 3, ["near_duplicate"])
    assert near["step"] == found["copy"]["step"] + 1


def test_a_survivor_of_copies_can_give_way_to_a_near_duplicate(alike: Any) -> None:
    """The one preferred of the copies is `copy`, of those that are left `near`, which stands for all three."""
    recipe = replace(NEAR, survivor=(Preference("doc_id", first=("near", "copy")),))
    found = alike(recipe, *cluster("exact", "first", "copy"), *cluster("minhash", "first", "copy", "near"))
    assert fates(found) == {
        "first": ("exact_duplicate", "copy", None),
        "copy": ("near_duplicate", "near", None),
        "near": (None, None, 3),
        "far": (None, None, 1),
    }


def test_a_method_that_is_not_asked_for_drops_nothing(alike: Any) -> None:
    clusters = [*cluster("minhash", *ALIKE), *cluster("payload", *ALIKE)]
    assert all(row["decision"] == "kept" and row["stands_for"] == 1 for row in alike(RECIPE, *clusters).values())
    everything = replace(RECIPE, duplicates=())
    assert {row["decision"] for row in alike(everything, *clusters, *cluster("exact", *ALIKE)).values()} == {"kept"}


@pytest.mark.parametrize(
    ("preferences", "kept"),
    [
        ((), "copy"),  # the smallest doc_id
        ((Preference(),), "first"),
        ((Preference("fetch_time", "most"),), "far"),
        ((Preference("words", "most"),), "far"),
        ((Preference("crawl", first=("crawl 9", "crawl 3")),), "near"),
        ((Preference("stop_words"), Preference("words", "least")), "first"),  # all have two
        ((Preference("lines", "most"), Preference("fetch_time", "most")), "far"),  # all have none
    ],
)
def test_the_one_that_the_recipe_prefers_is_kept(alike: Any, preferences: Any, kept: str) -> None:
    found = alike(replace(NEAR, survivor=preferences), *cluster("minhash", *ALIKE))
    assert {doc_id for doc_id, row in found.items() if row["decision"] == "kept"} == {kept}
    assert found[kept]["stands_for"] == 4


def test_what_cannot_be_preferred_or_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="prefer is 'best', wanted least or most"):
        Preference(prefer="best")
    with pytest.raises(ValueError, match="survivor reads 'beauty', which no table of signals has"):
        Preference("beauty")
    with pytest.raises(ValueError, match="alarm is by 'words', wanted one of doc_id, crawl"):
        Alarm(by="words")
    with pytest.raises(ValueError, match=r"duplicates is \['minhash', 'exact'\], wanted some of .* in this order"):
        replace(RECIPE, duplicates=("minhash", "exact"))


def test_corpus_holds_the_kept_texts_without_removed_lines(spark: SparkSession) -> None:
    text = "This line is a whole sentence.\nMenu\nAnd this one is a sentence too."
    recipe = Recipe("clean", "c4 lines", "these tests", (), remove_lines="c4")
    kept = {"recipe": "clean", "doc_id": "a", "decision": "kept", "stands_for": 3}
    dropped = {"recipe": "clean", "doc_id": "b", "decision": "dropped", "rule": "x"}
    elsewhere = {"recipe": "other", "doc_id": "b", "decision": "kept"}
    texts = [annotated("a", text), annotated("b", text)]
    documents, languages, tokens, _quality = zip(*texts, strict=True)
    by = {"doc_id": "a", "text_hash": text, "scorer": "quality"}
    said = [
        {**by, "model": "quality@1", "score": 0.5},
        {**by, "model": "quality@2", "score": 0.6},
        {**by, "model": "edu@1", "score": None, "error": "too_long"},
        {**by, "model": "edu@1", "score": 3.0, "text_hash": "of an older text"},
    ]
    found = corpus(
        rows(spark, tables.DISPOSITIONS, kept, dropped, elsewhere),
        rows(spark, tables.DOCUMENTS, *documents),
        rows(spark, tables.DOCUMENT_LANGUAGE, *languages),
        rows(spark, tables.DOCUMENT_TOKENS, *tokens),
        personal(spark, documents),
        rows(spark, tables.DOCUMENT_REPEATS),
        rows(spark, tables.DOCUMENT_SCORES, *said),
        CorpusParams(recipe, "bytes", {"quality": "quality@1", "edu": "edu@1"}),
    ).collect()
    kept_text = "This line is a whole sentence.\nAnd this one is a sentence too."
    assert [(row["doc_id"], row["text"], row["tokens"]) for row in found] == [("a", kept_text, len(kept_text))]
    assert (found[0]["stands_for"], found[0]["scores"]) == (3, {"quality": 0.5})


def test_personal_data_is_masked_before_lines_are_removed(spark: SparkSession) -> None:
    text = "Write to ann@example.org or call\nThe office of Ann is at ann@example.org today."
    recipe = Recipe("masked", "m", "these tests", (), remove_lines="c4", mask=("email",), as_is=("code:*",))
    kept = [{"recipe": "masked", "doc_id": doc_id, "decision": "kept"} for doc_id in ("a", "b", "code")]
    texts = [annotated("a", text), annotated("b", "As it was before."), annotated("code", text)]
    documents, languages, tokens, _quality = zip(*texts, strict=True)
    documents[2]["crawl"] = "code:x"
    at = text.rindex("ann@")
    spans = [{"kind": "email", "start": at, "end": at + len("ann@example.org")}]
    found = corpus(
        rows(spark, tables.DISPOSITIONS, *kept),
        rows(spark, tables.DOCUMENTS, *documents),
        rows(spark, tables.DOCUMENT_LANGUAGE, *languages),
        rows(spark, tables.DOCUMENT_TOKENS, *tokens),
        personal(spark, documents, a=spans, code=spans),
        rows(spark, tables.DOCUMENT_REPEATS),
        rows(spark, tables.DOCUMENT_SCORES),
        CorpusParams(recipe, tokenizer="bytes"),
    ).collect()
    texts = {row["doc_id"]: (row["text"], row["tokens"]) for row in found}
    masked = "The office of Ann is at <email> today."
    assert texts["a"] == (masked, len(masked))
    assert texts["b"][0] == "As it was before."
    assert texts["code"][0] == text, "nothing is done to texts of such a crawl"


SCORED = replace(
    RECIPE,
    duplicates=(),
    rules=(
        *RECIPE.rules,
        Rule("quality", "quality.score", min=0.5),
        Rule("edu", "edu.level", min=3),
    ),
    scorers={"quality": "quality@1", "edu": "edu@7"},
)


def said(doc_id: str, model: str, score: float | None, text: str = "one two three", **values: Any) -> dict[str, Any]:
    """A row of document_scores; `text` is also its hash, as in `annotated`."""
    keys = {"doc_id": doc_id, "warc_filename": "w", "text_hash": text, "scorer": model.partition("@")[0]}
    return {**keys, "model": model, "score": score, **values}


def by_score(spark: SparkSession, *scores: dict[str, Any], text: str = "one two three") -> Row:
    """What SCORED decides about one page that passes every other rule."""
    return judge(spark, [page("a", 1)], [annotated("a", text)], recipe=SCORED, scores=scores)[0]


def test_a_document_waits_for_the_first_model_that_has_not_scored_it(spark: SparkSession) -> None:
    row = by_score(spark)
    assert (row["decision"], row["stage"], row["rule"], row["signal"], row["failed_rules"]) == (
        "dropped",
        "document_scores",
        "not_scored",
        "quality",
        ["not_scored"],
    )
    assert row["detail"] == "no score by quality@1 yet"
    row = by_score(spark, said("a", "quality@1", 0.5))
    assert (row["rule"], row["signal"], row["failed_rules"]) == ("not_scored", "edu", ["not_scored"])


def test_scores_decide_like_any_signal(spark: SparkSession) -> None:
    row = by_score(spark, said("a", "quality@1", 0.5), said("a", "edu@7", 2.6, level=3))
    assert (row["decision"], row["failed_rules"]) == ("kept", [])
    row = by_score(spark, said("a", "quality@1", 0.25), said("a", "edu@7", 2.4, level=2))
    assert (row["rule"], row["value"], row["threshold"], row["failed_rules"]) == (
        "quality",
        0.25,
        0.5,
        ["quality", "edu"],
    )
    assert row["detail"] == "quality.score is 0.25, wanted at least 0.5"


def test_a_document_that_fails_a_rule_before_needs_no_model(spark: SparkSession) -> None:
    row = by_score(spark, text="one two")
    assert (row["rule"], row["failed_rules"]) == ("min_words", ["min_words"])


def test_a_document_without_a_score_fails_and_says_why(spark: SparkSession) -> None:
    row = by_score(
        spark, said("a", "quality@1", None, error="too_long: 30,000 bytes"), said("a", "edu@7", 4.0, level=4)
    )
    assert (row["rule"], row["detail"]) == ("quality", "quality.score is too_long: 30,000 bytes, wanted at least 0.5")


@pytest.mark.parametrize(
    "other",
    [said("a", "quality@2", 0.9), said("a", "quality@1", 0.9, text="an older text"), said("b", "quality@1", 1.0)],
)
def test_scores_of_another_model_text_or_document_do_not_count(spark: SparkSession, other: dict[str, Any]) -> None:
    assert by_score(spark, other)["rule"] == "not_scored"


def test_of_duplicates_the_one_with_the_best_score_is_kept(spark: SparkSession) -> None:
    recipe = replace(NEAR, survivor=(Preference("quality.score", "most"),), scorers={"quality": "quality@1"})
    texts = [annotated(doc_id, "one two three") for doc_id in ("first", "second")]
    scores = [said("first", "quality@1", 0.2), said("second", "quality@1", 0.3)]
    captures = [page("first", 1), page("second", 2)]
    found = judge(spark, captures, texts, cluster("exact", "first", "second"), recipe, scores=scores)
    assert {row["doc_id"]: row["duplicate_of"] for row in found} == {"first": "second", "second": None}


def test_rules_on_scores_stand_last() -> None:
    with pytest.raises(ValueError, match="rule 'late' stands after a rule on a score, wanted scores last"):
        replace(SCORED, rules=(*SCORED.rules, Rule("late", "words", min=1)))


def test_a_scorer_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="scorers names 'quality', which no rule and no preference reads"):
        replace(RECIPE, scorers={"quality": "quality@1"})
