"""The step of group DRO as DoReMi takes it (Xie et al. 2023, algorithm 1), in NumPy.

A step sums each domain's excess loss, how much more a token costs the proxy than the reference, never less than 0;
moves the shares towards the domains that have most of it; and has the proxy learn from each domain as much as its
share says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def excess_sums(losses: ArrayLike, reference: ArrayLike, domains: ArrayLike, count: int) -> tuple[Floats, Floats]:
    """Sum of clipped excess losses and number of tokens per domain: (rows, tokens) twice, (rows,) -> (count,) twice.

    Clipped token by token, as in the paper: a token that the reference finds harder makes up for no other.
    """
    excess = np.maximum(np.asarray(losses, dtype=np.float64) - np.asarray(reference, dtype=np.float64), 0.0)
    rows = np.asarray(domains)
    tokens: Floats = np.bincount(rows, minlength=count).astype(np.float64) * excess.shape[1]
    sums = np.bincount(rows, weights=excess.sum(axis=1), minlength=count).astype(np.float64)
    return sums, tokens


def mean_excess(sums: Floats, tokens: Floats) -> Floats:
    """Excess loss per token of each domain; 0 for a domain of which there were none."""
    return np.divide(sums, tokens, out=np.zeros_like(sums), where=tokens > 0)


def updated(shares: Floats, excess: Floats, *, step_size: float, smoothing: float) -> Floats:
    """Shares after one exponentiated-gradient step, mixed with the uniform ones by `smoothing`."""
    with np.errstate(divide="ignore"):  # a share of 0 stays 0
        exponents = np.log(shares) + step_size * excess
    moved = np.exp(exponents - exponents.max())  # the largest is 1, so none overflows
    result: Floats = (1 - smoothing) * moved / moved.sum() + smoothing / len(shares)
    return result


def row_weights(shares: Floats, tokens: Floats, domains: ArrayLike) -> Floats:
    """What the loss of each token of a row is multiplied by, (rows,), so that the sum over all rows is the mean loss
    of each domain times its share."""
    per_token = np.divide(shares, tokens, out=np.zeros_like(shares), where=tokens > 0)
    result: Floats = per_token[np.asarray(domains)]
    return result
