"""Make a training set again from its manifest, or a model from its row, and compare it with what was made before."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from etl import cli, config, job, tables
from etl.errors import InputError
from etl.lake import Lake
from etl.stages.curate import CORPUS, DISPOSITIONS, CorpusParams, Recipe
from etl.stages.instruct_curate import INSTRUCTION_DISPOSITIONS, InstructionDispositionParams, InstructionRecipe
from etl.stages.mix import KINDS, ROWS, Mixture, TrainingSetParams, content, training_documents
from etl.tables import Table

_RECIPES: dict[str, type[Any]] = {"documents": Recipe, "examples": InstructionRecipe, "pairs": InstructionRecipe}


@dataclass(frozen=True)
class Comparison:
    """Hashes, documents and tokens of a set as recorded and as made again."""

    training_set: str
    recorded: tuple[str, int, int]
    rebuilt: tuple[str, int, int]

    @property
    def is_equal(self) -> bool:
        return self.recorded == self.rebuilt

    def lines(self) -> list[str]:
        return [
            f"{word:<9} {content_hash}  {rows:,} documents  {tokens:,} tokens"
            for word, (content_hash, rows, tokens) in (("recorded", self.recorded), ("rebuilt", self.rebuilt))
        ]


def rebuild(lake: Lake, training_set: str) -> Comparison:
    """Decide, select, order and hash the set anew from the table versions of its manifest. Writes nothing.

    Raises:
        InputError: there is no such set; the message lists those there are.
    """
    sets = {row["training_set"]: row for row in lake.read(tables.TRAINING_SETS).collect()}
    if training_set not in sets:
        raise InputError(f"there is no training set {training_set!r}, known are {sorted(sets)}")
    row = sets[training_set]
    manifest = json.loads(row["manifest"])
    mixture = config.build(manifest["mixture"], Mixture, origin="manifest, mixture")
    recipe: Any = config.build(manifest["recipe"], _RECIPES[manifest["kind"]], origin="manifest, recipe")
    params = TrainingSetParams(training_set, recipe.name, mixture, manifest["collection"], manifest["held_out"])

    def read(table: Table) -> DataFrame:
        return lake.read(table, manifest["inputs"][table.name])

    if manifest["kind"] == "documents":
        made_of = CorpusParams(recipe, manifest["tokenizer"], manifest.get("scorers", {}))
        rows = _documents(read, made_of, params)
    else:
        rows = _conversations(read, recipe, manifest["kind"], params)
    made = content(rows, KINDS[manifest["kind"]]).collect()[0]
    recorded = (row["content_hash"], row["documents"], row["tokens"])
    return Comparison(training_set, recorded, (made["content_hash"], made["documents"], made["tokens"]))


def _documents(read: Callable[[Table], DataFrame], made_of: CorpusParams, params: TrainingSetParams) -> DataFrame:
    """`training_documents` made from annotations."""
    decided = DISPOSITIONS.transform(*[read(table) for table in DISPOSITIONS.inputs], made_of.recipe)
    annotated = [read(table) for table in CORPUS.inputs if table is not tables.DISPOSITIONS]
    return training_documents(CORPUS.transform(decided, *annotated, made_of), params)


def _conversations(
    read: Callable[[Table], DataFrame], recipe: InstructionRecipe, kind: str, params: TrainingSetParams
) -> DataFrame:
    """`training_examples` or `training_pairs` made from what was imported."""
    decision = InstructionDispositionParams(str(params.collection), recipe)
    decided = INSTRUCTION_DISPOSITIONS.transform(*[read(table) for table in INSTRUCTION_DISPOSITIONS.inputs], decision)
    stage = ROWS[kind]
    return stage.transform(read(stage.inputs[0]), decided, params)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser(
        "Make a training set again from its manifest, or a model from its row, and compare it with the recorded one."
    )
    parser.add_argument("name", help="name in training_sets or in models")
    parser.add_argument("--partitions", type=int, help="shuffle partitions to make a set with; the result is the same")
    options = parser.parse_args(argv)
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        if options.partitions:
            lake.spark.conf.set("spark.sql.shuffle.partitions", str(options.partitions))
        sets, models = (
            {row[column] for row in lake.read(table).select(column).collect()}
            for table, column in ((tables.TRAINING_SETS, "training_set"), (tables.MODELS, "model"))
        )
        if options.name in models:
            from etl.align import rebuild as models_rebuild  # needs the extra align

            comparisons = models_rebuild.rebuild(lake, options.name)
            lines = [line for each in comparisons for line in each.lines()]
            is_equal = all(each.is_equal for each in comparisons)
        elif options.name in sets:
            result = rebuild(lake, options.name)
            lines, is_equal = result.lines(), result.is_equal
        else:
            raise InputError(
                f"there is no training set or model {options.name!r}, known are {sorted(sets)} and {sorted(models)}"
            )
    sys.stdout.write("\n".join([*lines, "equal" if is_equal else "different", ""]))
    if not is_equal:
        raise SystemExit(1)
