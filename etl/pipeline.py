"""The way of the data, step by step. Each step is a job of its own in ``jobs/``; `run_pipeline` is all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from etl import archives, config, files, ledger, sets
from etl.archives import Record
from etl.config import STRICT
from etl.errors import ConfigError
from etl.kernels import language
from etl.runner import Runner
from etl.sets import SetPlan
from etl.stage import NoParams
from etl.stages.annotate import (
    DOCUMENT_LANGUAGE,
    DOCUMENT_PII,
    DOCUMENT_QUALITY,
    DOCUMENT_TOKENS,
    LanguageParams,
    TokenParams,
)
from etl.stages.curate import CORPUS, DISPOSITIONS, CorpusParams, Recipe
from etl.stages.dedup import DUPLICATE_CLUSTERS, EXACT
from etl.stages.extract import DOCUMENTS, ExtractParams
from etl.stages.ingest import CAPTURES, WARC_FILES, IngestParams
from etl.stages.mix import Mixture
from etl.stages.rules import Early
from etl.stages.urls import URL_SIGNALS, UrlParams


@dataclass(frozen=True)
class RecordsFrom:
    """Chosen records: a file that lists them, or a columnar index and a SQL condition; read below `base`."""

    __pydantic_config__ = STRICT

    file: str | None = None
    index: str | None = None
    where: str = "true"
    base: str = files.COMMON_CRAWL

    def __post_init__(self) -> None:
        if (self.file is None) == (self.index is None):
            raise ValueError("records needs either file or index")


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that decides what a run makes. `recipe` and `mixture` name files of ``conf/`` or are paths.

    With `cascade`, pages that the recipe cannot keep are left out before their main text is cut out (`rules.Early`).
    A recipe with other such rules may want pages that were never read, so it makes the extraction be done again.

    `truth` is a file of the embedded sample that says what is right, for the report to score the run against.
    """

    __pydantic_config__ = STRICT

    input: tuple[str, ...] = ()
    crawl: str | None = None
    records: RecordsFrom | None = None
    ingest: IngestParams = field(default_factory=IngestParams)
    urls: UrlParams = field(default_factory=UrlParams)
    extract: ExtractParams = field(default_factory=ExtractParams)
    cascade: bool = True
    language: LanguageParams = field(default_factory=LanguageParams)
    tokens: TokenParams = field(default_factory=TokenParams)
    recipe: str = "fineweb"
    mixture: str = "web"
    training_set: str = "pretrain"
    truth: str | None = None


@dataclass(frozen=True)
class Plan:
    """A configuration with all that it names read and checked, so that no step fails for a file of ``conf/``."""

    config: PipelineConfig
    recipe: Recipe
    mixture: Mixture
    archives: tuple[files.WarcFile, ...]
    records: tuple[Record, ...]


def plan(settings: PipelineConfig) -> Plan:
    """Read the recipe, the mixture and the list of archives.

    Raises:
        ConfigError: a file of ``conf/`` is wrong.
        InputError: an input is missing.
    """
    recipe = config.load(config.find("recipes", settings.recipe), Recipe)
    mixture = config.load(config.find("mixtures", settings.mixture), Mixture)
    found = files.resolve(settings.input, crawl=settings.crawl) if settings.input else []
    settings = replace(settings, urls=settings.urls.pinned(), language=settings.language.pinned())
    _check_languages(recipe, settings)
    if settings.cascade:
        early = replace(settings.extract, cascade=Early.of(recipe.rules), language_model=settings.language.model)
        settings = replace(settings, extract=early)
    listed = settings.records and settings.records.file
    records = archives.read_records(Path(listed)) if listed else []
    return Plan(settings, recipe, mixture, tuple(found), tuple(records))


def _check_languages(recipe: Recipe, settings: PipelineConfig) -> None:
    """Raises ConfigError where the recipe names a language that the model does not know."""
    problems = []
    for rule in recipe.rules:
        names = {*(rule.languages or ()), *rule.by_language}
        if rule.signal == "language":
            names |= {*(rule.one_of or ()), *(rule.none_of or ())}
        unknown = language.unknown(sorted(names), settings.language.model)
        problems += [f"rule {rule.name!r}: {problem}" for problem in unknown]
    if problems:
        raise ConfigError(f"recipe {recipe.name!r}: {'; '.join(problems)}")


def ingest(runner: Runner, plan: Plan) -> None:
    """Archives to `captures` and `warc_files`."""
    archives.register(runner, plan.archives)
    chosen = plan.config.records
    if chosen is not None:
        found = plan.records
        if chosen.index is not None:
            found = tuple(archives.query_records(runner.lake.spark, chosen.index, chosen.where))
        archives.select(runner, found, chosen.base)
    runner.by_file(CAPTURES, plan.config.ingest)
    runner.by_file(WARC_FILES, NoParams())


def extract(runner: Runner, plan: Plan) -> None:
    """`captures` to `documents`, by way of what their addresses say."""
    runner.by_file(URL_SIGNALS, plan.config.urls)
    runner.by_file(DOCUMENTS, plan.config.extract)


def annotate(runner: Runner, plan: Plan) -> None:
    """`documents` to language, quality signals, lengths in tokens, personal data and clusters of duplicates."""
    runner.by_file(DOCUMENT_LANGUAGE, plan.config.language)
    runner.by_file(DOCUMENT_QUALITY, NoParams())
    runner.by_file(DOCUMENT_TOKENS, plan.config.tokens)
    runner.by_file(DOCUMENT_PII, NoParams())
    runner.whole(DUPLICATE_CLUSTERS, NoParams(), {"method": EXACT})


def curate(runner: Runner, plan: Plan) -> None:
    """Annotations to `dispositions` and `corpus` by the recipe, and the ledger checked."""
    part = {"recipe": plan.recipe.name}
    runner.whole(DISPOSITIONS, plan.recipe, part)
    ledger.check(runner.lake, plan.recipe.name)
    runner.whole(CORPUS, CorpusParams(plan.recipe, plan.config.tokens.tokenizer), part)


def build_training_set(runner: Runner, plan: Plan) -> None:
    """`corpus` to a training set and its manifest."""
    tokenizer = plan.config.tokens.tokenizer
    sets.build(runner, SetPlan(plan.config.training_set, "documents", plan.recipe, plan.mixture, tokenizer))


STEPS = (ingest, extract, annotate, curate, build_training_set)
