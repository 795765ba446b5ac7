"""``goldenlake plan``: how large a model the lake can feed, and what quality costs in quantity. Nothing is written.

From parameters, tokens or operations: the size and tokens that are best by Chinchilla, how many unique and repeated
tokens each threshold on a signal leaves of a recipe's corpus, and the loss that a scaling law predicts for each. The
laws count a token of any text as one token: what better text is worth is what has to be measured, so each row says how
much more a token of it must be worth for the loss of the whole corpus.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from etl import cli, job, tables, threshold
from etl.errors import InputError
from etl.kernels import scaling
from etl.kernels.scaling import GOOD_EPOCHS, LAWS, TOKENS_PER_PARAMETER, Allocation, Law
from etl.lake import Lake
from etl.progress import draw

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
# Quality against quantity in the project's brief, section 10: MMLU of a model of 7 billion parameters, not measured.
CLAIMED = {"all tokens": "140B: 45 %", "high-quality tokens": "140B: 58 %", "more mixed tokens": "280B: 52 %"}


@dataclass(frozen=True)
class Supply:
    """What a threshold leaves of a corpus: documents with at least this value, all of it without one, and tokens."""

    threshold: float | None
    documents: int
    tokens: int

    @property
    def good_tokens(self) -> int:
        """Tokens with the repetitions that cost next to nothing."""
        return GOOD_EPOCHS * self.tokens


@dataclass(frozen=True)
class Prospect:
    """What a model of `parameters` would come to on `tokens` of a supply, as one law has it.

    `worth` is how much more a token of it must be worth than one of the whole corpus for the loss that the planned
    model has on that. `best` is the size and tokens of the lowest loss for the same operations.
    """

    name: str
    supply: Supply
    tokens: float
    effective: float
    loss: float
    worth: float
    best: Allocation

    @property
    def epochs(self) -> float:
        return self.tokens / self.supply.tokens

    @property
    def is_good(self) -> bool:
        """Whether the repetitions cost next to nothing."""
        return self.epochs <= GOOD_EPOCHS


@dataclass(frozen=True)
class Plan:
    """A model to train and what the lake has for it: by threshold, and in the terms of the brief."""

    recipe: str
    signal: str | None
    law: Law
    model: Allocation
    thresholds: tuple[Prospect, ...]
    comparison: tuple[Prospect, ...]

    @property
    def optimum(self) -> Allocation:
        """Size and tokens, all new, that the law finds best for the same operations."""
        return Allocation(*self.law.optimum(self.model.flops))


def plan(
    lake: Lake,
    model: Allocation,
    *,
    recipe: str | None = None,
    signal: str | None = None,
    scores_of: str | None = None,
    at: float | None = None,
    law: Law = scaling.BESIROGLU,
) -> Plan:
    """What the corpus of a recipe can give to a model, by thresholds on a signal (see `etl.threshold.values`).

    High-quality tokens are those from the threshold `at` on, without it from that of the best tenth on, as DCLM has it.

    Raises:
        InputError: there is no such corpus or signal, nothing has a value, or `at` leaves nothing.
    """
    recipe = _recipe(lake, recipe)
    found = supplies(lake, recipe, signal, scores_of, at)
    whole = found[0]

    def prospect(name: str, supply: Supply, tokens: float) -> Prospect:
        flops = scaling.FLOPS * model.parameters * tokens
        return Prospect(
            name,
            supply,
            tokens,
            scaling.effective_tokens(tokens, supply.tokens),
            law.repeated_loss(model.parameters, tokens, supply.tokens),
            scaling.worth_to_reach(law, reference, model.parameters, tokens, supply.tokens),
            Allocation(*law.repeated_optimum(flops, supply.tokens)),
        )

    reference = law.repeated_loss(model.parameters, model.tokens, whole.tokens)
    names = ["all"] + [f"{signal} >= {supply.threshold:.4g}" for supply in found[1:]]
    thresholds = [prospect(name, supply, model.tokens) for name, supply in zip(names, found, strict=True)]
    good = next((each for each in found[1:] if each.threshold == at), found[-1])
    comparison = [prospect("all tokens", whole, model.tokens)]
    if signal is not None:
        comparison.append(prospect("high-quality tokens", good, model.tokens))
    comparison.append(prospect("more mixed tokens", whole, 2 * model.tokens))
    return Plan(recipe, signal, law, model, tuple(thresholds), tuple(comparison))


def _recipe(lake: Lake, recipe: str | None) -> str:
    known = sorted(row["recipe"] for row in lake.read(tables.CORPUS).select("recipe").distinct().collect())
    if recipe in known:
        return str(recipe)
    if recipe is None and len(known) == 1:
        return str(known[0])
    raise InputError(f"wanted the recipe of a corpus in this lake, found {recipe or 'none named'}, known are {known}")


def supplies(
    lake: Lake, recipe: str, signal: str | None = None, scores_of: str | None = None, at: float | None = None
) -> list[Supply]:
    """The corpus of a recipe, then what thresholds on a signal leave of it, from the lowest: tenths, and `at`."""
    corpus = lake.read(tables.CORPUS).where(F.col("recipe") == recipe).select("doc_id", "tokens")
    row = corpus.agg(F.count(F.lit(1)).alias("documents"), F.sum("tokens").alias("tokens")).collect()[0]
    found = [Supply(None, row["documents"], row["tokens"] or 0)]
    if signal is not None:
        values = threshold.values(lake, signal, scores_of).drop("tokens")
        # Key: both have one row per doc_id.
        kept = threshold.kept(values.join(corpus, "doc_id", how="inner"), at)
        found += [Supply(each.threshold, each.documents, each.tokens) for each in kept]
    empty = [f"at least {each.threshold:g}" for each in found[1:] if not each.tokens]
    if len(found) == 1 and signal is not None:
        raise InputError(f"no document of the corpus of {recipe!r} has a value of {signal}")
    if not found[0].tokens or empty:
        of = f" with {signal} {', '.join(empty)}" if empty else ""
        raise InputError(f"the corpus of {recipe!r} has no tokens{of}")
    return found


def number(text: str) -> float:
    """A count as people write it: ``7B``, ``1.4T``, ``5.9e23``."""
    match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)([KMBT]?)", text.strip(), re.IGNORECASE)
    try:
        value = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no count above 0 such as 7B, 140e9 or 1.4T")
    return value


def short(value: float) -> str:
    """A count with three digits and its unit."""
    unit, size = next(((unit, size) for unit, size in reversed(_UNITS.items()) if value >= size), ("", 1.0))
    return f"{value / size:.3g}{unit}" if value < 1e15 else f"{value:.2e}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("How large a model the lake can feed, and what quality costs in quantity.")
    for name, text in (("parameters", "such as 7B"), ("tokens", "such as 140B"), ("flops", "such as 5.9e21")):
        parser.add_argument(f"--{name}", type=number, metavar="N", help=f"of the training run, {text}")
    parser.add_argument("--recipe", help="whose corpus to plan with (that of the lake, where it has one)")
    parser.add_argument("--signal", help="a column of an annotation, such as words, or a score, such as quality.score")
    parser.add_argument("--at", type=float, help="the threshold from which text is of high quality (the best tenth)")
    parser.add_argument("--model", help="of a scorer: the model, such as quality@0123456789ab (that of most scores)")
    parser.add_argument("--law", choices=LAWS, default=scaling.BESIROGLU.name, help="scaling law (besiroglu)")
    options = parser.parse_args(argv)
    try:
        asked = scaling.by_rule(parameters=options.parameters, tokens=options.tokens, flops=options.flops)
    except ValueError as error:
        parser.error(str(error))
    with job.reported_errors():
        found = plan(
            job.open_lake(cli.existing(options)),
            asked,
            recipe=options.recipe,
            signal=options.signal,
            scores_of=options.model,
            at=options.at,
            law=LAWS[options.law],
        )
    show(Console(), found)


def show(console: Console, found: Plan) -> None:
    """Print a plan."""
    model, best = found.model, found.optimum
    console.print(
        f"{short(model.parameters)} parameters, {short(model.tokens)} tokens ({model.tokens / model.parameters:.3g} a "
        f"parameter, {TOKENS_PER_PARAMETER} by rule), {model.flops:.2e} operations\n"
        f"best for these operations by {found.law.name}, all tokens new: {short(best.parameters)} parameters, "
        f"{short(best.tokens)} tokens\n",
        highlight=False,
    )
    draw(_thresholds(found), console)
    draw(_comparison(found), console)
    console.print(
        f"Worth: how much more a token must be worth for the loss of all tokens. Up to {GOOD_EPOCHS} epochs cost next "
        f"to nothing (Muennighoff et al. 2023), and at most {scaling.REPETITION_DECAY + 1:.1f} are worth something. "
        "Losses are for comparison within a law, which takes all text for equally good. Figures of the brief are its "
        "claims, not measured here.",
        style="dim",
        highlight=False,
    )


def _grid(title: str, names: Sequence[str]) -> Grid:
    grid = Grid(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for place, name in enumerate(names):
        grid.add_column(name, justify="right" if place else "left")
    return grid


def _thresholds(found: Plan) -> Grid:
    names = ("text", "documents", "unique tokens", "feeds", f"in {GOOD_EPOCHS} epochs", "epochs", "loss", "best size")
    grid = _grid(f"What the corpus of {found.recipe} has for {short(found.model.tokens)} tokens", names)
    for each in found.thresholds:
        supply = each.supply
        sizes = [short(tokens / TOKENS_PER_PARAMETER) for tokens in (supply.tokens, supply.good_tokens)]
        counts = (f"{supply.documents:,}", f"{supply.tokens:,}", *sizes)
        grid.add_row(each.name, *counts, f"{each.epochs:,.3g}", f"{each.loss:.4f}", short(each.best.parameters))
    return grid


def _comparison(found: Plan) -> Grid:
    names = ("quality or quantity", "tokens", "epochs", "worth as new", "loss", "worth", "brief: MMLU of 7B")
    grid = _grid("", names)
    for each in found.comparison:
        counts = (short(each.tokens), f"{each.epochs:,.3g}", short(each.effective))
        grid.add_row(each.name, *counts, f"{each.loss:.4f}", f"{each.worth:.3g}", CLAIMED[each.name])
    return grid


if __name__ == "__main__":
    main()
