"""The shape of the code: imports point one way, and jobs are short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted([*ROOT.glob("etl/**/*.py"), *ROOT.glob("jobs/*.py")])


SHARED = ("etl.errors", "etl.resources", "etl.tables", "etl.stage.", "etl.config", "etl.files", "etl.locks")


def layer(module: str) -> int | None:
    """kernels 0 <- stages 1 <- everything else of etl 2 <- jobs 3; what all may use is None."""
    if module in ("etl", "etl.stage") or module.startswith(SHARED):
        return None
    for prefix, number in (("etl.kernels", 0), ("etl.models", 0), ("etl.stages", 1), ("etl", 2), ("jobs", 3)):
        if module == prefix or module.startswith(f"{prefix}."):
            return number
    return None


def imports(path: Path) -> set[str]:
    """Modules that a file names in its import statements; ``from etl import x`` names etl.x."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    above = {name for name in imports(path) if own is not None and (layer(name) or 0) > own}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernels_know_no_spark(path: Path) -> None:
    if "kernels" in path.parts or path.name == "files.py":
        assert not {name for name in imports(path) if name.split(".")[0] in ("pyspark", "delta")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_stages_use_nothing_that_connect_lacks(path: Path) -> None:
    if "stages" in path.parts:
        source = path.read_text(encoding="utf-8")
        banned = ("sparkContext", "_jvm", ".rdd", "monotonically_increasing_id", ".toArrow(", "F.udf", "arrow_udf")
        assert not [word for word in banned if word in source]


@pytest.mark.parametrize("path", sorted(ROOT.glob("jobs/[a-z]*.py")), ids=lambda path: path.name)
def test_a_job_is_twenty_lines(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 20
