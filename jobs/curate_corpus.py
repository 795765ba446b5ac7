"""Decide by a recipe which documents are kept, and account for every record.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/curate_corpus.py --warehouse DIR --recipe c4
"""

from collections.abc import Sequence

from etl import job, pipeline


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [pipeline.curate], argv)


if __name__ == "__main__":
    main()
