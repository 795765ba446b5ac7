"""Files of conf/search: the packaged ones, and all problems of a wrong one at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl import config, resources
from etl.errors import ConfigError
from etl.search import corpus
from etl.search.config import Search, Tiers
from etl.search.job import Job, Run
from etl.stages.mix import Mixture, Source
from tests.search import small

FILES = sorted((resources.folder("conf") / "search").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_packaged_searches_can_be_read(path: Path):
    found = config.load(path, Search)
    assert found.name == path.stem
    assert config.find("mixtures", found.mixture).is_file()
    assert config.find("recipes", found.recipe).is_file()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("doremi.step=2", "unknown key 'doremi.step'"),
        ("doremi.smoothing=2", "smoothing is 2, wanted 0 to 1"),
        ("doremi.reference=best", "reference is 'best', wanted one of uniform, natural, given"),
        ("regmix.top=50000", "top is 50000, wanted at most draws = 20000"),
        ("regmix.min_concentration=9", "concentrations are 9 and 5, wanted 0 < min <= max"),
        ("proxy.context=128", "context is 128, the architecture has 64"),
        ("proxy.steps=0", "steps is 0, wanted at least 1"),
        ("comparison_seeds=[1, 1]", "comparison_seeds are \\[1, 1\\], wanted at least 3"),
        ("against={brief: {web: 0.8}}", "shares of against.brief add up to 0.8, wanted 1"),
        ("against={regmix: {web: 1.0}}", "against has the name 'regmix', wanted a plain one besides"),
        ("name=a/b", "name is 'a/b', wanted letters, digits"),
        ("objective={web: -1}", "objective is {'web': -1.0}, wanted weights of which none is below 0"),
        ("tiers={score: language_score, cuts: [0.8, 0.5]}", "cuts are \\[0.8, 0.5\\], wanted at least one, each above"),
    ],
)
def test_a_wrong_search_says_what_was_found_and_wanted(assignment: str, message: str):
    data = config.override(config.read_yaml(config.find("search", "tiny")), [assignment])
    with pytest.raises(ConfigError, match=message):
        config.build(data, Search, origin="tiny.yaml")


def test_a_search_without_methods_and_with_too_few_seeds_names_both():
    data = config.override(
        config.read_yaml(config.find("search", "tiny")), ["doremi=null", "regmix=null", "comparison_seeds=[7]"]
    )
    with pytest.raises(ConfigError, match=r"both left out.*comparison_seeds are"):
        config.build(data, Search, origin="tiny.yaml")


def test_tiers_cut_a_source_into_ranges_that_leave_no_row_out():
    source = Source("web", "language = 'en'", share=0.6)
    low, middle, high = Tiers("language_score", (0.5, 0.9)).split(source)
    assert [each.name for each in (low, middle, high)] == ["web, below 0.5", "web, 0.5 to 0.9", "web, from 0.9"]
    assert low.where == "(language = 'en') AND ((language_score) < 0.5 OR (language_score) IS NULL)"
    assert middle.where == "(language = 'en') AND (language_score) >= 0.5 AND (language_score) < 0.9"
    assert high.where == "(language = 'en') AND (language_score) >= 0.9"
    assert [each.share for each in (low, middle, high)] == pytest.approx([0.2] * 3)


def test_tiers_leave_other_sources_whole_and_refuse_unknown_ones():
    mixture = Mixture("both", (Source("web", share=0.5), Source("code", share=0.5)))
    tiers = Tiers("language_score", (0.5,), sources=("web",))
    cut = corpus.split(mixture, tiers)
    assert [source.name for source in cut.sources] == ["web, below 0.5", "web, from 0.5", "code"]
    with pytest.raises(ConfigError, match=r"tiers.sources names \['books'\], wanted some of the sources"):
        corpus.split(mixture, Tiers("language_score", (0.5,), sources=("books",)))


def test_a_job_names_all_that_is_wrong_with_its_runs():
    runs = (Run("a", (1.0,), 1, reference="b"), Run("a", (1.0,), 1))
    with pytest.raises(ValueError, match=r"'a' has reference 'b'.*doremi is missing.*'a' is there twice.*batch is 12"):
        Job(small.PROXY, runs, "hash", world_size=5)
