"""The step of group DRO against the formulas of the paper, written out with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from etl.search import dro

COUNT = 4
losses = arrays(np.float64, (6, 3), elements=st.floats(0, 20))
domains = st.lists(st.integers(0, COUNT - 1), min_size=6, max_size=6)
excesses = arrays(np.float64, COUNT, elements=st.floats(0, 1e4))
simplex = arrays(np.float64, COUNT, elements=st.floats(1e-6, 1)).map(lambda values: values / values.sum())


@given(losses, losses, domains)
def test_excess_is_the_mean_over_tokens_of_what_is_above_the_reference(mine, reference, rows):
    found = dro.mean_excess(*dro.excess_sums(mine, reference, rows, COUNT))
    for domain in range(COUNT):
        tokens = [
            max(mine[row][place] - reference[row][place], 0.0)
            for row in range(6)
            if rows[row] == domain
            for place in range(3)
        ]
        assert found[domain] == pytest.approx(sum(tokens) / len(tokens) if tokens else 0.0)


def test_an_easier_token_makes_up_for_no_harder_one():
    sums, tokens = dro.excess_sums([[1.0, 3.0]], [[2.0, 2.0]], [0], 1)
    assert (sums.tolist(), tokens.tolist()) == ([1.0], [2.0])


@given(simplex, arrays(np.float64, COUNT, elements=st.floats(0, 10)), st.floats(0.01, 3), st.floats(0, 1))
def test_shares_move_as_the_algorithm_says(shares, excess, step_size, smoothing):
    moved = [share * math.exp(step_size * each) for share, each in zip(shares, excess, strict=True)]
    wanted = [(1 - smoothing) * each / sum(moved) + smoothing / COUNT for each in moved]
    found = dro.updated(shares, excess, step_size=step_size, smoothing=smoothing)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@given(simplex, st.lists(excesses, min_size=1, max_size=20), st.floats(0.01, 10), st.floats(0, 1))
def test_shares_stay_on_the_simplex_whatever_the_losses(shares, steps, step_size, smoothing):
    for excess in steps:
        shares = dro.updated(shares, excess, step_size=step_size, smoothing=smoothing)
        assert shares.sum() == pytest.approx(1)
        assert (shares >= smoothing / COUNT * (1 - 1e-12)).all()


@given(simplex, excesses)
def test_the_domain_with_most_excess_never_loses_share(shares, excess):
    most = int(excess.argmax())
    assert dro.updated(shares, excess, step_size=1.0, smoothing=0.0)[most] >= shares[most] * (1 - 1e-9)


@given(losses, domains, simplex)
def test_weighted_rows_add_up_to_the_mean_loss_of_each_domain_times_its_share(mine, rows, shares):
    _, tokens = dro.excess_sums(mine, np.zeros_like(mine), rows, COUNT)
    found = float(mine.sum(axis=1) @ dro.row_weights(shares, tokens, rows))
    wanted = sum(shares[domain] * mine[np.array(rows) == domain].mean() for domain in set(rows))
    assert found == pytest.approx(wanted)
