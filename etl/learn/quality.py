"""Train the model of `etl.kernels.quality_model`: from a few labelled documents and many that are only likely to be so.

Three kinds of text teach three things. *Likely* ones, good and bad for a reason that is no judgement of theirs (main
texts of articles and documentation against those of listings and shops, main texts of pages against the rest of the
same pages, files named good and bad), teach the weights of words. *Labelled* documents, which people called good or
bad, teach the weights of all features. *Damaged* ones, good texts spoilt on purpose, make what labelled documents
hardly have, such as repetition and word salad, count as bad too.

Words are weighed on likely documents alone, so that labelled documents are new to them. What is reported comes from
folds of labelled documents that neither the weights nor the choice of the penalty saw. Everything is SciPy, seeded; the
same files give the same bytes, on one thread of the same libraries.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import logging
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
from scipy import optimize, sparse

from etl import labelled
from etl.errors import InputError
from etl.kernels import html, ranking, warc
from etl.kernels import quality_model as kernel
from etl.kernels.quality_model import Floats

logger = logging.getLogger(__name__)

Labels = NDArray[np.bool_]

KIND, REST = range(len(kernel.WORD_FEATURES))  # what the weights of words are trained on
GOOD_PAGES = ("article", "documentation")
BAD_PAGES = ("collection", "listing", "product", "service")
CLIPPED = 0.005  # of each end of a feature, what lies beyond is taken as the value there
BINS = 10  # of the calibration error


@dataclass(frozen=True)
class Training:
    """Settings of one training; the defaults are those of the shipped model.

    `damaged` is what the damaged documents weigh together, as a share of the labelled ones; they are made of likely
    ones of one of `parts` parts of the groups, and their words weighed by the others. Of `penalties` on squared weights
    the one of the least loss in folds inside the training part is taken.
    """

    folds: int = 10
    penalties: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)
    damaged: float = 0.05
    damaged_texts: int = 700
    parts: int = 5
    word_penalty: float = 1.0
    min_word_groups: int = 5
    max_words: int = 30_000
    characters: int = kernel.Settings.characters
    seed: int = 1


class Likely(NamedTuple):
    """A text that is good or bad for a reason of its own; texts of a group are never on both sides of a fold."""

    text: str
    is_good: bool
    group: str
    task: int


def read_texts(path: str | Path, text_field: str, *, is_good: bool) -> list[Likely]:
    """The texts of JSON lines, all good or all bad; a text is its own group.

    Raises:
        InputError: the file cannot be read, or rows have no text in `text_field`.
    """
    rows = list(labelled.rows(path))
    lacking = [number for number, row in rows if not isinstance(row.get(text_field), str)]
    if lacking or not rows:
        found = f"no string in {text_field!r} on lines {lacking[:12]}" if lacking else "no rows"
        raise InputError(f"{path}: {found}")
    return [Likely(row[text_field], is_good, f"{path}:{number}", KIND) for number, row in rows]


def read_pages(archive: Path, gold: Path) -> list[Likely]:
    """Main texts and rests of the pages of an archive that have a row in `gold`.

    Gold is JSON lines, gzip, with ``url``, ``main_content`` and ``page_type``. The rest of a page is every line of its
    visible text that does not occur in the main one.

    Raises:
        InputError: no page of the archive has a row in `gold`.
    """
    with gzip.open(gold, "rt", encoding="utf-8") as lines:
        rows = {row["url"]: row for row in map(json.loads, lines)}
    found = []
    for url, host, page in _pages(archive):
        main = (rows.get(url) or {}).get("main_content")
        if not main:
            continue
        kind = rows[url].get("page_type")
        shown = map(str.strip, extract_plain_text(HTMLTree.parse(page), main_content=False).split("\n"))
        rest = "\n".join(line for line in shown if line and line not in main)
        if kind in GOOD_PAGES or kind in BAD_PAGES:
            found.append(Likely(main, kind in GOOD_PAGES, host, KIND))
        found += [Likely(main, True, host, REST), Likely(rest, False, host, REST)]
    if not found:
        raise InputError(f"{archive}: no page has a main text in {gold}")
    return found


def _pages(archive: Path) -> Iterator[tuple[str, str, str]]:
    """Address, registered domain and decoded source of every page."""
    with archive.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=archive.name, crawl="train"):
            for row in batch.to_pylist():
                if row["payload"] is not None and row["warc_record_type"] == "response":
                    body = warc.payload(row["payload"], row["payload_length"])
                    host = row["url_host_registered_domain"] or row["url_host_name"] or ""
                    yield row["url"], host, html.decode(body, row["content_charset_declared"])[0]


def damaged(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` texts, each one of `texts` spoilt in one of the ways of `DAMAGES`, the same for the same seed."""
    draw = random.Random(seed)
    whole = [text for text in texts if len(text) > 300]
    if not whole:
        return []
    return [DAMAGES[number % len(DAMAGES)](draw.choice(whole), draw) for number in range(count)]


def _salad(text: str, draw: random.Random) -> str:
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def _repeated(text: str, draw: random.Random) -> str:
    words = text.split()
    size = draw.randint(3, 40)
    start = draw.randrange(max(1, len(words) - size))
    part = " ".join(words[start : start + size])
    return draw.choice((" ", "\n", ". ")).join([part] * draw.randint(10, 80))


def _stuffed(text: str, draw: random.Random) -> str:
    """Long words of the text as keywords, over and over."""
    words = [word.strip(".,;:!?()\"'") for word in text.split() if len(word) > 5] or text.split()
    keys = draw.sample(words, min(len(words), draw.randint(5, 15)))
    phrases = [" ".join(draw.sample(keys, min(len(keys), draw.randint(1, 4)))) for _ in range(draw.randint(30, 200))]
    return draw.choice((", ", " ", " | ")).join(phrases)


def _garbled(text: str, draw: random.Random) -> str:
    """Characters replaced by others, as in a damaged or encrypted file."""
    share = draw.uniform(0.05, 0.4)
    others = "\ufffd\u00c3\u00a9\u00e2\u0080#%&*@0123456789~^zqxj"
    return "".join(draw.choice(others) if draw.random() < share and c != "\n" else c for c in text[:8000])


def _snippets(text: str, draw: random.Random) -> str:
    """The start of each line with dots, as lists of articles have."""
    size = draw.randint(25, 120)
    return "\n".join(line[:size] + draw.choice(("...", " [...]", "")) for line in text.split("\n") if len(line) > 30)


def _titles(text: str, draw: random.Random) -> str:
    """Short runs of words with capitals, one a line."""
    words = text.split()[:600]
    lines, at = [], 0
    while at < len(words):
        size = draw.randint(1, 6)
        lines.append(" ".join(word.strip(".,;:").capitalize() for word in words[at : at + size]))
        at += size
    return "\n".join(lines)


def _joined(text: str, draw: random.Random) -> str:
    """A run of characters without a space, as encoded data and endless words are: of the text, or a part repeated."""
    signs = "".join(text.split())
    if draw.random() < 0.5:
        return signs[: draw.randint(500, 5000)]
    size = draw.choice((1, 2, 4, 8, 20))
    start = draw.randrange(max(1, len(signs) - size))
    return signs[start : start + size] * draw.randint(200, 1000)


DAMAGES: tuple[Callable[[str, random.Random], str], ...] = (
    _salad, _repeated, _stuffed, _garbled, _snippets, _titles, _joined,
)  # fmt: skip


class Words(NamedTuple):
    """Words that many groups use, the most common first, with how rare each is, and a weight each for every task."""

    numbers: dict[str, int]
    weights: Floats  # (words, tasks), per occurrence in a text


def weigh_words(likely: Sequence[Likely], training: Training) -> Words:
    """Weights of words from ridge logistic regressions, one a task, in which each text is its set of words."""
    sets = [kernel.distinct_words(kernel.sample(each.text, training.characters)) for each in likely]
    groups: dict[str, set[str]] = defaultdict(set)
    for each, words in zip(likely, sets, strict=True):
        for word in words:
            groups[word].add(each.group)
    known = [word for word, found in groups.items() if len(found) >= training.min_word_groups]
    known = sorted(known, key=lambda word: (-len(groups[word]), word))[: training.max_words]
    numbers = {word: number for number, word in enumerate(known)}
    total = len({each.group for each in likely})
    rarity = np.array([1 + np.log(total / len(groups[word])) for word in known])
    weights = np.zeros((len(known), len(kernel.WORD_FEATURES)))
    for task in range(len(kernel.WORD_FEATURES)):
        chosen = [place for place, each in enumerate(likely) if each.task == task]
        labels = np.array([likely[place].is_good for place in chosen], dtype=np.bool_)
        if len(set(labels.tolist())) < 2 or not known:
            continue
        rows = _word_rows([sets[place] for place in chosen], numbers)
        fitted, _ = fit(rows @ sparse.diags_array(rarity), labels, _balanced(labels), training.word_penalty)
        weights[:, task] = fitted * rarity
    return Words(numbers, weights.astype(np.float16).astype(np.float64))


def _word_rows(sets: Sequence[set[str]], numbers: dict[str, int]) -> sparse.csr_matrix:
    """(texts, words) one over the root of a text's distinct words, at those that are known."""
    columns = [sorted(numbers[word] for word in words if word in numbers) for words in sets]
    sizes = np.array([len(row) for row in columns])
    values = np.repeat([1 / np.sqrt(max(len(words), 1)) for words in sets], sizes)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    flat = np.array([number for row in columns for number in row], dtype=np.int64)
    return sparse.csr_matrix((values, flat, ends), shape=(len(sets), len(numbers)))


def _balanced(labels: Labels) -> Floats:
    """Weights by which both labels weigh the same, one text in the mean."""
    share = labels.mean()
    return np.asarray(np.where(labels, 0.5 / share, 0.5 / (1 - share)))


def fit(rows: Any, labels: Labels, weights: Floats, penalty: float) -> tuple[Floats, float]:
    """Weights and bias of a logistic regression with a squared penalty, which leaves the bias free."""
    signs = np.where(labels, 1.0, -1.0)

    def loss(values: Floats) -> tuple[float, Floats]:
        margins = signs * (rows @ values[:-1] + values[-1])
        value = float(weights @ np.logaddexp(0, -margins)) + 0.5 * penalty * float(values[:-1] @ values[:-1])
        slope = -signs * weights * _logistic(-margins)
        return value, np.append(rows.T @ slope + penalty * values[:-1], slope.sum())

    start = np.zeros(rows.shape[1] + 1)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-6})
    return found.x[:-1], float(found.x[-1])


def _logistic(values: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -values)))


class Rows(NamedTuple):
    """Documents as numbers: (n, features + 3), labels, and what each weighs."""

    measured: Floats
    labels: Labels
    weights: Floats


def head(rows: Rows, penalty: float) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Bounds, means, weights and bias over the features of the rows."""
    seen = rows.measured[:, : len(kernel.FEATURES)]
    low, high = np.quantile(seen, CLIPPED, axis=0), np.quantile(seen, 1 - CLIPPED, axis=0)
    mean = np.average(np.clip(seen, low, high), axis=0, weights=rows.weights)
    columns = kernel.columns(rows.measured, low, high, mean)
    scale = np.sqrt(np.average(columns**2, axis=0, weights=rows.weights)) + 1e-3
    weights, bias = fit(columns / scale, rows.labels, rows.weights, penalty)
    return low, high, mean, weights / scale, bias


def predicted(measured: Floats, fitted: tuple[Floats, Floats, Floats, Floats, float]) -> Floats:
    low, high, mean, weights, bias = fitted
    return _logistic(kernel.columns(measured, low, high, mean) @ weights + bias)


def stacked(*parts: Rows) -> Rows:
    measured, labels, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Rows(measured, labels, weights)


def folds_of(labels: Labels, folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) the fold of each document, with as many of each label in every fold as can be."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(len(labels), dtype=np.int64)
    numbers[order] = np.arange(len(labels)) % folds
    return numbers


def held_out(rows: Rows, others: Rows, penalty: float, folds: int, seed: int) -> Floats:
    """(n,) scores of the labelled rows, each by a head that was trained without its fold."""
    of = folds_of(rows.labels, folds, seed)
    scores = np.zeros(len(rows.labels))
    for number in range(folds):
        train = Rows(*(each[of != number] for each in rows))
        scores[of == number] = predicted(rows.measured[of == number], head(stacked(train, others), penalty))
    return scores


def best_penalty(rows: Rows, others: Rows, training: Training) -> float:
    """The penalty of the least loss on folds that the weights never saw."""
    losses = []
    for penalty in training.penalties:
        scores = np.clip(held_out(rows, others, penalty, 5, training.seed + 1), 1e-9, 1 - 1e-9)
        losses.append(float(-np.log(np.where(rows.labels, scores, 1 - scores)).mean()))
    return training.penalties[int(np.argmin(losses))]


def nested(rows: Rows, others: Rows, training: Training) -> Floats:
    """(n,) scores of the labelled rows: neither weights nor penalty of a score have seen its fold."""
    of = folds_of(rows.labels, training.folds, training.seed)
    scores = np.zeros(len(rows.labels))
    for number in range(training.folds):
        train = Rows(*(each[of != number] for each in rows))
        penalty = best_penalty(train, others, training)
        scores[of == number] = predicted(rows.measured[of == number], head(stacked(train, others), penalty))
    return scores


def measured(texts: Sequence[str], words: Words, characters: int) -> Floats:
    """(n, features + 3) of texts that are not blank."""
    return np.array(
        [kernel.measure(kernel.sample(text, characters), len(text), words.numbers, words.weights) for text in texts]
    ).reshape(len(texts), len(kernel.FEATURES) + 3)


def damaged_rows(likely: Sequence[Likely], labels: int, training: Training) -> Rows:
    """Damaged documents, beside `labels` labelled ones."""
    is_spoilt = [_part(each.group, training.parts) == 0 for each in likely]
    words = weigh_words([each for each, spoilt in zip(likely, is_spoilt, strict=True) if not spoilt], training)
    good = [
        each.text
        for each, spoilt in zip(likely, is_spoilt, strict=True)
        if spoilt and each.is_good and each.task == KIND
    ]
    texts = [text for text in damaged(good, training.damaged_texts, training.seed) if text.strip()]
    weight = training.damaged * labels / max(len(texts), 1)
    seen = measured(texts, words, training.characters)
    return Rows(seen, np.zeros(len(texts), np.bool_), np.full(len(texts), weight))


def _part(group: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % parts


class Trained(NamedTuple):
    """The file of a model, and the held-out scores of the labelled documents by which it is judged."""

    content: bytes
    labels: Labels
    scores: Floats
    penalty: float
    words: int


def learn(texts: Sequence[str], labels: Labels, likely: Sequence[Likely], training: Training) -> Trained:
    """The model of labelled texts and likely ones.

    Raises:
        InputError: there are too few labelled texts of a kind for the folds, or a labelled text is blank.
    """
    fewest = min(Counter(labels.tolist()).values()) if len(set(labels.tolist())) == 2 else 0
    problems = []
    if fewest < 2 * training.folds:
        problems.append(f"{fewest} labelled texts of a kind, wanted at least {2 * training.folds} good and bad ones")
    blank = [number for number, text in enumerate(texts, start=1) if not text.strip()]
    if blank:
        problems.append(f"labelled texts without a character that is not white space: rows {blank[:12]}")
    if problems:
        raise InputError("; ".join(problems))
    words = weigh_words(likely, training)
    logger.info("%d words from %d likely texts", len(words.numbers), len(likely))
    rows = Rows(measured(texts, words, training.characters), labels, np.ones(len(labels)))
    others = damaged_rows(likely, len(labels), training)
    logger.info("%d labelled and %d damaged texts measured", len(labels), len(others.labels))
    scores = nested(rows, others, training)
    penalty = best_penalty(rows, others, training)
    logger.info("penalty %g", penalty)
    return Trained(packed(head(stacked(rows, others), penalty), words), labels, scores, penalty, len(words.numbers))


def packed(fitted: tuple[Floats, Floats, Floats, Floats, float], words: Words) -> bytes:
    """The file of a model, read by `etl.kernels.quality_model.parse`."""
    low, high, mean, weights, bias = fitted
    stream = io.BytesIO()
    np.savez_compressed(
        stream, version=np.int64(kernel.VERSION), low=low, high=high, mean=mean, weights=weights.astype(np.float32),
        bias=np.float32(bias), words=np.array(" ".join(words.numbers)), word_weights=words.weights.astype(np.float16),
    )  # fmt: skip
    return stream.getvalue()


def calibration(labels: Labels, scores: Floats) -> tuple[float, list[tuple[int, float, float]]]:
    """Expected calibration error, and for every tenth of the scores how many, their mean, and the share of good."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    table = [
        (int((bins == number).sum()), float(scores[bins == number].mean()), float(labels[bins == number].mean()))
        for number in np.unique(bins)
    ]
    return sum(count * abs(mean - share) for count, mean, share in table) / len(scores), table


def spearman(left: Floats, right: Floats) -> float:
    """Correlation of ranks, ties at their mean."""
    ranks = [_ranks(np.asarray(each, dtype=np.float64)) for each in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[number], dtype=np.float64)


def card(name: str, trained: Trained, likely: Sequence[Likely], training: Training, sources: Sequence[str]) -> str:
    """What a model is, in Markdown: data, held-out figures, settings."""
    area = ranking.auc_interval(trained.labels, trained.scores)
    error, table = calibration(trained.labels, trained.scores)
    kinds = Counter((each.task, each.is_good) for each in likely)
    lines = [
        f"# {name}",
        "",
        f"Model of `etl.kernels.quality_model`, SHA-256 `{hashlib.sha256(trained.content).hexdigest()}`, "
        f"{len(trained.content):,} bytes, {len(kernel.FEATURES)} features, {trained.words:,} words.",
        "",
        f"Trained on {', '.join(sources)}: {area.n:,} labelled texts, {area.positives:,} of them good; likely texts: "
        f"{kinds[KIND, True]:,} good and {kinds[KIND, False]:,} bad by kind, {kinds[REST, True]:,} main texts and "
        f"{kinds[REST, False]:,} rests of pages.",
        "",
        f"Labelled texts, {training.folds} folds, penalty chosen inside each (of all: {trained.penalty:g}): "
        f"AUC {area.value:.4f} ({area.low:.4f} to {area.high:.4f}), Spearman "
        f"{spearman(trained.labels.astype(np.float64), trained.scores):.3f}, calibration error {error:.3f}.",
        "",
        "| scores | n | mean score | share of good |",
        "| --- | --- | --- | --- |",
        *(
            f"| {int(mean * BINS) / BINS:.1f} and above | {count} | {mean:.3f} | {share:.3f} |"
            for count, mean, share in table
        ),
        "",
        f"Settings: {training}.",
    ]
    return "\n".join(lines) + "\n"


def main(description: str | None, argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", nargs="+", required=True, help="JSON lines with labels that people gave")
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--label-field", default="label")
    parser.add_argument("--good", nargs="*", default=[], help="JSON lines of texts that are likely to be good")
    parser.add_argument("--bad", nargs="*", default=[], help="JSON lines of texts that are likely to be bad")
    parser.add_argument(
        "--pages", nargs=2, action="append", default=[], metavar=("WARC", "GOLD"),
        help="archive of pages and JSON lines, gzip, of their url, main_content and page_type",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="file of the model; its card is put beside it, .md")
    parser.add_argument("--seed", type=int, default=Training.seed)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    training = Training(seed=options.seed)
    read = [labelled.labelled(path, options.text_field, options.label_field) for path in options.labelled]
    likely = [
        *(each for path in options.good for each in read_texts(path, options.text_field, is_good=True)),
        *(each for path in options.bad for each in read_texts(path, options.text_field, is_good=False)),
        *(each for archive, gold in options.pages for each in read_pages(Path(archive), Path(gold))),
    ]
    texts = [text for each in read for text in each.texts]
    trained = learn(texts, np.concatenate([each.labels for each in read]), likely, training)
    options.out.write_bytes(trained.content)
    sources = [*options.labelled, *options.good, *options.bad, *(archive for archive, _ in options.pages)]
    written = card(options.out.name, trained, likely, training, [Path(source).name for source in sources])
    options.out.with_suffix(".md").write_text(written, encoding="utf-8")
    sys.stdout.write(written)
