"""RegMix (Liu et al. 2024) after its models are trained: from their shares and losses to the mixture of least loss.

The paper fits gradient-boosted trees. Here are three ridge regressions on features of the shares, of which each counts
for the more the less it misses when each model is left out in turn; that error has a closed form, so nothing is fitted
twice. Together they are steadier than the best of them: where one sees no difference, another does.
Each domain has a regression of its own, since its loss hangs mostly on its own share. It is of the logarithm of the
loss, and no loss counts as more than that of a model that knows nothing and finds all tokens as likely: tokens that a
model has never seen cost it far more, and a few such models would outweigh all others. Everything is NumPy and
deterministic by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.search.config import RegMix

Floats = NDArray[np.float64]

SCALES = (0.001, 0.01, 0.1)  # added to a share before its logarithm: of shares below them, all are nearly alike
SMALLEST = 0.003  # the same, where logarithms are multiplied
PENALTIES = np.logspace(-8, 3, 34)  # of the ridge, for features of mean 0 and variance 1


def drawn(natural: Floats, count: int, settings: RegMix, generator: np.random.Generator) -> Floats:
    """Mixtures from Dirichlet distributions around the natural one: (domains,) -> (count, domains)."""
    prior = natural**settings.flattening
    prior = prior / prior.sum()
    low, high = np.log(settings.min_concentration), np.log(settings.max_concentration)
    concentrations = np.exp(generator.uniform(low, high, size=count))
    # Logarithms of gamma variates: with small parameters, all of a row could round to 0.
    shapes = concentrations[:, None] * prior
    logs = np.log(generator.gamma(shapes + 1)) + np.log(1 - generator.random(shapes.shape)) / shapes
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = shares / shares.sum(axis=1, keepdims=True)
    return result


def linear(shares: Floats) -> Floats:
    return shares


def curved(shares: Floats) -> Floats:
    """Shares, and their logarithms on several scales."""
    return np.hstack([shares, *[np.log(shares + scale) for scale in SCALES]])


def quadratic(shares: Floats) -> Floats:
    """Logarithms of shares and all their products."""
    logs = np.log(shares + SMALLEST)
    first, second = np.triu_indices(shares.shape[1])
    return np.hstack([logs, logs[:, first] * logs[:, second]])


FEATURES: Mapping[str, Callable[[Floats], Floats]] = {"linear": linear, "curved": curved, "quadratic": quadratic}


@dataclass(frozen=True)
class Fit:
    """A ridge regression of the logarithm of a loss on features of shares. `left_out` are the losses it predicts for
    each model when that model is left out: (n,)."""

    features: str
    penalty: float
    left_out: Floats
    mean: Floats
    scale: Floats
    coefficients: Floats
    intercept: float

    def predict(self, shares: Floats) -> Floats:
        """Losses of mixtures: (n, domains) -> (n,)."""
        values = (FEATURES[self.features](shares) - self.mean) / self.scale @ self.coefficients
        result: Floats = np.exp(values + self.intercept)
        return result


def fit(shares: Floats, losses: Floats, features: str) -> Fit:
    """The regression whose penalty leaves the least error when each model is left out in turn: (n, domains), (n,).

    Left-out errors are residuals over 1 - leverage (Allen 1974)."""
    raw = FEATURES[features](shares)
    mean, spread = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    values = (raw - mean) / scale
    logs = np.log(losses)
    centred = logs - logs.mean()
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    projected = left.T @ centred
    penalties = PENALTIES * len(losses)
    shrunk = singular**2 / (singular**2 + penalties[:, None])
    leverage = shrunk @ (left**2).T + 1 / len(losses)
    missed = (centred - (shrunk * projected) @ left.T) / np.maximum(1 - leverage, 1e-9)
    least = int(np.mean(missed**2, axis=1).argmin())
    coefficients = right.T @ (singular / (singular**2 + penalties[least]) * projected)
    left_out = np.exp(logs - missed[least])
    return Fit(features, float(penalties[least]), left_out, mean, scale, coefficients, float(logs.mean()))


@dataclass(frozen=True)
class Regression:
    """Regressions of one kind for all domains that count, and what they miss of the logarithm of the objective when a
    model is left out: the root of the mean square, the part of the variance explained, and Spearman's correlation."""

    features: str
    fits: tuple[Fit, ...]
    weights: Floats
    error: float
    explained: float
    rank: float

    def predict(self, shares: Floats) -> Floats:
        """The objective for mixtures: (n, domains) -> (n,)."""
        result: Floats = np.stack([fit.predict(shares) for fit in self.fits], axis=1) @ self.weights
        return result


def regression(shares: Floats, losses: Floats, objective: Floats, features: str) -> Regression:
    """The fits for shares (n, domains) and losses (n, domains) of the domains that have a weight in the objective."""
    counted = np.flatnonzero(objective)
    fits = tuple(fit(shares, losses[:, place], features) for place in counted)
    weights = objective[counted]
    wanted = np.log(losses[:, counted] @ weights)
    left_out = np.log(np.stack([each.left_out for each in fits], axis=1) @ weights)
    square = float(np.mean((wanted - left_out) ** 2))
    variance = float(wanted.var())
    explained = 1 - square / variance if variance > 0 else 0.0
    return Regression(features, fits, weights, square**0.5, explained, spearman(wanted, left_out))


def spearman(left: Floats, right: Floats) -> float:
    """Rank correlation of two lists without ties; 0 where all of one are equal."""
    ranks = [np.argsort(np.argsort(each, kind="stable"), kind="stable").astype(np.float64) for each in (left, right)]
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def regressions(shares: Floats, losses: Floats, objective: Floats) -> tuple[Regression, ...]:
    """One regression for each kind of features, best first."""
    return tuple(
        sorted((regression(shares, losses, objective, name) for name in FEATURES), key=lambda each: each.error)
    )


def predicted(used: Sequence[Regression], shares: Floats) -> Floats:
    """The objective for mixtures, (n, domains) -> (n,): the geometric mean of what the regressions say, weighed by the
    inverse squares of their errors."""
    precisions = np.array([1 / max(each.error, 1e-9) ** 2 for each in used])
    logs = np.log(np.stack([each.predict(shares) for each in used], axis=1))
    result: Floats = np.exp(logs @ (precisions / precisions.sum()))
    return result


@dataclass(frozen=True)
class Found:
    """The mean of the mixtures that the regressions rate best: its shares, where those of 95 % of resamples lie, the
    objective it is to have, and the regressions, best first."""

    shares: Floats
    low: Floats
    high: Floats
    predicted: float
    regressions: tuple[Regression, ...]


def best(
    shares: Floats, losses: Floats, objective: Floats, natural: Floats, settings: RegMix, *, chance: Floats
) -> Found:
    """The mixture of least predicted objective, a weighted mean of losses, from the shares and losses of trained
    models: (n, domains) each. `chance` are the losses of a model that knows nothing: (domains,).

    Raises:
        ValueError: a loss is no number above 0.
    """
    wrong = int((~(np.isfinite(losses) & (losses > 0))).sum())
    if wrong:
        raise ValueError(f"{wrong} of {losses.size} losses are no numbers above 0")
    losses = np.minimum(losses, chance)
    used = regressions(shares, losses, objective)
    generator = np.random.default_rng([settings.seed, 2])
    candidates = drawn(natural, settings.draws, settings, generator)
    chosen = _top(used, candidates, settings.top)
    resampled = []
    for _ in range(settings.resamples):
        rows = generator.integers(len(losses), size=len(losses))
        resampled.append(_top(regressions(shares[rows], losses[rows], objective), candidates, settings.top))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return Found(chosen, low, high, float(predicted(used, chosen[None])[0]), used)


def _top(used: Sequence[Regression], candidates: Floats, count: int) -> Floats:
    rated = predicted(used, candidates)
    mean = candidates[np.argpartition(rated, count - 1)[:count]].mean(axis=0)
    shares: Floats = mean / mean.sum()
    return shares
