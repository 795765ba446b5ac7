"""Words that no text in a language does without: how many different ones a text has.

Gopher asks English pages for two of eight. The lists here are those of FineWeb-2 for other languages, the commonest
words of their Wikipedias, which leaves a list of names or of parts in any language with one or none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

# huggingface/fineweb-2, configs/{ces,deu,fra,ita,nld,pol,por,rus,spa}_*.yml
# at baedee44633384b26d433b68f88cb73cc0915d1a.
LISTS = {
    "cs": "v a se na je z s do",
    "de": "der und die in von im den des mit das er dem als wurde für",
    "es": "de la en el y a que del los se por un con una las su",
    "fr": "de la le et à en l' des du les est d' un une il dans par au",
    "it": "di e il la in a del che è della un per nel l' con da i una",
    "nl": "de van in het een en is op voor met door zijn werd hij uit",
    "pl": "w i na z do się roku od a jest przez po jako oraz o został był nie",
    "pt": "de a e o em do da que um no uma com para na é foi",
    "ru": "в и на с года по году из был к не от что за для его как а он также до после",  # noqa: RUF001  Russian
}
# The names that GlotLID has for these languages.
_LABELS = {
    **{"cs": "ces_Latn", "de": "deu_Latn", "es": "spa_Latn", "fr": "fra_Latn", "it": "ita_Latn", "nl": "nld_Latn"},
    **{"pl": "pol_Latn", "pt": "por_Latn", "ru": "rus_Cyrl"},
}
_WORDS = {name: frozenset(words.split()) for code, words in LISTS.items() for name in (code, _LABELS[code])}
_WORD = re.compile(r"[^\W\d_]+'?")


def counts(texts: Sequence[str | None], languages: Sequence[str | None]) -> pa.Array:
    """For each text how many different words of the list of its language it has, as they are written there; null where
    there is no list."""
    found = zip(texts, (_WORDS.get(language or "") for language in languages), strict=True)
    return pa.array([None if words is None else _count(text or "", words) for text, words in found], pa.int64())


def _count(text: str, words: frozenset[str]) -> int:
    return len(words.intersection(_WORD.findall(text.replace("\u2019", "'"))))
