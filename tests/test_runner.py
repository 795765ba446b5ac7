"""The runner: what is up to date is left alone, what is killed is made again, and the books balance."""

from __future__ import annotations

import json
import shutil
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from etl import ledger, locks, pipeline, tables
from etl.errors import ContractError, InputError, LedgerError, WarehouseError
from etl.forget import forget, forget_pages
from etl.lake import Lake
from etl.pipeline import PipelineConfig, Plan
from etl.progress import Reporter
from etl.runner import Runner
from etl.sample import Sample
from etl.stage import NoParams, Stage
from etl.stages.annotate import DOCUMENT_TOKENS, TokenParams
from etl.stages.curate import DISPOSITIONS
from etl.stages.dedup import DUPLICATE_CLUSTERS
from etl.stages.ingest import CAPTURES, IngestParams
from etl.stages.minhash import DUPLICATE_CANDIDATES
from tests.conftest import runner_on

TABLES = [table for table in tables.ALL if table is not tables.STAGE_FILES]


def versions(lake: Lake) -> dict[str, int]:
    return {table.name: lake.version(table) for table in tables.ALL}


def contents(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in an order of their own, for comparing lakes."""
    return {
        table.name: sorted(tuple(map(str, row)) for row in lake.read(table).collect())
        for table in (*TABLES, tables.STAGE_FILES)
    }


@pytest.fixture(scope="module")
def plan(crawl: Sample) -> Plan:
    inputs = tuple(str(path) for path in crawl.files)
    return pipeline.plan(PipelineConfig(input=inputs, crawl="sample", cascade=False))


@pytest.fixture(scope="module")
def own(spark: SparkSession, lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A copy of the finished lake, to be written to."""
    folder = tmp_path_factory.mktemp("own") / "lake"
    shutil.copytree(str(lake.warehouse), folder)
    return Lake(spark, str(folder), "own").open()


@pytest.fixture
def runner(own: Lake) -> Runner:
    return Runner(own, Reporter(own.spark, Console(quiet=True)))


def test_a_second_run_commits_nothing(runner: Runner, plan: Plan) -> None:
    before = versions(runner.lake)
    for step in pipeline.STEPS:
        step(runner, plan)
    assert versions(runner.lake) == before
    assert all(run.skipped for run in runner.reporter.runs)


def test_the_ledger_balances_and_agrees_with_the_sample(lake: Lake, crawl: Sample) -> None:
    records = json.loads(crawl.summary.read_text())
    rows = lake.read(tables.DISPOSITIONS).groupBy("warc_filename").count().collect()
    counted = {row["warc_filename"].removeprefix("sample/"): row["count"] for row in rows}
    assert counted == {name: entry["records"] for name, entry in _files(records).items()}
    assert ledger.check(lake, "fineweb") == sum(counted.values())


def _files(summary: Any) -> dict[str, Any]:
    files: dict[str, Any] = summary["files"]
    return files


# Tables that the way from archives to a corpus leaves empty.
LATER = {
    tables.INSTRUCTION_FILES,
    tables.INSTRUCTIONS,
    tables.PREFERENCES,
    tables.INSTRUCTION_DUPLICATES,
    tables.INSTRUCTION_CONTAMINATION,
    tables.DOCUMENT_CONTAMINATION,
    tables.HOST_ROBOTS,
    tables.DOCUMENT_ROBOTS,
    tables.DOCUMENT_EMBEDDINGS,
    tables.SEMANTIC_CENTROIDS,
    tables.SEMANTIC_PAIRS,
    tables.DOCUMENT_REPEATS,
    tables.INSTRUCTION_DISPOSITIONS,
    tables.TRAINING_EXAMPLES,
    tables.TRAINING_PAIRS,
    tables.MODELS,
    tables.MODEL_STEPS,
    tables.EVALUATIONS,
    tables.EVALUATION_ITEMS,
    tables.EXPERIMENTS,
    tables.TRAINING_BLOCKS,
    tables.TRAINING_PACKINGS,
    tables.DOCUMENT_SENTENCES,
}


def test_every_commit_says_what_made_it(lake: Lake) -> None:
    for table in tables.ALL:
        made = [json.loads(commit.metadata) for commit in lake.commits(table) if commit.operation == "WRITE"]
        assert made or table in LATER
        for metadata in made:
            assert metadata["package"].startswith("goldenlake ")
            assert "stage" in metadata
    last = lake.last_metadata(tables.DISPOSITIONS, {"recipe": ["fineweb"]})
    assert last is not None
    assert set(last["inputs"]) == {
        "captures",
        "url_signals",
        "documents",
        "document_language",
        "document_tokens",
        "document_quality",
        "document_pii",
        "document_contamination",
        "document_robots",
        "document_scores",
        "duplicate_clusters",
    }
    assert last["params"]["name"] == "fineweb"


def test_other_rules_touch_no_annotation(runner: Runner, tmp_path: Path) -> None:
    """A threshold is tried by one cheap stage; the other recipe stands beside the first, whose rows stay."""
    recipe = tmp_path / "longer.yaml"
    recipe.write_text("name: longer\ndescription: d\nsource: s\nrules: [{name: min_words, signal: words, min: 200}]\n")
    lake = runner.lake
    before = versions(lake)
    kept = lake.read(tables.CORPUS).where("recipe = 'fineweb'").count()
    other = pipeline.plan(PipelineConfig(recipe=str(recipe), training_set="longer"))
    pipeline.curate(runner, other)
    pipeline.build_training_set(runner, other)
    changed = {name for name, version in versions(lake).items() if version != before[name]}
    assert changed == {"dispositions", "corpus", "training_documents", "training_sets"}
    assert lake.read(tables.CORPUS).where("recipe = 'fineweb'").count() == kept
    dropped = lake.read(tables.DISPOSITIONS).where("recipe = 'longer' AND rule = 'min_words'")
    assert dropped.where("value >= 200 OR threshold != 200").count() == 0
    assert dropped.count() > 0


def test_rows_without_their_mark_are_made_again(runner: Runner) -> None:
    """What a kill between the commit of the rows and the commit of the mark leaves."""
    before = contents(runner.lake)
    marks = runner.lake.name(tables.STAGE_FILES)
    runner.lake.spark.sql(f"DELETE FROM {marks} WHERE stage = 'document_tokens'")
    runner.by_file(DOCUMENT_TOKENS, TokenParams())
    assert not runner.reporter.runs[-1].skipped
    assert contents(runner.lake) == before


def test_a_result_that_breaks_its_contract_is_not_written(runner: Runner) -> None:
    def document_tokens(documents: DataFrame, _params: NoParams) -> DataFrame:
        return documents.select("doc_id", "warc_filename", F.lit("x").alias("tokenizer"), F.lit("1").alias("tokens"))

    before = runner.lake.version(tables.DOCUMENT_TOKENS)
    broken = Stage(document_tokens, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_TOKENS, version=9)
    with pytest.raises(ContractError, match="document_tokens: 'tokens' is string, the contract says bigint"):
        runner.by_file(broken, NoParams())
    assert runner.lake.version(tables.DOCUMENT_TOKENS) == before


def test_a_ledger_that_does_not_balance_is_an_error(spark: SparkSession, crawl: Sample, tmp_path: Path) -> None:
    runner = runner_on(spark, tmp_path / "lake", "unbalanced")
    plan = pipeline.plan(PipelineConfig(input=(str(crawl.files[0]),), crawl="sample"))
    pipeline.ingest(runner, plan)
    pipeline.curate(runner, plan)
    spark.sql(
        f"DELETE FROM {runner.lake.name(tables.DISPOSITIONS)} WHERE rule = 'record_type' AND detail LIKE '%request'"
    )
    with pytest.raises(LedgerError, match=r"sample/sample-00000\.warc\.gz: \d+ read, \d+ accounted for"):
        ledger.check(runner.lake, "fineweb")


def test_two_archives_of_one_name_are_refused(spark: SparkSession, crawl: Sample, tmp_path: Path) -> None:
    runner = runner_on(spark, tmp_path / "lake", "clash")
    pipeline.ingest(runner, pipeline.plan(PipelineConfig(input=(str(crawl.files[0]),), crawl="c")))
    other = tmp_path / crawl.files[0].name
    other.write_bytes(crawl.files[1].read_bytes())
    with pytest.raises(InputError, match="are both called c/sample-00000"):
        pipeline.ingest(runner, pipeline.plan(PipelineConfig(input=(str(other),), crawl="c")))


def test_a_changed_archive_is_read_again_and_leaves_nothing_stale(
    spark: SparkSession, crawl: Sample, tmp_path: Path
) -> None:
    archive = tmp_path / "in" / "a.warc.gz"
    archive.parent.mkdir()
    archive.write_bytes(crawl.files[0].read_bytes())
    runner = runner_on(spark, tmp_path / "lake", "changing")
    plan = pipeline.plan(PipelineConfig(input=(str(archive),)))
    pipeline.ingest(runner, plan)
    archive.write_bytes(crawl.files[1].read_bytes())
    pipeline.ingest(runner, pipeline.plan(PipelineConfig(input=(str(archive),))))
    fresh = runner_on(spark, tmp_path / "fresh", "fresh")
    pipeline.ingest(fresh, pipeline.plan(PipelineConfig(input=(str(archive),))))
    assert contents(runner.lake) == contents(fresh.lake)


def test_a_forgotten_archive_leaves_the_lake_as_if_it_had_never_been_there(
    lake: Lake, runner: Runner, crawl: Sample
) -> None:
    """Its pages are in no table at once. After a run the others have what they had, and what is made as a whole is what
    its stage makes of them alone: of duplicates, others are kept."""
    first, *others = crawl.files
    own, name = runner.lake, f"sample/{first.name}"
    theirs = own.read(tables.CAPTURES).where(F.col("warc_filename") == name).select("doc_id").localCheckpoint()
    forget(own, [name])
    named = [
        own.read(table).select(F.col(column).alias("doc_id"), F.lit(table.name).alias("table"))
        for table in tables.ALL
        for column in ("doc_id", "left_id", "right_id")
        if column in table.columns
    ]
    assert not reduce(DataFrame.unionByName, named).join(theirs, "doc_id", how="left_semi").head(1)
    with pytest.raises(InputError, match="warc_files has no sample/"):
        forget(own, [name])
    plan = pipeline.plan(PipelineConfig(input=tuple(map(str, others)), crawl="sample", cascade=False))
    for step in pipeline.STEPS:
        step(runner, plan)
    for table in tables.ALL:
        if "warc_filename" in table.slice:
            rest = lake.read(table).where(F.col("warc_filename") != name)
            assert in_order(own.read(table)) == in_order(rest), table.name
    clusters = [(DUPLICATE_CLUSTERS, params, {"method": method}) for method, params in plan.clusters.items()]
    decisions = (DISPOSITIONS, plan.recipe, {"recipe": plan.recipe.name})
    for stage, params, part in ((DUPLICATE_CANDIDATES, plan.minhash, {"method": "minhash"}), *clusters, decisions):
        # Without what a stage remembers of its own rows.
        inputs = [own.read(table).where("false" if table is stage.output else "true") for table in stage.inputs]
        made = stage.transform(*inputs, params).select(*stage.output.columns)
        ((column, value),) = part.items()
        assert in_order(own.read(stage.output).where(F.col(column) == value)) == in_order(made), (stage.name, value)


def test_a_forgotten_page_is_in_no_table_and_the_books_balance(own: Lake, runner: Runner, crawl: Sample) -> None:
    """After the forgotten archive. Of its copies another one is kept; of all others stands what stood."""
    dispositions = own.read(tables.DISPOSITIONS).where("recipe = 'fineweb'")
    copies = dispositions.where("rule = 'exact_duplicate'").select(F.col("duplicate_of").alias("doc_id"))
    page = dispositions.where("decision = 'kept'").join(copies, "doc_id", how="left_semi").orderBy("doc_id").head()
    before = {row["doc_id"]: row["decision"] for row in dispositions.collect()}
    texts = {row["doc_id"]: row["text"] for row in own.read(tables.DOCUMENTS).collect()}
    copied = {doc_id for doc_id, text in texts.items() if text == texts[page["doc_id"]]} - {page["doc_id"]}
    with pytest.raises(InputError, match=r"captures has no https://nowhere.example/ \(1 of 2 pages\)"):
        forget_pages(own, [page["url"], "https://nowhere.example/"], "asked")
    captures = own.read(tables.CAPTURES).where(F.col("url") == page["url"]).count()
    assert forget_pages(own, [page["url"]], "its author asked") == captures > 0
    named = [
        table.name
        for table in tables.ALL
        for column in ("doc_id", "left_id", "right_id")
        if column in table.columns and own.read(table).where(F.col(column) == page["doc_id"]).head(1)
    ]
    assert named == ["captures"]
    row = own.read(tables.CAPTURES).where(F.col("doc_id") == page["doc_id"]).head().asDict()
    assert (row["url"], row["payload"], row["content_digest"]) == (None, None, None)
    assert row["ingest_error"] == "forgotten: its author asked" and row["warc_record_offset"] is not None
    plan = pipeline.plan(PipelineConfig(input=tuple(map(str, crawl.files[1:])), crawl="sample", cascade=False))
    for step in pipeline.STEPS:
        step(runner, plan)
    after = {row["doc_id"]: row for row in own.read(tables.DISPOSITIONS).where("recipe = 'fineweb'").collect()}
    assert ledger.check(own, "fineweb") == len(before) == len(after)
    found = after[page["doc_id"]]
    assert (found["decision"], found["rule"], found["url"]) == ("dropped", "forgotten", None)
    assert found["detail"] == "ingest_error is forgotten: its author asked"
    changed = {doc_id for doc_id, decision in before.items() if after[doc_id]["decision"] != decision}
    assert page["doc_id"] in changed and len(changed & copied) == 1, "one of its copies is kept in its place"
    assert not own.read(tables.TRAINING_DOCUMENTS).where(F.col("doc_id") == page["doc_id"]).head(1)


def test_an_archive_read_anew_brings_no_forgotten_page_back(own: Lake, runner: Runner) -> None:
    """After the forgotten page. Other params have all archives read again."""
    before = in_order(own.read(tables.CAPTURES))
    assert sum("forgotten: its author asked" in row for row in before) > 0
    commits = len(list(own.commits(tables.CAPTURES)))
    runner.by_file(CAPTURES, IngestParams(max_payload_bytes=31 << 20))
    assert len(list(own.commits(tables.CAPTURES))) == commits + 1
    assert in_order(own.read(tables.CAPTURES)) == before


def in_order(rows: DataFrame) -> list[tuple[str, ...]]:
    return sorted(tuple(map(str, row)) for row in rows.collect())


def test_a_warehouse_has_one_writer(tmp_path: Path) -> None:
    with locks.writing(str(tmp_path / "lake")):
        second = locks.writing(str(tmp_path / "lake"))
        with pytest.raises(WarehouseError, match=r"another run \(process \d+\) is writing it"):
            second.__enter__()
    with locks.writing(str(tmp_path / "lake")):
        pass


def test_a_namespace_is_one_lake_in_a_session(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=f"finished is the lake at .* open {tmp_path} under another namespace"):
        Lake(spark, str(tmp_path), lake.namespace).open()


def test_a_lake_of_other_columns_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.format("delta").save(str(tmp_path / "corpus"))
    with pytest.raises(ContractError, match=r"made by another version of goldenlake.*'id' is not in the contract"):
        Lake(spark, str(tmp_path), "strange").open()
