"""Make a training set again from its manifest alone, and compare it with what was made the first time."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from etl import cli, config, job, tables
from etl.errors import InputError
from etl.lake import Lake
from etl.stages.curate import CorpusParams, Recipe, corpus, dispositions
from etl.stages.mix import Mixture, TrainingSetParams, content, training_documents
from etl.tables import Table


@dataclass(frozen=True)
class Comparison:
    """Hashes, documents and tokens of a set as recorded and as made again."""

    training_set: str
    recorded: tuple[str, int, int]
    rebuilt: tuple[str, int, int]

    @property
    def is_equal(self) -> bool:
        return self.recorded == self.rebuilt


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
    recipe = config.build(manifest["recipe"], Recipe, origin="manifest, recipe")
    mixture = config.build(manifest["mixture"], Mixture, origin="manifest, mixture")
    read = {
        table: lake.read(table, manifest["inputs"][table.name])
        for table in tables.ALL
        if _is_annotation(table, manifest)
    }
    decided = dispositions(
        read[tables.CAPTURES],
        read[tables.DOCUMENTS],
        read[tables.DOCUMENT_LANGUAGE],
        read[tables.DOCUMENT_TOKENS],
        read[tables.DOCUMENT_QUALITY],
        read[tables.DUPLICATE_CLUSTERS],
        recipe,
    )
    kept = corpus(
        decided,
        read[tables.DOCUMENTS],
        read[tables.DOCUMENT_LANGUAGE],
        read[tables.DOCUMENT_TOKENS],
        CorpusParams(recipe, manifest["tokenizer"]),
    )
    made = content(training_documents(kept, TrainingSetParams(training_set, recipe.name, mixture))).collect()[0]
    recorded = (row["content_hash"], row["documents"], row["tokens"])
    return Comparison(training_set, recorded, (made["content_hash"], made["documents"], made["tokens"]))


def _is_annotation(table: Table, manifest: dict[str, dict[str, int]]) -> bool:
    return table.name in manifest["inputs"] and table not in (tables.DISPOSITIONS, tables.CORPUS)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("Make a training set again from its manifest and compare it with the recorded one.")
    parser.add_argument("training_set", help="name in training_sets")
    parser.add_argument("--partitions", type=int, help="shuffle partitions to make it with; the result is the same")
    options = parser.parse_args(argv)
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        if options.partitions:
            lake.spark.conf.set("spark.sql.shuffle.partitions", str(options.partitions))
        result = rebuild(lake, options.training_set)
    for word, (content_hash, documents, count) in (("recorded", result.recorded), ("rebuilt", result.rebuilt)):
        sys.stdout.write(f"{word:<9} {content_hash}  {documents:,} documents  {count:,} tokens\n")
    sys.stdout.write("equal\n" if result.is_equal else "different\n")
    if not result.is_equal:
        raise SystemExit(1)
