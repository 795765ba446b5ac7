"""Small real models, and a lake whose sets they are trained on."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


import pytest
from pyspark.sql import SparkSession

from etl import alignment, config, sets
from etl.align import run
from etl.alignment import AlignmentConfig
from etl.kernels import tokens
from etl.lake import Lake
from etl.runner import Runner
from etl.sample import instructions
from etl.sets import SetPlan
from etl.stages.curate import Recipe
from etl.stages.mix import Mixture, Source
from tests.align import tiny
from tests.conftest import runner_on


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tiny.Saved:
    """A model of 40,000 random weights in a folder, with a tokenizer that knows ChatML."""
    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def aligned(spark: SparkSession, lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A lake with sets of documents, examples and pairs, and three models of few steps: base, sft and dpo.

    The corpus is that of the finished lake, copied, since tests of models write.
    """
    runner = runner_on(spark, tmp_path_factory.mktemp("aligned"), "aligned")
    from etl import tables

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
