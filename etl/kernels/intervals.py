"""95 % intervals for what an evaluation measures. Deterministic: the same items give the same interval.

A proportion, such as an accuracy, has Wilson's interval. A ratio of sums, such as bits per byte or a mean loss, has
the linearised interval of survey sampling: items are the sample, a text with its bytes or an answer with its tokens,
so that long items count for more and the spread is between items. Both say what other items of the same kind would
give; neither says what another training run of the same model would.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959963984540054  # 97.5 % point of the normal distribution
MOST_DEGREES = 2000  # Student's point falls with the degrees of freedom; here it is within 0.07 % of the normal one


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Interval of a proportion, Wilson 1927: within 0 and 1, and not empty at 0 or `n` successes.

    Without items nothing is known: (0, 1).

    Raises:
        ValueError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes:g} successes of {n:g}, wanted 0 to n")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    scale = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # At no or only successes an end is the value itself, which rounding may miss.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def ratio(values: ArrayLike, weights: ArrayLike, *, floor: float = -math.inf) -> tuple[float, float]:
    """Interval of sum(values) / sum(weights): (n,), (n,) -> (low, high), not below `floor`.

    The ratio is linearised at its value R: the residuals ``value - R * weight`` give its variance (Cochran 1977,
    chapter 6), and Student's t with n - 1 degrees of freedom the width. With all weights 1 it is Student's interval
    of a mean. Items of weight 0 count for nothing. One item tells nothing about the spread: (floor, infinity).

    Raises:
        ValueError: lengths differ, a weight is negative, or no weight is above 0, so that there is no ratio.
    """
    value, weight = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if value.shape != weight.shape:
        raise ValueError(f"{value.size} values and {weight.size} weights, wanted as many")
    if (weight < 0).any():
        raise ValueError(f"the smallest weight is {weight.min():g}, wanted none below 0")
    value, weight = value[weight > 0], weight[weight > 0]
    n = value.size
    if n == 0:
        raise ValueError("no item has a weight above 0: there is no ratio")
    if n == 1:
        return floor, math.inf
    total = weight.sum()
    middle = value.sum() / total
    residuals = value - middle * weight
    half = student(n - 1) * math.sqrt(n / (n - 1) * float(residuals @ residuals)) / total
    return max(floor, float(middle - half)), float(middle + half)


@functools.cache
def student(degrees: int) -> float:
    """97.5 % point of Student's t: the distribution inverted by bisection, to 1e-12.

    Above `MOST_DEGREES` it is the point there, which is wider by less than 0.07 %.

    Raises:
        ValueError: `degrees` is below 1.
    """
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom, wanted at least 1")
    degrees = min(degrees, MOST_DEGREES)
    low, high = 0.0, 13.0  # the point is largest with one degree: 12.706
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < 0.95 else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """Probability of Student's t between -t and t: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for k in range(1 if is_odd else 0, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
