"""The smallest search whose answer is stable: models of 14 thousand weights on three languages."""

from __future__ import annotations

import functools

from etl.align.config import Architecture, Optimizer
from etl.search.config import DoReMi, Proxy, RegMix, Search
from etl.search.domains import Domains
from tests.search import languages

PROXY = Proxy(
    architecture=Architecture(hidden_size=32, intermediate_size=48, layers=1, heads=2, context=32),
    context=32,
    batch=12,
    steps=100,
    optimizer=Optimizer(lr=0.02, weight_decay=0.0),
)
SEARCH = Search(
    name="small",
    mixture="three",
    recipe="none",
    vocab_size=300,
    domain_tokens=1,
    held_out_tokens=1,
    proxy=PROXY,
    doremi=DoReMi(seeds=(1, 2)),
    regmix=RegMix(proxies=10, draws=2000, top=20, resamples=3),
    objective={"second order": 1.0},
    comparison_seeds=(11, 12, 13),
)


@functools.cache
def three() -> Domains:
    """A language at its floor at once, one that is noise, and one with much to learn of which there is little."""
    return languages.domains(languages.three(), available=[45_000, 45_000, 10_000])
