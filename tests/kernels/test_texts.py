"""Texts of files: code and its licences, books and articles in XML."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import texts

TEI = b"""<?xml version="1.0"?><TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc><titleStmt>
<title>Of  Gardens</title></titleStmt><publicationStmt><availability><licence target="https://creativecommons.org/licenses/by/4.0/">
free</licence></availability></publicationStmt></fileDesc></teiHeader>
<text><body><div><head>I.</head><p>God Almighty first planted a <hi>garden</hi>.</p><p>It is the <!-- no --> purest of
pleasures.<note>A note.</note> So it is.</p></div></body></text></TEI>"""
JATS = b"""<article><front><article-meta><title-group><article-title>On x</article-title></title-group>
<permissions><license license-type="open"><license-p>CC BY 4.0</license-p></license></permissions>
<abstract><p>We show it.</p></abstract></article-meta></front><body><sec><title>Methods</title><p>Let <inline-formula>
<tex-math>x^2</tex-math></inline-formula> be <italic>small</italic>.</p></sec></body>
<back><ref-list><ref>Nobody 1900</ref></ref-list></back></article>"""
CNXML = b"""<document xmlns="http://cnx.rice.edu/cnxml"><title>Motion</title><metadata><md:abstract
xmlns:md="http://cnx.rice.edu/mdml">No</md:abstract></metadata><content><section><title>Speed</title><para>A car
<term>moves</term>.</para><list><item>fast</item><item>slow</item></list></section></content></document>"""
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and
this permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED
"AS IS"."""


PROSE = [
    *("Of Gardens", "I.", "God Almighty first planted a garden."),
    *("It is the purest of pleasures.", "A note.", "So it is."),
]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.xml", TEI, PROSE),
        ("a.nxml", JATS, ["On x", "We show it.", "Methods", "Let be small."]),
        ("a.cnxml", CNXML, ["Motion", "Speed", "A car moves.", "fast", "slow"]),
    ],
)
def test_xml_gives_title_and_prose_in_order(name: str, data: bytes, text: list[str]) -> None:
    found = texts.read(name, data)
    assert (found.text or "").split("\n\n") == text
    assert (found.title, found.is_converted) == (text[0], True)


def test_xml_says_its_licence() -> None:
    assert texts.read("a.xml", TEI).rights == "https://creativecommons.org/licenses/by/4.0/"
    assert texts.read("a.xml", JATS).rights == "CC BY 4.0"


def test_xml_that_is_no_text_stays_as_it_is() -> None:
    data = b"<project><name>x</name></project>"
    assert texts.read("pom.xml", data) == texts.Text(data.decode())


def book(**more: str) -> bytes:
    container = "<container xmlns='urn:c'><rootfiles><rootfile full-path='in/book.opf'/></rootfiles></container>"
    package = """<package xmlns="urn:p" xmlns:dc="urn:dc"><metadata><dc:title>A Book</dc:title><dc:rights>Public domain
    </dc:rights></metadata><manifest><item id="two" href="2%20b.xhtml"/><item id="one" href="../1.xhtml"/><item id="nav"
    href="nav.xhtml"/></manifest><spine><itemref idref="nav" linear="no"/><itemref idref="one"/><itemref idref="two"/>
    </spine></package>"""
    files = {"META-INF/container.xml": container, "in/book.opf": package, **more}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return data.getvalue()


def test_a_book_is_its_chapters_in_the_order_of_the_spine() -> None:
    chapters = {
        "1.xhtml": "<html><body><p>First.</p></body></html>",
        "in/2 b.xhtml": "<html><p>Second &amp; last.</p></html>",
    }
    found = texts.read("a.epub", book(**chapters, **{"in/nav.xhtml": "<html><p>Contents</p></html>"}))
    assert found == texts.Text("First.\n\nSecond & last.", None, "A Book", "Public domain", is_converted=True)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.epub", b"no zip", "broken: BadZipFile"),
        ("a.epub", book(), "broken: KeyError"),
        ("a.xml", b"<TEI><p></TEI>", "broken: XMLSyntaxError"),
        ("a.xml", b"<TEI><text><body/></text></TEI>", "empty: no paragraph has text"),
        ("a.py", b"\x7fELF\x00\x01", "binary"),
        ("a.txt", b" \n", "empty"),
    ],
)
def test_what_gives_no_text_says_why(name: str, data: bytes, error: str) -> None:
    found = texts.read(name, data)
    assert found.text is None and (found.error or "").startswith(error)


@given(st.sampled_from(["a.epub", "a.xml", "a.txt", "a"]), st.binary(max_size=200))
def test_any_bytes_give_a_text_or_a_reason(name: str, data: bytes) -> None:
    found = texts.read(name, data)
    assert (found.text is None) == (found.error is not None)


def test_an_entity_is_not_expanded() -> None:
    entities = b'<!ENTITY a "boom"><!ENTITY f SYSTEM "file:///etc/passwd">'
    bomb = b"<!DOCTYPE TEI [" + entities + b"]><TEI><text><p>x &a; &f; y</p></text></TEI>"
    assert texts.read("a.xml", bomb).text == "x y"


def test_a_file_says_its_language_and_licence() -> None:
    assert [texts.language(name) for name in ("a/b.PY", "Makefile", "x.cpp", "README", "a.b/c")] == [
        "Python",
        "Makefile",
        "C++",
        None,
        None,
    ]
    assert texts.license_said("/* SPDX-License-Identifier: GPL-2.0 OR MIT */\nint x;") == "GPL-2.0 OR MIT"
    assert texts.license_said("# SPDX-License-Identifier: Apache-2.0\n") == "Apache-2.0"
    assert texts.license_said("int x;") is None
    assert texts.license_of(f"MIT License\n\nCopyright (c) 2024 A. Person\n\n{MIT}") == "MIT"
    assert texts.license_of("All rights reserved.") is None


@pytest.mark.parametrize(
    "change",
    [
        ("any person", "any good person"),
        ("and/or sell", "but not sell"),
        ("IS PROVIDED", "SHALL BE USED FOR GOOD. THE SOFTWARE IS PROVIDED"),
    ],
)
def test_a_licence_with_changes_is_not_the_one_it_began_as(change: tuple[str, str]) -> None:
    assert texts.license_of(MIT.replace(*change)) is None
