"""The brief's mixture on a small lake of web pages and collected code, math, books and academic text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from etl import archives, collect, files, pipeline, tables
from etl.pipeline import PipelineConfig
from etl.runner import Runner
from etl.sample import passages
from tests.conftest import runner_on
from tests.kernels.test_texts import MIT

pytestmark = pytest.mark.slow  # a lake is made, from archives to a set

KINDS = ("web", "code", "math", "books", "academic")
CODE = "/* {name} */\nint {name}(int n) {{\n\tint s = {n};\n\twhile (n--) {{ s += n; }}\n\treturn s;\n}}\n\n"
FRENCH = "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison. " * 4


def _written(folder: Path) -> None:
    """Thirty texts of each kind; of the web one is a heap of links, of books one is French."""
    pool = [each for each in passages.pool().passages if each.words > 30]
    prose = [[each.text for each in pool[place : place + 6]] for place in range(0, 720, 6)]
    for kind in KINDS:
        (folder / kind).mkdir()
    (folder / "code" / "LICENSE").write_text(MIT)
    for n in range(30):
        body = "".join(f"<p>{text}</p>" for text in prose[n])
        (folder / "web" / f"{n}.html").write_text(f"<html><title>Page {n}</title><body><article>{body}</article>")
        (folder / "code" / f"f{n}.c").write_text(CODE.format(name="abcdefgh"[n % 8] * (n + 3), n=n) * 3)
    links = "".join(f'<li><a href="/{n}">Go to {n}</a></li>' for n in range(60))
    (folder / "web" / "links.html").write_text(f"<html><title>Links</title><body><main><ul>{links}</ul></main>")
    (folder / "code" / "page.html").write_text(f"<!doctype html>\n<html lang=fr>\n  <p>{FRENCH}\n</html>\n")
    for place, kind in enumerate(("math", "books", "academic"), start=1):
        found = [{"id": n, "text": "\n\n".join(prose[30 * place + n]), "license": "CC-BY-4.0"} for n in range(30)]
        found += [{"id": "fr", "text": FRENCH}] if kind == "books" else []
        (folder / kind / "texts.jsonl").write_text("\n".join(map(json.dumps, found)))


@pytest.fixture(scope="module")
def mixed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The lake, with the recipe and a mixture of the brief."""
    folder = tmp_path_factory.mktemp("kinds")
    _written(folder)
    runner = runner_on(spark, tmp_path_factory.mktemp("lake"), "mixed")
    settings = PipelineConfig(recipe="brief", mixture="brief-optimised", training_set="mixed", scorers=())
    for kind in KINDS:
        written = collect.collect([folder / kind], f"{kind}:test", folder / "archives" / kind).archives
        archives.register(runner, files.resolve([str(path) for path in written], crawl=f"{kind}:test"))
    plan = pipeline.plan(settings)
    for step in pipeline.STEPS:
        step(runner, plan)
    return runner


def test_rules_of_the_web_hit_pages_and_spare_the_rest(mixed: Runner) -> None:
    rows = mixed.lake.read(tables.DISPOSITIONS).where("decision = 'dropped' AND rule != 'record_type'").collect()
    dropped = {(row["url"], row["rule"]) for row in rows if row["rule"] not in ("near_duplicate", "exact_duplicate")}
    assert ("books:test/texts.jsonl/fr", "prose_language") in dropped
    web = {url for url, rule in dropped if not rule.startswith(("prose_", "other_"))}
    assert "web:test/links.html" in web and all(url.startswith("web:test/") for url in web)
    texts = {row["url"]: row["text"] for row in mixed.lake.read(tables.CORPUS).collect()}
    assert texts["code:test/page.html"].startswith("<!doctype html>\n<html lang=fr>\n  <p>Tous"), "code, and as it is"
    assert texts["code:test/f0.c"] == CODE.format(name="aaa", n=0) * 3
    left = mixed.lake.read(tables.DOCUMENTS).where("skipped IS NOT NULL").collect()
    assert {row["url"] for row in left} >= {"books:test/texts.jsonl/fr"}, "left out before extraction, code is not"
    assert not [row["url"] for row in left if row["url"].startswith("code:")]


def test_every_kind_is_in_the_set_with_its_licence(mixed: Runner) -> None:
    rows = mixed.lake.spark.sql(f"SELECT * FROM {mixed.lake.namespace}.mixture_origins WHERE training_set = 'mixed'")
    found = {(row["source"], row["crawl"], row["license"]) for row in rows.collect()}
    assert found == {
        ("web", "web:test", "none"),
        ("code", "code:test", "mit"),
        *((kind, f"{kind}:test", "cc-by-4.0") for kind in ("math", "books", "academic")),
    }
    shares = mixed.lake.read(tables.TRAINING_SETS).where("training_set = 'mixed'").collect()[0]["shares"]
    assert {share["source"]: share["asked_share"] for share in shares}["code"] == 0.2
    # A source ends with the document that would cross its budget. Which one that is hangs on ids, and so on the folder.
    corpus = mixed.lake.read(tables.CORPUS).where("recipe = 'brief'").collect()
    longest = max(row["tokens"] for row in corpus)
    assert all(0 <= share["asked_tokens"] - share["tokens"] < longest for share in shares)
    assert sum(share["tokens"] for share in shares) > longest * len(shares), "the bound is of use"


def test_curation_runs_the_models_that_its_recipe_reads(mixed: Runner, tmp_path: Path) -> None:
    """Nobody has annotated this lake with scores."""
    path = tmp_path / "scored.yaml"
    path.write_text("extends: brief\nname: scored\nrules: [{name: quality, signal: quality.score, min: 0}]\n")
    assert mixed.lake.read(tables.DOCUMENT_SCORES).count() == 0
    pipeline.curate(mixed, pipeline.plan(PipelineConfig(recipe=str(path), scorers=())))
    waiting = mixed.lake.read(tables.DISPOSITIONS).where("recipe = 'scored' AND rule = 'not_scored'")
    corpus = mixed.lake.read(tables.CORPUS)
    assert waiting.count() == 0
    assert corpus.where("recipe = 'scored' AND scores.quality BETWEEN 0 AND 1").count() == (
        corpus.where("recipe = 'brief'").count()
    )
