"""Articles that a page has only in its JSON-LD are found, whatever stands between the tags."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import content, dom
from etl.kernels.structured import article_body, hidden_article

ARTICLE = "Tea is made of leaves and hot water. It is drunk everywhere, and by everyone who likes it. " * 4
SCRIPT = '<head><script type="application/ld+json">{}</script></head><body>{}</body>'


def page(body, data):
    return dom.read(SCRIPT.format(json.dumps(data), body))


def test_an_article_that_the_page_does_not_show_is_its_main_text():
    layout = page("<div id=app></div>", {"@graph": [{"@type": "NewsArticle", "articleBody": ARTICLE}]})
    assert content.main_text([layout]) == [ARTICLE.strip()]


def test_an_article_that_the_page_shows_is_taken_from_the_page():
    layout = page(f"<main><p>{ARTICLE}</p></main>", {"articleBody": ARTICLE})
    assert hidden_article(layout, "") == ""


def test_the_beginning_of_an_article_is_not_the_article():
    layout = page(f"<main><p>{ARTICLE[:40]}</p></main>", [{"articleBody": ARTICLE}])
    assert hidden_article(layout, ARTICLE[:40]) == ARTICLE.strip()
    assert hidden_article(layout, "x" * len(ARTICLE)) == ""


def test_tags_and_references_are_not_part_of_the_text():
    assert article_body([json.dumps({"articleBody": "<p>a &amp; b</p>c<br/>d  e<i>f</i>"})]) == "a & b\nc\nd ef"


@pytest.mark.parametrize("script", ["", "{", '{"articleBody": 1}', '"articleBody"', '[null, {"articleBody": []}]'])
def test_no_article_is_no_text(script):
    assert article_body([script]) == ""


def test_deep_nesting_is_no_error():
    assert article_body(['{"articleBody":' + "[" * 100_000]) == ""


@given(
    st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text() | st.just("articleBody"), x))
)
def test_any_json_is_read(data):
    assert isinstance(article_body([json.dumps(data)]), str)
