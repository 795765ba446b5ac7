"""Mixture search against answers that are known.

    python -m tests.bench.mixture_search --folder DIR [--parts doremi regmix grid]
    python -m tests.bench.mixture_search --folder DIR --text web=FILE code=FILE ... [--against brief=web:0.5,code:0.5]

On made-up languages: the shares that group DRO finds seed by seed, with a reference that has seen each language and
with one that was starved of the one that matters; what the regression finds for objectives whose best mixture follows
from symmetry or is looked for on a grid; and both beside a grid of all mixtures at equal compute. With --text, the same
search on texts of which nothing is known, beside uniform, natural and the mixtures of --against. Models that DIR has
already are not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etl.align.config import Architecture, Optimizer
from etl.search import compare, corpus, run, train
from etl.search.config import DoReMi, Proxy, RegMix
from etl.search.domains import Domains, Floats
from etl.search.job import Run
from tests.search import languages, small

Write = Callable[[str], Any]
SEARCH = dataclasses.replace(
    small.SEARCH,
    proxy=dataclasses.replace(small.PROXY, steps=200),
    doremi=DoReMi(seeds=(1, 2, 3, 4, 5)),
    regmix=RegMix(proxies=48, draws=50_000, top=100, resamples=20),
    objective={},
)
PARAGRAPHS = 20  # in a text of a file


def named(names: Sequence[str], values: Sequence[float] | Floats) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))


def three() -> Domains:
    return languages.domains(languages.three(), available=[47, 47, 6], train=60_000, held_out=4_000)


def doremi(folder: Path, write: Write) -> None:
    """Known: most for the language with much to learn, least for noise."""
    domains = three()
    place = run.prepared(folder / "three", domains, train.train)
    known = run.baselines(SEARCH, domains, None)
    for reference in ("uniform", "natural"):
        method = DoReMi(seeds=(1, 2, 3, 4, 5), reference=reference)
        found = run.by_doremi(place, dataclasses.replace(SEARCH, doremi=method), method, known)
        write(f"\ngroup DRO, reference of the {reference} mixture ({named(domains.names, known[reference])})\n")
        for seed, shares in zip(method.seeds, found.evidence["shares_by_seed"], strict=True):
            write(f"  seed {seed}: {named(domains.names, shares)}\n")
        for name, share, excess in zip(
            domains.names, found.shares, found.evidence["excess_of_last_fifth"], strict=True
        ):
            write(
                f"  {name:13} {share.value:.3f} [{share.low:.3f}, {share.high:.3f}], excess at the end {excess:.3f}\n"
            )


def regmix(folder: Path, write: Write) -> None:
    """Known by symmetry: four languages that are one but for the names of its tokens, so of equal difficulty."""
    table = languages.second_order(np.random.default_rng(5))
    names = ["a", "b", "c", "d"]
    domains = languages.domains(dict.fromkeys(names, table), available=[1, 1, 1, 1], train=60_000, held_out=4_000)
    place = run.prepared(folder / "four", domains, train.train)
    objectives = {
        "all of a": ([1, 0, 0, 0], [1, 0, 0, 0]),
        "half b, half c": ([0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]),
        "all alike": ([0.25] * 4, [0.25] * 4),
        "0.8 a, 0.2 b": ([0.8, 0.2, 0, 0], best_on_a_line(place, [0.8, 0.2, 0, 0])),
    }
    for name, (objective, answer) in objectives.items():
        for seed in (1, 2):
            method = dataclasses.replace(SEARCH.regmix or RegMix(), seed=seed)
            found = run.by_regmix(place, SEARCH, method, np.array(objective, dtype=np.float64))
            away = np.abs(found.values - answer).sum() / 2
            write(f"\nregression, objective {name}, seed {seed}: {named(names, found.values)}\n")
            write(f"  known answer {named(names, answer)}; share that is elsewhere {away:.3f}\n")
            for fit in found.evidence["regressions"]:
                write(
                    f"  {fit['features']:10} left out: error of the log {fit['left_out_error_of_log']:.4f}, explains "
                    f"{fit['left_out_explained']:.3f}, rank correlation {fit['left_out_rank_correlation']:.3f}\n"
                )


def best_on_a_line(place: run.Workplace, objective: Sequence[float]) -> list[float]:
    """The best of eleven mixtures of the first two domains, each of three seeds."""
    line = [(share, 1 - share, 0.0, 0.0) for share in np.linspace(0, 1, 11).tolist()]
    runs = [Run(f"{number}-{seed}", shares, seed) for number, shares in enumerate(line) for seed in (7, 8, 9)]
    losses = [compare.bits(result.test) @ np.array(objective) for result in place.results("line", SEARCH, runs)]
    return list(line[int(np.argmin(np.reshape(losses, (-1, 3)).mean(axis=1)))])


def grid(folder: Path, write: Write) -> None:
    """Both methods beside all mixtures of eighths of three languages, by the mean bits per token of the test part."""
    domains = three()
    place = run.prepared(folder / "three", domains, train.train)
    eighths = [(a / 8, b / 8, (8 - a - b) / 8) for a in range(1, 7) for b in range(1, 8 - a)]
    runs = [Run(f"{number}-{seed}", shares, seed) for number, shares in enumerate(eighths) for seed in (21, 22)]
    bits = [compare.bits(result.test).mean() for result in place.results("grid", SEARCH, runs)]
    means = np.reshape(bits, (-1, 2)).mean(axis=1)
    order = np.argsort(means)
    write(f"\nthe best of {len(eighths)} mixtures, two seeds each, by mean bits:\n")
    for number in order[:3]:
        write(f"  {means[number]:.4f} {named(domains.names, eighths[number])}\n")
    write(f"  the worst {means[order[-1]]:.4f} {named(domains.names, eighths[order[-1]])}\n")
    outcome = run.search(place, SEARCH)
    write(run.table(outcome, domains) + "\n")
    for answer in outcome.answers:
        write(f"{answer.method} spent {run.spent(answer.results)}\n")


def texts(folder: Path, paths: Mapping[str, Path], against: Mapping[str, Mapping[str, float]], write: Write) -> None:
    """The search on the texts of files: runs of paragraphs, of which a tenth is held out."""
    learned, held_out, available = {}, {}, {}
    for name, path in paths.items():
        paragraphs = path.read_text(encoding="utf-8").split("\n\n")
        whole = ["\n\n".join(paragraphs[at : at + PARAGRAPHS]) for at in range(0, len(paragraphs), PARAGRAPHS)]
        order = np.random.default_rng(1).permutation(len(whole)).tolist()
        part = max(4, len(whole) // 10)
        held_out[name], learned[name] = [whole[at] for at in order[:part]], [whole[at] for at in order[part:]]
        available[name] = path.stat().st_size
    settings = dataclasses.replace(
        SEARCH,
        vocab_size=512,
        domain_tokens=400_000,
        held_out_tokens=6_000,
        proxy=Proxy(
            architecture=Architecture(hidden_size=48, intermediate_size=128, layers=1, heads=2, context=32),
            context=32,
            batch=16,
            steps=400,
            optimizer=Optimizer(lr=0.01, weight_decay=0.0),
        ),
        doremi=DoReMi(seeds=(1, 2, 3)),
        regmix=RegMix(proxies=24, draws=50_000, top=100, resamples=20),
        against=against,
    )
    domains = corpus.tokenized(settings, learned, held_out, available)
    place = run.prepared(folder / "texts", domains, train.train)
    outcome = run.search(place, settings)
    for domain in domains.domains:
        write(f"{domain.name}: {len(domain.train):,} tokens to learn from, {len(domain.test):,} to test on\n")
    write(run.table(outcome, domains) + "\n")
    for row in outcome.rows:
        write(f"{row.mixture:12} {named(domains.names, [each.value for each in row.domains])} bits per byte\n")
    for answer in outcome.answers:
        intervals = ", ".join(
            f"{name} {share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
            for name, share in zip(domains.names, answer.shares, strict=True)
        )
        write(f"{answer.method}: {intervals}; spent {run.spent(answer.results)}\n")
        for fit in answer.evidence.get("regressions", ()):
            write(f"  {fit}\n")


PARTS = {"doremi": doremi, "regmix": regmix, "grid": grid}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--text", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--against", nargs="*", default=[], metavar="NAME=DOMAIN:SHARE,...")
    options = parser.parse_args(argv)
    write = sys.stdout.write
    if options.text:
        paths = {name: Path(path) for name, path in (each.split("=", 1) for each in options.text)}
        against = {
            name: {domain: float(share) for domain, share in (part.split(":") for part in shares.split(","))}
            for name, shares in (each.split("=", 1) for each in options.against)
        }
        texts(options.folder, paths, against, write)
        return
    for part in options.parts:
        began = time.perf_counter()
        PARTS[part](options.folder, write)
        write(f"{part}: {time.perf_counter() - began:.0f} s\n")


if __name__ == "__main__":
    main()
