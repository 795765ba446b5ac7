"""Models as rows: written once, gone on with, made again from the row alone, and joined to the pages they saw."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl import alignment, cli, config, export, sets, tables, views
from etl.align import data, launch, run
from etl.align import job as jobs
from etl.align import rebuild as rebuilding
from etl.align.config import Optimizer
from etl.align.job import JOB
from etl.alignment import AlignmentConfig
from etl.errors import ConfigError, InputError, TrainingError
from etl.kernels import tokens
from etl.lake import Lake
from etl.runner import Runner
from etl.sample import instructions
from etl.sets import SetPlan
from etl.stages.curate import Recipe
from etl.stages.mix import Mixture, Source
from etl.stages.pack import PackParams
from tests.align import tiny
from tests.conftest import runner_on
from tests.test_readme import MODEL, arguments


@pytest.fixture(scope="module")
def aligned(spark: SparkSession, lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A lake with sets of documents, examples and pairs, and three models of few steps: base, sft and dpo.

    The corpus is that of the finished lake, copied, since tests of models write.
    """
    runner = runner_on(spark, tmp_path_factory.mktemp("aligned"), "aligned")
    copied = lake.read(tables.CORPUS)
    runner.lake.replace(tables.CORPUS, copied, {"recipe": ["fineweb"]}, {"slice": {"recipe": ["fineweb"]}})
    captures = lake.read(tables.CAPTURES)
    names = [row[0] for row in captures.select("warc_filename").distinct().collect()]
    runner.lake.replace(tables.CAPTURES, captures, {"warc_filename": names}, {"slice": {"warc_filename": names}})
    recipe = config.load(config.find("recipes", "fineweb"), Recipe)
    mixture = Mixture("web", (Source("web"),), held_out=0.1)
    sets.build(runner, SetPlan("pretrain", "documents", recipe, mixture, tokens.GPT2))
    made = instructions.write_instructions(tmp_path_factory.mktemp("instructions"), examples=400, pairs=120)
    plan = alignment.plan(AlignmentConfig(collection=str(made.collection)))
    alignment.import_instructions(runner, plan)
    alignment.build_instruction_sets(runner, plan)
    for training in tiny.TRAININGS:
        run.train(runner, training, "cpu")
    return runner


@pytest.mark.parametrize("command", [c for c in arguments("questions") if MODEL in " ".join(c)], ids=" ".join)
def test_questions_about_models_get_answers(
    command: list[str], aligned: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lake of the tests has another preference model than the demo."""
    words = [word.replace("demo-lake", str(aligned.lake.warehouse)).replace(MODEL, "preferences") for word in command]
    cli.main([*words, "--namespace", aligned.lake.namespace])
    assert len(capsys.readouterr().out.splitlines()) > 2


def test_a_row_says_where_a_model_came_from(aligned: Runner) -> None:
    rows = {row["model"]: row for row in aligned.lake.read(tables.MODELS).collect()}
    base, answers, preferences = (rows[name] for name in ("base", "answers", "preferences"))
    assert (base["parent"], answers["parent"], preferences["parent"]) == (None, "base", "answers")
    assert preferences["parent_sha256"] == answers["weights_sha256"] != base["weights_sha256"]
    assert [(each["training_set"], each["is_inherited"]) for each in preferences["training_sets"]] == [
        ("pretrain", True),
        ("sft", True),
        ("preference", False),
    ]
    known = {row["training_set"]: row for row in aligned.lake.read(tables.TRAINING_SETS).collect()}
    for each in preferences["training_sets"]:
        assert each["manifest_hash"] == known[each["training_set"]]["manifest_hash"]
    assert preferences["steps"] == tiny.DPO.max_steps
    assert preferences["metrics"]["first_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert json.loads(preferences["config"])["training"]["preference"]["beta"] == 0.5


def test_what_stands_is_not_trained_again(aligned: Runner) -> None:
    before = aligned.lake.version(tables.MODELS)
    run.train(aligned, tiny.SFT, "cpu")
    assert aligned.reporter.runs[-1].skipped
    run.train(aligned, dataclasses.replace(tiny.SFT, checkpoint_steps=99), "cpu")
    assert aligned.reporter.runs[-1].skipped, "how often it is saved does not decide the weights"
    assert aligned.lake.version(tables.MODELS) == before


def test_the_pages_of_a_model_are_listed(aligned: Runner) -> None:
    pages = aligned.lake.spark.table(f"{aligned.lake.namespace}.{views.MODEL_PAGES.name}")
    own = pages.where("model = 'base'").collect()
    seen = {row["training_set"]: row["rows"] for row in run.find(aligned.lake, "base")["training_sets"]}
    assert len(own) == seen["pretrain"] > 3
    assert {row["position"] for row in own} == set(range(seen["pretrain"]))
    assert all(row["url"] and row["is_as_seen"] and not row["is_inherited"] for row in own)
    inherited = pages.where("model = 'preferences'").collect()
    assert {row["doc_id"] for row in inherited} == {row["doc_id"] for row in own}
    assert all(row["is_inherited"] for row in inherited)


@pytest.mark.slow
def test_all_models_are_made_again_to_the_bit_after_the_tables_were_rearranged(aligned: Runner) -> None:
    """Slow because three models are trained. Without weights on disk the parents are made again first."""
    for table in ("training_documents", "training_examples", "training_pairs"):
        DeltaTable(f"{aligned.lake.warehouse}/{table}").optimize.compact()
    folder = run.models_folder(aligned.lake)
    hidden = folder.rename(folder.with_name("_hidden"))
    try:
        found = rebuilding.rebuild(aligned.lake, "preferences")
    finally:
        hidden.rename(folder)
    assert [each.model for each in found] == ["base", "answers", "preferences"]
    assert all(each.is_equal and not each.changes for each in found)


PACKED = dataclasses.replace(
    tiny.BASE, model="packed", vocab_size=None, packing="bytes", batch=512, micro_batch=64, max_steps=None
)


@pytest.mark.slow
def test_a_packed_set_is_read_to_the_last_token_and_the_model_made_again(aligned: Runner) -> None:
    """Slow because two models are trained, on half a million bytes each."""
    export.pack(aligned, PackParams("pretrain", tokens.BYTES, context=PACKED.context, packing="bytes"))
    run.train(aligned, PACKED, "cpu")
    row = run.find(aligned.lake, "packed")
    packing = aligned.lake.read(tables.TRAINING_PACKINGS).where("packing = 'bytes'").first()
    assert row["tokens"] == packing["tokens"] + packing["separators"]
    assert row["training_sets"][0]["rows"] == packing["documents"]
    assert row["packing"]["content_hash"] == packing["content_hash"]
    steps = aligned.lake.read(tables.MODEL_STEPS).where("model = 'packed'").orderBy("step").collect()
    assert [step["step"] for step in steps] == list(range(row["steps"]))
    assert (steps[0]["loss"], steps[-1]["loss"]) == (row["metrics"]["first_loss"], row["metrics"]["last_loss"])
    assert steps[-1]["tokens"] == row["tokens"]
    run.train(aligned, PACKED, "cpu")
    assert aligned.reporter.runs[-1].skipped
    DeltaTable(f"{aligned.lake.warehouse}/training_blocks").optimize.compact()
    assert all(each.is_equal for each in rebuilding.rebuild(aligned.lake, "packed"))
    part = {"training_set": ["pretrain"], "packing": ["bytes"]}
    fewer = aligned.lake.read(tables.TRAINING_BLOCKS).where("packing = 'bytes' AND block > 0").localCheckpoint()
    aligned.lake.replace(tables.TRAINING_BLOCKS, fewer, part, {"slice": part})
    with pytest.raises(InputError, match=r"training_blocks at version \d+: packing 'bytes' .* pack the set again"):
        run.train(aligned, dataclasses.replace(PACKED, model="other"), "cpu")


def test_a_packing_that_is_not_there_is_refused(aligned: Runner) -> None:
    missing = dataclasses.replace(PACKED, packing="none")
    with pytest.raises(InputError, match=r"'pretrain' is not packed as 'none', known are \[.*\]; goldenlake export"):
        run.train(aligned, missing, "cpu")


def test_weights_that_were_changed_are_not_taken_for_the_parent(aligned: Runner, tmp_path: Path) -> None:
    place = Path(run.find(aligned.lake, "base")["location"])
    shutil.copytree(place, tmp_path / "kept")
    weights = place / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)
    try:
        with pytest.raises(TrainingError, match=r"the weights have SHA-256 .*, wanted"):
            rebuilding.rebuild(aligned.lake, "answers")
    finally:
        shutil.copy(tmp_path / "kept" / "model.safetensors", weights)


def test_a_checkpoint_of_another_configuration_is_refused(aligned: Runner) -> None:
    changed = dataclasses.replace(tiny.SFT, model="other", max_steps=2)
    place = run.models_folder(aligned.lake) / ".other"
    (place / "checkpoint-1").mkdir(parents=True)
    before = run.prepare(aligned.lake, changed, launch.read("cpu")).job
    jobs.write(place, before)
    again = dataclasses.replace(changed, optimizer=Optimizer(lr=0.5), seed=9)
    words = (
        r"checkpoint of another configuration: training\.optimizer\.lr was 0\.003, is 0\.5; training\.seed was 1, is 9"
    )
    with pytest.raises(ConfigError, match=words):
        run.train(aligned, again, "cpu")
    assert (place / JOB).is_file(), "what was begun is left as it was"
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training_set": "none"}, r"no training set 'none', known are \['preference', .*'sft'"),
        ({"training_set": "preference"}, "training set 'preference' has pairs, sft learns from examples"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(aligned: Runner, change: dict[str, str], words: str) -> None:
    with pytest.raises((InputError, ConfigError), match=words):
        run.train(aligned, dataclasses.replace(tiny.SFT, model="wrong", **change), "cpu")


def test_a_model_whose_rows_were_vacuumed_is_not_made_again(aligned: Runner) -> None:
    """The set is built anew with another seed, and the files of the version that the model saw are removed."""
    lake = aligned.lake
    row = run.find(lake, "answers")
    seen = next(each for each in row["training_sets"] if not each["is_inherited"])
    place = f"{lake.warehouse}/training_examples"
    part = {"training_set": ["sft"]}
    current = lake.read(tables.TRAINING_EXAMPLES).where("training_set = 'sft'").localCheckpoint()
    lake.replace(tables.TRAINING_EXAMPLES, current.where(F.col("position") < 3), part, {"slice": part})
    files = {path.name for path in Path(place).glob("*.parquet")}
    try:
        DeltaTable(place).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        assert {path.name for path in Path(place).glob("*.parquet")} < files
        with pytest.raises(InputError, match=r"version \d+ cannot be read"):
            data.read(place, seen["version"], "sft", "examples")
        with pytest.raises(InputError, match=r"training_examples cannot be read at version \d+; VACUUM"):
            rebuilding.rebuild(lake, "answers")
    finally:
        lake.replace(tables.TRAINING_EXAMPLES, current, part, {"slice": part})


def test_an_unknown_model_is_named(aligned: Runner) -> None:
    with pytest.raises(InputError, match="there is no model 'none'"):
        rebuilding.rebuild(aligned.lake, "none")
