"""The notebook runs from top to bottom on the finished lake, and is committed as source only."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import nbformat
import pytest

from etl import funnel
from etl.lake import Lake

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "notebooks" / "explore_lake.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


def test_it_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not [cell for cell in code if cell.outputs or cell.execution_count]


def test_it_defines_no_functions(notebook: nbformat.NotebookNode) -> None:
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, defining)]


@pytest.mark.slow
def test_it_runs_and_draws_what_the_lake_holds(
    notebook: nbformat.NotebookNode, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: the kernel is a process of its own with a Spark session of its own."""
    nbclient = pytest.importorskip("nbclient")
    assert lake.warehouse is not None
    monkeypatch.setenv("GOLDENLAKE_WAREHOUSE", lake.warehouse)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONWARNINGS", "error::FutureWarning,error::DeprecationWarning:__main__")
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(PATH.parent))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in each for each in data) == 5
    tables = "\n".join(each.get("text/plain", "") for each in data)
    kept = funnel.read(lake, "fineweb").kept
    assert re.search(rf"\bkept +0 +{kept}\b", tables)
    assert "dropped by recipe fineweb" in "\n".join(output.get("text", "") for output in outputs)
