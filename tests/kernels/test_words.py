"""`cut` against spaCy where it is installed, and its laws and examples everywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import words

# What the rules look for, so that generated runs meet them often.
PIECES = st.sampled_from(
    [
        *"abzABZ019.,:;!?'\"()[]{}<>#*&_-+=/%$@\\~^|",
        *(
            "\u2019",
            "\u2018",
            "\u201c",
            "\u2026",
            "\u2013",
            "\u2014",
            "\u00b0",
            "\u20ac",
            "\u00a7",
            "\u00bf",
            "\U0001f600",
            "\u00a9",
        ),
        *(
            "n't",
            "'s",
            "'ll",
            "can",
            "it",
            "we",
            "Mr.",
            "e.g.",
            "U.S.",
            "a.m.",
            "10",
            "km",
            "\u043a\u043c",
            "US$",
            "...",
            "--",
        ),
        *(
            "www.",
            "example",
            ".com",
            "https://",
            "192.168.",
            "8.8.8.8",
            "@",
            "/a",
            ":80",
            "?q",
            ":)",
            ":-(",
            "''",
            "<3",
        ),
        *(
            "\u00e9",
            "\u00c9",
            "\u044f",
            "\u042f",
            "\u03b1",
            "\u4e2d",
            "\u3002",
            "\u0627",
            "\u0905",
            "\u00df",
            "\u01c5",
            "\u0294",
        ),
    ]
)
RUNS = st.lists(PIECES, min_size=1, max_size=12).map("".join)


@pytest.mark.parametrize(
    ("run", "cuts"),
    [
        ("word", "word"),
        ("(word).", "( word ) ."),
        ("don't", "do n't"),
        ("don\u2019t", "do n\u2019t"),
        ("CAN'T", "CAN'T"),
        ("cannot", "can not"),
        ("we'd've", "we 'd 've"),
        ("its", "its"),
        ("it's", "it 's"),
        ("dog's", "dog 's"),
        ("Mr.", "Mr."),
        ("e.g.,", "e.g. ,"),
        ("end.", "end ."),
        ("U.S.", "U.S."),
        ("U.S.A.,", "U.S.A. ,"),
        ("10a.m.", "10 a.m."),
        ("5km", "5 km"),
        ("$5.00", "$ 5.00"),
        ("20\u00b0C.", "20 \u00b0 C ."),
        ("well-known", "well - known"),
        ("end.Next", "end . Next"),
        ("wait...what", "wait ... what"),
        ("--", "--"),
        ("and/or", "and/or"),
        ("a/b", "a / b"),
        ("https://example.com/a-b?c=d.", "https://example.com/a-b?c=d ."),
        ("some-one@example.com", "some-one@example.com"),
        ("(:-)", "( :-)"),
        ("x\u2014e.g.", "x \u2014 e.g."),
        ("x...e.g.", "x ... e.g."),
        (":)", ":)"),
    ],
)
def test_english_is_cut_as_spacy_cuts_it(run, cuts):
    assert " ".join(words.cut(run)) == cuts


def spacy_tokenizer():
    return pytest.importorskip("spacy", reason="spaCy is the oracle; nothing else needs it").blank("en").tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return spacy_tokenizer()


@settings(deadline=None, max_examples=2000)
@given(run=RUNS | st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1))
def test_any_run_is_cut_as_spacy_cuts_it(tokenizer, run):
    if not any(map(str.isspace, run)):
        assert words.cut(run) == tuple(token.text for token in tokenizer(run))


@settings(deadline=None)
@given(RUNS | st.text(min_size=1))
def test_words_make_up_their_run(run):
    assert "".join(words.cut(run)) == run
    assert all(words.cut(run))


@pytest.mark.parametrize(
    "run", ["!", ".", "'", "a.", "@", "a@", ":a", "a:", "\\", "(", "''", "\u2026", "x-", "9+", "e.g."]
)
def test_a_long_run_takes_no_longer_than_its_length(run):
    """Each takes a fraction of a second; what tried every split would take days."""
    assert len(words.cut(run * 100_000)) <= len(run) * 100_000
