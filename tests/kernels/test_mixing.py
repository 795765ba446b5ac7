"""Shares, budgets and repetitions: laws that hold for any supply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import mixing
from etl.kernels.mixing import Demand, Part, Supply


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[Demand], dict[str, Supply]]:
    weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=6))
    demands = [Demand(str(n), w / sum(weights), draw(st.integers(1, 5))) for n, w in enumerate(weights)]
    counts = [draw(st.integers(1, 10**12)) for _ in weights]
    supplies = {str(n): Supply(1, count, count * draw(st.integers(1, 3))) for n, count in enumerate(counts)}
    return demands, supplies


@given(mixtures(), st.integers(1, 10**15))
def test_a_budget_is_asked_in_its_shares_and_read_as_often_as_needed(
    mixture: tuple[list[Demand], dict[str, Supply]], tokens: int
) -> None:
    demands, supplies = mixture
    parts = mixing.parts(demands, supplies, tokens=tokens)
    for part, demand in zip(parts, demands, strict=True):
        assert part.share == demand.share
        assert part.asked == pytest.approx(tokens * (demand.share or 0), abs=1, rel=1e-12)
        assert 1 <= part.passes <= demand.epochs
        assert part.is_short or part.pass_tokens * part.passes >= part.asked
        assert part.passes == 1 or part.pass_tokens * (part.passes - 1) < part.asked
    assert sum(part.asked for part in parts) <= tokens + 1


@given(mixtures())
def test_without_a_budget_the_set_is_the_largest_that_all_can_fill(
    mixture: tuple[list[Demand], dict[str, Supply]],
) -> None:
    demands, supplies = mixture
    parts = mixing.parts(demands, supplies)
    assert not mixing.shortfalls(parts)
    scarcest = min(parts, key=lambda part: part.capacity - part.asked)
    assert scarcest.asked >= scarcest.capacity * (1 - 1e-12) - 1
    larger = mixing.parts(demands, supplies, tokens=round(parts[0].budget * 1.01) + len(parts) + 200)
    assert any(part.is_short for part in larger)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=8), st.floats(0.2, 20))
def test_temperature_moves_shares_from_natural_to_equal(tokens: list[int], temperature: float) -> None:
    found = mixing.shares(tokens, temperature)
    if not any(tokens):
        assert found == [0.0] * len(tokens)
        return
    assert sum(found) == pytest.approx(1)
    assert [share for _, share in sorted(zip(tokens, found, strict=True))] == sorted(found)
    assert mixing.shares(tokens, 1) == pytest.approx([count / sum(tokens) for count in tokens])
    assert max(mixing.shares(tokens, temperature * 2)) <= max(found) * (1 + 1e-12)


def test_temperature_gives_the_shares_of_its_paper() -> None:
    """Arivazhagan et al. 2019: the fifth root at a temperature of 5."""
    assert mixing.shares([32, 1, 0], 5) == pytest.approx([2 / 3, 1 / 3, 0])
    assert mixing.shares([8, 2], 1e9) == pytest.approx([0.5, 0.5])


def test_what_is_missing_is_said_with_cap_and_repetition() -> None:
    demands = [Demand("web", 0.8), Demand("math", 0.2, epochs=2)]
    supplies = {"web": Supply(10, 1000, 1000), "math": Supply(4, 100, 120)}
    assert mixing.shortfalls(mixing.parts(demands, supplies, tokens=2500)) == [
        "source 'web' is asked for 2,000 tokens (80.00% of 2,500), has 1,000 in 10 rows and may be read once; 2.00 "
        "passes would be needed, 1,000 tokens are missing",
        "source 'math' is asked for 500 tokens (20.00% of 2,500), has 100 in 4 rows, 120 in a pass with the copies of "
        "its tiers and may be read 2 times; 4.17 passes would be needed, 260 tokens are missing",
        "the largest budget that every source can fill is 1,200 tokens",
    ]
    assert mixing.shortfalls(mixing.parts(demands, supplies, tokens=1200)) == []


def test_a_source_without_rows_can_give_nothing() -> None:
    web, code = mixing.parts([Demand("web", 0.5), Demand("code", 0.5)], {"web": Supply(1, 10, 10)}, tokens=10)
    assert (web.is_short, code.is_short, code.capacity, code.needed_epochs) == (False, True, 0, float("inf"))


def test_everything_is_each_row_once() -> None:
    (part,) = mixing.everything([Demand("web", 1.0, epochs=4)], {"web": Supply(3, 10, 30)})
    assert part == Part(0, "web", None, 1, 3, 10, 10, 10, 10, 1, 10.0)
