r"""Run the whole line: archives in, an explained corpus and a training set out, and the report.

Usage:
    spark-submit --properties-file conf/spark/local.conf jobs/run_pipeline.py \
        --input FILES --warehouse DIR --recipe fineweb
"""

from collections.abc import Sequence

from etl import job, pipeline, report


def main(argv: Sequence[str] | None = None) -> None:
    job.run(__doc__, [*pipeline.STEPS, report.tell], argv)


if __name__ == "__main__":
    main()
