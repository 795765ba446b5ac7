r"""Extract the main text of every page that has none yet.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/extract_text.py \
        --warehouse DIR --set extract.engine=resiliparse
"""

from collections.abc import Sequence

from etl import job, pipeline


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [pipeline.extract], argv)


if __name__ == "__main__":
    main()
