"""Import instruction data, draw sets, train models on them and measure these: all that follows a corpus.

Usage:
    python jobs/align_models.py --warehouse DIR --collection FILE --config conf/alignment.yaml
"""

from collections.abc import Sequence

from etl import alignment


def main(argv: Sequence[str] | None = None) -> None:
    alignment.main(__doc__, alignment.STEPS, argv)


if __name__ == "__main__":
    main()
