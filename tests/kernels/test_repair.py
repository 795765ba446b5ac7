# ruff: noqa: RUF001 - what looks like another character is what this is about
"""Mojibake, control characters and normal forms: what is repaired, and what stays as its author wrote it."""

import unicodedata

import ftfy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.kernels import repair

SENTENCES = (
    "Schöne Grüße aus München — bis später!",
    "El niño comió en un café de Bogotá.",
    "Voilà, c’est déjà l’été à Besançon…",
    "“Zażółć gęślą jaźń” is Polish.",
    "Привет, как дела?",
    "The price is 20 € or £15, WireGuard® says.",
)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_text_decoded_as_latin_1_is_undone(sentence):
    assert repair.repair(sentence.encode("utf-8").decode("latin-1")) == sentence


@pytest.mark.parametrize(
    ("sentence", "encoding"),
    [
        ("It’s “here” — now…", "windows-1251"),
        ("Привет, как дела?", "windows-1251"),
        ("Schöne Grüße aus München", "windows-1252"),
        ("Schöne Grüße aus München", "macroman"),
        ("El niño comió en un café", "cp437"),
    ],
)
def test_text_decoded_as_another_old_encoding_is_undone(sentence, encoding):
    assert repair.repair(sentence.encode("utf-8").decode(encoding)) == sentence


@pytest.mark.parametrize("sentence", SENTENCES[:3])
def test_mojibake_of_mojibake_is_undone(sentence):
    wrong = sentence.encode("utf-8").decode("latin-1").encode("utf-8").decode("latin-1")
    assert repair.repair(wrong) == sentence


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "",
        "plain text\twith tabs\r\nand lines\n\n",
        "Curly “quotes” and ‘these’, ﬁ ligatures, Ｆｕｌｌ ｗｉｄｔｈ, &amp; entities &eacute;",
        "日本語のテキスト、ไทย, العربية, हिन्दी",
        "family 👨‍👩‍👧 and flag 🏴󠁧󠁢󠁳󠁣󠁴󠁿, ZWNJ می‌خواهم, soft\u00adhyphen",
        "cafe\u0301",
    ],
)
def test_good_text_stays_as_it_is(text):
    assert repair.repair(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("one\x00two\x07\x1b[31m", "onetwo[31m"),
        ("\ufeffStart\ufeff and end", "Start and end"),
        ("the world\x19s \x1cbest\x1d \x13 it is", "the world’s “best” – it is"),
        ("a \x19 b", "a  b"),
        ("I shouldn\x92t", "I shouldn’t"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("pair \ud83d\ude00", "pair 😀"),
    ],
)
def test_control_characters_go_or_become_what_they_stood_for(text, wanted):
    assert repair.repair(text) == wanted


def test_a_line_of_mojibake_does_not_touch_the_others():
    text = "schÃ¶n\n&amp; “quoted”\r\nÂ© 2024"
    assert repair.repair(text) == "schön\n&amp; “quoted”\r\n© 2024"


@pytest.mark.parametrize("form", repair.FORMS)
@given(text=st.text())
@settings(deadline=None)
def test_the_result_is_in_the_form_asked_for(form, text):
    assert unicodedata.is_normalized(form, repair.repair(text, form))


def test_forms_are_those_of_unicode():
    assert repair.repair("cafe\u0301 ﬁ", "NFC") == "café ﬁ"
    assert repair.repair("cafe\u0301 ﬁ", "NFKC") == "café fi"
    with pytest.raises(ValueError, match="form is 'NFD', wanted None, NFC or NFKC"):
        repair.repair("", "NFD")


SUSPECTS = st.sampled_from(
    [*"ÃÂâ€™œŒà©®Ð¡вЂ√±‚Äß≈°", "\xa0", "\x80", "\x99", "\x92", " ", "a", "Z", "\n", "ï»¿", "ðŸ˜€", "\x19"]
)
TEXTS = st.lists(SUSPECTS | st.characters(exclude_categories=("Cs",)), max_size=20).map("".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
@example("Ã a")
def test_the_gate_lets_everything_through_that_ftfy_would_change(text):
    for line in text.splitlines(keepends=True):
        assert repair._without_mojibake(line) == ftfy.fix_text(line, repair._MOJIBAKE)


@settings(deadline=None)
@given(TEXTS | st.text())
def test_a_repaired_text_has_no_control_characters(text):
    assert not set(map(ord, repair.repair(text))) & {*range(9), 11, *range(14, 32), *range(0x7F, 0x85), 0xFEFF}


def test_a_batch_is_its_texts_one_by_one():
    texts = ["schÃ¶n", "", "cafe\u0301"]
    assert repair.batch(texts, "NFC") == [repair.repair(text, "NFC") for text in texts] == ["schön", "", "café"]


@pytest.mark.parametrize("piece", ["Ã", "Ã¶", "â€™", "\x00", "\x19", "ß ", "é", "п", "€", "a\n", "Ã¶\n", "ã‚"])
def test_a_long_text_of_one_thing_takes_no_longer_than_its_length(piece):
    assert len(repair.repair(piece * (100_000 // len(piece)))) <= 100_000
