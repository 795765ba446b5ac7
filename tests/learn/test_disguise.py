"""A page in disguise has the text of the original, in order, and a tree that features can be made of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import dom
from etl.kernels.features import features
from etl.learn import disguise
from etl.learn.disguise import disguised

PAGE = """<head><title>Tea and water</title><meta name="description" content="All of tea"></head>
<body><div class="page"><header class="top"><nav><ul><li><a href="/">Home page</a>
<li><a href="/shop">Shop</a></ul></nav></header>
<div id="main"><main><article class="entry"><h1>Tea</h1><p>Tea is made of <b>leaves</b> and hot water.</p>
<div class="inner"><div><p>It is drunk everywhere,<br>and by everyone.</p></div></div><ol><li>One of them</ol>
</article></main></div><footer>Copyright 2026</footer></div></body>"""
LAYOUT = dom.read(PAGE)
IS_CONTENT = np.array([block not in ("Home page", "Shop", "Copyright 2026") for block in LAYOUT.blocks])
seeds = st.integers(0, 10_000)


def is_in_signs(layout):
    return any(sign in layout.text for sign in disguise.SIGNS)


@given(seeds)
def test_blocks_stay_what_they_were_and_in_order(seed):
    layout, blocks = disguised(LAYOUT, IS_CONTENT, np.random.default_rng(seed))
    assert (np.diff(blocks) > 0).all() and len(blocks) == len(layout.blocks)
    assert is_in_signs(layout) or layout.blocks == [LAYOUT.blocks[block] for block in blocks]


@given(seeds)
def test_a_disguise_is_a_page_like_any_other(seed):
    layout, _ = disguised(LAYOUT, IS_CONTENT, np.random.default_rng(seed))
    elements = np.arange(len(layout.tag))
    assert (layout.parent[1:] < elements[1:]).all() and layout.parent[0] == 0
    assert (layout.depth[1:] > layout.depth[layout.parent[1:]]).all()
    assert np.isfinite(features(layout, {}, {}).numbers).all()


@given(seeds)
def test_the_same_seed_makes_the_same_page(seed):
    first, second = (disguised(LAYOUT, IS_CONTENT, np.random.default_rng(seed)) for _ in range(2))
    assert first.layout.blocks == second.layout.blocks and first.layout.tag.tolist() == second.layout.tag.tolist()


def test_every_way_of_writing_occurs():
    pages = [disguised(LAYOUT, IS_CONTENT, np.random.default_rng(seed)).layout for seed in range(200)]

    def has(page, tag):
        return (page.tag == dom.TAG_ID[tag]).any()

    assert any(is_in_signs(page) for page in pages)
    assert any(len(page.blocks) < len(LAYOUT.blocks) for page in pages)
    assert any(not any(page.names) for page in pages) and any(any(page.names) for page in pages)
    for tag in ("article", "h1", "li", "p"):
        assert any(has(page, tag) for page in pages) and not all(has(page, tag) for page in pages)
    assert any(has(page, "td") for page in pages)


def test_the_text_of_an_element_that_is_gone_is_in_the_one_around_it():
    gone = disguise._without(LAYOUT, LAYOUT.tag == dom.TAG_ID["p"])
    for block in LAYOUT.blocks:
        before, after = (layout.owner[layout.blocks.index(block)] for layout in (LAYOUT, gone))
        around = before if LAYOUT.tag[before] != dom.TAG_ID["p"] else LAYOUT.parent[before]
        assert gone.tag[after] == LAYOUT.tag[around] and gone.named[after] == LAYOUT.named[around]
        assert gone.names == LAYOUT.names


def test_a_word_is_always_the_same_signs():
    layout = disguise._in_signs(dom.read("<p>water and water, and more"), np.random.default_rng(1))
    (text,) = layout.blocks
    first, second = text.split("\uff0c")
    assert first[:2] == first[-2:] and second[: len(first) - 4] == first[2:-2] and " " not in text
