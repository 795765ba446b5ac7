"""The main text of pages: a small network that scores the text blocks of a page in document order.

`read` makes flat arrays of a page (`etl.kernels.dom`), `etl.kernels.features` describes its blocks, the network says
how likely each belongs to the main content, and `etl.kernels.render` writes those that raise the expected word F1. The
network is made of matrix products in NumPy: words of tags, classes and texts as small vectors, a dense layer, dilated
convolutions over neighbouring blocks, the means of the blocks that are written alike or stand together, and what the
page is like as a whole. `etl/models/README.md` is its card, `etl.learn.content` trains it.

The model is the mean of several networks, each trained without one fold of the hosts. So pages of its own training data
can be scored honestly: give their hosts, and each is scored by the network that never saw its host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np

from etl import models
from etl.kernels.dom import Ints, Layout, read
from etl.kernels.features import Floats, features
from etl.kernels.render import render

__all__ = ["MODEL", "Layout", "chosen", "fold_of", "main_text", "read", "scores"]

FILE = "content.npz"
MODEL = f"goldenlake-content 1 {models.SHA256[FILE][:8]}"
FAINT = 0.05  # what is taken of a page of which nothing is above the threshold; below it the page has no main text
FEW_WORDS = 5  # steadies the expected F1 of pages with hardly any text
DILATIONS = (1, 2, 4, 8)
WEIGHT = 1  # the number that weighs a block in the mean of its page: the logarithm of its words
# Where the effect of a number may bend, in standard deviations from its mean.
KNOTS = (np.float32(-0.5), np.float32(0.5))
GROUPED = 2  # the layer before which a block learns of its groups
CONTEXTS = (0, 2)  # layers before which the page as a whole is added


class Network(NamedTuple):
    """Weights of all folds; the first axis of each array is the fold."""

    names: dict[str, int]
    words: dict[str, int]
    mean: Floats
    scale: Floats
    name_vectors: Floats  # (names, folds * 4 * vector)
    word_vectors: Floats  # (words, folds * vector)
    dense: Floats
    dense_bias: Floats
    layers: Floats  # (layers, folds, 3 * width, width)
    layer_bias: Floats
    attention: Floats
    attention_bias: Floats
    context: Floats
    context_bias: Floats
    group: Floats  # (folds, 2 * width, width)
    group_bias: Floats
    last: Floats
    last_bias: Floats
    threshold: float
    hosts: frozenset[int]


def main_text(layouts: Sequence[Layout], form: str = "text", *, hosts: Sequence[str | None] | None = None) -> list[str]:
    """Main text of each page, empty where there is none.

    A page's text does not depend on the pages beside it. With `hosts`, the registered domains of the pages, a page of
    a host that the model was trained on is scored by the network that was not: for measuring, see `fold_of`.

    Raises:
        ValueError: `form` is not one of ``render.FORMS``.
    """
    beside = [None] * len(layouts) if hosts is None else hosts
    return [render(layout, chosen(layout, host), form) for layout, host in zip(layouts, beside, strict=True)]


def chosen(layout: Layout, host: str | None = None) -> list[int]:
    """Numbers of the blocks that belong to the main content, in order."""
    words = np.fromiter((block.count(" ") + 1 for block in layout.blocks), np.int64, len(layout.blocks))
    likely = scores(layout, host)
    return selection(likely, words, load().threshold) or selection(likely, words, FAINT)


def selection(likely: Floats, words: Ints, threshold: float) -> list[int]:
    """The blocks above the threshold, or as many of the likeliest of them as give the highest expected word F1.

    With `likely` taken as the share of a block's words that is main content, F1 of the k likeliest is expected to be
    twice their sum of shares over the words taken plus the words of the whole main content.
    """
    if not len(likely):
        return []
    order = np.argsort(-likely, kind="stable")
    wanted = np.cumsum((likely * words).astype(np.float64)[order])
    taken = np.cumsum(words[order])
    best = int(np.argmax(wanted / (taken + wanted[-1] + FEW_WORDS))) + 1
    kept = order[:best]
    found: list[int] = np.sort(kept[likely[kept] > threshold]).tolist()
    return found


def fold_of(host: str | None) -> int | None:
    """The fold that a host of the training data is in; None for any other host."""
    network = load()
    if host is None or host_digest(host) not in network.hosts:
        return None
    return fold(host, len(network.dense))


def fold(host: str, folds: int) -> int:
    """The fold of a host, by the hash of its name."""
    return int(hashlib.sha256(host.encode()).hexdigest(), 16) % folds


def host_digest(host: str) -> int:
    """The first 48 bits of its SHA-256, by which the file of a model knows the hosts that it was trained on."""
    return int.from_bytes(hashlib.sha256(host.encode()).digest()[:6], "big")


@lru_cache(maxsize=1)
def load() -> Network:
    """The packaged network."""
    return parse(models.read(FILE))


def parse(content: bytes) -> Network:
    """A network from the bytes of its file."""
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    numbers = {
        name: arrays[name].astype(np.float32)
        for name in Network._fields
        if name in arrays and arrays[name].dtype.kind == "f"
    }
    # Names of tags come first, and are looked up by number.
    first_name = len(arrays["name_vectors"]) - len(str(arrays["names"]).split())
    return Network(
        **{name: value for name, value in numbers.items() if name != "threshold"},
        names={name: number for number, name in enumerate(str(arrays["names"]).split(), start=first_name)},
        words={word: number for number, word in enumerate(str(arrays["words"]).split())},
        threshold=float(arrays["threshold"]),
        hosts=frozenset(arrays["hosts"].tolist()),
    )


def scores(layout: Layout, host: str | None = None) -> Floats:
    """(blocks,) how likely each block belongs to the main content."""
    if not layout.blocks:
        return np.zeros(0, np.float32)
    network = load()
    held_out = fold_of(host)
    return score(network, layout, slice(None) if held_out is None else slice(held_out, held_out + 1))


def score(network: Network, layout: Layout, folds: slice) -> Floats:
    """As `scores`, by the networks of some folds."""
    seen = features(layout, network.names, network.words)
    count = len(layout.blocks)
    numbers = np.clip((seen.numbers - network.mean) * network.scale, -4, 4)
    every = len(network.dense)
    vectors = np.add.reduceat(network.name_vectors[seen.name_ids], seen.name_starts, axis=0)
    vectors = vectors.reshape(len(vectors), every, 4, -1)[:, folds]
    path = seen.path
    near = np.concatenate(
        [
            vectors[path[:, 0], :, 0],
            vectors[path[:, 1], :, 1],
            vectors[path[:, 2], :, 2] + vectors[path[:, 3], :, 2],
            vectors[path[:, 4:], :, 3].sum(axis=1) * np.float32(0.5),
            _sums(network.word_vectors, seen.text_ids, seen.text_block, count).reshape(count, every, -1)[:, folds],
        ],
        axis=2,
    ).transpose(1, 0, 2)
    numbers = np.concatenate([numbers, *(np.maximum(numbers - knot, 0) for knot in KNOTS)], axis=1)
    size = numbers.shape[1]
    dense = network.dense[folds]
    hidden = np.maximum(numbers @ dense[:, :size] + near @ dense[:, size:] + network.dense_bias[folds][:, None], 0)
    weight = seen.numbers[:, WEIGHT]
    for number, dilation in enumerate(DILATIONS[: len(network.layers)]):
        if number in CONTEXTS:
            hidden = hidden + _context(network, folds, CONTEXTS.index(number), hidden, weight)
        if number == GROUPED:
            hidden = hidden + _grouped(network, folds, hidden, seen.groups)
        wide = np.zeros((hidden.shape[0], count + 2 * dilation, hidden.shape[2]), np.float32)
        wide[:, dilation:-dilation] = hidden
        window = np.concatenate([wide[:, : -2 * dilation], hidden, wide[:, 2 * dilation :]], axis=2)
        hidden = hidden + np.maximum(
            window @ network.layers[number, folds] + network.layer_bias[number, folds][:, None], 0
        )
    logits = (hidden @ network.last[folds][:, :, None])[:, :, 0] + network.last_bias[folds][:, None]
    result: Floats = 1 / (1 + np.exp(-logits.mean(axis=0)))
    return result


def _context(network: Network, folds: slice, number: int, hidden: Floats, weight: Floats) -> Floats:
    """What the page is like: means over its blocks, plain, by length and by attention."""
    attention = 1 / (1 + np.exp(-(hidden @ network.attention[number, folds][:, :, None])
                                - network.attention_bias[number, folds][:, None, None]))  # fmt: skip
    means = [
        hidden.mean(axis=1),
        (hidden * weight[:, None]).sum(axis=1) / (weight.sum() + np.float32(1e-6)),
        (hidden * attention).sum(axis=1) / (attention.sum(axis=1) + np.float32(1e-3)),
    ]
    page = np.concatenate(means, axis=1)[:, None]
    result: Floats = np.maximum(page @ network.context[number, folds] + network.context_bias[number, folds][:, None], 0)
    return result


def _grouped(network: Network, folds: slice, hidden: Floats, groups: Ints) -> Floats:
    """What the blocks of the same groups are like."""
    means = []
    for group in groups:
        order = np.argsort(group, kind="stable")
        sizes = np.bincount(group)
        sums = np.add.reduceat(hidden[:, order], np.cumsum(sizes) - sizes, axis=1)
        means.append((sums / sizes[:, None].astype(np.float32))[:, group])
    near = np.concatenate(means, axis=2)
    result: Floats = np.maximum(near @ network.group[folds] + network.group_bias[folds][:, None], 0)
    return result


def _sums(vectors: Floats, ids: Ints, groups: Ints, count: int) -> Floats:
    """(count, width): the sum of the vectors of each group; `groups` is sorted."""
    result = np.zeros((count, vectors.shape[1]), np.float32)
    if len(ids):
        present, first = np.unique(groups, return_index=True)
        result[present] = np.add.reduceat(vectors[ids], first, axis=0)
    return result
