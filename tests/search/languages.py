"""Made-up languages of which it is known how much there is to learn, and how fast. None shares a token with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etl.search.domains import Domain, Domains, Tokens

WIDTH = 8  # tokens of a language
Table = NDArray[np.float64]


def noise(_generator: np.random.Generator) -> Table:
    """Every token is as likely as any other: nothing to learn beyond which tokens there are."""
    return np.full((WIDTH, WIDTH, WIDTH), 1 / WIDTH)


def cycle(_generator: np.random.Generator) -> Table:
    """Tokens follow each other in a ring, but for 2 %: at its floor after some steps."""
    table = np.full((WIDTH, WIDTH, WIDTH), 0.02 / WIDTH)
    for last in range(WIDTH):
        table[:, last, (last + 1) % WIDTH] += 0.98
    return table


def second_order(generator: np.random.Generator) -> Table:
    """The last two tokens say the next, but for 10 %, by a table drawn at random: much to learn, and slowly, since
    neither of the two alone says anything."""
    table = np.full((WIDTH, WIDTH, WIDTH), 0.1 / WIDTH)
    for before in range(WIDTH):
        # Each next token once per row: one token alone leaves all of them as likely.
        table[before, np.arange(WIDTH), generator.permutation(WIDTH)] += 0.9
    return table


def three() -> dict[str, Table]:
    """A language at its floor at once, one that is noise, and one with much to learn."""
    generator = np.random.default_rng(5)
    return {"cycle": cycle(generator), "noise": noise(generator), "second order": second_order(generator)}


def floor(table: Table) -> float:
    """Nats per token that no model comes below."""
    pairs = np.full((WIDTH, WIDTH), 1 / WIDTH**2)
    for _ in range(200):
        pairs = np.einsum("ab,abc->bc", pairs, table)
    return float(-(pairs[:, :, None] * table * np.log(table)).sum())


def spoken(table: Table, length: int, generator: np.random.Generator, *, first: int) -> Tokens:
    """A stream of the language, in the tokens from `first` on."""
    edges = table.cumsum(axis=2)
    draws = generator.random(length)
    said = np.empty(length, dtype=np.uint32)
    before, last = (int(place) for place in generator.integers(WIDTH, size=2))
    for place in range(length):
        before, last = last, min(WIDTH - 1, int(np.searchsorted(edges[before, last], draws[place])))
        said[place] = last
    return said + np.uint32(first)


def domains(
    tables: Mapping[str, Table],
    *,
    available: Sequence[int],
    train: int = 20_000,
    held_out: int = 1_000,
    seed: int = 1,
) -> Domains:
    """One domain per language; each token is a byte."""
    generator = np.random.default_rng(seed)
    made = []
    for place, (name, table) in enumerate(tables.items()):
        streams = [spoken(table, size, generator, first=place * WIDTH) for size in (train, held_out, held_out)]
        made.append(Domain(name, *streams, available[place]))
    return Domains(tuple(made), np.ones(len(tables) * WIDTH, dtype=np.int64))
