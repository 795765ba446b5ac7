"""How near an extracted text is to the gold text: words as a multiset, as the WCXB benchmark counts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"\w+")


class WordScores(NamedTuple):
    """Scores of one page, from 0 to 1."""

    f1: float
    precision: float
    recall: float


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def word_scores(found: Sequence[str], gold: Sequence[str]) -> WordScores:
    """Scores of the words found. Without gold words it is all or nothing: 1 where none were found, else 0."""
    if not found or not gold:
        same = float(not found and not gold)
        return WordScores(same, same, same)
    overlap = (Counter(found) & Counter(gold)).total()
    precision, recall = overlap / len(found), overlap / len(gold)
    return WordScores(2 * overlap / (len(found) + len(gold)), precision, recall)
