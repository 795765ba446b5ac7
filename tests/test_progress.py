"""What a run prints."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table as Grid

from etl.progress import draw


def test_a_table_that_is_wider_than_the_console_loses_nothing() -> None:
    cells = [f"a value of column {number}" for number in range(9)]
    grid = Grid(*cells, box=None)
    log = io.StringIO()
    console = Console(file=log, width=80)
    draw(grid, console)
    (line,) = log.getvalue().splitlines()
    assert line.split() == " ".join(cells).split() and len(line) > console.width == 80
