"""Reading, choosing and writing the main text of pages; the packaged model is the one that runs."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import models
from etl.kernels import content, dom, render
from etl.kernels.features import NUMBERS, _names, features, lead_words, name_words

STORY = "".join(
    f"<p>The ferry left the harbour at dawn number {n}, and the captain, who had slept little, watched the coast "
    "disappear behind a curtain of rain while the passengers drank their tea.</p>"
    for n in range(8)
)
MENU = "".join(f'<li><a href="/{word}">{word}</a></li>' for word in ("Home", "Shop", "About", "Contact", "Login"))
PAGE = f"""<!DOCTYPE html><html><head><title> A  ferry </title><style>p {{}}</style></head><body>
<header><nav class="menu"><ul>{MENU}</ul></nav></header>
<main><article class="post-content"><h1>A ferry at dawn</h1>{STORY}</article></main>
<aside class="sidebar"><h3>Related posts</h3><ul>{MENU}</ul></aside>
<footer class="footer">Copyright 2026 Example. All rights reserved.</footer>
<script>var hidden = "never shown";</script></body></html>"""

tags = st.sampled_from(
    ["<p>", "</p>", "<div class='a b'>", "</div>", "<table>", "<td>", "</table>", "<pre>", "</pre>", "<br>", "<li>",
     "<a href=x>", "</a>", "<h1>", "</h1>", "<body>", "</body>", "<template>", "<math>", "</math>", "<plaintext>",
     "<frameset>", "<select>", "<option>", "<!--", "-->", "<svg>", "<textarea>", "<title>", '<a ="">', "<b \">"]
)  # fmt: skip
TOKEN = re.compile(rb"<!--.*?-->|<[^>]*>", re.DOTALL)
soup = st.lists(st.one_of(tags, st.text(max_size=8)), max_size=40).map("".join)


def text_of(html: str, form: str = "text") -> str:
    """All blocks of a page, written as if all were chosen."""
    layout = content.read(html)
    return render.render(layout, range(len(layout.blocks)), form)


def test_article_is_kept_and_what_surrounds_it_is_not():
    (text,) = content.main_text([content.read(PAGE)])
    assert text.count("The ferry left the harbour") == 8
    assert "Copyright" not in text and "Login" not in text and "never shown" not in text


def test_title_and_all_visible_text_are_read():
    layout = content.read(PAGE)
    assert layout.title == "A ferry"
    assert "Copyright 2026 Example" in layout.text and "never shown" not in layout.text


@settings(max_examples=200, deadline=None)
@given(st.one_of(soup, st.text()))
def test_any_string_gives_a_text_that_can_be_stored(html):
    layout = content.read(html)
    for form in render.FORMS:
        (text,) = content.main_text([layout], form)
        assert "\x00" not in text
        text.encode("utf-8")


@settings(max_examples=50, deadline=None)
@given(soup)
def test_every_block_lies_in_its_element(html):
    layout = content.read(html)
    assert (layout.parent <= np.arange(len(layout.parent))).all()
    assert (layout.start[layout.owner] <= layout.first).all() and (layout.end[layout.owner] >= layout.first).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(soup, min_size=1, max_size=4))
def test_text_does_not_depend_on_the_pages_beside_it(pages):
    layouts = [content.read(page) for page in [*pages, PAGE]]
    assert content.main_text(layouts) == [content.main_text([layout])[0] for layout in layouts]


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<table><tr><td>", "<ul><li>", "<p><b>", "<svg>", "<button>"])
def test_deep_nesting_takes_bounded_time(tag):
    start = time.process_time()
    (text,) = content.main_text([content.read(tag * 100_000 + "the end")])
    assert time.process_time() - start < 5
    assert len(text) < 100


def test_open_formatting_elements_do_not_multiply():
    html = "".join(f"<p>words<font color={number}>" for number in range(20_000))
    start = time.process_time()
    layout = content.read(html)
    assert time.process_time() - start < 5
    assert len(layout.blocks) == 20_000


def test_page_of_very_many_blocks_is_cut_and_takes_bounded_time():
    start = time.process_time()
    layout = content.read("<p>x" * 200_000)
    content.main_text([layout])
    assert len(layout.blocks) == dom.MAX_BLOCKS
    assert time.process_time() - start < 8


def test_text_behind_a_deep_nest_that_is_closed_is_kept():
    html = "<div>" * 900 + "deep" + "</div>" * 900 + "<p>x</p>" * 2_000 + "<p>behind</p>"
    assert content.read(html).blocks[-1] == "behind"


def test_brackets_that_open_no_tag_are_no_nest():
    html = "<p>a <5 and <!> and < b</p>" * 4_000 + "<p>behind</p>"
    assert content.read(html).blocks[-1] == "behind"


@pytest.mark.parametrize("tag", ["b", "font size=3", "custom-tag"])
def test_a_page_that_opens_and_closes_its_elements_is_whole_however_long(tag):
    html = f"<p><{tag}>\ud800 é text</{tag.split()[0]}></p>" * 12_000 + "<p>behind</p>"
    assert content.read(html).blocks[-1] == "behind"


def test_lone_surrogates_and_nul_are_left_out():
    assert content.read("<p>a\ud800b\x00c</p>").blocks == ["abc"]


def test_attributes_with_quotes_and_angle_brackets_end_where_they_end():
    assert content.read('<p title="a > b" "x"="">one</p><p data-x=\'"\'>two</p>').blocks == ["one", "two"]


def test_brackets_in_comments_and_in_names_of_attributes_are_no_tags():
    assert content.read("<p>one<!-- <p>never --> two</p><!-- a > b <i> --><p>three<!----></p>").blocks == [
        "one two",
        "three",
    ]
    assert content.read('<p <b>one</p><p <!-- x -->>two</p><p title="<!--">three</p>').blocks == [
        "one",
        ">two",
        "three",
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"<>-! a", "<!--", "-->", "<a>", "\xe9", "<!doctype>"]), max_size=30).map("".join))
def test_tags_are_what_the_pattern_of_a_token_finds(html):
    written = html.encode()
    starts, ends = dom._spans(written)
    assert list(zip(starts, ends, strict=True)) == [token.span() for token in TOKEN.finditer(written)]


def test_a_formula_in_a_comment_hides_nothing() -> None:
    page = "<p>Before it.</p><!-- <math> --><p>Behind it, and <math alttext='x'><mi>x</mi></math> too.</p>"
    assert dom.read(page).blocks == ["Before it.", "Behind it, and $x$ too."]
    assert dom.read("<!-- <math> --><p>All of it.</p><math></math>").blocks == ["All of it."]


def test_links_side_by_side_are_separate_words_and_letters_in_bold_are_not():
    assert content.read("<p><a>One</a><a>Two</a></p>").blocks == ["One Two"]
    assert content.read("<p>b<b>o</b>ld <i>H<sub>2</sub>O</i></p>").blocks == ["bold H2O"]


def test_links_of_a_block_are_measured():
    layout = content.read("<p>see <a href=x>the page</a></p><p>none</p>")
    assert layout.link_chars.tolist() == [8, 0] and layout.links.tolist() == [1, 0]


def test_paragraphs_are_apart_and_lines_are_lines():
    assert text_of("<p>One.</p><p>Two<br>three</p>") == "One.\n\nTwo\nthree"


def test_headings_are_marked_in_markdown_only():
    html = "<h2>Title</h2><p>Text</p>"
    assert text_of(html) == "Title\n\nText"
    assert text_of(html, "markdown") == "## Title\n\nText"


def test_list_items_have_marks_and_nested_lists_are_indented():
    html = "<ul><li>one</li><li>two<ul><li>inner</li></ul></li></ul><ol><li>first</li><li>second</li></ol>"
    assert text_of(html) == "- one\n- two\n  - inner\n1. first\n2. second"


def test_code_keeps_its_white_space():
    html = "<p>Code:</p><pre><code>def f(x):\n    return  x\n</code></pre><p>End</p>"
    assert text_of(html) == "Code:\n\ndef f(x):\n    return  x\n\nEnd"
    assert text_of(html, "markdown") == "Code:\n\n```\ndef f(x):\n    return  x\n```\n\nEnd"


def test_spans_of_coloured_code_are_not_torn_apart():
    assert text_of("<pre><span>a</span><span>.b</span>(<span>c</span>)</pre>") == "a.b(c)"


def test_table_rows_are_lines_with_their_cells_apart():
    html = "<table><tr><th>Name</th><th>Age</th></tr><tr><td>Ann</td><td>7 | 8</td></tr></table><p>End</p>"
    assert text_of(html) == "Name | Age\nAnn | 7 | 8\n\nEnd"
    assert text_of(html, "markdown") == "| Name | Age |\n| --- | --- |\n| Ann | 7 \\| 8 |\n\nEnd"


def test_links_are_plain_text():
    for form in render.FORMS:
        assert text_of('<p>Read <a href="https://example.com">this page</a>.</p>', form) == "Read this page."


@pytest.mark.parametrize(
    "html",
    [
        '<p>Let <math><mi>x</mi><annotation encoding="application/x-tex">x &lt; y^2</annotation></math> be</p>',
        '<p>Let <math alttext="x < y^2"><mi>x</mi></math> be</p>',
        '<p>Let <script type="math/tex">x < y^2</script> be</p>',
        '<p>Let <img class="latex" alt="x < y^2" src="f.png"> be</p>',
        '<p>Let <span class="katex"><span><math><annotation encoding="application/x-tex">x &lt; y^2</annotation></math>'
        '</span><span class="katex-html" aria-hidden="true"><span>x</span></span></span> be</p>',
    ],
    ids=["annotation", "alttext", "script", "image", "katex"],
)
def test_formulas_become_tex(html):
    assert text_of(html) == "Let $x < y^2$ be"


def test_formula_without_tex_is_plain_text():
    assert text_of("<p>Let <math><mi>x</mi><mo>=</mo><mn>1</mn></math> be</p>") == "Let x = 1 be"


def test_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="form is 'html', wanted one of text, markdown"):
        content.main_text([content.read(PAGE)], "html")


def test_features_have_one_column_a_number_and_are_finite():
    layout = content.read(PAGE)
    seen = features(layout, {"menu": 3_000}, {"ferry": 5})
    assert seen.numbers.shape == (len(layout.blocks), NUMBERS) and np.isfinite(seen.numbers).all()
    assert 3_000 in seen.name_ids and set(seen.text_ids.tolist()) == {5}


def test_names_are_cut_into_words():
    assert name_words("postContent nav-bar_2 X") == ("bar", "content", "nav", "post")


signs = st.sampled_from([*"abAB -_\xe9\xff\u0130\u017f\n", "Content", "nav"])


@given(st.lists(st.tuples(st.integers(0, 5), signs, st.text()), min_size=1, max_size=12))
def test_known_words_of_names_stand_behind_the_tag_of_their_kind(written):
    texts = [f"{text} {sign}nav{sign}content" for _, sign, text in written]
    kinds = sorted({(tag, number % 4) for number, (tag, _, _) in enumerate(written) if number % 4 < len(texts)})
    numbers = {"nav": 100, "content": 101, "anav": 102, "bb": 103, "bcontent": 104}
    ids, starts = _names(*np.array(kinds).T, texts, numbers)
    found = [part.tolist() for part in np.split(ids, starts[1:])]
    known = [[numbers[word] for word in name_words(texts[text]) if word in numbers] for _, text in kinds]
    assert found == [[tag, *sorted(words)] for (tag, _), words in zip(kinds, known, strict=True)]


def test_words_are_counted_per_block_even_in_code():
    layout = content.read("<pre>a b\nc</pre><p>D e</p>")
    assert list(zip(*lead_words(layout), strict=True)) == [("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 1)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40))
def test_sums_of_groups_are_those_of_adding_one_by_one(sizes):
    vectors = np.arange(60, dtype=np.float32).reshape(20, 3)
    ids = np.arange(sum(sizes)) % len(vectors)
    wanted = np.zeros((len(sizes), 3))
    np.add.at(wanted, np.repeat(np.arange(len(sizes)), sizes), vectors[ids])
    assert np.array_equal(content._sums(vectors, ids, np.cumsum(sizes) - sizes), wanted)


@pytest.mark.parametrize("raw", ["xmp", "plaintext"])
def test_text_that_is_not_escaped_is_not_cut_into_tags(raw):
    assert content.read(f"<p>one</p><{raw}>two").blocks == ["one", "two"]
    assert content.read(f"<p>one</p><{raw.upper()}>a<b>c").blocks == ["one"]


def test_selection_takes_what_raises_the_expected_f1():
    words = np.array([100, 100, 100])
    assert content.selection(np.array([0.9, 0.3, 0.95], np.float32), words, 0.2) == [0, 2]
    assert content.selection(np.array([0.4, 0.4, 0.4], np.float32), words, 0.2) == [0, 1, 2]
    assert content.selection(np.array([0.1, 0.1, 0.1], np.float32), words, 0.2) == []
    assert content.selection(np.zeros(0, np.float32), words[:0], 0.2) == []


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 500)), min_size=1, max_size=60))
def test_selection_is_a_prefix_of_the_likeliest_blocks(blocks):
    likely = np.array([share / 100 for share, _ in blocks], np.float32)
    chosen = content.selection(likely, np.array([words for _, words in blocks]), 0.2)
    rest = [number for number in range(len(blocks)) if number not in set(chosen)]
    assert chosen == sorted(set(chosen))
    assert not chosen or not rest or likely[chosen].min() >= likely[rest].max()
    assert all(likely[number] > 0.2 for number in chosen)


def test_model_names_its_file_and_knows_its_hosts():
    assert content.MODEL.endswith(models.SHA256[content.FILE][:8])
    assert len(content.load()[0].shared.hosts) > 1_000
    assert content.fold_of("no-such-host.invalid") is None and content.fold_of(None) is None


def test_page_of_an_unknown_host_is_scored_by_the_model_in_use_and_one_of_a_known_host_by_that_of_its_fold(monkeypatch):
    layout = content.read(PAGE)
    own = content.load(content.fold("a.example", content.load()[0].shared.folds))
    monkeypatch.setattr(content, "fold_of", lambda host: content.fold(host, 4) if host == "a.example" else None)
    assert np.array_equal(content.scores(layout, "a.example"), content.score(own, layout))
    assert np.array_equal(content.scores(layout, "b.example"), content.score(content.load(), layout))
    assert not np.array_equal(content.scores(layout, "a.example"), content.scores(layout, "b.example"))


def test_features_of_a_page_of_very_many_blocks_are_not_held_and_its_scores_are_the_same(monkeypatch):
    layout = content.read(PAGE)
    whole = content.scores(layout)
    monkeypatch.setattr(content, "HELD_BLOCKS", len(layout.blocks) - 1)
    assert content.described(layout).seen is None
    assert np.array_equal(content.scores(layout), whole)


def test_tags_have_numbers_that_fit_their_bits():
    assert len(dom.TAGS) < 1 << dom.TAG_BITS and len(set(dom.TAGS)) == len(dom.TAGS)
