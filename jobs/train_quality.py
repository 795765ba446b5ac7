r"""Train the model that says how likely a careful reader calls a web document good text to train on, and measure it.

Usage:
    python jobs/train_quality.py --labelled labelled.jsonl.gz --pages pages.warc.gz pages.gold.jsonl.gz \
        --good good.jsonl.gz --bad bad.jsonl.gz --out quality.npz
"""

from collections.abc import Sequence

from etl.learn import quality


def main(argv: Sequence[str] | None = None) -> None:
    quality.main(__doc__, argv)


if __name__ == "__main__":
    main()
