"""Which inputs begin alike, so that a model reads the beginning once: the choices of one question, or the questions
of one subject after the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]

LEAST_SHARED = 16  # tokens; below, two calls of the model cost more than is saved
KEPT = 4  # keys and values that may be kept, over the tokens that may be read at once


@dataclass(frozen=True)
class Group:
    """Inputs whose first `shared` tokens are the same; 0 for one input by itself."""

    shared: int
    inputs: tuple[Ids, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest input after what is shared."""
        return max(map(len, self.inputs)) - self.shared


def groups(latest: Mapping[Ids, int], most_tokens: int) -> list[Group]:
    """Every input in one group; `latest` says for each how many of its first tokens it may share.

    Inputs are taken in the order of their tokens, and the next one joins when that saves tokens in all. A group is
    one that `fits` by itself. Deterministic.
    """
    found: list[Group] = []
    members: list[Ids] = []
    shared = 0
    for ids in sorted(latest):
        both = min(shared, latest[ids], _common(members[-1], ids)) if members else 0
        saved = shared * (len(members) - 1)
        larger = Group(both, (*members, ids))
        if both >= LEAST_SHARED and both * len(members) > saved and fits([larger], most_tokens):
            members.append(ids)
            shared = both
            continue
        if members:
            found.append(_group(shared, members))
        members, shared = [ids], latest[ids]
    return [*found, _group(shared, members)] if members else found


def _group(shared: int, members: Sequence[Ids]) -> Group:
    return Group(shared if len(members) > 1 else 0, tuple(members))


def _common(left: Ids, right: Ids) -> int:
    """How many tokens two inputs begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )


def fits(together: Sequence[Group], most_tokens: int) -> bool:
    """Whether the groups, padded to one length before and after what they share, can be read at once."""
    before, after = max(group.shared for group in together), max(group.longest for group in together)
    rows = sum(len(group.inputs) for group in together)
    reads = len(together) * before + rows * after
    return reads <= most_tokens and rows * (before + after) <= KEPT * most_tokens


def batches(of_groups: Sequence[Group], most_tokens: int) -> Iterator[list[Group]]:
    """The groups as many at a time as fit, but at least one; those of similar length together, as padding is read too.
    Longest first, so that memory runs out at once or never."""
    batch: list[Group] = []
    for group in sorted(of_groups, key=lambda group: (-group.longest, -group.shared, group.inputs)):
        if batch and not fits([*batch, group], most_tokens):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch
