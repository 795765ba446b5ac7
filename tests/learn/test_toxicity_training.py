"""Training gives the same bytes twice, and the network in NumPy is the one that torch trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from etl.errors import InputError  # noqa: E402
from etl.kernels import toxicity  # noqa: E402  torch comes with an extra
from etl.learn import toxicity as learning  # noqa: E402
from jobs import train_toxicity  # noqa: E402

SMALL = learning.Training(words=256, ngrams=256, width=4, units=6, kinds=4, epochs=2, batch=8)
TEXTS = {
    "You fool. Go away!": 1.0,
    "The lake is deep, and cold in winter.": 0.0,
    "What a silly fool he is": 0.9,
    "Fishermen wait on the shore.\nThe ice is thin.": 0.0,
    "...": 0.5,
    "": 0.0,
}
ROWS = [learning.Row(text, label) for text, label in TEXTS.items()] * 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toxicity") / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": row.text, "label": row.label}) for row in ROWS), encoding="utf-8")
    return path


def test_same_rows_give_the_same_bytes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first.npz", "second.npz"):
        options = ["--data", str(data), "--out", str(tmp_path / name), "--table-rows", "512", "--measure"]
        train_toxicity.main(options)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    assert "SHA-256" in capsys.readouterr().out


def test_network_in_numpy_gives_what_torch_gives() -> None:
    corpus = learning.corpus_of(ROWS, SMALL)
    torch.manual_seed(3)
    model = learning.Model(SMALL).eval()
    batch = learning.batch_of(corpus, corpus.used[:5])
    with torch.no_grad():
        own, sentences = (each.numpy() for each in model(batch))
    scorer = toxicity.Scorer(toxicity.parse(learning.packed(model, corpus)))
    texts = [ROWS[number].text for number in corpus.used[:5]]
    found = [scorer.sentences(toxicity.tokens(text)) for text in texts]
    # Tables are stored in 8 bits and weights in half precision.
    assert np.abs(np.concatenate([each[2] for each in found]) - sentences).max() < 0.002
    scores = [toxicity.pooled(probabilities, ends - starts) for starts, ends, probabilities in found]
    assert np.abs(np.array(scores) - own).max() < 0.002


def test_training_separates_what_it_is_shown() -> None:
    settings = learning.Training(words=256, ngrams=256, width=8, units=8, kinds=8, epochs=60, batch=16, dropout=0.0)
    scorer = toxicity.Scorer(toxicity.parse(learning.learn(ROWS, settings)))
    found = {text: float(scorer.sentences(toxicity.tokens(text))[2].max()) for text in list(TEXTS)[:4]}
    assert min(found["You fool. Go away!"], found["What a silly fool he is"]) > 0.7
    assert max(found[text] for text in found if TEXTS[text] == 0) < 0.3


def test_rows_of_one_kind_are_an_error() -> None:
    with pytest.raises(InputError, match="1 rows with words, 1 kinds of label"):
        learning.learn([learning.Row("lake", 0.0), learning.Row(" ", 1.0)], SMALL)


def test_bad_rows_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": 0}\n{"text": 1, "label": 0}\n{"text": "a", "label": 2}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: 'text' is no string; .*line 3: 'label' is no number from 0 to 1"):
        learning.read_rows([path])


def test_measured_rows_are_those_of_groups_that_were_left_out() -> None:
    rows = [row._replace(group=str(number), source="notes") for number, row in enumerate(ROWS)]
    (found,) = learning.measure(rows, SMALL)
    kept = [row for row in rows if learning.is_held_out(row) and toxicity.tokens(row.text)]
    assert (found.source, found.n, found.toxic) == ("notes", len(kept), sum(row.label >= 0.5 for row in kept))
    assert 0 < found.n < len(rows)
    assert not {row.group for row in kept} & {row.group for row in rows if not learning.is_held_out(row)}


@pytest.mark.parametrize(
    ("pairs", "auc"),
    [
        ([(0.9, True), (0.1, False)], 1.0),
        ([(0.1, True), (0.9, False)], 0.0),
        ([(0.5, True), (0.5, False)], 0.5),
        ([(0.9, True), (0.2, True), (0.3, False), (0.1, False)], 0.75),
        ([(0.9, True)], None),
    ],
)
def test_auc_counts_pairs(pairs: list[tuple[float, bool]], auc: float | None) -> None:
    assert learning._auc(pairs) == auc


def test_tables_have_a_power_of_two_of_rows() -> None:
    with pytest.raises(InputError, match="words is 1000, wanted a power of two; ngrams is 0, wanted a power of two"):
        learning.Training(words=1000, ngrams=0)
