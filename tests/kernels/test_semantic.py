"""Pairs are those of brute force, and in masses of alike vectors they connect what all pairs would connect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from etl.kernels import semantic

DIMENSIONS = 16


def unit(vectors: NDArray[np.float64]) -> semantic.Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def alike(rows: int, topics: int, noise: float, seed: int = 1, dimensions: int = DIMENSIONS) -> semantic.Vectors:
    """Vectors around some topics: the smaller the noise, the more pairs."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(topics, dimensions))
    return unit(middles[random.integers(0, topics, rows)] + noise * random.normal(size=(rows, dimensions)))


def brute_force(vectors: semantic.Vectors, min_similarity: float) -> dict[tuple[int, int], float]:
    wide = vectors.astype(np.float64)
    similarity = np.round(wide @ wide.T, semantic.DECIMALS)
    left, right = np.nonzero(np.triu(similarity >= min_similarity, 1))
    return dict(zip(zip(left.tolist(), right.tolist(), strict=True), similarity[left, right], strict=True))


def as_dict(pairs: semantic.Pairs) -> dict[tuple[int, int], float]:
    keys = list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, pairs.similarity, strict=True))


def components(edges: dict[tuple[int, int], float], rows: int, threshold: float) -> list[int]:
    """By SciPy: for each row, the smallest that it is connected with."""
    chosen = [edge for edge, similarity in edges.items() if similarity >= threshold]
    left, right = ([edge[side] for edge in chosen] for side in (0, 1))
    labels = connected_components(coo_matrix(([1] * len(chosen), (left, right)), (rows, rows)), directed=False)[1]
    first: dict[int, int] = {}
    return [first.setdefault(label, row) for row, label in enumerate(labels)]


def assert_same(found: dict[tuple[int, int], float], expected: dict[tuple[int, int], float]) -> None:
    assert found.keys() == expected.keys()
    for edge, similarity in expected.items():
        assert found[edge] == pytest.approx(similarity, abs=2e-6)


@given(rows=st.integers(0, 60), topics=st.integers(1, 8), noise=st.floats(0.01, 2), seed=st.integers(0, 99))
def test_pairs_are_those_of_brute_force(rows: int, topics: int, noise: float, seed: int) -> None:
    vectors = alike(rows, topics, noise, seed)
    assert_same(as_dict(semantic.pairs(vectors, 0.9, neighbors=rows + 1)), brute_force(vectors, 0.9))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(2, 120),
    topics=st.integers(1, 4),
    noise=st.sampled_from([0.001, 0.05, 0.2, 0.3]),
    neighbors=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_few_pairs_connect_what_all_connect_at_every_threshold(
    rows: int, topics: int, noise: float, neighbors: int, seed: int
) -> None:
    vectors = alike(rows, topics, noise, seed)
    every, found = brute_force(vectors, 0.8), as_dict(semantic.pairs(vectors, 0.8, neighbors=neighbors))
    assert found.keys() <= every.keys()
    assert len(found) <= rows * (neighbors + 1)
    for threshold in (0.8, 0.85, 0.9, 0.95, 0.98, 0.999):
        assert components(found, rows, threshold) == components(every, rows, threshold)


def test_neither_blocks_nor_the_forest_kept_meanwhile_change_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = alike(500, 3, 0.15)
    whole = semantic.pairs(vectors, 0.8, neighbors=3)
    monkeypatch.setattr(semantic, "EDGES", 50)
    monkeypatch.setattr(semantic, "BLOCK_CELLS", 7 * len(vectors))
    assert as_dict(semantic.pairs(vectors, 0.8, neighbors=3)) == as_dict(whole)


def test_the_nearest_documents_before_a_document_are_kept() -> None:
    vectors = alike(80, 1, 0.1)
    every, found = brute_force(vectors, 0.5), as_dict(semantic.pairs(vectors, 0.5, neighbors=2))
    for right in range(2, 80):
        before = sorted((edge for edge in every if edge[1] == right), key=lambda edge: -every[edge])
        assert set(before[:2]) <= found.keys()


def test_a_pair_that_is_compared_elsewhere_is_not_a_pair_here() -> None:
    vectors = alike(4, 1, 0.01)
    elsewhere = np.asarray([[3, -1], [3, -1], [-1, 5], [-1, 5]])
    found = as_dict(semantic.pairs(vectors, 0.9, neighbors=9, elsewhere=elsewhere))
    assert found.keys() == {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_cells_that_share_vectors_give_each_pair_once_and_together_what_one_gives() -> None:
    vectors = alike(400, 6, 0.3, dimensions=64)
    centroids = semantic.train(vectors, 5, seed=1)
    labels = semantic.nearest(vectors, centroids, 2)
    found: dict[tuple[int, int], float] = {}
    for cell in range(len(centroids)):
        rows = np.flatnonzero((labels == cell).any(axis=1))
        earlier = np.where(labels[rows] < cell, labels[rows], -1).max(axis=1, keepdims=True)
        pairs = semantic.pairs(vectors[rows], 0.6, neighbors=400, elsewhere=earlier)
        here = as_dict(semantic.Pairs(rows[pairs.left], rows[pairs.right], pairs.similarity))
        assert not here.keys() & found.keys()
        found |= here
    shared = {
        edge: similarity
        for edge, similarity in brute_force(vectors, 0.6).items()
        if set(labels[edge[0]]) & set(labels[edge[1]])
    }
    assert_same(found, shared)
    assert shared


def test_a_cell_that_is_too_large_is_split_and_loses_little() -> None:
    vectors = alike(1200, 40, 0.35, dimensions=64)
    every = brute_force(vectors, 0.88)
    found = as_dict(semantic.cell_pairs(vectors, 0.88, neighbors=1200, max_rows=300, probes=2))
    assert len(every) > 1000
    assert found.keys() <= every.keys()
    assert len(found) >= 0.99 * len(every)


def test_vectors_that_cannot_be_parted_are_compared_all_with_all() -> None:
    vectors = np.repeat(alike(1, 1, 0.1), 200, axis=0)
    found = as_dict(semantic.cell_pairs(vectors, 0.9, neighbors=2, max_rows=64))
    assert components(found, 200, 1.0) == [0] * 200
    assert len(found) <= 3 * 200


def test_centroids_have_unit_length_and_do_not_depend_on_the_order_of_rows_or_on_copies() -> None:
    vectors = alike(300, 7, 0.2)
    centroids = semantic.train(vectors, 7, seed=3)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    copied = np.concatenate([vectors[::-1], np.repeat(vectors[:1], 500, axis=0)])
    np.testing.assert_array_equal(semantic.train(copied, 7, seed=3), centroids)
    assert not np.array_equal(semantic.train(vectors, 7, seed=4), centroids)


def test_topics_far_apart_are_cells_of_their_own() -> None:
    vectors = alike(600, 4, 0.05, dimensions=64)
    labels = semantic.nearest(vectors, semantic.train(vectors, 12, seed=1), 1)[:, 0]
    for cell in np.unique(labels):
        assert (vectors[labels == cell] @ vectors[labels == cell].T).min() > 0.8


def test_training_splits_a_cell_that_is_far_above_the_mean() -> None:
    dense, sparse = alike(900, 1, 0.1, seed=1), alike(100, 20, 0.5, seed=2)
    vectors = np.concatenate([dense, sparse])
    sizes = np.bincount(semantic.nearest(vectors, semantic.train(vectors, 20, seed=1), 1)[:, 0])
    assert sizes.max() <= 2 * semantic.MAX_CELL_RATIO * len(vectors) / 20


@pytest.mark.parametrize(("rows", "cells", "expected"), [(0, 4, 0), (1, 4, 1), (3, 4, 3), (3, 1, 1)])
def test_there_are_no_more_cells_than_vectors(rows: int, cells: int, expected: int) -> None:
    assert semantic.train(alike(rows, 2, 1.0), cells, seed=1).shape == (expected, DIMENSIONS)


def test_the_nearest_centroids_come_first_and_the_first_of_two_as_near() -> None:
    centroids = np.eye(4, dtype=np.float32)
    vectors = unit(np.asarray([[1.0, 3, 0, 0], [2.0, 1, 2, 0]]))
    np.testing.assert_array_equal(semantic.nearest(vectors, centroids, 3), [[1, 0, 2], [0, 2, 1]])
    assert semantic.nearest(vectors, centroids[:2], 3).shape == (2, 2)


def test_equal_vectors_and_no_others_have_equal_digests() -> None:
    vectors = alike(3, 3, 0.1)
    found = semantic.digests(np.concatenate([vectors, vectors[1:2], np.nextafter(vectors[1:2], 2)]))
    assert found[1] == found[3]
    assert len(set(found)) == 4
