r"""Train a fastText classifier on two sides of a lake, and choose the threshold that keeps a share.

Usage:
    python jobs/train_classifier.py --warehouse DIR --name wiki_like --output models \
        --positives "SELECT text FROM documents WHERE url_host_name LIKE '%.wikipedia.org'" \
        --negatives "SELECT text, url_host_name FROM documents WHERE text IS NOT NULL" --keep-share 0.1
"""

from collections.abc import Sequence

from etl.learn import fasttext_classifier


def main(argv: Sequence[str] | None = None) -> None:
    fasttext_classifier.main(__doc__, argv)


if __name__ == "__main__":
    main()
