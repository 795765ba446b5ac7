"""Values with a 95 % interval, from counts and sums that Spark can make in one pass.

Where all pages of a lake were counted, the interval says what other pages of the same kind would give, as if these were
drawn from them; it says nothing of other kinds of pages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from etl.kernels import intervals
from etl.kernels.quality_score import Estimate


def wilson(right: int, n: int) -> Estimate | None:
    """The share `right` / `n` with the interval of Wilson 1927; None for no observation."""
    if n == 0:
        return None
    low, high = intervals.wilson(right, n)
    return Estimate(right / n, low, high, n)


def mean(total: float, squares: float, n: int) -> Estimate | None:
    """The mean of `n` values from 0 to 1 with the normal interval, from their sum and the sum of their squares."""
    if n == 0:
        return None
    value = total / n
    variance = max(0.0, squares - n * value * value) / (n - 1) if n > 1 else 0.0
    half = intervals.Z * math.sqrt(variance / n)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n)


@dataclass(frozen=True)
class Moments:
    """Sums over `n` items, each with two numbers v and w: v, w, v * v, v * w, w * w."""

    n: int
    v: float
    w: float
    vv: float
    vw: float
    ww: float


def ratio(sums: Moments) -> Estimate | None:
    """sum(v) / sum(w) with the interval of `etl.kernels.intervals.ratio`, not below 0, from sums; None without items.

    Items are what was drawn: a text with its copies, a page with two scores. One item tells nothing of the spread, and
    its interval has no upper end.
    """
    if sums.w <= 0:
        return None
    value = sums.v / sums.w
    if sums.n < 2:
        return Estimate(value, 0.0, math.inf, sums.n)
    residuals = max(0.0, sums.vv - 2 * value * sums.vw + value * value * sums.ww)
    half = intervals.student(sums.n - 1) * math.sqrt(sums.n / (sums.n - 1) * residuals) / sums.w
    return Estimate(value, max(0.0, value - half), value + half, sums.n)


def paired_shares(both: int, first: int, second: int, neither: int) -> tuple[float, float, float]:
    """Share of the second of two measures less that of the first on the same items: (difference, low, high).

    `first` items were right by the first alone, `second` by the second alone. The interval is that of Newcombe 1998
    (Statistics in Medicine 17, 2635), method 10: Wilson's intervals of the two, and how they go together.
    """
    n = both + first + second + neither
    if n == 0:
        return 0.0, -1.0, 1.0
    one, two = (both + first) / n, (both + second) / n
    (low_one, high_one), (low_two, high_two) = intervals.wilson(both + first, n), intervals.wilson(both + second, n)
    root = math.sqrt((both + first) * (second + neither) * (both + second) * (first + neither))
    shared = both * neither - first * second
    corrected = max(0.0, shared - n / 2) if shared > 0 else shared
    together = corrected / root if root else 0.0

    def distance(near: float, far: float) -> float:
        return math.sqrt(max(0.0, near * near - 2 * together * near * far + far * far))

    below, above = distance(two - low_two, high_one - one), distance(high_two - two, one - low_one)
    return two - one, max(-1.0, two - one - below), min(1.0, two - one + above)


def paired_ratios(n: int, products: Sequence[Sequence[float]], sums: Sequence[float]) -> tuple[float, float, float]:
    """sum(v2) / sum(w2) less sum(v1) / sum(w1) over the same `n` items: (difference, low, high).

    `sums` are those of (v1, w1, v2, w2), `products` those of each with each. Both ratios are linearised, so that what
    the two measures share on an item counts (Cochran 1977, chapter 6), with Student's t.
    """
    v1, w1, v2, w2 = sums
    one, two = v1 / w1, v2 / w2
    if n < 2:
        return two - one, -math.inf, math.inf
    parts = (-1 / w1, one / w1, 1 / w2, -two / w2)
    squares = sum(parts[i] * parts[j] * products[i][j] for i in range(4) for j in range(4))
    half = intervals.student(n - 1) * math.sqrt(n / (n - 1) * max(0.0, squares))
    return two - one, two - one - half, two - one + half


Grams = Sequence[tuple[str, ...]]


def distinct(texts: Sequence[Grams], total: int) -> Estimate | None:
    """Share of different n-grams in the first `total` n-grams of `texts`, distinct-n of Li et al. 2016.

    The share falls with the number of n-grams, so samples are compared at one `total`. The interval is that of the
    jackknife over texts. None where the texts have fewer than `total` n-grams or are fewer than two.
    """
    taken: list[Grams] = []
    left = total
    for grams in texts:
        if left <= 0:
            break
        if grams:
            taken.append(grams[:left])
            left -= len(taken[-1])
    n = len(taken)
    if left > 0 or n < 2:
        return None
    holders = Counter(gram for grams in taken for gram in set(grams))
    own = [sum(holders[gram] == 1 for gram in set(grams)) for grams in taken]
    without = [(len(holders) - only) / (total - len(grams)) for only, grams in zip(own, taken, strict=True)]
    middle = math.fsum(without) / n
    error = math.sqrt((n - 1) / n * math.fsum((each - middle) ** 2 for each in without))
    value, half = len(holders) / total, intervals.student(n - 1) * error
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n)
