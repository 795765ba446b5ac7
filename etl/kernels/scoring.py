"""What a model says of a text, in one form for all models that score texts.

Each engine is a kernel of its own with the same four names: ``Settings``, a frozen dataclass that YAML describes;
``score(texts, settings)``, one `Score` a text; ``digest(settings)``, SHA-256 of all that decides a score beside the
text (weights, tokenizer, settings, and the code's own version where it matters); ``check(settings)``, which loads what
is needed and raises where it cannot be used. A score never depends on the texts beside it.
"""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """A part of a text, in characters from its start, and the score of that part alone."""

    start: int
    end: int
    score: float


class Score(NamedTuple):
    """What a model says of one text.

    `score` is None where there is none, and `error` then says why, in words that begin with a kind and a colon
    (``empty: ...``, ``too_long: ...``, ``refused: ...``). `level` is the score on the whole numbers of a model's scale,
    where it has one. `read` counts the characters that the model was shown, so that a text cut short can be seen.
    `worst` is the highest score of a sentence alone, and `spans` are the sentences that reach the model's threshold,
    for models that look at sentences.
    """

    score: float | None
    read: int
    level: int | None = None
    worst: float | None = None
    spans: tuple[Span, ...] = ()
    error: str | None = None
