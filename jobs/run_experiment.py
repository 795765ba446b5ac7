"""Train the same small model on data of several recipes at equal compute, and compare: does curation help?

Usage:
    python jobs/run_experiment.py --warehouse DIR curation --set steps=400
"""

from collections.abc import Sequence

from etl import experiment


def main(argv: Sequence[str] | None = None) -> None:
    experiment.main(__doc__, argv)


if __name__ == "__main__":
    main()
