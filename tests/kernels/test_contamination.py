"""A copy of an item is found where it stands, an edited one too, and batches change nothing."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import InputError
from etl.kernels import benchmarks, contamination
from etl.kernels.benchmarks import BenchmarkFile, Item
from etl.kernels.contamination import NEAR, NGRAM, WHOLE, Match, Settings
from etl.kernels.lines import words as unspaced_words


def item(name: str, *texts: tuple[str, str]) -> Item:
    return Item("quiz", benchmarks.sha256({"name": name}), texts)


FERRY = "A ferry carries 48 lorries on each crossing and sails seven times between Larne and Cairnryan every Tuesday."
GLACIER = "Meltwater that freezes beneath a glacier plucks fragments of bedrock and carries them down the valley."
SHORT = "Which alloy did Faraday wind around the torus?"
ITEMS = [
    item("ferry", ("question", FERRY), ("answer", "336")),
    item("glacier", ("question", "What is plucking?"), ("answer", GLACIER), ("answer", "Wind lifts sand.")),
    item("short", ("question", SHORT), ("answer", "none of these")),
    item("whole", ("question", "Hypoxia first impairs"), ("answer", "night vision"), ("answer", "hearing in flight")),
    item("tiny", ("question", "Why?"), ("answer", "Because.")),
]
INDEX = contamination.build(ITEMS)
NAMES = {each.item: name for each, name in zip(ITEMS, ("ferry", "glacier", "short", "whole", "tiny"), strict=True)}
FILLER = "Our garden opens at nine. Tickets are sold at the gate, and dogs must be kept on a lead at all times. "

unhurried = settings(deadline=None)  # the first text of a process fills tables
any_text = st.text(st.characters(exclude_categories=()), max_size=80)


def found(text: str) -> list[Match]:
    return contamination.find([text], INDEX)[0]


def named(text: str) -> list[tuple[str, str, str]]:
    return [(NAMES[match.item], match.part, match.kind) for match in found(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!  It's 3.5", ["Hello", "World", "It", "3", "5"]),
        ("(A) one_two B. three-four", ["one", "two", "three", "four"]),
        ("\u65e5\u672c\u3067\u3059\u3002ok \u65e5ok", ["\u65e5", "\u672c", "\u3067", "\u3059", "ok", "\u65e5", "ok"]),
        ("in\u00adter\u200dest e\u0301te\u0301", ["in\u00adter\u200dest", "e\u0301te\u0301"]),
        (" \n", []),
        ("", []),
    ],
)
def test_words_stand_where_they_are(text: str, wanted: list[str]) -> None:
    words = contamination.words(text)
    assert [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)] == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GRÜSSE aus Köln", "grusse aus koln"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("\uff21\uff22\uff23", "abc"),
        ("inter\u00adest", "interest"),
        ("A) yes; (b) no", "yes no"),
    ],
)
def test_case_accents_and_marks_make_no_other_words(one: str, other: str) -> None:
    assert contamination.words(one).hashes.tolist() == contamination.words(other).hashes.tolist()


@unhurried
@given(any_text)
def test_words_are_those_of_a_pattern(text: str) -> None:
    """The oracle: runs of letters and digits, cut where a script has no spaces. Marks have their own test."""
    plain = re.sub(r"[^\w\s]|[_\u0300-\u036f]", " ", text)
    plain = "".join(c for c in plain if c.isalnum() or c.isspace())
    wanted = [word for run in plain.split() for word in unspaced_words(run)]
    words = contamination.words(plain)
    spelt = [plain[start:end] for start, end in zip(words.starts, words.ends, strict=True)]
    kept = set(spelt)
    assert spelt == [word for word in wanted if word in kept]
    assert all(len(word) == 1 and word.isalpha() for word in wanted if word not in kept)


@unhurried
@given(any_text, any_text)
def test_words_of_two_texts_are_those_of_each(left: str, right: str) -> None:
    together = contamination.words(f"{left}\n{right}").hashes.tolist()
    assert together == [*contamination.words(left).hashes.tolist(), *contamination.words(right).hashes.tolist()]


def test_different_words_have_different_hashes() -> None:
    some = [f"{first}{second}{third}" for first in "abcdefgh01" for second in "abcdefgh01" for third in ("", "a", "0")]
    assert len(set(contamination.words(" ".join(some)).hashes.tolist())) == len(set(some))


@unhurried
@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 14))
def test_runs_have_one_hash_if_they_are_the_same_words(numbers: list[int], size: int) -> None:
    hashes = contamination.ngram_hashes(np.array(numbers, np.uint64), size)
    runs = [tuple(numbers[start : start + size]) for start in range(len(numbers) - size + 1)]
    assert len(hashes) == len(runs)
    assert len(set(hashes.tolist())) == len(set(runs))
    assert len({*zip(runs, hashes.tolist(), strict=True)}) == len(set(runs))


@unhurried
@given(any_text, any_text, st.sampled_from([(0, FERRY), (1, GLACIER), (2, SHORT)]))
def test_a_copy_is_found_where_it_stands(before: str, after: str, leak: tuple[int, str]) -> None:
    number, text = leak
    start = len(before) + 1
    match = next(m for m in found(f"{before}\n{text}\n{after}") if m.item == ITEMS[number].item)
    # A last mark is no part of a word, and neither is a first word of one letter.
    words = contamination.words(text)
    assert (match.kind, match.overlap) == (NGRAM, 1.0)
    assert (match.start, match.end) == (start + words.starts[0], start + words.ends[-1])


@unhurried
@given(st.data())
def test_shared_runs_are_those_that_brute_force_finds(data: st.DataObject) -> None:
    """Words of a small alphabet, so that runs repeat and overlap; a unit counts when some run of it is in the text."""
    alphabet = [f"w{n}" for n in range(6)]
    spoken = st.lists(st.sampled_from(alphabet), min_size=8, max_size=30)
    units = data.draw(st.lists(spoken, min_size=1, max_size=4))
    text = data.draw(st.lists(st.sampled_from([*alphabet, "other"]), max_size=20))
    text += data.draw(st.sampled_from(units))[: data.draw(st.integers(0, 30))]
    rules = Settings(ngram=6, shortest=4, min_weight=0, near=1, seed=2, max_items=1000)
    items = [Item("b", benchmarks.sha256({"n": n}), (("q", " ".join(unit)),)) for n, unit in enumerate(units)]
    index = contamination.build(items, rules)
    wanted = {each.item for each, unit in zip(items, units, strict=True) if runs(unit, 6) & runs(text, 6)}
    by_run = {match.item for match in contamination.find([" ".join(text)], index)[0] if match.kind == NGRAM}
    assert by_run == wanted


def runs(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def test_another_dress_of_the_same_words_is_a_copy() -> None:
    dressed = FERRY.upper().replace(" ", " \n* ").replace(".", " ...")
    assert named(f"{FILLER}{dressed}{FILLER}") == [("ferry", "question", NGRAM)]


def test_choices_in_another_order_with_other_letters_are_found() -> None:
    leak = "12. Hypoxia first impairs:\n(a) hearing in flight\n(b) night vision"
    match = found(f"{FILLER}\n{leak}\n{FILLER}")[0]
    assert (NAMES[match.item], match.part, match.overlap) == ("whole", WHOLE, 1.0)


@pytest.mark.parametrize("text", [FERRY, GLACIER])
def test_an_edited_copy_is_found(text: str) -> None:
    words = text.split()
    words[3], words[8] = "quite", "other"
    words.insert(12, "really")
    del words[5]
    edited = " ".join(words)
    match = found(f"{FILLER}{edited} {FILLER}")[0]
    assert match.kind == NEAR
    assert 0.65 <= match.overlap < 1
    assert len(FILLER) <= match.start < match.end <= len(FILLER) + len(edited)


def test_a_passage_on_the_same_matter_is_no_copy() -> None:
    same = (
        "Meltwater that freezes, so they told us, beneath a glacier plucks, now and then, fragments of bedrock, "
        "quite large ones, and carries them, with ease, down the valley."
    )
    assert not found(same)
    lax = contamination.build(ITEMS, Settings(near_words=0))
    assert [match.kind for match in contamination.find([same], lax)[0]] == [NEAR]


def test_half_of_an_item_is_a_shared_run_if_it_is_long_enough() -> None:
    words = FERRY.split()
    # The first word is a letter, so 15 words are 14.
    match = found(" ".join([*FILLER.split(), *words[:15], "or", "so"]))[0]
    assert match.kind == NGRAM
    assert 0.6 < match.overlap < 1
    assert not found(" ".join([*FILLER.split(), *words[:9], "or", "so"]))


def test_a_run_does_not_go_on_in_the_next_text() -> None:
    words = FERRY.split()
    halves = [" ".join(words[:9]), " ".join(words[9:])]
    assert contamination.find(halves, INDEX) == [[], []]
    assert found("\n".join(halves))


def test_what_most_items_say_is_nobodys() -> None:
    template = "Which of the following statements about the subject named here is both true and important to know"
    items = [item(str(n), ("question", f"{template} subject{n} branch{n} keyword{n} detail{n}?")) for n in range(40)]
    index = contamination.build(items)
    assert contamination.find([template], index) == [[]]
    assert [match.item for match in contamination.find([items[7].texts[0][1]], index)[0]] == [items[7].item]


def test_the_report_says_what_cannot_be_found() -> None:
    (report,) = INDEX.report
    assert (report.items, report.tested, report.as_whole, report.too_short, report.too_common) == (5, 4, 1, 1, 0)
    assert {(NAMES[each], part) for each, part in INDEX.tested()} == {
        ("ferry", "question"),
        ("glacier", "answer"),
        ("short", "question"),
        ("whole", WHOLE),
    }
    assert not found("Why? Because.")


def test_of_several_copies_the_best_and_first_is_named() -> None:
    edited = FERRY.replace("lorries", "vans")
    text = f"{edited}\n{FERRY}\n{FERRY}"
    (match,) = found(text)
    assert match.overlap == 1
    assert match.start == len(edited) + 3


@settings(unhurried, max_examples=25)
@given(st.lists(st.sampled_from([FERRY, GLACIER, SHORT, FILLER, ""]) | any_text, max_size=8), st.randoms())
def test_neither_order_nor_batches_change_anything(texts: list[str], draw: random.Random) -> None:
    alone = [found(text) for text in texts]
    assert contamination.find(texts, INDEX) == alone
    order = draw.sample(range(len(texts)), len(texts))
    assert contamination.find([texts[place] for place in order], INDEX) == [alone[place] for place in order]


@unhurried
@given(any_text)
def test_any_text_is_searched(text: str) -> None:
    for match in found(text):
        assert 0 <= match.start < match.end <= len(text)


def test_missing_and_empty_texts_hold_nothing() -> None:
    assert contamination.find([None, "", " ", "\x00"], INDEX) == [[], [], [], []]
    assert contamination.find([], INDEX) == []


def test_without_items_nothing_is_found() -> None:
    assert contamination.find([FERRY], contamination.build([])) == [[]]


def test_the_same_items_give_the_same_index_and_it_travels() -> None:
    one, other = pickle.dumps(INDEX), pickle.dumps(contamination.build(ITEMS))
    assert one == other
    found([FERRY][0])
    assert contamination.find([FERRY], pickle.loads(one)) == [found(FERRY)]
    assert pickle.dumps(INDEX) == one, "what is worked out on the way does not travel"


def test_a_text_of_many_pieces_is_searched_to_its_end() -> None:
    start = time.process_time()
    long = FILLER * 60_000  # six million characters
    text = f"{long}{FERRY}{'x' * 3_000_000} {GLACIER}"
    matches = found(text)
    assert [NAMES[match.item] for match in matches] == ["ferry", "glacier"]
    assert text[matches[0].start : matches[0].end] == FERRY[2:-1]
    assert time.process_time() - start < 10


def test_a_text_that_repeats_an_item_costs_no_more_than_its_length() -> None:
    start = time.process_time()
    half = " ".join(FERRY.split()[:15])
    (match,) = found(f"{half}. {FILLER}" * 3_000)
    assert match.start == 2
    assert time.process_time() - start < 5


# --- reading ---------------------------------------------------------------------------------------------------------


def quiz(path: Path, **parts: tuple[str, ...]) -> BenchmarkFile:
    return BenchmarkFile("quiz", str(path), parts or {"question": ("question",), "answer": ("choices",)})


ROWS = [{"question": FERRY, "choices": ["336", "48"]}, {"question": GLACIER, "choices": ["yes", "no"]}]


@pytest.mark.parametrize("name", ["items.jsonl", "items.jsonl.gz", "items.json", "items.parquet"])
def test_items_are_read_from_every_kind_of_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    as_lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith(".json"):
        path.write_text(json.dumps(ROWS))
    else:
        path.write_bytes(gzip.compress(as_lines) if name.endswith(".gz") else as_lines)
    first, second = benchmarks.read([quiz(path)])
    assert first.texts == (("question", FERRY), ("answer", "336"), ("answer", "48"))
    assert (second.benchmark, second.item) == ("quiz", benchmarks.sha256(ROWS[1]))


def test_fields_may_be_paths_and_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"ctx": "one", "choices": [{"turns": ["two", "three"]}, {"turns": ["four"]}]}))
    (read,) = benchmarks.read([quiz(path, question=("query", "ctx"), answer=("choices.turns",))])
    assert read.texts == (("question", "one"), ("answer", "two"), ("answer", "three"), ("answer", "four"))


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    path, missing = tmp_path / "items.jsonl", tmp_path / "missing.jsonl"
    path.write_text('{"question": "one", "choices": ["a"]}\n{"query": "two"}\nnot JSON\n[1]\n{"question": 5}\n')
    with pytest.raises(InputError) as error:
        benchmarks.read([quiz(path, question=("question",)), BenchmarkFile("other", str(missing), {"q": ("q",)})])
    told = str(error.value)
    assert f"{path}, record 2: found query, wanted question" in told
    assert f"{path}, record 3: not_json" in told
    assert f"{path}, record 4: found a JSON list, wanted an object" in told
    assert f"{path}, record 5: question is '5', wanted a text or a list of texts" in told
    assert f"{missing}: cannot be read" in told


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"q": 1}\n' * 12)
    with pytest.raises(InputError, match=r"record 5: .*; and 7 more of .*items.jsonl$"):
        benchmarks.read([quiz(path)])


def test_an_item_has_the_name_that_evaluations_give_it() -> None:
    from etl.evaluate import data  # brings PyTorch, which only this test needs

    assert benchmarks.sha256(ROWS[0]) == data.sha256(ROWS[0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ngram": 5}, "ngram is 5, wanted at least shortest, which is 8"),
        ({"shortest": 2, "seed": 3}, "shortest is 2, wanted at least seed, which is 3"),
        ({"near": 1.5, "seeds": 0}, "seeds is 0, wanted at least 1; near is 1.5, wanted 0 to 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_part_needs_a_field_and_a_name_of_its_own() -> None:
    for parts in ({}, {"question": ()}, {WHOLE: ("question",)}):
        with pytest.raises(ValueError, match="wanted one or more with a field each"):
            BenchmarkFile("quiz", "items.jsonl", parts)
