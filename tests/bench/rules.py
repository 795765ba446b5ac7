"""Decisions and speed of the heuristic rules beside those of datatrove, on any texts.

    python -m tests.bench.rules --jsonl FILE --text-field text [--datatrove PYTHON]

FILE has one object a line, may be gzipped, and may have a key ``id``. Each rule of the recipes
gopher, c4, fineweb and fineweb-2 decides about each text alone, as does the same rule of datatrove;
then each recipe decides as a whole, as does the published chain of filters, and the texts that both
keep are compared. For the first disagreements the document and both values are shown. Rules on
language are left out.

datatrove pins other packages, so it runs in an interpreter of its own, which PYTHON names:

    python -m venv datatrove-env
    datatrove-env/bin/pip install "datatrove[processing]" spacy

Times are CPU times: all signals of all texts here, there the chain of FineWeb, which leaves a text at
the first filter that drops it.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from etl.kernels import lines, quality

ROOT = Path(__file__).parents[2]
OTHER_SIDE = Path(__file__).with_name("rules_datatrove.py")
# Per recipe what its rules are called there, where that is not their own name.
RECIPES: dict[str, dict[str, str]] = {
    "gopher": {},
    "c4": {},
    "fineweb": {
        "c4_sentences": "fineweb_sentences",
        "c4_lorem_ipsum": "fineweb_lorem_ipsum",
        "c4_curly_brackets": "fineweb_curly_brackets",
    },
    "fineweb-2": {
        name: name.replace("fineweb_", "fineweb2_")
        for name in ("fineweb_punctuated_lines", "fineweb_duplicate_line_chars", "fineweb_newlines")
    },
}
LINE_FILTERS: dict[str, Callable[[str], str]] = {
    "none": str,
    "c4": lines.c4_lines,
    "fineweb": lines.fineweb_lines,
}


@dataclass(frozen=True)
class Document:
    name: str
    text: str


def documents(path: Path, field: str, limit: int | None) -> list[Document]:
    """Those of a file with some text; a lone surrogate, which UTF-8 cannot hold, is replaced."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if field not in row:
                raise SystemExit(f"{path}: line {number + 1} has no key {field!r}, but {', '.join(row)}")
            text = str(row[field] or "").encode("utf-8", "replace").decode("utf-8")
            if text and not text.isspace():
                found.append(Document(str(row.get("id", number)), text))
            if len(found) == limit:
                break
    return found


@dataclass(frozen=True)
class Rule:
    """A rule of a recipe on the one signal that it reads."""

    name: str
    signal: str
    min: float | None
    max: float | None

    def drops(self, value: float) -> bool:
        return value < self.min if self.min is not None else value > (self.max or 0)


def rules(recipe: str) -> list[Rule]:
    """The rules of a recipe that read signals of quality, in order."""
    loaded = yaml.safe_load((ROOT / "conf" / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    return [
        Rule(rule["name"], rule["signal"], rule.get("min"), rule.get("max"))
        for rule in loaded["rules"]
        if rule["signal"] in quality.Signals._fields
    ]


def remove_lines(recipe: str) -> Callable[[str], str]:
    loaded = yaml.safe_load((ROOT / "conf" / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    return LINE_FILTERS[loaded["remove_lines"]]


def of_datatrove(python: str, texts: Path, values: Sequence[tuple[int, str]] | None = None) -> list[Any]:
    """What the other side answers, a value a line."""
    request: dict[str, Any] = {"texts": str(texts)}
    if values is not None:
        request["values"] = values
    answer = subprocess.run(
        [python, str(OTHER_SIDE)], input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in answer.stdout.splitlines()]


@dataclass(frozen=True)
class Row:
    """What both sides decided by one rule."""

    rule: Rule
    other: str  # the name of the rule on the other side
    both: int
    differ: list[int]  # which documents
    documents: int


def compare(columns: dict[str, list[float]], theirs: Sequence[dict[str, Any]]) -> list[Row]:
    rows = []
    seen = set()
    for recipe, names in RECIPES.items():
        for rule in rules(recipe):
            other = names.get(rule.name, rule.name)
            if other in seen or other not in theirs[0]["rules"]:
                continue
            seen.add(other)
            decided = [answer["rules"][other] for answer in theirs]
            ours = [rule.drops(value) for value in columns[rule.signal]]
            applies = [index for index, their in enumerate(decided) if their is not None]
            rows.append(
                Row(
                    rule=rule,
                    other=other,
                    both=sum(bool(decided[index]) and ours[index] for index in applies),
                    differ=[index for index in applies if decided[index] != ours[index]],
                    documents=len(applies),
                )
            )
    return rows


def chain_differences(
    recipe: str, some: Sequence[Document], columns: dict[str, list[float]], theirs: Sequence[dict[str, Any]]
) -> tuple[int, list[int], list[int]]:
    """How many documents both keep, which one side alone keeps, and of which both keep another text."""
    of_recipe, line_filter = rules(recipe), remove_lines(recipe)
    both, decision, text = 0, [], []
    for index, document in enumerate(some):
        their = theirs[index]["chains"][recipe]
        is_kept = not any(rule.drops(columns[rule.signal][index]) for rule in of_recipe)
        if is_kept != (their["reason"] is None):
            decision.append(index)
        elif is_kept:
            both += 1
            if line_filter(document.text) != their["text"]:
                text.append(index)
    return both, decision, text


def seconds(texts: Sequence[str], rounds: int) -> float:
    """Best CPU time of all signals over `rounds`; what a process learns about words in one, the next has."""
    quality.batch(texts[:10])
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        quality.batch(texts)
        best = min(best, time.process_time() - start)
    return best


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jsonl", type=Path, required=True)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--documents", type=int, help="only so many")
    parser.add_argument("--datatrove", default=sys.executable, help="an interpreter that has datatrove")
    parser.add_argument("--examples", type=int, default=3, help="disagreements to show for each rule")
    parser.add_argument("--rounds", type=int, default=1, help="times that the signals are measured, for the best")
    options = parser.parse_args(argv)
    some = documents(options.jsonl, options.text_field, options.documents)
    texts = [document.text for document in some]
    own_seconds = seconds(texts, options.rounds)
    columns = quality.batch(texts).to_pydict()
    own = f"goldenlake {len(texts) / own_seconds:,.0f} documents/s/core"
    write(f"{len(texts):,} documents, {sum(map(len, texts)):,} characters")
    if options.datatrove == sys.executable and importlib.util.find_spec("datatrove") is None:
        write(f"{own}; datatrove is not installed here, --datatrove names an interpreter that has it")
        return

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        *theirs, timing = of_datatrove(options.datatrove, path)
        found = compare(columns, theirs)
        # An English tokenizer takes a clause of Chinese or Thai for one word; here letters are words.
        is_unspaced = [lines.is_unspaced(text) for text in texts]
        wanted = [(index, row.other) for row in found for index in row.differ[: options.examples]]
        values = dict(zip(wanted, of_datatrove(options.datatrove, path, wanted) if wanted else [], strict=True))

    write(f"{'rule':34}{'documents':>10}{'agree':>9}{'both drop':>11}{'differ':>8}{'of scripts without spaces':>27}")
    for row in found:
        unspaced = sum(is_unspaced[index] for index in row.differ)
        agree = row.documents - len(row.differ)
        write(f"{row.other:34}{row.documents:10,}{agree:9,}{row.both:11,}{len(row.differ):8,}{unspaced:27,}")
        for index in row.differ[: options.examples]:
            ours, their = columns[row.rule.signal][index], values[index, row.other]
            value = "decided otherwise" if their is None else f"has {round(their, 9):g}"
            write(f"    {some[index].name}: {row.rule.signal} is {ours:g}, datatrove {value}")
    for recipe in ("gopher", "c4", "fineweb"):
        both, decision, text = chain_differences(recipe, some, columns, theirs)
        unspaced = sum(is_unspaced[index] for index in decision + text)
        write(
            f"recipe {recipe}: {both:,} kept by both, {len(decision):,} by one alone, {len(text):,} kept with another "
            f"text; {unspaced:,} of these differences in scripts without spaces"
        )
        for index in (decision + text)[: options.examples]:
            write(f"    {some[index].name}: datatrove says {theirs[index]['chains'][recipe]['reason'] or 'kept'}")
    differ = {index for row in found for index in row.differ}
    write(
        f"{len(differ):,} documents with a difference, {sum(not is_unspaced[index] for index in differ):,} unexplained"
    )
    ratio = timing["seconds"] / own_seconds
    write(
        f"{own} for all signals, datatrove {len(texts) / timing['seconds']:,.0f} for FineWeb's chain: {ratio:.1f} times"
    )


if __name__ == "__main__":
    main()
