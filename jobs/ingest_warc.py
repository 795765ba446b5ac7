r"""Read WARC archives into `captures` and `warc_files`.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/ingest_warc.py \
        --warehouse DIR --input crawl=CC-MAIN-2024-10
"""

from collections.abc import Sequence

from etl import job, pipeline


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [pipeline.ingest], argv)


if __name__ == "__main__":
    main()
