"""Training sets: the same rows in the same order, whatever the partitions."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from etl import config, tables
from etl.errors import ConfigError, InputError
from etl.stages.mix import (
    DOCUMENTS,
    EXAMPLES,
    TRAINING_SETS,
    ManifestParams,
    Mixture,
    Source,
    Tier,
    TrainingSetParams,
    can_be_met,
    content,
    training_documents,
    training_examples,
)


def corpus_of(spark: SparkSession, n: int) -> DataFrame:
    rows = [
        ("r", f"{hashlib.md5(str(i).encode()).hexdigest()}", f"text {i}", "en" if i % 3 else "de", 5 + i % 7, 1 + i % 4)
        for i in range(n)
    ]
    rows.append(("another recipe", "0" * 32, "not ours", "en", 1, 1))
    schema = "recipe string, doc_id string, text string, language string, tokens bigint, stands_for bigint"
    return spark.createDataFrame(rows, schema)


def schema_of(table: tables.Table, columns: list[str]) -> StructType:
    return StructType([table.schema[column] for column in columns])


def drawn(corpus: DataFrame, mixture: Mixture) -> list[tuple[Any, ...]]:
    rows = training_documents(corpus, TrainingSetParams("set", "r", mixture)).orderBy("position").collect()
    assert [row["position"] for row in rows] == list(range(len(rows)))
    return [(row["source"], row["doc_id"], row["text"], row["tokens"]) for row in rows]


ALL = Mixture("all", (Source("web"),))
TWO = Mixture(
    "two", (Source("german", "language = 'de'", 0.25), Source("english", "language = 'en'", 0.75)), tokens=1600
)


@pytest.mark.parametrize("mixture", [ALL, TWO], ids=lambda mixture: mixture.name)
def test_any_number_of_partitions_gives_the_same_bytes(spark: SparkSession, mixture: Mixture) -> None:
    corpus = corpus_of(spark, 400).localCheckpoint()
    hashes = set()
    for partitions in (1, 2, 4, 7):
        rows = training_documents(corpus.repartition(partitions), TrainingSetParams("set", "r", mixture))
        row = content(rows.repartition(partitions)).collect()[0]
        hashes.add((row["content_hash"], row["documents"], row["tokens"]))
    assert len(hashes) == 1


def test_order_is_that_of_the_hashed_ids(spark: SparkSession) -> None:
    found = [doc_id for _, doc_id, _, _ in drawn(corpus_of(spark, 300), ALL)]
    assert found == sorted(found, key=lambda doc_id: hashlib.sha256(f"1 {doc_id}".encode()).hexdigest())
    assert len(found) == 300


def test_another_seed_is_another_order_of_the_same_documents(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 60)
    first, second = drawn(corpus, ALL), drawn(corpus, Mixture("all", (Source("web"),), seed=2))
    assert first != second
    assert sorted(first) == sorted(second)


def test_each_source_fills_its_share(spark: SparkSession) -> None:
    rows = drawn(corpus_of(spark, 400), TWO)
    sums = {name: sum(t for source, _, _, t in rows if source == name) for name in ("german", "english")}
    assert 400 - 11 < sums["german"] <= 400
    assert 1200 - 11 < sums["english"] <= 1200


def test_a_smaller_budget_is_a_prefix_of_a_larger_one(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 200)
    small, large = (drawn(corpus, Mixture("m", (Source("web"),), tokens=n)) for n in (300, 900))
    assert small == large[: len(small)]
    assert 0 < len(small) < len(large)


REPEATED = Mixture(
    "repeated",
    (
        Source("german", "language = 'de'", 0.5, epochs=3),
        Source("english", "language = 'en'", 0.5, tiers=(Tier("tokens = 5", 3), Tier("tokens = 6", 2))),
    ),
    tokens=1600,
)


def test_every_beginning_of_a_set_has_its_shares_and_is_a_smaller_set(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 200)
    large, small = drawn(corpus, REPEATED), drawn(corpus, replace(REPEATED, tokens=700))
    assert small == large[: len(small)]
    sums = {"german": 0, "english": 0}
    for source, _, _, tokens in large:
        sums[source] += tokens
        assert abs(sums["german"] - sums["english"]) <= 2 * 11
    assert 1600 - 22 < sum(sums.values()) <= 1600


def test_a_source_is_read_again_only_when_it_is_used_up(spark: SparkSession) -> None:
    rows = training_documents(corpus_of(spark, 200), TrainingSetParams("set", "r", REPEATED)).orderBy("position")
    found = [(row["source"], row["doc_id"], row["epoch"], row["tokens"]) for row in rows.collect()]
    german = [(doc_id, epoch) for source, doc_id, epoch, _ in found if source == "german"]
    assert german == sorted(german, key=lambda row: row[1]), "one pass after the other"
    assert Counter(epoch for _, epoch in german)[1] == 67
    assert {epoch for _, epoch in german} == {1, 2}, "two passes are enough, though three are allowed"
    assert len(set(german)) == len(german)


def test_passes_follow_each_other_however_many(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("web", epochs=12),), tokens=5 * 7 * 11)
    rows = training_documents(corpus_of(spark, 5), TrainingSetParams("set", "r", mixture)).orderBy("position").collect()
    assert [row["epoch"] for row in rows] == sorted(epoch for epoch in range(1, 12) for _ in range(5))


def test_tiers_and_clusters_say_how_often_a_row_stands_in_a_pass(spark: SparkSession) -> None:
    source = Source("all", tiers=(Tier("tokens = 5", 2),), rehydrate=((1, 1), (2, 2), (4, 1)))
    rows = training_documents(corpus_of(spark, 100), TrainingSetParams("set", "r", Mixture("m", (source,)))).collect()
    wanted = {f"text {i}": (2 if i % 7 == 0 else 1) * {0: 1, 1: 2, 2: 2, 3: 1}[i % 4] for i in range(100)}
    assert Counter(row["text"] for row in rows) == wanted
    by_text: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        by_text.setdefault(row["text"], []).append((row["position"], row["epoch"]))
    assert all([epoch for _, epoch in sorted(places)] == list(range(1, len(places) + 1)) for places in by_text.values())


def test_better_documents_stand_more_often(spark: SparkSession) -> None:
    """The shipped tiers on scores of tenths, of which some documents have none."""
    score = F.when(F.col("tokens") != 5, (F.col("tokens") - 5) / 6)
    scores = F.map_filter(F.create_map(F.lit("quality"), score), lambda _, value: value.isNotNull())
    corpus = corpus_of(spark, 210).withColumn("scores", scores)
    mixture = replace(config.load(config.find("mixtures", "quality-tiers"), Mixture), held_out=0.0)
    params = TrainingSetParams("set", "r", mixture)
    can_be_met(DOCUMENTS, corpus, params)
    counts = training_documents(corpus, params).groupBy("doc_id", "tokens").count().collect()
    assert {(row["tokens"], row["count"]) for row in counts} == {
        (5, 1),
        (6, 1),
        (7, 1),
        (8, 2),
        (9, 2),
        (10, 4),
        (11, 4),
    }
    misspelt = replace(mixture, sources=(Source("web", tiers=(Tier("scores['qualty'] > 0", 2),)),))
    with pytest.raises(InputError, match=r"no document has a score by 'qualty', found \['quality'\]"):
        can_be_met(DOCUMENTS, corpus, replace(params, mixture=misspelt))


def test_shares_are_met_within_half_a_percent(spark: SparkSession) -> None:
    ids = F.md5(F.col("id").cast("string"))
    corpus = spark.range(60_000).select(
        F.lit("r").alias("recipe"), ids.alias("doc_id"), F.lit("x").alias("text"), (5 + F.col("id") % 7).alias("tokens")
    )
    crawl = F.concat(F.element_at(F.array(*map(F.lit, KINDS_OF_TEXT)), (F.col("tokens") - 4).cast("int")), F.lit(":x"))
    mixture = replace(config.load(config.find("mixtures", "brief-optimised"), Mixture), tokens=50_000)
    row = manifest_of(corpus.withColumn("crawl", crawl), mixture)
    assert {share["source"] for share in row["shares"]} == {"web", "code", "math", "books", "academic"}
    assert all(abs(share["share"] / share["asked_share"] - 1) < 0.005 for share in row["shares"])


KINDS_OF_TEXT = ("code", "math", "books", "academic", "web", "CC-MAIN-2024-10", "local")
BRIEF = {
    "brief-baseline": {"web": 0.80, "code": 0.05, "math": 0.02, "books": 0.08, "academic": 0.05},
    "brief-optimised": {"web": 0.50, "code": 0.20, "math": 0.10, "books": 0.12, "academic": 0.08},
}


@pytest.mark.parametrize("name", BRIEF)
def test_the_mixtures_of_the_brief_are_shipped(name: str) -> None:
    mixture = config.load(config.find("mixtures", name), Mixture)
    assert {source.name: source.share for source in mixture.sources} == BRIEF[name]


@pytest.mark.parametrize(
    ("mixture", "problem"),
    [
        ({"sources": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.4}]}, "shares add up to 0.9, wanted 1"),
        (
            {"sources": [{"name": "a"}, {"name": "b"}]},
            r"sources \['a', 'b'\] have no share, and there is no temperature",
        ),
        ({"temperature": 2, "sources": [{"name": "a", "share": 1}]}, "and a temperature, wanted one of the two"),
        ({"sources": [{"name": "a", "epochs": 0}]}, "source 'a' has epochs 0, wanted at least 1"),
        ({"sources": [{"name": "a", "rehydrate": [[1, 0]]}]}, "wanted pairs of a size and copies"),
        ({"sources": [{"name": "a"}], "short": "maybe"}, "short is 'maybe', wanted one of error, allow"),
    ],
)
def test_a_mixture_that_says_nonsense_is_refused(mixture: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config.build({"name": "m", **mixture}, Mixture, origin="m.yaml")


def test_a_document_is_drawn_for_the_first_source_it_fits(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("few", "tokens < 7", 0.5), Source("rest", "true", 0.5)), tokens=10**6)
    rows = drawn(corpus_of(spark, 100), mixture)
    assert len(rows) == 100
    assert all((source == "few") == (count < 7) for source, _, _, count in rows)


def test_the_hash_sees_text_and_order(spark: SparkSession) -> None:
    schema = "position bigint, source string, doc_id string, text string, tokens bigint"
    rows = [(0, "w", "a", "x", 1), (1, "w", "b", "y", 1)]
    variants = [rows, [(0, "w", "b", "y", 1), (1, "w", "a", "x", 1)], [(0, "w", "a", "x", 1), (1, "w", "b", "z", 1)]]
    hashes = {content(spark.createDataFrame(variant, schema)).collect()[0]["content_hash"] for variant in variants}
    assert len(hashes) == 3


def test_an_empty_set_has_a_hash(spark: SparkSession) -> None:
    row = content(training_documents(corpus_of(spark, 0), TrainingSetParams("set", "r", ALL))).collect()[0]
    assert (len(row["content_hash"]), row["documents"], row["tokens"]) == (64, 0, 0)


def manifest_of(corpus: DataFrame, mixture: Mixture, *, held_out: bool = False) -> Any:
    params = TrainingSetParams("set", "r", mixture, held_out=held_out)
    rows = training_documents(corpus, params).localCheckpoint()  # the manifest reads them twice
    made = TRAINING_SETS["documents"].transform(rows, corpus, ManifestParams(params, "documents", "{}", "", "", "gpt2"))
    return made.collect()[0]


def test_without_a_budget_the_scarcest_source_decides(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("german", "language = 'de'", 0.5), Source("english", "language = 'en'", 0.5)))
    row = manifest_of(corpus_of(spark, 400), mixture)
    german, english = row["shares"]
    assert german["tokens"] == german["available_tokens"] == german["asked_tokens"] == english["asked_tokens"]
    assert english["asked_tokens"] - 11 < english["tokens"] <= english["asked_tokens"] < english["available_tokens"]
    assert row["tokens"] == german["tokens"] + english["tokens"]


def test_a_share_that_cannot_be_met_is_said(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("few", "tokens = 5", 0.5), Source("rest", "tokens > 5", 0.5)), tokens=2000)
    few, rest = manifest_of(corpus_of(spark, 400), mixture)["shares"]
    assert few["tokens"] == few["available_tokens"] < few["asked_tokens"] == 1000
    assert 1000 - 11 < rest["tokens"] <= 1000, "what one source lacks is not taken from another"
    assert few["share"] == few["tokens"] / (few["tokens"] + rest["tokens"]) < few["asked_share"]


def test_the_manifest_says_what_was_repeated_and_what_a_temperature_asked(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 200)
    german, english = manifest_of(corpus, REPEATED)["shares"]
    assert german["unique_tokens"] == german["available_tokens"] < german["tokens"] <= 800
    assert (german["epochs"], german["last_epoch"], german["unique_documents"]) == (3, 2, 67)
    assert german["capacity_tokens"] == 3 * german["available_tokens"]
    assert english["unique_documents"] < english["documents"]
    sources = (Source("german", "language = 'de'"), Source("english", "language = 'en'"))
    shares = manifest_of(corpus, Mixture("m", sources, temperature=2.0))["shares"]
    ratio = shares[0]["available_tokens"] / shares[1]["available_tokens"]
    assert shares[0]["asked_share"] / shares[1]["asked_share"] == pytest.approx(ratio**0.5)


def test_what_is_held_out_is_in_no_set(spark: SparkSession) -> None:
    corpus = corpus_of(spark, 400)
    sets = [Mixture("m", (Source("web"),), held_out=0.1, seed=seed) for seed in (1, 2)]
    held = [manifest_of(corpus, mixture, held_out=True) for mixture in sets]
    assert held[0]["documents"] == held[1]["documents"]
    assert 15 <= held[0]["documents"] <= 70, "400 rows at 0.1, five standard deviations"
    out = training_documents(corpus, TrainingSetParams("out", "r", sets[0], held_out=True)).select("doc_id")
    drawn_ids = {doc_id for mixture in sets for _, doc_id, _, _ in drawn(corpus, mixture)}
    assert not drawn_ids & {row["doc_id"] for row in out.collect()}
    assert len(drawn_ids) + held[0]["documents"] == 400


def test_a_source_without_rows_is_refused(spark: SparkSession) -> None:
    mixture = Mixture("m", (Source("web", share=0.5), Source("code", "language = 'python'", 0.5)), tokens=10)
    with pytest.raises(
        InputError, match=r"'set': no row fits source 'code' \(where language = 'python'\) of mixture 'm'"
    ):
        can_be_met(DOCUMENTS, corpus_of(spark, 10), TrainingSetParams("set", "r", mixture))


def test_a_mixture_that_cannot_be_met_is_refused_unless_it_allows_it(spark: SparkSession) -> None:
    corpus, params = corpus_of(spark, 40), TrainingSetParams("set", "r", replace(TWO, tokens=800))
    problem = r"'two' cannot be met: source 'german' is asked for 200 tokens .* has 112 in 14 rows and may be read once"
    with pytest.raises(InputError, match=problem):
        can_be_met(DOCUMENTS, corpus, params)
    can_be_met(DOCUMENTS, corpus, replace(params, mixture=replace(TWO, tokens=800, short="allow")))
    can_be_met(DOCUMENTS, corpus, replace(params, mixture=replace(TWO, tokens=200)))


def test_conditions_that_cannot_be_read_are_all_named(spark: SparkSession) -> None:
    sources = (Source("a", "langage = 'de'", 0.5), Source("b", "tokens", 0.4), Source("c", "tokens >", 0.1))
    with pytest.raises(InputError, match=r"'a': .langage = .* 'b': 'tokens' is bigint, wanted true or false; .* 'c': "):
        can_be_met(DOCUMENTS, corpus_of(spark, 1), TrainingSetParams("set", "r", Mixture("m", sources)))


def test_examples_are_not_repeated(spark: SparkSession) -> None:
    tables_of_kind = [
        spark.createDataFrame([], t.schema) for t in (tables.INSTRUCTIONS, tables.INSTRUCTION_DISPOSITIONS)
    ]
    params = TrainingSetParams("set", "r", Mixture("m", (Source("a", epochs=2),)), "c")
    with pytest.raises(InputError, match=r"sources \['a'\] repeat rows, which a set of examples does not hold"):
        can_be_met(EXAMPLES, *tables_of_kind, params)


def test_answers_to_one_prompt_are_held_out_together_and_only_kept_ones_are_drawn(spark: SparkSession) -> None:
    place = ("c", "s", "f")
    messages = [("user", "q"), ("assistant", "a")]
    rows = [(*place, n, 0, f"{n:064d}", f"prompt {n // 2}", messages, 3) for n in range(200)]
    columns = ["collection", "source", "file", "record", "part", "example_id", "prompt_id", "messages", "tokens"]
    instructions = spark.createDataFrame(rows, schema_of(tables.INSTRUCTIONS, columns))
    decided = [(*place, n, 0, "r", "examples", "dropped" if n % 10 == 0 else "kept") for n in range(200)]
    columns = ["collection", "source", "file", "record", "part", "recipe", "kind", "decision"]
    dispositions = spark.createDataFrame(decided, schema_of(tables.INSTRUCTION_DISPOSITIONS, columns))
    params = TrainingSetParams("set", "r", Mixture("m", (Source("all"),), held_out=0.3), "c")
    trained = {int(row["example_id"]) for row in training_examples(instructions, dispositions, params).collect()}
    assert not {n for n in trained if n % 10 == 0}
    pairs_of_prompt = {n // 2 for n in range(200) if n % 10 and (n ^ 1) % 10}
    assert all((2 * prompt in trained) == (2 * prompt + 1 in trained) for prompt in pairs_of_prompt)
    assert 0 < len(trained) < 180
    assert EXAMPLES.fate == "prompt_id"
