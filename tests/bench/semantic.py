"""Semantic duplicates: what cells lose beside brute force, what a threshold separates, and how fast both are.

    python -m tests.bench.semantic planted                        noisy copies at known cosines, without a model
    python -m tests.bench.semantic levels --levels FILE           one text at three reading levels: OneStopEnglish
    python -m tests.bench.semantic --jsonl FILE --text-field text any texts: documents, pairs, clusters

FILE has one object a line and may be gzipped; that of `levels` has the keys ``article`` and ``text``. ``--model``
names the model, a folder or an id on a hub; without it the packaged one is used. Recall is of pairs of cosine
``--similarity`` or more: those that share a cell among all there are by brute force, with Wilson's interval of 95 %.
Times are CPU times of one process; start it with OMP_NUM_THREADS=1 for figures of one core.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etl.kernels import embed, intervals, semantic

THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98, 0.99)
Pair = tuple[int, int]


def write(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read(path: Path, field: str, limit: int | None) -> list[dict[str, str]]:
    """The objects of a file that have some text in `field`."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if field not in row:
                raise SystemExit(f"{path}: line {number + 1} has no key {field!r}, but {', '.join(row)}")
            if str(row[field] or "").strip():
                rows.append(row)
            if len(rows) == limit:
                break
    return rows


@dataclass(frozen=True)
class Found:
    """Pairs of some vectors, and the CPU seconds that training, assignment and products took."""

    pairs: dict[Pair, float]
    cells: int
    largest: int
    train: float
    compare: float


def in_cells(vectors: semantic.Vectors, options: argparse.Namespace, cells: int, probes: int) -> Found:
    """As the stage does it, without Spark."""
    start = time.process_time()
    centroids = semantic.train(vectors, cells, seed=1)
    trained = time.process_time()
    labels = semantic.nearest(vectors, centroids, probes)
    pairs: dict[Pair, float] = {}
    for cell in range(len(centroids)):
        rows = np.flatnonzero((labels == cell).any(axis=1))
        earlier = np.where(labels[rows] < cell, labels[rows], -1).max(axis=1, keepdims=True)
        found = semantic.cell_pairs(
            vectors[rows],
            options.similarity,
            neighbors=options.neighbors,
            max_rows=options.max_rows,
            probes=probes,
            elsewhere=earlier,
        )
        edges = zip(rows[found.left].tolist(), rows[found.right].tolist(), strict=True)
        pairs.update(zip(edges, found.similarity.tolist(), strict=True))
    largest = int(np.bincount(labels.ravel()).max())
    return Found(pairs, len(centroids), largest, trained - start, time.process_time() - trained)


def all_with_all(vectors: semantic.Vectors, options: argparse.Namespace) -> Found:
    start = time.process_time()
    found = semantic.pairs(vectors, options.similarity, neighbors=len(vectors))
    edges = zip(found.left.tolist(), found.right.tolist(), strict=True)
    pairs = dict(zip(edges, found.similarity.tolist(), strict=True))
    return Found(pairs, 1, len(vectors), 0.0, time.process_time() - start)


def recall(found: Found, truth: Found) -> str:
    n, hits = len(truth.pairs), len(found.pairs.keys() & truth.pairs.keys())
    low, high = intervals.wilson(hits, n)
    return f"recall {hits / max(n, 1):.4f} [{low:.4f}, {high:.4f}] of n = {n:,}"


def compare_cells(vectors: semantic.Vectors, options: argparse.Namespace, sizes: Sequence[int]) -> None:
    """Pairs in cells beside all pairs, by size of cell and number of cells searched."""
    truth = all_with_all(vectors, options)
    documents = len(vectors)
    write(f"brute force: {len(truth.pairs):,} pairs, {documents / truth.compare:,.0f} documents/s/core")
    for size in sizes:
        for probes in (1, 2):
            found = in_cells(vectors, options, max(1, documents // size), probes)
            write(
                f"cells of {size:,}: {found.cells:,}, largest {found.largest:,}, searched {probes}: "
                f"{recall(found, truth)}; training {found.train:.1f} s, "
                f"{documents / found.compare:,.0f} documents/s/core"
            )


def planted(options: argparse.Namespace) -> None:
    """Vectors of topics of several strengths, half of them noisy copies of the others at cosines 0.9 to 0.99."""
    random = np.random.default_rng(1)
    half, dimensions = options.documents // 2, 384
    for topics, strength in ((0, 0.0), (300, 0.5), (300, 0.7)):
        noise = random.normal(size=(half, dimensions)) / dimensions**0.5
        middles = unit(random.normal(size=(max(topics, 1), dimensions)))
        originals = unit(strength * middles[random.integers(0, max(topics, 1), half)] + (1 - strength) * noise)
        away = random.normal(size=(half, dimensions))
        away = unit(away - np.einsum("nd,nd->n", away, originals)[:, None] * originals)
        cosines = random.uniform(0.9, 0.99, size=(half, 1))
        copies = cosines * originals + np.sqrt(1 - cosines**2) * away
        vectors = unit(np.concatenate([originals, copies])).astype(np.float32)
        kind = f"{topics} topics of strength {strength:g}" if topics else "without topics, the worst case for cells"
        write(f"{len(vectors):,} vectors of {dimensions} dimensions, {kind}")
        compare_cells(vectors, options, (500, 1000, 2000))


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def embedded(texts: Sequence[str], options: argparse.Namespace) -> semantic.Vectors:
    settings = embed.Settings(
        options.model, max_tokens=options.max_tokens, windows=options.windows, precision=options.precision
    )
    embed.check(settings)
    start = time.process_time()
    vectors = embed.embed(texts, settings)
    seconds = time.process_time() - start
    write(
        f"model {embed.name(settings)}: {len(texts) / seconds:,.1f} documents/s/core, "
        f"{sum(map(len, texts)) / len(texts):,.0f} characters a document"
    )
    return vectors


def levels(options: argparse.Namespace) -> None:
    """How well thresholds part rewritten texts from others: all pairs of one article at two levels, and all others."""
    rows = read(options.levels, "text", options.documents)
    vectors = embedded([row["text"] for row in rows], options)
    article = np.asarray([row["article"] for row in rows])
    similarity = vectors.astype(np.float64) @ vectors.T
    left, right = np.triu_indices(len(rows), 1)
    is_same = article[left] == article[right]
    values = similarity[left, right]
    write(f"{is_same.sum():,} pairs of one article at two levels, {(~is_same).sum():,} others")
    for threshold in THRESHOLDS:
        is_found = values >= threshold
        hits, found = int((is_found & is_same).sum()), int(is_found.sum())
        (low, high), (lowest, highest) = intervals.wilson(hits, is_same.sum()), intervals.wilson(hits, found)
        write(
            f"cosine {threshold:.2f}: recall {hits / is_same.sum():.3f} [{low:.3f}, {high:.3f}], "
            f"precision {hits / max(found, 1):.3f} [{lowest:.3f}, {highest:.3f}], {found - hits:,} of other articles"
        )
    order = np.argsort(-np.where(is_same, -1, values))[: options.examples]
    write("The most alike of different articles:")
    for at in order:
        one, other = rows[left[at]], rows[right[at]]
        write(f"  {values[at]:.3f}  {one['article']} / {other['article']}: {one['text'][:60]!r} {other['text'][:60]!r}")
    truth = all_with_all(vectors, options)
    found = in_cells(vectors, options, max(1, len(rows) // options.cell_rows), 2)
    write(f"pairs of cosine {options.similarity:g}: {recall(found, truth)}")


def any_texts(options: argparse.Namespace) -> None:
    rows = read(options.jsonl, options.text_field, options.documents)
    texts = [str(row[options.text_field]) for row in rows]
    vectors = embedded(texts, options)
    found = in_cells(vectors, options, max(1, len(rows) // options.cell_rows), options.probes)
    write(f"{len(rows) / max(found.compare, 1e-9):,.0f} documents/s/core for pairs")
    for threshold in THRESHOLDS:
        if threshold >= options.similarity:
            count, clusters, removed = clusters_at(found.pairs, len(rows), threshold)
            write(f"cosine {threshold:.2f}: {count:,} pairs, {clusters:,} clusters, {removed:,} documents to remove")
    closest = sorted(found.pairs, key=lambda pair: found.pairs[pair])
    for left, right in closest[: options.examples]:
        write(f"  {found.pairs[left, right]:.3f}  {texts[left][:100]!r} / {texts[right][:100]!r}")
    count, clusters, _ = clusters_at(found.pairs, len(rows), options.similarity)
    write(f"{len(rows):,} documents, {count:,} pairs, {clusters:,} clusters at cosine {options.similarity:g}")


def clusters_at(pairs: dict[Pair, float], rows: int, threshold: float) -> tuple[int, int, int]:
    """Pairs above a threshold, the clusters that they connect, and the documents beyond one of each."""
    chosen = [pair for pair, similarity in pairs.items() if similarity >= threshold]
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for left, right in chosen:
        parent[root(right)] = root(left)
    members = {row for pair in chosen for row in pair}
    clusters = len({root(row) for row in members})
    return len(chosen), clusters, len(members) - clusters


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("planted", "levels"))
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--levels", type=Path)
    parser.add_argument("--documents", type=int, help="only so many; 20,000 vectors for planted")
    parser.add_argument("--model", default=embed.PACKAGED)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--windows", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=embed.PRECISIONS)
    parser.add_argument("--similarity", type=float, default=0.9)
    parser.add_argument("--probes", type=int, default=2, choices=(1, 2))
    parser.add_argument("--neighbors", type=int, default=64)
    parser.add_argument("--max-rows", type=int, default=8192)
    parser.add_argument("--cell-rows", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=8)
    options = parser.parse_args(argv)
    if options.what == "planted":
        options.documents = options.documents or 20_000
        planted(options)
    elif options.what == "levels" and options.levels is not None:
        levels(options)
    elif options.jsonl is not None:
        any_texts(options)
    else:
        parser.error("wanted planted, levels with --levels, or --jsonl")


if __name__ == "__main__":
    main()
