"""Domains from a lake: what may be learned from, what is held out, and refusals that say what is missing."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from etl import config, tables
from etl.errors import ConfigError, InputError
from etl.lake import Lake
from etl.search import corpus, run, train
from etl.search.config import Search, Tiers
from etl.search.domains import Domains
from etl.stages.mix import Mixture, Source
from jobs import search_mixture
from tests.conftest import runner_on
from tests.search.small import SEARCH

KINDS = {
    "web": "The shop is open on day {n} and sells bread, milk and {n} eggs for everybody. ",
    "code": "def add_{n}(left, right): return left + right + {n}  # line {n} ",
}
MIXTURE = Mixture(
    "both",
    (Source("web", "url LIKE '%web%'", share=0.5), Source("code", "language = 'code'", share=0.5)),
    held_out=0.3,
)
SETTINGS = dataclasses.replace(SEARCH, recipe="kept", vocab_size=300, domain_tokens=900, held_out_tokens=200)


def made() -> dict[str, list[str]]:
    return {name: [line.format(n=n) * 3 for n in range(40)] for name, line in KINDS.items()}


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A corpus of forty documents of each kind, and as many that another recipe kept."""
    lake = runner_on(spark, tmp_path_factory.mktemp("search"), "search").lake
    values = {
        "crawl": "made",
        "fetch_time": datetime(2026, 1, 1),
        "title": "",
        "url_host_name": "a.example",
        "tokens": 50,
        "stands_for": 1,
    }
    rows = [
        {
            **values,
            "recipe": recipe,
            "doc_id": f"{recipe}-{name}-{n}",
            "url": f"https://a.example/{name}/{n}",
            "text": text if recipe == "kept" else "another recipe",
            "language": name,
            "language_score": n / 40,
            "scores": {},
        }
        for recipe in ("kept", "other")
        for name, of_kind in made().items()
        for n, text in enumerate(of_kind)
    ]
    columns = tables.CORPUS.columns
    frame = spark.createDataFrame([tuple(row[name] for name in columns) for row in rows], tables.CORPUS.schema)
    lake.replace(tables.CORPUS, frame, {"recipe": ["kept", "other"]}, {"slice": {"recipe": ["kept", "other"]}})
    return lake


@pytest.fixture(scope="module")
def found(lake: Lake) -> Domains:
    return corpus.domains(lake.read(tables.CORPUS), SETTINGS, MIXTURE)


def test_domains_of_a_lake_are_the_sources_of_the_mixture(found: Domains):
    assert found.names == ["web", "code"]
    assert [domain.available for domain in found.domains] == [2000, 2000]
    assert [len(domain.train) for domain in found.domains] == [900, 900]
    assert all(0 < len(part) <= 200 for domain in found.domains for part in (domain.validation, domain.test))


def test_what_is_learned_from_is_not_measured_on(lake: Lake):
    learned = corpus.texts(lake.read(tables.CORPUS), SETTINGS, MIXTURE, tokens=10_000)
    held_out = corpus.texts(lake.read(tables.CORPUS), SETTINGS, MIXTURE, tokens=None)
    for name, of_kind in made().items():
        assert not {*learned[name]} & {*held_out[name]}
        assert sorted([*learned[name], *held_out[name]]) == sorted(of_kind)


def test_a_source_that_no_document_fits_is_named_with_its_condition(lake: Lake):
    sources = (*MIXTURE.sources[:1], Source("books", "language = 'book'", share=0.5))
    with pytest.raises(InputError, match=r"search small.*no row fits source 'books' \(where language = 'book'\)"):
        corpus.domains(lake.read(tables.CORPUS), SETTINGS, dataclasses.replace(MIXTURE, sources=sources))


def test_a_condition_that_is_no_sql_is_quoted(lake: Lake):
    sources = (*MIXTURE.sources[:1], Source("books", "genre = 'book'", share=0.5))
    with pytest.raises(InputError, match="source 'books': \"genre = 'book'\" cannot be read"):
        corpus.domains(lake.read(tables.CORPUS), SETTINGS, dataclasses.replace(MIXTURE, sources=sources))


def test_tiers_become_domains_of_their_own(lake: Lake):
    cut = corpus.split(MIXTURE, Tiers("language_score", (0.5,), sources=("web",)))
    assert corpus.available(lake.read(tables.CORPUS), "kept", cut) == {
        "web, below 0.5": 1000,
        "web, from 0.5": 1000,
        "code": 2000,
    }


@pytest.mark.parametrize(
    "mixture",
    [dataclasses.replace(MIXTURE, held_out=0.0), Mixture("one", (Source("web", share=1.0),), held_out=0.1)],
    ids=["nothing held out", "one source"],
)
def test_a_mixture_without_anything_to_measure_or_to_search_is_refused(mixture: Mixture):
    with pytest.raises(ConfigError, match="wanted more than 0 to measure models on, and at least 2 sources"):
        corpus.domains(None, SETTINGS, mixture)  # type: ignore[arg-type]  # refused before the lake is looked at


def tokenized(settings: Search = SETTINGS) -> Domains:
    held_out = {name: of_kind[::-1] for name, of_kind in made().items()}
    return corpus.tokenized(settings, made(), held_out, {"web": 1, "code": 3})


def test_tokens_stand_for_all_the_bytes_of_the_text():
    settings = dataclasses.replace(SETTINGS, domain_tokens=1 << 20, held_out_tokens=1 << 20)
    found = tokenized(settings)
    for domain, of_kind in zip(found.domains, made().values(), strict=True):
        assert found.token_bytes[domain.train].sum() == sum(map(len, of_kind))
        halves = found.token_bytes[domain.validation].sum(), found.token_bytes[domain.test].sum()
        assert sum(halves) == sum(map(len, of_kind))
    assert found.natural.tolist() == [0.25, 0.75]


def test_a_text_of_other_scripts_has_its_bytes_counted_not_its_letters():
    words = {"a": ["Größe 水 "] * 20, "b": ["plain "] * 20}
    found = corpus.tokenized(dataclasses.replace(SETTINGS, domain_tokens=10_000), words, words, {"a": 1, "b": 1})
    assert found.token_bytes[found.domains[0].train].sum() == 20 * len("Größe 水 ".encode())


def test_given_shares_are_known_only_where_the_mixture_says_all():
    assert corpus.shares(MIXTURE) == [0.5, 0.5]
    without = tuple(dataclasses.replace(source, share=None) for source in MIXTURE.sources)
    assert corpus.shares(dataclasses.replace(MIXTURE, sources=without, temperature=2.0)) is None
    assert math.isclose(sum(corpus.shares(corpus.split(MIXTURE, Tiers("language_score", (0.5,)))) or ()), 1)


def test_a_search_of_a_lake_leaves_mixtures_that_can_be_read(found: Domains, tmp_path: Path):
    settings = dataclasses.replace(
        SETTINGS,
        proxy=dataclasses.replace(SETTINGS.proxy, steps=4),
        doremi=dataclasses.replace(SETTINGS.doremi, seeds=(1,)),
        regmix=dataclasses.replace(SETTINGS.regmix, proxies=8),
        objective={},
    )
    place = run.prepared(tmp_path, found, train.train)
    outcome = run.search(place, settings, corpus.shares(MIXTURE))
    report, *written = run.write(place, outcome, settings, MIXTURE, {"version": 1})
    assert report.is_file()
    assert [config.load(path, Mixture).name for path in written] == ["small-doremi", "small-regmix"]


@pytest.mark.slow  # Accelerate starts its processes twice
def test_the_job_finds_a_mixture_in_a_lake_and_keeps_it_in_the_warehouse(lake: Lake, tmp_path: Path):
    settings = dataclasses.replace(
        SETTINGS,
        mixture=str(tmp_path / "both.yaml"),
        proxy=dataclasses.replace(SETTINGS.proxy, steps=4),
        doremi=dataclasses.replace(SETTINGS.doremi, seeds=(1,)),
        regmix=None,
        objective={},
        against={"mostly-web": {"web": 0.9, "code": 0.1}},
    )
    for path, values in ((tmp_path / "both.yaml", MIXTURE), (tmp_path / "small.yaml", settings)):
        plain = json.loads(json.dumps(dataclasses.asdict(values)))
        path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    place = ["--warehouse", str(lake.warehouse), "--namespace", lake.namespace]
    search_mixture.main([str(tmp_path / "small.yaml"), *place, "--set", "name=by-job"])
    folder = Path(str(lake.warehouse)) / run.FOLDER / "by-job"
    said = json.loads((folder / run.REPORT).read_text(encoding="utf-8"))
    assert said["origin"]["version"] == lake.version(tables.CORPUS)
    assert [row["mixture"] for row in said["comparison"]["mixtures"]] == [
        "uniform",
        "natural",
        "given",
        "mostly-web",
        "doremi",
    ]
    assert config.load(folder / "by-job-doremi.yaml", Mixture).name == "by-job-doremi"
