"""Only the file that was named is loaded, and no text changes the score of another, or what a label is."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import fasttext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import config
from etl.errors import ConfigError
from etl.kernels import fasttext_classifier, fasttext_file
from etl.kernels.fasttext_classifier import Settings, line
from etl.kernels.scoring import Score
from etl.models import ModelError

GOOD, BAD = "the lake is deep and cold", "buy cheap pills now"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of good and bad, trained on two sentences."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    path.mkdir()
    lines = path / "lines.txt"
    lines.write_text(f"__label__good {GOOD}\n__label__bad {BAD}\n" * 50)
    model = fasttext.train_supervised(
        input=str(lines), dim=8, bucket=1000, wordNgrams=2, epoch=20, lr=0.5, thread=1, seed=1, verbose=0
    )
    model.save_model(str(path / "model.bin"))
    return path


@pytest.fixture(scope="module")
def settings(folder: Path) -> Settings:
    return Settings(str(folder / "model.bin"), sha256(folder / "model.bin"), "good")


def test_a_score_is_the_probability_of_the_label(folder: Path, settings: Settings) -> None:
    texts = [GOOD, BAD, "lake pills"]
    good = fasttext_classifier.score(texts, settings)
    bad = fasttext_classifier.score(texts, replace(settings, label="__label__bad"))
    assert good[0].score is not None and good[0].score > 0.9
    assert bad[1].score is not None and bad[1].score > 0.9
    model = fasttext.FastText._FastText(model_path=str(folder / "model.bin"))
    for text, yes, no in zip(texts, good, bad, strict=True):
        labels, probabilities = model.predict([text], k=2)
        by_label = dict(zip(labels[0], probabilities[0], strict=True))
        assert yes == Score(pytest.approx(by_label["__label__good"], abs=2e-5), len(text))
        assert yes.score is not None and no.score is not None
        assert yes.score + no.score == pytest.approx(1, abs=1e-4)


def test_a_folder_stands_for_the_model_in_it(folder: Path, settings: Settings) -> None:
    of_folder = replace(settings, model=str(folder))
    assert fasttext_classifier.score([GOOD], of_folder) == fasttext_classifier.score([GOOD], settings)
    assert fasttext_classifier.digest(of_folder) == fasttext_classifier.digest(settings)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_a_score_does_not_depend_on_the_texts_beside_it(settings: Settings, texts: list[str]) -> None:
    together = fasttext_classifier.score(texts, settings)
    assert together == [fasttext_classifier.score([text], settings)[0] for text in texts]
    assert together[::-1] == fasttext_classifier.score(texts[::-1], settings)
    for found in together:
        assert (found.score is None) == (found.error is not None)
        assert found.score is None or 0 <= found.score <= 1


@given(st.text(st.one_of(st.characters(), st.sampled_from("_lab\0\n\r\v\f </s>"), st.just("\ud800"))), st.booleans())
def test_a_text_is_one_line_without_labels(text: str, lowercase: bool) -> None:
    found = line(text, lowercase=lowercase, max_characters=40)
    assert not set(found) & set("\0\n\r\v\f\t\ud800")
    assert found == found.strip()
    assert line(found, lowercase=lowercase, max_characters=200) == found


@pytest.mark.parametrize("odd", ["lake</s>pills", "lake </s> pills", "___label____label__", "__label____label__good"])
def test_what_fasttext_takes_for_ends_and_labels_is_text(odd: str) -> None:
    found = line(odd, lowercase=False, max_characters=100)
    assert "</s>" not in found
    assert "__label__" not in found


def test_words_after_what_looks_like_an_end_are_read(settings: Settings) -> None:
    plain, marked = fasttext_classifier.score([f"x {BAD}", f"</s> {BAD}"], settings)
    assert marked.score is not None and marked.score < 0.2
    assert marked.score == pytest.approx(plain.score, abs=0.1)


@pytest.mark.parametrize("between", ["\n", "\r\n", "\0", "\t", "   ", "\u3000"])
def test_all_white_space_is_a_space(settings: Settings, between: str) -> None:
    plain, other = fasttext_classifier.score([GOOD, GOOD.replace(" ", between)], settings)
    assert other.score == plain.score


@pytest.mark.parametrize("text", ["", " \n\t", "\0"])
def test_a_text_without_a_word_has_no_score(settings: Settings, text: str) -> None:
    assert fasttext_classifier.score([text], settings) == [Score(None, len(text), error="empty: no word")]


def test_a_text_is_read_as_far_as_the_settings_say(settings: Settings) -> None:
    short = replace(settings, max_characters=len(GOOD))
    one, longer = fasttext_classifier.score([GOOD, GOOD + f" {BAD}" * 5_000_000], short)
    assert one == longer
    assert longer.read == len(GOOD)


def test_case_is_the_models_business(settings: Settings) -> None:
    upper = [GOOD.upper()]
    assert fasttext_classifier.score(upper, settings)[0].score != pytest.approx(
        fasttext_classifier.score([GOOD], settings)[0].score, abs=0.01
    )
    lower = replace(settings, lowercase=True)
    assert fasttext_classifier.score(upper, lower)[0].score == fasttext_classifier.score([GOOD], lower)[0].score


def test_another_file_is_refused(folder: Path, settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "model.bin"
    other.write_bytes((folder / "model.bin").read_bytes()[:-1] + b"x")
    for call in (fasttext_classifier.check, fasttext_classifier.digest):
        with pytest.raises(ModelError, match=f"its SHA-256 is {sha256(other)}, wanted {settings.sha256}"):
            call(replace(settings, model=str(other)))


def test_a_label_that_the_model_lacks_is_refused_with_those_it_has(settings: Settings) -> None:
    with pytest.raises(ModelError, match=r"has no label 'hq': its labels are (good, bad|bad, good)"):
        fasttext_classifier.check(replace(settings, label="hq"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no fastText model: it begins with b''"),
        (b"PK\x03\x04 a zip file", "is no fastText model"),
        (fasttext_file.START.pack(fasttext_file.MAGIC, 99), "is of version 99 of fastText's format"),
        (fasttext_file.START.pack(fasttext_file.MAGIC, 12), "cannot be loaded|has no labels"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        fasttext_classifier.check(Settings(str(path), sha256(path)))


def test_word_vectors_are_no_classifier(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "vectors.bin"
    vectors = fasttext.train_unsupervised(
        str(folder / "lines.txt"), dim=2, bucket=10, minCount=1, epoch=1, thread=1, verbose=0
    )
    vectors.save_model(str(path))
    with pytest.raises(ModelError, match="is no classifier"):
        fasttext_classifier.check(Settings(str(path), sha256(path)))


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    for model, said in (("missing.bin", "there is no fastText model"), (str(tmp_path), "holds neither: wanted one of")):
        with pytest.raises(ModelError, match=said):
            fasttext_classifier.check(Settings(model, "0" * 64))


def test_the_name_changes_with_what_decides_a_score(folder: Path, settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "other.bin"
    copy.write_bytes((folder / "model.bin").read_bytes())
    own = fasttext_classifier.digest(settings)
    assert fasttext_classifier.digest(replace(settings, model=str(copy), label="__label__good")) == own
    changes: list[dict[str, Any]] = [{"label": "bad"}, {"lowercase": True}, {"max_characters": 10}]
    others = [fasttext_classifier.digest(replace(settings, **change)) for change in changes]
    assert len({own, *others}) == 4


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"model": "a"}, "key 'sha256' is missing"),
        (
            {"model": "a", "sha256": "abc", "label": "__label__"},
            "sha256 is 'abc', wanted 64 digits of 0-9 and a-f; label",
        ),
        ({"model": "a", "sha256": "0" * 64, "max_characters": 0}, "max_characters is 0, wanted at least 1"),
        ({"model": "a", "sha256": "0" * 64, "threshold": 0.5}, "unknown key 'threshold'"),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.build(data, Settings, origin="scorer.yaml")
    assert said in str(raised.value)


def test_a_sure_answer_is_not_above_one(settings: Settings) -> None:
    (found,) = fasttext_classifier.score([" ".join([GOOD] * 50)], settings)
    assert found.score is not None and math.isfinite(found.score) and found.score <= 1
