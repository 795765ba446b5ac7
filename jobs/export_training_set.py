"""Pack a training set into blocks of tokens, and write them as files for a trainer.

Usage:
    python jobs/export_training_set.py SET --warehouse DIR --format megatron --context 4096 --out FOLDER
"""

from collections.abc import Sequence

from etl import export


def main(argv: Sequence[str] | None = None) -> None:
    export.main(__doc__, argv)


if __name__ == "__main__":
    main()
