"""Texts that are no web pages: code, books and articles as files hold them, with what these say of their licence.

Never silently empty: what gives no text says why. Formats are told by the name of a file and by its first bytes.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree
from resiliparse.extract.html2text import extract_plain_text

from etl.kernels import html, mime

MAX_UNPACKED_BYTES = 256 << 20  # of one book
HEAD_CHARACTERS = 4096  # where a file says its licence

# Languages of programming and markup by the end of a name, those of github-linguist for the commonest of its ends.
LANGUAGES = {
    **dict.fromkeys(("c", "h"), "C"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hh", "hpp", "hxx"), "C++"),
    **dict.fromkeys(("js", "mjs", "cjs", "jsx"), "JavaScript"),
    **dict.fromkeys(("ts", "tsx"), "TypeScript"),
    **dict.fromkeys(("sh", "bash"), "Shell"),
    **dict.fromkeys(("pl", "pm"), "Perl"),
    **dict.fromkeys(("kt", "kts"), "Kotlin"),
    **dict.fromkeys(("ml", "mli"), "OCaml"),
    **dict.fromkeys(("f", "f90", "f95"), "Fortran"),
    **dict.fromkeys(("yaml", "yml"), "YAML"),
    **dict.fromkeys(("md", "markdown"), "Markdown"),
    **dict.fromkeys(("html", "htm", "xhtml"), "HTML"),
    **dict.fromkeys(("tex", "sty", "cls"), "TeX"),
    **{"py": "Python", "java": "Java", "go": "Go", "rs": "Rust", "rb": "Ruby", "php": "PHP", "cs": "C#", "sql": "SQL"},
    **{"scala": "Scala", "swift": "Swift", "hs": "Haskell", "lua": "Lua", "r": "R", "jl": "Julia", "css": "CSS"},
    **{"ex": "Elixir", "erl": "Erlang", "clj": "Clojure", "lean": "Lean", "v": "Coq", "zig": "Zig", "dart": "Dart"},
    **{"asm": "Assembly", "s": "Assembly", "proto": "Protocol Buffer", "cmake": "CMake", "toml": "TOML"},
    **{"rst": "reStructuredText", "ps1": "PowerShell", "vhd": "VHDL", "m": "MATLAB", "nix": "Nix"},
}
LANGUAGES_BY_NAME = {"makefile": "Makefile", "dockerfile": "Dockerfile", "cmakelists.txt": "CMake"}

LICENSE_FILE = re.compile(r"(?:un)?licen[cs]e|copying|copyright", re.IGNORECASE)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+\- ()]+?)\s*(?:\*/|-->|$)", re.MULTILINE)
# What the text of a licence says, white space and case aside; the first that is found holds.
_LICENSES = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("AGPL-3.0", r"^\W*gnu affero general public license.{0,40}version 3"),
        ("LGPL-3.0", r"^\W*gnu lesser general public license.{0,40}version 3"),
        ("LGPL-2.1", r"^\W*gnu lesser general public license.{0,40}version 2\.1"),
        ("GPL-3.0", r"^\W*gnu general public license.{0,40}version 3"),
        ("GPL-2.0", r"^\W*gnu general public license.{0,40}version 2"),
        ("Apache-2.0", r"^\W*apache license.{0,20}version 2\.0, january 2004.*end of terms and conditions"),
        ("MPL-2.0", r"^\W*mozilla public license.{0,20}version 2\.0"),
        ("EPL-2.0", r"^\W*eclipse public license - v 2\.0"),
        ("BSL-1.0", r"boost software license - version 1\.0"),
        ("Unlicense", r"this is free and unencumbered software released into the public domain"),
        ("CC0-1.0", r"cc0 1\.0 universal.*no copyright|creative commons.*cc0 1\.0 universal"),
        ("CC-BY-SA-4.0", r"^.{0,60}attribution-sharealike 4\.0 international"),
        ("CC-BY-4.0", r"^.{0,60}attribution 4\.0 international"),
    )
)
_MIT = (
    r"permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
    r"documentation files \(the .{1,2}software.{1,2}\), to deal in the software without restriction, including without "
    r"limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the "
    r"software, and to permit persons to whom the software is furnished to do so, subject to the following conditions: "
    r"the above copyright notice and this permission notice(?: \(including the next paragraph\))? shall be included in "
    r"all copies or substantial portions of the software\. the software is provided"
)
# Short licences are changed and added to often: they hold where no more is said than they say, and none of _CHANGED.
_SHORT_LICENSES = tuple(
    (name, re.compile(pattern, re.DOTALL), most)
    for name, pattern, most in (
        ("MIT", _MIT, 1400),
        ("ISC", r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or", 900),
        ("BSD-3-Clause", r"redistribution and use in source and binary forms.*neither the names? of.*endorse", 1900),
        ("BSD-2-Clause", r"redistribution and use in source and binary forms.*(?!.*endorse)binary form must", 1700),
    )
)
_CHANGED = re.compile(
    r"advertising|acknowledg|provided, however|non-?commercial|nuclear|military|ethic|shall be used for|"
    r"may not be used|derived from this software without.*derived from|called|except as contained|additional terms"
)

# Of TEI, JATS, CNXML and DocBook, by local name: where text is, what begins a new paragraph, and what is no prose.
_BODIES = frozenset({"abstract", "body", "content", "text", "book", "chapter"})
_ROOTS = frozenset({"TEI", "TEI.2", "article", "document", "book", "chapter"})
_BLOCKS = _BODIES | {
    *("article", "back", "div", "document", "entry", "figure", "front", "head", "item", "l", "label", "lg", "li"),
    *("list", "list-item", "note", "p", "para", "q", "quote", "row", "sec", "section", "sp", "stage", "table", "td"),
    *("th", "title", "tr"),
}
_NO_PROSE = frozenset(
    {"annotation", "back", "bibl", "biblStruct", "fn", "formula", "graphic", "index", "listBibl", "math", "metadata"}
    | {"ref-list", "tex-math", "teiHeader"}
)
_TITLES = ("article-title", "title")


class Text(NamedTuple):
    """A text, or why there is none; `is_converted` where it is other than the bytes of the file say."""

    text: str | None
    error: str | None = None
    title: str | None = None
    rights: str | None = None
    is_converted: bool = False


def read(name: str, data: bytes) -> Text:
    """The text of a file: of EPUB and of XML for texts its prose, of others all of it. Never raises."""
    try:
        if name.lower().endswith(".epub"):
            return _epub(data)
        if not mime.is_text(data):
            return Text(None, "binary: the first bytes are no text")
        if name.lower().endswith((".xml", ".cnxml", ".tei", ".nxml")):
            return _xml(data)
        text, _charset = html.decode(data, None)
        return Text(text) if text.strip() else Text(None, "empty: no text")
    except (etree.XMLSyntaxError, zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
        return Text(None, f"broken: {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def language(name: str) -> str | None:
    """The language of code that a file of this name holds."""
    base = posixpath.basename(name).lower()
    return LANGUAGES_BY_NAME.get(base) or LANGUAGES.get(base.rpartition(".")[2] if "." in base else "")


def license_said(text: str) -> str | None:
    """The SPDX expression that the head of a file says."""
    match = _SPDX.search(text[:HEAD_CHARACTERS])
    return match[1] if match else None


def license_of(text: str) -> str | None:
    """The SPDX identifier of the licence whose text this is, of the commonest; None for others, and for those that
    come with changes."""
    flat = " ".join(text.lower().replace("#", " ").replace("*", " ").split())
    known = next((name for name, pattern in _LICENSES if pattern.search(flat)), None)
    if known or _CHANGED.search(flat):
        return known
    return next((name for name, pattern, most in _SHORT_LICENSES if len(flat) <= most and pattern.search(flat)), None)


def _epub(data: bytes) -> Text:
    """The chapters of a book in the order of its spine (EPUB 3.3, Open Container Format and package document)."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        if sum(info.file_size for info in book.infolist()) > MAX_UNPACKED_BYTES:
            return Text(None, f"too_large: more than {MAX_UNPACKED_BYTES} bytes unpacked")
        container = _parse(book.read("META-INF/container.xml"))
        place = next(element.get("full-path") for element in container.iter("{*}rootfile"))
        package = _parse(book.read(str(place)))
        files = {item.get("id"): item.get("href") for item in package.iter("{*}item")}
        spine = [files[item.get("idref")] for item in package.iter("{*}itemref") if item.get("linear") != "no"]
        folder = posixpath.dirname(str(place))
        names = [posixpath.normpath(posixpath.join(folder, unquote(str(name)))) for name in spine]
        chapters = [extract_plain_text(html.decode(book.read(name), None)[0], main_content=False) for name in names]
    said = {name: next(package.iter(f"{{*}}{name}"), None) for name in ("title", "rights")}
    title, rights = (_flat(element) if element is not None else None for element in said.values())
    text = "\n\n".join(chapter.strip() for chapter in chapters if chapter.strip())
    if not text:
        return Text(None, "empty: no chapter has text")
    return Text(text, None, title, rights, is_converted=True)


def _xml(data: bytes) -> Text:
    root = _parse(data)
    if _name(root) not in _ROOTS:
        text, _charset = html.decode(data, None)
        return Text(text)  # data or markup of another kind: as it is
    bodies = [element for element in root.iter() if _name(element) in _BODIES and not _has_body_above(element)]
    title = next((found for name in _TITLES for found in root.iter(f"{{*}}{name}")), None)
    heading = _flat(title) if title is not None else None
    paragraphs = [part for body in bodies or [root] for part in _paragraphs(body)]
    if not paragraphs:
        return Text(None, "empty: no paragraph has text")
    if heading and paragraphs[0] != heading:
        paragraphs.insert(0, heading)
    rights = next((found for name in ("license-p", "licence", "license") for found in root.iter(f"{{*}}{name}")), None)
    said = (rights.get("url") or rights.get("target") or _flat(rights)) if rights is not None else None
    return Text("\n\n".join(paragraphs), None, heading, said or None, is_converted=True)


def _parse(data: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    return etree.fromstring(data, parser)


def _has_body_above(element: etree._Element) -> bool:
    return any(_name(above) in _BODIES or _name(above) in _NO_PROSE for above in element.iterancestors())


def _name(element: etree._Element) -> str:
    # Comments and processing instructions have a function for a tag.
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _flat(element: etree._Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _paragraphs(body: etree._Element) -> Iterator[str]:
    """The prose below `body`, a paragraph for each run of text between elements that begin one."""
    held: list[str] = []

    def flush() -> Iterator[str]:
        text = " ".join("".join(held).split())
        held.clear()
        if text:
            yield text

    for event, element in etree.iterwalk(body, events=("start", "end")):
        name = _name(element)
        if event == "start":
            if any(_name(above) in _NO_PROSE for above in (element, *element.iterancestors())):
                continue
            if name in _BLOCKS:
                yield from flush()
            held.append(element.text or "" if name else "")
            continue
        if name in _BLOCKS:
            yield from flush()
        is_inside = element is not body
        if is_inside and not any(_name(above) in _NO_PROSE for above in element.iterancestors()):
            held.append(element.tail or "")
    yield from flush()
