"""The packaged model answers as its makers say, for every text."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import models
from etl.kernels import language

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
