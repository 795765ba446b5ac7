"""Text that a page gives to machines: the article in its JSON-LD, for pages whose scripts would only then show it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape

from etl.kernels.dom import Layout

KEY = "articleBody"  # schema.org/articleBody
MIN_CHARS = 200  # a shorter one is a summary
FEW = 0.5  # as much of an article may be among the blocks of a page that does not show it

_BREAK = re.compile(r"</?(?:p|br|div|li|h[1-6]|blockquote)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+|(?<=[\u3002\uff01\uff1f])")


def hidden_article(layout: Layout, text: str) -> str:
    """The article in a page's JSON-LD if `text`, what was found on the page, is less than half of it and the page does
    not show it; else empty."""
    body = article_body(layout.data)
    if len(body) < max(MIN_CHARS, 2 * len(text)):
        return ""
    shown = " ".join(layout.text.split())
    there = sum(len(sentence) for sentence in _SENTENCE_END.split(body) if sentence in shown)
    return body if there < FEW * len(body) else ""


def article_body(scripts: Sequence[str]) -> str:
    """The longest article body in some JSON-LD scripts as plain text, a line a paragraph; empty where there is none."""
    found = [_plain(value) for script in scripts if KEY in script for value in _values(script)]
    return max(found, key=len, default="")


def _values(script: str) -> list[str]:
    try:
        waiting = [json.loads(script, strict=False)]
    except (ValueError, RecursionError):  # what people write between the tags is often no JSON
        return []
    found = []
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            value = each.get(KEY)
            if isinstance(value, str):
                found.append(value)
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found


def _plain(value: str) -> str:
    value = _TAG.sub("", _BREAK.sub("\n", unescape(value)))
    lines = (" ".join(line.split()) for line in value.split("\n"))
    return "\n".join(line for line in lines if line)
