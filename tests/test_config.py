"""Configuration: checked whole, before Spark starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl import config, resources
from etl.errors import ConfigError
from etl.pipeline import PipelineConfig
from etl.stages.curate import Recipe
from etl.stages.mix import Mixture


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("recipes: fineweb\ncrawl: 7\nextract: {engine: lynx}\ningest: {keep_payload: 'yes', max: 1}\n")
    with pytest.raises(ConfigError) as error:
        config.load(path, PipelineConfig)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "unknown key 'recipes', did you mean 'recipe'?" in message
    assert "'crawl' is 7, wanted a valid string" in message
    assert "extract: engine is 'lynx', wanted one of ['goldenlake', 'resiliparse', 'trafilatura']" in message
    assert "'ingest.keep_payload' is \"yes\", wanted a valid boolean" in message
    assert "unknown key 'ingest.max'" in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not YAML"),
        ("- fineweb", "wanted keys and values, found list"),
        ("recipe: 1.5", "'recipe' is 1.5, wanted a valid string"),
    ],
)
def test_a_file_of_another_form_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        config.load(path, PipelineConfig)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: no such file"):
        config.load(tmp_path / "no.yaml", PipelineConfig)


def test_the_shipped_configuration_is_the_default() -> None:
    assert config.load(resources.folder("conf") / "pipeline.yaml", PipelineConfig) == PipelineConfig()


@pytest.mark.parametrize("path", sorted(resources.folder("conf").glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load(path: Path) -> None:
    assert config.load_extended("recipes", path.stem, Recipe, joined="rules").name == path.stem


@pytest.mark.parametrize("path", sorted(resources.folder("conf").glob("mixtures/*.yaml")), ids=lambda path: path.stem)
def test_shipped_mixtures_load(path: Path) -> None:
    assert config.load(path, Mixture).name == path.stem


def test_assignments_reach_nested_keys() -> None:
    data = config.override({"extract": {"engine": "trafilatura"}}, ["extract.timeout_seconds=2.5", "recipe=c4"])
    assert data == {"extract": {"engine": "trafilatura", "timeout_seconds": 2.5}, "recipe": "c4"}


def test_an_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set recipe: wanted key=value"):
        config.override({}, ["recipe"])


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no recipes file 'fine': .*'fineweb'"):
        config.find("recipes", "fine")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{name: a, signal: words}", "rule 'a' has no bound"),
        ("{name: a, signal: words, min: 1, max: 2}", r"rule 'a' has \['min', 'max'\]"),
        ("{name: a, signal: wurds, min: 1}", "rule 'a' reads 'wurds', which no table of signals has"),
        ("{name: a, signal: words, minimum: 1}", "unknown key 'rules.0.minimum', did you mean 'min'"),
    ],
)
def test_a_wrong_rule_is_explained(tmp_path: Path, rule: str, problem: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\ndescription: d\nsource: s\nrules:\n  - {rule}\n")
    with pytest.raises(ConfigError, match=problem):
        config.load(path, Recipe)


def test_what_is_inherited_can_be_for_some_crawls_alone(tmp_path: Path) -> None:
    bottom, top = tmp_path / "bottom.yaml", tmp_path / "top.yaml"
    bottom.write_text("extends: raw\nname: bottom\nrules: [{name: a, signal: words, min: 1}]\n")
    head = f"extends: {{name: {bottom}, except_crawls: ['code:*']}}\nname: top\n"
    top.write_text(f"{head}rules: [{{name: b, signal: words, max: 9, crawls: ['code:*']}}]\n")
    recipe = config.load_extended("recipes", str(top), Recipe, joined="rules")
    assert [(rule.name, rule.crawls, rule.except_crawls) for rule in recipe.rules] == [
        ("a", None, ("code:*",)),
        ("b", ("code:*",), ()),
    ]
    assert (recipe.name, recipe.duplicates) == ("top", ()), "all but rules as before"
    bottom.write_text("name: bottom\nrules: [{name: a, signal: words, min: 1, except_crawls: [web]}]\n")
    with pytest.raises(ConfigError, match="with except_crawls, which rules of it have already"):
        config.load_extended("recipes", str(top), Recipe, joined="rules")
    bottom.write_text(f"extends: {top}\nname: bottom\nrules: []\n")
    with pytest.raises(ConfigError, match="extends itself, by way of"):
        config.load_extended("recipes", str(top), Recipe, joined="rules")


def test_shares_must_add_up(tmp_path: Path) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text("name: x\ntokens: 10\nsources: [{name: a, share: 0.5}, {name: b, share: 0.4}]\n")
    with pytest.raises(ConfigError, match=r"shares add up to 0\.9, wanted 1"):
        config.load(path, Mixture)
