"""The main text of pages: a small network that scores the text blocks of a page in document order.

`read` makes flat arrays of a page (`etl.kernels.dom`), `etl.kernels.features` describes its blocks, the network says
how likely each belongs to the main content, and `etl.kernels.render` writes those that raise the expected word F1. The
network is made of matrix products in NumPy: words of tags, classes and texts as small vectors, a dense layer, dilated
convolutions over neighbouring blocks, the means of the blocks that are written alike or stand together, and what the
page is like as a whole. `etl/models/README.md` is its card, `etl.learn.content` trains it.

Its file also has networks that were each trained without one fold of the hosts, so pages of its own training data can
be scored honestly: give their hosts, and each is scored by the network that never saw its host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from itertools import repeat
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from etl import models
from etl.kernels.dom import Ints, Layout, read
from etl.kernels.features import PATH, Features, Floats, features
from etl.kernels.render import render
from etl.kernels.structured import hidden_article

__all__ = ["MODEL", "Layout", "described", "fold_of", "main_text", "read", "scores", "weighed", "written"]

FILE = "content.npz"
MODEL = f"goldenlake-content 2 {models.SHA256[FILE][:8]}"
FAINT = 0.05  # what is taken of a page of which nothing is above the threshold; below it the page has no main text
HELD_BLOCKS = 5_000  # features of a larger page are found when they are needed; of a block they take a kilobyte
FEW_WORDS = 5  # steadies the expected F1 of pages with hardly any text
DILATIONS = (1, 2, 4, 8)
WEIGHT = 1  # the number that weighs a block in the mean of its page: the logarithm of its words
# A kind has a vector for each of four places on a path: a block's element, its parent, the next two, those above.
PLACE_STARTS = np.array([0, 1, 2, 4])
PLACE = np.repeat(np.arange(4), np.diff(PLACE_STARTS, append=PATH))
FAR = np.float32(0.5)  # weight of the last place
GROUPS = 2  # that a block is in
GROUPED = 2  # the layer before which it learns of them
CONTEXTS = (0, 2)  # layers before which the page as a whole is added


class Shared(NamedTuple):
    """What all networks of a file have in common."""

    names: dict[str, int]
    words: dict[str, int]
    mean: Floats
    scale: Floats
    threshold: float
    hosts: frozenset[int]
    folds: int


class Network(NamedTuple):
    """Weights of one network, outputs before inputs."""

    shared: Shared
    name_vectors: Floats  # (names, 4 places * vector)
    word_vectors: Floats  # (words, 2 * vector)
    dense: Floats  # (width, numbers + 6 * vector)
    dense_bias: Floats
    layers: Floats  # (layers, 3 * width, width), what a block gives to those behind it, itself and those before
    layer_bias: Floats
    attention: Floats
    attention_bias: Floats
    context: Floats
    context_bias: Floats
    group: Floats  # (groups, width, width)
    group_bias: Floats
    last: Floats
    last_bias: Floats


WEIGHTS = Network._fields[1:]


class Described(NamedTuple):
    """A page and what the networks see of it: nothing yet of one without blocks, or with very many."""

    layout: Layout
    seen: Features | None


class Weighed(NamedTuple):
    """A page and, of each of its blocks, how likely it belongs to the main content."""

    layout: Layout
    likely: Floats

    @property
    def title(self) -> str | None:
        return self.layout.title

    @property
    def text(self) -> str:
        """All text of the page."""
        return self.layout.text


def main_text(layouts: Sequence[Layout], form: str = "text", *, hosts: Sequence[str | None] | None = None) -> list[str]:
    """Main text of each page, empty where there is none; that of its structured data where the page does not show it.

    A page's text does not depend on the pages beside it. With `hosts`, the registered domains of the pages, a page of
    a host that the model was trained on is scored by the network that was not: for measuring, see `fold_of`.

    Raises:
        ValueError: `form` is not one of ``render.FORMS``.
    """
    beside = [None] * len(layouts) if hosts is None else hosts
    pages = [described(layout) for layout in layouts]
    return written([weighed(page, host) for page, host in zip(pages, beside, strict=True)], form)


def described(layout: Layout) -> Described:
    """A page with its features, the first of the two steps to its main text that `main_text` takes with all pages."""
    return Described(layout, _features(load(), layout) if 0 < len(layout.blocks) <= HELD_BLOCKS else None)


def weighed(page: Described, host: str | None = None) -> Weighed:
    """A page with the scores of its blocks, the second step; `host` as one of `hosts` of `main_text`."""
    layout, seen = page
    if not layout.blocks:
        return Weighed(layout, np.zeros(0, np.float32))
    networks = load(fold_of(host))
    return Weighed(layout, _score(networks, seen or _features(networks, layout)))


def written(pages: Sequence[Weighed], form: str = "text") -> list[str]:
    """As `main_text`, of pages that are weighed."""
    return [_text(page, form) for page in pages]


def _text(page: Weighed, form: str) -> str:
    layout = page.layout
    text = render(layout, _chosen(page), form)
    return hidden_article(layout, text) or text if layout.data else text


def _chosen(page: Weighed) -> list[int]:
    """Numbers of the blocks that belong to the main content, in order."""
    blocks, likely = page.layout.blocks, page.likely
    words = np.fromiter(map(str.count, blocks, repeat(" ")), np.int64, len(blocks)) + 1
    return selection(likely, words, load()[0].shared.threshold) or selection(likely, words, FAINT)


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
    shared = load()[0].shared
    return fold(host, shared.folds) if host is not None and host_digest(host) in shared.hosts else None


def fold(host: str, folds: int) -> int:
    """The fold of a host, by the hash of its name."""
    return int(hashlib.sha256(host.encode()).hexdigest(), 16) % folds


def host_digest(host: str) -> int:
    """The first 48 bits of its SHA-256, by which the file of a model knows the hosts that it was trained on."""
    return int.from_bytes(hashlib.sha256(host.encode()).digest()[:6], "big")


@cache
def load(held_out: int | None = None) -> tuple[Network, ...]:
    """The networks in use, or that which never saw a host of one fold."""
    return parse(models.read(FILE), held_out)


def parse(content: bytes, held_out: int | None = None) -> tuple[Network, ...]:
    """Networks from the bytes of their file, see `load`. Those in use come after those of the folds, or are these."""
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        folds, every = int(stored["folds"]), sum(name.startswith("last.") for name in stored.files)
        chosen = [held_out] if held_out is not None else range(folds if every > folds else 0, every)
        words = {word: number for number, word in enumerate(str(stored["words"]).split())}
        names = str(stored["names"]).split()
        first = len(stored["name_vectors.0"]) - len(names)  # names of tags come first, and are looked up by number
        shared = Shared(
            names={name: number for number, name in enumerate(names, start=first)},
            words=words,
            mean=stored["mean"],
            scale=stored["scale"],
            threshold=float(stored["threshold"]),
            hosts=frozenset(stored["hosts"].tolist()),
            folds=folds,
        )
        return tuple(_network(shared, {name: stored[f"{name}.{number}"] for name in WEIGHTS}) for number in chosen)


def _network(shared: Shared, stored: dict[str, Floats]) -> Network:
    weights = {name: array.astype(np.float32) for name, array in stored.items()}
    vector = weights["name_vectors"].shape[1] // len(PLACE_STARTS)
    far = len(shared.mean) + (len(PLACE_STARTS) - 1) * vector
    weights["dense"][:, far : far + vector] *= FAR
    # A layer sees the block before, the block and the one behind side by side; they are asked for one below the other.
    layers = weights["layers"]
    width = layers.shape[1]
    weights["layers"] = layers.reshape(-1, width, 3, width).swapaxes(1, 2).reshape(-1, 3 * width, width)
    weights["group"] = np.stack(np.split(weights["group"], GROUPS, axis=1))
    return Network(shared, **weights)


def scores(layout: Layout, host: str | None = None) -> Floats:
    """(blocks,) how likely each block belongs to the main content."""
    return weighed(described(layout), host).likely


def score(networks: Sequence[Network], layout: Layout) -> Floats:
    """As `scores`, by some networks together, of a page that has at least one block."""
    return _score(networks, _features(networks, layout))


def _features(networks: Sequence[Network], layout: Layout) -> Features:
    return features(layout, networks[0].shared.names, networks[0].shared.words)


def _score(networks: Sequence[Network], seen: Features) -> Floats:
    shared = networks[0].shared
    numbers = np.clip((seen.numbers - shared.mean) * shared.scale, -4, 4)
    logits = [_logits(network, seen, numbers) for network in networks]
    return _sigmoid(np.mean(logits, axis=0, dtype=np.float32))


def _logits(network: Network, seen: Features, numbers: Floats) -> Floats:
    """(blocks,) by one network. Hidden values are (width, blocks), so that sums run on."""
    hidden = _dense(network, seen, numbers)
    weight = seen.numbers[:, WEIGHT]
    for number, dilation in enumerate(DILATIONS):
        if number in CONTEXTS:
            hidden += _context(network, CONTEXTS.index(number), hidden, weight)
        if number == GROUPED:
            hidden += _grouped(network, hidden, seen.groups)
        hidden += _around(network, number, hidden, dilation)
    result: Floats = network.last @ hidden
    result += network.last_bias
    return result


def _relu(values: Floats, bias: Floats) -> Floats:
    """What is positive of the sum, in place."""
    values += bias[:, None]
    return np.maximum(values, 0, out=values)


def _sigmoid(values: Floats) -> Floats:
    return (1 / (1 + np.exp(-values))).astype(np.float32, copy=False)


def _dense(network: Network, seen: Features, numbers: Floats) -> Floats:
    """The first layer, which sees a block, its place in the tree and its words."""
    count = len(seen.numbers)
    places = len(PLACE_STARTS)
    kinds = _sums(network.name_vectors, seen.name_ids, seen.name_starts).reshape(places * len(seen.name_starts), -1)
    starts = np.arange(count)[:, None] * PATH + PLACE_STARTS
    near = _sums(kinds, (seen.path * places + PLACE).ravel(), starts.ravel()).reshape(count, -1)
    words = _sums(network.word_vectors, seen.text_ids, np.searchsorted(seen.text_block, np.arange(count)))
    inputs = np.concatenate([numbers, near, words], axis=1)
    return _relu(network.dense @ inputs.T, network.dense_bias)


def _around(network: Network, number: int, hidden: Floats, dilation: int) -> Floats:
    """What a block, the one `dilation` before it and the one as far behind it give together."""
    before, here, behind = (network.layers[number] @ hidden).reshape(3, *hidden.shape)
    here[:, dilation:] += before[:, :-dilation]
    here[:, :-dilation] += behind[:, dilation:]
    return _relu(here, network.layer_bias[number])


def _context(network: Network, number: int, hidden: Floats, weight: Floats) -> Floats:
    """(width, 1): what the page is like, from means over its blocks, plain, by length and by attention."""
    attention = _sigmoid(network.attention[number] @ hidden + network.attention_bias[number])
    shares = np.stack([
        np.full(len(weight), 1 / len(weight), np.float32),
        weight / (weight.sum() + np.float32(1e-6)),
        attention / (attention.sum() + np.float32(1e-3)),
    ])  # fmt: skip
    page = (shares @ hidden.T).reshape(-1, 1)
    return _relu(network.context[number] @ page, network.context_bias[number])


def _grouped(network: Network, hidden: Floats, groups: Ints) -> Floats:
    """What the blocks of the same groups are like."""
    blocks = np.ascontiguousarray(hidden.T)
    near: Floats = np.zeros_like(hidden)
    for group, weights in zip(groups, network.group, strict=True):
        sizes = np.bincount(group)
        means = _sums(blocks, np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes)
        means /= sizes[:, None].astype(np.float32)
        near += (weights @ means.T).take(group, axis=1)
    return _relu(near, network.group_bias)


def _sums(vectors: Floats, ids: Ints, starts: Ints) -> Floats:
    """(groups, width): the sum of the vectors of each group; `ids` are those of the groups, end to end."""
    ends = np.append(starts, len(ids))
    members = csr_array((np.ones(len(ids), np.float32), ids, ends), shape=(len(starts), len(vectors)))
    result: Floats = members @ vectors
    return result
