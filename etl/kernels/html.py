"""From the bytes of a page to its title and main text."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from etl.kernels import sandbox

# WHATWG "Prescan a byte stream to determine its encoding" looks at 1024 bytes; real pages declare later.
META_PRESCAN_BYTES = 4096
_META_CHARSET = re.compile(rb"""<meta[^>]{0,256}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_CODE_PAGE = re.compile(r"^cp125")
_WHITE_SPACE = re.compile(r"\s+")
# What no text table can hold: NUL ends strings in some readers, lone surrogates have no UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Page(NamedTuple):
    """Main text of one page, or the kind of failure and its message; exactly one of `text` and `error` is set."""

    title: str | None
    text: str | None
    charset: str | None
    error: str | None


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


def extract(payload: bytes, *, url: str | None, mime: str, declared_charset: str | None, engine: str) -> Page:
    """Title and main text of a page. Never raises; the same input gives the same output.

    Args:
        engine: ``trafilatura`` or ``resiliparse``, see ENGINES. Plain text is not given to an engine.
    """
    title: str | None
    text: str | None
    charset: str | None = None
    try:
        content, charset = decode(payload, declared_charset)
        if mime == "text/plain":
            title, text = None, content.strip()
        else:
            tree = HTMLTree.parse(_UNSTORABLE.sub("", content))
            title, text = tree.title, ENGINES[engine](content, tree, url)
    except sandbox.DeadlineError:
        raise
    except MemoryError:
        return Page(None, None, charset, "memory: the page needs more memory than a worker has")
    except RecursionError:
        return Page(None, None, charset, "nesting: elements are nested too deeply for the engine")
    except Exception as error:  # an engine may fail in any way; the page says how
        return Page(None, None, charset, _UNSTORABLE.sub("", f"engine: {type(error).__name__}: {error}")[:500])
    text = _UNSTORABLE.sub("", text or "").strip()
    if not text:
        return Page(None, None, charset, "empty: the engine found no main text")
    return Page(_one_line(title), text, charset, None)


def extract_bounded(
    payload: bytes,
    *,
    url: str | None,
    mime: str,
    declared_charset: str | None,
    engine: str,
    timeout_seconds: float,
    isolated: bool = False,
) -> Page:
    """`extract` in bounded time; `isolated` also survives crashes and native code that hangs."""

    def call() -> Page:
        return extract(payload, url=url, mime=mime, declared_charset=declared_charset, engine=engine)

    try:
        if isolated:
            return sandbox.isolated(call, timeout_seconds)
        with sandbox.deadline(timeout_seconds):
            return call()
    except sandbox.DeadlineError as error:
        return Page(None, None, None, f"timeout: {error}")
    except sandbox.CrashError as error:
        return Page(None, None, None, f"crash: {error}")


def engine_version(engine: str) -> str:
    """Name and installed version, such as ``trafilatura 2.3.1``: what `documents.extractor` holds."""
    return f"{engine} {version(engine)}"


def _trafilatura(content: str, _tree: HTMLTree, url: str | None) -> str | None:
    import trafilatura

    text: str | None = trafilatura.extract(content, url=url, include_comments=False, include_tables=True)
    return text


def _resiliparse(_content: str, tree: HTMLTree, _url: str | None) -> str | None:
    text: str = extract_plain_text(tree, main_content=True, alt_texts=False, list_bullets=True)
    return text


ENGINES: dict[str, Callable[[str, HTMLTree, str | None], str | None]] = {
    "trafilatura": _trafilatura,
    "resiliparse": _resiliparse,
}


def _one_line(title: str | None) -> str | None:
    line = _WHITE_SPACE.sub(" ", _UNSTORABLE.sub("", title or "")).strip()
    return line or None
