"""What the content model sees of a page: numbers per block, and words of names and texts.

Everything is counted in whole numbers by cumulative sums over the flat arrays of a `Layout`, so a block, its ancestors
and the page are described without a loop over nodes. Logarithms keep counts of small and large pages comparable.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etl.kernels import dom
from etl.kernels.dom import TAG_ID, Ints, Layout

Floats = npt.NDArray[np.float32]

LEVELS = 6  # a block's element and its ancestors that are described by numbers
GROUP_LEVEL = 3  # blocks of one ancestor so far up are a group
PATH = 10  # and those that are described by their names
LONG_CHARS = 80  # a block this long with few links is prose
LEAD_WORDS = 12  # words of a block that are looked up
LEAD_CHARS = 160
NUMBERS = 166  # columns of Features.numbers
DATA_CHARS = 40  # how much of a block is looked for in the structured data
PLACES = [
    "main", "article", "nav", "header", "footer", "aside", "form", "table", "li", "blockquote", "figure",
    "noscript", "select", "dialog", "pre", "details", "button",
]  # fmt: skip
DATA_TYPES = ("Product", "Article", "NewsArticle", "BlogPosting", "DiscussionForumPosting", "QAPage", "ItemList",
              "CollectionPage", "FAQPage", "Recipe", "WebPage", "BreadcrumbList")  # fmt: skip

_WORD = re.compile(r"\w+|\n")
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Classes of characters: digit, upper case, end of a sentence, pause, currency, separator, space, quote or bracket.
_CLASSES = 9
_SIGNS = (
    ".!?\u3002\uff01\uff1f",
    ",;:\u3001\uff0c",
    "$\u20ac\xa3\xa5\u20b9",
    "|>/\xbb\u203a\xb7\u2022\u2192",
    "",
    "'\"()-\u201c\u201d\u2018\u2019\u2013\u2014",
)


def _class_of(character: str) -> int:
    if character.isdigit():
        return 1
    if character.isupper():
        return 2
    if character.isspace():
        return 7
    return next((number for number, signs in enumerate(_SIGNS, start=3) if character in signs), 0)


_CLASS = np.array([_class_of(chr(code)) for code in range(0xFFFF)], np.int64)


class Features(NamedTuple):
    """What is known of the blocks of a page.

    ``numbers`` (blocks, NUMBERS). Elements with the same tag, class, id and role are one *kind*: ``path`` (blocks,
    PATH) the kinds of a block's element and its ancestors, ``name_ids`` the words of the kinds, end to end, tag first,
    ``name_starts`` where each kind begins. ``groups`` (2, blocks) numbers of the blocks of one kind, and of those in
    one ancestor. ``text_ids`` the known words of the blocks' texts, ``text_block`` the block of each.
    """

    numbers: Floats
    path: Ints
    name_ids: Ints
    name_starts: Ints
    groups: Ints
    text_ids: Ints
    text_block: Ints


@lru_cache(maxsize=1 << 16)
def name_words(names: str) -> tuple[str, ...]:
    """The distinct words of class, id and role, in lower case, sorted."""
    words = {word.lower() for word in _NAME_WORD.findall(names)}
    return tuple(sorted(word for word in words if 1 < len(word) < 20))


def lead_words(layout: Layout) -> tuple[list[str], Ints]:
    """The first LEAD_WORDS words of each block, in lower case, and the block of each."""
    found = _WORD.findall("\n".join([block[:LEAD_CHARS] for block in layout.blocks]).lower())
    is_break = np.fromiter(map("\n".__eq__, found), np.bool_, len(found))
    line = np.cumsum(is_break)
    # Blocks of preformatted text have breaks of their own, so lines are counted per block.
    breaks = np.fromiter((block[:LEAD_CHARS].count("\n") for block in layout.blocks), np.int64, len(layout.blocks))
    block = np.repeat(np.arange(len(breaks)), breaks + 1)[line]
    words = np.flatnonzero(~is_break)
    block = block[words]
    first = np.searchsorted(block, np.arange(len(breaks)))
    chosen = np.arange(len(words)) - first[block] < LEAD_WORDS
    return [found[place] for place in words[chosen].tolist()], block[chosen]


def features(layout: Layout, names: dict[str, int], words: dict[str, int]) -> Features:
    """Features of a page that has at least one block."""
    leads, lead_block = lead_words(layout)
    ids = np.fromiter(map(words.get, leads, repeat(-1)), np.int64, len(leads))
    known = ids >= 0
    kinds: dict[tuple[int, str], int] = {}
    kind = np.fromiter(
        (kinds.setdefault(each, len(kinds)) for each in zip(layout.tag.tolist(), layout.names, strict=True)),
        np.int64,
        len(layout.tag),
    )
    of_kinds = [[tag, *_name_ids(text, names)] for tag, text in kinds]
    sizes = np.fromiter(map(len, of_kinds), np.int64, len(of_kinds))
    path = _ancestors(layout.parent, layout.owner, PATH)
    _, alike = np.unique(kind[layout.owner], return_inverse=True)
    _, together = np.unique(path[:, GROUP_LEVEL], return_inverse=True)
    return Features(
        numbers=_numbers(layout, path, kind, leads, lead_block),
        path=kind[path],
        name_ids=np.fromiter(chain.from_iterable(of_kinds), np.int64, int(sizes.sum())),
        name_starts=np.cumsum(sizes) - sizes,
        groups=np.stack([alike, together]),
        text_ids=ids[known],
        text_block=lead_block[known],
    )


def _name_ids(text: str, names: dict[str, int]) -> list[int]:
    if not text:
        return []
    return [number for word in name_words(text) if (number := names.get(word)) is not None]


def _ancestors(parent: Ints, owner: Ints, count: int) -> Ints:
    path = np.empty((len(owner), count), np.int64)
    for level in range(count):
        path[:, level] = owner
        owner = parent[owner]
    return path


def _log(values: npt.ArrayLike) -> Floats:
    result: Floats = np.log1p(np.maximum(np.asarray(values, np.float32), 0))
    return result


def _share(part: Ints, whole: Ints) -> Floats:
    return (part / np.maximum(whole, 1)).astype(np.float32)


def _numbers(layout: Layout, path: Ints, signature: Ints, leads: list[str], lead_block: Ints) -> Floats:
    blocks, owner = layout.blocks, layout.owner
    count, elements = len(blocks), len(layout.tag)
    index = np.arange(count)
    chars = np.fromiter(map(len, blocks), np.int64, count)
    total = int(chars.sum())
    signs, first_sign, last_sign = _signs(blocks, chars)
    link = np.minimum(layout.link_chars, chars)
    words = signs[:, 7] + 1
    is_long = (chars >= LONG_CHARS) & (link < 0.3 * chars)
    before = np.cumsum(chars) - chars
    low = np.searchsorted(layout.first, layout.start)
    high = np.maximum(np.searchsorted(layout.first, layout.end), low)

    kinds = int(signature.max()) + 1
    mine = signature[owner]
    kind_chars = np.bincount(mine, chars, kinds)[mine]
    kind_blocks = np.bincount(mine, minlength=kinds)[mine]
    kind_link = np.bincount(mine, link, kinds)[mine]
    _, pair = np.unique(mine * kinds + signature[layout.parent[owner]], return_inverse=True)
    _, siblings, alike = np.unique(layout.parent * kinds + signature, return_inverse=True, return_counts=True)

    repeated = Counter(blocks)
    first_place = dict(zip(reversed(blocks), reversed(range(count)), strict=True))
    is_again = index != np.fromiter(map(first_place.__getitem__, blocks), np.int64, count)
    title = set(_WORD.findall((layout.title or "").lower()))
    description = set(_WORD.findall(layout.description.lower()))
    lead_count = np.maximum(np.bincount(lead_block, minlength=count), 1)
    in_title = np.bincount(lead_block, np.fromiter(map(title.__contains__, leads), np.bool_, len(leads)), count)
    in_description = np.bincount(
        lead_block, np.fromiter(map(description.__contains__, leads), np.bool_, len(leads)), count
    )
    data = "\n".join(layout.data)
    in_data = [len(block) >= 25 and block[:DATA_CHARS] in data for block in blocks] if data else np.zeros(count)

    top = np.flatnonzero(layout.tag == TAG_ID["h1"])
    top_blocks = np.unique(low[top][high[top] > low[top]])
    first_top, last_top = (int(top_blocks[0]), int(top_blocks[-1])) if len(top_blocks) else (-1, -1)

    columns: list[npt.ArrayLike] = [
        _log(chars), _log(words), _share(link, chars), _log(layout.links),
        _share(np.minimum(layout.strong_chars, chars), chars),
        chars / words / 6, 3 * _share(signs[:, 1], chars), 3 * _share(signs[:, 2], chars), _log(signs[:, 3]),
        _log(signs[:, 4]), signs[:, 5] > 0, _log(signs[:, 6]), 3 * _share(signs[:, 8], chars), last_sign == 3,
        last_sign == 4, first_sign == 2, first_sign == 1, is_long, layout.is_break,
        in_title / lead_count, np.minimum(in_title / max(len(title), 1), 1), in_description / lead_count, in_data,
        _log(np.fromiter(map(repeated.__getitem__, blocks), np.int64, count) - 1), is_again,
        index / count, before / total, _log(index) / 5, _log(count - index) / 5, _log(before) / 8,
        _log(total - before) / 8,
        index < first_top, index == first_top, _log(np.maximum(index - first_top, 0) * (first_top >= 0)) / 5,
        _log(np.maximum(last_top - index, 0)) / 5,
        _log(np.bincount(signature, minlength=kinds)[mine]) / 4, kind_chars / total, _log(kind_chars) / 8,
        kind_link / kind_chars, _log(kind_chars / kind_blocks) / 5, _log(kind_blocks) / 4,
        np.bincount(pair, chars)[pair] / total, _log(np.bincount(pair)[pair]) / 4, _log(layout.depth[owner]) / 3,
    ]  # fmt: skip
    page: list[float] = [
        np.log1p(count) / 6, np.log1p(total) / 10, link.sum() / total, (chars * is_long).sum() / total,
        np.log1p(is_long.sum()) / 4, np.log1p(layout.images[-1]) / 5, np.log1p(layout.inputs[-1]) / 3,
        np.log1p(elements) / 7, signs[:, 3].sum() / total * 50, (signs[:, 5] > 0).mean() * 5,
        len(top_blocks) == 0, min(len(top_blocks), 5) / 5, bool(data),
    ]  # fmt: skip
    page += [f'"{name}"' in data for name in DATA_TYPES]

    def sums(values: Ints) -> Ints:
        running = np.zeros(count + 1, np.int64)
        np.cumsum(values, out=running[1:])
        return running[high] - running[low]

    inner_chars, inner_blocks = sums(chars), high - low
    of_element = np.stack(
        [
            _log(inner_chars) / 8, inner_chars / total, _share(sums(link), inner_chars), _log(inner_blocks) / 5,
            _share(sums(chars * is_long), inner_chars), _log(inner_chars / np.maximum(inner_blocks, 1)) / 5,
            _log(sums(signs[:, 3] + signs[:, 4])) / 5,
            _log(layout.images[layout.end] - layout.images[layout.start]) / 3,
            _log(layout.inputs[layout.end] - layout.inputs[layout.start]) / 3, _log(alike[siblings] - 1) / 3,
            _log(np.bincount(layout.parent, minlength=elements)) / 3, layout.parent == np.arange(elements),
        ],
        axis=1,
    ).astype(np.float32)  # fmt: skip
    near = path[:, :LEVELS]
    place = ((index[:, None] - low[near]) / np.maximum(inner_blocks[near], 1)).astype(np.float32)
    return np.concatenate(
        [
            np.stack([np.asarray(column, np.float32) for column in columns], axis=1),
            np.broadcast_to(np.asarray(page, np.float32), (count, len(page))),
            _places(layout, low, high, count),
            of_element[near].reshape(count, -1),
            place,
        ],
        axis=1,
    )


def _signs(blocks: list[str], chars: Ints) -> tuple[Ints, Ints, Ints]:
    """Characters of each class per block (blocks, classes), and the classes of the first and last one."""
    codes = np.frombuffer("".join(blocks).encode("utf-32-le"), np.uint32)
    classes = _CLASS[np.minimum(codes, len(_CLASS) - 1)]
    block = np.repeat(np.arange(len(blocks)), chars)
    ends = np.cumsum(chars)
    table = np.bincount(block * _CLASSES + classes, minlength=len(blocks) * _CLASSES).reshape(-1, _CLASSES)
    return table, classes[ends - chars], classes[ends - 1]


_PLACE = np.full(len(dom.TAGS), -1, np.int64)
_PLACE[[TAG_ID[name] for name in PLACES]] = np.arange(len(PLACES))


def _places(layout: Layout, low: Ints, high: Ints, count: int) -> Floats:
    """(blocks, PLACES and two kinds of hidden): whether a block lies in such an element."""
    kind = _PLACE[layout.tag]
    hidden = np.where((layout.flags & dom.HIDDEN) != 0, len(PLACES), -1)
    silent = np.where((layout.flags & dom.ARIA_HIDDEN) != 0, len(PLACES) + 1, -1)
    change = np.zeros((len(PLACES) + 2) * (count + 1), np.int64)
    for which in (kind, hidden, silent):
        chosen = which >= 0
        row = which[chosen] * (count + 1)
        change += np.bincount(row + low[chosen], minlength=len(change))
        change -= np.bincount(row + high[chosen], minlength=len(change))
    inside = np.cumsum(change.reshape(-1, count + 1), axis=1)[:, :-1] > 0
    result: Floats = inside.T.astype(np.float32)
    return result
