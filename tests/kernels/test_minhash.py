"""Signatures estimate what the exact similarity says, bands propose what is similar, and clusters hold nothing else."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]  # it has no stubs
from datasketch import lsh as datasketch_lsh
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import config
from etl.errors import ConfigError
from etl.kernels import minhash, shingles
from etl.kernels.minhash import CompleteLink, Geometry, StarLink
from tests.bench import planted

BANDS, ROWS = 14, 8
PERMS = minhash.permutations(BANDS * ROWS, seed=1)
PRESETS = sorted(Path(__file__).parents[2].glob("conf/minhash/*.yaml"))

words = st.lists(st.sampled_from("abcdefgh"), max_size=40).map(" ".join)
any_text = st.text(st.characters(exclude_categories=()), max_size=60)
arrow_text = st.text(max_size=60)  # which has no lone surrogates
texts = st.lists(any_text | words, max_size=8)
geometries = st.builds(
    Geometry,
    name=st.just("test"),
    description=st.just(""),
    source=st.just(""),
    unit=st.sampled_from(shingles.UNITS),
    size=st.integers(1, 6),
    bands=st.integers(1, 10),
    rows=st.integers(1, 4),
    seed=st.integers(0, 3),
)


def geometry(**changes: Any) -> Geometry:
    return Geometry(name="test", description="", source="", **changes)


def shingles_of(text: str, size: int, unit: str = "words") -> set[Any]:
    """The definition, in plain Python."""
    found: Any = shingles.words(text) if unit == "words" else shingles.characters(text)
    return {tuple(found[start : start + size]) for start in range(max(1, len(found) - size + 1))} if found else set()


def similarity(left: set[Any], right: set[Any]) -> float:
    return len(left & right) / len(left | right) if left | right else 1.0


def containment(left: set[Any], right: set[Any]) -> float:
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else float(left == right)


def test_code_that_differs_in_a_sign_differs() -> None:
    plus, minus = (minhash.shingle_hashes(f"def f(a, b): return a {sign} b", 5) for sign in "+-")
    assert minhash.jaccard(plus, minus) < 1


def test_same_text_shares_every_band() -> None:
    one, two = (minhash.shingle_hashes(text, 2) for text in ("one two three", "One  two, three"))
    assert minhash.band_hashes(minhash.signature(one, PERMS), BANDS) == minhash.band_hashes(
        minhash.signature(two, PERMS), BANDS
    )


def test_hashes_are_the_same_everywhere() -> None:
    """Rows of a table are compared with those that another machine wrote years ago."""
    row = minhash.batch(pa.array(["the same on every machine and in every process"]), geometry(bands=2)).to_pylist()[0]
    assert row == {
        "normal_hash": "464bdfa3fe1df0a68586e0f84f8c9c59",
        "shingle_set": "58dda9274a756dbf6af94a1299046b3d",
        "shingles": 5,
        "sketch": 4787126541283747014,
        "bands": [-5505840118126159051, -2047103435418835272],
    }


@given(words, words, st.integers(1, 6))
def test_jaccard_is_that_of_the_sets_of_shingles(left: str, right: str, size: int) -> None:
    hashes = [minhash.shingle_hashes(text, size) for text in (left, right)]
    assert minhash.jaccard(*hashes) == similarity(shingles_of(left, size), shingles_of(right, size))


@settings(deadline=None)
@given(words.filter(bool), words.filter(bool))
def test_signature_estimates_jaccard_similarity(left: str, right: str) -> None:
    perms = minhash.permutations(1024, seed=7)
    a, b = (minhash.shingle_hashes(text, size=1) for text in (left, right))
    estimate = (minhash.signature(a, perms) == minhash.signature(b, perms)).mean()
    assert abs(estimate - minhash.jaccard(a, b)) < 5 * (0.25 / 1024) ** 0.5  # five standard errors


def test_signature_agrees_with_datasketch() -> None:
    """Both are estimates of one number, so they differ by no more than two errors may."""
    rng = random.Random(1)
    perms = minhash.permutations(512, seed=3)
    for _ in range(20):
        words = [str(n) for n in range(200)]
        other = [word if rng.random() < 0.9 else f"x{word}" for word in words]
        ours = [minhash.signature(minhash.shingle_hashes(" ".join(text), 1), perms) for text in (words, other)]
        theirs = [MinHash(512) for _ in range(2)]
        for sketch, text in zip(theirs, (words, other), strict=True):
            sketch.update_batch([word.encode() for word in text])
        estimate = (ours[0] == ours[1]).mean()
        assert abs(estimate - theirs[0].jaccard(theirs[1])) < 5 * (2 * 0.25 / 512) ** 0.5


@pytest.mark.parametrize("changed", [5, 15, 40])
def test_bands_find_as_many_as_the_formula_says(changed: int) -> None:
    """Pairs of 200 words of which some are changed: the share that meet in a band against the expected one."""
    pairs, expected = 1000, 0.0
    many = []
    for number in range(pairs):
        one = [f"w{number}x{n}" for n in range(200)]
        other = one[: 200 - changed] + [f"x{word}" for word in one[200 - changed :]]
        many += [" ".join(one), " ".join(other)]
        expected += minhash.probability((200 - changed) / (200 + changed), BANDS, ROWS)
    bands = minhash.batch(pa.array(many), geometry(size=1)).column("bands").to_pylist()
    met = sum(bool(set(left) & set(right)) for left, right in zip(bands[::2], bands[1::2], strict=True))
    error = (0.25 / pairs) ** 0.5
    assert abs(met / pairs - expected / pairs) < 5 * error


def test_bands_propose_as_many_planted_pairs_as_datasketch_with_the_same_shingles() -> None:
    """Each of two random families finds a pair with the probability of its similarity, so their numbers are near."""
    documents = list(planted.documents(120, seed=3))
    pairs = [pair for pair in planted.truth(120, seed=3) if 0.5 <= pair.similarity < 1]
    lsh = MinHashLSH(params=(BANDS, ROWS), num_perm=BANDS * ROWS)
    sketches = {}
    for document in documents:
        sketch = sketches[document.doc_id] = MinHash(BANDS * ROWS)
        sketch.update_batch([" ".join(each).encode() for each in planted.shingles(document.text, 5)])
        lsh.insert(document.doc_id, sketch)
    theirs = {doc_id: set(lsh.query(sketch)) for doc_id, sketch in sketches.items()}
    rows = minhash.batch(pa.array([document.text for document in documents]), geometry()).column("bands").to_pylist()
    ours = {document.doc_id: set(bands) for document, bands in zip(documents, rows, strict=True)}
    expected = [minhash.probability(pair.similarity, BANDS, ROWS) for pair in pairs]
    error = 5 * sum(p * (1 - p) for p in expected) ** 0.5 + 1
    assert len(pairs) > 40
    assert abs(sum(bool(ours[pair.left] & ours[pair.right]) for pair in pairs) - sum(expected)) < error
    assert abs(sum(pair.right in theirs[pair.left] for pair in pairs) - sum(expected)) < error
    # What is unlike meets nowhere, in neither.
    family = {document.doc_id: document.family for document in documents}
    met = {(a, b) for a, b in combinations(ours, 2) if ours[a] & ours[b] and family[a] != family[b]}
    assert not met
    assert not {(a, b) for a in theirs for b in theirs[a] if family[a] != family[b]}


def test_similarities_of_planted_documents_are_those_of_brute_force() -> None:
    texts = {document.doc_id: document.text for document in planted.documents(150, seed=5)}
    pairs = list(planted.truth(150, seed=5))
    left, right = ([texts[doc_id] for doc_id in side] for side in zip(*[(p.left, p.right) for p in pairs], strict=True))
    found, _ = minhash.compare(left, right, geometry())
    assert found.tolist() == [pair.similarity for pair in pairs]
    assert {0 < pair.similarity < 0.7 for pair in pairs} == {True, False}


@settings(deadline=None)
@given(texts, st.integers(1, 6))
def test_many_at_once_are_as_one_by_one(many: list[str], size: int) -> None:
    hashes, offsets = minhash.shingle_hashes_of(many, size)
    signatures = minhash.signatures_of(hashes, offsets, PERMS)
    bands = minhash.band_hashes_of(signatures, BANDS)
    assert offsets[0] == 0
    assert offsets[-1] == hashes.size
    for place, text in enumerate(many):
        alone = minhash.shingle_hashes(text, size)
        assert np.array_equal(alone, hashes[offsets[place] : offsets[place + 1]])
        if alone.size:
            assert np.array_equal(minhash.signature(alone, PERMS), signatures[place])
            assert minhash.band_hashes(signatures[place], BANDS) == bands[place].tolist()


def test_texts_of_any_length_fit_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minhash, "BLOCK_SHINGLES", 64)
    rng = random.Random(1)
    long = " ".join(str(rng.random()) for _ in range(300))
    many = ["a b c d e f", long, "", "g", long + " end", *(f"{n} b c d e f g h" for n in range(300))]
    hashes, offsets = minhash.shingle_hashes_of(many, 5)
    found = minhash.signatures_of(hashes, offsets, PERMS)
    lower = hashes.astype(np.uint32)
    for place in range(len(many)):
        own = lower[offsets[place] : offsets[place + 1]]
        if own.size:
            assert np.array_equal(found[place], (np.outer(own, PERMS[0]) + PERMS[1]).min(axis=0))


def test_another_seed_is_another_family() -> None:
    assert np.array_equal(PERMS, minhash.permutations(BANDS * ROWS, seed=1))
    assert not np.any(minhash.permutations(BANDS * ROWS, seed=2) == PERMS)
    assert np.array_equal(PERMS[:, :10], minhash.permutations(10, seed=1)), "more permutations keep the first"


@settings(deadline=None)
@given(st.lists(st.none() | words | arrow_text, max_size=8), geometries)
def test_a_row_of_a_batch_is_what_the_parts_say_of_the_text(many: list[str | None], some: Geometry) -> None:
    rows = minhash.batch(pa.array(many, pa.string()), some).to_pylist()
    perms = minhash.permutations(some.bands * some.rows, some.seed)
    assert len(rows) == len(many)
    for text, row in zip(many, rows, strict=True):
        hashes, _ = shingles.sets_of([text or ""], some.size, some.unit)
        assert row["shingles"] == hashes.size == len(shingles_of(text or "", some.size, some.unit))
        if not hashes.size:
            assert (row["normal_hash"], row["shingle_set"], row["sketch"], row["bands"]) == (None, None, None, [])
        else:
            values = minhash.signature(hashes, perms)
            assert row["bands"] == minhash.band_hashes(values, some.bands)
            firsts = values.reshape(some.bands, some.rows)[:, 0]
            lowest = [int(firsts[band]) & 0xFF for band in range(min(8, some.bands))]
            assert list(row["sketch"].to_bytes(8, "big", signed=True))[: len(lowest)] == lowest


@settings(deadline=None)
@given(st.lists(words | arrow_text, min_size=2, max_size=8), geometries)
def test_hashes_of_a_batch_are_equal_where_what_they_stand_for_is(many: list[str], some: Geometry) -> None:
    rows = [row for row in minhash.batch(pa.array(many, pa.string()), some).to_pylist()]
    for (left, one), (right, other) in combinations(zip(many, rows, strict=True), 2):
        if one["shingles"] and other["shingles"]:
            is_same = shingles.words(left) == shingles.words(right)
            assert (one["normal_hash"] == other["normal_hash"]) == is_same
            sets = [shingles_of(text, some.size, some.unit) for text in (left, right)]
            assert (one["shingle_set"] == other["shingle_set"]) == (sets[0] == sets[1])
            assert sets[0] != sets[1] or (one["bands"], one["sketch"]) == (other["bands"], other["sketch"])


def test_case_spaces_and_punctuation_do_not_matter_and_numbers_do() -> None:
    many = ["Page 7 of 9.", "page  7, of\n(9)", "page 8 of 9"]
    rows = minhash.batch(pa.array(many), geometry(size=3)).to_pylist()
    assert rows[0] == rows[1]
    assert rows[0]["normal_hash"] != rows[2]["normal_hash"]
    assert not set(rows[0]["bands"]) & set(rows[2]["bands"])


@pytest.mark.parametrize(
    "make",
    [
        lambda many: pa.array(many, pa.large_string()),
        lambda many: pa.array(["before", *many, "after"]).slice(1, len(many)),
        lambda many: pa.chunked_array([many[:1], many[1:]], pa.string()),
        lambda many: pa.array(many).dictionary_encode(),
    ],
    ids=["large", "slice", "chunks", "dictionary"],
)
def test_a_batch_takes_strings_as_arrow_has_them(make: Callable[[list[str | None]], Any]) -> None:
    many = ["one two", None, "", "\u65e5\u672c", "three"]
    assert minhash.batch(make(many), geometry()).equals(minhash.batch(pa.array(many), geometry()))
    assert minhash.batch(pa.nulls(2), geometry()).column("shingles").to_pylist() == [0, 0]
    assert minhash.batch(pa.array([], pa.string()), geometry()).num_rows == 0


def test_hashes_of_different_bands_never_meet() -> None:
    """One value in each band, and all values equal: only the number of the band is different."""
    found = minhash.band_hashes_of(np.full((1, 64), 7, np.uint32), 64)
    assert np.unique(found).size == 64


@pytest.mark.parametrize("unit", shingles.UNITS)
def test_a_huge_text_is_as_any_other(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    many = [" ".join(rng.choice(["a", "b", "caf\u00e9", "\u65e5\u672c", "+"], 300)) for _ in range(3)] + [
        "a",
        " " * 999,
    ]
    some = geometry(unit=unit, size=3)
    wanted = minhash.batch(pa.array(many), some)
    compared = minhash.compare(many, many[::-1], some)
    for name, size in (("PIECE_BYTES", 128), ("SEARCH_BYTES", 64)):
        monkeypatch.setattr(shingles, name, size)
    monkeypatch.setattr(minhash, "PASS_BYTES", 200)
    monkeypatch.setattr(minhash, "PASS_SHINGLES", 50)
    assert minhash.batch(pa.array(many), some).equals(wanted)
    assert [each.tolist() for each in minhash.compare(many, many[::-1], some)] == [each.tolist() for each in compared]


@settings(deadline=None)
@given(
    st.lists(st.tuples(words | any_text, words | any_text), max_size=12), geometries, st.sampled_from([1, 60, 1 << 22])
)
def test_pairs_are_compared_by_all_their_shingles(
    pairs: list[tuple[str, str]], some: Geometry, characters: int
) -> None:
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "COMPARED_CHARACTERS", characters)
        similarities, containments = minhash.compare(left, right, some)
    sets = [[shingles_of(text, some.size, some.unit) for text in pair] for pair in pairs]
    assert similarities.tolist() == [similarity(*both) for both in sets]
    assert containments.tolist() == [containment(*both) for both in sets]


def test_texts_without_words_are_like_each_other_alone() -> None:
    similarities, containments = minhash.compare([None, "", "a"], ["...", "a", None], geometry())
    assert similarities.tolist() == containments.tolist() == [1, 0, 0]


def test_a_text_of_a_pair_is_compared_with_its_part_by_containment() -> None:
    long = " ".join(map(str, range(1000)))
    part = " ".join(map(str, range(100, 200)))
    similarities, containments = minhash.compare([long, part], [part, long], geometry())
    assert similarities.tolist() == [96 / 996] * 2
    assert containments.tolist() == [1, 1]


def test_the_label_names_all_that_makes_indexes_comparable() -> None:
    assert geometry().label == "words 5, 14 x 8, seed 1, tokenizer 1"
    other = {"unit": "characters", "size": 4, "bands": 13, "rows": 7, "seed": 2}
    labels = {geometry(**{name: value}).label for name, value in other.items()}
    assert len(labels | {geometry().label}) == 6


def test_a_geometry_says_all_that_is_wrong_with_it_at_once() -> None:
    with pytest.raises(ValueError, match=r"unit is 'bytes', wanted .*; size is 0, .*; bands is -1, .*; rows is 0, .*"):
        geometry(unit="bytes", size=0, bands=-1, rows=0)
    with pytest.raises(ValueError, match="bands times rows is 90000, wanted at most 65536"):
        geometry(bands=300, rows=300)
    with pytest.raises(ConfigError, match=r"'bands' is \"14\", wanted .*; unknown key 'row', did you mean 'rows'"):
        config.build({"name": "n", "description": "", "source": "", "bands": "14", "row": 8}, Geometry, "a.yaml")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_say_what_they_find(path: Path) -> None:
    preset = config.load(path, Geometry)
    assert preset.name == path.stem
    said = re.findall(r"(0\.\d) (?:with probability|with) (\d\.\d{3})", path.read_text(encoding="utf-8"))
    assert said == [
        (f"{each:g}", f"{minhash.probability(each, preset.bands, preset.rows):.3f}") for each in (0.7, 0.8, 0.9)
    ]


def test_the_bands_of_slimpajama_are_those_that_datasketch_chooses() -> None:
    preset = config.load(Path(__file__).parents[2] / "conf/minhash/slimpajama.yaml", Geometry)
    assert datasketch_lsh._optimal_param(0.8, 128, 0.5, 0.5) == (preset.bands, preset.rows)


def test_there_are_the_published_presets() -> None:
    assert [path.stem for path in PRESETS] == ["fineweb", "nemo", "redpajama-v2", "slimpajama"]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_the_curve_has_the_areas_that_datasketch_chooses_bands_by(threshold: float) -> None:
    found = minhash.curve(geometry(), threshold)
    misses = datasketch_lsh._false_negative_probability(threshold, BANDS, ROWS)
    false = datasketch_lsh._false_positive_probability(threshold, BANDS, ROWS)
    assert abs(found.recall - (1 - misses / (1 - threshold))) < 0.01
    assert abs(found.false_candidates - false / threshold) < 0.01


def test_the_curve_is_printed_with_its_geometry() -> None:
    shown = str(minhash.curve(geometry())).splitlines()
    assert shown[0] == "test: words 5, 14 x 8, seed 1, tokenizer 1"
    assert shown[2].split() == ["0.50", "0.0533"]
    assert [line for line in shown if line.split()[0] == "0.80"] == ["      0.80    0.9235"]
    assert shown[-2] == "recall at or above 0.8: 0.9897"
    with pytest.raises(ValueError, match="threshold is 1, wanted more than 0 and less than 1"):
        minhash.curve(geometry(), 1)


def test_published_recall_of_the_default_bands() -> None:
    assert round(minhash.probability(0.8, BANDS, ROWS), 3) == 0.924
    assert minhash.probability(1, BANDS, ROWS) == 1
    assert minhash.probability(0, BANDS, ROWS) == 0


def test_what_has_no_signature_is_refused() -> None:
    with pytest.raises(ValueError, match="a text without words has no signature"):
        minhash.signature(minhash.shingle_hashes("...", 5), PERMS)
    with pytest.raises(ValueError, match="size is 0, wanted at least 1"):
        minhash.shingle_hashes("a", 0)
    with pytest.raises(ValueError, match="a signature of 112 values has no 13 bands of one size"):
        minhash.band_hashes(PERMS[0], 13)


def as_hashes(numbers: set[int] | range) -> shingles.Hashes:
    return np.array(sorted(numbers), dtype=np.uint64)


def clusters(sets: list[shingles.Hashes], threshold: float, max_kept: int = 64) -> list[int]:
    link = CompleteLink(threshold, max_kept)
    return [link.place(each) for each in sets]


# Sets that are near each other: some of twenty numbers, most of the time.
near_sets = st.lists(st.sets(st.integers(0, 19), min_size=10) | st.sets(st.integers(0, 30)), max_size=30)


@settings(deadline=None, max_examples=300)
@given(near_sets, st.sampled_from([0.3, 0.5, 0.6, 0.75, 0.8, 1.0]), st.integers(1, 6))
def test_every_pair_of_a_cluster_is_similar(sets: list[set[int]], threshold: float, max_kept: int) -> None:
    found = clusters(list(map(as_hashes, sets)), threshold, max_kept)
    for (one, left), (other, right) in combinations(zip(found, sets, strict=True), 2):
        assert one != other or similarity(left, right) >= threshold
    assert sorted(set(found)) == list(range(len(set(found)))), "numbers are given in order"


@settings(deadline=None)
@given(near_sets, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_members_are_like_their_founder_and_founders_unlike(sets: list[set[int]], threshold: float) -> None:
    link = StarLink(threshold)
    founders: list[set[int]] = []
    for place, each in enumerate(sets):
        number = link.place(as_hashes(each))
        alike = [similarity(each, founder) for founder in founders]
        if number == len(founders):
            assert max(alike, default=-1) < threshold
            founders.append(each)
        else:
            assert alike[number] >= threshold
            # One that was placed before is where it was, whoever came between.
            assert alike[number] == max(alike) or each in sets[:place]


@settings(deadline=None)
@given(near_sets, st.sampled_from([0.3, 0.6, 0.8]))
def test_sets_that_are_all_similar_are_one_cluster(sets: list[set[int]], threshold: float) -> None:
    alike: list[set[int]] = []
    for each in sets:
        if all(similarity(each, other) >= threshold for other in alike):
            alike.append(each)
    assert set(clusters(list(map(as_hashes, alike)), threshold)) <= {0}


@settings(deadline=None)
@given(near_sets, st.integers(1, 4))
def test_equal_sets_are_in_one_cluster(sets: list[set[int]], max_kept: int) -> None:
    twice = list(map(as_hashes, sets + sets))
    found = clusters(twice, 0.7, max_kept)
    assert found[: len(sets)] == found[len(sets) :]
    assert len({(frozenset(each), number) for each, number in zip(sets, found, strict=False)}) == len(
        set(map(frozenset, sets))
    )


def test_a_chain_of_similar_sets_is_cut() -> None:
    """Each is 0.9 like the next; connected components make one of them."""
    chain = [as_hashes(range(start, start + 190)) for start in range(0, 1000, 10)]
    found = clusters(chain, 0.8)
    assert minhash.jaccard(chain[0], chain[1]) == 0.9
    assert len(set(found)) > 20
    assert Counter(found).most_common(1)[0][1] <= 3


def test_pages_of_a_template_are_one_cluster_however_many() -> None:
    """They share their template, and nothing else: the core tells all of them."""
    template = set(range(900))
    pages = [as_hashes(template | set(range(1000 + 50 * n, 1050 + 50 * n))) for n in range(1000)]
    assert set(clusters(pages, 0.8, max_kept=4)) == {0}


def test_members_beyond_those_kept_join_near_a_founder() -> None:
    """Half the distance from one set to each of two others is the most that they can be apart from it."""
    rng = np.random.default_rng(1)
    founder = np.arange(1000)
    near = [as_hashes(set(rng.choice(founder, 960, replace=False).tolist())) for _ in range(200)]
    found = clusters([as_hashes(range(1000)), *near], 0.9, max_kept=2)
    assert set(found) == {0}


def test_a_full_cluster_is_followed_by_another() -> None:
    """Variants of one text that have no core: a bounded number of comparisons for each, and no false join."""
    rng = np.random.default_rng(1)
    base = np.arange(200)
    sets = [
        set(rng.choice(base, 185, replace=False).tolist()) | set(range(1000 + 10 * n, 1010 + 10 * n))
        for n in range(300)
    ]
    found = clusters(list(map(as_hashes, sets)), 0.7, max_kept=8)
    assert 1 < len(set(found)) < 100
    for (one, left), (other, right) in combinations(zip(found, sets, strict=True), 2):
        assert one != other or similarity(left, right) >= 0.7


def test_a_linkage_says_all_that_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match=r"similarity is 0, wanted .*; max_kept is 0, wanted at least 1"):
        CompleteLink(0, 0)
    with pytest.raises(ValueError, match=r"similarity is 2, wanted more than 0 and at most 1"):
        StarLink(2)
