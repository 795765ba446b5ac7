"""A text has the score that transformers gives it, whatever it is batched with, and what cannot be scored says why."""

from __future__ import annotations

import importlib
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl import config
from etl.errors import ConfigError
from etl.kernels import classifier, transformer
from etl.kernels.classifier import Settings
from etl.models import ModelError

GOOD = ["the proof of the theorem follows from the lemma", "water boils at a lower heat on a high mountain",
        "the cell divides after it has copied its genes"]  # fmt: skip
BAD = [
    "buy cheap shoes now and win a prize",
    "click here for free coupons and cheap deals",
    "win free shoes, click now",
]
TEXTS = [
    *GOOD,
    *BAD,
    "lemma",
    "The proof. Buy cheap shoes! Water boils",
    "click " * 40,
    "water " * 17 + "genes",
    "the mountain\nis high\n\nwin a free prize now",
]
WINDOW = 32  # tokens that the models take at once
LABELS = ("insult", "threat", "spam")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a task of Spark: scores are then equal bit by bit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(path: Path, outputs: int, kind: str) -> str:
    """A small BERT with a real WordPiece tokenizer, trained for some steps to tell `GOOD` from `BAD`."""
    import torch

    transformers: Any = importlib.import_module("transformers")  # these have no types that hold

    # Not learned: the trainer of WordPiece settles ties by chance, and another vocabulary is another model.
    text = " ".join(GOOD + BAD).lower()
    characters = sorted(set(text) - {" "})
    pieces = [*characters, *(f"##{character}" for character in characters), *sorted(set(re.findall(r"\w{2,}", text)))]
    vocabulary = path.parent / f"{path.name}-vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]))
    tokenizer = transformers.BertTokenizerFast(vocab=str(vocabulary), model_max_length=WINDOW)
    torch.manual_seed(1)
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=WINDOW, num_labels=outputs, problem_type=kind,
            id2label=dict(enumerate(LABELS[:outputs])), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    batch = tokenizer(GOOD + BAD, padding=True, return_tensors="pt")
    good = torch.tensor([1.0] * len(GOOD) + [0.0] * len(BAD))
    wanted: Any = {
        "regression": 4 * good,
        "single_label_classification": 2 * (1 - good).long(),  # spam or insult, never threat
        "multi_label_classification": torch.stack([0.5 - 0.5 * good, good * 0, 1 - good], dim=1),
    }[kind]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = model(**batch, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def regression(models: Path) -> str:
    return made(models / "regression", 1, "regression")


@pytest.fixture(scope="module")
def classes(models: Path) -> str:
    return made(models / "classes", 3, "single_label_classification")


@pytest.fixture(scope="module")
def labels(models: Path) -> str:
    return made(models / "labels", 3, "multi_label_classification")


def piped(model: str, texts: list[str], how: str) -> list[dict[str, float]]:
    """By transformers alone, a text at a time: the value of each label."""
    from transformers import pipeline

    pipe: Any = pipeline("text-classification", model=model, device="cpu")
    return [
        {each["label"]: each["score"] for each in pipe(text, top_k=None, function_to_apply=how, truncation=True)}
        for text in texts
    ]


def values(texts: list[str], asked: Settings) -> list[float]:
    found = classifier.score(texts, asked)
    assert [each.error for each in found] == [None] * len(texts)
    return [float(each.score or 0) for each in found]


def copied(model: str, to: Path) -> Path:
    return Path(shutil.copytree(model, to))


def test_a_regression_is_the_raw_value_of_the_model_and_its_level_is_rounded(regression: str) -> None:
    found = classifier.score(TEXTS, Settings(regression, levels=2))
    expected = [row["insult"] for row in piped(regression, TEXTS, "none")]
    np.testing.assert_allclose(values(TEXTS, Settings(regression)), expected, atol=1e-5)
    assert [each.level for each in found] == [round(min(max(value, 0), 2)) for value in expected]
    assert {each.level for each in found} >= {0, 2}


def test_a_trained_classifier_knows_good_from_bad(regression: str) -> None:
    found = values(GOOD + BAD, Settings(regression))
    assert min(found[: len(GOOD)]) > 3 > 1 > max(found[len(GOOD) :])


def test_one_of_several_classes_has_the_probability_that_transformers_gives_it(classes: str) -> None:
    expected = piped(classes, TEXTS, "softmax")
    for number, label in enumerate(LABELS):
        wanted = [row[label] for row in expected]
        np.testing.assert_allclose(values(TEXTS, Settings(classes, label=label)), wanted, atol=1e-6)
        assert values(TEXTS, Settings(classes, label=number)) == values(TEXTS, Settings(classes, label=label))
    several = values(TEXTS, Settings(classes, label=("insult", "spam")))
    np.testing.assert_allclose(several, [row["insult"] + row["spam"] for row in expected], atol=1e-6)


def test_of_labels_beside_each_other_the_highest_counts(labels: str) -> None:
    expected = piped(labels, TEXTS, "sigmoid")
    np.testing.assert_allclose(
        values(TEXTS, Settings(labels, label="spam")), [row["spam"] for row in expected], atol=1e-6
    )
    np.testing.assert_allclose(
        values(TEXTS, Settings(labels, label=LABELS)), [max(row.values()) for row in expected], atol=1e-6
    )


def test_what_makes_probabilities_can_be_said(regression: str) -> None:
    raw = np.asarray(values(TEXTS, Settings(regression)))
    found = values(TEXTS, Settings(regression, activation="sigmoid"))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-raw)), atol=1e-9)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=50),
    batch_tokens=st.sampled_from([1, 64, 100, 4096]),
    kind=st.sampled_from([{}, {"windows": 0, "max_tokens": 8}, {"sentences": True, "windows": 2}]),
)
def test_a_score_does_not_depend_on_what_it_is_batched_with(
    labels: str, rows: list[int], batch_tokens: int, kind: dict[str, Any]
) -> None:
    alone = {row: classifier.score([TEXTS[row]], Settings(labels, LABELS, **kind))[0] for row in sorted(set(rows[:3]))}
    found = classifier.score([TEXTS[row] for row in rows], Settings(labels, LABELS, batch_tokens=batch_tokens, **kind))
    assert [each for row, each in zip(rows, found, strict=True) if row in alone] == [
        alone[r] for r in rows if r in alone
    ]


def test_rows_that_are_many_or_few_have_equal_scores(classes: str) -> None:
    """Products of few rows are summed in another order, which the layers behind the pooling would show."""
    for count in (1, 2, 3, 5, 15, 16, 17, 33):
        assert len(set(values([TEXTS[0]] * count, Settings(classes, "spam")))) == 1
        assert values([TEXTS[0]] * count, Settings(classes, "spam"))[0] == values(TEXTS, Settings(classes, "spam"))[0]


def test_windows_are_averaged_by_their_tokens_or_the_highest_counts(regression: str) -> None:
    text = "proof " * 6 + "shoes " * 6 + "water click"
    parts = values(["proof " * 6, "shoes " * 6, "water click"], Settings(regression, max_tokens=8))
    mean, most = (
        values([text], Settings(regression, max_tokens=8, windows=0, join=join))[0] for join in ("mean", "max")
    )
    assert mean == pytest.approx(np.average(parts, weights=[8, 8, 4]), abs=1e-6)
    assert most == pytest.approx(max(parts), abs=1e-6)
    two = values([text], Settings(regression, max_tokens=8, windows=2, join="max"))[0]
    assert two == pytest.approx(max(parts[:2]), abs=1e-6)


def test_windows_may_overlap(regression: str) -> None:
    text = "proof " * 6 + "shoes " * 4
    parts = values(["proof " * 6, "proof proof shoes shoes shoes shoes"], Settings(regression, max_tokens=8))
    found = values([text], Settings(regression, max_tokens=8, windows=0, overlap=2))[0]
    assert found == pytest.approx(np.mean(parts), abs=1e-6)
    with pytest.raises(ModelError, match="overlap is 20, wanted at most half of 32"):
        classifier.check(Settings(regression, overlap=20))


def test_what_the_model_was_shown_is_said(regression: str) -> None:
    text = "water boils on a high mountain  \n"
    words = text.split()
    for windows in (1, 2, 3):
        found = classifier.score([text], Settings(regression, max_tokens=8, windows=windows))[0]
        shown = text[: found.read]
        tokens = Settings(regression, max_tokens=8, windows=1)
        assert shown == text or not shown[-1].isspace()
        if windows == 1:
            assert classifier.score([shown], tokens)[0].score == pytest.approx(found.score, abs=1e-6)
    assert found.read == len(text)
    assert classifier.score([" ".join(words * 50)], Settings(regression))[0].read < 200


def test_the_worst_sentence_and_those_at_the_threshold_are_found(labels: str) -> None:
    text = "The proof follows from the lemma. Win free shoes now!\nThe cell copied its genes"
    asked = Settings(labels, label="spam", sentences=True, windows=2)
    found = classifier.score([text], asked)[0]
    pieces = ["The proof follows from the lemma.", "Win free shoes now!", "The cell copied its genes"]
    alone = values(pieces, Settings(labels, label="spam"))
    assert found.worst == max(alone) == alone[1]
    assert [(text[span.start : span.end], span.score) for span in found.spans] == [(pieces[1], alone[1])]
    every = classifier.score([text], Settings(labels, "spam", sentences=True, windows=2, span_threshold=0.0))[0]
    assert [text[span.start : span.end] for span in every.spans] == pieces


def test_a_line_without_letters_is_no_sentence(labels: str) -> None:
    text = "the lemma\n-----\n...\nclick here"
    found = classifier.score([text], Settings(labels, "spam", sentences=True, span_threshold=0.0))[0]
    assert [text[span.start : span.end] for span in found.spans] == ["the lemma", "click here"]


def test_a_huge_text_costs_what_its_windows_cost(regression: str) -> None:
    start = "the cell divides " * 300
    huge, short = classifier.score([start + "x" * 200_000_000, start], Settings(regression))
    assert huge == short
    spaces, nothing = classifier.score([" " * 200_000_000, ""], Settings(regression))
    assert spaces.error == nothing.error == "empty: no characters other than spaces"


def test_a_text_without_tokens_has_no_score(regression: str) -> None:
    found = classifier.score(["", " \n\t", "\x00\ufffd", GOOD[0]], Settings(regression))
    assert [each.score is None for each in found] == [True, True, True, False]
    assert [(each.error or "").partition(":")[0] for each in found] == ["empty", "empty", "empty", ""]
    assert [each.read for each in found[:3]] == [0, 0, 0]
    assert classifier.score([], Settings(regression)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_has_a_score_or_says_why_not(labels: str, texts: list[str]) -> None:
    found = classifier.score(texts, Settings(labels, LABELS, sentences=True))
    assert len(found) == len(texts)
    for text, each in zip(texts, found, strict=True):
        assert 0 <= each.read <= len(text)
        assert (each.score is None) == (each.error is not None)
        assert each.score is None or 0 <= each.score <= 1


def test_a_lone_surrogate_moves_no_place(labels: str) -> None:
    text = "lemma \ud800\ud800. win free shoes"
    found = classifier.score([text], Settings(labels, "spam", sentences=True, span_threshold=0.0))[0]
    assert [text[span.start : span.end] for span in found.spans] == ["lemma \ud800\ud800.", "win free shoes"]


def test_many_texts_are_read_in_groups(regression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = classifier.score(TEXTS, Settings(regression))
    monkeypatch.setattr(classifier, "GROUP_CHARACTERS", 90)
    assert len(list(classifier._groups(TEXTS, 64))) > 3
    assert [text for group in classifier._groups(TEXTS, 64) for text in group] == TEXTS
    assert classifier.score(TEXTS, Settings(regression)) == expected


def small_memory(asked: Settings, monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """A GPU that has memory for `most` tokens: PyTorch's own error, from a model that else works; and its batches."""
    import torch

    model = classifier._classifier(asked).model
    forward, sizes = model.forward, []

    def limited(**inputs: Any) -> Any:
        if inputs["input_ids"].numel() > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(inputs["input_ids"].numel())
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", limited)
    return sizes


def test_a_batch_that_memory_is_too_small_for_is_tried_by_halves(
    regression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Settings(regression)
    expected = classifier.score(TEXTS * 5, asked)
    sizes = small_memory(asked, monkeypatch, most=100)
    assert classifier.score(TEXTS * 5, asked) == expected
    assert 64 <= max(sizes) <= 100


def test_a_window_that_memory_is_too_small_for_is_an_error_of_its_text(
    regression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Settings(regression)
    expected = classifier.score(TEXTS, asked)
    small_memory(asked, monkeypatch, most=16)
    found = classifier.score(TEXTS, asked)
    errors = [each.error for each in found]
    assert any(errors) and not all(errors)
    for one, other in zip(found, expected, strict=True):
        assert one == other if one.error is None else one.error.startswith("memory: ") and one.score is None


def test_a_score_that_is_no_number_is_an_error_of_its_text(regression: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = copied(regression, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    row = classifier._classifier(Settings(regression)).tokenizer("lemma")["input_ids"][1]
    weights["bert.embeddings.word_embeddings.weight"][row] = np.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    found = classifier.score(["lemma", BAD[0]], Settings(str(broken)))
    assert found[0].score is None
    assert (found[0].error or "").startswith("not_finite: ")
    assert found[1] == classifier.score([BAD[0]], Settings(regression))[0]


def test_bfloat16_changes_a_probability_little(classes: str) -> None:
    exact = values(TEXTS, Settings(classes, "spam"))
    np.testing.assert_allclose(values(TEXTS, Settings(classes, "spam", precision="bfloat16")), exact, atol=0.05)


def test_the_digest_changes_with_weights_and_settings_and_with_nothing_else(classes: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    same, other = copied(classes, tmp_path / "same"), copied(classes, tmp_path / "other")
    (same / "README.md").write_text("another card")
    weights = load_file(other / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    first = classifier.digest(Settings(classes, "spam"))
    assert first == classifier.digest(Settings(str(same), "spam", batch_tokens=64))
    others = [Settings(str(other), "spam"), Settings(classes, "threat"), Settings(classes, "spam", windows=2)]
    assert len({first, *map(classifier.digest, others)}) == 4


def test_an_unknown_label_names_those_there_are(classes: str) -> None:
    with pytest.raises(ModelError, match="has 3 labels: wanted label, one or more of insult, threat, spam"):
        classifier.check(Settings(classes))
    with pytest.raises(ModelError, match=r"has no label 'toxic', 7: wanted one of insult, threat, spam, or a number"):
        classifier.check(Settings(classes, label=("toxic", "spam", 7)))


def test_weights_that_can_run_code_are_not_read(classes: str, tmp_path: Path) -> None:
    folder = copied(classes, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for ask in (classifier.check, classifier.digest):
        with pytest.raises(ModelError, match=r"no weights in safetensors, only pytorch_model\.bin"):
            ask(Settings(str(folder), "spam"))


def test_a_model_without_a_head_is_no_classifier(classes: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copied(classes, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    body = {name: values for name, values in weights.items() if not name.startswith("classifier.")}
    save_file(body, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"is no SequenceClassification: it has no weights classifier\.bias"):
        classifier.check(Settings(str(folder), "spam"))


def test_code_that_comes_with_a_model_is_not_run(classes: str, tmp_path: Path) -> None:
    import json

    folder = copied(classes, tmp_path / "model")
    about = json.loads((folder / "config.json").read_text())
    about |= {"model_type": "own", "auto_map": {
        "AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('x')\n")
    with pytest.raises(ModelError, match="transformers cannot load it"):
        classifier.check(Settings(str(folder), "spam"))
    assert not (tmp_path / "ran").exists()


def test_a_model_that_is_not_there_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no classifier .*: wanted a folder, or an id on the hub$"):
        classifier.check(Settings(str(tmp_path / "missing")))


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "is silent"])
def test_a_hub_that_cannot_be_reached_is_named_soon(
    is_silent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        if is_silent:
            hub.listen()  # and never accepts
        monkeypatch.setattr(transformer, "_HUB_SECONDS", 0.2)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"no classifier 'owner/far': .* cannot be reached .* hf download"):
            classifier.check(Settings("owner/far"))


def test_a_model_that_was_fetched_is_not_looked_up_again(
    regression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "models--owner--fetched"
    copied(regression, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for model in ("owner/fetched", f"owner/fetched@{commit}"):
        assert classifier.score(TEXTS, Settings(model)) == classifier.score(TEXTS, Settings(regression))
        assert classifier.digest(Settings(model)) == classifier.digest(Settings(regression))


def test_positions_that_roberta_keeps_for_padding_are_not_used(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    small = RobertaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                          intermediate_size=16, max_position_embeddings=18, pad_token_id=1)  # fmt: skip

    class NoLimit:
        model_max_length = int(1e30)

    assert transformer.longest(RobertaForSequenceClassification(small), NoLimit()) == 16


def test_a_window_longer_than_the_model_takes_is_refused(classes: str) -> None:
    with pytest.raises(ModelError, match="takes 32 tokens at once, max_tokens is 64"):
        classifier.check(Settings(classes, "spam", max_tokens=64))


def test_batches_keep_to_their_budget_and_hold_every_row_once() -> None:
    lengths = np.asarray([1, 16, 17, 30, 250, 249, 3, 40])
    batches = list(transformer.batches(lengths, most=250, budget=256))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(lengths)))
    for rows, padded in batches:
        assert (lengths[rows] <= padded).all()
        assert len(rows) * padded <= 256
        assert padded == 250 or padded % transformer.PAD_TO == 0


def test_settings_come_from_yaml() -> None:
    plain = {"model": "owner/name@v1", "label": ["toxic", 2], "windows": 0}
    assert config.build(plain, Settings, "here") == Settings("owner/name@v1", ("toxic", 2), windows=0)
    with pytest.raises(ConfigError, match="here: unknown key 'lable', did you mean 'label'"):
        config.build({"model": "x", "lable": "toxic"}, Settings, "here")


def test_all_impossible_settings_are_named_at_once() -> None:
    wanted = r"activation is 'relu'.*levels is 0.*windows is -1.*overlap is -1.*join is 'sum'.*precision is 'int4'"
    with pytest.raises(ValueError, match=wanted):
        Settings("x", activation="relu", levels=0, windows=-1, overlap=-1, join="sum", precision="int4")
