"""Connected components of pairs of strings."""

from __future__ import annotations

import itertools
import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import components

EDGES = st.sets(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda edge: edge[0] < edge[1]), min_size=1, max_size=40
)


def joined(edges: set[tuple[str, str]]) -> dict[str, tuple[str, int, int]]:
    found = components.of_edges(*(pa.array([edge[side] for edge in edges]) for side in (0, 1)))
    return {row["node"]: (row["component"], row["degree"], row["size"]) for row in found.to_pylist()}


def by_search(edges: set[tuple[str, str]]) -> dict[str, tuple[str, int, int]]:
    near: dict[str, set[str]] = {}
    for one, other in edges:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    found = {}
    for node in near:
        seen, waiting = {node}, [node]
        while waiting:
            new = near[waiting.pop()] - seen
            seen |= new
            waiting += new
        found[node] = (min(seen), len(near[node]), len(seen))
    return found


@given(EDGES)
def test_components_are_those_of_a_search(edges: set[tuple[int, int]]) -> None:
    named = {(f"n{one:02d}", f"n{other:02d}") for one, other in edges}
    assert joined(named) == by_search(named)


def test_a_long_chain_is_one_component() -> None:
    names = [f"{number:05d}" for number in range(20_000)]
    random.Random(1).shuffle(names)
    found = joined(set(itertools.pairwise(names)))
    assert {component for component, _, _ in found.values()} == {"00000"}
    assert {size for _, _, size in found.values()} == {20_000}


def test_direction_and_order_make_no_difference() -> None:
    edges = [("a", "b"), ("c", "b"), ("x", "y"), ("d", "c")]
    turned = [(other, one) for one, other in reversed(edges)]
    assert joined(set(edges)) == joined(set(turned))
