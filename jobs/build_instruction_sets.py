"""Draw sets of examples and of preference pairs from instruction data, each with its held-out part and a manifest.

Usage:
    python jobs/build_instruction_sets.py --warehouse DIR --collection FILE
"""

from collections.abc import Sequence

from etl import alignment


def main(argv: Sequence[str] | None = None) -> None:
    alignment.main(__doc__, [alignment.build_instruction_sets], argv)


if __name__ == "__main__":
    main()
