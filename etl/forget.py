"""Take archives back out of a lake: no table has a row of their pages any more, and no text of them.

Tables that are made archive by archive lose the slices; in those that are made as a whole (duplicates, decisions,
corpora, documents of sets) the rows of the pages are deleted. The next run makes the latter again, as if the archives
had never been there: of their duplicates others are kept, and clusters that they held together fall apart. It must not
be given the archives again.

Three things remain. Centroids of embeddings, and models, were trained on what there was. Blocks of tokens keep the
pages until their set is packed again. And files that no version needs any more go when VACUUM is run on the tables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import cli, job, tables
from etl.errors import InputError
from etl.lake import Lake
from etl.tables import Table

logger = logging.getLogger(__name__)

_IDS = ("doc_id", "left_id", "right_id")


def forget(lake: Lake, archives: Sequence[str]) -> int:
    """Delete all rows of these archives; how many records they had. A run that is killed is completed by another.

    Raises:
        InputError: the lake has no such archives; the message names them.
    """
    known = {row[0] for row in lake.read(tables.WARC_FILES).select("warc_filename").collect()}
    unknown = sorted(set(archives) - known)
    if unknown:
        raise InputError(f"warc_files has no {', '.join(unknown)}; known are {len(known):,} archives")
    is_theirs = F.col("warc_filename").isin(*archives)
    gone = lake.read(tables.CAPTURES, lake.version(tables.CAPTURES)).where(is_theirs).select("doc_id")
    records = gone.count()
    part = {"warc_filename": sorted(archives)}
    by_file = [table for table in tables.ALL if "warc_filename" in table.slice and table is not tables.STAGE_FILES]
    for table in tables.ALL:
        if table not in by_file:
            _delete(lake, table, gone)
    # The marks of what is made as a whole stay: by them the next run sees that archives have gone.
    marks = {"stage": [table.name for table in by_file], **part}
    lake.replace(tables.STAGE_FILES, lake.read(tables.STAGE_FILES).where("false"), marks, {"slice": marks})
    # Archives last, so that they can be named again as long as there is anything of them.
    for table in sorted(by_file, key=lambda table: (table is tables.WARC_FILES, table is tables.CAPTURES)):
        lake.replace(table, lake.read(table).where("false"), part, {"slice": part})
        logger.info("%s: forgot %s", table.name, ", ".join(archives))
    return records


def _delete(lake: Lake, table: Table, gone: DataFrame) -> None:
    """Delete rows that name a document of `gone`. The commit is not one of ours, so what made the rows makes them
    again."""
    ids = [name for name in _IDS if name in table.columns]
    if not any(
        lake.read(table).join(gone.withColumnRenamed("doc_id", name), name, "left_semi").head(1) for name in ids
    ):
        return
    is_gone = " OR ".join(f"kept.{name} = gone.doc_id" for name in ids)
    lake.spark.sql(
        f"MERGE INTO {lake.name(table)} AS kept USING {{gone}} AS gone ON {is_gone} WHEN MATCHED THEN DELETE", gone=gone
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("Take archives back out of a lake, with all that is known of their pages.")
    parser.add_argument("archives", nargs="+", help="names in warc_files")
    options = parser.parse_args(argv)
    with job.reported_errors(), job.writer(cli.existing(options)) as runner:
        records = forget(runner.lake, options.archives)
    sys.stdout.write(
        f"forgot {len(options.archives):,} archives with {records:,} records; run the line again without\n"
    )
