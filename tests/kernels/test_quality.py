"""`signals` against its definitions, written out slowly, and the published cases."""

import math
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.kernels import lines, quality

SCHEMA = Path(__file__).parents[2] / "schemas" / "document_quality.sql"

# Pieces that the rules look for, so that generated texts meet them often.
PIECES = st.sampled_from(
    [
        *("a", "b", "c", "the", "The", "with", "bethe", "and,", "JavaScript", "privacy policy", "use cookies"),
        *("lorem ipsum", "{", "#", "...", "\u2026", ".", "!", '"', "'", "[1]", "[edit]", "[", "3", "1,200", "12K"),
        *("likes", "comments", "Sign-in", "items in cart", "Read more...", "read more\u2026", "SHOUT", "\u00c9T\u00c9"),
        *("\u2022", "-", "*", "\u65e5\u672c\u8a9e", "\u3002", "\u0e01\u0e33\u0e25\u0e31\u0e07", "\ud800", "\x00"),
        *(" ", " ", " ", "\n", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\x85", "x" * 1001, "e.g.", "\u0130", "\u017f"),
    ]
)
PAGES = st.lists(PIECES, max_size=60).map("".join) | st.lists(PIECES, max_size=60).map(" ".join)
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too

UNSPACED_SCRIPTS = (
    *("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC", "VERTICAL IDEOGRAPHIC", "BOPOMOFO", "YI SYLLABLE"),
    *("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "VERTICAL KANA", "MASU MARK", "COMBINING KATAKANA-HIRAGANA"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "TAI LE", "NEW TAI LUE", "TAI THAM", "TAI VIET"),
)


def is_unspaced(character: str) -> bool:
    """By the Unicode database: a letter or mark of a script without spaces."""
    return unicodedata.category(character)[0] in "LM" and unicodedata.name(character, "").startswith(UNSPACED_SCRIPTS)


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def expected(text: str) -> dict[str, float]:
    """Every signal by its definition; only what a word and a C4 line is, is taken from the code."""
    page = [line.strip() for line in text.split("\n") if line.strip()]
    blocks: list[list[str]] = [[]]
    for line in map(str.strip, text.split("\n")):
        if line:
            blocks[-1].append(line)
        else:
            blocks.append([])
    paragraphs = ["\n".join(block) for block in blocks if block]
    words = [word for line in page for word in lines.words(line)]
    characters = sum(len(word) for word in words)
    found: dict[str, float] = {
        "words": len(words),
        "lines": len(page),
        "paragraphs": len(paragraphs),
        "mean_word_length": share(characters, len(words)),
        "symbol_word_ratio": min(
            1.0, max(share(text.count("#"), len(words)), share(text.count("...") + text.count("\u2026"), len(words)))
        ),
        "bullet_line_ratio": share(sum(line[0] in "\u2022\u25cf\u25e6\u25aa\u2023*-" for line in page), len(page)),
        "ellipsis_line_ratio": share(sum(line.endswith(("...", "\u2026")) for line in page), len(page)),
        "alpha_word_ratio": share(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "stop_words": len(
            {"the", "be", "to", "of", "and", "that", "have", "with"} & set(re.findall(r"\w+", text.lower()))
        ),
        "punctuated_line_ratio": share(sum(line[-1] in lines.LINE_END_PUNCTUATION for line in page), len(page)),
        "short_line_ratio": share(sum(len(line) <= 30 for line in page), len(page)),
        "newline_word_ratio": min(1.0, share(text.strip().count("\n"), len(words))),
        "longest_word": max(map(len, words), default=0),
        "lorem_ipsum": text.lower().count("lorem ipsum"),
        "curly_brackets": text.count("{"),
        "c4_policy_lines": sum(any(phrase in line.lower() for phrase in lines.C4_PHRASES) for line in page),
    }
    for kind, items in (("line", page), ("paragraph", paragraphs)):
        again = [item for index, item in enumerate(items) if item in items[:index]]
        found[f"duplicate_{kind}_ratio"] = share(len(again), len(items))
        found[f"duplicate_{kind}_char_ratio"] = share(sum(map(len, again)), sum(map(len, items)))
    for n in range(2, 11):
        ngrams = [tuple(words[index : index + n]) for index in range(len(words) - n + 1)]
        counts = Counter(ngrams)
        if n < 5:
            most = max(counts.values(), default=0)
            longest = max((sum(map(len, ngram)) for ngram in ngrams if counts[ngram] == most), default=0)
            found[f"top_{n}gram_char_ratio"] = min(1.0, share(longest * most, characters)) if most > 1 else 0.0
        else:
            covered: set[int] = set()
            for index, ngram in enumerate(ngrams):
                if ngram in ngrams[:index]:
                    covered |= set(range(index, index + n))
            found[f"duplicate_{n}gram_char_ratio"] = share(sum(len(words[index]) for index in covered), characters)
    kept, punctuated = lines.lines(lines.fineweb_lines(text)), lines.lines(lines.c4_lines(text))
    found["fineweb_sentences"] = sum(lines.sentences(lines.words(line)) for line in kept)
    found["c4_sentences"] = sum(lines.sentences(lines.words(line)) for line in punctuated)
    found["c4_kept_line_ratio"] = share(len(punctuated), len(page))
    left = sum(len(lines.words(line)) for line in lines.lines(lines.refinedweb_lines(text)))
    found["refinedweb_removed_word_ratio"] = share(len(words) - left, len(words))
    return found


def test_signals_are_the_columns_of_the_contract_in_order():
    columns = re.findall(r"^  (\w+) +(BIGINT|DOUBLE|STRING) NOT NULL COMMENT", SCHEMA.read_text(), re.MULTILINE)
    types = {int: "BIGINT", float: "DOUBLE"}
    assert columns[2:] == [(name, types[kind]) for name, kind in quality.Signals.__annotations__.items()]


@settings(deadline=None)
@given(PAGES | ANY_TEXT)
@example("a b c a b a b c a b c a b c a b c a b c a b c")
@example("\n".join(["one two three."] * 4 + ["", "one two three."] * 2))
@example("It works, e.g. here. It does! [12] \u201cYes.\u201d No...\nuses cookies here\n3 likes\nSign-in now please")
@example("\ud800 \udc00\ud800\udc00 \x00 \x00")
@example("\u017fign-in here \u0130tems in cart")
def test_signals_are_what_their_definitions_say(text):
    assert quality.signals(text)._asdict() == pytest.approx(expected(text), abs=0, rel=1e-15)


@settings(deadline=None)
@given(PAGES | ANY_TEXT)
def test_no_text_raises_and_every_share_is_between_0_and_1(text):
    for name, value in quality.signals(text)._asdict().items():
        assert value >= 0
        assert type(value) is quality.Signals.__annotations__[name]
        if name.endswith("_ratio"):
            assert value <= 1, name
        assert math.isfinite(value)


@settings(deadline=None)
@given(st.lists(PAGES | ANY_TEXT, max_size=8), st.integers(1, 200))
def test_a_batch_is_its_texts_one_by_one_however_it_is_grouped(texts, characters):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "GROUP_CHARACTERS", characters)
        rows = quality.batch(texts)
    assert rows.schema.names == list(quality.Signals._fields)
    assert [quality.Signals(**row) for row in rows.to_pylist()] == [quality.signals(text) for text in texts]


def test_a_batch_takes_arrow_strings():
    texts = ["The cat and the dog.", "", "one two one two"]
    assert quality.batch(pa.array(texts)) == quality.batch(texts)
    assert quality.batch(pa.array([], pa.string())).num_rows == 0


@pytest.mark.parametrize("text", ["", " ", "\n\n\t\r\n", "\u3000"])
def test_a_text_without_words_has_zeros_only(text):
    assert set(quality.signals(text)) == {0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  cat\tsat.", ["The", "cat", "sat."]),
        (
            "\u65e5\u672c\u8a9e\u306ePython\u5165\u9580\u3002",
            ["\u65e5", "\u672c", "\u8a9e", "\u306e", "Python", "\u5165", "\u9580", "\u3002"],
        ),
        ("\u0e17\u0e35\u0e48", ["\u0e17\u0e35\u0e48"]),
        ("\u0e01\u0e33\u0e25\u0e31\u0e07 123", ["\u0e01", "\u0e33", "\u0e25\u0e31", "\u0e07", "123"]),
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5", ["\ud55c\uad6d\uc5b4", "\ubb38\uc7a5"]),
        ("\u0645\u0631\u062d\u0628\u0627 \u043c\u0438\u0440", ["\u0645\u0631\u062d\u0628\u0627", "\u043c\u0438\u0440"]),
    ],
    ids=["english", "japanese", "thai with two marks", "thai", "korean", "arabic and russian"],
)
def test_words_are_runs_without_space_or_letters_of_scripts_without_spaces(text, words):
    assert lines.words(text) == words


def test_letters_of_scripts_without_spaces_are_those_of_the_unicode_database():
    """Over all letters and marks of the Basic Multilingual Plane that this Python knows."""
    for code in range(0x10000):
        character = chr(code)
        if unicodedata.category(character)[0] in "LM":
            words = lines.words(f"x{character}{character}")
            if not is_unspaced(character):
                assert words == [f"x{character}{character}"], hex(code)
            elif unicodedata.category(character) in ("Lo", "Lm"):
                assert words == ["x", character, character], hex(code)


def test_no_letter_stands_where_the_table_of_traits_does_not_look():
    assert not any(chr(code).isalpha() for code in range(0x40000, 0x110000))


@settings(deadline=None)
@given(PAGES | ANY_TEXT)
def test_the_words_of_a_text_are_those_of_its_lines(text):
    assert lines.words(text) == [word for line in lines.lines(text) for word in lines.words(line)]
    assert "".join(lines.words(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("signal", "text", "value"),
    [
        ("stop_words", "THE cat, (and) to-be; Bethe waits", 4),
        ("symbol_word_ratio", "#one two... three\u2026 four", 0.5),
        ("symbol_word_ratio", "#### word", 1.0),
        ("bullet_line_ratio", "\u2022 one\n- two\n* three\nfour", 0.75),
        ("ellipsis_line_ratio", "..", 0.0),
        ("ellipsis_line_ratio", "one...\ntwo\u2026\nthree.\nfour", 0.5),
        ("alpha_word_ratio", "one 2 -3- f0ur", 0.5),
        ("duplicate_line_ratio", "x y\nx y\nx y\nz", 0.5),
        ("duplicate_line_char_ratio", "aaaa\naaaa\nbb", 0.4),
        ("duplicate_paragraph_ratio", "a\nb\n\na\nb\n \nc", 1 / 3),
        ("duplicate_paragraph_char_ratio", "aa\n\naa\n\nb", 0.4),
        ("top_2gram_char_ratio", "ab cdef x ab cdef y", 12 / 14),
        # Of two that occur twice the longer, and three short ones before two long ones.
        ("top_2gram_char_ratio", "a b 1 a b 2 cccc dddd 3 cccc dddd 4", 16 / 24),
        ("top_2gram_char_ratio", "a b 1 a b 2 a b 3 cccc dddd 4 cccc dddd", 6 / 26),
        ("top_2gram_char_ratio", "each word once", 0.0),
        ("top_2gram_char_ratio", "ha ha ha ha", 1.0),
        # The second "a b c d e" covers five words of twelve letters; the third letter run none.
        ("duplicate_5gram_char_ratio", "a b c d e x a b c d e y", 5 / 12),
        ("duplicate_6gram_char_ratio", "a b c d e x a b c d e y", 0.0),
        # Overlapping repeats cover each word once: all but the first.
        ("duplicate_5gram_char_ratio", "a a a a a a a a", 7 / 8),
        ("punctuated_line_ratio", 'One.\nTwo"\nThree\n\u56db\u3002', 0.75),
        ("short_line_ratio", "x" * 30 + "\n" + "x" * 31, 0.5),
        ("newline_word_ratio", "\none\ntwo\n\nthree four\n", 0.75),
        ("longest_word", "a bb ccc", 3),
        ("lorem_ipsum", "Lorem Ipsum lorem ipsum", 2),
        ("curly_brackets", "{ { }", 2),
        ("c4_sentences", "One is here. Two is there! Mr. smith, e.g. he.\nNo end", 3),
        ("c4_sentences", 'She says "yes." He (no!) nods.', 2),
        ("fineweb_sentences", "One is here. Two is there! Mr. smith, e.g. he.\nNo end of it", 4),
        ("c4_kept_line_ratio", "This is kept.\nThis is not\nToo short.\nNor is this...", 0.25),
        ("c4_policy_lines", "Enable JavaScript now.\nOur Privacy Policy.\nThis site uses cookies.\nFine line here.", 3),
        ("refinedweb_removed_word_ratio", "3 likes\nsome plain words stay here now\nALONE", 3 / 9),
    ],
)
def test_published_rules_on_small_texts(signal, text, value):
    assert getattr(quality.signals(text), signal) == pytest.approx(value)


def test_c4_drops_lines_and_citations():
    text = (
        "Wikipedia is an encyclopedia.[1][edit]\n"
        "Home\n"
        "No terminal mark here\n"
        "Please enable Javascript to go on.\n"
        "Read our terms of use today.\n"
        "It trails off...\n"
        f"A word of {'x' * 1001} letters.\n"
        "\n"
        "She said: \u201cThis stays.\u201d"
    )
    assert lines.c4_lines(text) == "Wikipedia is an encyclopedia.\nShe said: \u201cThis stays.\u201d"
    assert lines.fineweb_lines(text).split("\n")[1:3] == ["No terminal mark here", "It trails off..."]


def test_refinedweb_drops_lines_and_cuts_phrases():
    text = (
        "Sign-in to continue here\n"
        "BREAKING NEWS TODAY\n"
        "\n"
        "1,204 Comments\n"
        "2024\n"
        "Lonely\n"
        "Read more...\n"
        "The full story Read more...\n"
        "2 items in cart\n"
        "A line of more than ten words may well say items in cart and keep it."
    )
    assert lines.refinedweb_lines(text).split("\n") == [
        "to continue here",
        "",
        "The full story",
        "2",
        "A line of more than ten words may well say items in cart and keep it.",
    ]


@settings(deadline=None)
@given(PAGES | ANY_TEXT)
def test_line_filters_add_no_words_and_raise_for_no_text(text):
    for line_filter in (lines.c4_lines, lines.fineweb_lines, lines.refinedweb_lines):
        assert len(lines.words(line_filter(text))) <= len(lines.words(text))
    assert set(lines.lines(lines.c4_lines(text))) <= set(lines.lines(lines.fineweb_lines(text)))


@pytest.mark.parametrize(
    "text",
    [
        "a " * 150_000,
        " " * 300_000 + "x",
        "x" * 300_000,
        "\n" * 300_000,
        " \n" * 150_000 + "x",
        "." * 300_000,
        "1," * 150_000 + "1 like",
        "!" * 300_000 + " 3 likes " + "!" * 300_000 + "x",
        '."' * 150_000 + " " * 300_000,
        "[" * 300_000,
        "\u65e5\u672c\u3002" * 100_000,
        "the" * 100_000,
        "sign-in items in cart " * 15_000,
        "Sentence one. " * 20_000,
        "".join(f"{word} " for word in range(60_000)),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_long_texts_of_one_kind_take_no_longer_than_others(text):
    """Each takes well below a second; a regular expression that tries every split would take days."""
    found = quality.signals(text)
    assert found.words == len(lines.words(text))
    for line_filter in (lines.c4_lines, lines.refinedweb_lines):
        assert len(line_filter(text)) <= len(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(string.ascii_lowercase[:4]), max_size=40), st.integers(2, 6))
def test_a_text_said_again_is_mostly_duplicate(words, times):
    once, often = " ".join(words), " ".join(words * times)
    if len(words) >= 5:
        assert quality.signals(often).duplicate_5gram_char_ratio >= (times - 1) / times
    assert quality.signals(often).words == times * quality.signals(once).words
