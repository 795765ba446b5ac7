"""The packaged model answers as its makers say, for every text; other models are read or refused with a reason."""

import warnings
from pathlib import Path

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import models
from etl.kernels import fasttext_file, language

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too

SENTENCES = {
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "en": "All human beings are born free and equal in dignity and rights.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "ja": "すべての人間は生まれながらにして自由である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "zh": "北京是中国的首都也是全国的政治和文化中心。",
}


def test_one_sentence_is_enough_for_large_languages():
    answers = language.detect(list(SENTENCES.values()))
    assert [name for name, _ in answers] == list(SENTENCES)
    assert all(score is not None and score > 0.65 for _, score in answers)


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=6))
def test_a_text_has_a_language_and_a_probability_or_neither(texts):
    answers = language.detect(texts)
    assert len(answers) == len(texts)
    for text, (name, score) in zip(texts, answers, strict=True):
        if any(character.isalpha() for character in text):
            assert name and score is not None and 0 <= score <= 1
        else:
            assert (name, score) == (None, None)


@settings(deadline=None)
@given(st.lists(ANY_TEXT | st.sampled_from(list(SENTENCES.values())), max_size=6))
def test_an_answer_does_not_depend_on_the_texts_beside_it(texts):
    assert language.detect(texts) == [language.detect([text])[0] for text in texts]


def test_newlines_are_spaces():
    words = SENTENCES["en"].split()
    assert language.detect(["\n".join(words)]) == language.detect([" ".join(words)])


def test_text_after_the_limit_is_not_looked_at():
    head = (SENTENCES["fr"] + " ") * (language.MAX_CHARACTERS // len(SENTENCES["fr"]) + 1)
    assert language.detect([head + SENTENCES["ko"] * 1000]) == language.detect([head])
    assert language.detect([" " * language.MAX_CHARACTERS + "after"]) == [(None, None)]


def test_loading_the_model_warns_of_nothing(capfd):
    language._model.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert language.detect([SENTENCES["en"]])[0][0] == "en"
    assert capfd.readouterr() == ("", "")


def test_a_damaged_model_is_refused(monkeypatch):
    monkeypatch.setitem(models.SHA256, language.MODEL, "0" * 64)
    language._model.cache_clear()
    with pytest.raises(models.ModelError, match=r"lid\.176\.ftz is damaged: its SHA-256 is 8f34.*, the card says 0000"):
        language.detect(["text"])


def test_a_missing_model_is_named(monkeypatch):
    monkeypatch.setitem(models.SHA256, "other.ftz", "0" * 64)
    with pytest.raises(models.ModelError, match=r"etl/models/other\.ftz is missing"):
        models.read("other.ftz")


FREE = [SENTENCES["en"], SENTENCES["de"]]


def test_a_sure_answer_of_samples_is_that_of_the_whole_text():
    english, mixed = (SENTENCES["en"] + " ") * 300, (SENTENCES["en"] + " ") * 150 + (SENTENCES["fr"] + " ") * 150
    quick, whole = (language.detect([english, mixed], sure=sure) for sure in (0.9, None))
    assert [name for name, _ in quick] == [name for name, _ in whole]
    assert quick[0][1] is not None and quick[0][1] >= 0.9
    assert quick[1] == whole[1]  # the samples are of two languages, so all of it was looked at


@settings(deadline=None, max_examples=40)
@given(st.lists(ANY_TEXT | st.sampled_from(FREE), max_size=5))
def test_texts_no_longer_than_the_samples_are_read_whole(texts):
    assert language.detect(texts, sure=0.9) == language.detect(texts)


@settings(deadline=None, max_examples=40)
@given(st.lists(ANY_TEXT | st.sampled_from(["\n".join(FREE), "\n".join(SENTENCES.values())]), max_size=5))
def test_rows_agree_with_single_answers(texts):
    rows = language.batch(texts)
    assert rows.schema == language.SCHEMA
    assert rows.to_pylist() == [language.batch([text]).to_pylist()[0] for text in texts]
    for row, (name, score) in zip(rows.to_pylist(), language.detect(texts), strict=True):
        assert (row["language"], row["language_score"]) == (name, score)
        assert 0 <= row["other_line_ratio"] <= 1
        assert (row["other_line_ratio"] == 0) == (row["other_line_language"] == "none")
        if name is not None:
            assert row["second_language"] != name
            assert 0 <= row["second_language_score"] <= row["language_score"]


def test_lines_in_another_language_are_measured():
    german = SENTENCES["de"]
    text = "\n".join([*[SENTENCES["en"]] * 8, german, german, "Alles klar."])
    (row,) = language.batch([text]).to_pylist()
    assert (row["language"], row["other_line_language"]) == ("en", "de")
    characters = len(text) - text.count("\n")
    assert row["other_line_ratio"] == pytest.approx(2 * len(german) / characters)  # a short line is not judged
    (row,) = language.batch([text], lines=False).to_pylist()
    assert (row["language"], row["other_line_ratio"], row["other_line_language"]) == ("en", None, None)


def test_a_text_of_one_language_has_no_lines_in_others():
    for row in language.batch(["\n".join([sentence] * 5) for sentence in SENTENCES.values()]).to_pylist():
        assert (row["other_line_ratio"], row["other_line_language"]) == (0.0, "none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Models of two languages: small.bin, cut.bin, which lacks its end, and vectors.bin, which names nothing."""
    path = tmp_path_factory.mktemp("models")
    lines = [f"__label__eng_Latn {SENTENCES['en']}", f"__label__deu_Latn {SENTENCES['de']}"]
    (path / "texts").write_text("\n".join(lines * 20))
    options = {"dim": 8, "minn": 2, "maxn": 3, "bucket": 500, "minCount": 1, "verbose": 0, "thread": 1}
    named = fasttext.train_supervised(str(path / "texts"), epoch=40, lr=0.5, **options)
    named.save_model(str(path / "small.bin"))
    fasttext.train_unsupervised(str(path / "texts"), epoch=1, **options).save_model(str(path / "vectors.bin"))
    whole = (path / "small.bin").read_bytes()
    (path / "cut.bin").write_bytes(whole[: len(whole) // 2])
    return path


def test_another_model_answers_with_its_own_codes(folder):
    model = str(folder / "small.bin")
    assert language.languages(model) == ("deu_Latn", "eng_Latn")
    assert [name for name, _ in language.detect(FREE, model=model)] == ["eng_Latn", "deu_Latn"]
    (row,) = language.batch([SENTENCES["de"]], model=model).to_pylist()
    assert (row["language"], row["second_language"]) == ("deu_Latn", "eng_Latn")
    assert language.digest(model) != language.digest() == models.SHA256[language.MODEL]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.bin", r"there is no language model '.*none\.bin': wanted lid\.176\.ftz or the path of a fastText model"),
        ("texts", r"texts is no fastText model: it begins with b'__label_'"),
        ("empty", r"empty is no fastText model: it begins with b''"),
        ("cut.bin", r"cut\.bin is cut off: it has \d+ bytes, its vectors alone are \d+"),
        ("vectors.bin", r"vectors\.bin has no labels: wanted a model that was trained to name languages"),
        ("newer.bin", r"newer\.bin is of version 99 of fastText's format, wanted 12 or less"),
    ],
)
def test_a_file_that_is_no_model_of_languages_is_refused(folder, name, message):
    (folder / "empty").write_bytes(b"")
    (folder / "newer.bin").write_bytes(fasttext_file.START.pack(fasttext_file.MAGIC, 99) + b"\0" * 100)
    with pytest.raises(models.ModelError, match=message):
        language.detect(["text"], model=str(folder / name))


def test_the_packaged_model_knows_176_languages():
    assert len(language.languages()) == 176
    assert {"en", "de", "zh", "als", "ceb"} <= set(language.languages())


def test_an_unknown_code_is_told_with_the_nearest(folder):
    assert language.unknown(["en", "de", "fr"]) == []
    assert language.unknown(["deu", "zh-CN", "klingon"]) == [
        "'deu' is no language that lid.176.ftz knows, did you mean 'de'?",
        "'zh-CN' is no language that lid.176.ftz knows, did you mean 'zh'?",
        "'klingon' is no language that lid.176.ftz knows; it knows 176, such as af, als, am, an, ar",
    ]
    assert language.unknown(["de"], str(folder / "small.bin")) == [
        "'de' is no language that small.bin knows, did you mean 'deu_Latn'?"
    ]
