"""The embedded sample is what it says it is: readable, repeatable, and true about itself."""

from __future__ import annotations

import gzip
import html
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import trafilatura
import yaml
from datasketch import MinHash  # type: ignore[import-untyped]  # it has no stubs
from fastwarc.warc import ArchiveIterator

from etl import sample
from etl.errors import ConfigError
from etl.kernels import html as decoding
from etl.kernels import language, quality, rights, warc
from etl.sample import articles, kinds, passages, texts
from etl.sample.__main__ import main
from etl.sample.pages import PLAIN_TEMPLATES, Crawl, Page

Truth = dict[str, Any]
Recipe = list[dict[str, Any]]

RECIPE = Path(__file__).parents[1] / "conf" / "recipes" / "fineweb.yaml"

ENGLISH_PROSE = ("article", "forum_thread", "product")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> sample.Sample:
    return sample.write_sample(tmp_path_factory.mktemp("sample"), pages=sample.MIN_PAGES)


@pytest.fixture(scope="module")
def truth(written: sample.Sample) -> list[Truth]:
    with gzip.open(written.truth, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    crawl = Crawl(1, passages.pool())
    return [crawl.page(serial) for serial in range(kinds.DECK)]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    rules: Recipe = yaml.safe_load(RECIPE.read_text("utf-8"))["rules"]
    return rules


def failed(recipe: Recipe, text: str) -> set[str]:
    """What the rules that `text` does not meet read: a column of document_quality, or document_language."""
    ((found, score),) = language.detect([text])
    signals = {**quality.signals(text)._asdict(), "language": found, "language_score": score}
    columns = set()
    for rule in recipe:
        if rule["signal"].startswith("url_"):
            continue  # of no text
        value = signals[rule["signal"]]
        least, most, names = rule.get("min", value), rule.get("max", value), rule.get("one_of", [value])
        if not least <= value <= most or value not in names:
            columns.add("document_language" if rule["signal"].startswith("language") else rule["signal"])
    return columns


def of_kind(truth: list[Truth], *names: str) -> list[Truth]:
    return [entry for entry in truth if entry["kind"] in names]


def record_at(path: Path, offset: int) -> Any:
    """The record stored at `offset`, as FastWARC reads it."""
    return next(ArchiveIterator(BytesIO(path.read_bytes()[offset:]), parse_http=False))


def test_another_process_writes_the_same_bytes_with_two_workers(written: sample.Sample, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "etl.sample", str(tmp_path), "--pages", "300", "--processes", "2"]
    # Another order of sets and dictionaries must not show.
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in written.truth.parent.iterdir())
    for name in names:
        assert (tmp_path / name).read_bytes() == (written.truth.parent / name).read_bytes(), name


def test_a_page_does_not_depend_on_the_size_of_the_sample(written: sample.Sample, tmp_path: Path) -> None:
    larger = sample.write_sample(tmp_path, pages=400)
    assert larger.files[0].read_bytes().startswith(written.files[0].read_bytes())


def test_another_seed_gives_other_pages(pages: list[Page]) -> None:
    other = Crawl(2, passages.pool())
    assert not {page.body for page in pages if page.body} & {other.page(serial).body for serial in range(50)}


def test_a_sample_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sample-00099.warc.gz").write_bytes(b"of a larger sample")
    (tmp_path / "notes.txt").write_text("mine")
    written = sample.write_sample(tmp_path, pages=300, seed=5)
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt",
        written.truth.name,
        written.summary.name,
        *(path.name for path in written.files),
    }


def test_every_kind_is_there_in_its_share(truth: list[Truth]) -> None:
    found = Counter(entry["kind"] for entry in truth)
    wanted = {kind.name: kind.count for kind in kinds.KINDS} | {kind.name: 1 for kind in kinds.DAMAGES}
    assert found == wanted
    assert 0.43 < sum(found[name] for name in ENGLISH_PROSE) / kinds.DECK < 0.47


def test_the_summary_counts_what_a_reader_finds(written: sample.Sample) -> None:
    summary = json.loads(written.summary.read_text())
    for path in written.files:
        wanted = summary["files"][path.name]
        assert wanted["bytes"] == path.stat().st_size
        with path.open("rb") as stream:
            rows = [
                row
                for batch in warc.record_batches(stream, warc_filename=path.name, crawl="sample", keep_payload=False)
                for row in batch.select(["warc_record_type", "ingest_error"]).to_pylist()
            ]
        assert len(rows) == wanted["records"]
        assert sum(row["ingest_error"] is not None for row in rows) == wanted["unreadable"]
    assert summary["records"] == sum(entry["records"] for entry in summary["files"].values())
    assert [entry["unreadable"] for entry in summary["files"].values()] == [0, 1, 1, 1]
    assert [entry["truncated"] for entry in summary["files"].values()] == [False, False, False, True]


def test_fastwarc_reads_the_undamaged_file_and_its_digests_are_right(written: sample.Sample) -> None:
    counts = written.counts[0]
    types: Counter[str] = Counter()
    with written.files[0].open("rb") as stream:
        for record in ArchiveIterator(stream, parse_http=False):
            types[record.headers["WARC-Type"]] += 1
            if "WARC-Block-Digest" in record.headers:
                assert record.verify_block_digest()
    assert types == counts.record_types
    assert types["request"] == types["metadata"] == counts.pages
    with written.files[0].open("rb") as stream:
        responses = [r for r in ArchiveIterator(stream, auto_decode="none") if r.headers["WARC-Type"] == "response"]
        assert len(responses) == types["response"]
    with written.files[0].open("rb") as stream:
        for record in ArchiveIterator(stream, auto_decode="none"):
            if record.headers["WARC-Type"] == "response":
                assert record.verify_payload_digest()


def test_offsets_lead_to_the_record_of_the_page(written: sample.Sample, truth: list[Truth]) -> None:
    by_name = {path.name: path for path in written.files}
    damages = {kind.name for kind in kinds.DAMAGES}
    for entry in (entry for entry in truth if entry["kind"] not in damages):
        record = record_at(by_name[entry["warc_filename"]], entry["warc_record_offset"])
        assert record.headers["WARC-Target-URI"] == entry["url"]
        assert record.headers["WARC-Type"] == ("revisit" if entry["kind"] == "revisit" else "response")


def test_revisits_point_to_a_record_that_is_there(written: sample.Sample, truth: list[Truth]) -> None:
    by_name = {path.name: path for path in written.files}
    (entry,) = of_kind(truth, "revisit")
    revisit = record_at(by_name[entry["warc_filename"]], entry["warc_record_offset"])
    (first,) = (other for other in of_kind(truth, "article") if other["url"] == entry["duplicate_of"])
    original = record_at(by_name[first["warc_filename"]], first["warc_record_offset"])
    assert revisit.headers["WARC-Refers-To"] == original.headers["WARC-Record-ID"]
    assert revisit.headers["WARC-Refers-To-Date"] == original.headers["WARC-Date"]
    assert revisit.headers["WARC-Payload-Digest"] == original.headers["WARC-Payload-Digest"]


def test_urls_are_unique_but_for_the_revisit(truth: list[Truth]) -> None:
    found = Counter(entry["url"] for entry in truth if entry["kind"] != "revisit")
    assert max(found.values()) == 1
    assert all(url.split("/")[2].endswith(".example") for url in found)


def test_near_duplicates_are_as_alike_as_the_truth_says(truth: list[Truth]) -> None:
    by_url = {entry["url"]: entry for entry in of_kind(truth, "article")}
    for entry in of_kind(truth, "near_duplicate"):
        signatures = []
        for text in (entry["text"], by_url[entry["duplicate_of"]]["text"]):
            signature = MinHash(num_perm=512)
            signature.update_batch(" ".join(shingle).encode() for shingle in articles.shingles(text))
            signatures.append(signature)
        error = (0.25 / 512) ** 0.5
        assert abs(signatures[0].jaccard(signatures[1]) - entry["jaccard"]) < 5 * error
        assert 0.15 < entry["jaccard"] < 1


def test_exact_duplicates_have_the_same_text_at_another_host(truth: list[Truth]) -> None:
    by_url = {entry["url"]: entry for entry in of_kind(truth, "article")}
    for entry in of_kind(truth, "exact_duplicate"):
        original = by_url[entry["duplicate_of"]]
        assert entry["text"] == original["text"]
        assert entry["url"].split("/")[2] != original["url"].split("/")[2]


def test_pages_are_no_duplicates_unless_the_truth_says_so(truth: list[Truth]) -> None:
    prose = of_kind(truth, *ENGLISH_PROSE, "other_language")
    shingles = [articles.shingles(entry["text"]) for entry in prose]
    places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, found in enumerate(shingles):
        for shingle in found:
            places[shingle].append(number)
    shared = Counter(pair for numbers in places.values() for pair in itertools.combinations(numbers, 2))
    alike = {pair: n / (len(shingles[pair[0]]) + len(shingles[pair[1]]) - n) for pair, n in shared.items()}
    assert max(alike.values()) < 0.7


def test_the_first_pages_of_any_seed_can_be_copies() -> None:
    for seed in range(100):
        crawl = Crawl(seed, passages.pool())
        assert crawl.article(0)[1].site.template in PLAIN_TEMPLATES
        copies = [serial for serial in range(1, 6) if kinds.kind_of(seed, serial).name == "exact_duplicate"]
        assert all(crawl.page(serial).duplicate_of for serial in copies)


def test_jaccard_counts_shared_runs_of_five_words() -> None:
    assert articles.jaccard("a b c d e f", "A b, c d e g") == pytest.approx(1 / 3)
    assert articles.jaccard("too short", "to share anything") == 0.0


def test_articles_are_spread_over_lengths() -> None:
    crawl = Crawl(1, passages.pool())
    words = [len(crawl.article(serial)[0].text.split()) for serial in range(400)]
    assert min(words) >= articles.MIN_WORDS
    assert 270 < statistics.median(words) < 400
    assert max(words) > 1500


def test_every_language_is_written_in_its_charsets(pages: list[Page]) -> None:
    foreign = [page for page in pages if page.kind.name == "other_language"]
    assert {page.language for page in foreign} == set(texts.LANGUAGES)
    for page in foreign:
        assert page.charset is not None and page.text is not None
        shown = html.unescape(page.body.decode(page.charset.codec))
        assert all(line in shown for line in page.text.split("\n"))


def test_charsets_are_declared_in_every_way() -> None:
    crawl = Crawl(1, passages.pool())
    declared = set()
    codecs = set()
    for serial in range(20 * kinds.DECK):
        if kinds.kind_of(1, serial).name == "other_language":
            charset = crawl.page(serial).charset
            assert charset is not None
            codecs.add(charset.codec)
            is_wrong = charset.header is not None and (charset.header == "utf-8") != (charset.codec == "utf-8")
            declared.add("wrong" if is_wrong else (charset.header is not None, charset.meta is not None))
    assert declared == {"wrong", (True, True), (True, False), (False, True), (False, False)}
    assert {"utf-8", "iso8859-1", "cp1252", "cp1251", "iso8859-2", "shift_jis", "euc_jp", "gb18030"} <= codecs


def test_each_sentence_of_the_texts_is_found() -> None:
    for name in texts.LANGUAGES:
        paragraphs = texts.paragraphs(name)
        assert len(paragraphs) >= 10
        assert sum(len(sentences) for _, sentences in paragraphs) >= 25
        assert len({sentence for _, sentences in paragraphs for sentence in sentences}) >= 25


@pytest.mark.parametrize("name", ["de", "ru", "zh", "ar"])
def test_titles_and_dates_are_in_the_language_of_the_page(name: str, pages: list[Page]) -> None:
    headings = {heading for heading, _ in texts.paragraphs(name)}
    assert all(page.title in headings for page in pages if page.language == name)


def test_articles_are_found_by_trafilatura_and_pass_the_recipe(pages: list[Page], recipe: Recipe) -> None:
    scores, failing = [], set()
    for page in [page for page in pages if page.kind.name == "article"][:50]:
        assert page.charset is not None and page.text is not None
        found = trafilatura.extract(page.body.decode(page.charset.codec), include_comments=False) or ""
        shared = sum((Counter(found.split()) & Counter(page.text.split())).values())
        scores.append(2 * shared / (len(found.split()) + len(page.text.split())))
        if failed(recipe, found):
            failing.add(page.url)
    assert statistics.mean(scores) > 0.97
    assert len(failing) <= 1, failing


def test_bad_pages_fail_by_a_rule_that_the_truth_names(truth: list[Truth], recipe: Recipe) -> None:
    bad = [entry for entry in truth if entry["expected"]["decision"] == "dropped" and entry["text"]]
    judged = [entry for entry in bad if not {"captures", "duplicate_clusters"} & set(entry["expected"]["rules"])]
    assert len({entry["kind"] for entry in judged}) > 8
    for entry in judged:
        assert failed(recipe, entry["text"]) & set(entry["expected"]["rules"]), entry["kind"]


def test_planted_defects_are_in_the_bytes(pages: list[Page]) -> None:
    bodies = {page.kind.name: page.body for page in pages}
    assert len(bodies["huge_page"]) > 2_900_000
    assert bodies["deep_nesting"].count(b"<div>") >= 2900
    assert b"\0" in bodies["nul_bytes"]
    assert b"</p>" not in bodies["unclosed_tags"]
    assert bodies["empty_body"] == b""
    assert gzip.decompress(bodies["gzip_body"]).lstrip().lower().startswith(b"<!doctype html")
    assert bodies["chunked_body"].endswith(b"\r\n0\r\n\r\n")
    assert bodies["pdf"].startswith(b"%PDF-") and bodies["png"].startswith(b"\x89PNG")
    assert max(map(len, bodies["long_word"].split())) > 1000


def test_a_truncated_payload_holds_its_text_and_no_more(pages: list[Page]) -> None:
    (page,) = (page for page in pages if page.kind.name == "truncated_payload")
    assert page.charset is not None and page.text is not None
    assert b"</html>" not in page.body and int(dict(page.headers)["Content-Length"]) > len(page.body)
    last = page.text.split("\n")[-1].removeprefix("- ")
    assert (
        html.unescape(page.body.decode(page.charset.codec)).replace("<code>", "").replace("</code>", "").find(last) > 0
    )


def test_out_of_range_arguments_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pages is 299, wanted 300 to 1000000; processes is 0, wanted 1 or more"):
        sample.write_sample(tmp_path / "new", pages=299, processes=0)
    assert not (tmp_path / "new").exists()


def test_the_command_reports_bad_arguments_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--pages", "2000000"]) == 2
    assert capsys.readouterr().err == "sample: pages is 2000000, wanted 300 to 1000000\n"


@pytest.mark.parametrize(
    "text",
    [
        "    x = 1\n    y = {2: 3}\n    return frobnicate(x, y)",
        "Parameters\n----------\nname : str\n    The name of the thing that is to be named by the caller.",
        "lower case begins this line and it is not a sentence of the kind that we want to have.",
        "This one has no end because the author forgot to put it at the place where it belongs",
    ],
)
def test_what_is_no_prose_is_no_passage(text: str) -> None:
    assert list(passages.passages(text, "nothing")) == []


def test_markup_of_docstrings_becomes_markup_of_pages() -> None:
    text = "Return the ``value`` of :class:`~pkg.Thing`, which is *never* the same as `Q&A` and that is good."
    (passage,) = passages.passages(text, "thing")
    assert passage.text == "Return the value of Thing, which is never the same as Q&A and that is good."
    assert "<code>value</code> of <code>Thing</code>" in passage.html
    assert "<code>Q&amp;A</code>" in passage.html


def test_some_sites_say_what_may_be_done_with_their_pages(crawl: sample.Sample) -> None:
    """What `etl.kernels.rights` finds on the pages that are written, by site."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for path in crawl.files:
        with path.open("rb") as file:
            for batch in warc.record_batches(file, warc_filename=path.name, crawl="c"):
                for row in batch.to_pylist():
                    if row["content_mime_detected"] == "text/html" and row["payload"] is not None:
                        content, _charset = decoding.decode(warc.payload(row["payload"], row["payload_length"]))
                        said = rights.of_page(content)
                        facts = (rights.against_training(said), said.tdm_reservation, said.license)
                        found.setdefault(row["url_host_name"], set()).add(facts)
    assert (False, None, "cc-by-sa-4.0") in found["wiki.openlake.example"]
    assert (True, None, None) in found["magazine.brackwater.example"]
    assert (False, 1, None) in found["weekly.fernhill.example"]
    assert found["blog.lakeside.example"] == {(False, None, None)}
