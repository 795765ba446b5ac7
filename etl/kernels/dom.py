"""From HTML to blocks: one parse, one pass over the tags, and flat arrays instead of a tree of objects.

The page is parsed and cleaned in C and written out again, so that it is well formed, whatever it was; then it is cut at
its angle brackets into tags and texts, and of each that is written alike only one is looked at. In well-formed HTML
depth is a running sum, and parents, owners and ends are searches in sorted (depth, position) keys, so no Python loop
visits the nodes and no nesting is too deep.

A *block* is a run of text without a boundary: boundaries are the tags of everything that is not inline, and ``<br>``.
An *element* here is an element that is not inline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from selectolax.lexbor import LexborHTMLParser

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MAX_CHARS = 10_000_000  # what lies behind is cut off: no page of text is so long, and memory stays bounded
MAX_BLOCKS = 30_000  # likewise; each takes about ten kilobytes while it is scored
# Elements of a page nested deeper are cut off with all that follows: a parser that looks through the stack of open
# elements at each tag takes time in proportion to the square of the depth. Browsers stop at 512.
MAX_DEPTH = 1_000
DEEP_TAGS = 10_000  # fewer cannot be slow
FORMATTING_TAGS = 5_000
MAX_FORMATTING = 5_000_000  # open formatting elements are opened again in each block: tags times their depth
MAX_TAG_CHARS = 4_000  # of a tag longer than this only the beginning is looked at
# Never shown as text, or shown by code that is not run.
STRIPPED = [
    "script", "style", "svg", "iframe", "object", "embed", "canvas", "audio", "video", "link", "base", "noembed",
    "noframes",
]  # fmt: skip
RAW = ["xmp", "plaintext"]  # not escaped when they are written out
INLINE = frozenset([
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
    "img", "ins", "kbd", "label", "map", "mark", "meter", "nobr", "output", "picture", "progress", "q", "rb",
    "rp", "rt", "rtc", "ruby", "s", "samp", "small", "source", "span", "strike", "strong", "sub", "sup", "time",
    "track", "tt", "u", "var", "wbr",
])  # fmt: skip
VOID = frozenset([
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link",
    "meta", "param", "source", "track", "wbr",
])  # fmt: skip
# Side by side without a space, these are separate things on the screen: menu entries, labels, chips.
SPACED = frozenset(["a", "span", "label", "time", "data", "output", "cite"])
TAGS = [
    "(other)", "html", "body", "main", "article", "section", "aside", "header", "footer", "nav", "div", "p", "ul",
    "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "h1", "h2",
    "h3", "h4", "h5", "h6", "pre", "blockquote", "figure", "figcaption", "form", "fieldset", "legend", "button",
    "select", "option", "optgroup", "textarea", "details", "summary", "dialog", "noscript", "template", "address",
    "center", "hr", "br", "input", "menu", "title", "head", "meta", "math", "a", "b", "strong", "em", "i", "code",
    "span", "label", "time", "img", "small", "sup", "sub", "del", "ins", "kbd", "abbr", "cite", "mark", "u", "s",
    "q", "colgroup", "col", "hgroup", "search", "iframe", "frameset", "noframes", "map", "area", "datalist",
    "slot",
]  # fmt: skip
TAG_ID = {name: number for number, name in enumerate(TAGS)}
# Bits of a packed tag above its tag number.
TAG_BITS = 7
START, END, VOIDS, BOUNDARY, SPACER, HIDDEN, ARIA_HIDDEN, KEEPS_SPACE = (1 << TAG_BITS + bit for bit in range(8))

_NAME = re.compile(r"</?([a-zA-Z][^\s/>]*)")
_IS_HIDDEN = re.compile(r" hidden[ >=]")
_INVISIBLE = re.compile(r"display:\s*none|visibility:\s*hidden")
_DESCRIPTION = re.compile(r'<meta [^>]*?(?:name|property)="(?:og:|twitter:)?description"[^>]*>')
_CONTENT = re.compile(r' content="([^"]*)"')
_DATA_TYPE = b"ld+json"
_NO_BREAK = "&nbsp;"
_RAW_TAGS = frozenset(["<xmp", "<xmp>", "<plaintext", "<plaintext>"])
_MATH_TAGS = frozenset(["<math", "<math>"])
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_MATH = re.compile(r"<math([^>]*)>(.*?)</math>", re.DOTALL)
_TEX = re.compile(r'<annotation[^>]*?encoding="application/x-tex"[^>]*>(.*?)</annotation>', re.DOTALL)
_ALT = re.compile(r' alt(?:text)?="([^"]*)"')
_FORMULA_IMAGE = re.compile(r'<img [^>]*?class="[^"]*(?:-math|latex|\btex\b)[^"]*"[^>]*>')
_TAG = re.compile(r"<[^>]*>")

_IS_STRONG = np.array([name in ("b", "strong", "em", "i", "mark") for name in TAGS])
_IS_INPUT = np.array([name in ("input", "button", "select", "textarea") for name in TAGS])


NAME_CHARS = 8  # by which tags are told apart before a page is parsed; no name that matters here is longer
_LETTERS = np.array(
    [ord(chr(byte).lower()) if chr(byte).isalnum() and byte < 0x80 else 0 for byte in range(256)], np.uint8
)


def _numbers_of(names: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Names as numbers: their first NAME_CHARS letters as bytes."""
    return np.frombuffer(b"".join(name.encode().ljust(NAME_CHARS, b"\0")[:NAME_CHARS] for name in names), np.uint64)


# What ends by itself, or is often written as <path/>; all else stays open until it is closed.
_ENDING = _numbers_of([
    "p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "rb", "rp", "rt", "html",
    "head", "body", "path", "circle", "rect", "line", "polyline", "polygon", "ellipse", "use", "stop", "image",
    "animate", "g", "text", "tspan", "defs", *VOID,
])  # fmt: skip
_FORMATTING_NAMES = ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
_FORMATTING = _numbers_of(_FORMATTING_NAMES)
_FORMATTING_TAG = re.compile(rf"</?(?:{'|'.join(_FORMATTING_NAMES)})(?=[\s>/])[^>]*>".encode(), re.IGNORECASE)


class Layout(NamedTuple):
    """What selection and rendering need of a page, as flat lists and arrays.

    ``blocks`` are texts in document order. Per block: ``owner`` its innermost element, ``first`` the number of its
    first tag, ``link_chars`` and ``strong_chars`` how much of it is in links and in bold or italic type, ``links`` how
    many links, ``is_break`` whether ``<br>`` ends it. Per element: ``tag`` its number in TAGS, ``parent`` (the root
    has itself), ``start`` and ``end`` its first and last tag, ``depth``, ``flags``, ``named`` which of ``names`` it
    has: class, id and role as one string. Per tag of the page, running: ``images`` and ``inputs``. ``description`` is
    that of its meta tags, ``data`` its JSON-LD scripts.
    """

    title: str | None
    blocks: list[str]
    owner: Ints
    first: Ints
    link_chars: Ints
    strong_chars: Ints
    links: Ints
    is_break: Flags
    tag: Ints
    parent: Ints
    start: Ints
    end: Ints
    depth: Ints
    flags: Ints
    named: Ints
    names: list[str]
    images: Ints
    inputs: Ints
    description: str
    data: list[str]

    @property
    def text(self) -> str:
        """All text of the page, a line a block."""
        return "\n".join(self.blocks)


class Parsed(NamedTuple):
    """A page as it was written, and as well-formed HTML without the elements that are never shown."""

    written: bytes
    page: bytes


def read(html: str) -> Layout:
    """The layout of a page. Never raises; of what is known to cost the parser its square, `_bounded` cuts off."""
    return layout(parsed(html))


def parsed(html: str) -> Parsed:
    """The first half of `read`."""
    written = _bounded(html[:MAX_CHARS].encode(errors="ignore"))  # no text table can hold a lone surrogate
    return Parsed(written, _cleaned(written, STRIPPED))


def layout(parsed: Parsed) -> Layout:
    """The second half of `read`."""
    written, page = parsed
    cut = _cut(page)
    if not _RAW_TAGS.isdisjoint(cut.names):  # their text is not escaped, so it cannot be cut into tags
        written = written.replace(b"<xmp", b"<pre").replace(b"</xmp", b"</pre").replace(b"<plaintext", b"<pre")
        page = _cleaned(written, STRIPPED + RAW)
        cut = _cut(page)
    if b"katex-html" in page:  # what is drawn, beside MathML that says the same
        page = _cleaned(written, STRIPPED + RAW, ".katex-html")
        cut = _cut(page)
    formula = not _MATH_TAGS.isdisjoint(cut.names)
    images = "".join([tag for tag, name in zip(cut.tags, cut.names, strict=True) if name == "<img"])
    if formula or "latex" in images or "-math" in images or 'class="tex"' in images:
        shown = _COMMENT.sub("", page.decode()).replace(_NO_BREAK, "\xa0")  # a formula that began in one would eat on
        shown = _MATH.sub(_tex, shown) if formula else _FORMULA_IMAGE.sub(_tex_of_image, shown)
        cut = _cut(shown.encode())
    head = page[: max(page.find(b"<body"), 0)].decode()
    descriptions = [
        unescape(value[1].replace(_NO_BREAK, "\xa0"))
        for tag in _DESCRIPTION.finditer(head)
        if (value := _CONTENT.search(tag[0]))
    ]
    return _layout(cut, max(descriptions, key=len, default=""), _data(written))


def _cleaned(html: bytes, stripped: list[str], drawn: str = "") -> bytes:
    """The page as well-formed HTML without some elements."""
    parser = LexborHTMLParser(html)
    if b"math/tex" in html:
        _show_tex(parser)
    parser.strip_tags(stripped)
    if drawn:
        for each in parser.css(drawn):
            each.decompose()
    return (parser.html or "").encode()


class _Cut(NamedTuple):
    """The tags of a page and the text behind each, every one that is written alike once, and which stands where.

    ``names`` are what stands before the first space of ``tags``.
    """

    tags: list[str]
    names: list[str]
    texts: list[str]
    tag: Ints
    text: Ints


def _cut(page: bytes) -> _Cut:
    starts, ends = _spans(page)
    # Texts and tags by turns, as one array over the bytes of the page.
    bounds = np.zeros(2 * len(starts) + 2, np.int32)
    bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = starts, ends, len(page)
    cut = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(page)).dictionary_encode()
    pieces = [piece.replace(_NO_BREAK, "\xa0") if "&" in piece else piece for piece in cut.dictionary.to_pylist()]
    number = cut.indices.to_numpy().astype(np.int64)
    is_tag = np.zeros(len(pieces), np.bool_)
    is_tag[number[1::2]] = True
    tags = list(compress(pieces, is_tag.tolist()))
    names = [tag.split(" ", 1)[0] for tag in tags]
    return _Cut(tags, names, pieces, (np.cumsum(is_tag) - 1)[number[1::2]], number[2::2])


def _spans(written: bytes) -> tuple[Ints, Ints]:
    """Where the tags and comments of well-formed HTML start and end: in all else angle brackets are escaped."""
    characters = np.frombuffer(written, np.uint8)

    def tags(brackets: Ints) -> tuple[Ints, Ints]:
        # From the first opening bracket behind the end of the one before it; names may hold more of them.
        turns = brackets[np.diff(characters[brackets] == ord("<"), prepend=False)]
        return turns[:-1:2], turns[1::2]

    brackets = np.flatnonzero(characters | 2 == ord(">"))  # which is what "<" differs from it in
    starts, ends = tags(brackets)
    marked = characters[starts + 1] == ord("!")
    opened, closed = starts[marked], ends[marked]
    is_whole = (characters[closed - 1] == ord("-")) & (characters[closed - 2] == ord("-"))
    is_whole &= closed - opened >= len("<!---->") - 1
    comments = _comments(written, opened[~is_whole].tolist())
    if comments:  # with brackets in them
        opened, closed = np.array(comments).T
        hidden = np.searchsorted(opened, brackets) > np.searchsorted(closed - 1, brackets, side="right")
        starts, ends = tags(brackets[~hidden])
    return starts, ends + 1


def _comments(written: bytes, starts: list[int]) -> list[tuple[int, int]]:
    """Where the comments that start at some of `starts` start and end; what starts within one is none."""
    found: list[tuple[int, int]] = []
    for start in starts:
        if written.startswith(b"<!--", start) and not (found and start < found[-1][1]):
            end = written.find(b"-->", start + 4)
            if end >= 0:
                found.append((start, end + 3))
    return found


def _data(html: bytes) -> list[str]:
    """The JSON-LD scripts of a page, as they stand."""
    found = []
    at = html.find(_DATA_TYPE)
    while at >= 0:
        start = html.find(b">", at)
        stop = html.find(b"</script", start)
        if start < 0 or stop < 0:
            break
        found.append(html[start + 1 : stop].decode())
        at = html.find(_DATA_TYPE, stop)
    return found


def _bounded(html: bytes) -> bytes:
    """The page, or as much of it as can be parsed in time and memory in proportion to its length."""
    count = np.count_nonzero(np.frombuffer(html, np.uint8) == ord("<"))
    if count < FORMATTING_TAGS:
        return html
    opening, steps, names = _tags(html)
    if _depths(steps[np.isin(names, _FORMATTING)]).max(initial=0) * count > MAX_FORMATTING:
        html = _FORMATTING_TAG.sub(b"", html)
        opening, steps, names = _tags(html)
    if count >= DEEP_TAGS:
        stays = (names != 0) & ~np.isin(names, _ENDING)
        deep = np.flatnonzero(_depths(steps[stays]) > MAX_DEPTH)
        if len(deep):
            html = html[: opening[stays][deep[0]]]
    return html


def _tags(written: bytes) -> tuple[Ints, Ints, npt.NDArray[np.uint64]]:
    """Where tags may be, 1 for a start and -1 for an end, and the names as `_numbers_of` has them, 0 for none."""
    characters = np.frombuffer(written + bytes(NAME_CHARS + 3), np.uint8)
    opening = np.flatnonzero(characters == ord("<"))
    is_end = characters[opening + 1] == ord("/")
    names = _LETTERS[characters[(opening + 1 + is_end)[:, None] + np.arange(NAME_CHARS)]]
    is_name = names[:, 0] >= ord("a")
    for letters in names.T:
        is_name &= letters > 0
        letters *= is_name
    return opening, 1 - 2 * is_end.astype(np.int64), names.view(np.uint64).ravel()


def _depths(steps: Ints) -> Ints:
    """How many are open after each tag, given 1 for a start and -1 for an end; more closed than opened counts as 0."""
    running = np.cumsum(steps)
    return running - np.minimum.accumulate(np.minimum(running, 0))


def unescape(text: str) -> str:
    """Text without the references that a serializer writes."""
    if "&" not in text:
        return text
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


def _show_tex(parser: LexborHTMLParser) -> None:
    """Turn scripts that hold TeX into text."""
    for script in parser.css('script[type^="math/tex"]'):
        is_display = "display" in (script.attributes.get("type") or "")
        script.replace_with(f"$${script.text()}$$" if is_display else f"${script.text()}$")


def _tex(formula: re.Match[str]) -> str:
    """A MathML element as TeX between dollar signs, or as plain text where it has no TeX."""
    found = _TEX.search(formula[2])
    alt = None if found else _ALT.search(formula[1])
    if found:
        source = found[1].strip()
    elif alt:
        source = alt[1].replace("<", "&lt;").replace(">", "&gt;")
    else:
        return _TAG.sub(" ", formula[2])
    return f"$${source}$$" if 'display="block"' in formula[1] else f"${source}$"


def _tex_of_image(image: re.Match[str]) -> str:
    alt = _ALT.search(image[0])
    return "$" + alt[1].replace("<", "&lt;").replace(">", "&gt;") + "$" if alt else image[0]


def _kind(tag: str, name: str) -> tuple[int, str]:
    """Number and bits of a tag as written, and the names that it has; `name` is what stands before its first space."""
    known = _KNOWN.get(name.removesuffix(">"))
    if known is None:
        match = _NAME.match(tag)
        known = _bits(match[1], is_end=tag[1] == "/") if match else 0
    if not known & START or not known & BOUNDARY or " " not in tag:
        return known, ""
    bits = known
    tag = tag[:MAX_TAG_CHARS]
    names = _value(tag, ' class="') + " " + _value(tag, ' id="')
    if " role=" in tag:
        names += " " + _value(tag, ' role="')
    if " itemprop=" in tag:
        names += " ip" + _value(tag, ' itemprop="')
    if "hidden" in tag or "none" in tag:
        if _IS_HIDDEN.search(tag) or _INVISIBLE.search(_value(tag, ' style="')):
            bits |= HIDDEN
        if _value(tag, ' aria-hidden="') == "true":
            bits |= ARIA_HIDDEN
    return bits, names


def _bits(name: str, *, is_end: bool) -> int:
    """Number and bits of an element's tag, without what its attributes add."""
    bits = TAG_ID.get(name, 0)
    if name in INLINE:
        bits |= SPACER if name in SPACED else 0
    else:
        bits |= BOUNDARY
    if name in ("pre", "code", "textarea"):
        bits |= KEEPS_SPACE
    return bits | (END if is_end else VOIDS if name in VOID else START)


def _value(tag: str, key: str) -> str:
    """Value of an attribute, with `key` such as ``class="`` and a space before it."""
    return tag.partition(key)[2].partition('"')[0]


_KNOWN = {
    ("</" if is_end else "<") + name: _bits(name, is_end=is_end)
    for name in [*TAGS[1:], *INLINE, *VOID]
    for is_end in (False, True)
}
# Nothing is asked of inline elements but that they are there, and they are half of all distinct tags.
_PLAIN = {f"<{name}": (_KNOWN[f"<{name}"], "") for name in [*INLINE, *VOID]} | {
    f"{tag}>": (bits, "") for tag, bits in _KNOWN.items()
}


def _layout(cut: _Cut, description: str, data: list[str]) -> Layout:
    known = [_PLAIN.get(name) or _kind(tag, name) for name, tag in zip(cut.names, cut.tags, strict=True)]
    bits = np.array([each[0] for each in known], np.int64)[cut.tag]
    count = len(bits)
    tag = bits & ((1 << TAG_BITS) - 1)
    is_start, is_end = (bits & START) != 0, (bits & END) != 0
    step = is_start.astype(np.int64) - is_end
    is_boundary = (bits & BOUNDARY) != 0
    starts, ends = np.flatnonzero(is_boundary & is_start), np.flatnonzero(is_boundary & is_end)
    depth = np.cumsum(np.where(is_boundary, step, 0))

    # An element is found by its key; its parent is the nearest before it that is one less deep.
    keys = depth[starts] * count + starts
    order = np.argsort(keys)
    sorted_keys = keys[order]
    end_keys = np.sort(depth[ends] * count + ends)

    def innermost(wanted: Ints) -> Ints:
        places: Ints = order[np.maximum(np.searchsorted(sorted_keys, wanted, side="right") - 1, 0)]
        return places

    stop = end_keys[np.minimum(np.searchsorted(end_keys, keys - count), len(end_keys) - 1)] % count
    stop = np.where(stop < starts, count - 1, stop)

    def within(chosen: Flags) -> Ints:
        return np.cumsum(np.where(chosen, step, 0))

    in_link = within(tag == TAG_ID["a"]) > 0
    in_strong = within(_IS_STRONG[tag]) > 0
    in_raw = within((bits & KEEPS_SPACE) != 0) > 0
    is_spacer = (bits & SPACER) != 0
    gaps = is_spacer[:-1] & is_end[:-1] & is_spacer[1:] & is_start[1:] & ~in_raw[:-1]
    texts, text = [*cut.texts, " "], cut.text.copy()
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    text[:-1][gaps & (sizes[text[:-1]] == 0)] = len(texts) - 1

    titles = np.flatnonzero((tag == TAG_ID["title"]) & is_start)
    title = " ".join(unescape(texts[text[titles[0]]]).split()) if len(titles) else None
    body = np.flatnonzero((tag == TAG_ID["body"]) & is_start)
    body_at = int(body[0]) if len(body) else 0
    visible = np.fromiter(map(len, map(str.strip, texts)), np.int64, len(texts))[text]
    filled = np.flatnonzero(visible[body_at:]) + body_at
    segment = np.cumsum(is_boundary)[filled]
    is_first = np.diff(segment, prepend=-1) != 0
    opens = np.flatnonzero(is_first)
    if len(opens) > MAX_BLOCKS:
        filled, is_first = filled[: opens[MAX_BLOCKS]], is_first[: opens[MAX_BLOCKS]]
        opens = opens[:MAX_BLOCKS]
    first = filled[opens]
    last = filled[np.append(opens[1:], len(filled))[: len(opens)] - 1]
    blocks = _texts(texts, text, first, last, within((tag == TAG_ID["pre"]) | (tag == TAG_ID["textarea"]))[first] > 0)
    lengths = visible[filled]
    block = np.cumsum(is_first) - 1
    opened = np.cumsum((tag == TAG_ID["a"]) & is_start)
    names: dict[str, int] = {}
    is_used = np.zeros(len(known), np.bool_)
    is_used[cut.tag[starts]] = True
    named = np.zeros(len(known), np.int64)
    named[is_used] = [names.setdefault(known[piece][1], len(names)) for piece in np.flatnonzero(is_used).tolist()]
    return Layout(
        title=title or None,
        blocks=blocks,
        owner=innermost(depth[first] * count + first),
        first=first,
        link_chars=_total(block, lengths * in_link[filled], len(first)),
        strong_chars=_total(block, lengths * in_strong[filled], len(first)),
        links=opened[last] - opened[first] + in_link[first],
        is_break=tag[np.minimum(last + 1, count - 1)] == TAG_ID["br"],
        tag=tag[starts],
        parent=innermost(keys - count),
        start=starts,
        end=stop,
        depth=depth[starts],
        flags=bits[starts],
        named=named[cut.tag[starts]],
        names=list(names),
        images=np.cumsum(tag == TAG_ID["img"]),
        inputs=np.cumsum(_IS_INPUT[tag] & ~is_end),
        description=description,
        data=data,
    )


def _texts(texts: list[str], text: Ints, first: Ints, last: Ints, is_raw: Flags) -> list[str]:
    """The text of each block; white space is kept where the page keeps it."""
    blocks = []
    numbers = text.tolist()
    for start, stop, raw in zip(first.tolist(), last.tolist(), is_raw.tolist(), strict=True):
        block = texts[numbers[start]]
        if start < stop:
            block = "".join([texts[number] for number in numbers[start : stop + 1]])
        if "&" in block:
            block = unescape(block)
        blocks.append(block.strip("\n").rstrip() if raw else " ".join(block.split()))
    return blocks


def _total(groups: Ints, values: Ints, count: int) -> Ints:
    return np.bincount(groups, values, count).astype(np.int64)
