"""How much two texts have in common, counted in words."""

from collections import Counter

from etl.kernels import lines


def word_f1(found: str, wanted: str) -> float:
    """F1 of the words that two texts share, each as often as it occurs in both; words as in `etl.kernels.lines`.

    Two texts without words agree: 1. The order of the words does not matter, nor which text is which.
    """
    left, right = Counter(lines.words(found)), Counter(lines.words(wanted))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0
