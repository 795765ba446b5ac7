"""The quality score: how much better data, instructions and alignment are than without any treatment.

    Quality = phi * (Data + Instruction + Alignment) / 3, wanted above phi**2

Each part is a product of factors, and each factor is a ratio: what was measured with a treatment over what the same
measure gives without it, on the same sample. The untreated baseline is 1 in every factor, so a system that changes
nothing scores phi, and the target says that quality has grown by the factor phi. A factor that was not measured is
missing, and with it the part and the score: it is never taken as 1.

Intervals are combined by MOVER (Zou and Donner 2008): the distances of the ends from the value are added in squares,
those of a ratio or a product on the scale of logarithms. This takes what is combined as independent. Where two
measures share items, as all documents and those of them that are kept, they rise and fall together, and the interval of
their ratio is wider than need be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PHI = (1 + math.sqrt(5)) / 2
TARGET = PHI**2


@dataclass(frozen=True)
class Estimate:
    """A value that was measured on `n` items, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Gain:
    """A measure before and after a treatment, and after over before."""

    before: Estimate
    after: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class Factor:
    """One factor of a part: its name, how it is measured, and what was measured, or why nothing was."""

    name: str
    estimator: str
    gain: Gain | None = None
    missing: str = ""


@dataclass(frozen=True)
class Part:
    """A product of factors."""

    name: str
    factors: tuple[Factor, ...]

    @property
    def measured(self) -> tuple[Factor, ...]:
        return tuple(factor for factor in self.factors if factor.gain is not None)

    @property
    def product(self) -> Estimate | None:
        """Of the factors that were measured; None where none was. Not the part, unless it is whole."""
        return product([factor.gain.ratio for factor in self.factors if factor.gain is not None])

    @property
    def is_whole(self) -> bool:
        return len(self.measured) == len(self.factors)


def score(parts: Sequence[Part]) -> Estimate | None:
    """The whole score; None as long as a factor is missing."""
    values = [part.product for part in parts if part.is_whole]
    found = [value for value in values if value is not None]
    if not parts or len(found) < len(parts):
        return None
    scale = PHI / len(found)
    value = scale * sum(each.value for each in found)
    below = scale * math.hypot(*(each.value - each.low for each in found))
    above = scale * math.hypot(*(each.high - each.value for each in found))
    return Estimate(value, value - below, value + above, min(each.n for each in found))


def gain(before: Estimate | None, after: Estimate | None) -> Gain | None:
    """The two with their ratio; None where one was not measured, or is 0 and has no ratio."""
    if before is None or after is None or before.value <= 0 or after.value <= 0:
        return None
    return Gain(before, after, ratio(before, after))


def ratio(before: Estimate, after: Estimate) -> Estimate:
    """`after` over `before`, both above 0. Where the interval of `before` reaches 0 the ratio has no upper end.

    Raises:
        ValueError: one of the two is not above 0.
    """
    if before.value <= 0 or after.value <= 0:
        raise ValueError(f"{after.value:g} over {before.value:g}: wanted both above 0")
    value = after.value / before.value
    below = math.hypot(_log(after.low, after.value), _log(before.value, before.high))
    above = math.hypot(_log(after.value, after.high), _log(before.low, before.value))
    return Estimate(value, value * math.exp(-below), value * math.exp(above), min(before.n, after.n))


def product(estimates: Sequence[Estimate]) -> Estimate | None:
    """The product of values above 0; None for none."""
    if not estimates:
        return None
    value = math.prod(each.value for each in estimates)
    below = math.hypot(*(_log(each.low, each.value) for each in estimates))
    above = math.hypot(*(_log(each.value, each.high) for each in estimates))
    return Estimate(value, value * math.exp(-below), value * math.exp(above), min(each.n for each in estimates))


def _log(low: float, high: float) -> float:
    """The distance on the scale of logarithms; endless from 0."""
    return math.log(high / low) if low > 0 else math.inf
