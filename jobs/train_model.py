"""Train models on sets of the lake, under Accelerate, and write them down in the table models.

Usage:
    python jobs/train_model.py --warehouse DIR tiny-sft
    python jobs/train_model.py --warehouse DIR sft --set model=NAME --set parent=HUB_ID --accelerate fsdp2
"""

from collections.abc import Sequence

from etl.align import run


def main(argv: Sequence[str] | None = None) -> None:
    run.main(__doc__, argv)


if __name__ == "__main__":
    main()
