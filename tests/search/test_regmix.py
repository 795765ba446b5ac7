"""The regression of RegMix: against refitted models, SciPy, and losses of which the best mixture is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from etl.search import regmix
from etl.search.config import RegMix

SETTINGS = RegMix(proxies=48, draws=20_000, top=50, resamples=5)
UNIFORM = np.full(4, 0.25)
CHANCE = np.full(4, 5.0)


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def power_law(shares):
    """Losses of domains that fall with their own tokens alone, as a power of them (Kaplan et al. 2020)."""
    return 1 + (shares + 0.02) ** -0.3


@given(
    st.lists(st.floats(0.001, 1), min_size=2, max_size=8),
    st.floats(0, 1),
    st.floats(1e-4, 100),
)
def test_drawn_mixtures_are_on_the_simplex_however_small_the_parameters(natural, flattening, concentration):
    shares = np.array(natural) / sum(natural)
    settings = RegMix(flattening=flattening, min_concentration=concentration, max_concentration=concentration)
    drawn = regmix.drawn(shares, 50, settings, generator())
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()
    assert drawn.sum(axis=1) == pytest.approx(np.ones(50))


def test_drawn_mixtures_lie_around_the_flattened_natural_one():
    natural = np.array([0.64, 0.32, 0.04])
    settings = RegMix(flattening=0.5, min_concentration=2, max_concentration=2)
    drawn = regmix.drawn(natural, 40_000, settings, generator())
    flattened = np.sqrt(natural) / np.sqrt(natural).sum()
    errors = np.sqrt(flattened * (1 - flattened) / 3 / 40_000)  # the variance of a Dirichlet share, over the draws
    assert (np.abs(drawn.mean(axis=0) - flattened) < 5 * errors).all()


@pytest.mark.parametrize("features", regmix.FEATURES)
def test_left_out_losses_are_those_of_models_fitted_without_each_mixture(features):
    shares = regmix.drawn(UNIFORM, 24, SETTINGS, generator())
    losses = power_law(shares)[:, 0] * np.exp(generator().normal(0, 0.01, 24))
    found = regmix.fit(shares, losses, features)
    values, logs = (regmix.FEATURES[features](shares) - found.mean) / found.scale, np.log(losses)
    for place in range(24):
        others = np.delete(np.arange(24), place)
        mean = values[others].mean(axis=0)
        centred = values[others] - mean
        penalised = centred.T @ centred + found.penalty * np.eye(values.shape[1])
        slope = np.linalg.solve(penalised, centred.T @ (logs[others] - logs[others].mean()))
        predicted = np.exp(logs[others].mean() + (values[place] - mean) @ slope)
        assert found.left_out[place] == pytest.approx(predicted, rel=1e-4)


def test_rank_correlation_is_that_of_scipy():
    left, right = generator().normal(size=(2, 40))
    assert regmix.spearman(left, left + right) == pytest.approx(stats.spearmanr(left, left + right).statistic)


@pytest.mark.parametrize(
    ("objective", "answer"),
    [([1, 0, 0, 0], [1, 0, 0, 0]), ([0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]), ([0.25] * 4, [0.25] * 4)],
    ids=["one domain", "two halves", "all alike"],
)
def test_the_best_mixture_of_a_power_law_is_found(objective, answer):
    shares = regmix.drawn(UNIFORM, SETTINGS.proxies, SETTINGS, generator())
    losses = power_law(shares) * np.exp(generator().normal(0, 0.01, shares.shape))
    found = regmix.best(shares, losses, np.array(objective, dtype=float), UNIFORM, SETTINGS, chance=CHANCE)
    assert found.shares == pytest.approx(answer, abs=0.1)
    assert found.regressions[0].explained > 0.9
    errors = [each.error for each in found.regressions]
    assert errors == sorted(errors)


def test_models_that_have_not_seen_a_domain_do_not_hide_which_share_it_needs():
    shares = regmix.drawn(UNIFORM, SETTINGS.proxies, SETTINGS, generator())
    losses = power_law(shares)
    losses[shares < 0.01] *= 20  # what tokens cost that a model never saw
    found = regmix.best(shares, losses, np.array([1.0, 0, 0, 0]), UNIFORM, SETTINGS, chance=CHANCE)
    assert found.shares[0] > 0.9


def test_curved_features_explain_what_a_line_does_not():
    shares = regmix.drawn(UNIFORM, SETTINGS.proxies, SETTINGS, generator())
    objective = np.array([0.4, 0.3, 0.2, 0.1])
    line, curve = (regmix.regression(shares, power_law(shares), objective, name) for name in ("linear", "curved"))
    assert curve.error < line.error / 2


def test_same_seed_finds_the_same_mixture():
    shares = regmix.drawn(UNIFORM, SETTINGS.proxies, SETTINGS, generator())
    first, again = (regmix.best(shares, power_law(shares), UNIFORM, UNIFORM, SETTINGS, chance=CHANCE) for _ in range(2))
    assert first.shares.tobytes() == again.shares.tobytes()
    assert (first.low <= first.high).all()


@pytest.mark.parametrize("loss", [np.nan, np.inf, 0.0, -1.0])
def test_a_loss_that_is_no_number_above_zero_is_refused(loss):
    shares = regmix.drawn(UNIFORM, 8, SETTINGS, generator())
    losses = power_law(shares)
    losses[3, 1] = loss
    with pytest.raises(ValueError, match="1 of 32 losses are no numbers above 0"):
        regmix.best(shares, losses, UNIFORM, UNIFORM, SETTINGS, chance=CHANCE)
