"""How well scores tell yes from no: the area under the ROC curve, with its interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etl.kernels import intervals

Labels = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Auc(NamedTuple):
    """Area under the ROC curve with its 95 % interval, over `n` texts of which `positives` are labelled yes."""

    value: float
    low: float
    high: float
    n: int
    positives: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}] n {self.n:,} ({self.positives:,} yes)"


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Share of pairs of a yes and a no in which the yes has the higher score; equal scores are half right.

    Raises:
        ValueError: lengths differ, a score is no number, or one of the two labels is missing.
    """
    yes, _, _ = _placements(labels, scores)
    return float(yes.mean())


def auc_interval(labels: ArrayLike, scores: ArrayLike) -> Auc:
    """The AUC with the interval of DeLong, DeLong and Clarke-Pearson 1988, on the scale of log-odds.

    It takes the texts as a sample of their kinds. Where no pair or every pair is right that scale has no value, and
    the interval is Wilson's for the smaller of the two kinds.

    Raises:
        ValueError: as `auc`.
    """
    yes, no, is_yes = _placements(labels, scores)
    value = float(yes.mean())
    count = int(is_yes.sum())
    smaller = min(yes.size, no.size)
    spread = sum(float(part.var(ddof=1)) / part.size for part in (yes, no) if part.size > 1)
    if smaller < 2 or not 0 < value < 1 or spread == 0:
        low, high = intervals.wilson(value * smaller, smaller)
    else:
        middle = math.log(value / (1 - value))
        half = intervals.Z * math.sqrt(spread) / (value * (1 - value))
        low, high = (logistic(middle + side) for side in (-half, half))
    return Auc(value, low, high, is_yes.size, count)


def _placements(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Labels]:
    """Per yes the share of noes below it, and per no the share of yeses above it, equal scores counted half."""
    is_yes, score = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    problems = []
    if is_yes.shape != score.shape or score.ndim != 1:
        raise ValueError(f"labels {is_yes.shape} and scores {score.shape}, wanted two rows of one length")
    if np.isnan(score).any():
        problems.append(f"{int(np.isnan(score).sum()):,} scores are no numbers")
    if is_yes.all() or not is_yes.any():
        problems.append(f"{int(is_yes.sum()):,} of {is_yes.size:,} labels are yes, wanted both kinds")
    if problems:
        raise ValueError("; ".join(problems))
    yes, no = score[is_yes], score[~is_yes]
    above_no, above_yes = _share_below(yes, np.sort(no)), _share_below(no, np.sort(yes))
    return above_no, 1 - above_yes, is_yes


def _share_below(values: Floats, ascending: Floats) -> Floats:
    both = np.searchsorted(ascending, values, "left") + np.searchsorted(ascending, values, "right")
    return np.asarray(both / (2 * ascending.size))


def logistic(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
