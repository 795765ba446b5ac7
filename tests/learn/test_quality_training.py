"""Training of the model of quality, on a few texts made here."""

import gzip
import json
import random

import numpy as np
import pytest
from fastwarc.warc import WarcRecord, WarcRecordType
from scipy import stats

from etl.errors import InputError
from etl.kernels import quality_model as kernel
from etl.learn import quality
from jobs import train_quality

GOOD_WORDS = [
    *("river", "bridge", "winter", "people", "house", "story", "because", "when", "where", "which", "after", "during"),
    *("remember", "explain"),
]
BAD_WORDS = [
    *("cart", "price", "sale", "login", "menu", "share", "shop", "deal", "offer", "click", "buy", "ship", "order"),
    *("item", "review", "stock"),
]


def prose(draw: random.Random) -> str:
    sentences = (
        " ".join(draw.choices([*GOOD_WORDS, "the", "of", "and", "in", "it"], k=12)).capitalize() + "."
        for _ in range(12)
    )
    return "\n".join(" ".join(part) for part in zip(*[iter(sentences)] * 3, strict=True))


def listing(draw: random.Random) -> str:
    return "\n".join(" ".join(draw.choices(BAD_WORDS, k=3)).title() + f" ${draw.randint(1, 99)}" for _ in range(15))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Labelled, likely good and likely bad texts; the labels of a tenth are wrong."""
    folder = tmp_path_factory.mktemp("quality")
    draw = random.Random(1)
    rows = {
        "labelled": [
            {"text": (prose if good else listing)(draw), "label": int(good) if number % 10 else int(not good)}
            for number in range(80)
            for good in (True, False)
        ],
        "good": [{"text": prose(draw)} for _ in range(60)],
        "bad": [{"text": listing(draw)} for _ in range(60)],
    }
    for name, of in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of), encoding="utf-8")
    return folder


def train(files, out, *more: str) -> bytes:
    arguments = ["--labelled", str(files / "labelled.jsonl"), "--out", str(out), *more]
    train_quality.main(arguments)
    return out.read_bytes()


def test_the_job_learns_what_can_be_told_apart_and_says_how_well(files, tmp_path, capsys):
    sources = ["--good", str(files / "good.jsonl"), "--bad", str(files / "bad.jsonl")]
    out = tmp_path / "one.npz"
    content = train(files, out, *sources)
    card = (tmp_path / "one.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == card
    assert "160 labelled texts, 80 of them good" in card
    assert "60 good and 60 bad by kind" in card
    assert 0.75 < float(card.partition("AUC ")[2].split()[0]) < 0.95  # a tenth of the labels is wrong
    draw = random.Random(2)
    settings = kernel.Settings(str(out))
    found = kernel.score([prose(draw), listing(draw)], settings)
    assert found[0].score > 0.7 > 0.3 > found[1].score
    model = kernel.parse(content, "one")
    assert set(GOOD_WORDS) | set(BAD_WORDS) <= set(model.words)
    of_kind = model.word_weights[:, kernel.WORD_FEATURES.index("kind_words")]
    assert (
        min(of_kind[model.words[word]] for word in GOOD_WORDS)
        > 0
        > max(of_kind[model.words[word]] for word in BAD_WORDS)
    )
    assert train(files, tmp_path / "two.npz", *sources) == content
    assert train(files, tmp_path / "three.npz", *sources, "--seed", "2") != content


def test_without_likely_texts_the_shape_alone_is_learnt(files, tmp_path):
    out = tmp_path / "shape.npz"
    model = kernel.parse(train(files, out), "shape")
    assert model.words == {}
    draw = random.Random(3)
    found = kernel.score([prose(draw), listing(draw)], kernel.Settings(str(out)))
    assert found[0].score > 0.6 > 0.4 > found[1].score


def test_too_few_or_blank_labelled_texts_are_named_together():
    labels = np.array([True] * 30 + [False] * 5)
    with pytest.raises(
        InputError, match=r"5 labelled texts of a kind, wanted at least 20 .*; .*white space: rows \[1\]"
    ):
        quality.learn([" ", *["A text."] * 34], labels, [], quality.Training())


def test_a_row_without_text_is_named(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_text('{"text": "One."}\n{"body": "Two."}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"good\.jsonl: no string in 'text' on lines \[2\]"):
        quality.read_texts(path, "text", is_good=True)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"good\.jsonl: no rows"):
        quality.read_texts(path, "text", is_good=True)


@pytest.mark.parametrize("damage", quality.DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_changes_a_text_and_is_the_same_for_the_same_seed(damage):
    text = prose(random.Random(1))
    assert damage(text, random.Random(5)) == damage(text, random.Random(5)) != text


def test_damaged_texts_come_from_long_ones_only():
    assert quality.damaged(["short"], 5, seed=1) == []
    assert len(quality.damaged([prose(random.Random(1))], 12, seed=1)) == 12


def test_held_out_scores_of_labels_without_meaning_are_at_chance():
    """Nested folds leak nothing: with random labels nothing can be learnt."""
    draw = np.random.default_rng(1)
    rows = quality.Rows(draw.random((200, len(kernel.FEATURES) + 3)), draw.random(200) < 0.5, np.ones(200))
    none = quality.Rows(rows.measured[:0], rows.labels[:0], rows.weights[:0])
    scores = quality.nested(rows, none, quality.Training(folds=5))
    assert abs(quality.ranking.auc(rows.labels, scores) - 0.5) < 0.15


def test_folds_share_out_both_labels_evenly():
    labels = np.arange(103) % 3 == 0
    folds = quality.folds_of(labels, 10, seed=3)
    of_yes, of_no = (np.bincount(folds[labels == yes], minlength=10) for yes in (True, False))
    assert max(of_yes) - min(of_yes) <= 1
    assert max(of_no) - min(of_no) <= 1


def test_pages_give_main_texts_by_kind_and_their_rests(tmp_path):
    pages = {
        "https://a.example/1": ("article", "A story of a river."),
        "https://b.example/2": ("listing", "Ten things."),
    }
    archive, gold = tmp_path / "pages.warc", tmp_path / "gold.jsonl.gz"
    with archive.open("wb") as stream:
        for url, (_, main) in pages.items():
            record = WarcRecord()
            record.init_headers(record_type=WarcRecordType.response)
            record.headers["WARC-Target-URI"] = url
            body = f"<html><body><p>{main}</p><nav>Home</nav></body></html>".encode()
            record.set_bytes_content(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body)
            record.write(stream)
    with gzip.open(gold, "wt", encoding="utf-8") as file:
        for url, (kind, main) in pages.items():
            file.write(json.dumps({"url": url, "page_type": kind, "main_content": main}) + "\n")
    found = quality.read_pages(archive, gold)
    assert [(each.text, each.is_good, each.group, each.task) for each in found] == [
        ("A story of a river.", True, "a.example", quality.KIND),
        ("A story of a river.", True, "a.example", quality.REST),
        ("Home", False, "a.example", quality.REST),
        ("Ten things.", False, "b.example", quality.KIND),
        ("Ten things.", True, "b.example", quality.REST),
        ("Home", False, "b.example", quality.REST),
    ]


def test_calibration_of_scores_that_are_the_shares_is_zero():
    scores = np.repeat([0.25, 0.75], 8)
    labels = np.array([*[True] * 2, *[False] * 6, *[True] * 6, *[False] * 2])
    error, table = quality.calibration(labels, scores)
    assert error == 0
    assert table == [(8, 0.25, 0.25), (8, 0.75, 0.75)]


def test_spearman_agrees_with_scipy():
    draw = np.random.default_rng(2)
    left, right = draw.integers(0, 5, 50).astype(float), draw.random(50)
    assert quality.spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic)


def test_a_model_is_read_as_it_was_packed():
    low, high, mean, weights = np.random.default_rng(1).random((4, len(kernel.FEATURES)))
    words = quality.Words({"one": 0, "two": 1}, np.array([[0.5, -1], [2, 0.25]]))
    content = quality.packed((low, high, mean, weights, 0.5), words)
    assert content == quality.packed((low, high, mean, weights, 0.5), words)
    model = kernel.parse(content, "it")
    assert np.array_equal(model.low, low)
    assert model.weights == pytest.approx(weights, rel=1e-6)
    assert model.words == words.numbers
    assert np.array_equal(model.word_weights, words.weights)
