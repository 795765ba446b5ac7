"""Notebooks run from top to bottom on the finished lake, and are committed as source only."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path

import nbformat
import pytest

from etl import funnel, planner, tables
from etl.lake import Lake

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def test_it_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not [cell for cell in code if cell.outputs or cell.execution_count]


def test_it_defines_no_functions(notebook: nbformat.NotebookNode) -> None:
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, defining)]


def executed(name: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[nbformat.NotebookNode]:
    """The outputs of a notebook that was run on a lake, without an error or a warning."""
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert lake.warehouse is not None
    monkeypatch.setenv("GOLDENLAKE_WAREHOUSE", lake.warehouse)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONWARNINGS", "error::FutureWarning,error::DeprecationWarning:__main__")
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(ROOT / "notebooks"))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    return outputs


@pytest.mark.slow
def test_it_draws_what_the_lake_holds(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: the kernel is a process of its own with a Spark session of its own."""
    outputs = executed("explore_lake", lake, monkeypatch)
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in each for each in data) == 5
    tables = "\n".join(each.get("text/plain", "") for each in data)
    kept = funnel.read(lake, "fineweb").kept
    assert re.search(rf"\bkept +0 +{kept}\b", tables)
    assert "dropped by recipe fineweb" in "\n".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_it_shows_what_thresholds_keep(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Slow: as above. Labels are made up: of every second page they say that it is good."""
    urls = [row["url"] for row in lake.read(tables.CORPUS).orderBy("url").select("url").limit(40).collect()]
    labels = tmp_path / "labels.jsonl"
    rows = [{"url": url, "label": "good" if place % 2 else "bad"} for place, url in enumerate(urls)]
    labels.write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("GOLDENLAKE_LABELS", str(labels))
    outputs = executed("score_thresholds", lake, monkeypatch)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    printed = "\n".join(output.get("text", "") for output in outputs)
    assert re.search(r"AUC +0\.\d+ .* n 40 \(20 yes\)", printed)
    assert re.search(r"^dropped  0\.\d+  https?://", printed, re.MULTILINE)


@pytest.mark.slow
def test_it_plans_with_what_the_corpus_has(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: as above."""
    outputs = executed("training_plan", lake, monkeypatch)
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in each for each in data) == 2
    tables = "\n".join(each.get("text/plain", "") for each in data)
    documents, tokens = lake.spark.sql(f"SELECT count(*), sum(tokens) FROM {lake.namespace}.corpus").collect()[0]
    assert re.search(rf"\bfineweb +1 +{documents} +{tokens}\b", tables)
    assert all(re.search(rf"\b{name} +{claim}", tables) for name, claim in planner.CLAIMED.items())
