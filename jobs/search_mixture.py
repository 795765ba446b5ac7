"""Search for the shares of a mixture's sources with small models, under Accelerate.

Usage:
    python jobs/search_mixture.py --warehouse DIR tiny --set mixture=NAME --set recipe=NAME
    python jobs/search_mixture.py --warehouse DIR small --accelerate gpu
"""

from collections.abc import Sequence

from etl.search import run


def main(argv: Sequence[str] | None = None) -> None:
    run.main(__doc__, argv)


if __name__ == "__main__":
    main()
