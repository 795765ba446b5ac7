"""Measure models on benchmarks, item by item, with 95 % intervals.

Usage:
    python jobs/evaluate_model.py --warehouse DIR --model NAME --config demo
"""

from collections.abc import Sequence

from etl.evaluate import run


def main(argv: Sequence[str] | None = None) -> None:
    run.main(__doc__, argv)


if __name__ == "__main__":
    main()
