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
from scipy.sparse import csr_array

from etl import models
from etl.kernels.dom import Ints, Layout, read
from etl.kernels.features import Features, Floats, features
from etl.kernels.render import render
from etl.kernels.structured import hidden_article

__all__ = ["MODEL", "Layout", "chosen", "fold_of", "main_text", "read", "scores"]

FILE = "content.npz"
MODEL = f"goldenlake-content 1 {models.SHA256[FILE][:8]}"
FAINT = 0.05  # what is taken of a page of which nothing is above the threshold; below it the page has no main text
FEW_WORDS = 5  # steadies the expected F1 of pages with hardly any text
DILATIONS = (1, 2, 4, 8)
WEIGHT = 1  # the number that weighs a block in the mean of its page: the logarithm of its words
# Where the effect of a number may bend, in standard deviations from its mean.
KNOTS = (np.float32(-0.5), np.float32(0.5))
NEAR = np.array([0, 1, 2, 2, 3, 3, 3, 3, 3, 3])  # which of its four vectors a kind has on each level of a path
GROUPED = 2  # the layer before which a block learns of its groups
CONTEXTS = (0, 2)  # layers before which the page as a whole is added


class Network(NamedTuple):
    """Weights of all folds; where nothing else is said, the first axis of an array is the fold."""

    names: dict[str, int]
    words: dict[str, int]
    mean: Floats
    scale: Floats
    name_vectors: Floats  # (names, 4 * folds * vector), see NEAR
    word_vectors: Floats  # (words, folds * 2 * vector)
    numbers: Floats  # (numbers and their bends, folds * width), the dense layer of the numbers: one product for all
    dense: Floats  # (folds, 6 * vector, width), that of the vectors
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
    """Main text of each page, empty where there is none; that of its structured data where the page does not show it.

    A page's text does not depend on the pages beside it. With `hosts`, the registered domains of the pages, a page of
    a host that the model was trained on is scored by the network that was not: for measuring, see `fold_of`.

    Raises:
        ValueError: `form` is not one of ``render.FORMS``.
    """
    beside = [None] * len(layouts) if hosts is None else hosts
    return [_text(layout, form, host) for layout, host in zip(layouts, beside, strict=True)]


def _text(layout: Layout, form: str, host: str | None) -> str:
    text = render(layout, chosen(layout, host), form)
    return hidden_article(layout, text) or text if layout.data else text


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
    dense = numbers["dense"]
    folds, _, width = dense.shape
    bends = len(numbers["mean"]) * (1 + len(KNOTS))
    numbers["dense"] = np.ascontiguousarray(dense[:, bends:])
    numbers["numbers"] = np.ascontiguousarray(dense[:, :bends].transpose(1, 0, 2)).reshape(bends, folds * width)
    vectors = numbers["name_vectors"]
    by_fold = vectors.reshape(len(vectors), folds, 4, -1)
    numbers["name_vectors"] = np.ascontiguousarray(by_fold.transpose(0, 2, 1, 3)).reshape(vectors.shape)
    # Names of tags come first, and are looked up by number.
    first_name = len(vectors) - len(str(arrays["names"]).split())
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
    hidden = _dense(network, folds, seen, count)
    weight = seen.numbers[:, WEIGHT]
    window = np.zeros((len(hidden), count, 3 * hidden.shape[2]), np.float32)
    before, here, after = np.split(window, 3, axis=2)
    for number, dilation in enumerate(DILATIONS[: len(network.layers)]):
        if number in CONTEXTS:
            hidden += _context(network, folds, CONTEXTS.index(number), hidden, weight)
        if number == GROUPED:
            hidden += _grouped(network, folds, hidden, seen.groups)
        before[:, :dilation] = 0
        before[:, dilation:] = hidden[:, :-dilation]
        here[:] = hidden
        after[:, :-dilation] = hidden[:, dilation:]
        after[:, -dilation:] = 0
        hidden += _relu(window @ network.layers[number, folds], network.layer_bias[number, folds][:, None])
    logits = (hidden @ network.last[folds][:, :, None])[:, :, 0] + network.last_bias[folds][:, None]
    result: Floats = 1 / (1 + np.exp(-logits.mean(axis=0)))
    return result


def _relu(values: Floats, bias: Floats) -> Floats:
    """What is positive of the sum, in place."""
    values += bias
    return np.maximum(values, 0, out=values)


def _dense(network: Network, folds: slice, seen: Features, count: int) -> Floats:
    """(folds, blocks, width): the first layer, which sees a block, its place in the tree and its words."""
    numbers = seen.numbers.T
    bent = np.empty((1 + len(KNOTS), *numbers.shape), np.float32)
    np.subtract(numbers, network.mean[:, None], out=bent[0])
    bent[0] *= network.scale[:, None]
    np.clip(bent[0], -4, 4, out=bent[0])
    for knot, out in zip(KNOTS, bent[1:], strict=True):
        np.subtract(bent[0], knot, out=out)
        np.maximum(out, 0, out=out)
    every, inputs, width = network.dense.shape
    vector = inputs // 6
    of_fold = network.numbers.reshape(-1, every, width)[:, folds].reshape(len(network.numbers), -1)
    from_numbers = bent.reshape(-1, count).T @ of_fold

    vectors = _sums(network.name_vectors, seen.name_ids, seen.name_starts).reshape(-1, every * vector)
    path = vectors.take(seen.path * 4 + NEAR, axis=0).reshape(count, len(NEAR), every, vector)
    texts = _sums(network.word_vectors, seen.text_ids, np.searchsorted(seen.text_block, np.arange(count)))
    near = np.empty((count, every, inputs), np.float32)
    own, parent, above, far, words = np.split(near, vector * np.arange(1, 5), axis=2)
    own[:], parent[:] = path[:, 0], path[:, 1]
    np.add(path[:, 2], path[:, 3], out=above)
    np.multiply(path[:, 4:].sum(axis=1), np.float32(0.5), out=far)
    words[:] = texts.reshape(count, every, -1)
    hidden: Floats = near.transpose(1, 0, 2)[folds] @ network.dense[folds]
    hidden += from_numbers.reshape(count, -1, width).transpose(1, 0, 2)
    return _relu(hidden, network.dense_bias[folds][:, None])


def _context(network: Network, folds: slice, number: int, hidden: Floats, weight: Floats) -> Floats:
    """What the page is like: means over its blocks, plain, by length and by attention."""
    attention = (hidden @ network.attention[number, folds][:, :, None])[:, :, 0]
    attention += network.attention_bias[number, folds][:, None]
    shares = np.empty((len(hidden), 3, hidden.shape[1]), np.float32)
    shares[:, 0] = 1 / len(weight)
    shares[:, 1] = weight / (weight.sum() + np.float32(1e-6))
    shares[:, 2] = 1 / (1 + np.exp(-attention))
    shares[:, 2] /= shares[:, 2].sum(axis=1, keepdims=True) + np.float32(1e-3)
    page: Floats = (shares @ hidden).reshape(len(hidden), 1, -1)
    return _relu(page @ network.context[number, folds], network.context_bias[number, folds][:, None])


def _grouped(network: Network, folds: slice, hidden: Floats, groups: Ints) -> Floats:
    """What the blocks of the same groups are like."""
    count, width = hidden.shape[1:]
    blocks = hidden.transpose(1, 0, 2).reshape(count, -1)
    near: Floats = np.zeros_like(hidden)
    for number, group in enumerate(groups):
        sizes = np.bincount(group)
        sums = _sums(blocks, np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes)
        means = (sums / sizes[:, None].astype(np.float32)).reshape(len(sizes), -1, width).transpose(1, 0, 2)
        near += (means @ network.group[folds, number * width : (number + 1) * width]).take(group, axis=1)
    return _relu(near, network.group_bias[folds][:, None])


def _sums(vectors: Floats, ids: Ints, starts: Ints) -> Floats:
    """(groups, width): the sum of the vectors of each group; `ids` are those of the groups, end to end."""
    ends = np.append(starts, len(ids))
    members = csr_array((np.ones(len(ids), np.float32), ids, ends), shape=(len(starts), len(vectors)))
    result: Floats = members @ vectors
    return result
