"""Chosen records and pointers: pages are read by range, and come out as they do from whole archives."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import archives, pipeline, tables
from etl.errors import ConfigError, InputError
from etl.lake import Lake
from etl.pipeline import PipelineConfig, RecordsFrom
from etl.sample import Sample
from etl.stages.ingest import IngestParams
from tests.conftest import runner_on
from tests.range_server import serving

NAME = "crawl-data/CC-MAIN-2099-01/segments/1/warc/a.warc.gz"
SEEN = [column for column in tables.CAPTURES.columns if column not in ("doc_id", "crawl", "warc_filename")]


@pytest.fixture(scope="module")
def store(crawl: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is laid out as Common Crawl's is."""
    root = tmp_path_factory.mktemp("store")
    (root / NAME).parent.mkdir(parents=True)
    (root / NAME).write_bytes(crawl.files[0].read_bytes())
    return root


@pytest.fixture(scope="module")
def pages(lake: Lake) -> DataFrame:
    """The pages of the first archive, as the whole line read them."""
    rows = lake.read(tables.CAPTURES).where("warc_filename LIKE '%-00000.warc.gz' AND warc_record_type = 'response'")
    return rows.withColumn("warc_filename", F.lit(NAME))


def test_records_of_an_index_are_read_by_range(
    spark: SparkSession, pages: DataFrame, store: Path, tmp_path: Path
) -> None:
    index = str(tmp_path / "index")
    columns = ["url", "url_host_name", "fetch_status", *archives.RECORD_COLUMNS]
    pages.select(*columns).write.parquet(index)
    runner = runner_on(spark, tmp_path / "lake", "chosen")
    with serving(store) as (address, requested):
        chosen = RecordsFrom(index=index, where="fetch_status = 200 AND url_host_name LIKE 'd%'", base=address)
        pipeline.ingest(runner, pipeline.plan(PipelineConfig(records=chosen)))
        wanted = pages.where(chosen.where).select(*SEEN)
        found = runner.lake.read(tables.CAPTURES).select(*SEEN)
        assert 0 < wanted.count() == found.count() == len(requested)
        assert found.exceptAll(wanted).isEmpty()
        assert all(span is not None for _, span in requested)
        more = RecordsFrom(index=index, where="fetch_status = 200", base=address)
        pipeline.ingest(runner, pipeline.plan(PipelineConfig(records=more)))
    assert runner.lake.read(tables.CAPTURES).count() == pages.where(more.where).count()
    assert runner.lake.read(tables.WARC_FILES).collect()[0]["records"] == pages.where(more.where).count()


def test_pointers_give_the_same_documents(spark: SparkSession, lake: Lake, crawl: Sample, tmp_path: Path) -> None:
    runner = runner_on(spark, tmp_path / "lake", "pointers")
    pointers = IngestParams(keep_payload=False)
    config = PipelineConfig(input=(str(crawl.files[0]),), crawl="sample", cascade=False, ingest=pointers)
    pipeline.ingest(runner, pipeline.plan(config))
    pipeline.extract(runner, pipeline.plan(config))
    assert runner.lake.read(tables.CAPTURES).where("payload IS NOT NULL").isEmpty()
    whole = lake.read(tables.DOCUMENTS).where("warc_filename LIKE '%-00000.warc.gz'")
    pointed = runner.lake.read(tables.DOCUMENTS)
    assert 0 < whole.count() == pointed.count()
    assert whole.exceptAll(pointed).isEmpty()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_records_are_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    import pandas as pd

    path = tmp_path / f"records.{suffix}"
    frame = pd.DataFrame({"warc_record_length": [5], "warc_filename": ["a"], "warc_record_offset": [7], "url": ["u"]})
    {"csv": lambda: frame.to_csv(path, index=False), "parquet": lambda: frame.to_parquet(path)}.get(
        suffix, lambda: frame.to_json(path, orient="records", lines=True)
    )()
    assert archives.read_records(path) == [("a", 7, 5)]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("r.csv", "warc_filename\na\n", r"r\.csv: columns \['warc_record_offset', 'warc_record_length'\] are missing"),
        ("r.txt", "", r"r\.txt: wanted a file ending in \.csv, \.jsonl, \.parquet"),
        ("r.parquet", "no", r"r\.parquet: cannot be read"),
    ],
)
def test_a_wrong_list_of_records_is_explained(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=problem):
        archives.read_records(tmp_path / name)


def test_records_need_a_file_or_an_index() -> None:
    from etl import config

    with pytest.raises(ConfigError, match="records: records needs either file or index"):
        config.build({"records": {"where": "true"}}, PipelineConfig, origin="options")
