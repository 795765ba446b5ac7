"""Measure language, quality and length of every document, and find exact duplicates.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/annotate_documents.py --warehouse DIR
"""

from collections.abc import Sequence

from etl import job, pipeline


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [pipeline.annotate], argv)


if __name__ == "__main__":
    main()
