"""Pages as other sites might have written them: the same text blocks under other names, tags and nesting.

A few hundred sites teach a model what its blocks are called there. Trained on disguised pages too, it must also find
the main content by what a page is like where nothing has a class, where layout is made of tables, paragraphs are ended
by ``<br>``, the text is in a script without spaces, or where there is nothing on the page but its content.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from etl.kernels.dom import TAG_ID, Flags, Ints, Layout

MIN_BARE_WORDS = 20
LETTERS_OF_A_SIGN = 2.5  # a sign of Chinese says about as much as so many letters and their share of the spaces
SIGNS = "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"

_SEMANTIC = ("main", "article", "section", "header", "footer", "nav", "aside", "figure", "figcaption", "hgroup")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("ul", "ol", "li", "dl", "dt", "dd", "menu")
_WORD = re.compile(r"\w+")


class Disguised(NamedTuple):
    """A page, and which blocks of the original it has, in order."""

    layout: Layout
    blocks: Ints


def disguised(layout: Layout, is_content: Flags, random: np.random.Generator) -> Disguised:
    """A page changed in some ways chosen at random; `is_content` says which blocks are main content."""

    def happens(share: float) -> bool:
        return bool(random.random() < share)

    blocks = np.arange(len(layout.blocks))
    if happens(0.2) and is_content.any():
        blocks = _bare(layout, is_content, random)
        layout = _with_blocks(layout, blocks)
    if happens(0.4):
        layout = layout._replace(description="", data=[])
    if happens(0.6):
        layout = layout._replace(named=np.zeros_like(layout.named), names=[""])
    if happens(0.5):
        layout = _retagged(layout, _SEMANTIC, "div")
    if happens(0.3):
        layout = _retagged(layout, _HEADINGS, str(random.choice(["div", "p"])), are_strong=True)
    if happens(0.2):
        layout = _retagged(layout, _LISTS, "div")
    if happens(0.25):
        layout = _in_tables(layout)
    paragraphs = random.random()
    if paragraphs < 0.25:
        is_paragraph = layout.tag == TAG_ID["p"]
        layout = _without(layout._replace(is_break=layout.is_break | is_paragraph[layout.owner]), is_paragraph)
    elif paragraphs < 0.4:
        layout = _retagged(layout, ("p",), str(random.choice(["div", "pre"])))
    if happens(0.3):
        is_wrapper = (layout.tag == TAG_ID["div"]) & (random.random(len(layout.tag)) < 0.5)
        layout = _without(layout, is_wrapper)
    if happens(0.1):
        layout = _in_signs(layout, random)
    return Disguised(layout, blocks)


def _bare(layout: Layout, is_content: Flags, random: np.random.Generator) -> Ints:
    """Blocks of a page that has hardly anything but content: a run of it, of any length, and maybe a few others."""
    words = np.array([block.count(" ") + 1 for block in layout.blocks])
    content = np.flatnonzero(is_content)
    wanted = int(len(content) ** random.random())
    start = int(random.integers(len(content) - wanted + 1))
    run = content[start : start + max(wanted, 1)]
    if words[run].sum() < MIN_BARE_WORDS:
        run = content
    others = np.flatnonzero(~is_content)
    share = random.choice([0.0, 0.02, 0.1])
    blocks: Ints = np.sort(np.concatenate([run, others[random.random(len(others)) < share]]))
    return blocks


def _with_blocks(layout: Layout, blocks: Ints) -> Layout:
    """The page with some of its blocks, in order, and the elements that they are in."""
    is_used = np.zeros(len(layout.tag), np.bool_)
    used = np.unique(layout.owner[blocks])
    while not is_used[used].all():
        is_used[used] = True
        used = np.unique(layout.parent[used])
    kept = layout._replace(
        blocks=[layout.blocks[block] for block in blocks.tolist()],
        owner=layout.owner[blocks],
        first=layout.first[blocks],
        link_chars=layout.link_chars[blocks],
        strong_chars=layout.strong_chars[blocks],
        links=layout.links[blocks],
        is_break=layout.is_break[blocks],
        images=np.zeros_like(layout.images),
        inputs=np.zeros_like(layout.inputs),
    )
    return _without(kept, ~is_used)


def _without(layout: Layout, is_gone: Flags) -> Layout:
    """The page without some elements; what was in them is in the elements around them."""
    is_kept = ~is_gone
    is_kept |= layout.parent == np.arange(len(layout.parent))
    around = layout.parent
    nearest = np.arange(len(layout.parent))
    while not is_kept[nearest].all():
        nearest = np.where(is_kept[nearest], nearest, around[nearest])
    number = np.cumsum(is_kept) - 1
    kept = np.flatnonzero(is_kept)
    parent = number[nearest[around[kept]]]
    return layout._replace(
        owner=number[nearest[layout.owner]],
        tag=layout.tag[kept],
        parent=parent,
        start=layout.start[kept],
        end=layout.end[kept],
        depth=layout.depth[kept] - (_steps(layout.parent)[kept] - _steps(parent)),
        flags=layout.flags[kept],
        named=layout.named[kept],
    )


def _steps(parent: Ints) -> Ints:
    """(elements,) how many elements are around each."""
    count = np.zeros(len(parent), np.int64)
    at = np.arange(len(parent))
    while (at != parent[at]).any():
        count += at != parent[at]
        at = parent[at]
    return count


def _retagged(layout: Layout, names: tuple[str, ...], name: str, *, are_strong: bool = False) -> Layout:
    """The page with one tag in place of others; with `are_strong`, their text is in bold type instead."""
    chosen = np.isin(layout.tag, [TAG_ID[each] for each in names])
    if are_strong:
        chars = np.array([len(block) for block in layout.blocks])
        layout = layout._replace(strong_chars=np.where(chosen[layout.owner], chars, layout.strong_chars))
    return layout._replace(tag=np.where(chosen, TAG_ID[name], layout.tag))


def _in_tables(layout: Layout) -> Layout:
    """The page with its outer containers as tables, rows and cells."""
    is_container = np.isin(layout.tag, [TAG_ID[each] for each in ("div", *_SEMANTIC)])
    level = _steps(layout.parent) - 2  # below html and body
    cycle = np.array([TAG_ID[each] for each in ("center", "table", "tr", "td", "table", "tr", "td", "td")])
    tag = np.where(is_container & (level < len(cycle)), cycle[np.clip(level, 0, len(cycle) - 1)], layout.tag)
    return layout._replace(tag=tag)


def _in_signs(layout: Layout, random: np.random.Generator) -> Layout:
    """The page with words of a script without spaces: the same word is always the same signs."""
    order = random.permutation(len(SIGNS)).tolist()
    pauses = str.maketrans(",.?!", "\uff0c\u3002\uff1f\uff01")

    def signs(word: re.Match[str]) -> str:
        text = word[0].lower()
        if text.isdigit():
            return word[0]
        count = max(1, round((len(text) + 1) / LETTERS_OF_A_SIGN))
        first = sum(map(ord, text))
        return "".join(SIGNS[order[(first + 7 * step * len(text)) % len(order)]] for step in range(count))

    blocks = [_WORD.sub(signs, block).translate(pauses).replace(" ", "") or block for block in layout.blocks]
    shrunk = np.array([len(new) / len(old) for new, old in zip(blocks, layout.blocks, strict=True)])
    return layout._replace(
        blocks=blocks,
        title=_WORD.sub(signs, layout.title) if layout.title else None,
        description=_WORD.sub(signs, layout.description),
        link_chars=(layout.link_chars * shrunk).astype(np.int64),
        strong_chars=(layout.strong_chars * shrunk).astype(np.int64),
        data=[],
    )
