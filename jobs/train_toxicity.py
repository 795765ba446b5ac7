r"""Train the model that says how toxic a text is.

Usage:
    python jobs/train_toxicity.py --data comments.jsonl.gz words.jsonl --out toxicity.npz
"""

from collections.abc import Sequence

from etl.learn import toxicity


def main(argv: Sequence[str] | None = None) -> None:
    toxicity.main(__doc__, argv)


if __name__ == "__main__":
    main()
