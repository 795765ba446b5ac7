"""Training of the network that says how toxic a text is, in torch; `etl.kernels.toxicity` runs it in NumPy.

Rows of the training files are JSON objects: ``text``; ``label``, from 0 to 1, a share or a probability where it comes
from several people or from other models; and if wanted ``weight``, ``source`` and ``group``. With ``--measure``, a
second network is trained without a fifth of the groups, chosen by hash, and measured on them: rows of one group, such
as sentences made from one template, are never on both sides. Rows without a group are only trained on.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import logging
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from etl.errors import InputError
from etl.kernels import toxicity
from etl.kernels.toxicity import POWER

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Training:
    """How a network is trained. `words` and `ngrams` are rows of the two tables, each a power of two."""

    words: int = 1 << 16
    ngrams: int = 1 << 16
    width: int = 24
    units: int = 48
    kinds: int = 24
    epochs: int = 3
    batch: int = 512
    rate: float = 0.005
    decay: float = 1e-4
    dropout: float = 0.2
    word_dropout: float = 0.15
    seed: int = 1
    max_tokens: int = 256

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {size}, wanted a power of two"
            for name, size in (("words", self.words), ("ngrams", self.ngrams))
            if size < 1 or size & (size - 1)
        ]
        if problems:
            raise InputError(f"toxicity training: {'; '.join(problems)}")


class Row(NamedTuple):
    text: str
    label: float
    weight: float = 1.0
    source: str = ""
    group: str = ""


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of all files, in order.

    Raises:
        InputError: a file cannot be read, or rows are not as the module says; it names the first of each kind.
    """
    rows: list[Row] = []
    problems: dict[str, str] = {}
    for path in paths:
        try:
            for number, line in enumerate(_lines(path), start=1):
                found = json.loads(line)
                text, label = found.get("text"), found.get("label")
                where = f"{path}, line {number}"
                if not isinstance(text, str):
                    problems.setdefault("'text' is no string", where)
                elif not isinstance(label, (int, float)) or not 0 <= label <= 1:
                    problems.setdefault("'label' is no number from 0 to 1", where)
                else:
                    rows.append(Row(text, float(label), float(found.get("weight", 1)), str(found.get("source", "")),
                                    str(found.get("group", ""))))  # fmt: skip
        except (OSError, EOFError, UnicodeDecodeError, ValueError, AttributeError) as error:
            problems.setdefault(f"cannot be read as JSON lines ({error})", str(path))
    if problems:
        raise InputError("; ".join(f"{where}: {what}" for what, where in problems.items()))
    return rows


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from lines


class Corpus(NamedTuple):
    """Texts as numbers of distinct tokens, end to end, and of each distinct token its rows of the two tables."""

    tokens: Ints
    text_starts: Ints  # (texts + 1,)
    sentences: Ints  # lengths in tokens
    sentence_starts: Ints  # (texts + 1,) of each text its first sentence
    word: Ints  # (distinct,)
    grams: Ints
    gram_starts: Ints  # (distinct + 1,)

    @property
    def used(self) -> Ints:
        """The texts that have tokens."""
        return np.flatnonzero(np.diff(self.text_starts))


def corpus_of(rows: Sequence[Row], settings: Training) -> Corpus:
    numbers: dict[str, int] = {}
    texts = [
        np.array(
            [numbers.setdefault(token, len(numbers)) for token in toxicity.tokens(row.text)[: settings.max_tokens]],
            np.int64,
        )
        for row in rows
    ]
    ends = np.array([toxicity.is_end(token) for token in numbers], np.bool_)
    lengths = [np.subtract(*toxicity.bounds(ends[ids])[::-1]) if len(ids) else ids for ids in texts]
    spelt = [toxicity.spelling(token) for token in numbers]
    grams = [toxicity.ngram_buckets(word, settings.ngrams) for word in spelt]
    return Corpus(
        np.concatenate(texts), _starts(map(len, texts)), np.concatenate(lengths), _starts(map(len, lengths)),
        np.array([toxicity.word_bucket(word, settings.words) for word in spelt], np.int64),
        np.array([row for each in grams for row in each], np.int64), _starts(map(len, grams)),
    )  # fmt: skip


def _starts(lengths: Iterable[int]) -> Ints:
    return np.cumsum([0, *lengths])


def _taken(values: Ints, starts: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """The runs of `values` that `chosen` name, end to end, and their lengths."""
    lengths = starts[chosen + 1] - starts[chosen]
    before = np.cumsum(lengths) - lengths
    return values[np.repeat(starts[chosen] - before, lengths) + np.arange(lengths.sum())], lengths


class Batch(NamedTuple):
    """Texts end to end, rows of zeros around each of their sentences, as `etl.kernels.toxicity.Scorer` lays them."""

    words: torch.Tensor  # (distinct,) rows of the words' table
    grams: torch.Tensor  # rows of the n-grams' table, those of a distinct token together
    gram_starts: torch.Tensor
    has_grams: torch.Tensor  # (distinct, 1)
    tokens: torch.Tensor  # (tokens,) which distinct token
    places: torch.Tensor  # (tokens,) where it stands
    total: int
    sentence: torch.Tensor  # (tokens,)
    weights: torch.Tensor  # (sentences,)
    text: torch.Tensor  # (sentences,)
    texts: int


def batch_of(corpus: Corpus, chosen: Ints) -> Batch:
    found, _ = _taken(corpus.tokens, corpus.text_starts, chosen)
    lengths, sentences = _taken(corpus.sentences, corpus.sentence_starts, chosen)
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    distinct, tokens = np.unique(found, return_inverse=True)
    grams, sizes = _taken(corpus.grams, corpus.gram_starts, distinct)
    return Batch(
        torch.from_numpy(corpus.word[distinct]), torch.from_numpy(grams), torch.from_numpy(np.cumsum(sizes) - sizes),
        torch.from_numpy((sizes > 0).astype(np.float32))[:, None], torch.from_numpy(tokens.ravel()),
        torch.from_numpy(np.arange(len(found)) + toxicity.GAP * (sentence + 1)),
        len(found) + toxicity.GAP * (len(lengths) + 1), torch.from_numpy(sentence),
        torch.from_numpy(np.sqrt(lengths).astype(np.float32)),
        torch.from_numpy(np.repeat(np.arange(len(chosen)), sentences)), len(chosen),
    )  # fmt: skip


class Model(nn.Module):
    """The network of `etl.kernels.toxicity`, as torch trains it."""

    def __init__(self, settings: Training) -> None:
        super().__init__()
        self.settings = settings
        self.words = nn.Embedding(settings.words, settings.width)
        self.ngrams = nn.EmbeddingBag(settings.ngrams, settings.width, mode="mean")
        for table in (self.words, self.ngrams):
            nn.init.normal_(table.weight, std=0.05)
        self.near = nn.Linear(3 * settings.width, settings.units)
        self.wide = nn.Linear(3 * settings.units, settings.units)
        self.dense = nn.Linear(settings.units, settings.kinds)
        self.last = nn.Linear(settings.kinds, 1)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(texts,) scores and (sentences,) probabilities."""
        settings = self.settings
        words = self.words(batch.words)
        grams = self.ngrams(batch.grams, batch.gram_starts)
        if self.training:
            # Words without their own vector are known by their n-grams alone, as rare ones are.
            kept = (torch.rand(len(words), 1) >= settings.word_dropout).float()
            words = words * (1 - (1 - kept) * batch.has_grams)
        inputs = torch.zeros(batch.total, settings.width)
        vectors = functional.dropout(words + grams, settings.dropout, self.training)
        inputs = inputs.index_copy(0, batch.places, vectors.index_select(0, batch.tokens))
        pad = functional.pad(inputs, (0, 0, 1, 1))
        inner = functional.relu(self.near(torch.cat([pad[:-2], pad[1:-1], pad[2:]], 1)))
        mask = torch.zeros(batch.total, 1).index_fill(0, batch.places, 1.0)
        inner = functional.dropout(inner, settings.dropout, self.training) * mask
        pad = functional.pad(inner, (0, 0, 2, 2))
        outer = functional.relu(self.wide(torch.cat([pad[:-4], pad[2:-2], pad[4:]], 1))) + inner
        own = outer.index_select(0, batch.places)
        index = batch.sentence[:, None].expand_as(own)
        highest = torch.zeros(len(batch.weights), settings.units).scatter_reduce(0, index, own, "amax")
        hidden = functional.dropout(functional.relu(self.dense(highest)), settings.dropout, self.training)
        probabilities = torch.sigmoid(self.last(hidden)[:, 0].clamp(-30, 30))
        above = torch.zeros(batch.texts).index_add(0, batch.text, batch.weights * probabilities**POWER)
        total = torch.zeros(batch.texts).index_add(0, batch.text, batch.weights)
        return (above / total).clamp(1e-12, 1) ** (1 / POWER), probabilities


def train(rows: Sequence[Row], settings: Training, corpus: Corpus | None = None) -> Model:
    """A network trained on `rows`, the same for the same rows and settings on one thread.

    Raises:
        InputError: no row has words, or all labels are on one side of a half.
    """
    corpus = corpus or corpus_of(rows, settings)
    usable = corpus.used
    sides = {rows[number].label >= 0.5 for number in usable}
    if len(sides) < 2:
        raise InputError(f"{len(usable)} rows with words, {len(sides)} kinds of label; wanted toxic and other ones")
    torch.manual_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    model = Model(settings)
    tables = [*model.words.parameters(), *model.ngrams.parameters()]
    others = [each for name, each in model.named_parameters() if not name.startswith(("words", "ngrams"))]
    optimizer = torch.optim.AdamW(
        [{"params": tables, "weight_decay": 0.0}, {"params": others, "weight_decay": settings.decay}], lr=settings.rate
    )
    steps = settings.epochs * -(-len(usable) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=max(steps, 2), pct_start=0.1, cycle_momentum=False
    )
    labels = np.array([row.label for row in rows], np.float32)
    weights = np.array([row.weight for row in rows], np.float32)
    model.train()
    for epoch in range(settings.epochs):
        total = 0.0
        batches = np.array_split(order.permutation(usable), -(-len(usable) // settings.batch))
        for chosen in batches:
            scores, _ = model(batch_of(corpus, chosen))
            label, weight = torch.from_numpy(labels[chosen]), torch.from_numpy(weights[chosen])
            losses = functional.binary_cross_entropy(scores.clamp(1e-6, 1 - 1e-6), label, reduction="none")
            loss = (losses * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        logger.info("epoch %d of %d: loss %.4f", epoch + 1, settings.epochs, total / len(batches))
    return model.eval()


def packed(model: Model, corpus: Corpus) -> bytes:
    """The file of a network: tables in 8 bits, zero where no training text has been, weights in half precision."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    scales = []
    for name, used in (("words", np.unique(corpus.word)), ("ngrams", np.unique(corpus.grams))):
        table = getattr(model, name).weight.detach().numpy()
        kept = np.zeros_like(table)
        kept[used] = table[used]
        # The outermost thousandth is clipped, so that the others keep more of their digits.
        reach = max(float(np.quantile(np.abs(kept[used]), 0.999)), 1e-6) if len(used) else 1.0
        scales.append(reach / 127)
        arrays[name] = np.clip(np.round(kept / scales[-1]), -127, 127).astype(np.int8)
    arrays["scale"] = np.array(scales, np.float32)
    for name in ("near", "wide", "dense", "last"):
        layer = getattr(model, name)
        weight = layer.weight.detach().numpy()
        arrays[name] = (weight[0] if name == "last" else weight.T).astype(np.float16)
        arrays[f"{name}_bias"] = layer.bias.detach().numpy().astype(np.float32)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(arrays):
            part = BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            # A fixed date: the same arrays are the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, part.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def learn(rows: Sequence[Row], settings: Training) -> bytes:
    """The file of a model that was trained on `rows`."""
    corpus = corpus_of(rows, settings)
    return packed(train(rows, settings, corpus), corpus)


class Measured(NamedTuple):
    """How a network ranks rows that it never saw: `auc` is None where they are all of one kind."""

    source: str
    n: int
    toxic: int
    auc: float | None


def is_held_out(row: Row) -> bool:
    return bool(row.group) and int(hashlib.sha256(row.group.encode()).hexdigest()[:8], 16) % 5 == 0


def measure(rows: Sequence[Row], settings: Training) -> list[Measured]:
    """By source, a network that was trained without a fifth of the groups on the rows of these groups."""
    content = learn([row for row in rows if not is_held_out(row)], settings)
    scorer = toxicity.Scorer(toxicity.parse(content))
    found: dict[str, list[tuple[float, bool]]] = {}
    for row in filter(is_held_out, rows):
        tokens = toxicity.tokens(row.text)
        if tokens:
            starts, ends, probabilities = scorer.sentences(tokens)
            value = toxicity.pooled(probabilities, ends - starts)
            found.setdefault(row.source, []).append((value, row.label >= 0.5))
    return [
        Measured(source, len(pairs), sum(is_toxic for _, is_toxic in pairs), _auc(pairs))
        for source, pairs in sorted(found.items())
    ]


def _auc(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """Share of pairs of a toxic and another row in which the toxic one is higher; ties are half right."""
    toxic = np.sort([value for value, is_toxic in pairs if is_toxic])
    others = np.array([value for value, is_toxic in pairs if not is_toxic])
    if not len(toxic) or not len(others):
        return None
    below = np.searchsorted(toxic, others, "left") + np.searchsorted(toxic, others, "right")
    return float(1 - below.mean() / (2 * len(toxic)))


def main(description: str | None, argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="JSON lines: text, label, weight, group")
    parser.add_argument("--out", type=Path, required=True, help="file of the model")
    parser.add_argument("--seed", type=int, default=Training.seed)
    parser.add_argument("--epochs", type=int, default=Training.epochs)
    parser.add_argument(
        "--table-rows", type=int, default=Training.words, help="of words and of n-grams, a power of two"
    )
    parser.add_argument("--measure", action="store_true", help="also train without a fifth of the groups, and measure")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)  # one thread, so that sums have one order
    rows = read_rows(options.data)
    settings = Training(options.table_rows, options.table_rows, seed=options.seed, epochs=options.epochs)
    if options.measure:
        for each in measure(rows, settings):
            area = "" if each.auc is None else f" AUC {each.auc:.4f}"
            sys.stdout.write(f"{each.source or 'no source':20} n {each.n:6,} toxic {each.toxic:6,}{area}\n")
    content = learn(rows, settings)
    options.out.write_bytes(content)
    sys.stdout.write(f"{options.out} {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n")
