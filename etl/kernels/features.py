"""What the content model sees of a page: numbers per block, and words of names and texts.

Everything is counted in whole numbers by cumulative sums over the flat arrays of a `Layout`, so a block, its ancestors
and the page are described without a loop over nodes. Logarithms keep counts of small and large pages comparable.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain, repeat
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etl.kernels import dom
from etl.kernels.dom import TAG_ID, Flags, Ints, Layout

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

_WORD = re.compile(r"\w+")
_WORD_BYTES = bytes(byte if byte < 0x80 and _WORD.match(chr(byte)) else ord(" ") for byte in range(256))
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_MANY = 1 << 20  # more than there are numbers of tags and words
_END = "\xff"  # as a byte, between names that are cut as one: UTF-8 has none
_NAME_BYTES = bytes(byte if chr(byte) in ascii_lowercase + _END else ord(" ") for byte in range(256))
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
    words = set(map(str.lower, _NAME_WORD.findall(names)))
    return tuple(sorted([word for word in words if 1 < len(word) < 20]))


def lead_words(layout: Layout) -> tuple[list[str], Ints]:
    """The first LEAD_WORDS words of each block, in lower case, and the block of each."""
    leads = [_words(block[:LEAD_CHARS])[:LEAD_WORDS] for block in layout.blocks]
    sizes = np.fromiter(map(len, leads), np.int64, len(leads))
    return list(chain.from_iterable(leads)), np.repeat(np.arange(len(leads)), sizes)


def _words(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    text = text.lower()
    if text.isascii():  # in half the time
        return text.encode().translate(_WORD_BYTES).decode().split()
    return _WORD.findall(text)


def features(layout: Layout, names: dict[str, int], words: dict[str, int]) -> Features:
    """Features of a page that has at least one block."""
    leads, lead_block = lead_words(layout)
    ids = np.fromiter(map(words.get, leads, repeat(-1)), np.int64, len(leads))
    known = ids >= 0
    kind = _numbered(layout.tag * len(layout.names) + layout.named)
    tag, named = np.empty((2, int(kind.max()) + 1), np.int64)
    tag[kind], named[kind] = layout.tag, layout.named
    name_ids, name_starts = _names(tag, named, layout.names, names)
    path = _ancestors(layout.parent, layout.owner, PATH)
    return Features(
        numbers=_numbers(layout, path, kind, leads, lead_block),
        path=kind[path],
        name_ids=name_ids,
        name_starts=name_starts,
        groups=np.stack([_numbered(kind[layout.owner]), _numbered(path[:, GROUP_LEVEL])]),
        text_ids=ids[known],
        text_block=lead_block[known],
    )


def _names(tag: Ints, named: Ints, texts: list[str], numbers: dict[str, int]) -> tuple[Ints, Ints]:
    """Of each kind its tag and the words of its names that have a number, each once, and where each kind begins."""
    # Most names are in lower case already; all are cut together, in a third of the time of one after the other.
    lower = [text if text.islower() else " ".join(_NAME_WORD.findall(text)).lower() for text in texts]
    written = f" {_END} ".encode("latin-1").join([text.encode() for text in lower])
    words = written.translate(_NAME_BYTES).decode("latin-1").split()
    # Numbers of words are behind those of tags, so 0 is free for the ends of texts.
    ids = np.fromiter(map((numbers | {_END: 0}).get, words, repeat(-1)), np.int64, len(words))
    text = np.cumsum(ids == 0)
    # The words of a text, as often as it names a kind.
    ids, text = ids[ids > 0], text[ids > 0]
    starts = np.searchsorted(text, np.arange(len(texts) + 1))
    sizes = np.diff(starts)[named]
    kind = np.repeat(np.arange(len(named)), sizes)
    place = np.arange(len(kind)) + np.repeat(starts[named] - (np.cumsum(sizes) - sizes), sizes)
    pairs = np.sort(np.concatenate([np.arange(len(named)) * _MANY + tag, kind * _MANY + ids[place]]))
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs % _MANY, np.searchsorted(pairs, np.arange(len(named)) * _MANY)


def _numbered(groups: Ints) -> Ints:
    """Numbers of groups without a gap, in the same order."""
    numbers: Ints = (np.cumsum(np.bincount(groups) > 0) - 1)[groups]
    return numbers


def _ancestors(parent: Ints, owner: Ints, count: int) -> Ints:
    path = np.empty((len(owner), count), np.int64)
    for level in range(count):
        path[:, level] = owner
        owner = parent[owner]
    return path


def _log(values: npt.ArrayLike) -> Floats:
    """Logarithm of one more; of float32 `np.log` takes several at once, which `np.log1p` does not."""
    result: Floats = np.log(np.maximum(np.asarray(values, np.float32), 0) + np.float32(1))
    return result


def _numbers(layout: Layout, path: Ints, signature: Ints, leads: list[str], lead_block: Ints) -> Floats:
    blocks, owner = layout.blocks, layout.owner
    count, elements = len(blocks), len(layout.tag)
    index = np.arange(count)
    chars = np.fromiter(map(len, blocks), np.int64, count)
    total = int(chars.sum())
    signs, first_sign, last_sign = _signs(blocks, chars)
    link = np.minimum(layout.link_chars, chars)
    words = signs[7] + 1
    is_long = (chars >= LONG_CHARS) & (link < 0.3 * chars)
    long_chars = chars * is_long
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

    places: dict[str, int] = {}
    first_place = np.fromiter(map(places.setdefault, blocks, range(count)), np.int64, count)
    repeated = np.bincount(first_place)[first_place]
    title, description = set(_words(layout.title or "")), set(_words(layout.description))
    lead_count = np.maximum(np.bincount(lead_block, minlength=count), 1)
    told = {word: (word in title) + 2 * (word in description) for word in title | description}
    where = np.fromiter(map(told.get, leads, repeat(0)), np.int64, len(leads))
    in_title, in_description = (np.bincount(lead_block[where & bit > 0], minlength=count) for bit in (1, 2))
    data = "\n".join(layout.data)
    in_data = [len(block) >= 25 and block[:DATA_CHARS] in data for block in blocks] if data else 0

    top = np.flatnonzero(layout.tag == TAG_ID["h1"])
    top_blocks = np.unique(low[top][high[top] > low[top]])
    first_top, last_top = (int(top_blocks[0]), int(top_blocks[-1])) if len(top_blocks) else (-1, -1)

    strong = np.minimum(layout.strong_chars, chars)
    shares = np.stack([link, strong, signs[1], signs[2], signs[8]]) / np.maximum(chars, 1)
    # A pair is a count of which the logarithm is taken, and what that is divided by.
    columns: list[npt.ArrayLike | tuple[npt.ArrayLike, int]] = [
        (chars, 1), (words, 1), shares[0], (layout.links, 1), shares[1],
        chars / words / 6, 3 * shares[2], 3 * shares[3], (signs[3], 1),
        (signs[4], 1), signs[5] > 0, (signs[6], 1), 3 * shares[4], last_sign == 3,
        last_sign == 4, first_sign == 2, first_sign == 1, is_long, layout.is_break,
        in_title / lead_count, np.minimum(in_title / max(len(title), 1), 1), in_description / lead_count, in_data,
        (repeated - 1, 1), first_place != index,
        index / count, before / total, (index, 5), (count - index, 5), (before, 8), (total - before, 8),
        index < first_top, index == first_top, ((index - first_top) * (first_top >= 0), 5), (last_top - index, 5),
        (np.bincount(signature, minlength=kinds)[mine], 4), kind_chars / total, (kind_chars, 8),
        kind_link / kind_chars, (kind_chars / kind_blocks, 5), (kind_blocks, 4),
        np.bincount(pair, chars)[pair] / total, (np.bincount(pair)[pair], 4), (layout.depth[owner], 3),
    ]  # fmt: skip
    page: list[float] = [
        np.log1p(count) / 6, np.log1p(total) / 10, link.sum() / total, long_chars.sum() / total,
        np.log1p(is_long.sum()) / 4, np.log1p(layout.images[-1]) / 5, np.log1p(layout.inputs[-1]) / 3,
        np.log1p(elements) / 7, signs[3].sum() / total * 50, (signs[5] > 0).mean() * 5,
        len(top_blocks) == 0, min(len(top_blocks), 5) / 5, bool(data),
    ]  # fmt: skip
    page += [f'"{name}"' in data for name in DATA_TYPES]

    running = np.zeros((4, count + 1), np.int64)
    np.cumsum(np.stack([chars, link, long_chars, signs[3] + signs[4]]), axis=1, out=running[:, 1:])
    inner_chars, inner_link, inner_long, inner_signs = running[:, high] - running[:, low]
    inner_blocks = high - low
    some_chars, some_blocks = np.maximum(inner_chars, 1), np.maximum(inner_blocks, 1)
    of_element: list[npt.ArrayLike | tuple[npt.ArrayLike, int]] = [
        (inner_chars, 8), inner_chars / total, inner_link / some_chars, (inner_blocks, 5), inner_long / some_chars,
        (inner_chars / some_blocks, 5), (inner_signs, 5),
        (layout.images[layout.end] - layout.images[layout.start], 3),
        (layout.inputs[layout.end] - layout.inputs[layout.start], 3), (alike[siblings] - 1, 3),
        (np.bincount(layout.parent, minlength=elements), 3), layout.parent == np.arange(elements),
    ]  # fmt: skip
    near = path[:, :LEVELS].T

    # Rows are numbers and columns are blocks until the end, so that each number is written in one go.
    table = np.empty((NUMBERS, count), np.float32)
    parts = np.split(table, np.cumsum([len(columns), len(page), len(PLACES) + 2, LEVELS * len(of_element)]))
    _write(columns, parts[0])
    parts[1][:] = np.asarray(page, np.float32)[:, None]
    parts[2][:] = _places(layout, low, high, count)
    described = np.empty((len(of_element), elements), np.float32)
    _write(of_element, described)
    parts[3].reshape(LEVELS, len(of_element), count)[:] = described.take(near, axis=1).swapaxes(0, 1)
    np.divide(index - low[near], some_blocks[near], out=parts[4], casting="same_kind")
    result: Floats = table.T
    return result


def _write(columns: list[npt.ArrayLike | tuple[npt.ArrayLike, int]], out: Floats) -> None:
    """Each column to a row of `out`; of a pair the logarithm of its first, divided by its second."""
    logs, divisors = [], []
    for row, column in enumerate(columns):
        if isinstance(column, tuple):
            logs.append(row)
            divisors.append(column[1])
            column = column[0]
        out[row] = column
    out[logs] = _log(out[logs]) / np.array(divisors, np.float32)[:, None]


def _signs(blocks: list[str], chars: Ints) -> tuple[Ints, Ints, Ints]:
    """Characters of each class per block (classes, blocks), and the classes of the first and last one."""
    codes = np.frombuffer("".join(blocks).encode("utf-32-le"), np.uint32)
    classes = _CLASS.take(codes, mode="clip")
    rows = np.repeat(np.arange(len(blocks)) * _CLASSES, chars)
    ends = np.cumsum(chars)
    table = np.bincount(rows + classes, minlength=len(blocks) * _CLASSES).reshape(-1, _CLASSES)
    return table.T.copy(), classes[ends - chars], classes[ends - 1]


_PLACE = np.full(len(dom.TAGS), -1, np.int64)
_PLACE[[TAG_ID[name] for name in PLACES]] = np.arange(len(PLACES))


def _places(layout: Layout, low: Ints, high: Ints, count: int) -> Flags:
    """(PLACES and two kinds of hidden, blocks): whether a block lies in such an element."""
    kind = _PLACE[layout.tag]
    hidden = np.where((layout.flags & dom.HIDDEN) != 0, len(PLACES), -1)
    silent = np.where((layout.flags & dom.ARIA_HIDDEN) != 0, len(PLACES) + 1, -1)
    change = np.zeros((len(PLACES) + 2) * (count + 1), np.int64)
    for which in (kind, hidden, silent):
        chosen = which >= 0
        row = which[chosen] * (count + 1)
        change += np.bincount(row + low[chosen], minlength=len(change))
        change -= np.bincount(row + high[chosen], minlength=len(change))
    return np.cumsum(change.reshape(-1, count + 1), axis=1)[:, :-1] > 0
