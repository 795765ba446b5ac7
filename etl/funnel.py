"""The funnel: what came in, what each rule of a recipe dropped, what was kept; and how it looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from etl import config, tables, views
from etl.errors import InputError
from etl.lake import Lake
from etl.stages.curate import Recipe

# Drops that no recipe names, in words. Of the recipe's own rules the words are signal and bound.
REASONS = {
    "forgotten": "the page was taken back out of the lake",
    "unreadable": "the record could not be read or decoded",
    "record_type": "no page by its type: request, metadata, warcinfo, revisit, ...",
    "fetch_status": "the HTTP status is not 200",
    "empty_payload": "the server sent nothing",
    "mime_type": "neither HTML nor plain text",
    "not_extracted": "not extracted yet",
    "not_annotated": "not annotated yet",
    "extract_empty": "no main text was found",
    "extract_timeout": "reading the page took too long",
    "extract_undecodable": "the bytes are text in no encoding",
    "extract_crash": "the extractor crashed on the page",
    "payload_duplicate": "the same bytes as a page that is preferred to it",
    "exact_duplicate": "the same text as a page that is preferred to it",
    "normal_duplicate": "the same words as a page that is preferred to it",
    "near_duplicate": "nearly the text of a page that is preferred to it",
    "semantic_duplicate": "of the same meaning as a page that is preferred to it",
}
STAGE_WORDS = {
    "captures": "crawl",
    "documents": "extraction",
    "document_language": "language",
    "document_quality": "quality",
    "document_tokens": "length",
    "document_contamination": "contamination",
    "duplicate_clusters": "duplicates",
}
_BLOCKS, _SHADE = " ▏▎▍▌▋▊▉█", "░"
_MAX_BAR, _MIN_BAR = 32, 10


@dataclass(frozen=True)
class Step:
    """One rule that dropped something; counts as in the view `funnel`. `share_left` is of the pages."""

    stage: str
    rule: str
    reason: str
    documents_dropped: int
    tokens_dropped: int
    documents_left: int
    tokens_left: int
    share_left: float | None


@dataclass(frozen=True)
class Funnel:
    """What a recipe did to the records of a lake: drops in the order of its checks.

    `pages` are the records whose type can hold one; `corpus_tokens` are what is left of `kept_tokens` after the recipe
    has removed lines; `idle` are the rules of the recipe that dropped nothing; `duplicates` are the methods by which it
    looks for duplicates, None where the recipe is not known. `unmatched` are names of crawls in it that no crawl has.
    """

    recipe: str
    records: int
    pages: int
    tokens: int
    steps: tuple[Step, ...]
    kept: int
    kept_tokens: int
    corpus_tokens: int
    idle: tuple[str, ...]
    duplicates: tuple[str, ...] | None
    unmatched: tuple[str, ...] = ()

    @property
    def no_pages(self) -> int:
        return self.records - self.pages


def applied(lake: Lake, name: str) -> Recipe | None:
    """The recipe that the dispositions in the lake were made with; None when a commit not of ours came after them."""
    metadata = lake.last_metadata(tables.DISPOSITIONS, {"recipe": [name]})
    if metadata is None:
        return None
    return config.build(metadata["params"], Recipe, origin=f"commit of the dispositions of {name}")


def reason(rule: str, recipe: Recipe | None) -> str:
    """Why a rule drops, in words."""
    for each in recipe.rules if recipe is not None else ():
        if each.name == rule:
            return f"{each.signal} {each.wanted()}{each.only()}"
    return REASONS.get(rule, rule)


def detail(row: Row | Mapping[str, Any]) -> str:
    """`detail` of a disposition with its value to four digits; the ledger has all of them."""
    text, value = str(row["detail"] or ""), row["value"]
    return text if value is None else text.replace(str(value), f"{value:.4g}")


def read(lake: Lake, name: str) -> Funnel:
    """The funnel of a recipe.

    Raises:
        InputError: the recipe has decided nothing in this lake; the message lists those that have.
    """
    view = lake.spark.table(f"{lake.namespace}.{views.FUNNEL.name}")
    rows = view.where(F.col("recipe") == name).orderBy("place").collect()
    if not rows:
        known = sorted(row["recipe"] for row in view.select("recipe").distinct().collect())
        raise InputError(f"recipe {name!r} has decided nothing in this lake, known are {known}")
    recipe = applied(lake, name)
    first, *middle, last = rows
    steps = tuple(
        Step(
            row["stage"],
            row["rule"],
            reason(row["rule"], recipe),
            row["documents_dropped"],
            row["tokens_dropped"],
            row["documents_left"],
            row["tokens_left"],
            row["share_left"],
        )
        for row in middle
    )
    corpus = lake.read(tables.CORPUS).where(F.col("recipe") == name).agg(F.sum("tokens").alias("tokens")).head()
    no_pages = sum(step.documents_dropped for step in steps if step.rule == "record_type")
    dropping = {step.rule for step in steps}
    return Funnel(
        recipe=name,
        records=first["documents_left"],
        pages=first["documents_left"] - no_pages,
        tokens=first["tokens_left"],
        steps=steps,
        kept=last["documents_left"],
        kept_tokens=last["tokens_left"],
        corpus_tokens=(corpus and corpus["tokens"]) or 0,
        idle=tuple(rule.name for rule in recipe.rules if rule.name not in dropping) if recipe is not None else (),
        duplicates=recipe.duplicates if recipe is not None else None,
        unmatched=recipe.unmatched(_crawls(lake)) if recipe is not None else (),
    )


def _crawls(lake: Lake) -> list[str]:
    return [row["crawl"] for row in lake.read(tables.WARC_FILES).select("crawl").distinct().collect()]


def show(lake: Lake, recipe: str, console: Console) -> None:
    """Print the funnel of a recipe."""
    draw(read(lake, recipe), console)


def draw(funnel: Funnel, console: Console) -> None:
    """Print a funnel to fit the width of the console; numbers say all that the bars show.

    A bar is what is left of the pages, followed in a lighter shade by what the rule dropped.
    """
    shown = [step for step in funnel.steps if step.rule != "record_type"]
    columns = {
        f"  recipe {funnel.recipe}": [len(step.rule) + 4 for step in shown],
        "dropped": [len(f"-{step.documents_dropped:,}") for step in shown],
        "left": [len(f"{funnel.pages:,}")],
        "share": [len("100.0%")],
    }
    taken = sum(max(len(heading), *lengths, 0) + 2 for heading, lengths in columns.items())
    tokens = max(len("tokens left"), len(f"{funnel.tokens:,}")) + 2
    with_tokens = console.width - taken - tokens >= _MIN_BAR
    width = min(_MAX_BAR, max(_MIN_BAR, console.width - taken - (tokens if with_tokens else 0)))
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in columns:
        grid.add_column(Text(heading), justify="left" if heading.startswith(" ") else "right", no_wrap=True)
    grid.add_column("", no_wrap=True, width=width)
    if with_tokens:
        grid.add_column("tokens left", justify="right", no_wrap=True)

    def add(label: Text, dropped: int, left: int, tokens_left: int, colour: str) -> None:
        bar = _bar(left, dropped, funnel.pages, width, console, colour)
        share = f"{left / funnel.pages:.1%}" if funnel.pages else ""
        numbers = [f"-{dropped:,}" if dropped else "", f"{left:,}", share]
        grid.add_row(label, *numbers, bar, *([f"{tokens_left:,}"] if with_tokens else []))

    add(Text("  pages"), 0, funnel.pages, funnel.tokens, "blue")
    stage = ""
    for step in shown:
        if step.stage != stage:
            stage = step.stage
            grid.add_row(Text(f"  {STAGE_WORDS.get(stage, stage)}", style="dim"))
        add(Text(f"    {step.rule}"), step.documents_dropped, step.documents_left, step.tokens_left, "blue")
    add(Text("  kept", style="bold"), 0, funnel.kept, funnel.kept_tokens, "yellow")
    console.print()
    console.print(grid, highlight=False)
    console.print()
    notes = [f"{funnel.records:,} records were read; {funnel.no_pages:,} hold no page: requests, metadata and the like"]
    if funnel.corpus_tokens != funnel.kept_tokens:
        notes.append(f"{funnel.corpus_tokens:,} tokens are left in the corpus after the recipe has removed lines")
    if funnel.idle:
        notes.append(f"{len(funnel.idle)} more rules of the recipe dropped nothing")
    if funnel.unmatched:
        notes.append(f"no crawl of this lake is named as the recipe says: {', '.join(funnel.unmatched)}")
    for note in notes:
        console.print(f"  {note}", highlight=False, style="dim", soft_wrap=True)


def _bar(left: int, dropped: int, whole: int, width: int, console: Console, colour: str) -> Text:
    """`left` and `dropped` as shares of `whole`, in eighths of a cell where the terminal can draw them."""
    scale = width / whole if whole else 0.0
    end = round((left + dropped) * scale)
    if not console.encoding.lower().startswith("utf"):
        solid = "#" * round(left * scale)
        return Text(solid + "." * (end - len(solid)))
    # What is there at all is seen: an eighth of a cell at least.
    full, rest = divmod(max(round(left * scale * 8), 1 if left else 0), 8)
    bar = Text(_BLOCKS[8] * full + (_BLOCKS[rest] if rest else ""), style=colour)
    return bar.append(_SHADE * (end - len(bar)), style="dim")
