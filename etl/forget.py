"""Take archives or single pages back out of a lake: no table has a text of them any more.

Of an archive, tables that are made archive by archive lose the slices; in those that are made as a whole (duplicates,
decisions, corpora, documents of sets) the rows of its pages are deleted. Of a page, all rows go but that of its record
in `captures`, which keeps its place in the archive, when it was fetched, and why it was forgotten, so that the books
balance: its disposition is ``forgotten``. The next run makes again what is made as a whole, as if the pages had never
been there: of their duplicates others are kept, and clusters that they held together fall apart. An archive that is
read anew brings no forgotten page back, as long as the page lies at the same place in it: `captures` knows it by its
row. A forgotten archive that is given again comes back whole, and so does what another archive has of a page; rules on
addresses (`urls` in ``conf/pipeline.yaml``) keep these out.

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
from etl.lake import Lake, sql_string
from etl.stages.ingest import FORGOTTEN, KEPT
from etl.tables import Table

logger = logging.getLogger(__name__)

_IDS = ("doc_id", "left_id", "right_id")  # columns, of any table, that name a document


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


def forget_pages(lake: Lake, pages: Sequence[str], reason: str) -> int:
    """Delete what is known of these pages, named by URL or doc_id; how many records of them there were. All records of
    a URL are meant, of any crawl, requests too, and no copy at another address: `duplicate_clusters` has those. A
    run that is killed is completed by another.

    Raises:
        InputError: `captures` has no such pages; the message names up to ten of them.
    """
    captures = lake.read(tables.CAPTURES, lake.version(tables.CAPTURES))
    named = captures.where(F.col("url").isin(*pages) | F.col("doc_id").isin(*pages)).select("doc_id", "url").collect()
    unknown = sorted(set(pages).difference(*[(row["doc_id"], row["url"]) for row in named]))
    if unknown:
        raise InputError(f"captures has no {', '.join(unknown[:10])} ({len(unknown):,} of {len(set(pages)):,} pages)")
    ids = [row["doc_id"] for row in named]
    gone = lake.spark.createDataFrame([(doc_id,) for doc_id in ids], "doc_id string")
    for table in tables.ALL:
        if table is not tables.CAPTURES:
            _delete(lake, table, gone)
    # Last, so that a page can be named again as long as there is anything of it.
    nothing = [f"{name} = NULL" for name in tables.CAPTURES.columns if name not in KEPT | {"ingest_error"}]
    lake.spark.sql(
        f"UPDATE {lake.name(tables.CAPTURES)} SET {', '.join(nothing)}, "
        f"ingest_error = {sql_string(f'{FORGOTTEN}: {reason}')} WHERE doc_id IN ({', '.join(map(sql_string, ids))})"
    )
    return len(ids)


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
    parser = cli.reading_parser("Take archives or pages back out of a lake, with all that is known of them.")
    parser.add_argument("archives", nargs="*", help="names in warc_files")
    parser.add_argument("--pages", nargs="+", default=[], metavar="PAGE", help="URLs, or doc_ids of captures")
    parser.add_argument("--reason", default="on request", help="why pages are forgotten, for their dispositions")
    options = parser.parse_args(argv)
    if not options.archives and not options.pages:
        parser.error("name archives, or --pages")
    with job.reported_errors(), job.writer(cli.existing(options)) as runner:
        if options.pages:
            records = forget_pages(runner.lake, options.pages, options.reason)
            sys.stdout.write(f"forgot {len(options.pages):,} pages with {records:,} records; run the line again\n")
        if options.archives:
            records = forget(runner.lake, options.archives)
            sys.stdout.write(
                f"forgot {len(options.archives):,} archives with {records:,} records; run the line again without\n"
            )
