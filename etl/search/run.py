"""A search from its domains to a report and mixtures.

A search is a folder: the domains, one folder per job named by what decides it, and at the end ``report.json`` and one
mixture per method. Started again, it goes on with the first model that is not trained; other settings are other jobs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import etl
from etl import config, tables
from etl import job as jobs
from etl.align import launch
from etl.align.job import JOB, LOG
from etl.errors import ConfigError, InputError
from etl.locks import is_local
from etl.progress import Reporter, StageRun
from etl.search import compare, regmix
from etl.search import job as job_of
from etl.search.compare import Difference, Estimate, Row
from etl.search.config import DoReMi, RegMix, Search
from etl.search.domains import Domains, Floats
from etl.search.job import DOMAINS, Job, Result, Run
from etl.stages.mix import Mixture

logger = logging.getLogger(__name__)

TRAIN = "etl.search.train"  # the module that processes run
FOLDER = "_search"  # below a warehouse that is a folder
REPORT = "report.json"
DIGITS = 4  # of the shares of a written mixture

Train = Callable[[Path], None]  # does the runs of the job in a folder


@dataclass(frozen=True)
class Answer:
    """What a method found: `shares` of the domains with 95 % intervals, and what it was found by. The interval of
    DoReMi is Student's over its seeds, that of RegMix is over resamples of its proxies."""

    method: str
    shares: tuple[Estimate, ...]
    evidence: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def values(self) -> Floats:
        return np.array([share.value for share in self.shares])


@dataclass(frozen=True)
class Outcome:
    """A search that is done: what each method found, and the mixtures side by side at equal compute."""

    answers: tuple[Answer, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Workplace:
    """A folder with the domains of a search, how models are trained there, and on how many processes."""

    folder: Path
    domains: Domains
    sha256: str
    train: Train
    world_size: int = 1

    def results(self, name: str, settings: Search, runs: Sequence[Run]) -> list[Result]:
        """What becomes of `runs`, of which only those are trained that are not done."""
        # Settings of a method that none of the runs uses must not make them other runs.
        method = settings.doremi if any(run.reference for run in runs) else None
        settled = Job(settings.proxy, tuple(runs), self.sha256, self.world_size, method)
        place = self.folder / f"{name}-{settled.digest}"
        place.mkdir(parents=True, exist_ok=True)
        job_of.write(place, JOB, settled)
        if any(job_of.result(place, run) is None for run in runs):
            self.train(place)
        return job_of.results(place, runs)


def prepared(folder: Path, domains: Domains, train: Train, *, world_size: int = 1) -> Workplace:
    """The folder of a search with its domains written."""
    folder.mkdir(parents=True, exist_ok=True)
    domains.save(folder / DOMAINS)
    return Workplace(folder, domains, domains.sha256, train, world_size)


def search(place: Workplace, settings: Search, given: Sequence[float] | None = None) -> Outcome:
    """Find mixtures by the methods of `settings` and set them beside the others.

    Raises:
        InputError: a domain is too short for a block.
        ConfigError: settings name domains that there are not, or a given mixture that there is not.
    """
    place.domains.check(settings.proxy.context)
    objective = weights(settings, place.domains)
    known = baselines(settings, place.domains, given)
    answers = []
    if settings.doremi is not None:
        answers.append(by_doremi(place, settings, settings.doremi, known))
    if settings.regmix is not None:
        answers.append(by_regmix(place, settings, settings.regmix, objective))
    mixtures = {**known, **{answer.method: answer.values for answer in answers}}
    runs = [
        Run(f"{name}-{seed}", tuple(shares.tolist()), seed)
        for name, shares in mixtures.items()
        for seed in settings.comparison_seeds
    ]
    found = place.results("comparison", settings, runs)
    count = len(settings.comparison_seeds)
    by_mixture = {name: found[at * count : (at + 1) * count] for at, name in enumerate(mixtures)}
    methods = [answer.method for answer in answers]
    return Outcome(
        tuple(answers),
        tuple(compare.rows(by_mixture, objective)),
        tuple(compare.differences(by_mixture, methods, objective)),
        tuple(found),
    )


def weights(settings: Search, domains: Domains) -> Floats:
    """The weights of the domains in what is to be least; they add up to 1.

    Raises:
        ConfigError: the objective names what is no domain.
    """
    _check_names("objective", settings.objective, domains)
    if not settings.objective:
        return domains.uniform
    values = np.array([settings.objective.get(name, 0.0) for name in domains.names])
    result: Floats = values / values.sum()
    return result


def baselines(settings: Search, domains: Domains, given: Sequence[float] | None) -> dict[str, Floats]:
    """The mixtures that a found one is set beside: uniform, natural, the given one and those of `against`.

    Raises:
        ConfigError: a mixture names what is no domain.
    """
    known = {"uniform": domains.uniform, "natural": domains.natural}
    if given is not None:
        known["given"] = np.array(given, dtype=np.float64)
    for name, shares in settings.against.items():
        _check_names(f"against.{name}", shares, domains)
        known[name] = np.array([shares.get(domain, 0.0) for domain in domains.names])
    return known


def _check_names(place: str, named: Mapping[str, float], domains: Domains) -> None:
    unknown = [name for name in named if name not in domains.names]
    if unknown:
        raise ConfigError(f"{place} names {unknown}, wanted some of the domains {domains.names}")


def by_doremi(place: Workplace, settings: Search, method: DoReMi, known: Mapping[str, Floats]) -> Answer:
    """Shares by group DRO: the mean of what each seed finds, with a reference of its own, in the last round."""
    if method.reference not in known:
        raise ConfigError(f"doremi.reference is {method.reference!r}, and the mixture file gives no shares")
    reference, rounds, results = known[method.reference], [], []
    uniform = tuple(place.domains.uniform.tolist())
    for turn in range(method.rounds):
        runs = []
        for seed in method.seeds:
            runs.append(Run(f"reference-{seed}", tuple(reference.tolist()), seed))
            runs.append(Run(f"proxy-{seed}", uniform, seed, reference=f"reference-{seed}"))
        found = place.results(f"doremi-{turn + 1}", settings, runs)
        results += found
        by_seed = np.array([each.shares for each in found[1::2]])
        rounds.append(by_seed)
        moved = np.abs(by_seed.mean(axis=0) - reference).max()
        reference = by_seed.mean(axis=0)
        if moved < method.tolerance:
            break
    proxies = found[1::2]
    last = np.array([[excess for _, _, excess in each.path[-max(1, len(each.path) // 5) :]] for each in proxies])
    evidence = {
        "reference": method.reference,
        "shares_by_seed": rounds[-1].tolist(),
        "shares_by_round": [each.mean(axis=0).tolist() for each in rounds],
        "excess_of_last_fifth": last.mean(axis=(0, 1)).tolist(),
        "path_of_first_seed": proxies[0].path,
    }
    shares = tuple(estimate_share(column) for column in rounds[-1].T)
    return Answer("doremi", shares, evidence, tuple(results))


def estimate_share(values: Floats) -> Estimate:
    """Mean of a share over seeds; its interval ends at 0 and 1."""
    found = compare.estimate(values)
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def by_regmix(place: Workplace, settings: Search, method: RegMix, objective: Floats) -> Answer:
    """Shares by regression of the weighted bits per byte of the validation part on the shares of random mixtures."""
    natural = place.domains.natural
    drawn = regmix.drawn(natural, method.proxies, method, np.random.default_rng([method.seed, 1]))
    runs = [
        Run(f"proxy-{number}", tuple(shares.tolist()), method.seed * 1_000_003 + number)
        for number, shares in enumerate(drawn)
    ]
    results = place.results("regmix", settings, runs)
    losses = np.stack([compare.bits(result.validation) for result in results])
    chance = np.array([each.bits_of_chance(place.domains.vocab_size) for each in results[0].validation])
    found = regmix.best(drawn, losses, objective, natural, method, chance=chance)
    asked = losses @ objective
    evidence = {
        "regressions": [
            {
                "features": each.features,
                "penalties": [fit.penalty for fit in each.fits],
                "left_out_error_of_log": each.error,
                "left_out_explained": each.explained,
                "left_out_rank_correlation": each.rank,
            }
            for each in found.regressions
        ],
        "predicted_objective": found.predicted,
        "least_objective_of_a_proxy": float(asked.min()),
        "proxies": [
            {"shares": list(run.shares), "bits_per_byte": own.tolist(), "objective": float(value)}
            for run, own, value in zip(runs, losses, asked, strict=True)
        ],
    }
    shares = tuple(Estimate(*map(float, each)) for each in zip(found.shares, found.low, found.high, strict=True))
    return Answer("regmix", shares, evidence, tuple(results))


def report(outcome: Outcome, settings: Search, domains: Domains, origin: Mapping[str, Any]) -> dict[str, Any]:
    """All that a search was asked, found and spent, as plain data; `origin` says where the domains are from."""
    natural = domains.natural
    first = outcome.results[0]
    return {
        "package": f"goldenlake {etl.__version__}",
        "search": asdict(settings),
        "origin": dict(origin),
        "domains": [
            {
                "name": domain.name,
                "available_tokens": domain.available,
                "natural_share": float(natural[at]),
                "train_tokens": len(domain.train),
                "validation_tokens": len(domain.validation),
                "test_tokens": len(domain.test),
            }
            for at, domain in enumerate(domains.domains)
        ],
        "found": {
            answer.method: {
                "shares": {name: asdict(share) for name, share in zip(domains.names, answer.shares, strict=True)},
                **answer.evidence,
                "spent": spent(answer.results),
            }
            for answer in outcome.answers
        },
        "comparison": {
            "unit": "bits per byte of held-out text; means and 95 % intervals over seeds",
            "seeds": list(settings.comparison_seeds),
            "parameters": first.parameters,
            "tokens_of_each_model": first.tokens,
            "mixtures": [asdict(row) for row in outcome.rows],
            "differences": [{**asdict(each), "verdict": each.verdict} for each in outcome.differences],
            "spent": spent(outcome.results),
        },
    }


def spent(results: Sequence[Result]) -> dict[str, float]:
    """Models trained, tokens they learned from, floating-point operations and seconds of wall clock."""
    return {
        "models": len(results),
        "tokens": sum(result.tokens for result in results),
        "flops": sum(result.flops for result in results),
        "seconds": sum(result.seconds for result in results),
    }


def mixture(given: Mixture, answer: Answer, name: str) -> Mixture:
    """The given mixture with the shares that a method found, rounded; sources that round to nothing are left out."""
    rounded = [round(float(share), DIGITS) for share in answer.values]
    largest = max(range(len(rounded)), key=rounded.__getitem__)
    rounded[largest] = round(rounded[largest] + 1 - sum(rounded), DIGITS)
    sources = [
        dataclasses.replace(source, share=share)
        for source, share in zip(given.sources, rounded, strict=True)
        if share > 0
    ]
    return dataclasses.replace(given, name=name, sources=tuple(sources), temperature=None)


def as_yaml(found: Mixture, answer: Answer, given: Mixture) -> str:
    """The file of ``conf/mixtures`` for a found mixture, with what it was found by as a comment."""
    kept = {source.name for source in found.sources}
    left_out = [source.name for source in given.sources if source.name not in kept]
    lines = [f"Found by {answer.method} in goldenlake {etl.__version__}; 95 % intervals of the shares:"]
    lines += [
        f"  {source.name}: {share.value:.4f} [{share.low:.4f}, {share.high:.4f}]"
        for source, share in zip(given.sources, answer.shares, strict=True)
    ]
    if left_out:
        lines.append(f"Left out, as their shares round to nothing: {', '.join(left_out)}.")
    defaults = _defaults(asdict(found))
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(defaults, sort_keys=False, width=120)


def _defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Plain data without keys that are empty, which every reader fills in the same way."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if key == "sources":
            result[key] = [_defaults(source) for source in value]
        elif value is not None and value != ():
            result[key] = value
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def write(
    place: Workplace, outcome: Outcome, settings: Search, given: Mixture, origin: Mapping[str, Any]
) -> list[Path]:
    """Leave the report and one mixture per method in the folder of the search; their places."""
    places = [place.folder / REPORT]
    said = report(outcome, settings, place.domains, {**origin, "tokens_sha256": place.sha256})
    places[0].write_text(json.dumps(said, indent=1), encoding="utf-8")
    for answer in outcome.answers:
        name = f"{settings.name}-{answer.method}"
        places.append(place.folder / f"{name}.yaml")
        text = as_yaml(mixture(given, answer, name), answer, given)
        places[-1].write_text(text, encoding="utf-8")
    return places


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Search for the mixture that the options of `argv` ask for."""
    from etl.search import corpus

    options = parser(doc).parse_args(argv)
    with jobs.reported_errors():
        started = launch.read(options.accelerate, TRAIN)
        settings = chosen(options)
        path = config.find("mixtures", settings.mixture)
        given = corpus.split(config.load(path, Mixture), settings.tiers)
        with jobs.writer(options) as runner:
            folder = _folder(options.out, runner.lake.warehouse, settings.name)
            with runner.reporter.stage(f"domains of {settings.name}"):
                version = runner.lake.version(tables.CORPUS)
                domains = corpus.domains(runner.lake.read(tables.CORPUS, version), settings, given)
            place = prepared(folder, domains, launched(started, runner.reporter), world_size=started.processes)
            outcome = search(place, settings, corpus.shares(given))
            written = write(place, outcome, settings, given, {"table": tables.CORPUS.name, "version": version})
            runner.reporter.console.print(table(outcome, domains), highlight=False)
            runner.reporter.console.print(f"wrote {', '.join(map(str, written))}", highlight=False)


def _folder(out: Path | None, warehouse: str | None, name: str) -> Path:
    if out is not None:
        return out
    if warehouse is None or not is_local(warehouse):
        raise InputError("--out is missing: the warehouse is no folder that a search could be kept in")
    return Path(warehouse) / FOLDER / name


def launched(started: launch.Launch, reporter: Reporter) -> Train:
    """Training in processes that Accelerate starts, shown by `reporter`."""

    def train(place: Path) -> None:
        with reporter.stage(f"models of {place.name.rpartition('-')[0]}") as run:
            run.unit = "tokens"
            (place / LOG).unlink(missing_ok=True)
            launch.run(started, place, _follower(reporter, run))

    return train


def _follower(reporter: Reporter, run: StageRun) -> Callable[[dict[str, Any]], None]:
    before = {"place": -1, "tokens": 0, "last": 0}

    def follow(line: dict[str, Any]) -> None:
        if line["place"] != before["place"]:
            before.update(place=line["place"], tokens=before["tokens"] + before["last"])
        before["last"] = line["tokens"]
        done = (line["place"] + (line["step"] + 1) / line["steps"]) / line["runs"]
        note = f"{line['run']}, {line['place'] + 1} of {line['runs']}, loss {line['loss']:.3f}"
        reporter.show(run, done, before["tokens"] + line["tokens"], note)

    return follow


def table(outcome: Outcome, domains: Domains) -> str:
    """The comparison as text: a line per mixture, then the verdicts."""
    width = max(len(row.mixture) for row in outcome.rows)
    shares = " / ".join(domains.names)
    lines = [f"{'mixture':{width}}  objective, bits per byte    mean     worst    shares of {shares}"]
    for row in outcome.rows:
        own = " / ".join(f"{share:.3f}" for share in row.shares)
        found = row.objective
        lines.append(
            f"{row.mixture:{width}}  {found.value:.4f} [{found.low:.4f}, {found.high:.4f}]  {row.mean.value:.4f}   "
            f"{row.worst.value:.4f}   {own}"
        )
    for each in outcome.differences:
        found = each.objective
        lines.append(
            f"{each.found} less {each.other}: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {each.verdict}"
        )
    return "\n".join(lines)


def chosen(options: argparse.Namespace) -> Search:
    """The file that the options name, with what ``--set`` says.

    Raises:
        ConfigError: the file or an assignment is wrong.
    """
    return config.load(config.find("search", options.search), Search, options.assignments)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of a search."""
    result = jobs.described(doc)
    result.add_argument("search", help="file of conf/search, or a path")
    result.add_argument("--accelerate", default="cpu", help="file of conf/accelerate, or a path (cpu)")
    result.add_argument("--out", type=Path, help=f"folder of models, report and mixtures (WAREHOUSE/{FOLDER}/NAME)")
    jobs.add_assignments(result, "any key of the search, such as proxy.steps=500")
    jobs.add_lake_options(result)
    return result
