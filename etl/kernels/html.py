"""A page: its bytes as text, and the engines that find its main text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.metadata import version
from typing import Any, Protocol

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from etl.kernels import content, dom

# WHATWG "Prescan a byte stream to determine its encoding" looks at 1024 bytes; real pages declare later.
META_PRESCAN_BYTES = 4096
_META_CHARSET = re.compile(rb"""<meta[^>]{0,256}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
SAMPLES, SAMPLE_CHARACTERS, SAMPLE_TEXT = 3, 6000, 500
_MARKUP = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^>]*>", re.DOTALL | re.IGNORECASE)
_CODE_PAGE = re.compile(r"^cp125")


def decode(payload: bytes, declared: str | None = None) -> tuple[str, str]:
    """Text of `payload` and the encoding used, by WHATWG name in lower case.

    In order: byte order mark, HTTP header, ``<meta charset>``, UTF-8 if it fits, then uchardet's guess. Unlike a
    browser, a declared encoding that the bytes contradict is passed over: one page in some dozens lies. Bytes that
    even the guess cannot read become U+FFFD. Never raises.
    """
    for mark, charset in _BYTE_ORDER_MARKS:
        if payload.startswith(mark):
            return payload[len(mark) :].decode(charset, errors="replace"), charset
    meta = _META_CHARSET.search(payload, 0, META_PRESCAN_BYTES)
    names = [declared, meta[1].decode("ascii") if meta else None, "utf-8"]
    for name in names:
        encoding = map_encoding_to_html5(name, fallback_utf8=False) if name else None
        if encoding is None:
            continue
        try:
            return payload.decode(encoding), _whatwg_name(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    charset = detect_encoding(payload, html5_compatible=True) or "utf-8"
    return bytes_to_str(payload, charset, errors="replace"), _whatwg_name(charset)


def _whatwg_name(codec: str) -> str:
    """Name in the WHATWG Encoding Standard of one of Python's codecs, such as windows-1252 for cp1252."""
    name = _CODE_PAGE.sub("windows-125", codec.lower())
    return name if name == "shift_jis" else name.replace("iso8859", "iso-8859").replace("_", "-")


def sample_text(source: str) -> str:
    """Text from SAMPLES places of the source of a page: enough to tell its language, at a tenth of a parse."""
    if len(source) <= SAMPLES * SAMPLE_CHARACTERS:
        return _shown(source)[: SAMPLES * SAMPLE_TEXT]
    step = (len(source) - SAMPLE_CHARACTERS) // (SAMPLES + 1)
    pieces = (source[step * place :][:SAMPLE_CHARACTERS] for place in range(1, SAMPLES + 1))
    # A piece may begin and end inside a tag; what is left of a script that began before it looks like no language.
    return " ".join(_shown(piece[piece.find("<") : piece.rfind(">") + 1])[:SAMPLE_TEXT] for piece in pieces)


def _shown(source: str) -> str:
    return " ".join(_MARKUP.sub(" ", source).split())


class Opened(Protocol):
    """A page of which an engine knows all that it needs to write its main text."""

    @property
    def title(self) -> str | None: ...

    @property
    def text(self) -> str:
        """All text that the page shows."""


@dataclass(frozen=True)
class Engine:
    """Finds main text. `main_texts` takes pages that are open, and one of `forms`.

    `steps` open a page, the first from its source. Who has many takes each step with all of them before the next, as a
    processor keeps the code of a step at hand but not that of all.
    """

    version: Callable[[], str]
    steps: tuple[Callable[[Any], Any], ...]
    main_texts: Callable[[Sequence[Any], str], list[str]]
    forms: tuple[str, ...]

    def open(self, source: str) -> Any:
        """An `Opened` page, by all steps."""
        return reduce(lambda page, step: step(page), self.steps, source)


class _Tree:
    """A page as resiliparse parses it, with its source for engines that parse again."""

    def __init__(self, source: str):
        self.source = source
        self.tree = HTMLTree.parse(source)

    @property
    def title(self) -> str | None:
        title: str | None = self.tree.title
        return title

    @cached_property
    def text(self) -> str:
        text: str = extract_plain_text(self.tree, main_content=False, alt_texts=False)
        return text


def visible_text(source: str) -> str:
    """All text that a page shows, a plain text included, at a fifth of what it costs to find its main text."""
    return _Tree(source).text


def _trafilatura(pages: Sequence[_Tree], form: str) -> list[str]:
    import trafilatura

    output = "txt" if form == "text" else form
    found = (
        trafilatura.extract(page.source, output_format=output, include_comments=False, include_tables=True)
        for page in pages
    )
    return [text or "" for text in found]


def _resiliparse(pages: Sequence[_Tree], _form: str) -> list[str]:
    return [extract_plain_text(page.tree, main_content=True, alt_texts=False, list_bullets=True) for page in pages]


ENGINES = {
    "goldenlake": Engine(
        lambda: content.MODEL,
        (dom.parsed, dom.layout, content.described, content.weighed),
        content.written,
        ("text", "markdown"),
    ),
    "trafilatura": Engine(
        lambda: f"trafilatura {version('trafilatura')}", (_Tree,), _trafilatura, ("text", "markdown")
    ),
    "resiliparse": Engine(lambda: f"resiliparse {version('resiliparse')}", (_Tree,), _resiliparse, ("text",)),
}
