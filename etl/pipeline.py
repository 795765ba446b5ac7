"""The way of the data, step by step. Each step is a job of its own in ``jobs/``; `run_pipeline` is all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from etl import archives, config, files, ledger, sets, tables
from etl.archives import Record
from etl.config import STRICT
from etl.errors import ConfigError
from etl.kernels import language
from etl.kernels.benchmarks import BenchmarkList
from etl.kernels.minhash import Geometry
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
from etl.stages.contamination import DOCUMENT_CONTAMINATION, ContaminationParams
from etl.stages.curate import CORPUS, DISPOSITIONS, CorpusParams, Recipe
from etl.stages.dedup import (
    CONNECTED,
    DUPLICATE_CLUSTERS,
    EXACT,
    NORMAL,
    PAYLOAD,
    SEMANTIC,
    STAR,
    ClusterParams,
)
from etl.stages.embed import DOCUMENT_EMBEDDINGS, EmbedParams
from etl.stages.extract import DOCUMENTS, ExtractParams
from etl.stages.ingest import CAPTURES, WARC_FILES, IngestParams
from etl.stages.minhash import (
    DOCUMENT_MINHASH,
    DUPLICATE_CANDIDATES,
    DUPLICATE_PAIRS,
    MINHASH,
    MinHashParams,
    is_of_geometry,
)
from etl.stages.mix import Mixture
from etl.stages.repeats import DOCUMENT_REPEATS, RepeatParams
from etl.stages.robots import DOCUMENT_ROBOTS, HOST_ROBOTS
from etl.stages.rules import Early
from etl.stages.score import ALL, DOCUMENT_SCORES, SURVIVORS, ScoreParams, Scorer
from etl.stages.semantic import SEMANTIC_CENTROIDS, SEMANTIC_PAIRS, SemanticParams
from etl.stages.urls import URL_SIGNALS, UrlParams

MIN_COSINE = 0.9  # of pairs that are kept, so that clusters can be tried at any similarity above


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
class DuplicatesConfig:
    """How near duplicates are found and put together; see `MinHashParams` and `ClusterParams`.

    `geometry` names a file of ``conf/minhash`` or is a path. An index that was made with another is kept and the run
    refused, unless `reindex` asks for a new one, which is most of the work of deduplication. Documents of the same
    meaning are those whose embeddings have a cosine of `semantic_similarity`.
    """

    __pydantic_config__ = STRICT

    geometry: str = "fineweb"
    similarity: float = 0.8
    linkage: str = STAR
    neighbours: int = 8
    neighbours_in_crowd: int = 3
    reindex: bool = False
    semantic_similarity: float = 0.95


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that decides what a run makes. `recipe` and `mixture` name files of ``conf/`` or are paths.

    `scorers` names files of ``conf/scorers``, or is paths: models that score documents, besides those that the recipe
    reads. A scorer whose scope is survivors scores only for a recipe that has a rule on it.

    `benchmarks` names lists of ``conf/benchmarks``, or is paths: documents are searched for items of them.

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
    duplicates: DuplicatesConfig = field(default_factory=DuplicatesConfig)
    embed: EmbedParams = field(default_factory=EmbedParams)
    scorers: tuple[str, ...] = ("quality", "toxicity")
    benchmarks: tuple[str, ...] = ()
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
    minhash: MinHashParams
    clusters: Mapping[str, ClusterParams]
    contamination: ContaminationParams | None
    scorers: tuple[Scorer, ...]
    archives: tuple[files.WarcFile, ...]
    records: tuple[Record, ...]


def plan(settings: PipelineConfig) -> Plan:
    """Read the recipe, the mixture and the list of archives.

    Raises:
        ConfigError: a file of ``conf/`` is wrong.
        InputError: an input is missing.
    """
    recipe = config.load_extended("recipes", settings.recipe, Recipe, joined="rules")
    mixture = config.load(config.find("mixtures", settings.mixture), Mixture)
    found = files.resolve(settings.input, crawl=settings.crawl) if settings.input else []
    settings = replace(settings, urls=settings.urls.pinned(), language=settings.language.pinned())
    _check_languages(recipe, settings)
    if settings.cascade:
        early = replace(settings.extract, cascade=Early.of(recipe.rules), language_model=settings.language.model)
        settings = replace(settings, extract=early)
    listed = settings.records and settings.records.file
    records = archives.read_records(Path(listed)) if listed else []
    if SEMANTIC in recipe.duplicates:
        settings = replace(settings, embed=settings.embed.pinned())
    minhash, clusters = _duplicates(settings, {EXACT, *recipe.duplicates})
    contamination = benchmarks(settings.benchmarks)
    if contamination is None and recipe.reads(tables.DOCUMENT_CONTAMINATION):
        raise ConfigError(f"recipe {recipe.name!r} has a rule on contamination, wanted benchmarks to look for")
    scorers, recipe = _scorers(settings.scorers, recipe)
    return Plan(settings, recipe, mixture, minhash, clusters, contamination, scorers, tuple(found), tuple(records))


def _scorers(names: Sequence[str], recipe: Recipe) -> tuple[tuple[Scorer, ...], Recipe]:
    """The scorers of these names and those that the recipe reads, pinned, and the recipe with the models it reads.

    Raises:
        ConfigError: there is no such scorer, or two have one name.
        ModelError: a model cannot be used.
    """
    named = recipe.models
    # Scores of a model that is named as tables do were made before, and their model may be gone.
    made = {scorer: name for scorer, name in named.items() if "@" in name}
    wanted = [*(name for name in named.values() if name not in made.values()), *names]
    found: dict[str, Scorer] = {}
    for path in dict.fromkeys(config.find("scorers", name) for name in wanted):
        scorer = config.load(path, Scorer)
        if scorer.name in found:
            raise ConfigError(f"{path}: scorer {scorer.name!r} is named twice, with other settings")
        found[scorer.name] = scorer
    unknown = [scorer for scorer in named if scorer not in made and scorer not in found]
    if unknown:
        raise ConfigError(f"recipe {recipe.name!r} reads {', '.join(unknown)}, found scorers {', '.join(found)}")
    pinned = {name: scorer.pinned() for name, scorer in found.items()}
    models = {scorer: made.get(scorer) or pinned[scorer].model for scorer in named}
    return tuple(pinned.values()), replace(recipe, scorers=models)


def _duplicates(settings: PipelineConfig, methods: Collection[str]) -> tuple[MinHashParams, dict[str, ClusterParams]]:
    """How the index is made, and how clusters are by each of `methods`."""
    asked = settings.duplicates
    geometry = config.load(config.find("minhash", asked.geometry), Geometry)
    try:
        clusters = {method: ClusterParams(method) for method in (PAYLOAD, EXACT, NORMAL)}
        clusters[MINHASH] = ClusterParams(MINHASH, asked.similarity, asked.linkage, geometry)
        if SEMANTIC in methods:
            model = settings.embed.name
            clusters[SEMANTIC] = ClusterParams(SEMANTIC, asked.semantic_similarity, CONNECTED, model=model)
        minhash = MinHashParams(geometry, asked.neighbours, asked.neighbours_in_crowd)
    except ValueError as error:
        raise ConfigError(f"duplicates: {error}") from error
    return minhash, {method: params for method, params in clusters.items() if method in methods}


def benchmarks(names: Sequence[str]) -> ContaminationParams | None:
    """What the lists of these names look for, as their files are now; None without a name.

    Raises:
        ConfigError: there is no such list, or it is wrong.
        InputError: files of benchmarks are missing, or have records that are no items.
    """
    lists = [config.load(config.find("benchmarks", name), BenchmarkList) for name in names]
    return ContaminationParams(tuple(each for one in lists for each in one.benchmarks)).pinned() if lists else None


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
    """`documents` to language, quality signals, lengths in tokens, personal data, scores of models that are cheap, and
    clusters of duplicates."""
    runner.by_file(DOCUMENT_LANGUAGE, plan.config.language)
    runner.by_file(DOCUMENT_QUALITY, NoParams())
    runner.by_file(DOCUMENT_TOKENS, plan.config.tokens)
    runner.by_file(DOCUMENT_PII, NoParams())
    if plan.contamination is not None:
        runner.by_file(DOCUMENT_CONTAMINATION, plan.contamination)
    for scorer in plan.scorers:
        if scorer.scope == ALL:
            _score(runner, scorer)
    find_duplicates(runner, plan)


def _score(runner: Runner, scorer: Scorer, recipe: str = "") -> None:
    runner.by_document(DOCUMENT_SCORES, ScoreParams(scorer, recipe), {"model": scorer.model})


def find_duplicates(runner: Runner, plan: Plan) -> None:
    """`documents` to clusters: of exact copies, and of what the recipe asks for besides."""
    asked = plan.clusters.keys()
    if asked & {NORMAL, MINHASH}:
        if not plan.config.duplicates.reindex:
            is_of_geometry(runner.lake.read(tables.DOCUMENT_MINHASH), plan.minhash)
        runner.by_file(DOCUMENT_MINHASH, plan.minhash)
    if MINHASH in asked:
        runner.whole(DUPLICATE_CANDIDATES, plan.minhash, {"method": MINHASH})
        runner.whole(DUPLICATE_PAIRS, plan.minhash, {"method": MINHASH})
    if SEMANTIC in asked:
        runner.by_file(DOCUMENT_EMBEDDINGS, plan.config.embed)
        model = plan.config.embed.name
        semantic = SemanticParams(model, min_similarity=min(MIN_COSINE, plan.config.duplicates.semantic_similarity))
        runner.whole(SEMANTIC_CENTROIDS, semantic, {"model": model})
        runner.whole(SEMANTIC_PAIRS, semantic, {"model": model})
    # After all pairs, since each method reads those of all.
    for method, params in plan.clusters.items():
        runner.whole(DUPLICATE_CLUSTERS, params, {"method": method})


def look_up_robots(runner: Runner) -> None:
    """`documents` to what the robots.txt of their hosts say, of those that `captures` has."""
    runner.by_file(HOST_ROBOTS, NoParams())
    runner.whole(DOCUMENT_ROBOTS, NoParams(), {})


def curate(runner: Runner, plan: Plan) -> None:
    """Annotations to `dispositions` and `corpus` by the recipe, and the ledger checked.

    Where the recipe asks for it, the robots.txt of each host is looked up. The models that it reads score what they
    have not scored yet. Dear ones do between two rounds of decisions: the first says who waits for a score.
    """
    part = {"recipe": plan.recipe.name}
    if plan.recipe.reads(tables.DOCUMENT_ROBOTS):
        look_up_robots(runner)
    for scorer in plan.scorers:
        if scorer.name in plan.recipe.scored_by:
            if scorer.scope == SURVIVORS:
                runner.whole(DISPOSITIONS, plan.recipe, part)
            _score(runner, scorer, plan.recipe.name)
    runner.whole(DISPOSITIONS, plan.recipe, part)
    ledger.check(runner.lake, plan.recipe.name)
    ledger.check_duplicates(runner.lake, plan.recipe)
    repeats = plan.recipe.remove_repeats
    if repeats.kinds:
        kinds = RepeatParams(plan.recipe.name, repeats.line, repeats.paragraph, repeats.substring)
        runner.whole(DOCUMENT_REPEATS, kinds, part)
    models = {**{scorer.name: scorer.model for scorer in plan.scorers}, **plan.recipe.scorers}
    runner.whole(CORPUS, CorpusParams(plan.recipe, plan.config.tokens.tokenizer, models), part)


def build_training_set(runner: Runner, plan: Plan) -> None:
    """`corpus` to a training set and its manifest."""
    tokenizer = plan.config.tokens.tokenizer
    sets.build(runner, SetPlan(plan.config.training_set, "documents", plan.recipe, plan.mixture, tokenizer))


STEPS = (ingest, extract, annotate, curate, build_training_set)
