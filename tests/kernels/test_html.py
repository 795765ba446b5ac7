"""Pages: decoded as a browser would, read in bounded time, never an exception."""

from __future__ import annotations

import os
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import html, sandbox

ARTICLE = """<!doctype html><html><head><meta charset="{charset}"><title>  Der
 See </title></head><body><nav><a href="/">Home</a></nav><main><h1>Der See</h1>
<p>{text}</p></main><footer>Impressum</footer></body></html>"""
GERMAN = (
    "Der Bodensee liegt zwischen Österreich, Deutschland und der Schweiz. Über dem Wasser schweben früh am "
    "Morgen Möwen, und die Fähren fahren von Ufer zu Ufer, während in den Gärten die ersten Bäume blühen."
)


def page(charset: str, declared_as: str | None = None, text: str = GERMAN) -> bytes:
    return ARTICLE.format(charset=declared_as or charset, text=text).encode(charset)


def extract(
    payload: bytes, *, engine: str = "trafilatura", mime: str = "text/html", declared: str | None = None
) -> html.Page:
    return html.extract(payload, url="https://see.example/", mime=mime, declared_charset=declared, engine=engine)


@pytest.mark.parametrize("engine", sorted(html.ENGINES))
def test_main_text_is_kept_and_the_frame_is_not(engine: str) -> None:
    found = extract(page("utf-8"), engine=engine)
    assert found.text is not None
    assert GERMAN in found.text
    assert "Impressum" not in found.text
    assert (found.title, found.charset, found.error) == ("Der See", "utf-8", None)


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


def test_plain_text_is_not_given_to_an_engine() -> None:
    found = extract(b" a < b\n", mime="text/plain")
    assert (found.title, found.text) == (None, "a < b")


def test_a_page_without_text_says_so() -> None:
    found = extract(b"<html><body><script>var a = 1;</script></body></html>")
    assert found.text is None
    assert found.error is not None
    assert found.error.startswith("empty: ")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(sorted(html.ENGINES)), st.sampled_from([None, "utf-8", "utf-16", "x"]))
def test_any_bytes_are_text_or_an_error(payload: bytes, engine: str, declared: str | None) -> None:
    found = extract(payload, engine=engine, declared=declared)
    assert (found.text is None) == (found.error is not None)
    for value in (found.text, found.title, found.error):
        assert value is None or value.encode("utf-8").find(b"\0") == -1


def bounded(monkeypatch: pytest.MonkeyPatch, engine: object, *, isolated: bool) -> html.Page:
    monkeypatch.setitem(html.ENGINES, "rogue", engine)  # type: ignore[arg-type]  # a rogue is no engine
    return html.extract_bounded(
        page("utf-8"),
        url=None,
        mime="text/html",
        declared_charset=None,
        engine="rogue",
        timeout_seconds=0.3,
        isolated=isolated,
    )


@pytest.mark.parametrize("isolated", [False, True])
def test_a_page_that_hangs_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch, isolated: bool) -> None:
    started = time.perf_counter()
    found = bounded(monkeypatch, lambda *_: time.sleep(30), isolated=isolated)
    assert time.perf_counter() - started < 10
    assert found.error is not None
    assert found.error.startswith("timeout: no result after 0.3 s")


def test_a_page_that_crashes_its_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = bounded(monkeypatch, lambda *_: os.kill(os.getpid(), signal.SIGSEGV), isolated=True)
    assert found == html.Page(None, None, None, "crash: signal 11")


def test_an_engine_that_raises_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise ValueError("no such element")

    assert bounded(monkeypatch, fail, isolated=False).error == "engine: ValueError: no such element"


def test_isolation_gives_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> str:
        return "x" * 200_000

    assert bounded(monkeypatch, read, isolated=True) == bounded(monkeypatch, read, isolated=False)


def test_a_deadline_leaves_no_alarm_behind() -> None:
    with sandbox.deadline(0.05):
        pass
    time.sleep(0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
