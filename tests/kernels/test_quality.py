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
from etl.kernels.words import cut

SCHEMA = Path(__file__).parents[2] / "schemas" / "document_quality.sql"

# Pieces that the rules look for, so that generated texts meet them often.
PIECES = st.sampled_from(
    [
        *("a", "b", "c", "the", "The", "with", "bethe", "and,", "JavaScript", "privacy policy", "use cookies"),
        *("lorem ipsum", "{", "#", "...", "\u2026", ".", "!", '"', "'", "[1]", "[edit]", "[", "3", "1,200", "12K"),
        *("likes", "comments", "Sign-in", "items in cart", "Read more...", "read more\u2026", "SHOUT", "\u00c9T\u00c9"),
        *("\u2022", "-", "*", "\u65e5\u672c\u8a9e", "\u3002", "\u0e01\u0e33\u0e25\u0e31\u0e07", "\ud800", "\x00"),
        *(" ", " ", " ", "\n", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\x85", "x" * 1001, "e.g.", "\u0130", "\u017f"),
        *("One is. Two is", "java[2]script", "a b c d e", "don't", "U.S.", "{ a b {.", "the end.[3]", "  ", "...\n"),
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


def top_ngram(words: list[str], n: int) -> int:
    """Characters of the most frequent n-gram, with a space between words, times its count."""
    counts = Counter(" ".join(words[index : index + n]) for index in range(len(words) - n + 1))
    return max(counts.values()) * len(max(counts, key=counts.__getitem__)) if counts else 0


def duplicate_ngrams(words: list[str], n: int) -> int:
    """Characters of n-grams seen before, from left to right without overlap."""
    seen: set[str] = set()
    index = characters = 0
    while index <= len(words) - n:
        ngram = "".join(words[index : index + n])
        if ngram in seen:
            characters += len(ngram)
        index += n if ngram in seen else 1
        seen.add(ngram)
    return characters


def repeated(items: list[str]) -> list[str]:
    return [item for index, item in enumerate(items) if item in items[:index]]


def fineweb(text: str, words: int) -> dict[str, float]:
    """The values of FineWeb's own filter."""
    page = [line for line in text.split("\n") if line.strip()]
    return {
        "punctuated_line_ratio": share(sum(line[-1] in lines.LINE_END_PUNCTUATION for line in page), len(page)),
        "short_line_ratio": share(sum(len(line) <= 30 for line in page), len(page)),
        "repeated_line_char_ratio": share(sum(map(len, repeated(page))), len(text.replace("\n", ""))),
        "newline_word_ratio": min(1.0, share(text.count("\n"), words)),
    }


def expected(text: str) -> dict[str, float]:
    """Every signal by its definition; what a word is and what C4 sees of a line is taken from the code."""
    split = lines.splitter(text)
    page = [line.strip() for line in text.splitlines() if line.strip()]
    breaks = len(text.splitlines()) if page else 0
    runs = [run for line in page for run in split(line)]
    marked = [word for run in runs for word in cut(run)]
    words = [word for word in marked if not set(word) <= quality.PUNCTUATION]
    paragraphs = re.split("\n{2,}", text.strip()) if page else []
    unstripped = re.split("\n+", text) if page else []
    found: dict[str, float] = {
        "words": len(words),
        "lines": len(page),
        "paragraphs": len(paragraphs),
        "mean_word_length": share(sum(map(len, words)), len(words)),
        "symbol_word_ratio": min(
            1.0, share(max(text.count("#"), text.count("...") + text.count("\u2026")), len(marked))
        ),
        "bullet_line_ratio": share(sum(line[0] in "\u2022-" for line in page), breaks),
        "ellipsis_line_ratio": share(sum(line.endswith(("...", "\u2026")) for line in page), breaks),
        "alpha_word_ratio": share(sum(any(c.isalpha() for c in word) for word in marked), len(marked)),
        "stop_words": len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(marked)),
        "duplicate_line_ratio": share(len(repeated(unstripped)), len(unstripped)),
        "duplicate_line_char_ratio": share(sum(map(len, repeated(unstripped))), len(text)),
        "duplicate_paragraph_ratio": share(len(repeated(paragraphs)), len(paragraphs)),
        "duplicate_paragraph_char_ratio": share(sum(map(len, repeated(paragraphs))), len(text)),
        **fineweb(text, len(marked)),
        "longest_word": max(map(len, runs), default=0),
    }
    if not page:
        found["newline_word_ratio"] = 0.0
    for n in range(2, 11):
        kind, characters = ("top", top_ngram(marked, n)) if n < 5 else ("duplicate", duplicate_ngrams(marked, n))
        found[f"{kind}_{n}gram_char_ratio"] = min(1.0, share(characters, len(text)))
    c4 = [lines.c4_line(line, split) for line in page]
    left = lines.fineweb_lines(text)
    kept_words = [cut(run) for line in c4 if line.is_kept for run in split(line.text)]
    for name, value in fineweb(left, sum(map(len, kept_words))).items():
        found[f"fineweb_{name}"] = value
    for prefix, some in (("", c4), ("c4_", [line for line in c4 if line.is_punctuated])):
        found[f"{prefix}lorem_ipsum"] = sum(line.is_long_enough and line.has_lorem_ipsum for line in some)
        found[f"{prefix}curly_brackets"] = sum(
            line.is_long_enough and not line.has_javascript and line.has_curly_bracket for line in some
        )
        found[f"{prefix or 'fineweb_'}sentences"] = sum(
            lines.sentences(line.text, split) for line in some if line.is_kept
        )
    found["c4_kept_line_ratio"] = share(sum(line.is_kept and line.is_punctuated for line in c4), len(page))
    found["c4_policy_lines"] = sum(line.has_javascript or line.has_policy for line in c4)
    letters = sum(len(lines.words(line)) for line in page)
    refined = sum(len(lines.words(line)) for line in lines.lines(lines.refinedweb_lines(text)))
    found["refinedweb_removed_word_ratio"] = share(letters - refined, letters)
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
    signals = quality.signals(text)
    assert signals._asdict() == pytest.approx(expected(text), abs=0, rel=1e-15)
    assert quality.count_words(text) == signals.words


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
        ("words", "It doesn't cost $5, e.g. here... \u2014 (no)", 8),
        ("mean_word_length", "ab cdef !!! .", 3.0),
        ("stop_words", "THE cat, (and) to-be; Bethe waits", 3),
        ("symbol_word_ratio", "#one two ... three\u2026 four", 2 / 7),
        ("symbol_word_ratio", "... \u2026", 1.0),
        ("bullet_line_ratio", "\u2022 one\n- two\n\n* three\nfour", 0.4),
        ("ellipsis_line_ratio", "..", 0.0),
        ("ellipsis_line_ratio", "one...\ntwo\u2026 \nthree.\nfour", 0.5),
        ("alpha_word_ratio", "one 2 -3- f0ur", 0.5),
        ("duplicate_line_ratio", "x y\nx y\n\nx y\nz", 0.5),
        ("duplicate_line_ratio", "x y\n x y\nz", 0.0),
        ("duplicate_line_char_ratio", "aaaa\naaaa\nb", 4 / 11),
        ("duplicate_paragraph_ratio", "a\nb\n\na\nb\n\nc", 1 / 3),
        ("duplicate_paragraph_ratio", "a\nb\n\na\nb\n \nc", 0.0),
        ("duplicate_paragraph_char_ratio", "aa\n\naa\n\nb", 2 / 9),
        ("top_2gram_char_ratio", "ab cdef x ab cdef y", 14 / 19),
        # Of two that occur twice the first, and three short ones before two long ones.
        ("top_2gram_char_ratio", "a b 1 a b 2 cccc dddd 3 cccc dddd 4", 6 / 35),
        ("top_2gram_char_ratio", "a b 1 a b 2 a b 3 cccc dddd 4 cccc dddd", 9 / 39),
        ("top_2gram_char_ratio", "each word once", 9 / 14),
        ("top_2gram_char_ratio", "ha ha ha ha", 1.0),
        ("top_2gram_char_ratio", "ha", 0.0),
        ("duplicate_5gram_char_ratio", "a b c d e x a b c d e y", 5 / 23),
        ("duplicate_6gram_char_ratio", "a b c d e x a b c d e y", 0.0),
        # After one that was seen, the next is the one after it.
        ("duplicate_5gram_char_ratio", "a a a a a a a a", 5 / 15),
        # Equal by their characters, wherever their words end.
        ("duplicate_5gram_char_ratio", "ab c d e f a bc d e f", 6 / 21),
        ("punctuated_line_ratio", 'One.\nTwo"\nThree\n\u56db\u3002', 0.5),
        ("short_line_ratio", "x" * 30 + "\n" + "x" * 31, 0.5),
        ("repeated_line_char_ratio", "aaaa\naaaa\n\nbb", 0.4),
        ("newline_word_ratio", "\none\ntwo\n\nthree, four\n", 1.0),
        ("longest_word", "a bb ccc,", 4),
        ("lorem_ipsum", "Lorem Ipsum lorem ipsum\nlorem ipsum", 1),
        ("curly_brackets", "{ { }\nif (a) {\nno javascript {", 2),
        ("c4_curly_brackets", "{ { }\nif (a) {.\nno javascript {", 1),
        ("c4_lorem_ipsum", "Lorem Ipsum lorem ipsum\nlorem ipsum dolor.", 1),
        ("c4_sentences", "One is here. Two is there! Mr. Smith, e.g. he.\nNo end of it", 3),
        ("c4_sentences", 'She says "yes." He (no!) nods.', 3),
        ("c4_sentences", 'One is here. "', 1),
        ("c4_sentences", 'One is here.  "', 2),  # more than one space is a word to spaCy
        ("fineweb_sentences", "One is here. Two is there! Mr. Smith, e.g. he.\nNo end of it", 4),
        ("fineweb_punctuated_line_ratio", "Home.\nOne is here.\nand two are not", 0.5),
        ("fineweb_short_line_ratio", f"Home\none two three\n{'long ' * 9}", 0.5),
        ("fineweb_short_line_ratio", f"this has [1] twenty-nine letters[edit]\n{'long ' * 9}", 0.5),
        ("fineweb_repeated_line_char_ratio", "Home\nHome\none two three\none two three", 0.5),
        ("fineweb_newline_word_ratio", "Home\none two three\nfour five six", 1 / 6),
        ("c4_kept_line_ratio", "This is kept.\nThis is not\nToo short.\nNor is this...", 0.25),
        ("c4_policy_lines", "Enable JavaScript now.\nOur Privacy Policy.\nThis site uses cookies.\nFine line here.", 3),
        ("refinedweb_removed_word_ratio", "3 likes\nsome plain words stay here now\nALONE", 3 / 9),
    ],
)
def test_published_rules_on_small_texts(signal, text, value):
    assert getattr(quality.signals(text), signal) == pytest.approx(value)


def test_a_text_of_a_script_without_spaces_has_letters_for_words_and_an_english_one_does_not():
    assert quality.signals("\u65e5\u672c\u8a9e\u306e\u5165\u9580\u3002").words == 6
    assert quality.signals("The words \u65e5\u672c\u8a9e mean Japanese.").words == 5


def test_what_was_measured_before_does_not_matter(monkeypatch):
    """Runs are remembered, and forgotten when there are many."""
    text = "The cat's pyjamas, e.g. these... The cat's pyjamas, e.g. these: they don't."
    before = quality.signals(text)
    monkeypatch.setattr(quality, "MAX_RUNS", 2)
    assert [quality.signals(other) for other in ("a b c d", text, "e f g h", text)][1::2] == [before, before]


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
        'She said: "This stays."'
    )
    assert lines.c4_lines(text) == 'Wikipedia is an encyclopedia.\nShe said: "This stays."'
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
    assert 0 <= quality.signals(text).words <= len(text)
    for line_filter in (lines.c4_lines, lines.refinedweb_lines):
        assert len(line_filter(text)) <= len(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(string.ascii_lowercase[:4]), max_size=40), st.integers(2, 6))
def test_a_text_said_again_has_as_many_times_the_words(words, times):
    once, often = " ".join(words), " ".join(words * times)
    assert quality.signals(often).words == times * quality.signals(once).words
    if len(words) >= 10:
        assert quality.signals(often).duplicate_5gram_char_ratio > 0
