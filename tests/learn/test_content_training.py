"""Labels by alignment, the loss that is the metric, and the network that runs beside the one that is trained."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from etl.errors import InputError  # noqa: E402
from etl.kernels import content, dom  # noqa: E402  torch comes with an extra
from etl.kernels.features import NUMBERS  # noqa: E402
from etl.learn import content as learning  # noqa: E402
from etl.learn.scores import word_scores, words  # noqa: E402

PAGE = """<body><nav class="menu"><a href="/">Home</a><a href="/shop">Shop</a></nav><main><h1>Tea</h1>
<p>Tea is made of leaves and hot water.</p><p>It is drunk everywhere.</p></main>
<footer>Copyright 2026</footer></body>"""
GOLD = "Tea\n\nTea is made of leaves and hot water.\n\nIt is drunk everywhere."
SMALL = learning.Training(folds=2, width=8, last_width=8, vector=2, epochs=1, last_epochs=1, batch_pages=1)


@pytest.fixture(scope="module")
def example():
    page = learning.Page("http://a.example/", "a.example", "article", dom.read(PAGE), GOLD)
    return learning.example(page, {"menu": len(dom.TAGS)}, {"tea": 0, "copyright": 1})


def test_words_in_the_order_of_the_gold_text_are_aligned():
    page = words("home shop tea is made of leaves home")
    matched = learning.aligned(page, words("tea is made of green leaves"))
    kept = [word for word, is_matched in zip(page, matched, strict=True) if is_matched]
    assert " ".join(kept) == "tea is made of leaves"


def test_labels_are_the_share_of_gold_words(example):
    assert example.label.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(("found", "gold", "f1"), [("", "", 1), ("a", "", 0), ("", "a", 0), ("A b b", "b a c", 2 / 3)])
def test_word_f1_counts_words_as_a_multiset(found, gold, f1):
    assert word_scores(words(found), words(gold)).f1 == pytest.approx(f1)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(3)
    zeros, ones = np.zeros(NUMBERS, np.float32), np.ones(NUMBERS, np.float32)
    return [learning.Model(SMALL, len(dom.TAGS) + 1, 2, zeros, ones).eval() for _ in range(3)]


def packed(models, folds):
    return learning.packed(models, ["menu"], ["tea", "copyright"], {"a.example"}, threshold=0.2, folds=folds)


def test_network_in_numpy_gives_what_torch_gives(example, models):
    batch = learning.batch_of([example, example])  # the second page must not see the first
    for number, model in enumerate(models):
        with torch.no_grad():
            logits = model(batch)[len(example.words) + learning.GAP :][: len(example.words)]
        own = content.score(content.parse(packed(models, 2), number), dom.read(PAGE))
        assert np.abs(torch.sigmoid(logits).numpy() - own).max() < 0.002  # weights are stored in half precision


def test_the_network_in_use_is_the_one_behind_those_of_the_folds_or_these_together(models):
    layout = dom.read(PAGE)
    last, every = content.parse(packed(models, 2)), content.parse(packed(models, 3))
    assert len(last) == 1 and len(every) == 3
    assert np.array_equal(content.score(last, layout), content.score(every[2:], layout))
    shares = np.stack([content.score([network], layout) for network in every])
    together = np.log(shares / (1 - shares)).mean(axis=0)
    assert content.score(every, layout) == pytest.approx(1 / (1 + np.exp(-together)), abs=1e-4)


def test_a_disguised_example_has_the_gold_words_of_its_blocks(example):
    layout = dom.read(PAGE)
    for seed in range(50):
        other = learning.in_disguise(example, layout, {}, {}, np.random.default_rng(seed))
        assert len(other.numbers) == len(other.words) == len(other.label) == len(other.path)
        assert other.rows.max() < len(other.words) and other.gold.sum() <= example.gold.sum()
        assert other.gold.sum() == pytest.approx(sum(other.words[other.label > 0.5]))


def test_lessons_are_half_of_what_the_teachers_say(example, models):
    with torch.no_grad():
        logits = models[0](learning.batch_of([example]))[: len(example.words)]
    lesson = learning.taught(example, models[:1])
    assert lesson.label == pytest.approx((example.label + torch.sigmoid(logits).numpy()) / 2)


def test_loss_falls_when_the_right_blocks_are_taken(example):
    model = learning.Model(SMALL, len(dom.TAGS) + 1, 2, np.zeros(NUMBERS, np.float32), np.ones(NUMBERS, np.float32))
    batch = learning.batch_of([example])
    right, wrong = (batch.label * 20 - 10) * 1.0, (1 - batch.label) * 20 - 10
    losses = []
    for logits in (right, wrong):
        model.forward = lambda _, logits=logits: logits
        losses.append(float(learning.loss_of(model, batch)))
    assert losses[0] < 0.01 and losses[1] > 1


def test_too_few_pages_are_an_error():
    page = learning.Page("http://a.example/", "a.example", "article", dom.read(PAGE), GOLD)
    with pytest.raises(InputError, match="1 pages with text: too few to train 2 networks in batches of 1"):
        learning.learn([page], SMALL)


def test_same_seed_gives_the_same_file(example):
    page = learning.Page("http://a.example/", "a.example", "article", dom.read(PAGE), GOLD)
    others = [page._replace(host=f"{letter}.example") for letter in "bcdefgh"]
    first, second = (learning.learn([page, *others], SMALL) for _ in range(2))
    assert first == second
