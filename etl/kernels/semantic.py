"""Pairs of documents that say the same: cells of alike vectors, and within each cell the pairs above a cosine.

SemDeDup (Abbas et al. 2023): spherical k-means puts vectors into cells, and only vectors of one cell are compared, so
that time grows with documents times size of a cell. Three things are added.

*Borders.* A vector may be in its two nearest cells. Two vectors that share two cells are compared in the smaller alone.

*Size.* Training splits cells that are far above the mean, and a cell that has outgrown `max_rows` since is split by
k-means again while it is compared. Products are made block by block, so memory does not grow with a cell.

*Dense cells.* Of n pages of one template all n² / 2 pairs are alike. A pair is kept when it is one of the `neighbors`
most similar of its right document among documents to the left of it in the same cell, or when it is in the maximum
spanning forest of the cell. Where no document has more than `neighbors` such pairs, all pairs are kept. Where some
have, connected components are still exactly those of all pairs, at every threshold above `min_similarity`: the forest
of a graph connects what the graph connects, at every threshold (Gower and Ross 1969). Complete links are not kept.

Rows are given in the order of their ids. Everything is deterministic in the rows and the seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK_CELLS = 1 << 23  # similarities in memory at once
EDGES = 1 << 21  # pairs that wait for the spanning forest
SLACK = 1e-5  # products of float32 are this near: candidates are measured again in float64
DECIMALS = 6

TRAINING_VERSION = 1  # raise it when the same vectors and params give other centroids

# Training rows for each centroid: more change it little (Douze et al. 2024 take 39 to 256).
ROWS_A_CENTROID = 64
MAX_CELL_RATIO = 2.0  # size of a cell to the mean, above which training splits it
_SPLITS = 12  # rounds of such splits: each at least halves what it can
_LEVELS = 24


@dataclass(frozen=True)
class Pairs:
    """Rows `left` < `right`, and their cosine, rounded to six decimals; ordered by both."""

    left: Ints
    right: Ints
    similarity: NDArray[np.float64]


def digests(vectors: Vectors) -> list[bytes]:
    """16 bytes a vector, the same for vectors that are equal bit by bit."""
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(vectors)]


def train(vectors: Vectors, cells: int, *, seed: int, rounds: int = 20) -> Vectors:
    """Centroids of unit length: (n, d) -> (k, d), by spherical k-means (Dhillon and Modha 2001).

    k is `cells`, or a little more after cells of more than twice the mean were split, or fewer where there are fewer
    vectors. Equal vectors count once, so that copies do not draw centroids to them, and the order of rows does not
    matter.
    """
    distinct = _distinct(vectors)
    count = min(cells, len(distinct))
    if count <= 1:
        return _unit(distinct.sum(axis=0, keepdims=True, dtype=np.float64)) if len(distinct) else distinct
    random = np.random.default_rng(seed)
    centroids = _lloyd(distinct, distinct[np.sort(random.choice(len(distinct), count, replace=False))], rounds)
    most = MAX_CELL_RATIO * len(distinct) / count
    for _ in range(_SPLITS):
        labels = nearest(distinct, centroids, 1)[:, 0]
        sizes = np.bincount(labels, minlength=len(centroids))
        large = np.flatnonzero(sizes > max(most, 2))
        if not large.size:
            break
        halves = []
        for cell in large:
            members = distinct[labels == cell]
            starts = members[np.sort(random.choice(len(members), 2, replace=False))]
            halves.append(_lloyd(members, starts, rounds))
        centroids = np.concatenate([np.delete(centroids, large, axis=0), *halves])
    return centroids


def nearest(vectors: Vectors, centroids: Vectors, count: int) -> Ints:
    """The `count` nearest centroids, or all there are, nearest first: (n, count). Of two as near the first."""
    count = min(count, len(centroids))
    found = np.empty((len(vectors), count), dtype=np.int64)
    for rows in _blocks(len(vectors), len(centroids)):
        similarity = vectors[rows] @ centroids.T
        for place in range(count):
            best = similarity.argmax(axis=1)
            found[rows, place] = best
            similarity[np.arange(len(best)), best] = -np.inf
    return found


def cell_pairs(
    vectors: Vectors,
    min_similarity: float,
    *,
    neighbors: int,
    max_rows: int,
    probes: int = 1,
    elsewhere: Ints | None = None,
    seed: int = 1,
) -> Pairs:
    """The pairs of one cell, of any size: above `max_rows` it is split into smaller cells, in `probes` of which a
    vector is looked for.

    Args:
        elsewhere: (n, levels), another cell in which a row is too, where that cell comes before this one, else -1.
            Two rows that share one are not a pair here: they are compared there.
    """
    if elsewhere is None:
        elsewhere = np.empty((len(vectors), 0), dtype=np.int64)
    found = list(_split(vectors, np.arange(len(vectors)), elsewhere, min_similarity, neighbors, max_rows, probes, seed))
    left = np.concatenate([pairs.left for pairs in found])
    right = np.concatenate([pairs.right for pairs in found])
    order = np.lexsort((right, left))
    return Pairs(left[order], right[order], np.concatenate([pairs.similarity for pairs in found])[order])


def _split(
    vectors: Vectors,
    rows: Ints,
    elsewhere: Ints,
    min_similarity: float,
    neighbors: int,
    max_rows: int,
    probes: int,
    seed: int,
) -> Iterator[Pairs]:
    """The pairs of `rows`, cell by cell."""
    cells = -(-2 * probes * len(rows) // max_rows) if len(rows) > max_rows else 1
    if cells > 1:
        step = max(1, len(rows) // (cells * ROWS_A_CENTROID))
        centroids = train(vectors[rows[::step]], cells, seed=seed)
        labels = nearest(vectors[rows], centroids, probes)
        largest = np.bincount(labels.ravel(), minlength=len(centroids)).max()
        # Vectors that k-means cannot part are compared all with all: slow, and right.
        if largest <= 0.9 * len(rows):
            for cell in range(len(centroids)):
                is_member = (labels == cell).any(axis=1)
                if is_member.sum() > 1:
                    other = np.where((labels >= 0) & (labels < cell), labels, -1)[is_member].max(axis=1, keepdims=True)
                    deeper = np.hstack([elsewhere[is_member], other])
                    yield from _split(
                        vectors, rows[is_member], deeper, min_similarity, neighbors, max_rows, probes, seed
                    )
            return
    found = pairs(vectors[rows], min_similarity, neighbors=neighbors, elsewhere=elsewhere)
    yield Pairs(rows[found.left], rows[found.right], found.similarity)


def pairs(vectors: Vectors, min_similarity: float, *, neighbors: int, elsewhere: Ints | None = None) -> Pairs:
    """The pairs of cosine `min_similarity` or more among all rows, by the rule that the module states."""
    floor = min_similarity - SLACK
    kept, rest = _Edges.none(), _Edges.none()
    levels = _Levels.none(len(vectors))
    for rows in _blocks(len(vectors), len(vectors)):
        similarity = vectors[rows] @ vectors[: rows.stop].T
        # Each pair once, and a row not with itself.
        similarity[np.arange(rows.start, rows.stop)[:, None] <= np.arange(rows.stop)] = -2
        right, left = np.nonzero(similarity >= floor)
        if elsewhere is not None and elsewhere.shape[1]:
            shared = (elsewhere[right + rows.start] == elsewhere[left]) & (elsewhere[left] >= 0)
            is_elsewhere = shared.any(axis=1)
            similarity[right[is_elsewhere], left[is_elsewhere]] = -2
            right, left = right[~is_elsewhere], left[~is_elsewhere]
        found = _Edges(left, right + rows.start, similarity[right, left])
        is_near = _is_near(similarity, right, left, neighbors)
        kept = kept.with_(found.where(is_near))
        if not is_near.all():
            more = found.where(~is_near)
            rest = rest.with_(more.where(~levels.connect(more)))
            if rest.size > EDGES:
                rest, levels = _forest_beside(kept, rest, len(vectors))
    if rest.size:
        rest, _ = _forest_beside(kept, rest, len(vectors))
    every = kept.with_(rest)
    similarity64 = _cosines(vectors, every.left, every.right)
    is_pair = similarity64 >= min_similarity
    order = np.lexsort((every.right, every.left))
    order = order[is_pair[order]]
    return Pairs(every.left[order], every.right[order], similarity64[order])


def _cosines(vectors: Vectors, left: Ints, right: Ints) -> NDArray[np.float64]:
    """In float64 and row by row, so that a pair has one value whatever it was found beside."""
    found = np.empty(len(left), dtype=np.float64)
    for rows in _blocks(len(left), vectors.shape[1]):
        found[rows] = np.einsum(
            "nd,nd->n", vectors[left[rows]].astype(np.float64), vectors[right[rows]].astype(np.float64)
        )
    return np.minimum(np.round(found, DECIMALS), 1.0)


def _is_near(similarity: Vectors, right: Ints, left: Ints, neighbors: int) -> NDArray[np.bool_]:
    """Per pair of a block: is it one of the `neighbors` most similar of its right row, of two as similar the first."""
    near = np.ones(len(right), dtype=np.bool_)
    counts = np.bincount(right, minlength=len(similarity))
    for row in np.flatnonzero(counts > neighbors):
        at = slice(*np.searchsorted(right, [row, row + 1]))
        values = similarity[row, left[at]]
        lowest = np.partition(values, len(values) - neighbors)[len(values) - neighbors]
        is_above, is_tie = values > lowest, values == lowest
        near[at] = is_above | (is_tie & (np.cumsum(is_tie) <= neighbors - is_above.sum()))
    return near


@dataclass(frozen=True)
class _Edges:
    left: Ints
    right: Ints
    similarity: Vectors

    @classmethod
    def none(cls) -> _Edges:
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, np.empty(0, dtype=np.float32))

    @property
    def size(self) -> int:
        return len(self.left)

    def where(self, chosen: NDArray[np.bool_] | Ints) -> _Edges:
        return _Edges(self.left[chosen], self.right[chosen], self.similarity[chosen])

    def with_(self, other: _Edges) -> _Edges:
        if not other.size:
            return self
        return _Edges(
            np.concatenate([self.left, other.left]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.similarity, other.similarity]),
        )


@dataclass(frozen=True)
class _Levels:
    """Components at some similarities, to see that a pair can add nothing to the forest."""

    similarities: Vectors  # (levels,), rising
    components: Ints  # (levels, n)

    @classmethod
    def none(cls, rows: int) -> _Levels:
        return cls(np.empty(0, dtype=np.float32), np.empty((0, rows), dtype=np.int64))

    def connect(self, edges: _Edges) -> NDArray[np.bool_]:
        """Per pair: pairs of higher similarity connect its rows already."""
        if not len(self.similarities):
            return np.zeros(edges.size, dtype=np.bool_)
        level = np.searchsorted(self.similarities, edges.similarity, side="right")
        is_below = level < len(self.similarities)
        level = np.minimum(level, len(self.similarities) - 1)
        same: NDArray[np.bool_] = self.components[level, edges.left] == self.components[level, edges.right]
        return is_below & same


def _forest_beside(kept: _Edges, rest: _Edges, rows: int) -> tuple[_Edges, _Levels]:
    """The pairs of `rest` that are in the maximum spanning forest of both, and the components of that forest."""
    every = kept.with_(rest)
    order = np.lexsort((every.right, every.left, -every.similarity))
    ordered = every.where(order)
    chosen = _forest(ordered.left, ordered.right, rows)
    forest = ordered.where(chosen)
    similarities = np.unique(forest.similarity[np.linspace(0, forest.size - 1, _LEVELS).astype(np.int64)])
    components = [
        _connected(np.arange(rows), forest.left[is_in], forest.right[is_in])
        for is_in in (forest.similarity >= similarity for similarity in similarities)
    ]
    is_of_rest = order[chosen] >= kept.size
    return forest.where(is_of_rest), _Levels(similarities, np.stack(components))


def _forest(left: Ints, right: Ints, rows: int) -> Ints:
    """Which edges, ordered from the best, are in the spanning forest that prefers the best (Borůvka 1926).

    The order has no ties, so there is one such forest.
    """
    component = np.arange(rows)
    chosen: list[Ints] = []
    edges = np.arange(len(left))
    while True:
        edges = edges[component[left[edges]] != component[right[edges]]]
        if not edges.size:
            return np.sort(np.concatenate(chosen)) if chosen else edges
        best = np.full(rows, len(left), dtype=np.int64)
        ends = component[left[edges]], component[right[edges]]
        np.minimum.at(best, ends[0], edges)
        np.minimum.at(best, ends[1], edges)
        joined = np.unique(best[best < len(left)])
        chosen.append(joined)
        component = _connected(component, left[joined], right[joined])


def _connected(component: Ints, left: Ints, right: Ints) -> Ints:
    """Components, each named by its smallest, after the edges were added to those there are: (n,)."""
    while True:
        apart = component[left] != component[right]
        if not apart.any():
            return component
        left, right = left[apart], right[apart]
        component = _merge(component, left, right)


def _merge(component: Ints, left: Ints, right: Ints) -> Ints:
    """Each component takes the smallest name among those it has an edge with, and names are followed to their end."""
    a, b = component[left], component[right]
    parent = np.arange(len(component))
    np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
    while True:
        further = parent[parent]
        if (further == parent).all():
            return parent[component]
        parent = further


def _lloyd(vectors: Vectors, centroids: Vectors, rounds: int) -> Vectors:
    labels: Ints | None = None
    for _ in range(rounds):
        found = nearest(vectors, centroids, 1)[:, 0]
        if labels is not None and (found == labels).all():
            break
        labels = found
        order = np.argsort(labels, kind="stable")
        cells, starts = np.unique(labels[order], return_index=True)
        sums = np.add.reduceat(vectors[order].astype(np.float64), starts, axis=0)
        centroids = centroids.copy()
        centroids[cells] = _unit(sums)
        empty = np.setdiff1d(np.arange(len(centroids)), cells)
        if empty.size:
            # The vectors that fit their own cell least begin new ones.
            fit = np.einsum("nd,nd->n", vectors, centroids[labels])
            centroids[empty] = vectors[np.argsort(fit, kind="stable")[: empty.size]]
    return centroids


def _distinct(vectors: Vectors) -> Vectors:
    """Each vector once, in an order that depends on the vectors alone."""
    if not len(vectors):
        return vectors
    whole = np.ascontiguousarray(vectors, dtype=np.float32)
    keys = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    return whole[np.unique(keys, return_index=True)[1]]


def _unit(vectors: NDArray[np.float64]) -> Vectors:
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.asarray(vectors / np.maximum(lengths, 1e-12)[:, None], dtype=np.float32)


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_CELLS // max(width, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
