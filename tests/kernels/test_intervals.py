"""Intervals against tables, exact coverage and seeded simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import intervals

SOUND = st.floats(-1e6, 1e6)
WEIGHTS = st.just(0.0) | st.floats(1e-3, 1e6)


@pytest.mark.parametrize(
    ("degrees", "point"),
    # Student 1908 as tabulated: Abramowitz and Stegun 1964, table 26.10
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (30, 2.042), (60, 2.000), (120, 1.980)],
)
def test_student_agrees_with_the_table(degrees: int, point: float) -> None:
    assert intervals.student(degrees) == pytest.approx(point, abs=5.1e-4)


def test_student_falls_towards_the_normal_point_and_stays_above_it() -> None:
    points = [intervals.student(degrees) for degrees in (*range(1, 60), 500, 2000, 10**9)]
    assert points == sorted(points, reverse=True)
    assert intervals.Z < points[-1] < 1.0007 * intervals.Z


def test_student_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="0 degrees of freedom, wanted at least 1"):
        intervals.student(0)


def test_wilson_agrees_with_published_values() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), ends in published.items():
        assert intervals.wilson(successes, n) == pytest.approx(ends, abs=5.1e-5)


@settings(deadline=None)
@given(st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = intervals.wilson(successes, n)
    assert 0 <= low < high <= 1
    if n:
        assert low <= successes / n <= high


def test_nothing_is_known_of_a_proportion_without_items() -> None:
    assert intervals.wilson(0, 0) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="wanted 0 to n"):
        intervals.wilson(successes, n)


@pytest.mark.parametrize("n", [10, 50, 200])
def test_wilson_covers_95_percent_of_proportions(n: int) -> None:
    """Exact: the binomial probability of all counts whose interval holds the proportion, over 99 proportions."""
    ends = [intervals.wilson(count, n) for count in range(n + 1)]

    def coverage(p: float) -> float:
        mass = [math.comb(n, count) * p**count * (1 - p) ** (n - count) for count in range(n + 1)]
        return sum(each for each, (low, high) in zip(mass, ends, strict=True) if low <= p <= high)

    coverages = [coverage(percent / 100) for percent in range(1, 100)]
    assert 0.94 < np.mean(coverages) < 0.965
    assert min(coverages) > 0.83  # the known low near 0 and 1


@settings(deadline=None)
@given(st.lists(st.tuples(SOUND, WEIGHTS), min_size=1, max_size=30).filter(lambda items: any(w > 0 for _, w in items)))
def test_a_ratio_lies_in_its_interval_whatever_the_order(items: list[tuple[float, float]]) -> None:
    values, weights = zip(*items, strict=True)
    counted = [(value, weight) for value, weight in items if weight > 0]
    ratio = math.fsum(value for value, _ in counted) / math.fsum(weight for _, weight in counted)
    low, high = intervals.ratio(values, weights)
    slack = 1e-9 * max(1.0, abs(ratio))
    assert low - slack <= ratio <= high + slack
    turned = intervals.ratio(values[::-1], weights[::-1])
    assert turned == pytest.approx((low, high), rel=1e-6, abs=1e-6 * max(1.0, abs(ratio)))


def test_with_equal_weights_a_ratio_has_students_interval_of_the_mean() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    half = 3.182446305 * np.std(values, ddof=1) / 2
    assert intervals.ratio(values, [1] * 4) == pytest.approx((4 - half, 4 + half))


@pytest.mark.parametrize(("n", "least"), [(5, 0.90), (20, 0.92), (200, 0.935)])
def test_ratio_covers_about_95_percent_of_samples(n: int, least: float) -> None:
    """Texts of log-normal length, each with a rate of its own: skewed, as texts are."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(2000):
        size = rng.lognormal(6, 0.7, n)
        bits = size * rng.gamma(20, 1.2 / 20, n)  # the rate is 1.2 on average, whatever the size
        low, high = intervals.ratio(bits, size)
        covered += low <= 1.2 <= high
    assert least < covered / 2000 < 0.975


def test_one_item_tells_nothing_about_the_spread() -> None:
    assert intervals.ratio([3], [2]) == (-math.inf, math.inf)
    assert intervals.ratio([3, 0], [2, 0], floor=0) == (0, math.inf)


def test_items_without_weight_change_nothing() -> None:
    assert intervals.ratio([1, 5, 2, 0], [1, 2, 1, 0]) == intervals.ratio([1, 5, 2], [1, 2, 1])


def test_a_floor_cuts_the_interval() -> None:
    assert intervals.ratio([0, 1], [1, 1], floor=0)[0] == 0
    assert intervals.ratio([0, 1], [1, 1])[0] < 0


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([], [], "no item has a weight above 0"),
        ([0.0], [0.0], "no item has a weight above 0"),
        ([1.0, 2.0], [1.0], "2 values and 1 weights"),
        ([1.0, 2.0], [1.0, -3.0], "the smallest weight is -3"),
    ],
)
def test_ratio_refuses_what_has_none(values: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intervals.ratio(values, weights)
