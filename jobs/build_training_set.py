"""Draw a training set from the corpus, in a fixed order, with a manifest.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/build_training_set.py --warehouse DIR --mixture web
"""

from collections.abc import Sequence

from etl import job, pipeline


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [pipeline.build_training_set], argv)


if __name__ == "__main__":
    main()
