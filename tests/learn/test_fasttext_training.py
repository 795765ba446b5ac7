"""The same texts give the same bytes, what is held out was never seen, and a threshold keeps what was asked for."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import config
from etl.errors import ConfigError, InputError
from etl.kernels import fasttext_classifier
from etl.learn import fasttext_classifier as learning
from etl.learn.fasttext_classifier import Example, Texts, Training

SMALL = Training(dimensions=4, buckets=512, epochs=20, learning_rate=0.5, min_count=1)
GOOD = ("lake", "deep", "cold", "water", "winter", "shore")
BAD = ("pills", "cheap", "casino", "click", "offer", "bonus")
shares = st.floats(0.01, 0.99)


def examples(count: int, groups: int | None = None) -> list[Example]:
    """Texts of two kinds in the order of their hashes; some words are of both."""
    choose = random.Random(1)
    texts = []
    for number in range(count):
        is_positive = number % 2 == 0
        words = [choose.choice(GOOD if is_positive else BAD) for _ in range(8)]
        text = " ".join([*words, f"page{number}", "and", "the"])
        texts.append(Example(text, is_positive, text if groups is None else f"host{number % groups}"))
    return sorted(texts, key=lambda each: hashlib.sha256(each.text.encode()).digest())


def learn(rows: Sequence[Example], model: Path, training: Training = SMALL) -> learning.Learned:
    return learning.learn(rows, training, 0.2, model)


@pytest.mark.parametrize("training", [SMALL, Training(epochs=5, dimensions=4, buckets=512, min_count=1, quantize=True)])
def test_the_same_texts_give_the_same_bytes(tmp_path: Path, training: Training) -> None:
    rows = examples(200)
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    first, second = (learn(rows, file, training) for file in files)
    assert files[0].read_bytes() == files[1].read_bytes()
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.positives + first.negatives + len(first.labels) == 200


def test_what_sets_two_sides_apart_is_learned(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    learned = learn(examples(400), model)
    assert learned.scores[learned.labels].min() > 0.9
    assert learned.scores[~learned.labels].max() < 0.1
    assert dict(learning.figures(learned, 0.5))["recall at the threshold"].startswith("1.0000 [0.")
    good, bad = fasttext_classifier.score(["deep cold lake", "cheap casino bonus"], learning.settings(model, SMALL))
    assert (good.score or 0) > 0.9 > 0.1 > (bad.score or 1)


@pytest.mark.parametrize(("examples", "passes"), [(0, 100), (2000, 100), (10_000, 20), (40_000, 5), (1_000_000, 5)])
def test_few_examples_are_shown_more_often(examples: int, passes: int) -> None:
    assert Training().passes(examples) == passes
    assert Training(epochs=7).passes(examples) == 7


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    rows = examples(300, groups=15)
    held_out = {row.group for row in rows if learning.is_held_out(row.group, 0.2)}
    learned = learn(rows, tmp_path / "model.bin")
    assert 0 < len(held_out) < 15
    assert len(learned.labels) == sum(row.group in held_out for row in rows) == 20 * len(held_out)


@given(st.integers(0, 9), shares)
def test_groups_stay_held_out_when_more_are(start: int, share: float) -> None:
    groups = [f"{start}.{number}" for number in range(500)]
    found = [learning.is_held_out(group, share) for group in groups]
    assert abs(sum(found) / 500 - share) < 5 * math.sqrt(0.25 / 500)
    assert all(learning.is_held_out(group, 1.0) for group in groups)
    assert all(
        learning.is_held_out(group, min(1, share + 0.1)) for group, is_in in zip(groups, found, strict=True) if is_in
    )


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=50), shares)
def test_a_threshold_keeps_at_least_the_share_and_one_more_step_would_not(scores: list[float], share: float) -> None:
    given = np.array(scores)
    if np.isnan(given).all():
        with pytest.raises(InputError, match="no text that can be scored"):
            learning.cut(given, share)
        return
    found = learning.cut(given, share)
    kept = int((given >= found.threshold).sum())
    scored = int((~np.isnan(given)).sum())
    assert (found.kept, found.n) == (kept, len(scores))
    assert kept >= min(scored, share * len(scores) - 1e-6)
    lowest = given[given >= found.threshold].min()
    assert (given > lowest).sum() < max(1, math.ceil(share * len(scores)))
    assert float(repr(found.threshold)) == found.threshold


def test_a_threshold_is_as_short_as_the_scores_allow() -> None:
    scores = np.array([0.1, 0.2, 0.018112, 0.0181, 0.9999, 0.99991, 0.99992])
    assert [learning.cut(scores, keep / 7).threshold for keep in range(1, 8)] == pytest.approx(
        [0.99992, 0.99991, 0.9, 0.2, 0.1, 0.01811, 0.0], abs=1e-12
    )


def test_a_threshold_keeps_the_share_of_a_large_population() -> None:
    scores = np.random.default_rng(1).beta(0.5, 2, size=20_000)
    found = learning.cut(scores, 0.1)
    assert found.kept == 2000
    assert str(found).startswith("0.1000 [0.09")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "too few examples: 0 positives, of which 0 are held out; 0 negatives, of which 0 are held out"),
        (
            [each for each in examples(200) if each.is_positive],
            "0 negatives, of which 0 are held out; wanted at least 2",
        ),
        (examples(4), "2 positives, of which"),
    ],
)
def test_too_few_examples_are_refused(tmp_path: Path, rows: list[Example], said: str) -> None:
    with pytest.raises(InputError, match="too few examples") as raised:
        learn(rows, tmp_path / "model.bin")
    assert said in str(raised.value)


def test_a_training_that_does_not_converge_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Encountered NaN.*A learning_rate below 1e\+300 helps"):
        learn(examples(100), tmp_path / "model.bin", Training(dimensions=4, buckets=512, learning_rate=1e300))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"epochs": 0, "dimensions": 1}, "epochs is 0, wanted at least 1; dimensions is 1, wanted at least 2"),
        ({"learning_rate": 0}, "learning_rate is 0.0, wanted more than 0"),
        ({"epoch": 3}, "unknown key 'epoch', did you mean 'epochs'?"),
    ],
)
def test_wrong_settings_are_named(data: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.build(data, Training, origin="options")
    assert said in str(raised.value)


def test_wrong_shares_are_named() -> None:
    with pytest.raises(ValueError, match=r"keep_share is 0, .*; held_out is 1, .*; max_per_side is 0"):
        Texts("SELECT 1", "SELECT 2", keep_share=0, held_out=1, max_per_side=0)
