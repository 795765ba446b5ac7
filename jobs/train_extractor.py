r"""Train the model that finds the main content of a page, and measure it on hosts that it never saw.

Usage:
    python jobs/train_extractor.py --warc wcxb_dev.warc.gz --gold wcxb_dev.gold.jsonl.gz --out content.npz
"""

from collections.abc import Sequence

from etl.learn import content


def main(argv: Sequence[str] | None = None) -> None:
    content.main(__doc__, argv)


if __name__ == "__main__":
    main()
