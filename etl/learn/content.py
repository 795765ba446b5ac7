"""Train the content model: from pages with their main text to one file of weights.

Labels are found by aligning the words of a page with the words of its gold text. The loss is the metric itself: one
minus the word F1 of a page whose blocks are taken with their probabilities, in which the overlap is the multiset
overlap of the evaluation, so a model learns to take less where taking more costs more; a cross-entropy of the blocks
steadies it. A page is seen as it is and in disguises (`etl.learn.disguise`). Of K networks each is trained without one
fold of the hosts; figures are from pages of hosts that a network never saw. One more is trained on all pages and on
what the K say of them together, and it is the one in use.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import logging
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from etl.errors import InputError
from etl.kernels import dom, html, warc
from etl.kernels.content import (
    CONTEXTS,
    DILATIONS,
    FAINT,
    GROUPED,
    WEIGHT,
    Network,
    fold,
    host_digest,
    parse,
    score,
    selection,
)
from etl.kernels.dom import Ints, Layout
from etl.kernels.features import PATH, Floats, features, lead_words, name_words
from etl.learn import scores
from etl.learn.disguise import disguised

logger = logging.getLogger(__name__)

MIN_NAME_HOSTS = 25  # a class word of fewer hosts says who the host is, not what the block is
MIN_WORD_HOSTS = 50
GAP = max(DILATIONS)  # rows of zeros between pages, so that no convolution sees the next one
MAX_PAIRS = 300_000  # pairs of equal words in a gap of the alignment; beyond that the gap stays unmatched
MAX_REPEATS = 40  # a pair of words more common in the gold text than this anchors nothing
THRESHOLD = 0.2  # no block below it is taken; 0.2 was best in cross-validation, by 0.001 over 0.3


@dataclass(frozen=True)
class Training:
    """Settings of one training; the defaults are those of the shipped model."""

    folds: int = 4
    width: int = 40
    last_width: int = 48  # of the network in use, which learns from those of the folds
    last_epochs: int = 9
    last_cross_entropy: float = 1.0
    vector: int = 8
    epochs: int = 12
    batch_pages: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    cross_entropy: float = 0.5
    input_dropout: float = 0.25
    dropout: float = 0.35
    layer_dropout: float = 0.3
    word_dropout: float = 0.3
    average: float = 0.998  # decay of the running mean of the weights, which is what is kept
    disguises: int = 2  # of each page, see etl.learn.disguise
    disguised_share: float = 0.5  # of the pages of an epoch
    seed: int = 2  # of 1, 2 and 3 the best in cross-validation, by 0.001


class Page(NamedTuple):
    """One page with its gold text."""

    url: str
    host: str
    kind: str
    layout: Layout
    gold: str


class Example(NamedTuple):
    """A page as arrays. ``rows``, ``columns`` and ``counts`` say how often each distinct word of the gold text
    (``gold`` its counts) stands in each block; ``words`` counts all words of a block, ``label`` is the share of them
    that is in the gold text."""

    host: str
    kind: str
    numbers: Floats
    path: Ints
    groups: Ints
    name_ids: Ints
    name_starts: Ints
    text_ids: Ints
    text_offsets: Ints
    words: Floats
    label: Floats
    rows: Ints
    columns: Ints
    counts: Floats
    gold: Floats


def read_pages(archive: Path, gold: Path) -> list[Page]:
    """Pages of an archive that have a row in `gold`, JSON lines with ``url``, ``main_content`` and ``page_type``.

    Raises:
        InputError: no page of the archive has a gold text.
    """
    with gzip.open(gold, "rt", encoding="utf-8") as lines:
        rows = {row["url"]: row for row in map(json.loads, lines)}
    pages = []
    for row, content in contents(archive):
        if row["url"] in rows:
            truth = rows[row["url"]]
            host = row["url_host_registered_domain"] or row["url_host_name"] or ""
            pages.append(
                Page(row["url"], host, truth.get("page_type") or "", dom.read(content), truth["main_content"] or "")
            )
    if not pages:
        raise InputError(f"{archive}: no page has a row in {gold}")
    return pages


def contents(archive: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The capture and the decoded text of every page of an archive."""
    with archive.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=archive.name, crawl="train"):
            for row in batch.to_pylist():
                if row["payload"] is not None and row["warc_record_type"] == "response":
                    body = warc.payload(row["payload"], row["payload_length"])
                    yield row, html.decode(body, row["content_charset_declared"])[0]


def aligned(page: Sequence[str], gold: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(words of page,) which words stand in the gold text, in its order.

    A longest increasing subsequence over pairs of neighbouring words gives anchors; what lies between two anchors is
    aligned in the same way by single words (Hunt and Szymanski 1977).
    """
    matched = np.zeros(len(page), np.bool_)
    where: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, pair in enumerate(pairwise(gold)):
        where[pair].append(place)
    pairs = []
    for place, pair in enumerate(pairwise(page)):
        if 0 < len(found := where.get(pair, ())) <= MAX_REPEATS:
            pairs += [(place, other) for other in reversed(found)]
    at_page = at_gold = 0
    for left, right in [*_increasing(pairs), (len(page), len(gold))]:
        for place in _between(page[at_page:left], gold[at_gold:right]):
            matched[at_page + place] = True
        matched[left : left + 2] = True
        at_page, at_gold = max(at_page, left + 2), max(at_gold, right + 2)
    return matched


def _between(page: Sequence[str], gold: Sequence[str]) -> list[int]:
    where: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(gold):
        where[word].append(place)
    pairs: list[tuple[int, int]] = []
    for place, word in enumerate(page):
        pairs += [(place, other) for other in reversed(where.get(word, ()))]
        if len(pairs) > MAX_PAIRS:
            return []
    return [left for left, _ in _increasing(pairs)]


def _increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest chain of pairs in which both numbers grow; `pairs` are sorted by the first, then down the second."""
    ends: list[int] = []
    last: list[int] = []
    before = [-1] * len(pairs)
    for number, (_, right) in enumerate(pairs):
        place = bisect_left(ends, right)
        if place == len(ends):
            ends.append(right)
            last.append(number)
        else:
            ends[place], last[place] = right, number
        before[number] = last[place - 1] if place else -1
    chain = []
    number = last[-1] if last else -1
    while number >= 0:
        chain.append(pairs[number])
        number = before[number]
    return chain[::-1]


def labels(blocks: Sequence[Sequence[str]], gold: Sequence[str]) -> Floats:
    """(blocks,) the share of each block's words that belongs to the gold text.

    By alignment, or by runs of three words in any order, whichever chooses blocks of the higher F1: some gold texts
    have the page's parts in another order, some pages show the same words twice.
    """
    lengths = np.array([len(block) for block in blocks])
    matched = aligned([word for block in blocks for word in block], gold)
    in_order = np.bincount(np.repeat(np.arange(len(blocks)), lengths), matched, len(blocks))
    runs = set(zip(gold, gold[1:], gold[2:], strict=False))
    in_runs = in_order.copy()
    for number, block in enumerate(blocks):
        hit = np.zeros(len(block), np.bool_)
        for place, run in enumerate(zip(block, block[1:], block[2:], strict=False)):
            if run in runs:
                hit[place : place + 3] = True
        in_runs[number] = max(in_runs[number], hit.sum())
    both: list[Floats] = [(each / np.maximum(lengths, 1)).astype(np.float32) for each in (in_order, in_runs)]
    f1 = [
        scores.word_scores(
            [word for block, kept in zip(blocks, share > 0.5, strict=True) if kept for word in block], gold
        ).f1
        for share in both
    ]
    return both[int(f1[1] > f1[0])]


def vocabularies(pages: Sequence[Page]) -> tuple[list[str], list[str]]:
    """Words of names and of texts that many hosts use, the most common first."""
    names: dict[str, set[str]] = defaultdict(set)
    words: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        if not page.layout.blocks:
            continue
        for each in set(page.layout.names):
            for word in name_words(each):
                names[word].add(page.host)
        for word in lead_words(page.layout)[0]:
            words[word].add(page.host)
    chosen = [
        sorted((word for word, hosts in found.items() if len(hosts) >= least and not word.isdigit()),
               key=lambda word: (-len(found[word]), word))
        for found, least in ((names, MIN_NAME_HOSTS), (words, MIN_WORD_HOSTS))
    ]  # fmt: skip
    return chosen[0], chosen[1]


def example(page: Page, names: dict[str, int], words: dict[str, int]) -> Example:
    layout = page.layout
    seen = features(layout, names, words)
    blocks = [scores.words(block) for block in layout.blocks]
    gold = scores.words(page.gold)
    counts = Counter(gold)
    column = {word: number for number, word in enumerate(counts)}
    cells = [
        (number, column[word], times)
        for number, block in enumerate(blocks)
        for word, times in Counter(block).items()
        if word in column
    ]
    table = np.array(cells, np.int64).reshape(-1, 3)
    return Example(
        page.host, page.kind, seen.numbers, seen.path, seen.groups,
        seen.name_ids, seen.name_starts,
        seen.text_ids, np.searchsorted(seen.text_block, np.arange(len(blocks) + 1)),
        np.array([len(block) for block in blocks], np.float32), labels(blocks, gold),
        table[:, 0], table[:, 1], table[:, 2].astype(np.float32), np.array(list(counts.values()), np.float32),
    )  # fmt: skip


def in_disguise(
    example: Example, layout: Layout, names: dict[str, int], words: dict[str, int], random: np.random.Generator
) -> Example:
    """An example as another site might have written it; where it has fewer blocks, its gold text is what they have."""
    other, blocks = disguised(layout, example.label > 0.5, random)
    seen = features(other, names, words)
    place = np.full(len(example.words), -1)
    place[blocks] = np.arange(len(blocks))
    is_kept = place[example.rows] >= 0
    rows, columns, counts = place[example.rows[is_kept]], example.columns[is_kept], example.counts[is_kept]
    label = example.label[blocks]
    gold = example.gold
    if len(blocks) < len(example.words):
        is_content = label[rows] > 0.5
        left = np.bincount(columns[is_content], counts[is_content], len(gold))
        gold = np.minimum(gold, left.astype(np.float32))
    return Example(
        example.host, example.kind, seen.numbers, seen.path, seen.groups, seen.name_ids, seen.name_starts,
        seen.text_ids, np.searchsorted(seen.text_block, np.arange(len(blocks) + 1)),
        example.words[blocks], label, rows, columns, counts, gold,
    )  # fmt: skip


def with_disguises(
    pages: Sequence[Page], names: Sequence[str], words: Sequence[str], settings: Training
) -> list[list[Example]]:
    """Each page that has text as it is and in its disguises."""
    name_number = {word: number for number, word in enumerate(names, start=len(dom.TAGS))}
    word_number = {word: number for number, word in enumerate(words)}
    random = np.random.default_rng(settings.seed)
    examples = []
    for page in pages:
        if page.layout.blocks:
            plain = example(page, name_number, word_number)
            others = (
                in_disguise(plain, page.layout, name_number, word_number, random) for _ in range(settings.disguises)
            )
            examples.append([plain, *others])
    return examples


class Batch(NamedTuple):
    """Several examples end to end, GAP rows between them."""

    numbers: torch.Tensor
    path: torch.Tensor
    groups: torch.Tensor  # (2, rows)
    sizes: torch.Tensor  # (2, groups)
    name_ids: torch.Tensor
    name_starts: torch.Tensor
    text_ids: torch.Tensor
    text_offsets: torch.Tensor
    words: torch.Tensor
    label: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    counts: torch.Tensor
    gold: torch.Tensor
    gold_page: torch.Tensor
    gold_words: torch.Tensor
    mask: torch.Tensor  # (rows, 1)
    pages: torch.Tensor  # (pages, rows) which rows are of which page


def batch_of(examples: Sequence[Example]) -> Batch:
    parts: dict[str, list[Any]] = defaultdict(list)
    groups: list[Any] = [[], []]
    sizes: list[Any] = [[], []]
    known = [0, 0]
    rows = elements = name_words_ = text_words = columns = 0
    spans = []
    for number, each in enumerate(examples):
        count = len(each.words)
        pad = ((0, GAP), (0, 0))
        parts["numbers"].append(np.pad(each.numbers, pad))
        parts["path"].append(np.pad(each.path, pad) + elements)
        parts["name_ids"].append(each.name_ids)
        parts["name_starts"].append(each.name_starts + name_words_)
        parts["text_ids"].append(each.text_ids)
        parts["text_offsets"].append(
            np.pad(each.text_offsets[:-1], (0, GAP), constant_values=len(each.text_ids)) + text_words
        )
        parts["words"].append(np.pad(each.words, (0, GAP)))
        parts["label"].append(np.pad(each.label, (0, GAP)))
        parts["rows"].append(each.rows + rows)
        parts["columns"].append(each.columns + columns)
        parts["counts"].append(each.counts)
        parts["gold"].append(each.gold)
        parts["gold_page"].append(np.full(len(each.gold), number))
        for which in range(2):
            size = np.bincount(each.groups[which])
            # The rows between pages are a group of their own, so that none is empty.
            groups[which].append(np.pad(each.groups[which], (0, GAP), constant_values=len(size)) + known[which])
            sizes[which].append(np.append(size, GAP))
            known[which] += len(size) + 1
        spans.append((rows, rows + count))
        rows += count + GAP
        elements += len(each.name_starts)
        name_words_ += len(each.name_ids)
        text_words += len(each.text_ids)
        columns += len(each.gold)
    pages = torch.zeros(len(examples), rows)
    for number, (start, stop) in enumerate(spans):
        pages[number, start:stop] = 1
    joined = {name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in parts.items()}
    gold_words = torch.tensor([float(each.gold.sum()) for each in examples])
    most = max(known)
    of_rows = torch.from_numpy(np.stack([np.concatenate(each) for each in groups]))
    counted = [
        np.pad(np.concatenate(each), (0, most - count), constant_values=1)
        for each, count in zip(sizes, known, strict=True)
    ]
    joined |= {"groups": of_rows, "sizes": torch.from_numpy(np.stack(counted)).float()}
    return Batch(**joined, gold_words=gold_words, mask=pages.sum(0)[:, None], pages=pages)


class Model(nn.Module):
    """The network of `etl.kernels.content`, as torch trains it."""

    def __init__(self, settings: Training, names: int, words: int, mean: Floats, scale: Floats) -> None:
        super().__init__()
        width, vector = settings.width, settings.vector
        self.settings = settings
        self.mean, self.scale = torch.from_numpy(mean), torch.from_numpy(scale)
        self.names = nn.EmbeddingBag(names, 4 * vector, mode="sum")
        self.words = nn.EmbeddingBag(words, 2 * vector, mode="sum")
        for table in (self.names, self.words):
            nn.init.normal_(table.weight, std=0.05)
        self.dense = nn.Linear(len(mean) + 6 * vector, width)
        self.layers = nn.ModuleList([nn.Linear(3 * width, width) for _ in DILATIONS])
        self.attention = nn.ModuleList([nn.Linear(width, 1) for _ in CONTEXTS])
        self.context = nn.ModuleList([nn.Linear(3 * width, width) for _ in CONTEXTS])
        self.group = nn.Linear(2 * width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(rows,) log-odds that a block belongs to the main content."""
        settings, training, vector = self.settings, self.training, self.settings.vector
        numbers = ((batch.numbers - self.mean) * self.scale).clamp(-4, 4)
        kept = self._kept(len(batch.name_ids))
        kinds = self.names(batch.name_ids, batch.name_starts, per_sample_weights=kept).view(-1, vector)
        rows = batch.path * 4

        def level(first: int, last: int, table: int) -> torch.Tensor:
            picked = kinds.index_select(0, (rows[:, first:last] + table).reshape(-1))
            total: torch.Tensor = picked.view(len(rows), last - first, vector).sum(1)
            return total

        texts = self.words(batch.text_ids, batch.text_offsets, per_sample_weights=self._kept(len(batch.text_ids)))
        seen = [
            functional.dropout(numbers, settings.input_dropout, training),
            level(0, 1, 0), level(1, 2, 1), level(2, 4, 2), level(4, PATH, 3) * 0.5, texts,
        ]  # fmt: skip
        hidden = functional.relu(self.dense(torch.cat(seen, 1)))
        hidden = functional.dropout(hidden, settings.dropout, training) * batch.mask
        for number, (dilation, layer) in enumerate(zip(DILATIONS, self.layers, strict=True)):
            if number in CONTEXTS:
                hidden = hidden + self._page(hidden, batch, CONTEXTS.index(number))
            if number == GROUPED:
                hidden = (hidden + self._grouped(hidden, batch)) * batch.mask
            wide = functional.pad(hidden, (0, 0, dilation, dilation))
            window = torch.cat([wide[: -2 * dilation], hidden, wide[2 * dilation :]], 1)
            change = functional.dropout(functional.relu(layer(window)), settings.layer_dropout, training)
            hidden = (hidden + change) * batch.mask
        result: torch.Tensor = self.last(hidden)[:, 0]
        return result

    def _kept(self, count: int) -> torch.Tensor:
        share = self.settings.word_dropout if self.training else 0.0
        return (torch.rand(count) >= share).float() / (1 - share)

    def _grouped(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        means = []
        for group, size in zip(batch.groups, batch.sizes, strict=True):
            sums = torch.zeros(len(size), hidden.shape[1]).index_add(0, group, hidden)
            means.append((sums / size[:, None]).index_select(0, group))
        result: torch.Tensor = functional.relu(self.group(torch.cat(means, 1)))
        return result

    def _page(self, hidden: torch.Tensor, batch: Batch, number: int) -> torch.Tensor:
        pages = batch.pages
        by_length = pages * batch.numbers[:, WEIGHT]
        by_attention = pages * torch.sigmoid(self.attention[number](hidden)).T
        means = [
            pages @ hidden / pages.sum(1, keepdim=True),
            by_length @ hidden / (by_length.sum(1, keepdim=True) + 1e-6),
            by_attention @ hidden / (by_attention.sum(1, keepdim=True) + 1e-3),
        ]
        return pages.T @ functional.relu(self.context[number](torch.cat(means, 1)))


def loss_of(model: Model, batch: Batch) -> torch.Tensor:
    """One minus the soft word F1 of the pages, with a cross-entropy of the blocks."""
    logits = model(batch)
    kept = torch.sigmoid(logits)
    taken = batch.pages @ (kept * batch.words)
    of_word = torch.zeros(len(batch.gold)).index_add(0, batch.columns, kept.index_select(0, batch.rows) * batch.counts)
    overlap = torch.zeros(len(taken)).index_add(0, batch.gold_page, torch.minimum(of_word, batch.gold))
    f1 = 2 * overlap / (taken + batch.gold_words + 1e-6)
    # A page without gold text scores 1 only for nothing taken; twenty words taken are as wrong as any more.
    f1 = torch.where(batch.gold_words == 0, torch.exp(-taken / 20), f1)
    weight = batch.words.sqrt()
    weight = weight / (batch.pages @ weight).clamp(min=1).index_select(0, batch.pages.argmax(0))
    entropy = functional.binary_cross_entropy_with_logits(logits, batch.label, reduction="none")
    return 1 - f1.mean() + model.settings.cross_entropy * (entropy * weight).sum() / len(taken)


def train(
    examples: Sequence[Sequence[Example]], settings: Training, names: int, words: int, mean: Floats, scale: Floats
) -> Model:
    """One network; the same examples, settings and number of threads give the same weights.

    Each of `examples` is a page as it is and in its disguises.
    """
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    model = Model(settings, names, words, mean, scale)
    vectors: list[Any] = [model.names.weight, model.words.weight]
    others = [each for name, each in model.named_parameters() if not name.startswith(("names", "words"))]
    # Vectors of words are many for few pages, so they are held near zero more strongly.
    weights: list[dict[str, Any]] = [
        {"params": vectors, "weight_decay": 5 * settings.weight_decay},
        {"params": others},
    ]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rounds = len(examples) // settings.batch_pages
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * rounds, pct_start=0.15
    )
    mean_of_weights = {name: value.clone() for name, value in model.state_dict().items()}
    step = 0
    for epoch in range(settings.epochs):
        order = random.permutation(len(examples))
        which = random.integers(1, 1 + settings.disguises, len(order)) if settings.disguises else 0 * order
        which = which * (random.random(len(order)) < settings.disguised_share)
        total = 0.0
        for start in range(0, rounds * settings.batch_pages, settings.batch_pages):
            some = order[start : start + settings.batch_pages]
            loss = loss_of(model, batch_of([examples[page][which[page]] for page in some]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            decay = min(settings.average, (1 + step) / (10 + step))
            for name, value in model.state_dict().items():
                mean_of_weights[name].lerp_(value, 1 - decay)
            total += loss.item()
        logger.info("epoch %d of %d: loss %.4f", epoch + 1, settings.epochs, total / rounds)
    model.load_state_dict(mean_of_weights)
    return model.eval()


def weights(model: Model) -> dict[str, torch.Tensor]:
    """What a file keeps of a network, by the names of `etl.kernels.content.Network`."""

    def stacked(name: str, kind: str) -> torch.Tensor:
        return torch.stack([getattr(layer, kind) for layer in getattr(model, name)]).detach()

    return {
        "name_vectors": model.names.weight,
        "word_vectors": model.words.weight,
        "dense": model.dense.weight,
        "dense_bias": model.dense.bias,
        "layers": stacked("layers", "weight"),
        "layer_bias": stacked("layers", "bias"),
        "attention": stacked("attention", "weight")[:, 0],
        "attention_bias": stacked("attention", "bias")[:, 0],
        "context": stacked("context", "weight"),
        "context_bias": stacked("context", "bias"),
        "group": model.group.weight,
        "group_bias": model.group.bias,
        "last": model.last.weight[0],
        "last_bias": model.last.bias[0],
    }


def packed(
    models: Sequence[Model], names: Sequence[str], words: Sequence[str], hosts: set[str], threshold: float, folds: int
) -> bytes:
    """The file of the networks of the folds and, behind these, the one in use; weights in half precision."""
    stored: dict[str, Any] = {
        f"{name}.{number}": array.detach().numpy().astype(np.float16)
        for number, model in enumerate(models)
        for name, array in weights(model).items()
    }
    stream = BytesIO()
    np.savez_compressed(
        stream, **stored,
        mean=models[0].mean.numpy(), scale=models[0].scale.numpy(), threshold=np.float32(threshold),
        names=np.array(" ".join(names)), words=np.array(" ".join(words)),
        hosts=np.array(sorted(map(host_digest, hosts)), np.int64), folds=np.int64(folds),
    )  # fmt: skip
    return stream.getvalue()


def learn(pages: Sequence[Page], settings: Training) -> bytes:
    """The file of a model that was trained on `pages`.

    Raises:
        InputError: there are too few pages.
    """
    names, words = vocabularies(pages)
    examples = with_disguises(pages, names, words, settings)
    hosts = [each[0].host for each in examples]
    of_fold = Counter(fold(host, settings.folds) for host in hosts)
    if len(examples) - max(of_fold.values(), default=0) < settings.batch_pages:
        raise InputError(
            f"{len(examples)} pages with text: too few to train {settings.folds} networks in batches of "
            f"{settings.batch_pages}, each without one fold of the hosts"
        )
    every = np.concatenate([each[0].numbers for each in examples])
    mean = every.mean(0, dtype=np.float64).astype(np.float32)
    scale = (1 / (every.std(0, dtype=np.float64) + 0.05)).astype(np.float32)
    models = []
    for number in range(settings.folds):
        logger.info("fold %d of %d", number + 1, settings.folds)
        seen = [each for each, host in zip(examples, hosts, strict=True) if fold(host, settings.folds) != number]
        models.append(train(seen, settings, len(dom.TAGS) + len(names), len(words), mean, scale))
    logger.info("one network for all hosts, taught by those of the folds")
    lessons = [[taught(each, models) for each in page] for page in examples]
    last = replace(
        settings,
        width=settings.last_width,
        epochs=settings.last_epochs,
        cross_entropy=settings.last_cross_entropy,
    )
    models.append(train(lessons, last, len(dom.TAGS) + len(names), len(words), mean, scale))
    return packed(models, names, words, {page.host for page in pages}, threshold=THRESHOLD, folds=settings.folds)


def taught(example: Example, teachers: Sequence[Model]) -> Example:
    """The example with labels half way between those of its gold text and what the `teachers` say together."""
    batch = batch_of([example])
    with torch.no_grad():
        logits = torch.stack([teacher(batch) for teacher in teachers]).mean(0)
    likely = torch.sigmoid(logits)[: len(example.words)].numpy()
    return example._replace(label=(example.label + likely) / 2)


def held_out(networks: Sequence[Sequence[Network]], pages: Sequence[Page]) -> list[tuple[str, scores.WordScores]]:
    """Kind and scores of every page, by that of the networks of the folds that never saw its host."""
    result = []
    for page in pages:
        network = networks[fold(page.host, len(networks))]
        blocks = page.layout.blocks
        likely = score(network, page.layout) if blocks else np.zeros(0, np.float32)
        lengths = np.array([block.count(" ") + 1 for block in blocks], np.int64)
        kept = selection(likely, lengths, network[0].shared.threshold) or selection(likely, lengths, FAINT)
        text = "\n".join(blocks[each] for each in kept)
        result.append((page.kind, scores.word_scores(scores.words(text), scores.words(page.gold))))
    return result


def main(description: str | None, argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, required=True, help="archive of the pages")
    parser.add_argument("--gold", type=Path, required=True, help="JSON lines, gzip: url, main_content, page_type")
    parser.add_argument("--out", type=Path, required=True, help="file of the model")
    parser.add_argument("--seed", type=int, default=Training.seed)
    parser.add_argument("--epochs", type=int, default=Training.epochs)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)  # one thread, so that sums have one order
    pages = read_pages(options.warc, options.gold)
    settings = Training(seed=options.seed, epochs=options.epochs, last_epochs=min(options.epochs, Training.last_epochs))
    content = learn(pages, settings)
    options.out.write_bytes(content)
    results = held_out([parse(content, number) for number in range(Training.folds)], pages)
    for kind in ["", *sorted({kind for kind, _ in results})]:
        found = [each for its_kind, each in results if kind in ("", its_kind)]
        means = [float(np.mean([getattr(each, name) for each in found])) for name in ("f1", "precision", "recall")]
        sys.stdout.write(f"{kind or 'all':14} n {len(found):5} F1 {means[0]:.4f} P {means[1]:.4f} R {means[2]:.4f}\n")
    sys.stdout.write(f"{options.out} {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n")
