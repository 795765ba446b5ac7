"""Pages: decoded as a browser would, and read by each engine."""

from __future__ import annotations

import pytest

from etl.kernels import html

ARTICLE = """<!doctype html><html><head><meta charset="{charset}"><title>  Der
 See </title></head><body><nav><a href="/">Home</a></nav><main><h1>Der See</h1>
<p>{text}</p></main><footer>Impressum</footer></body></html>"""
GERMAN = (
    "Der Bodensee liegt zwischen Österreich, Deutschland und der Schweiz. Über dem Wasser schweben früh am "
    "Morgen Möwen, und die Fähren fahren von Ufer zu Ufer, während in den Gärten die ersten Bäume blühen."
)


def page(charset: str, declared_as: str | None = None, text: str = GERMAN) -> bytes:
    return ARTICLE.format(charset=declared_as or charset, text=text).encode(charset)


@pytest.mark.parametrize(
    ("payload", "declared", "charset"),
    [
        (page("utf-8"), None, "utf-8"),
        (page("windows-1252"), None, "windows-1252"),
        (page("windows-1252", "utf-8"), "windows-1252", "windows-1252"),  # the header wins over a meta element
        (page("utf-8", "windows-1252"), "utf-8", "utf-8"),
        (page("windows-1252", "utf-8"), "utf-8", "windows-1252"),  # both lie, the bytes decide
        (b"\xef\xbb\xbf" + page("utf-8", "windows-1252"), "windows-1252", "utf-8"),  # a byte order mark wins
        (page("iso-8859-1", "iso-8859-1"), None, "windows-1252"),  # as the web means ISO-8859-1
        (page("utf-8", "klingon"), "klingon", "utf-8"),
    ],
)
def test_the_encoding_is_found(payload: bytes, declared: str | None, charset: str) -> None:
    text, found = html.decode(payload, declared)
    assert found == charset
    assert GERMAN in text


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, engine in sorted(html.ENGINES.items()) for form in engine.forms]
)
def test_main_text_is_kept_and_the_frame_is_not(name: str, form: str) -> None:
    engine = html.ENGINES[name]
    opened = engine.open(ARTICLE.format(charset="utf-8", text=GERMAN))
    (text,) = engine.main_texts([opened], form)
    assert GERMAN in text
    assert "Impressum" not in text
    assert "Impressum" in opened.text, "all that the page shows"
    assert "Der\n See" in str(opened.title) or opened.title == "Der See"
    assert name in engine.version()


@pytest.mark.parametrize("name", sorted(html.ENGINES))
def test_an_engine_reads_a_page_alone_as_among_others(name: str) -> None:
    engine = html.ENGINES[name]
    sources = [ARTICLE.format(charset="utf-8", text=GERMAN * count) for count in (1, 5, 40)]
    together = engine.main_texts([engine.open(source) for source in sources], "text")
    assert together == [engine.main_texts([engine.open(source)], "text")[0] for source in sources]
