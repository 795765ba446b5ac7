"""The life of a page: what is said about it is what the tables say, and the archive holds what is promised."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as F
from rich.console import Console

from etl import cli, explain, funnel, tables
from etl.lake import Lake
from etl.life import Check, Decision, Life, choose, decide, fetch_command, find, lives, suggestions
from etl.stages.curate import Recipe

CAPTURE: dict[str, Any] = dict.fromkeys(column for column in tables.CAPTURES.columns if column != "payload")
CAPTURE |= {"warc_record_offset": 5, "warc_record_length": 7, "warc_record_type": "response", "crawl": "c"}


@pytest.fixture(scope="module")
def recipe(lake: Lake) -> Recipe:
    found = funnel.applied(lake, "fineweb")
    assert found is not None
    return found


def page_of(lake: Lake, condition: str) -> dict[str, Any]:
    """The disposition of the first page for which a condition holds."""
    row = lake.read(tables.DISPOSITIONS).where(condition).orderBy("doc_id").head()
    assert row is not None
    return row.asDict()


def life_of(lake: Lake, page: str) -> Life:
    captures = [row for row in find(lake, page) if row["warc_record_type"] not in ("request", "metadata")]
    return choose(lives(lake, captures))


def printed(life: Life, **options: bool) -> str:
    stream = io.StringIO()
    explain.show(life, Console(file=stream, width=120), **options)
    return stream.getvalue()


def options_for(lake: Lake) -> list[str]:
    assert lake.warehouse is not None
    return ["--warehouse", lake.warehouse, "--namespace", lake.namespace]


@pytest.fixture(scope="module")
def kept(lake: Lake) -> Life:
    return life_of(lake, page_of(lake, "decision = 'kept'")["doc_id"])


def test_a_kept_page_passes_every_rule_and_is_in_training(kept: Life, lake: Lake) -> None:
    (decision,) = kept.decisions
    assert decision.is_kept and decision.checks and not decision.stale
    assert {check.outcome for check in decision.checks} == {"pass"}
    (place,) = kept.training
    row = lake.read(tables.TRAINING_DOCUMENTS).where(F.col("position") == place["position"]).collect()[0]
    assert (row["doc_id"], place["training_set"]) == (kept.capture["doc_id"], "pretrain")
    text = printed(kept)
    assert "kept by recipe fineweb" in text and f"position {place['position']:,} of {place['documents']:,}" in text


def test_the_command_fetches_the_record_of_the_page(kept: Life) -> None:
    assert kept.fetch is not None
    record = subprocess.run(["sh", "-c", kept.fetch], capture_output=True, check=True).stdout
    assert record.startswith(b"WARC/1.0\r\nWARC-Type: response\r\n")
    assert f"WARC-Target-URI: {kept.capture['url']}\r\n".encode() in record
    assert f"WARC-Payload-Digest: sha1:{kept.capture['content_digest']}\r\n".encode() in record


def test_outcomes_are_what_the_thresholds_say(lake: Lake, recipe: Recipe) -> None:
    """Every rule for every document with text, against comparisons in plain Python."""
    rows = lake.spark.sql(
        f"SELECT d.*, struct(a.*) AS measured FROM {lake.namespace}.dispositions AS d "
        f"JOIN {lake.namespace}.annotations AS a ON a.doc_id = d.doc_id"
    ).collect()
    by_name = {rule.name: rule for rule in recipe.rules}
    seen = set()
    for row in rows:
        measured = row["measured"].asDict()
        for check in decide(row.asDict(), measured, recipe).checks:
            rule, value = by_name[check.rule], measured[check.signal]
            if rule.languages is not None and measured["language"] not in rule.languages:
                wanted = "not asked"
            elif rule.min is not None or rule.max is not None:
                is_in = (rule.min is None or value >= rule.min) and (rule.max is None or value <= rule.max)
                wanted = "pass" if is_in else "fail"
            else:
                assert rule.one_of is not None
                wanted = "pass" if value in rule.one_of else "fail"
            assert (row["doc_id"], check.rule, check.outcome) == (row["doc_id"], check.rule, wanted)
            seen.add(check.outcome)
    assert seen == {"pass", "fail", "not asked"}


def test_a_dropped_page_says_rule_value_and_bound(lake: Lake, recipe: Recipe) -> None:
    row = page_of(lake, "rule = 'gopher_min_words'")
    life = life_of(lake, row["url"])
    text = printed(life)
    assert f"words is {row['value']:g}, wanted at least {row['threshold']:g}" in text
    assert "FAIL  at least 50" in text
    others = [rule for rule in row["failed_rules"] if rule != row["rule"]]
    assert [check.rule for check in life.decisions[0].checks if check.outcome == "fail"] == row["failed_rules"]
    assert all(rule in text for rule in others)
    assert life.training == () and "in none" in text


def test_a_page_that_was_not_read_is_asked_no_rule(lake: Lake) -> None:
    life = life_of(lake, page_of(lake, "rule = 'fetch_status'")["doc_id"])
    assert life.document is None and life.scores == {}
    assert {check.outcome for check in life.decisions[0].checks} == {"not asked"}
    assert "the record was not read as a page" in printed(life)


def test_a_page_without_text_says_why(lake: Lake) -> None:
    life = life_of(lake, page_of(lake, "rule LIKE 'extract_%'")["doc_id"])
    assert life.document is not None and life.document["text"] is None
    assert f"says {life.document['extract_error']}" in printed(life)


def test_a_copy_names_the_one_that_is_kept(lake: Lake) -> None:
    row = page_of(lake, "rule = 'exact_duplicate'")
    life = life_of(lake, row["doc_id"])
    exact, near = life.duplicates
    assert (exact["method"], near["method"]) == ("exact", "minhash")
    kept_by = {member["doc_id"]: member["kept_by"] for member in exact["members"]}
    assert kept_by[row["duplicate_of"]] == ["fineweb"]
    assert kept_by[row["doc_id"]] == []
    assert {check.outcome for check in life.decisions[0].checks} == {"pass"}
    survivor = next(member for member in exact["members"] if member["doc_id"] == row["duplicate_of"])
    text = wide(life)
    assert f"{exact['cluster_size']} documents have this text (exact)" in text
    assert f"gives way to {survivor['url']}\n" in text


def test_a_near_duplicate_says_how_alike_it_was_measured_to_be(lake: Lake) -> None:
    row = page_of(lake, "rule = 'near_duplicate'")
    life = life_of(lake, row["doc_id"])
    near = next(cluster for cluster in life.duplicates if cluster["method"] == "minhash")
    similar = {member["doc_id"]: member["similarity"] for member in near["members"]}
    assert similar[row["doc_id"]] is None and near["least"] == 0.8
    survivor = next(member for member in near["members"] if member["doc_id"] == row["duplicate_of"])
    assert survivor["kept_by"] == ["fineweb"] and near["members"][0]["kept_by"], "those that are kept come first"
    # Of documents with one set of shingles one was compared for all.
    sets = {each["doc_id"]: each["shingle_set"] for each in lake.read(tables.DOCUMENT_MINHASH).collect()}
    measured = {
        frozenset((pair["left_set"], pair["right_set"])): pair["similarity"]
        for pair in lake.read(tables.DUPLICATE_PAIRS).collect()
    }
    for doc_id, similarity in similar.items():
        both = frozenset((sets[doc_id], sets[row["doc_id"]]))
        if doc_id != row["doc_id"]:
            assert similarity == (measured.get(both) if len(both) == 2 else 1.0)
    text = wide(life)
    assert f"{near['cluster_size']} documents have nearly this text (minhash, 0.8 or more)" in text
    assert f"gives way to {survivor['url']}, {survivor['similarity']:.3f} like this page" in text


def test_a_survivor_says_for_how_many_it_stands(lake: Lake) -> None:
    row = page_of(lake, "stands_for > 1")
    assert f"it stands for {row['stands_for']} documents with its duplicates" in wide(life_of(lake, row["doc_id"]))


def wide(life: Life) -> str:
    """What is printed where no line is broken and none has spaces at its end."""
    stream = io.StringIO()
    explain.show(life, Console(file=stream, width=400))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def test_the_whole_text_is_printed_when_asked(kept: Life) -> None:
    assert kept.document is not None
    last = kept.document["text"].strip().splitlines()[-1]
    assert last in printed(kept, whole_text=True)


@pytest.mark.parametrize("change", ["bare", "http", "slash", "fragment"])
def test_a_url_is_found_as_people_write_it(change: str, kept: Life, lake: Lake) -> None:
    url = kept.capture["url"]
    written = {
        "bare": url.removeprefix("https://"),
        "http": url.replace("https://", "http://"),
        "slash": url.rstrip("/") if url.endswith("/") else f"{url}/",
        "fragment": f"{url}#top",
    }[change]
    assert kept.capture["doc_id"] in [row["doc_id"] for row in find(lake, written)]


def test_near_urls_are_of_the_same_host_or_of_one_named_alike(kept: Life, lake: Lake) -> None:
    url, host = kept.capture["url"], kept.capture["url_host_name"]
    assert suggestions(lake, f"{url}x")[0] == url
    misspelt = suggestions(lake, f"https://{host.replace('.', '-', 1)}/")
    assert host in misspelt[0]


def test_of_several_captures_the_kept_one_is_shown(kept: Life) -> None:
    later = Life({**kept.capture, "fetch_time": "2999-01-01T00:00:00Z"}, {}, None, None, {}, (), (), (), ())
    assert choose([kept, later]) is kept
    assert choose([later, Life({**later.capture, "fetch_time": None}, {}, None, None, {}, (), (), (), ())]) is later


def test_ranges_are_asked_of_the_place_where_the_archive_is() -> None:
    assert fetch_command("https://host/a b.warc.gz", CAPTURE) == "curl -s -r 5-11 'https://host/a b.warc.gz' | gunzip"
    assert fetch_command("s3://bucket/k/a.warc", CAPTURE) == (
        "aws s3api get-object --bucket bucket --key k/a.warc --range bytes=5-11 record.warc"
    )
    assert fetch_command("/data/a.warc.zst", CAPTURE) == "tail -c +6 /data/a.warc.zst | head -c 7 | zstd -d"
    assert fetch_command("/data/a.arc", CAPTURE) == "tail -c +6 /data/a.arc | head -c 7"
    assert fetch_command("/data/a.arc", {**CAPTURE, "warc_record_length": None}) is None


def test_no_page_can_steer_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe \x9b1m [bold]no markup[/bold]"
    document = dict.fromkeys(tables.DOCUMENTS.columns, evil) | {"text_length": 3, "skipped": None}
    disposition = dict.fromkeys(tables.DISPOSITIONS.columns, evil) | {
        "value": None,
        "failed_rules": [evil],
        "rule": "exact_duplicate",
    }
    member = {"doc_id": evil, "url": evil, "kept_by": [], "similarity": 0.9}
    cluster = {"method": "exact", "cluster_size": 2, "least": None, "members": [member]}
    numbers = {"warc_record_offset": 1, "warc_record_length": 1, "payload_length": 1}
    life = Life(
        capture=dict.fromkeys(CAPTURE, evil) | numbers,
        archive={"location": evil},
        fetch=evil,
        document=document,
        scores={"words": evil, "language": evil},
        models=({"model": evil, "score": 0.5, "level": None, "worst": 0.5, "read": 1, "error": None},),
        duplicates=(cluster,),
        decisions=(Decision(evil, disposition, (Check("r", "words", evil, evil, "fail"),)),),
        training=({"training_set": evil, "position": 0, "documents": 1, "source": evil},),
    )
    left_out = replace(life, document={**document, "skipped": {"detail": evil}})
    text = printed(life, whole_text=True) + printed(life) + printed(left_out)
    assert not [character for character in text if character in "\x1b\x07\x9b\u202e"]
    assert "[bold]no markup[/bold]" in text


@pytest.fixture
def answer(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def ask(*arguments: str) -> tuple[int, str]:
        code = 0
        try:
            cli.main(["explain", *arguments, *options_for(lake)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().out

    yield ask


def test_json_says_the_same(answer: Any, kept: Life) -> None:
    code, text = answer(kept.capture["url"], "--json")
    (found,) = json.loads(text)["captures"]
    assert code == 0
    assert found["capture"] == kept.capture and found["scores"] == kept.scores
    assert found["decisions"][0]["disposition"]["decision"] == "kept"
    assert [row["warc_record_type"] for row in json.loads(text)["other_records"]] == ["request", "metadata"]


def test_a_page_that_is_not_there_ends_with_its_neighbours(answer: Any, kept: Life) -> None:
    code, text = answer(f"{kept.capture['url']}x")
    assert code == 1
    assert "is not in this lake" in text and kept.capture["url"] in text


def test_there_must_be_a_lake(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["explain", "https://a.example/", "--warehouse", str(tmp_path)])
    assert stop.value.code == 2
    assert "there is no lake" in capsys.readouterr().err
