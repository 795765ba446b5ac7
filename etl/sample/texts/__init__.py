"""Prose in twelve languages, written for the sample, and the words that a site puts around its articles.

``<language>.txt`` has one paragraph a line, after its heading and a tab. ``interface.json``
has the words of navigation, banners and footers in these languages and in English,
``phrases.json`` what people on English sites say around the prose of packages.
"""

import functools
import json
import re
from importlib import resources
from typing import Any

LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "pl", "ru", "zh", "ja", "ar", "hi")

_SENTENCE = re.compile(r".+?(?:[.!?\u061f\u0964](?=\s|$)\s*|\u3002|$)")


@functools.cache
def paragraphs(language: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(heading, sentences) of each paragraph; the sentences joined as they stand are the paragraph."""
    text = resources.files(__name__).joinpath(f"{language}.txt").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple((heading, tuple(_SENTENCE.findall(paragraph))) for heading, paragraph in rows)


@functools.cache
def interface(language: str) -> dict[str, Any]:
    """The words around an article: home, search, comments, cookies, topics, months, ..."""
    words: dict[str, dict[str, Any]] = json.loads(
        resources.files(__name__).joinpath("interface.json").read_text("utf-8")
    )
    return words[language]


@functools.cache
def phrases() -> dict[str, list[str]]:
    """Titles, headings, names, remarks, ... for English pages; {subject} and the like stand for words to be put in."""
    found: dict[str, list[str]] = json.loads(resources.files(__name__).joinpath("phrases.json").read_text("utf-8"))
    return found
