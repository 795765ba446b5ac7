"""The report and the funnel: whole files that say what the tables say, and scores that plain Python finds too."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from etl import cli, funnel, report, sample, tables
from etl.errors import InputError, WarehouseError
from etl.funnel import Funnel, Step
from etl.kernels import overlap
from etl.lake import Lake
from etl.progress import StageRun
from etl.report import clusters, estimates, river, scoring, sections
from etl.report.sections import Subject
from etl.stages.curate import Preference, Recipe

VOID = {"meta", "path", "rect", "stop", "br"}
TAGS = """meta path rect stop br html head title style body header nav main footer section div p h1 h2 h3 ul li a
    span strong code pre dl dt dd table caption thead tbody tfoot tr th td figure svg desc defs lineargradient mask text
    details summary"""
RUNS = (StageRun("captures", rows=912, seconds=1.5), StageRun("documents", skipped=True, seconds=0.1))


class Page(HTMLParser):
    """Tags as they open and close, attributes, and the text of the headings."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))


def words(source: str) -> str:
    return " ".join(text for tag, text in Page(source).texts if tag != "style")


@pytest.fixture(scope="module")
def written(lake: Lake, crawl: sample.Sample, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / report.FILE_NAME
    given_back = report.write(lake, path, recipe="fineweb", training_set="pretrain", truth=crawl.truth, runs=RUNS)
    assert given_back == path
    assert [found.name for found in path.parent.iterdir()] == [report.FILE_NAME]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scores(lake: Lake, crawl: sample.Sample) -> scoring.Scores:
    return scoring.score(lake, "fineweb", crawl.truth)


def test_the_report_loads_and_runs_nothing(written: str) -> None:
    page = Page(written)
    assert page.open == []
    assert {tag for tag, _ in page.seen} <= set(TAGS.split())  # no script, link, img; and no tag that came from a page
    for _, attributes in page.seen:
        assert not {"src", "onclick", "onload", "xlink:href"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"@import|url\((?!#)", written)


def test_every_table_picture_and_section_says_what_it_is(written: str) -> None:
    page = Page(written)
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    kinds = Counter(tag for tag, _ in page.seen)
    assert kinds["table"] == kinds["caption"] > 10
    assert kinds["h1"] == 1 and kinds["h2"] == kinds["section"] == len(report.SECTIONS)
    for tag, attributes in page.seen:
        if tag in ("section", "svg"):
            assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)
        if tag == "a":
            assert (attributes["href"] or "").removeprefix("#") in ids


def test_the_report_says_sample_in_every_section(written: str) -> None:
    assert [tag for tag, text in Page(written).texts if text == "sample"].count("span") == len(report.SECTIONS) + 1


def test_the_report_says_what_the_tables_say(written: str, lake: Lake) -> None:
    text = words(written)
    decided = lake.read(tables.DISPOSITIONS).collect()
    kept = sum(row["decision"] == "kept" for row in decided)
    pages = sum(row["rule"] != "record_type" for row in decided)
    assert f"{kept:,} of {pages:,} pages kept" in text
    assert f"{len(decided):,} records read = {len(decided):,} dispositions written: {kept:,} kept" in text
    manifest = lake.read(tables.TRAINING_SETS).where("training_set = 'pretrain'").collect()[0]
    assert manifest["content_hash"] in text
    assert "912 1.5 608" in text and "up to date" in text
    for row in decided:
        if row["decision"] == "dropped":
            assert row["rule"] in text


def test_personal_data_and_rights_are_counted(written: str, lake: Lake) -> None:
    text = words(written)
    kept = {row["doc_id"] for row in lake.read(tables.DISPOSITIONS).where("decision = 'kept'").collect()}
    found = lake.read(tables.DOCUMENT_PII).collect()
    for column, name in sections.PERSONAL.items():
        counts = [(row[column], row["doc_id"] in kept) for row in found if row[column]]
        all_of, of_kept = sum(count for count, _ in counts), sum(count for count, is_kept in counts if is_kept)
        assert f"{name} {all_of:,} {len(counts):,} {of_kept:,} {sum(is_kept for _, is_kept in counts):,}" in text
    licensed = [row["doc_id"] in kept for row in lake.read(tables.DOCUMENTS).where("license <> 'none'").collect()]
    assert f"{sections.RIGHTS['licensed']} {len(licensed):,} {sum(licensed):,}" in text


def test_examples_show_value_bound_and_text(written: str, lake: Lake) -> None:
    text = words(written)
    dropped = lake.read(tables.DISPOSITIONS).where("stage = 'document_quality'").collect()
    texts = {
        row["doc_id"]: " ".join(row["text"].split())
        for row in lake.read(tables.DOCUMENTS).where("text <> ''").collect()
    }
    # The address of a page may stand elsewhere too, so a rule is shown by one of its pages.
    shown = [
        row for row in dropped if all(x in text for x in (row["url"], funnel.detail(row), texts[row["doc_id"]][:60]))
    ]
    assert {row["rule"] for row in shown} == {row["rule"] for row in dropped}


def test_the_command_gives_the_same_bytes_but_for_the_timings(
    written: str, lake: Lake, crawl: sample.Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another number of partitions too. It finds recipe, training set and truth by itself."""
    assert report.truth_beside(lake) == crawl.truth
    before = lake.spark.conf.get("spark.sql.shuffle.partitions")
    path, warehouse = tmp_path / "again.html", str(lake.warehouse)
    lake.spark.conf.set("spark.sql.shuffle.partitions", "3")
    try:
        cli.main(["report", "--warehouse", warehouse, "--namespace", lake.namespace, "--output", str(path)])
    finally:
        lake.spark.conf.set("spark.sql.shuffle.partitions", before)
    assert capsys.readouterr().out == f"{path}\n"
    again = path.read_text(encoding="utf-8")
    assert "Not measured: this report was written apart from a run." in words(again)
    assert without_timings(again) == without_timings(written)


def without_timings(source: str) -> str:
    return re.sub(r'<section id="timings".*?</section>', "", source, flags=re.DOTALL)


def test_what_is_not_there_is_said(lake: Lake) -> None:
    subject = Subject(lake, a_funnel(0, [], 0), training_set="absent")
    assert sections.truth(subject) is None
    template = report.environment().get_template("sections/training.html.j2")
    assert "There is no training set absent." in template.render(data=sections.training(subject))


def test_a_report_that_fails_leaves_the_one_before(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(InputError, match=r"'nobody' has decided nothing in this lake, known are \['fineweb'\]"):
        report.write(lake, path, recipe="nobody", training_set="pretrain")
    assert [found.read_text() for found in tmp_path.iterdir()] == ["before"]
    with pytest.raises(WarehouseError, match=r"absent/report\.html: cannot be written: No such file"):
        report.write(lake, tmp_path / "absent" / "report.html", recipe="fineweb", training_set="pretrain")


def test_text_from_the_web_is_text(written: str) -> None:
    evil = '<script>alert(1)</script><b onclick="x">&amp;'
    template = report.environment().get_template("sections/examples.html.j2")
    page = {"url": evil, "detail": evil, "text": evil}
    rule = {"rule": evil, "reason": evil, "dropped": 1, "pages": [page]}
    source = template.render(data={"rules": [rule]})
    found = Page(source)
    assert {tag for tag, _ in found.seen} <= set(TAGS.split())
    assert not [attributes for _, attributes in found.seen if "onclick" in attributes]
    assert sum(text.count("<script>alert(1)</script>") for _, text in found.texts) == 5


def settled(truth: list[dict[str, Any]], decided: dict[tuple[str, int], Row]) -> tuple[dict[str, str], dict[str, Any]]:
    """By doc_id, what should become of each page, one of each family being kept, and reasons that are no mistake."""
    pages = {decided[page["warc_filename"], page["warc_record_offset"]]["doc_id"]: page for page in truth}
    rows = {row["doc_id"]: row for row in decided.values()}
    family, members = {}, defaultdict(list)
    for doc_id, page in pages.items():
        is_copy = page["kind"] == "exact_duplicate" or (page["kind"] == "near_duplicate" and page["jaccard"] >= 0.8)
        family[doc_id] = page["duplicate_of"] if is_copy else page["url"]
        members[family[doc_id]].append((is_copy, page["url"], doc_id))
    should = {doc_id: page["expected"]["decision"] for doc_id, page in pages.items()}
    excuses = {doc_id: list(page["expected"]["rules"]) for doc_id, page in pages.items()}
    for of_family in members.values():
        kept = [member for member in sorted(of_family) if rows[member[2]]["decision"] == "kept"]
        for member in of_family:
            is_copy, _, doc_id = member
            gives_way = rows[doc_id]["stage"] == "duplicate_clusters" and (
                family.get(rows[doc_id]["duplicate_of"]) == family[doc_id]
            )
            if gives_way or is_copy:
                should[doc_id] = "kept" if not gives_way and kept[:1] == [member] else "dropped"
                excuses[doc_id].append("duplicate_clusters")
            elif pages[doc_id]["kind"] == "near_duplicate":
                excuses[doc_id] = []
    return should, excuses


def test_scores_are_those_of_plain_python(scores: scoring.Scores, lake: Lake, crawl: sample.Sample) -> None:
    with gzip.open(crawl.truth, "rt", encoding="utf-8") as lines:
        truth = [json.loads(line) for line in lines]
    decided = {
        (row["warc_filename"].split("/")[-1], row["warc_record_offset"]): row
        for row in lake.read(tables.DISPOSITIONS).collect()
    }
    documents = {row["doc_id"]: row for row in lake.read(tables.DOCUMENTS).collect()}
    languages = {row["doc_id"]: row["language"] for row in lake.read(tables.DOCUMENT_LANGUAGE).collect()}
    should, excuses = settled(truth, decided)
    outcomes, f1, extracted, right, wrong = Counter[str](), [], [], [], set()
    spoken, spoken_kept = Counter[str](), Counter[str]()
    for page in truth:
        row = decided[page["warc_filename"], page["warc_record_offset"]]
        rules = excuses[row["doc_id"]]
        is_expected = row["stage"] in rules or row["signal"] in rules
        pair = f"{should[row['doc_id']]} {row['decision']}"
        outcomes["excused" if pair == "kept dropped" and is_expected else pair] += 1
        outcomes["by reason"] += pair == "dropped dropped" and is_expected
        if pair == "dropped kept" or (pair == "kept dropped" and not is_expected):
            wrong.add(page["url"])
        document = documents.get(row["doc_id"])
        if document is not None and page["text"]:
            f1.append(overlap.word_f1(document["text"] or "", page["text"]))
            extracted += [f1[-1]] if document["text"] else []
        if page["language"] and languages.get(row["doc_id"]):
            right.append(page["language"] == languages[row["doc_id"]])
            spoken[page["language"]] += 1
            spoken_kept[page["language"]] += row["decision"] == "kept"
    assert scores.pages == len(truth) and scores.not_found == 0
    assert scores.kept_precision == estimates.wilson(
        outcomes["kept kept"], outcomes["kept kept"] + outcomes["dropped kept"]
    )
    assert scores.kept_recall == estimates.wilson(
        outcomes["kept kept"], outcomes["kept kept"] + outcomes["kept dropped"]
    )
    assert scores.expected_reason == estimates.wilson(outcomes["by reason"], outcomes["dropped dropped"])
    assert scores.language == estimates.wilson(sum(right), len(right))
    assert scores.text is not None and scores.text.n == len(f1)
    assert scores.text.value == pytest.approx(statistics.mean(f1))
    assert scores.clean_text is not None and scores.clean_text.after.n == len(extracted)
    assert scores.clean_text.after.value == pytest.approx(statistics.mean(extracted))
    assert scores.true_languages == tuple(
        scoring.TrueLanguage(language, count, spoken_kept[language]) for language, count in sorted(spoken.items())
    )
    half = 1.959964 * statistics.stdev(f1) / math.sqrt(len(f1))
    assert scores.text.value - scores.text.low == pytest.approx(half, rel=1e-6)
    assert scores.wrong == len(wrong) and {page["url"] for page in scores.mistakes} <= wrong
    assert sum(fate.excused for fate in scores.fates) == outcomes["excused"]


def test_planted_copies_are_counted(scores: scoring.Scores, crawl: sample.Sample) -> None:
    assert scores.duplicate_recall is not None and scores.duplicate_recall.n == crawl.kinds["exact_duplicate"]
    assert scores.duplicate_precision is not None and scores.duplicate_precision.value > 0.5


def test_planted_near_duplicates_are_counted(scores: scoring.Scores, crawl: sample.Sample) -> None:
    with gzip.open(crawl.truth, "rt", encoding="utf-8") as lines:
        known = [page["jaccard"] for page in map(json.loads, lines) if page["kind"] == "near_duplicate"]
    alike = sum(jaccard >= 0.8 for jaccard in known)
    assert scores.near_similarity == 0.8 and 0 < alike < len(known)
    assert (scores.near.alike, scores.near.unlike) == (alike, len(known) - alike)
    # The truth compares the texts that were written; those that were extracted may hold a line more on one side.
    assert scores.near_recall is not None and scores.near_recall.value > 0.5 and scores.near_recall.n == alike
    assert scores.near_precision is not None and scores.near_precision.value == 1
    assert scores.near.alike_kept == round(alike * (1 - scores.near_recall.value))
    assert scores.near.unlike_kept == scores.near.unlike


# What it is, of which page, how like it, what became of it, for which page, what should, and whether it is excused.
FAMILIES = [
    ("article", "a", None, None, None, None, "kept", False),
    ("near_duplicate", "b", "a", 0.9, "near_duplicate", "a", "dropped", True),
    ("near_duplicate", "c", "a", 0.6, None, None, "kept", False),
    # A copy is preferred to its original; a copy of it gives way to the original, which is gone by then.
    ("article", "d", None, None, "near_duplicate", "e", "dropped", True),
    ("near_duplicate", "e", "d", 0.9, None, None, "kept", True),
    ("exact_duplicate", "f", "d", None, "exact_duplicate", "d", "dropped", True),
    # The original fails a rule, so the copy is kept in its place.
    ("article", "g", None, None, "short", None, "kept", False),
    ("exact_duplicate", "h", "g", None, None, None, "kept", True),
    # Two of one family are kept.
    ("article", "i", None, None, None, None, "kept", False),
    ("near_duplicate", "j", "i", 0.8, None, None, "dropped", False),
    # What is less alike, and what is no copy at all, is dropped as one.
    ("near_duplicate", "k", "i", 0.79, "near_duplicate", "i", "kept", False),
    ("article", "l", None, None, "exact_duplicate", "i", "kept", False),
]


def test_of_a_family_one_page_should_be_kept_whichever(spark: SparkSession) -> None:
    rows = []
    for kind, name, original, jaccard, rule, survivor, _, _ in FAMILIES:
        decision = "kept" if rule is None else "dropped"
        stage = "duplicate_clusters" if rule and rule.endswith("_duplicate") else rule and "document_quality"
        expected = sample.kinds.BY_NAME[kind]
        rows.append(
            (kind, name, name, original, jaccard, rule, stage, survivor, decision, expected.decision, [*expected.rules])
        )
    ddl = (
        "kind string, doc_id string, url string, original string, jaccard double, rule string, stage string, "
        "duplicate_of string, decision string, expected string, reasons array<string>"
    )
    pages = spark.createDataFrame(rows, ddl).withColumn("signal", F.lit(None).cast("string"))
    found = scoring._settled(pages, 0.8).select("*", scoring._is_expected().alias("is_excused"))
    settled_rows = {row["url"]: row for row in found.collect()}
    dropped = {name for _, name, _, _, rule, *_ in FAMILIES if rule is not None}
    assert {name: settled_rows[name]["expected"] for name in settled_rows} == {row[1]: row[6] for row in FAMILIES}
    assert {name: settled_rows[name]["is_excused"] for name in dropped} == {
        row[1]: row[7] for row in FAMILIES if row[4] is not None
    }
    assert {row["family"] for row in settled_rows.values()} == {"a", "c", "d", "g", "i", "k", "l"}


def test_where_near_duplicates_are_not_looked_for_none_should_go(spark: SparkSession) -> None:
    ddl = (
        "kind string, doc_id string, url string, original string, jaccard double, stage string, duplicate_of string, "
        "decision string, expected string, reasons array<string>, signal string"
    )
    rows = [
        ("article", "a", "a", None, None, None, None, "kept", "kept", [], None),
        (
            "near_duplicate",
            "b",
            "b",
            "a",
            0.9,
            "duplicate_clusters",
            "a",
            "dropped",
            "kept",
            ["duplicate_clusters"],
            None,
        ),
    ]
    found = scoring._settled(spark.createDataFrame(rows, ddl), None).select(
        "*", scoring._is_expected().alias("excused")
    )
    assert {row["url"]: (row["expected"], row["excused"]) for row in found.collect()} == {
        "a": ("kept", False),
        "b": ("kept", True),
    }


def test_duplicates_are_told_by_method(written: str, lake: Lake) -> None:
    text = words(written)
    clusters_of = defaultdict(list)
    for row in lake.read(tables.DUPLICATE_CLUSTERS).collect():
        clusters_of[row["method"]].append(row)
    rules = Counter(row["rule"] for row in lake.read(tables.DISPOSITIONS).collect())
    for method, rule, said in (
        ("exact", "exact_duplicate", "the same text, letter by letter"),
        ("minhash", "near_duplicate", "nearly the same text similarity 0.8 or more"),
    ):
        members = clusters_of[method]
        count = len({row["cluster_id"] for row in members})
        assert f"{said} {count:,} {len(members):,} {rules[rule]:,} " in text
        for begin in {2 ** int(math.log2(row["cluster_size"])) for row in members}:
            of_size = [row for row in members if begin <= row["cluster_size"] < 2 * begin]
            assert f"{begin} to {2 * begin - 1} {len({row['cluster_id'] for row in of_size})} {len(of_size)}" in text
    assert "the one fetched first, then the one with the smallest doc_id" in text
    exact, near = rules["exact_duplicate"], rules["near_duplicate"]
    passed = exact + near + rules[None]
    assert f"sample {passed} {exact} {near} {exact + near} {(exact + near) / passed:.1%}" in text


def test_compared_pairs_and_recall_are_told(lake: Lake) -> None:
    """The recall of the pairs that were found, by the definition of Horvitz and Thompson."""
    near = clusters.settings(lake)
    assert near is not None and near.geometry is not None and near.similarity == 0.8
    cluster = {
        row["doc_id"]: row["cluster_id"]
        for row in lake.read(tables.DUPLICATE_CLUSTERS).where("method = 'minhash'").collect()
    }
    pairs = lake.read(tables.DUPLICATE_PAIRS).collect()
    different = [row for row in pairs if row["left_set"] != row["right_set"]]
    alike = [row for row in different if row["similarity"] >= 0.8]
    found = clusters.pairs(lake, near)
    assert found is not None
    assert (found["compared"], found["alike"], found["copies"]) == (
        len(different),
        len(alike),
        len(pairs) - len(different),
    )
    joined = [row for row in alike if cluster[row["left_id"]] == cluster[row["right_id"]]]
    assert found["joined"] == len(joined) > 0 == found["chained"]
    for row in found["rows"]:
        held = [pair for pair in different if row["begin"] <= pair["similarity"] < row["end"]]
        assert row["compared"] == len(held) and 0 <= row["chance"] <= 1
    recall = clusters.recall(lake, near)
    assert recall is not None and recall.here is not None and recall.pairs == len(alike)
    chances = [1 - (1 - row["similarity"] ** 8) ** 14 for row in alike]
    assert recall.here == pytest.approx(len(alike) / sum(1 / chance for chance in chances))
    assert recall.at == pytest.approx(1 - (1 - 0.8**8) ** 14) and recall.at < recall.above < 1


def test_a_survivor_is_told_in_words() -> None:
    def told(*preferences: Preference) -> str | None:
        return clusters.survivor(Recipe("r", "", "", (), survivor=preferences))

    assert told(Preference("words", "most"), Preference("crawl", first=("b", "a"))) == (
        "the one with the most words, then the one whose crawl comes first among b, a, "
        "then the one with the smallest doc_id"
    )
    assert told(Preference(prefer="most")) == "the one fetched last, then the one with the smallest doc_id"
    assert clusters.survivor(None) is None


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_agrees_with_published_values(right: int, n: int, low: float, high: float) -> None:
    """The last is of Newcombe 1998, table I."""
    estimate = estimates.wilson(right, n)
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(pair: tuple[int, int]) -> None:
    estimate = estimates.wilson(*pair)
    assert estimate is not None
    assert 0 <= estimate.low <= estimate.value + 1e-12 and estimate.value <= estimate.high + 1e-12 <= 1 + 1e-12


def test_nothing_measured_is_no_estimate() -> None:
    assert estimates.wilson(0, 0) is None
    assert estimates.mean(0.0, 0.0, 0) is None


texts = st.text(st.sampled_from("ab \n漢"), max_size=30)


@given(texts, texts)
def test_word_f1_is_symmetric_and_one_for_the_same_words(left: str, right: str) -> None:
    value = overlap.word_f1(left, right)
    assert 0 <= value <= 1
    assert value == overlap.word_f1(right, left)
    assert overlap.word_f1(left, " ".join(reversed(left.split()))) == 1
    assert overlap.word_f1(left, f"{left} x") < 1


def test_word_f1_counts_words_as_often_as_both_have_them() -> None:
    assert overlap.word_f1("a a b", "a b b c") == pytest.approx(2 * 2 / 7)
    assert overlap.word_f1("a", "b") == 0


def a_funnel(no_pages: int, drops: list[int], kept: int) -> Funnel:
    pages = sum(drops) + kept
    steps, left = [], pages
    if no_pages:
        steps.append(Step("captures", "record_type", "no page", no_pages, 0, pages, 9, 1.0))
    for place, dropped in enumerate(drops):
        left -= dropped
        steps.append(
            Step(f"stage {place % 3}", f"rule_{place}", "why", dropped, 1, left, 9, left / pages if pages else None)
        )
    return Funnel("r", no_pages + pages, pages, 9, tuple(steps), kept, 9, 9, (), ("exact",))


funnels = st.builds(
    a_funnel, st.integers(0, 10**6), st.lists(st.integers(1, 10**6), max_size=30), st.integers(0, 10**6)
)


def scale(drawn: Funnel, frame: river.Frame) -> float:
    """Pixels of a page: as many as let all pages and all records have room."""
    return min(frame.pages / max(1, drawn.pages), (frame.width - frame.bank) / max(1, drawn.records))


@given(funnels, st.sampled_from([river.WIDE, river.NARROW]))
def test_widths_of_the_picture_are_true_to_one_scale(drawn: Funnel, frame: river.Frame) -> None:
    picture = river.draw(drawn, frame)
    numbers = [
        [float(n) for n in re.findall(r"-?[\d.]+", path)] for path in (picture.body, *(s.path for s in picture.streams))
    ]
    body, streams = numbers[0], numbers[1:]
    unit = scale(drawn, frame)
    assert body[2] - body[0] == pytest.approx(drawn.pages * unit, abs=0.02)
    for stream, numbers_of in zip(picture.streams, streams, strict=True):
        assert numbers_of[2] - numbers_of[0] == pytest.approx(stream.documents * unit, abs=0.02)
    assert body[-4] - body[-2] == pytest.approx(drawn.kept * unit, abs=0.02)
    assert max(numbers_of for path in numbers for numbers_of in path[:1]) <= frame.width
    if picture.sink is not None:
        corners = [float(n) for n in re.findall(r"-?[\d.]+", picture.sink)]
        assert corners[2] - corners[0] == pytest.approx(drawn.no_pages * unit, abs=0.02)
        assert corners[2] <= frame.width + 0.01


@given(funnels, st.sampled_from([river.WIDE, river.NARROW]))
def test_no_two_streams_or_labels_overlap(drawn: Funnel, frame: river.Frame) -> None:
    picture = river.draw(drawn, frame)
    places = [stream.y for stream in picture.streams]
    assert all(low + frame.pitch <= high + 0.01 for low, high in itertools.pairwise(places))
    unit = scale(drawn, frame)
    ends = [
        (stream.y - stream.documents * unit / 2, stream.y + stream.documents * unit / 2) for stream in picture.streams
    ]
    assert all(bottom < top for (_, bottom), (top, _) in itertools.pairwise(ends))
    assert all(river_mark.y < picture.mouth for river_mark in picture.marks) and picture.mouth < picture.height


def drawn_in(width: int, drawn: Funnel, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    funnel.draw(drawn, Console(file=stream, width=width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined,no-any-return]


@given(funnels, st.integers(60, 200))
def test_the_funnel_fits_the_terminal_and_says_every_number(drawn: Funnel, width: int) -> None:
    lines = drawn_in(width, drawn).splitlines()
    grid = lines[: lines.index("", 1)]
    assert max(map(len, grid)) <= width
    for step in drawn.steps:
        if step.rule != "record_type":
            line = next(line for line in grid if line.split()[:1] == [step.rule])
            assert f"-{step.documents_dropped:,}" in line and f" {step.documents_left:,} " in line
    assert next(line for line in grid if line.startswith("  kept")).split()[1] == f"{drawn.kept:,}"


def test_the_funnel_is_drawn_in_ascii_where_there_is_no_more() -> None:
    text = drawn_in(100, a_funnel(5, [10, 20], 70), encoding="ascii")
    assert "########" in text and "-20" in text


def test_the_funnel_of_a_lake_is_shown(lake: Lake) -> None:
    stream = io.StringIO()
    funnel.show(lake, "fineweb", Console(file=stream, width=100))
    corpus = lake.read(tables.CORPUS).collect()
    assert f"{sum(row['tokens'] for row in corpus):,} tokens are left in the corpus" in stream.getvalue()
    assert re.search(rf"^  kept +{len(corpus):,} ", stream.getvalue(), re.MULTILINE)


def test_an_unknown_recipe_has_no_funnel(lake: Lake) -> None:
    with pytest.raises(InputError, match=r"known are \['fineweb'\]"):
        funnel.read(lake, "nobody")
