r"""Read instruction and preference data into the lake, find copies, and decide by a recipe what is kept.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/import_instructions.py \
        --collection FILE --warehouse DIR --recipe chat
"""

from collections.abc import Sequence

from etl import instruct


def main(argv: Sequence[str] | None = None) -> None:
    instruct.run(__doc__, argv)


if __name__ == "__main__":
    main()
