"""What a search is: one YAML file of ``conf/search`` as frozen dataclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from etl.align.config import Architecture, Optimizer
from etl.config import STRICT

if TYPE_CHECKING:  # the training processes need no Spark
    from etl.stages.mix import Source

REFERENCES = ("uniform", "natural", "given")
TAKEN = (*REFERENCES, "doremi", "regmix")  # names of mixtures in a comparison
_NAME = re.compile(r"[\w.-]+")  # of what becomes a file


@dataclass(frozen=True)
class Proxy:
    """The small model that stands for the wanted one, trained for `steps` of `batch` blocks of `context` tokens.

    `threads` of one process are part of the result, since they decide the order of sums.
    """

    __pydantic_config__ = STRICT

    architecture: Architecture
    context: int
    batch: int
    steps: int
    optimizer: Optimizer
    threads: int = 1

    def __post_init__(self) -> None:
        problems = _below(self, {"context": 2, "batch": 1, "steps": 1, "threads": 1})
        if self.context > self.architecture.context:
            problems.append(f"context is {self.context}, the architecture has {self.architecture.context}")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def tokens(self) -> int:
        """Tokens that one training learns from; the first of each block has nothing before it."""
        return self.steps * self.batch * (self.context - 1)


@dataclass(frozen=True)
class DoReMi:
    """Domain reweighting by group DRO; defaults of Xie et al. 2023, who call `step_size` eta and `smoothing` c.

    `reference` is the mixture that the reference model learns from: ``uniform``, ``natural``, or ``given`` by the
    mixture file. A proxy is never behind in what the reference has not learned, so a reference should not starve a
    domain. Each of `seeds` trains a reference and a proxy, and the found shares are their mean. Further `rounds` take
    what the last one found for the reference, and end early when no share moves by more than `tolerance`.
    """

    __pydantic_config__ = STRICT

    step_size: float = 1.0
    smoothing: float = 1e-3
    reference: str = "uniform"
    seeds: tuple[int, ...] = (1, 2, 3)
    rounds: int = 1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        problems = _below(self, {"rounds": 1})
        problems += _wrong_seeds(self.seeds)
        if self.step_size <= 0:
            problems.append(f"step_size is {self.step_size:g}, wanted more than 0")
        if not 0 <= self.smoothing <= 1:
            problems.append(f"smoothing is {self.smoothing:g}, wanted 0 to 1")
        if self.reference not in REFERENCES:
            problems.append(f"reference is {self.reference!r}, wanted one of {', '.join(REFERENCES)}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class RegMix:
    """Regression over `proxies` models of random shares; defaults of Liu et al. 2024.

    Shares are drawn from Dirichlet distributions around the natural mixture, flattened by the power `flattening`, with
    a sum of parameters that is log-uniform between the two concentrations. The regression rates `draws` such mixtures;
    the mean of the `top` of them is the found one. Its spread is that of `resamples` of the proxies.
    """

    __pydantic_config__ = STRICT

    proxies: int = 512
    flattening: float = 0.5
    min_concentration: float = 0.1
    max_concentration: float = 5.0
    draws: int = 100_000
    top: int = 128
    resamples: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        problems = _below(self, {"proxies": 8, "draws": 1, "top": 1, "resamples": 2})
        if self.top > self.draws:
            problems.append(f"top is {self.top}, wanted at most draws = {self.draws}")
        if not 0 < self.min_concentration <= self.max_concentration:
            problems.append(
                f"concentrations are {self.min_concentration:g} and {self.max_concentration:g}, wanted 0 < min <= max"
            )
        if not 0 <= self.flattening <= 1:
            problems.append(f"flattening is {self.flattening:g}, wanted 0 to 1")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Tiers:
    """The strength of a filter as part of the search: each source is cut into one domain per range of `score`, an SQL
    expression, at the rising `cuts`. Rows without a score are in the lowest tier. `sources` are those to cut, or all.
    """

    __pydantic_config__ = STRICT

    score: str
    cuts: tuple[float, ...]
    sources: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.cuts or any(low >= high for low, high in pairwise(self.cuts)):
            raise ValueError(f"cuts are {[*self.cuts]}, wanted at least one, each above the last")

    def split(self, source: Source) -> tuple[Source, ...]:
        """The source's rows as one source per tier, lowest first; a given share is cut into equal parts."""
        if self.sources is not None and source.name not in self.sources:
            return (source,)
        share = None if source.share is None else source.share / (len(self.cuts) + 1)
        above = [f"({self.score}) >= {cut:g}" for cut in self.cuts]
        below = [f"({self.score}) < {cut:g}" for cut in self.cuts]
        conditions = {f"below {self.cuts[0]:g}": f"({below[0]} OR ({self.score}) IS NULL)"}
        for place, (low, high) in enumerate(pairwise(self.cuts)):
            conditions[f"{low:g} to {high:g}"] = f"{above[place]} AND {below[place + 1]}"
        conditions[f"from {self.cuts[-1]:g}"] = above[-1]
        return tuple(
            replace(source, name=f"{source.name}, {name}", where=f"({source.where}) AND {condition}", share=share)
            for name, condition in conditions.items()
        )


@dataclass(frozen=True)
class Search:
    """Everything that decides the found mixtures besides the rows of the lake and the machine.

    The sources of `mixture`, a file of ``conf/mixtures``, are the domains, and what it holds out measures them: half
    to choose by, half to judge the choice. Up to `domain_tokens` of each domain are learned from, and up to
    `held_out_tokens` are in each half, counted by a tokenizer of `vocab_size` entries learned from all domains alike.
    `objective` weighs the bits per byte of domains, by default all alike. Found mixtures are set beside the uniform,
    the natural and the given one and those of `against`, each trained with every one of `comparison_seeds`.
    """

    __pydantic_config__ = STRICT

    name: str
    mixture: str
    recipe: str
    vocab_size: int
    domain_tokens: int
    held_out_tokens: int
    proxy: Proxy
    doremi: DoReMi | None = field(default_factory=DoReMi)
    regmix: RegMix | None = field(default_factory=RegMix)
    tiers: Tiers | None = None
    objective: Mapping[str, float] = field(default_factory=dict)
    against: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    comparison_seeds: tuple[int, ...] = (101, 102, 103, 104, 105)

    def __post_init__(self) -> None:
        problems = _below(self, {"vocab_size": 260, "domain_tokens": 1, "held_out_tokens": 1})
        if self.doremi is None and self.regmix is None:
            problems.append("doremi and regmix are both left out, wanted at least one of them")
        problems += _wrong_seeds(self.comparison_seeds)
        if len(self.comparison_seeds) < 3:
            problems.append(f"comparison_seeds are {[*self.comparison_seeds]}, wanted at least 3 for an interval")
        if not _NAME.fullmatch(self.name):
            problems.append(f"name is {self.name!r}, wanted letters, digits, '.', '-' and '_'")
        for name, shares in self.against.items():
            if name in TAKEN or not _NAME.fullmatch(name):
                problems.append(f"against has the name {name!r}, wanted a plain one besides {', '.join(TAKEN)}")
            if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values(), default=0) < 0:
                problems.append(f"shares of against.{name} add up to {sum(shares.values()):g}, wanted 1, none below 0")
        problems += _wrong_objective(self.objective)
        if problems:
            raise ValueError("; ".join(problems))


def _below(settings: object, least: Mapping[str, int]) -> list[str]:
    return [
        f"{name} is {getattr(settings, name)}, wanted at least {wanted}"
        for name, wanted in least.items()
        if getattr(settings, name) < wanted
    ]


def _wrong_seeds(seeds: tuple[int, ...]) -> list[str]:
    if seeds and len(set(seeds)) == len(seeds):
        return []
    return [f"seeds are {[*seeds]}, wanted at least one, none twice"]


def _wrong_objective(objective: Mapping[str, float]) -> list[str]:
    if not objective or (min(objective.values()) >= 0 and sum(objective.values()) > 0):
        return []
    return [f"objective is {dict(objective)}, wanted weights of which none is below 0 and some above"]
