"""What a user gets wrong is said before Spark starts: the place, what was found, what was wanted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from etl import cli, config, locks, session
from etl.errors import SessionError

Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must end with status 2 before it asks for a session; its message."""

    def no_session(*_: object) -> None:
        raise AssertionError("Spark was started")

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(session, "connect", no_session)
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run


def test_all_missing_inputs_are_named(refused: Refused, tmp_path: Path) -> None:
    message = refused("run", "--warehouse", tmp_path / "lake", "--input", tmp_path / "a.warc.gz", tmp_path / "*.arc")
    assert f"{tmp_path}/a.warc.gz" in message
    assert f"{tmp_path}/*.arc" in message
    assert not (tmp_path / "lake").exists()


def test_a_wrong_key_is_named(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("recipie: c4\n")
    message = refused("run", "--warehouse", tmp_path, "--config", path)
    assert message == f"goldenlake: {path}: unknown key 'recipie', did you mean 'recipe'?\n"


def test_a_wrong_assignment_is_named(refused: Refused, tmp_path: Path) -> None:
    assert "extract: engine is 'lynx'" in refused("run", "--warehouse", tmp_path, "--set", "extract.engine=lynx")


def test_a_language_that_the_model_does_not_know_is_named_with_the_nearest(refused: Refused, tmp_path: Path) -> None:
    recipe = config.read_yaml(config.find("recipes", "fineweb"))
    recipe["rules"] += [{"name": "german", "signal": "words", "min": 9, "languages": ["deu_Latn"]}]
    path = tmp_path / "german.yaml"
    path.write_text(yaml.safe_dump(recipe))
    message = refused("run", "--warehouse", tmp_path, "--recipe", path)
    assert "recipe 'fineweb': rule 'german': 'deu_Latn' is no language that lid.176.ftz knows" in message
    assert "did you mean 'de'?" in message


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("language.model=missing.bin", "missing.bin"),
        ("urls.lists=[missing/list]", "missing/list"),
        ("extract.repair=all", "repair is 'all', wanted one of none, mojibake, NFC, NFKC"),
    ],
)
def test_what_a_run_needs_is_asked_for_before_it_starts(
    refused: Refused, tmp_path: Path, assignment: str, said: str
) -> None:
    message = refused("run", "--warehouse", tmp_path, "--set", assignment)
    assert said in message
    assert message.startswith("goldenlake: ")


def test_a_list_of_domains_with_odd_lines_is_named_with_all_of_them(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "lists" / "bad"
    folder.mkdir(parents=True)
    (folder / "domains").write_text("good.example\nno domain at all\nhttp://also.bad.example/\n")
    message = refused("run", "--warehouse", tmp_path, "--set", f"urls.lists=[{folder}]")
    assert f"{folder / 'domains'}" in message
    assert "2" in message and "3" in message


def test_personal_data_of_no_kind_is_refused(refused: Refused, tmp_path: Path) -> None:
    recipe = config.read_yaml(config.find("recipes", "fineweb")) | {"mask": ["email", "names"]}
    path = tmp_path / "masked.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert "mask names names, wanted some of email, ip_address, phone, card, iban" in refused(
        "run", "--warehouse", tmp_path, "--recipe", path
    )


def test_a_warehouse_that_cannot_be_written_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refused("curate", "--warehouse", tmp_path / "file" / "lake")
    assert f"{tmp_path}/file/lake: cannot be written: Not a directory" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_warehouse_is_named(refused: Refused, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written: Permission denied" in refused("curate", "--warehouse", tmp_path / "lake")


def test_a_second_run_is_told_to_wait(refused: Refused, tmp_path: Path) -> None:
    with locks.writing(str(tmp_path)):
        message = refused("curate", "--warehouse", tmp_path)
    assert f"{tmp_path}: another run (process {os.getpid()}) is writing it" in message


@pytest.mark.parametrize("command", ["sql", "explain", "report", "rebuild"])
def test_a_question_needs_a_lake(refused: Refused, tmp_path: Path, command: str) -> None:
    arguments = {"sql": ["SELECT 1"], "explain": ["https://a.example/"], "rebuild": ["pretrain"]}.get(command, [])
    assert f"{tmp_path}: there is no lake" in refused(command, "--warehouse", tmp_path, *arguments)


def test_an_unknown_command_lists_those_there_are(refused: Refused) -> None:
    message = refused("clean")
    assert "there is no command 'clean'" in message
    assert "goldenlake explain URL" in message


@pytest.mark.parametrize("command", [*cli.JOBS, *cli.QUESTIONS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    # Those that know no lake.
    others = {
        "train-extractor": "--gold",
        "train-quality": "--labelled",
        "train-toxicity": "--data",
        "collect": "--name",
    }
    assert others.get(command, "--warehouse") in capsys.readouterr().out


def test_a_folder_without_jars_is_named(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="wanted delta-spark and delta-storage jars, found 0 jar files"):
        session.local_settings(session.SessionConfig(jars=str(tmp_path)))


@pytest.mark.parametrize(
    ("spark", "coordinates"),
    [
        ("4.1.4", "io.delta:delta-spark_4.1_2.13:4.4.0"),
        ("4.0.2", "io.delta:delta-spark_2.13:4.0.0"),
        ("3.5.9", "io.delta:delta-spark_2.12:3.3.2"),
    ],
)
def test_the_delta_that_fits_spark_is_asked_for(spark: str, coordinates: str) -> None:
    assert session.delta_coordinates(spark) == coordinates
