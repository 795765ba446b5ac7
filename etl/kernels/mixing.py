"""How much a mixture takes of each source: shares, budgets, repetitions, and what cannot be met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# A budget that floating point puts a hair below what the scarcest source has must not cost it a row.
HAIR = 1e-6


@dataclass(frozen=True)
class Supply:
    """What there is of a source: rows, their tokens when each is read once, and the tokens of one pass over it, in
    which some rows may stand more than once."""

    documents: int = 0
    tokens: int = 0
    pass_tokens: int = 0


@dataclass(frozen=True)
class Demand:
    """What a mixture says of a source: its share of the tokens, None where a temperature decides, and how many passes
    over it are allowed."""

    source: str
    share: float | None
    epochs: int = 1


class Part(NamedTuple):
    """What a mixture takes of a source, in tokens: `asked` of it, `capacity` the most that it can give.

    `passes` are those that are needed, at most those allowed. `budget` is that of the whole set, the same in each part.
    """

    place: int
    source: str
    share: float | None
    epochs: int
    documents: int
    tokens: int
    pass_tokens: int
    capacity: int
    asked: int
    passes: int
    budget: float

    @property
    def is_short(self) -> bool:
        return self.capacity < self.asked

    @property
    def needed_epochs(self) -> float:
        """Passes over the source that what is asked would take."""
        return self.asked / self.pass_tokens if self.pass_tokens else math.inf


def shares(tokens: Sequence[int], temperature: float) -> list[float]:
    """Shares in proportion to ``tokens ** (1 / temperature)``, Arivazhagan et al. 2019, section 4.

    At 1 they are those of the sources; the higher the temperature, the more equal.
    """
    most = max(tokens, default=0)
    if most == 0:
        return [0.0] * len(tokens)
    weights = [(count / most) ** (1 / temperature) for count in tokens]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def parts(
    demands: Sequence[Demand],
    supplies: Mapping[str, Supply],
    *,
    tokens: int | None = None,
    temperature: float | None = None,
) -> list[Part]:
    """What is taken of each source of a set of `tokens`; without it, of the largest set that all sources can fill.

    Nothing is changed to fit: a source that has too little is asked for its share all the same.
    """
    found = [supplies.get(demand.source, Supply()) for demand in demands]
    if temperature is not None:
        wanted = shares([supply.tokens for supply in found], temperature)
    else:
        wanted = [demand.share or 0.0 for demand in demands]
    capacities = [supply.pass_tokens * demand.epochs for supply, demand in zip(found, demands, strict=True)]
    budget = float(tokens) if tokens is not None else _largest(capacities, wanted)
    asked = [math.floor(budget * share + HAIR) for share in wanted]
    return [
        _part(place, demands[place], found[place], wanted[place], asked[place], budget) for place in range(len(demands))
    ]


def everything(demands: Sequence[Demand], supplies: Mapping[str, Supply]) -> list[Part]:
    """All there is of each source, once."""
    found = [supplies.get(demand.source, Supply()) for demand in demands]
    total = float(sum(supply.tokens for supply in found))
    once = [Demand(demand.source, None) for demand in demands]
    whole = [Supply(supply.documents, supply.tokens, supply.tokens) for supply in found]
    return [_part(place, once[place], supply, None, supply.tokens, total) for place, supply in enumerate(whole)]


def _largest(capacities: Sequence[int], wanted: Sequence[float]) -> float:
    """The budget at which the scarcest source gives all that it may."""
    return min((capacity / share for capacity, share in zip(capacities, wanted, strict=True) if share), default=0.0)


def _part(place: int, demand: Demand, supply: Supply, share: float | None, asked: int, budget: float) -> Part:
    needed = math.ceil(asked / supply.pass_tokens) if supply.pass_tokens else 1
    return Part(
        place,
        demand.source,
        share,
        demand.epochs,
        supply.documents,
        supply.tokens,
        supply.pass_tokens,
        supply.pass_tokens * demand.epochs,
        asked,
        max(1, min(needed, demand.epochs)),
        budget,
    )


def shortfalls(found: Sequence[Part]) -> list[str]:
    """For each source that has too little, in words: asked, there, cap, and the repetition that would be needed.

    Where there are some, the last says which budget all sources could fill.
    """
    problems = [
        f"source {part.source!r} is asked for {part.asked:,} tokens ({part.share or 0:.2%} of {part.budget:,.0f}), has "
        f"{part.tokens:,} in {part.documents:,} rows{_in_a_pass(part)} and may be read {_times(part.epochs)}; "
        f"{part.needed_epochs:.2f} passes would be needed, {part.asked - part.capacity:,} tokens are missing"
        for part in found
        if part.is_short
    ]
    if problems:
        most = _largest([part.capacity for part in found], [part.share or 0.0 for part in found])
        problems.append(f"the largest budget that every source can fill is {math.floor(most + HAIR):,} tokens")
    return problems


def _in_a_pass(part: Part) -> str:
    return f", {part.pass_tokens:,} in a pass with the copies of its tiers" if part.pass_tokens != part.tokens else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
