"""Training sets of every kind: drawn, counted, and written down so that they can be made again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import etl
from etl import tables
from etl.lake import Lake
from etl.runner import Runner
from etl.stage import digest
from etl.stages.mix import ROWS, TRAINING_SETS, ManifestParams, Mixture, TrainingSetParams
from etl.tables import Table

HELD_OUT = ".held_out"  # ends the name of the part that a mixture keeps away from training

# Tables that are derived from others, by what names their slice.
_DERIVED = (
    tables.CORPUS,
    tables.DISPOSITIONS,
    tables.INSTRUCTIONS,
    tables.PREFERENCES,
    tables.INSTRUCTION_DUPLICATES,
    tables.INSTRUCTION_DISPOSITIONS,
)


@dataclass(frozen=True)
class SetPlan:
    """A set to build: its name and kind (documents, examples, pairs), and what it is drawn from.

    `recipe` is a Recipe or an InstructionRecipe: what chose the rows, written into the manifest as it is.
    """

    name: str
    kind: str
    recipe: Any
    mixture: Mixture
    tokenizer: str
    collection: str | None = None

    @property
    def params(self) -> TrainingSetParams:
        return TrainingSetParams(self.name, self.recipe.name, self.mixture, self.collection)


def build(runner: Runner, plan: SetPlan) -> None:
    """Make the set, and the set of its held-out rows when the mixture has some, each with its manifest.

    Raises:
        InputError: a source of the mixture has no row.
    """
    params = plan.params
    parts = [params]
    if plan.mixture.held_out:
        parts.append(replace(params, training_set=plan.name + HELD_OUT, held_out=True))
    for part in parts:
        runner.whole(ROWS[plan.kind], part, {"training_set": part.training_set})
    # After the rows of both: a manifest is up to date while the table of the rows has no new commit.
    for part in parts:
        manifest = _manifest(runner.lake, plan, part)
        runner.whole(TRAINING_SETS[plan.kind], manifest, {"training_set": part.training_set})


def _manifest(lake: Lake, plan: SetPlan, drawn: TrainingSetParams) -> ManifestParams:
    """The manifest of the set as it stands, with the joint versions of all tables before it."""
    recipe, mixture = asdict(plan.recipe), asdict(plan.mixture)
    part = {"training_set": [drawn.training_set]}
    content: dict[str, Any] = {
        "training_set": drawn.training_set,
        "kind": plan.kind,
        "held_out": drawn.held_out,
        "collection": plan.collection,
        "package": f"goldenlake {etl.__version__}",
        "recipe": recipe,
        "mixture": mixture,
        "tokenizer": plan.tokenizer,
        "scorers": _scorers(lake, plan),
        "inputs": _inputs(lake, ROWS[plan.kind].output, part, plan),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return ManifestParams(drawn, plan.kind, text, digest(recipe), digest(mixture), plan.tokenizer)


def _scorers(lake: Lake, plan: SetPlan) -> dict[str, str]:
    """The models whose scores are in the corpus that a set of documents is drawn from, by scorer."""
    is_drawn = ROWS[plan.kind].inputs[0] is tables.CORPUS
    made = lake.last_metadata(tables.CORPUS, {"recipe": [plan.recipe.name]}) if is_drawn else None
    return dict((made or {}).get("params", {}).get("scorers", {}))


def _inputs(lake: Lake, table: Table, part: dict[str, list[str]], plan: SetPlan) -> dict[str, int]:
    """Version of every table that the slice was made from, as its commits say, back to what was read from outside."""
    derived = {each.name: each for each in _DERIVED}
    slices = {"recipe": plan.recipe.name, "collection": plan.collection}
    metadata = lake.last_metadata(table, part) or {}
    versions: dict[str, int] = dict(metadata.get("inputs", {}))
    for name in [name for name in versions if name in derived]:
        names = {column: [str(slices[column])] for column in derived[name].slice}
        versions |= _inputs(lake, derived[name], names, plan)
    return versions
