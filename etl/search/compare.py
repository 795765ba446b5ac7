"""Mixtures side by side: models of the same size, tokens and seeds, measured on text that no search has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.kernels import intervals
from etl.search.job import Measured, Result

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with Student's 95 % interval: what other seeds of the same mixture would give."""

    value: float
    low: float
    high: float

    @property
    def is_below_zero(self) -> bool:
        return self.high < 0

    @property
    def is_above_zero(self) -> bool:
        return self.low > 0


def estimate(values: Sequence[float] | Floats) -> Estimate:
    """Mean and interval of values of several seeds.

    Raises:
        ValueError: there are none.
    """
    return Estimate(float(np.mean(values)), *intervals.ratio(values, np.ones(len(values))))


@dataclass(frozen=True)
class Row:
    """What a mixture gives, in bits per byte: each domain, their mean, the worst of them, and the objective."""

    mixture: str
    shares: tuple[float, ...]
    domains: tuple[Estimate, ...]
    mean: Estimate
    worst: Estimate
    objective: Estimate


@dataclass(frozen=True)
class Difference:
    """A found mixture less another in objective and mean, in bits per byte over pairs of models with the same seed;
    below 0 the found one is better. `verdict` speaks of the objective: better, worse or no difference."""

    found: str
    other: str
    objective: Estimate
    mean: Estimate

    @property
    def verdict(self) -> str:
        if self.objective.is_below_zero:
            return "better"
        return "worse" if self.objective.is_above_zero else "no difference"


def bits(measured: Sequence[Measured]) -> Floats:
    """Bits per byte of each domain: (domains,)."""
    return np.array([each.bits_per_byte for each in measured])


def rows(results: Mapping[str, Sequence[Result]], objective: Floats) -> list[Row]:
    """One row per mixture from the results of its seeds; `objective` are weights of the domains that add up to 1."""
    found = []
    for mixture, of_seeds in results.items():
        values = np.stack([bits(result.test) for result in of_seeds])
        found.append(
            Row(
                mixture,
                of_seeds[0].shares,
                tuple(estimate(column) for column in values.T),
                estimate(values.mean(axis=1)),
                estimate(values.max(axis=1)),
                estimate(values @ objective),
            )
        )
    return found


def differences(results: Mapping[str, Sequence[Result]], found: Sequence[str], objective: Floats) -> list[Difference]:
    """Each found mixture against every other mixture, seed by seed.

    Raises:
        ValueError: mixtures were trained with other seeds or other compute than each other.
    """
    settings = {
        name: [(result.run.seed, result.tokens, result.parameters) for result in of_seeds]
        for name, of_seeds in results.items()
    }
    if len({tuple(each) for each in settings.values()}) > 1:
        raise ValueError(f"mixtures were not trained alike: (seed, tokens, weights) are {settings}")
    values = {name: np.stack([bits(result.test) for result in of_seeds]) for name, of_seeds in results.items()}
    return [
        Difference(
            name,
            other,
            estimate((values[name] - values[other]) @ objective),
            estimate((values[name] - values[other]).mean(axis=1)),
        )
        for name in found
        for other in results
        if other != name
    ]
