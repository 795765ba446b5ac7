"""The brief's claims beside what others have published and what a lake has measured, each in a column of its own.

Claims and published figures are in ``conf/report/claims.yaml``. What is measured has a name there, and words for what
would measure it; a section gives the values that it has by these names.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from etl import config, resources
from etl.config import STRICT
from etl.kernels.quality_score import Gain


@dataclass(frozen=True)
class Published:
    """A figure that can be looked up, and where."""

    __pydantic_config__ = STRICT

    figure: str
    source: str


@dataclass(frozen=True)
class Answer:
    """Something a claim is about: the name that a measured value has, its words, and what would measure it."""

    __pydantic_config__ = STRICT

    name: str
    what: str
    needs: str | None = None


@dataclass(frozen=True)
class Claim:
    """One claim of the brief."""

    __pydantic_config__ = STRICT

    what: str
    claim: str
    answers: tuple[Answer, ...]
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Topic:
    """The claims of one section; `needs` is what would measure all answers that do not say it themselves."""

    __pydantic_config__ = STRICT

    name: str
    claims: tuple[Claim, ...]
    needs: str | None = None
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        answers = [answer for claim in self.claims for answer in claim.answers]
        names = [answer.name for answer in answers]
        problems = [f"answer {name!r} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        problems += [
            f"answer {answer.name!r} does not say what it needs, nor does its topic"
            for answer in answers
            if answer.needs is None and self.needs is None
        ]
        if problems:
            raise ValueError(f"topic {self.name!r}: {'; '.join(problems)}")


@dataclass(frozen=True)
class Brief:
    """All topics, in the order of the brief."""

    __pydantic_config__ = STRICT

    topics: tuple[Topic, ...]


@dataclass(frozen=True)
class Fact:
    """Something that was counted, in words: it has no interval, since nothing was drawn."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """A measure before and after; `items` are what n counts, `shown` is how values are
    written: share, number or score."""

    gain: Gain
    items: str
    shown: str = "share"


Value = Measured | Fact


@dataclass(frozen=True)
class Told:
    """An answer with the value that the lake has, or None."""

    answer: Answer
    value: Value | None


@dataclass(frozen=True)
class Line:
    """A claim with all that is said to it."""

    claim: Claim
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Comparison:
    """A topic side by side: one line per claim."""

    topic: Topic
    lines: tuple[Line, ...]

    @property
    def needs(self) -> str | None:
        """What would measure those answers that lack a value and do not say it themselves."""
        told = [told for line in self.lines for told in line.told]
        return self.topic.needs if any(t.value is None and t.answer.needs is None for t in told) else None


@functools.cache
def brief() -> Brief:
    """The claims that travel with the code."""
    return config.load(resources.folder("conf") / "report" / "claims.yaml", Brief)


def compare(name: str, values: Mapping[str, Value | None] | None = None) -> Comparison:
    """The topic `name` with the values that were measured, by the names of its answers.

    Raises:
        KeyError: there is no such topic, or it has no such answer.
    """
    topics = {topic.name: topic for topic in brief().topics}
    topic, given = topics[name], dict(values or {})
    unknown = sorted(given.keys() - {answer.name for claim in topic.claims for answer in claim.answers})
    if unknown:
        raise KeyError(f"topic {name!r} has no answer {', '.join(unknown)}")
    lines = [
        Line(claim, tuple(Told(answer, given.get(answer.name)) for answer in claim.answers)) for claim in topic.claims
    ]
    return Comparison(topic, tuple(lines))
