"""Contracts: the CREATE TABLE files are read as they stand, and every stage keeps to them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from etl import resources, tables
from etl.errors import ContractError
from etl.kernels import quality_model
from etl.kernels.benchmarks import BenchmarkFile
from etl.kernels.minhash import Geometry
from etl.stage import Stage
from etl.stages import (
    annotate,
    contamination,
    curate,
    dedup,
    embed,
    extract,
    ingest,
    instruct,
    minhash,
    mix,
    pack,
    repeats,
    robots,
    score,
    semantic,
    sentences,
    urls,
)
from etl.stages.contamination import ContaminationParams, InstructionContaminationParams
from etl.stages.curate import CorpusParams, Preference, Recipe, Repeats
from etl.stages.dedup import ClusterParams
from etl.stages.extract import ExtractParams
from etl.stages.instruct import ImportParams
from etl.stages.instruct_curate import InstructionDispositionParams, InstructionRecipe, InstructionRule
from etl.stages.instruct_dedup import DuplicateParams
from etl.stages.minhash import MinHashParams
from etl.stages.mix import ManifestParams, Mixture, Source, TrainingSetParams
from etl.stages.pack import PackParams
from etl.stages.repeats import LineParams, ParagraphParams, RepeatParams, SubstringParams
from etl.stages.rules import Early, Rule
from etl.stages.score import ScoreParams, Scorer
from etl.stages.semantic import SemanticParams

STAGES = [
    value
    for module in (
        ingest,
        urls,
        extract,
        annotate,
        contamination,
        minhash,
        embed,
        semantic,
        sentences,
        dedup,
        repeats,
        robots,
        score,
        curate,
        mix,
        pack,
        instruct,
    )
    for name in vars(module).values()
    for value in (name.values() if isinstance(name, dict) else (name,))
    if isinstance(value, Stage)
]
RULES = (
    Rule("language", "language", one_of=("en",)),
    Rule("words", "words", min=50, languages=("en",)),
    Rule("length", "text_length", max=1e6),
    Rule("host", "url_host_name", none_of=("bad.example",)),
    Rule("list", "url_list", one_of=("none",)),
    Rule("items", "contaminated_items", max=0),
    Rule("crawlers", "refused_ai", max=0),
    Rule("lines", "lines", max=99, by_language={"de": 50}),
    Rule("quality", "quality.score", min=0.5, by_language={"de": 0.4}),
    Rule("worst", "toxicity.worst", max=0.5, languages=("en",)),
)
RECIPE = Recipe(
    "strict",
    "every kind of rule",
    "these tests",
    RULES,
    duplicates=("payload", "exact", "normal", "minhash", "semantic"),
    survivor=(
        Preference("crawl", first=("a",)),
        Preference("toxicity.score"),
        Preference("tokens", "most"),
        Preference(),
    ),
    remove_lines="c4",
    remove_repeats=Repeats(LineParams(), ParagraphParams(), SubstringParams()),
)
GEOMETRY = Geometry("g", "d", "s")
DRAWN = TrainingSetParams("set", "strict", Mixture("all", (Source("web"),), tokens=100), "collection")
INSTRUCTION_RULES = (
    InstructionRule("language", "language", one_of=("en",)),
    InstructionRule("turns", "turns", max=4),
    InstructionRule("chosen", "chosen_score", min=0, languages=("en",)),
    InstructionRule("rank", "scores.worst_rank", max=0),
)
INSTRUCTION_RECIPE = InstructionRecipe("strict", "every kind of rule", "these tests", INSTRUCTION_RULES)
PARAMS: dict[type[Any], Any] = {
    Recipe: RECIPE,
    ExtractParams: ExtractParams(cascade=Early.of(RULES)),
    CorpusParams: CorpusParams(RECIPE),
    TrainingSetParams: DRAWN,
    ImportParams: ImportParams("collection"),
    DuplicateParams: DuplicateParams("collection"),
    MinHashParams: MinHashParams(GEOMETRY),
    SemanticParams: SemanticParams("model"),
    ScoreParams: ScoreParams(Scorer("quality", "d", "s", quality=quality_model.Settings())),
    RepeatParams: RepeatParams("strict"),
    PackParams: PackParams("set"),
    ClusterParams: ClusterParams("minhash", geometry=GEOMETRY),
    InstructionDispositionParams: InstructionDispositionParams("collection", INSTRUCTION_RECIPE),
}


@pytest.fixture(scope="module", autouse=True)
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stages that look for benchmarks read one when they are planned."""
    path = tmp_path_factory.mktemp("benchmark") / "items.jsonl"
    path.write_text('{"question": "How many of the nine planets that this story names have more than one moon?"}\n')
    files = (BenchmarkFile("planets", str(path), {"question": ("question",)}),)
    PARAMS[ContaminationParams] = ContaminationParams(files).pinned()
    PARAMS[InstructionContaminationParams] = InstructionContaminationParams(files, collection="collection").pinned()


def params_for(stage: Stage) -> Any:
    if stage.params is ManifestParams:
        return ManifestParams(DRAWN, stage.inputs[0].name.removeprefix("training_"), "{}", "", "", "gpt2")
    return PARAMS.get(stage.params) or stage.params()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_output_matches_contract(stage: Stage, spark: SparkSession) -> None:
    """Empty inputs are enough: Spark types the plan without running it."""
    inputs = [spark.createDataFrame([], table.schema) for table in stage.inputs]
    stage.output.check(stage.transform(*inputs, params_for(stage)).schema)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_is_named_for_its_rows(stage: Stage) -> None:
    """`stage_files` and the messages name one thing: the table and the stage that makes it."""
    assert stage.name == stage.output.name


def test_every_contract_is_known() -> None:
    files = {path.stem for path in resources.folder("schemas").glob("*.sql")}
    assert files == {table.name for table in tables.ALL}


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_python_and_spark_read_the_same_columns(table: tables.Table, spark: SparkSession) -> None:
    assert table.schema.fieldNames() == list(table.columns)
    assert all(field.metadata.get("comment") for field in table.schema), "every column says what it holds"


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_statement_runs_as_it_stands(table: tables.Table, spark: SparkSession) -> None:
    spark.sql("CREATE SCHEMA IF NOT EXISTS as_it_stands")
    spark.sql(table.ddl.replace(f"EXISTS {table.name} (", f"EXISTS as_it_stands.{table.name} ("))
    assert spark.table(f"as_it_stands.{table.name}").columns == list(table.columns)


def test_check_names_every_difference(spark: SparkSession) -> None:
    found = StructType(
        [StructField("method", LongType()), StructField("doc_id", StringType()), StructField("lang", StringType())]
    )
    with pytest.raises(ContractError) as error:
        tables.DUPLICATE_CLUSTERS.check(found)
    assert str(error.value) == (
        "duplicate_clusters: 'method' is bigint, the contract says string; 'cluster_id' is missing; "
        "'cluster_size' is missing; 'evidence' is missing; 'lang' is not in the contract"
    )


def test_a_statement_of_another_form_is_refused() -> None:
    with pytest.raises(ContractError, match=r"x\.sql: wanted CREATE TABLE IF NOT EXISTS"):
        tables.parse("CREATE TABLE x (a INT) USING DELTA", origin="x.sql")


def test_a_key_that_is_no_column_is_refused() -> None:
    ddl = tables.STAGE_FILES.ddl.replace("'etl.key' = 'stage, ", "'etl.key' = 'step, ")
    with pytest.raises(ContractError, match=r"x\.sql: etl.key and etl.slice must name columns, found \['step'\]"):
        tables.parse(ddl, origin="x.sql")


def test_fingerprint_changes_with_what_decides_the_rows() -> None:
    stage, params = annotate.DOCUMENT_TOKENS, annotate.TokenParams()
    first = stage.fingerprint(params, "inputs")
    assert stage.fingerprint(annotate.TokenParams(), "inputs") == first
    others = {
        stage.fingerprint(annotate.TokenParams("bytes"), "inputs"),
        stage.fingerprint(params, "other inputs"),
        dataclasses.replace(stage, version=2).fingerprint(params, "inputs"),
    }
    assert len(others | {first}) == 4
