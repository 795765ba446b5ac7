"""The brief's claims in the report: what is measured agrees with numbers that were worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from etl import report, tables
from etl.errors import ConfigError
from etl.funnel import Funnel, Step
from etl.kernels import intervals
from etl.kernels.minhash import Geometry
from etl.kernels.quality_score import PHI, TARGET, Estimate, Factor, Gain, Part, gain, product, ratio, score
from etl.lake import Lake
from etl.report import answers, claims, estimates, gains, instructions, models, sections
from etl.report.estimates import Moments
from etl.report.instructions import Decided
from etl.report.sections import Subject
from etl.stages.dedup import ClusterParams
from etl.tables import Table
from tests.conftest import runner_on
from tests.test_report import Page, words

EVIL = "<script>alert(1)</script>"


# The file of claims


def test_the_sections_follow_the_brief() -> None:
    keys = [section.key for section in report.SECTIONS]
    ours = [section.key for section in report.SECTIONS if section.part is report.CLAIMS]
    assert ours == [topic.name for topic in claims.brief().topics] and len(ours) == 12
    assert keys[-14:] == [*ours, "timings", "next_steps"]
    numbers = [section.title.split(".")[0] for section in report.SECTIONS if section.part is report.CLAIMS]
    assert numbers == [str(number) for number in range(1, 13)]


def test_a_published_figure_has_a_source_that_can_be_looked_up() -> None:
    published = [p for t in claims.brief().topics for p in (*t.published, *(p for c in t.claims for p in c.published))]
    assert len(published) > 20
    for each in published:
        assert re.search(r"arXiv \d{4}\.\d{5}|README|Cerebras 2023|model card", each.source), each


def test_a_value_without_a_claim_is_refused() -> None:
    with pytest.raises(KeyError, match="'benchmarks' has no answer level_mlu"):
        claims.compare("benchmarks", {"level_mlu": None})


def test_a_topic_says_what_each_answer_needs() -> None:
    answer = claims.Answer("a", "what")
    with pytest.raises(ValueError, match="'a' is there twice; answer 'a' does not say what it needs"):
        claims.Topic("t", (claims.Claim("w", "c", (answer, answer)),))


def test_a_misspelt_key_in_the_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("topics: [{name: t, claims: [{what: w, claim: c, answers: [], publishd: []}]}]")
    with pytest.raises(ConfigError, match="did you mean 'published'"):
        claims.config.load(path, claims.Brief)


# The quality score

estimate_values = st.tuples(st.floats(0.01, 100), st.floats(1, 3), st.floats(1, 3), st.integers(1, 1000)).map(
    lambda t: Estimate(t[0], t[0] / t[1], t[0] * t[2], t[3])
)
ONE = Estimate(1.0, 1.0, 1.0, 5)


def exact(value: float) -> Estimate:
    return Estimate(value, value, value, 7)


def part(*ratios: float | None) -> Part:
    factors = [
        Factor("f", "how", None if r is None else Gain(ONE, exact(r), exact(r)), "why" if r is None else "")
        for r in ratios
    ]
    return Part("p", tuple(factors))


def test_a_system_that_changes_nothing_scores_phi() -> None:
    found = score([part(1, 1, 1)] * 3)
    assert found is not None and found.value == pytest.approx(PHI)
    assert pytest.approx(2.618034, abs=1e-6) == TARGET


def test_quality_grown_by_phi_meets_the_target() -> None:
    found = score([part(PHI, 1, 1), part(2, PHI / 2, 1), part(1, 1, PHI)])
    assert found is not None and found.value == pytest.approx(TARGET)


def test_a_missing_factor_is_missing_and_not_one() -> None:
    parts = [part(2, 3, None), part(1, 1, 1), part(1, 1, 1)]
    assert score(parts) is None and score([]) is None
    assert parts[0].product is not None and parts[0].product.value == 6 and not parts[0].is_whole
    assert part(None, None, None).product is None


def test_parts_are_averaged_after_factors_are_multiplied() -> None:
    found = score([part(2, 3, 1), part(1, 2, 2), part(1, 1, 2)])
    assert found is not None and found.value == pytest.approx(PHI * (6 + 4 + 2) / 3)


@given(estimate_values, estimate_values)
def test_an_interval_of_a_ratio_holds_it_and_knows_its_sides(before: Estimate, after: Estimate) -> None:
    found = ratio(before, after)
    assert found.low <= found.value * (1 + 1e-12) and found.value <= found.high * (1 + 1e-12)
    assert found.n == min(before.n, after.n)
    # Turned round, the ends change places.
    turned = ratio(after, before)
    assert (1 / turned.value, 1 / turned.high, 1 / turned.low) == pytest.approx((found.value, found.low, found.high))
    # A side without an interval only scales the other.
    scaled = ratio(exact(before.value), after)
    assert (scaled.low, scaled.high) == pytest.approx((after.low / before.value, after.high / before.value))


@given(st.lists(estimate_values, min_size=1, max_size=4))
def test_a_product_does_not_depend_on_the_order(factors: list[Estimate]) -> None:
    one, other = product(factors), product(factors[::-1])
    assert one is not None and other is not None
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert one.low <= one.value * (1 + 1e-12)


def test_independent_errors_are_added_in_squares() -> None:
    """Two factors of 1 whose upper ends are e**0.3 and e**0.4 make one of e**0.5."""
    found = product([Estimate(1, math.exp(-0.3), math.exp(0.3), 9), Estimate(1, math.exp(-0.4), math.exp(0.4), 8)])
    assert found is not None
    assert (found.low, found.high, found.n) == (pytest.approx(math.exp(-0.5)), pytest.approx(math.exp(0.5)), 8)


def test_nothing_has_no_ratio() -> None:
    zero = Estimate(0.0, 0.0, 0.3, 9)
    assert gain(zero, ONE) is None and gain(ONE, zero) is None and gain(None, ONE) is None
    with pytest.raises(ValueError, match="1 over 0: wanted both above 0"):
        ratio(zero, ONE)
    assert ratio(Estimate(0.1, 0.0, 0.3, 9), ONE).high == math.inf


# Estimates

item = st.tuples(st.integers(0, 9), st.integers(1, 9))


@given(st.lists(item, min_size=2, max_size=30))
def test_a_ratio_from_sums_is_that_from_items(items: list[tuple[int, int]]) -> None:
    v, w = [float(each[0]) for each in items], [float(each[1]) for each in items]
    low, high = intervals.ratio(v, w, floor=0.0)
    found = estimates.ratio(Moments(len(v), sum(v), sum(w), np.dot(v, v), np.dot(v, w), np.dot(w, w)))
    assert found is not None and found.value == pytest.approx(sum(v) / sum(w))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def moments_of(columns: Sequence[Sequence[float]]) -> tuple[list[list[float]], list[float]]:
    return [[float(np.dot(a, b)) for b in columns] for a in columns], [sum(column) for column in columns]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=30))
def test_paired_means_have_the_interval_of_their_differences(items: list[tuple[int, int]]) -> None:
    """With weights of 1 it is Student's paired interval."""
    one, two = [float(each[0]) for each in items], [float(each[1]) for each in items]
    weights = [1.0] * len(items)
    products, sums = moments_of([one, weights, two, weights])
    value, low, high = estimates.paired_ratios(len(items), products, sums)
    differences = [b - a for a, b in items]
    half = intervals.student(len(items) - 1) * statistics.stdev(differences) / math.sqrt(len(items))
    mean = statistics.mean(differences)
    assert (value, low, high) == pytest.approx((mean, mean - half, mean + half), abs=1e-6)


def test_a_pair_of_ratios_that_are_equal_item_by_item_has_no_spread() -> None:
    columns = [[2.0, 6.0, 10.0], [1.0, 2.0, 4.0], [4.0, 12.0, 20.0], [2.0, 4.0, 8.0]]
    products, sums = moments_of(columns)
    assert estimates.paired_ratios(3, products, sums) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_the_interval_of_paired_shares_covers_what_it_should() -> None:
    """All tables of 25 items, each with its probability: the true difference is covered in about 95 of 100 cases."""
    n, chances = 25, (0.5, 0.2, 0.1, 0.2)
    covered = 0.0
    for both, first, second in itertools.product(range(n + 1), repeat=3):
        neither = n - both - first - second
        if neither < 0:
            continue
        counts = (both, first, second, neither)
        probability = math.factorial(n) * math.prod(
            p**k / math.factorial(k) for p, k in zip(chances, counts, strict=True)
        )
        value, low, high = estimates.paired_shares(*counts)
        assert low <= value + 1e-12 and value <= high + 1e-12
        covered += probability * (low <= chances[2] - chances[1] <= high)
    assert 0.94 <= covered <= 0.985


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_paired_shares_turned_round_change_sign(both: int, first: int, second: int, neither: int) -> None:
    value, low, high = estimates.paired_shares(both, first, second, neither)
    turned = estimates.paired_shares(both, second, first, neither)
    if both + first + second + neither:
        assert (-turned[0], -turned[2], -turned[1]) == pytest.approx((value, low, high), abs=1e-9)
    else:
        assert (value, low, high) == (0, -1, 1)


grams = st.lists(st.lists(st.sampled_from("abcdef").map(lambda g: (g,)), max_size=6), min_size=2, max_size=8)


@given(grams)
def test_the_share_of_different_grams_is_that_of_counting(texts: list[list[tuple[str]]]) -> None:
    total = sum(map(len, texts))
    filled = [text for text in texts if text]
    found = estimates.distinct(texts, total)
    if total == 0 or len(filled) < 2:
        assert found is None
        return
    assert found is not None and found.n == len(filled)
    assert found.value == len(set(itertools.chain(*texts))) / total
    # The jackknife by its definition: leave each text out.
    without = []
    for place in range(len(filled)):
        rest = list(itertools.chain(*filled[:place], *filled[place + 1 :]))
        without.append(len(set(rest)) / len(rest))
    error = math.sqrt((len(filled) - 1) * statistics.pvariance(without))
    half = intervals.student(len(filled) - 1) * error
    assert found.high == pytest.approx(min(1.0, found.value + half))
    assert found.low == pytest.approx(max(0.0, found.value - half))


def test_samples_of_grams_are_compared_at_one_size() -> None:
    """The longer side is cut, so that size alone makes no difference."""
    short = [[("a",), ("b",)], [("c",), ("a",)]]
    found = gains.distinct_gain([*short, [("a",)] * 50], short)
    assert found is not None and found.before.value == found.after.value == 0.75 and found.ratio.value == 1
    assert gains.distinct_gain([[]], short) is None


def test_ngrams_are_those_of_the_first_words() -> None:
    assert gains.ngrams("One two, three.", 2) == [("one", "two"), ("two", "three")]
    assert gains.ngrams("one", 2) == []
    assert len(gains.ngrams("word " * 1000, 5)) == gains.FIRST_WORDS - 4


# A lake of rows that were made by hand


def put(lake: Lake, table: Table, rows: Sequence[dict[str, Any]], part: dict[str, list[str]]) -> None:
    values = [tuple(row.get(column) for column in table.columns) for row in rows]
    lake.replace(table, lake.spark.createDataFrame(values, table.schema), part, {})


def a_funnel() -> Funnel:
    steps = (
        Step("captures", "record_type", "no page", 4, 0, 10, 100, 1.0),
        Step("document_language", "language", "not en", 3, 30, 7, 70, 0.7),
        Step("document_quality", "short", "too short", 1, 5, 6, 65, 0.6),
        Step("document_quality", "long", "too long", 1, 15, 5, 50, 0.5),
        Step("duplicate_clusters", "exact_duplicate", "a copy", 1, 10, 4, 40, 0.4),
        Step("duplicate_clusters", "near_duplicate", "nearly a copy", 1, 10, 3, 30, 0.3),
    )
    return Funnel("r", 14, 10, 100, steps, 3, 30, 25, (), ("exact", "minhash"))


@pytest.fixture(scope="module")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return runner_on(spark, tmp_path_factory.mktemp("answers"), "answers").lake


@pytest.fixture(scope="module")
def bare(empty: Lake) -> dict[str, Any]:
    """What the sections say of a lake without rows."""
    subject = Subject(empty, Funnel("r", 0, 0, 0, (), 0, 0, 0, (), None), training_set="")
    return shown(subject)


@pytest.fixture(scope="module")
def filled(empty: Lake, bare: dict[str, Any]) -> Lake:
    """The same lake, once it has rows."""
    names = sorted({row["model"] for row in EVALUATIONS})
    parts: list[tuple[Table, list[dict[str, Any]], dict[str, list[str]]]] = [
        (tables.DOCUMENT_TOKENS, DOCUMENTS, {"warc_filename": ["w"]}),
        (tables.DOCUMENTS, TEXTS, {"warc_filename": ["w"]}),
        (tables.DUPLICATE_CLUSTERS, CLUSTERS, {"method": ["exact", "minhash"]}),
        (tables.CORPUS, CORPUS, {"recipe": ["r"]}),
        (tables.TRAINING_SETS, SETS, {"training_set": [row["training_set"] for row in SETS]}),
        (tables.INSTRUCTIONS, INSTRUCTIONS, {"collection": ["c"]}),
        (tables.INSTRUCTION_DUPLICATES, REPEATS, {"collection": ["c"]}),
        (tables.INSTRUCTION_DISPOSITIONS, DECISIONS, {"recipe": ["chat"], "collection": ["c"]}),
        (tables.MODELS, MODELS, {"model": [row["model"] for row in MODELS]}),
        (tables.MODEL_STEPS, STEPS, {"model": ["m-sft", "z-base"]}),
        (tables.EVALUATIONS, EVALUATIONS, {"model": names}),
        (tables.EVALUATION_ITEMS, ITEMS, {"model": names}),
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: put(empty, *part), parts))
    return empty


@pytest.fixture(scope="module")
def subject(filled: Lake) -> Subject:
    return Subject(filled, a_funnel(), training_set="")


def shown(subject: Subject) -> dict[str, Any]:
    """Data and words of every section of the claims, by key."""
    subject.prepare()
    environment = report.environment()
    found = {}
    for section in report.SECTIONS:
        if section.part is report.CLAIMS:
            data = section.collect(subject)
            source = environment.get_template(f"sections/{section.key}.html.j2").render(data=data, subject=subject)
            found[section.key] = {"data": data, "text": words(source), "source": source}
    return found


@pytest.fixture(scope="module")
def said(subject: Subject) -> dict[str, Any]:
    return shown(subject)


# Ten documents: a three times, b twice, five once. Of eleven words each, so that copies alone decide.
NAMES = ["a1", "a2", "a3", "b1", "b2", "s1", "s2", "s3", "s4", "s5"]
COUNTS = {"a": 10, "b": 30, "s": 20}
DOCUMENTS = [{"doc_id": name, "warc_filename": "w", "tokenizer": "gpt2", "tokens": COUNTS[name[0]]} for name in NAMES]
TEXTS = [
    {
        "doc_id": name,
        "crawl": "k",
        "warc_filename": "w",
        "text": " ".join(f"{name if name[0] == 's' else name[0]}{word}" for word in range(11)),
        "text_hash": name,
        "text_length": 1,
        "extractor": "e",
    }
    for name in NAMES
]
CLUSTERS = [
    {"method": "exact", "doc_id": name, "cluster_id": f"{name[0]}1", "cluster_size": 3 if name[0] == "a" else 2}
    for name in NAMES[:5]
]
# Nearly the same are a and b, and two of the others.
CLUSTERS += [
    {"method": "minhash", "doc_id": name, "cluster_id": cluster, "cluster_size": len(members)}
    for cluster, members in (("a1", NAMES[:5]), ("s2", ["s2", "s3"]))
    for name in members
]
# Kept: one a, and twice the same text, which lines removed have made equal; of twelve words, so eight 5-grams.
SAME = "m n o p q r s t u v w x"
CORPUS = [
    {"recipe": "r", "doc_id": doc_id, "crawl": "k", "text": text, "tokens": 10, "stands_for": 1}
    for doc_id, text in (("a1", "a b c d e f g h i j k l"), ("s1", SAME), ("s2", SAME))
]


def a_set(name: str, kind: str, rows: int, tokens: int, *shares: tuple[Any, ...]) -> dict[str, Any]:
    manifest = {"recipe": {"name": "chat"}, "collection": "c"}
    return {
        "training_set": name,
        "kind": kind,
        "manifest": json.dumps(manifest),
        "manifest_hash": "m",
        "content_hash": "h",
        "recipe_hash": "r",
        "mixture_hash": "x",
        "tokenizer": "gpt2",
        "documents": rows,
        "tokens": tokens,
        # Each source once, of which the set has what it has: epochs, capacity, unique tokens and rows, last epoch.
        "shares": [(*share, 1, share[6], share[4], share[5], 1) for share in shares],
    }


SETS = [
    a_set(
        "pretrain",
        "documents",
        4,
        1000,
        ("web", 0.8, 0.9, 900, 900, 3, 950, 9),
        ("code", 0.2, 0.1, 250, 100, 1, 100, 1),
    ),
    a_set(
        "sft", "examples", 10, 500, ("flan", 0.5, 0.5, 250, 250, 8, 400, 20), ("math", 0.5, 0.5, 250, 250, 2, 300, 4)
    ),
    a_set("sft.held_out", "examples", 2, 50, ("flan", None, 1.0, 50, 50, 2, 50, 2), ("math", None, 0.0, 0, 0, 0, 0, 0)),
]


def an_example(
    record: int, prompt: str | None, *, generator: str = "people", error: str | None = None
) -> dict[str, Any]:
    messages = None if prompt is None else [("user", prompt), ("assistant", "yes")]
    return {
        "collection": "c",
        "source": EVIL,
        "file": "f",
        "record": record,
        "part": 0,
        "example_id": None if prompt is None else f"e{record}",
        "messages": messages,
        "prompt_length": None if prompt is None else len(prompt),
        "answer_length": None if prompt is None else 3,
        "license": "CC0-1.0",
        "generator": generator,
        "category": "general",
        "import_error": error,
    }


# Five prompts of five words, so of three 3-grams: 0 and 1 are equal, 2 differs from them by its last word.
PROMPTS = ["a b c d e", "a b c d e", "a b c d f", "p q r s t", "u v w x y"]
INSTRUCTIONS = [
    *[an_example(record, prompt) for record, prompt in enumerate(PROMPTS)],
    an_example(5, None, error="json: broken"),
]
PLACE = {"collection": "c", "kind": "examples", "source": EVIL, "file": "f", "part": 0}
REPEATS = [
    {**PLACE, "record": 1, "example_id": "e1", "method": "exact", "duplicate_of": "e0", "similarity": 1.0},
    {**PLACE, "record": 2, "example_id": "e2", "method": "minhash", "duplicate_of": "e0", "similarity": 0.9},
]
DECISIONS = [
    {**PLACE, "recipe": "chat", "record": record, "decision": "dropped" if rule else "kept", "rule": rule}
    for record, rule in enumerate([None, "exact_duplicate", "near_duplicate", None, None, "import_error"])
]


def a_model(
    name: str, parent: str | None, method: str, seconds: float, tokens: int, **metrics: float
) -> dict[str, Any]:
    seen = [("pretrain", "documents", "m", "h", 1, 4, True)] if parent else []
    return {
        "model": name,
        "parent": parent,
        "method": method,
        "config": "{}",
        "config_hash": "c",
        "training_sets": [*seen, (f"set of {name}", "examples", "m", "h", 1, 12, False)],
        "weights_sha256": "w",
        "tokenizer_sha256": "t",
        "location": "/",
        "parameters": 1000,
        "steps": 5,
        "tokens": tokens,
        "seconds": seconds,
        "metrics": metrics,
        "environment": {"device": "cpu"},
    }


MODELS = [
    a_model("z-base", None, "pretrain", 100.0, 5000, first_loss=7.0, last_loss=4.0),
    a_model("m-sft", "z-base", "sft", 40.0, 2000, first_loss=6.0, last_loss=2.0),
    a_model(
        "a-dpo", "m-sft", "dpo", 20.0, 500, first_loss=0.693, last_loss=0.5, first_accuracy=0.0, last_accuracy=0.875
    ),
]
# Five steps of m-sft, of which the fourth was resumed; one of z-base, which makes no line.
STEPS = [
    {
        "model": model,
        "step": step,
        "loss": 6.0 - step,
        "learning_rate": 1e-3,
        "gradient_norm": 1.0,
        "tokens": 400 * (step + 1),
        "seconds": 1.0,
        "is_resumed": step == 3,
    }
    for model, steps in (("m-sft", 5), ("z-base", 1))
    for step in range(steps)
]
# Losses and tokens of three answers; the child has halved the loss of each token.
LOSSES = {"m-sft": [(8.0, 4.0), (6.0, 2.0), (6.0, 4.0)], "a-dpo": [(4.0, 4.0), (3.0, 2.0), (3.0, 4.0)]}
# 40 pairs: both right 20, the parent alone 2, the child alone 12, neither 6.
RIGHT = {"m-sft": [1.0] * 22 + [0.0] * 18, "a-dpo": [1.0] * 20 + [0.0] * 2 + [1.0] * 12 + [0.0] * 6}


def an_evaluation(
    model: str, benchmark: str, metric: str, value: float, n: int, settings: str = "{}"
) -> dict[str, Any]:
    return {
        "model": model,
        "benchmark": benchmark,
        "metric": metric,
        "value": value,
        "low": value - 0.125,
        "high": value + 0.125,
        "n": n,
        "weights_sha256": "w",
        "data": "sft.held_out",
        "data_sha256": "d",
        "settings": settings,
        "package": "goldenlake",
    }


EVALUATIONS = [
    an_evaluation("m-sft", "held_out_answers", "answer_loss", 2.0, 3, '{"b": 1, "a": 2}'),
    an_evaluation("a-dpo", "held_out_answers", "answer_loss", 1.0, 3, '{"a": 2, "b": 1}'),
    an_evaluation("m-sft", "held_out_pairs", "preference_accuracy", 0.55, 40),
    an_evaluation("a-dpo", "held_out_pairs", "preference_accuracy", 0.8, 40),
    an_evaluation("m-sft", "gsm8k", "exact_match", 0.5, 4, '{"shots": 5}'),
    an_evaluation("a-dpo", "gsm8k", "exact_match", 0.75, 4, '{"shots": 0}'),  # asked otherwise
    an_evaluation(EVIL, "gsm8k", "exact_match", 0.25, 4),
]


def items_of(benchmark: str, metric: str, found: dict[str, list[tuple[float, float]]]) -> Iterator[dict[str, Any]]:
    for model, values in found.items():
        for place, (value, weight) in enumerate(values):
            yield {
                "model": model,
                "benchmark": benchmark,
                "metric": metric,
                "place": place,
                "item": f"i{place}",
                "value": value,
                "weight": weight,
            }


ITEMS = [
    *items_of("held_out_answers", "answer_loss", LOSSES),
    *items_of(
        "held_out_pairs", "preference_accuracy", {model: [(v, 1.0) for v in values] for model, values in RIGHT.items()}
    ),
    *items_of("gsm8k", "exact_match", {model: [(1.0, 1.0)] * 4 for model in ("m-sft", "a-dpo")}),
]


def test_a_bare_lake_says_not_measured_everywhere(bare: dict[str, Any]) -> None:
    assert len(bare) == 12
    for key, found in bare.items():
        comparison = found["data"]["comparison"]
        assert all(told.value is None for line in comparison.lines for told in line.told)
        cells = found["source"].count('<span class="missing">not measured</span>')
        assert cells >= sum(len(line.told) for line in comparison.lines), key
        assert "95 %" not in found["text"].replace("its 95 % interval", "") or key == "quality_score"
    for key, line in {
        "mixture": "No training set has been made.",
        "instruction_sources": "No instruction data has been imported: not measured.",
        "instruction_mixture": "No set of instruction examples has been made: not measured.",
        "methods": "No model has been trained: not measured.",
        "self_play": "No model has been trained by SPIN: not measured.",
        "benchmarks": "No model has been evaluated: not measured.",
        "quality_and_quantity": "No model has been trained from scratch: not measured.",
        "returns": "No step has been measured on both sides: not measured.",
    }.items():
        assert line in bare[key]["text"]


def test_copies_are_counted_by_text(subject: Subject) -> None:
    """Ten documents are seven texts, of 3 * 10 + 2 * 30 + 5 * 20 tokens, or 10 + 30 + 100 once; three kept are two."""
    copies = subject.copies["exact"]
    assert copies.documents is not None and copies.tokens is not None
    assert (copies.documents.before.value, copies.documents.before.n) == (pytest.approx(0.7), 10)
    assert (copies.documents.after.value, copies.documents.after.n) == (pytest.approx(2 / 3), 3)
    assert copies.documents.ratio.value == pytest.approx(2 / 3 / 0.7)
    assert (copies.tokens.before.value, copies.tokens.after.value) == (190, 140)
    assert copies.tokens.ratio.value == pytest.approx(140 / 190)
    sizes, once = [3, 2, 1, 1, 1, 1, 1], [10, 30, 20, 20, 20, 20, 20]
    low, high = intervals.ratio([1] * 7, sizes)
    assert copies.documents.before.low == pytest.approx(low) and copies.documents.before.high == pytest.approx(
        min(1, high)
    )
    low, _ = intervals.ratio(once, [size * tokens for size, tokens in zip(sizes, once, strict=True)])
    assert copies.tokens.ratio.low == pytest.approx(low)


def test_near_copies_are_counted_in_what_exact_ones_leave(subject: Subject) -> None:
    """The seven texts are five clusters, whose first ones have 10 + 4 * 20 tokens."""
    near = subject.copies["minhash"]
    assert near.documents is not None and near.tokens is not None
    assert (near.documents.before.value, near.documents.before.n) == (0.5, 10)
    assert (near.documents.after.value, near.documents.after.n) == (pytest.approx(2 / 3), 3)
    assert (near.tokens.before.value, near.tokens.after.value, near.tokens.after.n) == (190, 90, 5)
    sizes, once, everything = [5, 2, 1, 1, 1], [10, 20, 20, 20, 20], [30 + 60, 20, 40, 20, 20]
    low, _ = intervals.ratio([1] * 5, sizes, floor=0.0)
    assert near.documents.before.low == pytest.approx(low)
    low, _ = intervals.ratio(once, everything, floor=0.0)
    assert near.tokens.ratio.low == pytest.approx(low)


def test_a_method_that_was_not_used_is_not_measured(subject: Subject, said: dict[str, Any]) -> None:
    assert subject.copies["semantic"] == gains.Copies()
    assert "semantic the same meaning not measured not measured" in said["deduplication"]["text"]
    values = {
        told.answer.name: told.value
        for key in ("curation", "deduplication")
        for line in said[key]["data"]["comparison"].lines
        for told in line.told
    }
    assert values["unique_semantic"] is values["semantic_tokens"] is None
    assert values["unique_near"] is not None and values["fuzzy_tokens"] is not None


def test_a_method_that_found_nothing_is_measured(empty: Lake, spark: SparkSession) -> None:
    """A commit says that clusters were looked for, though there are no rows."""
    lake = runner_on(spark, Path(str(empty.warehouse)).parent / "alone", "alone").lake
    put(lake, tables.DOCUMENT_TOKENS, DOCUMENTS, {"warc_filename": ["w"]})
    part, params = {"method": ["minhash"]}, ClusterParams("minhash", geometry=Geometry("g", "", ""))
    metadata = {"slice": part, "params": dataclasses.asdict(params)}
    lake.replace(tables.DUPLICATE_CLUSTERS, lake.read(tables.DUPLICATE_CLUSTERS), part, metadata)
    tokens = {method: found.tokens for method, found in gains.copies(lake, "r").items()}
    assert tokens["minhash"] is not None and tokens["minhash"].ratio.value == 1 and tokens["semantic"] is None
    subject = Subject(lake, a_funnel(), training_set="")
    assert subject.recall is not None and subject.recall.here is None
    template = report.environment().get_template("sections/duplicates.html.j2")
    text = words(template.render(data=sections.duplicates(subject), subject=subject))
    assert "nearly the same text similarity 0.8 or more 0 0 0 0 0" in text
    assert "0 pairs of different texts were compared; 0 are at least 0.8 alike" in text


def test_copies_are_shown_beside_the_claim(said: dict[str, Any]) -> None:
    text = said["deduplication"]["text"]
    assert "190 → 140" in text and "190 → 90" in text
    assert "original 10 190 5 50 1.2T tokens" in text
    assert "exact the same text, letter by letter 7 140 \u221226.3% 4 40 \u221220.0% 800B (\u221233%)" in text
    assert "fuzzy nearly the same text 5 90 \u221252.6% 3 30 \u221240.0% 627B (\u221248% in all)" in text
    assert "nearly the same text +33.3%" in text and "50.0% → 66.7% n = 10 → 3 documents" in text
    assert "70.0% → 66.7% n = 10 → 3 documents" in said["curation"]["text"]


def test_each_text_counts_once_in_the_diversity(subject: Subject) -> None:
    """The seven texts have seven 5-grams each that no other has. Of the 24 that are kept, eight are there twice."""
    assert subject.diversity is not None
    assert (subject.diversity.before.value, subject.diversity.before.n) == (1.0, 4)
    assert (subject.diversity.after.value, subject.diversity.after.n) == (16 / 24, 3)


def test_rules_are_summed_by_what_they_read(said: dict[str, Any]) -> None:
    stages = {stage.word: stage for stage in said["classifier"]["data"]["stages"]}
    assert list(stages) == ["language", "quality", "duplicates"]
    quality = stages["quality"]
    assert (quality.rules, quality.documents_dropped, quality.tokens_dropped) == (2, 2, 20)
    assert (quality.documents_left, quality.tokens_left) == (5, 50)
    assert "100 → 25 tokens, a factor of 4.0" in said["classifier"]["text"]


def test_a_share_that_was_not_met_is_marked(said: dict[str, Any]) -> None:
    text = said["mixture"]["text"]
    assert "web 80.0% 90.0% 75.0% 900 950 1 of 1 900 3 no: +10.0 points" in text
    assert "code 20.0% 10.0% 25.0% 250 100 1 of 1 100 1 no: too little" in text
    assert "flan 50.0% 50.0% 80.0% 250 400 1 of 1 250 8 yes" in text
    assert "sft.held_out: 2 examples, 50 tokens; held out from training flan all 100.0%" in text
    assert "share: 10.0% of tokens, 25.0% of rows counted in set pretrain, 1 rows" in text


def test_the_instruction_mixture_is_told_by_tokens_and_rows(said: dict[str, Any]) -> None:
    text = said["instruction_mixture"]["text"]
    assert "share: 50.0% of tokens, 80.0% of rows counted in set sft, 8 rows" in text
    assert "math 50.0% 50.0% 0.0 20.0% 2 4 125" in text
    assert "held_out" not in text


def test_instruction_sources_are_counted(subject: Subject, said: dict[str, Any]) -> None:
    (source,) = subject.instruction_sources
    assert (source.records, source.rows, source.bad, source.exact, source.near, source.kept) == (6, 5, 1, 1, 1, 3)
    assert (source.prompt_length, source.answer_length, source.licenses) == (9.0, 3.0, ("CC0-1.0",))
    assert source.diversity is None  # fifteen 3-grams are too few
    assert subject.instruction_recipe == Decided("chat", "c")
    assert "examples 6 5 1 1 1 3 9 3 CC0-1.0 people" in said["instruction_sources"]["text"]


def test_prompts_that_are_kept_differ_more(subject: Subject) -> None:
    """Nine 3-grams are kept, all different; of all fifteen, the first nine by hash are compared."""
    found = instructions.diversity_gain(subject.lake, subject.instruction_recipe)
    assert found is not None and found.after.value == 1.0
    rows = subject.lake.spark.createDataFrame([("c", EVIL, "f", record, 0) for record in range(5)], PLACE_DDL)
    order = [row["record"] for row in rows.orderBy(instructions._place_hash()).collect()]
    nine = [gram for record in order for gram in gains.ngrams(PROMPTS[record], 3)][:9]
    assert found.before.value == pytest.approx(len(set(nine)) / 9)


PLACE_DDL = "collection string, source string, file string, record bigint, part int"


def test_models_stand_behind_their_parents(subject: Subject) -> None:
    assert [model.name for model in subject.models] == ["z-base", "m-sft", "a-dpo"]
    base, sft, dpo = subject.models
    assert (base.time, sft.time, dpo.time) == (None, 1.0, 0.5)
    assert dpo.token_time == pytest.approx(0.5 * 2000 / 500)
    assert dpo.training_set == "set of a-dpo" and dpo.rows == 12


def test_the_loss_of_a_training_is_a_line_with_the_step_that_it_was_resumed_at(said: dict[str, Any]) -> None:
    (curve,) = said["methods"]["data"]["curves"]
    assert (curve.model, curve.low, curve.high, curve.resumed) == ("m-sft", 2.0, 6.0, (225.0,))
    assert curve.points == "0.0,0.0 75.0,27.5 150.0,55.0 225.0,82.5 300.0,110.0"
    assert f'<polyline points="{curve.points}"/>' in said["methods"]["source"]
    assert said["methods"]["source"].count('class="resumed"') == 1
    many = [Row(place=place, loss=1.0, resumed=[]) for place in range(3)]
    flat = models._curve(dataclasses.replace(said["methods"]["data"]["models"][0], steps=450), many)
    assert flat.points == "0.0,0.0 150.0,0.0 300.0,0.0"


def test_time_is_told_against_sft(said: dict[str, Any]) -> None:
    text = said["methods"]["text"]
    assert "time: 0.50\u00d7 (a-dpo over m-sft) per token 2.00\u00d7" in text
    assert "time: 1\u00d7 by definition" in text
    assert "0.693 → 0.500 0.0% → 87.5%" in text
    assert "\"SELECT DISTINCT url FROM model_pages WHERE model = 'a-dpo'\"" in text


def test_changes_are_those_of_the_same_items(subject: Subject) -> None:
    changes = {(e.model, e.metric): e.change for e in subject.evaluations if e.change is not None}
    loss = changes["a-dpo", "answer_loss"]
    # 20 / 10 tokens before, 10 / 10 after. Both ratios have the residuals of one, halved: 0, 2, -2 and 0, 1, -1.
    assert (loss.value, loss.n, loss.is_better) == (pytest.approx(-1.0), 3, True)
    half = intervals.student(2) * math.sqrt(3 / 2 * (1 + 1)) / 10
    assert (loss.low, loss.high) == pytest.approx((-1 - half, -1 + half))
    accuracy = changes["a-dpo", "preference_accuracy"]
    assert (accuracy.value, accuracy.n, accuracy.is_better) == (pytest.approx(0.25), 40, True)
    assert (accuracy.value, accuracy.low, accuracy.high) == estimates.paired_shares(20, 2, 12, 6)
    assert set(changes) == {("a-dpo", "answer_loss"), ("a-dpo", "preference_accuracy")}  # gsm8k was asked otherwise


def test_changes_are_shown_with_interval_and_n(said: dict[str, Any]) -> None:
    text = said["benchmarks"]["text"]
    assert re.search(
        r"a-dpo 80\.0% 67\.5% to 92\.5% 40 \+25\.0 points \+[\d.]+ to \+[\d.]+, better against m-sft", text
    )
    assert "a-dpo 75.0% 62.5% to 87.5% 4 its parent m-sft was not measured on the same" in text
    assert "GSM8K was measured on the models of this lake, which are not the 7B models of the claim." in text
    text = said["returns"]["text"]
    assert "m-sft → a-dpo, dpo: 20.0 seconds, 500 tokens" in text
    assert re.search(
        r"held_out_answers, answer_loss 2\.000 1\.000 \u22121\.000 \u2212[\d.]+ to \u2212[\d.]+, better 3", text
    )


def test_a_measure_of_another_kind_is_not_in_a_claims_cell(said: dict[str, Any]) -> None:
    """Of models there are accuracies and losses, and no claim is about them."""
    for key in ("benchmarks", "self_play", "quality_and_quantity", "returns", "classifier"):
        comparison = said[key]["data"]["comparison"]
        assert all(told.value is None for line in comparison.lines for told in line.told)
    measured = {
        told.answer.name for line in said["methods"]["data"]["comparison"].lines for told in line.told if told.value
    }
    assert measured == {"time_sft", "time_dpo"}


def test_the_quality_score_shows_products_and_no_whole(said: dict[str, Any]) -> None:
    text, data = said["quality_score"]["text"], said["quality_score"]["data"]
    assert data["whole"] is None
    data_part, instruction, alignment = data["parts"]
    assert [factor.gain is not None for factor in data_part.factors] == [False, True, True]
    assert data_part.product.value == pytest.approx(2 / 3 / 0.5 * 16 / 24)
    assert "Data, product of 2 of 3 factors 0.889" in text and "documents that are no copy or near copy" in text
    assert "Alignment, product of 0 of 3 factors not measured" in text
    assert len(instruction.measured) == 1 and not alignment.measured
    missing = [factor for each in data["parts"] for factor in each.factors if factor.gain is None]
    assert len(missing) == 6 and all(factor.missing and factor.missing in text for factor in missing)


def test_text_from_data_is_text(said: dict[str, Any]) -> None:
    """A source and a model are called <script>."""
    everything = "".join(found["source"] for found in said.values())
    tags = Counter(tag for tag, _ in Page(everything).seen)
    assert tags["script"] == 0 and tags["table"] == tags["caption"] == 12 + 13
    assert EVIL in said["instruction_sources"]["text"] and EVIL in said["benchmarks"]["text"]


def test_the_same_lake_gives_the_same_answers(subject: Subject, said: dict[str, Any]) -> None:
    """On another number of partitions too."""
    spark = subject.lake.spark
    before = str(spark.conf.get("spark.sql.shuffle.partitions"))
    spark.conf.set("spark.sql.shuffle.partitions", "3")
    try:
        again = shown(Subject(subject.lake, a_funnel(), training_set=""))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert {key: found["source"] for key, found in again.items()} == {key: f["source"] for key, f in said.items()}


def test_a_language_rule_is_what_purity_is_measured_by() -> None:
    from etl.stages.curate import Recipe
    from etl.stages.rules import Rule

    rules = (Rule("l", "language", one_of=("en", "de")), Rule("m", "language", one_of=("en", "fr")))
    assert gains.recipe_languages(Recipe("r", "", "", rules)) == {"en"}
    assert gains.recipe_languages(Recipe("r", "", "", ())) is None and gains.recipe_languages(None) is None


def test_answers_of_the_sample_are_measured(lake: Lake, crawl: Any) -> None:
    """Where the truth is known, extraction and purity have values: text F1 as the section on the truth has it."""
    from etl import funnel

    subject = Subject(lake, funnel.read(lake, "fineweb"), "pretrain", truth=crawl.truth)
    values = {
        told.answer.name: told.value
        for line in answers.curation(subject)["comparison"].lines
        for told in line.told
        if told.value is not None
    }
    assert set(values) == {"clean_text", "language_purity", "unique_exact", "unique_near"}
    purity = values["language_purity"].gain
    assert subject.scores is not None
    spoken = subject.scores.true_languages
    english = next(each for each in spoken if each.language == "en")
    assert purity.before.value == english.documents / sum(each.documents for each in spoken)
    assert purity.after.value == english.kept / sum(each.kept for each in spoken)
    clean = values["clean_text"].gain
    assert clean.ratio.value == pytest.approx(clean.after.value / clean.before.value) and clean.ratio.low > 1
