"""What the README says is true: its commands are run, or at least understood, and its tables are all there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from etl import alignment, cli, job, resources, tables
from etl.align import run as training
from etl.evaluate import run as evaluation
from etl.lake import Lake

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.strip()
]


def arguments(program: str) -> list[list[str]]:
    """What follows ``goldenlake`` in the commands that call it, in any way."""
    found = [command[command.index("goldenlake") + 1 :] for command in COMMANDS if "goldenlake" in command]
    return [command for command in found if (command[0] in cli.JOBS) == (program == "jobs")]


MODEL = "tiny-dpo"  # questions about it are put in tests/align/test_run.py, where there are models


@pytest.mark.parametrize("command", [c for c in arguments("questions") if MODEL not in " ".join(c)], ids=" ".join)
def test_questions_get_answers(command: list[str], lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    pages = lake.read(tables.DISPOSITIONS).where("decision = 'kept'").orderBy("doc_id").head(1)
    known = {"demo-lake": str(lake.warehouse), "URL": pages[0]["url"]}
    cli.main([known.get(word, word) for word in command])
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", arguments("jobs"), ids=" ".join)
def test_jobs_are_understood(command: list[str]) -> None:
    read, understand = {
        "align": (alignment.parser, alignment.settings),
        "evaluate": (evaluation.parser, evaluation.chosen_config),
        "train": (training.parser, training.chosen),
    }.get(command[0], (job.parser, job.settings))
    understand(read(None).parse_args(command[1:]))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "spark-submit"], ids=" ".join)
def test_submitted_jobs_are_there(command: list[str]) -> None:
    script = next(word for word in command if word.startswith("jobs/"))
    assert (ROOT / script).is_file()
    assert (ROOT / command[command.index("--properties-file") + 1]).is_file()
    job.settings(job.parser(None).parse_args(command[command.index(script) + 1 :]))


def test_every_table_and_view_is_listed() -> None:
    names = {table.name for table in tables.ALL} | {
        path.stem for path in resources.folder("schemas").glob("views/*.sql")
    }
    assert not {name for name in names if f"`{name}`" not in README}


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert not [link for link in links if not (ROOT / link).exists()]
