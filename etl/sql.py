"""``goldenlake sql``: ask the lake. One query from the command line, or a prompt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from rich.console import Console
from rich.table import Table

from etl import cli, job, tables, views
from etl.explain import safe
from etl.lake import Lake

PROMPT, MORE = "lake> ", "  ... "


def show(console: Console, rows: DataFrame, limit: int) -> None:
    """Print at most `limit` rows as a table, and say so when there are more."""
    found = rows.limit(limit + 1).collect()
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name, kind in rows.dtypes:
        drawn.add_column(name, justify="right" if kind in ("bigint", "int", "double") else "left", overflow="fold")
    for row in found[:limit]:
        drawn.add_row(*[_cell(value) for value in row])
    console.print(drawn)
    if len(found) > limit:
        console.print(f"... more than {limit} rows; --limit shows more", style="dim")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else safe(str(value))
    return text if len(text) <= 300 else text[:297] + "..."


def _statements() -> Iterator[str]:
    """Statements typed at the prompt, each ended by a semicolon; an empty line or end of input ends the talk."""
    lines: list[str] = []
    while True:
        try:
            line = input(MORE if lines else PROMPT)
        except EOFError:
            return
        if not lines and line.strip().lower() in ("", "exit", "quit"):
            return
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines).rstrip().removesuffix(";")
            lines = []


def ask(lake: Lake, statement: str, console: Console, limit: int) -> bool:
    """Run one statement and print its rows, or the message of its error; true when it ran."""
    try:
        show(console, lake.spark.sql(statement), limit)
    except PySparkException as error:
        console.print(str(error).split("\n\nJVM stacktrace")[0].split(";\n'")[0], style="red", markup=False)
        return False
    return True


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.reading_parser("Ask the tables and views of a lake in SQL.")
    parser.add_argument("query", nargs="?", help="one statement; without it, a prompt")
    parser.add_argument("--limit", type=int, default=100, help="rows to show at most (100)")
    options = parser.parse_args(argv)
    console = Console()
    with job.reported_errors():
        lake = job.open_lake(cli.existing(options))
        with views.using(lake.spark, lake.namespace):
            _talk(lake, options, console)


def _talk(lake: Lake, options: argparse.Namespace, console: Console) -> None:
    """Answer the query of the command line, or those that are typed."""
    if options.query:
        if not ask(lake, options.query, console, options.limit):
            raise SystemExit(1)
        return
    if sys.stdin.isatty():
        import readline  # noqa: F401  gives the prompt a history and line editing

        console.print("tables: " + ", ".join(table.name for table in tables.ALL))
        console.print("views: " + ", ".join(view.name for view in views.ALL))
    for statement in _statements():
        ask(lake, statement, console, options.limit)
