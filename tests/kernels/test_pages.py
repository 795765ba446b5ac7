"""Captures to pages: in any batch the same, with a reason for each page without text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import html, pages
from etl.kernels.pages import Capture, Page, Skip
from tests.kernels.test_html import ARTICLE, GERMAN, page

ENGLISH = (
    "The lake lies between three countries, and early in the morning the ferries cross from shore to shore while the "
    "first trees begin to bloom in the gardens of the old town, as they have done for many hundred years."
)


def capture(payload: bytes, mime: str = "text/html", declared: str | None = None) -> Capture:
    return Capture(pa.Codec("zstd").compress(payload, asbytes=True), len(payload), mime, declared)


def read(*payloads: bytes, engine: str = "trafilatura", **options: Any) -> list[Page]:
    return pages.read([capture(payload) for payload in payloads], engine=engine, **options)


def rogue(monkeypatch: pytest.MonkeyPatch, main_texts: object) -> None:
    """An engine that does what `main_texts` does."""
    engine = dataclasses.replace(
        html.ENGINES["resiliparse"],
        main_texts=main_texts,  # type: ignore[arg-type]  # a rogue is no engine
    )
    monkeypatch.setitem(html.ENGINES, "rogue", engine)


class Only:
    """A cascade that wants pages of one language or encoding."""

    def __init__(self, language: str | None = None, charset: str | None = None):
        self.language, self.charset = language, charset
        wanted = {"language": language, "charset": charset}
        self.signals = frozenset(name for name, value in wanted.items() if value)

    def rejects(self, found: Mapping[str, Any]) -> Skip | None:
        for name in sorted(self.signals.intersection(found)):
            wanted = getattr(self, name)
            if found[name] != wanted:
                return Skip("documents", name, name, None, None, str(found[name]))
        return None


@pytest.mark.parametrize("engine", sorted(html.ENGINES))
def test_a_page_has_title_text_and_encoding(engine: str) -> None:
    (found,) = read(page("windows-1252"), engine=engine)
    assert found.text is not None
    assert GERMAN in found.text
    assert (found.title, found.charset, found.skipped, found.error) == ("Der See", "windows-1252", None, None)


def test_plain_text_is_not_given_to_an_engine() -> None:
    (found,) = pages.read([capture(b" a < b\n", mime="text/plain")], engine="resiliparse")
    assert (found.title, found.text, found.charset) == (None, " a < b\n", "utf-8")


@pytest.mark.parametrize("engine", sorted(html.ENGINES))
def test_a_page_without_text_says_so(engine: str) -> None:
    (found,) = read(b"<html><body><script>var a = 1;</script></body></html>", engine=engine)
    assert (found.text, found.error) == (None, "empty: the engine found no main text")


def test_a_payload_that_is_broken_is_an_error() -> None:
    (found,) = pages.read([Capture(b"no frame", 10, "text/html", None)], engine="resiliparse")
    assert found.text is None
    assert str(found.error).startswith("engine: OSError: ")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=4),
    st.sampled_from(sorted(html.ENGINES)),
    st.sampled_from([None, "utf-8", "utf-16", "x"]),
)
def test_any_bytes_are_text_or_an_error_alone_and_in_a_batch(
    payloads: list[bytes], engine: str, declared: str | None
) -> None:
    captures = [capture(payload, declared=declared) for payload in payloads]
    together = pages.read(captures, engine=engine)
    assert together == [pages.read([one], engine=engine)[0] for one in captures]
    for found in together:
        assert (found.text is None) == (found.error is not None)
        for value in (found.text, found.title, found.error):
            assert value is None or value.encode("utf-8").find(b"\0") == -1


def test_an_engine_that_fails_on_one_page_reads_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(opened: Sequence[html.Opened], _form: str) -> list[str]:
        if any("poison" in each.text for each in opened):
            raise ValueError("no such element")
        return [each.text for each in opened]

    rogue(monkeypatch, fail)
    found = read(b"<p>one", b"<p>poison", b"<p>two", engine="rogue")
    assert [each.text for each in found] == ["one", None, "two"]
    assert found[1].error == "engine: ValueError: no such element"


@pytest.mark.parametrize(("error", "kind"), [(MemoryError(), "memory: "), (RecursionError(), "nesting: ")])
def test_what_a_page_asks_too_much_of_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str) -> None:
    def fail(_opened: Sequence[html.Opened], _form: str) -> list[str]:
        raise error

    rogue(monkeypatch, fail)
    (found,) = read(b"<p>text", engine="rogue")
    assert str(found.error).startswith(kind)


def test_each_page_is_begun_before_it_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int | None] = []

    def watch(opened: Sequence[html.Opened], _form: str) -> list[str]:
        return [f"{each.text} {begun[-1]}" for each in opened]

    rogue(monkeypatch, watch)
    captures = [capture(payload) for payload in (b"<p>a", b"<p>b", b"<p>c")]
    found = pages.read(captures, begun.append, engine="rogue")
    assert [each.text for each in found] == ["a 0", "b 1", "c 2"]


def test_a_cascade_leaves_out_what_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def watch(opened: Sequence[html.Opened], _form: str) -> list[str]:
        given.extend(each.text for each in opened)
        return [each.text for each in opened]

    rogue(monkeypatch, watch)
    sources = [f"<p>{text}" for text in (GERMAN, ENGLISH, "12345")]
    found = read(*[source.encode() for source in sources], engine="rogue", cascade=Only("en"))
    assert given == [ENGLISH, "12345"], "no other page reaches the engine; what has no language is not rejected by it"
    assert [each.text for each in found] == [None, ENGLISH, "12345"]
    assert [each.skipped and each.skipped.rule for each in found] == ["language", None, None]
    assert [each.page_language for each in found] == ["de", "en", None]
    assert all(each.error is None for each in found)


def test_a_cascade_of_heads_reads_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    rogue(monkeypatch, lambda opened, _form: ["text" for _ in opened])
    found = read(page("utf-8"), page("windows-1252"), engine="rogue", cascade=Only(charset="utf-8"))
    assert [each.text for each in found] == ["text", None]
    assert [each.page_language for each in found] == [None, None]


def test_mojibake_is_undone_where_that_is_asked_for() -> None:
    source = ARTICLE.format(charset="utf-8", text=GERMAN.encode().decode("windows-1252")).encode()
    (as_is,), (mended,) = (read(source, engine="resiliparse", mend=mend) for mend in ("none", "mojibake"))
    assert GERMAN not in str(as_is.text)
    assert GERMAN in str(mended.text)
