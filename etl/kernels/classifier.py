"""What a sequence classifier of transformers says of a text: FineWeb-Edu's educational value, toxicity models, others.

Any model with a classification head, by path or hub id (see `etl.kernels.transformer`): a regression of one value, one
of several classes, or labels of which several may hold. One number of it becomes the score of a text.

A score depends on the text and the settings alone, never on the texts beside it: the layers behind the pooling, which
are the only ones that see as many rows as there are texts, are given rows by multiples of `ROWS_TO`, because products
of fewer rows are summed in another order. On one thread of a CPU scores are then equal bit by bit in any batch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etl.config import STRICT
from etl.kernels import devices, sentences, transformer
from etl.kernels.scoring import Score, Span
from etl.models import ModelError

ACTIVATIONS = ("none", "sigmoid", "softmax")
JOINS = ("mean", "max")
DEFAULT_TOKENS = 512  # of a window, where the model takes more: what classifiers of documents are trained on
MOST_CHARACTERS = 1_000_000  # of a document that is read to its end: minutes on a CPU, not days
PAD_TO = {"cpu": transformer.PAD_TO, "cuda": 64}
"""Few shapes keep a GPU busy, as a batch of Spark is some hundred texts. Windows of 512 tokens of WCXB's main texts
(1,476) and DCLM's labelled documents (281) then have 1.1 and 5.9 % of padding, on a CPU 0.3 and 1.4 %."""

ROWS_TO = 16
GROUP_CHARACTERS = 4_000_000  # of texts whose tokens are in memory at once: about a million

_CODE = 1  # of this module, as far as it decides scores


@dataclass(frozen=True)
class Settings:
    """A model, and which number of it is the score of a text.

    `label` is the class whose probability is the score, by name or number. Of several, the highest counts where each
    may hold beside others, and their sum where one of all classes holds. A model of one output needs none.
    `activation` makes probabilities of outputs; None is what the model's configuration says: none for a regression,
    softmax for one of several classes, sigmoid for labels beside each other. With `levels` a text has a level too: the
    score rounded to a whole number from 0 to `levels`, FineWeb-Edu's ``int_score`` with 5.

    `max_tokens` is the length of a window, special tokens included; None is the model's own, at most 512. `windows` is
    how many of them are read from the start of a text, 0 for all (of the first million characters), each `overlap`
    tokens into the one before. The score of a text is the `join` of its windows: the mean, weighted by tokens, or the
    max. With `sentences` each sentence that was read is scored alone too, in one window: the highest is `worst`, and
    those that reach `span_threshold` are `spans`.

    `precision` may be bfloat16 or float16 on a GPU. `batch_tokens` is the size of a batch, padding included; it changes
    no score. Where a GPU has too little memory for it, halves are tried.
    """

    __pydantic_config__ = STRICT

    model: str
    label: str | int | tuple[str | int, ...] | None = None
    activation: str | None = None
    levels: int | None = None
    max_tokens: int | None = None
    windows: int = 1
    overlap: int = 0
    join: str = "mean"
    sentences: bool = False
    span_threshold: float = 0.5
    precision: str = "float32"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.activation not in (None, *ACTIVATIONS):
            problems.append(f"activation is {self.activation!r}, wanted one of {', '.join(ACTIVATIONS)}")
        if self.label == ():
            problems.append("label is an empty list, wanted labels")
        if self.levels is not None and self.levels < 1:
            problems.append(f"levels is {self.levels}, wanted at least 1")
        if self.max_tokens is not None and self.max_tokens < 8:
            problems.append(f"max_tokens is {self.max_tokens}, wanted at least 8")
        if self.windows < 0:
            problems.append(f"windows is {self.windows}, wanted 0 for all, or more")
        if self.overlap < 0:
            problems.append(f"overlap is {self.overlap}, wanted at least 0")
        if self.join not in JOINS:
            problems.append(f"join is {self.join!r}, wanted one of {', '.join(JOINS)}")
        if self.precision not in transformer.PRECISIONS:
            problems.append(f"precision is {self.precision!r}, wanted one of {', '.join(transformer.PRECISIONS)}")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            problems.append(f"batch_tokens is {self.batch_tokens}, wanted at least 1")
        if problems:
            raise ValueError("; ".join(problems))


def score(texts: Sequence[str], settings: Settings) -> list[Score]:
    """One score a text, in order.

    A text has none if it is empty or its tokenizer finds nothing in it (``empty: ...``), if a window of it is too large
    for the memory of a GPU (``memory: ...``), or if the model gives no number (``not_finite: ...``).

    Raises:
        ModelError: the model or what loads it is missing, it is no classifier, or it lacks the label.
    """
    classifier = _classifier(settings)
    return [found for group in _groups(texts, classifier.scan) for found in classifier(group)]


def digest(settings: Settings) -> str:
    """SHA-256 of what decides scores: weights, tokenizer and configuration files, and the settings.

    Raises:
        ModelError: the model is missing, or has no safetensors.
    """
    folder = transformer.folder(settings.model, _wanted(settings.model))
    transformer.weights(folder, settings.model)
    decides_nothing = {"model", "batch_tokens"}
    how = {name: value for name, value in asdict(settings).items() if name not in decides_nothing}
    return transformer.digest(folder, [_CODE, sentences.ENGINE if settings.sentences else None, how])


def check(settings: Settings) -> None:
    """Load the model and score a sentence.

    Raises:
        ModelError: as `score`, or the model gives no number.
    """
    found = score(["The lake is deep and cold."], settings)[0]
    if found.error is not None:
        raise ModelError(f"{settings.model} cannot score a short sentence: {found.error}")


@functools.lru_cache(maxsize=2)
def _classifier(settings: Settings) -> _Classifier:
    return _Classifier.load(settings)


class _Windows(NamedTuple):
    """Token ids of parts of texts, special tokens included, and the number of the text that each is of."""

    ids: list[list[int]]
    owners: list[int]


@dataclass(frozen=True)
class _Classifier:
    """A model in memory, with what it does to texts."""

    model: Any
    tokenizer: Any
    settings: Settings
    labels: tuple[int, ...]
    activation: str
    max_tokens: int
    scan: int  # characters of a text that are looked at

    @classmethod
    def load(cls, settings: Settings) -> _Classifier:
        folder = transformer.folder(settings.model, _wanted(settings.model))
        model, tokenizer = transformer.load(
            "AutoModelForSequenceClassification", folder, settings.model, settings.precision
        )
        most = transformer.longest(model, tokenizer)
        wanted = settings.max_tokens or min(most or DEFAULT_TOKENS, DEFAULT_TOKENS)
        if most is not None and wanted > most:
            raise ModelError(f"{settings.model} takes {most} tokens at once, max_tokens is {wanted}")
        if settings.overlap > wanted // 2:
            raise ModelError(f"{settings.model}: overlap is {settings.overlap}, wanted at most half of {wanted} tokens")
        _pad(model, tokenizer, settings.model)
        _fill_rows(model)
        tokenizer.truncation_side = "right"
        return cls(
            model=model,
            tokenizer=tokenizer,
            settings=settings,
            labels=_labels(model.config, settings),
            activation=settings.activation or _activation(model.config),
            max_tokens=wanted,
            scan=transformer.SCAN_CHARACTERS * wanted * settings.windows or MOST_CHARACTERS,
        )

    def __call__(self, texts: Sequence[str]) -> list[Score]:
        heads = [transformer.plain(text[: self.scan]) for text in texts]
        windows, read = self._windows(heads)
        pieces = [
            _sentences(head[:end]) if self.settings.sentences else [] for head, end in zip(heads, read, strict=True)
        ]
        alone = [heads[row][start:end] for row, places in enumerate(pieces) for start, end in places]
        of_pieces = self.tokenizer(alone, truncation=True, max_length=self.max_tokens)["input_ids"] if alone else []
        scores, lengths, is_lost = self._scores([*windows.ids, *of_pieces])
        owners = np.asarray(
            [*windows.owners, *(row for row, places in enumerate(pieces) for _ in places)], dtype=np.int64
        )
        order = np.argsort(owners, kind="stable")  # the windows of a text, then its sentences
        bounds = np.searchsorted(owners[order], np.arange(len(texts) + 1))
        found = []
        for row in range(len(texts)):
            own = order[bounds[row] : bounds[row + 1]]
            error = _error(heads[row], scores[own], is_lost[own])
            if error is not None:
                found.append(Score(None, read[row], error=error))
                continue
            parts = own[: len(own) - len(pieces[row])]
            value = self._joined(scores[parts], lengths[parts])
            rated = [Span(*place, float(scores[at])) for place, at in zip(pieces[row], own[len(parts) :], strict=True)]
            found.append(
                Score(
                    score=value,
                    read=read[row],
                    level=self._level(value),
                    worst=max((span.score for span in rated), default=None),
                    spans=tuple(span for span in rated if span.score >= self.settings.span_threshold),
                )
            )
        return found

    def _windows(self, heads: Sequence[str]) -> tuple[_Windows, list[int]]:
        """The windows of texts, none of those without a token, and how many characters of each text they show."""
        found = _Windows([], [])
        read = [0] * len(heads)
        asked = [row for row, head in enumerate(heads) if head and not head.isspace()]
        if not asked:
            return found, read
        tokens = self.tokenizer(
            [heads[row] for row in asked],
            truncation=True,
            max_length=self.max_tokens,
            stride=self.settings.overlap,
            return_overflowing_tokens=self.settings.windows != 1,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        specials = self.tokenizer.num_special_tokens_to_add()
        owners = tokens.get("overflow_to_sample_mapping", range(len(asked)))
        counts = [0] * len(asked)
        for ids, encoding, number in zip(tokens["input_ids"], tokens.encodings, owners, strict=True):
            counts[number] += 1
            row = asked[number]
            if len(ids) <= specials or (self.settings.windows and counts[number] > self.settings.windows):
                continue
            found.ids.append(ids)
            found.owners.append(row)
            read[row] = max(end for _, end in encoding.offsets)
            if not heads[row][read[row] :].strip():
                read[row] = len(heads[row])  # spaces behind the last token were shown as well
        return found, read

    def _scores(self, windows: Sequence[Sequence[int]]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
        """Of each window its score, its tokens, and whether the memory of the GPU was too small for it."""
        lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
        outputs = np.full((len(windows), self.model.config.num_labels), np.nan)
        is_lost = np.zeros(len(windows), dtype=bool)
        device = devices.device()
        budget = self.settings.batch_tokens or transformer.BATCH_TOKENS[device]
        asked = []
        for rows, padded in transformer.batches(lengths, self.max_tokens, budget, PAD_TO[device]):
            forward = functools.partial(self._forward, padded=padded)
            asked.append((rows, transformer.by_halves(forward, [windows[row] for row in rows])))
        # Read only now: a GPU works on one batch while the next is made ready.
        for rows, parts in asked:
            start = 0
            for part in parts:
                end = start + (1 if part is None else len(part))
                if part is None:
                    is_lost[rows[start:end]] = True
                else:
                    outputs[rows[start:end]] = part.cpu().numpy()
                start = end
        return self._chosen(outputs), lengths, is_lost

    def _forward(self, windows: Sequence[Sequence[int]], padded: int) -> Any:
        torch, _ = transformer.libraries()
        with torch.inference_mode():
            ids, mask = transformer.tensors(windows, padded, self.tokenizer.pad_token_id or 0)
            return self.model(input_ids=ids, attention_mask=mask).logits.float()

    def _chosen(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs (n, labels) to scores (n,)."""
        chosen = list(self.labels)
        found: NDArray[Any] = outputs[:, chosen].max(axis=1)
        with np.errstate(invalid="ignore"):  # what is no number stays none
            if self.activation == "softmax":
                powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
                found = powers[:, chosen].sum(axis=1) / powers.sum(axis=1)
            elif self.activation == "sigmoid":
                power = np.exp(-np.abs(found))  # never overflows
                found = np.where(found >= 0, 1, power) / (1 + power)
        return found

    def _joined(self, scores: NDArray[Any], lengths: NDArray[np.int64]) -> float:
        if self.settings.join == "max":
            return float(scores.max())
        return float(np.average(scores, weights=lengths)) if len(scores) > 1 else float(scores[0])

    def _level(self, value: float) -> int | None:
        return None if self.settings.levels is None else round(min(max(value, 0), self.settings.levels))


def _error(head: str, scores: NDArray[Any], is_lost: NDArray[np.bool_]) -> str | None:
    """Why a text has no score."""
    if not head.strip():
        return "empty: no characters other than spaces"
    if not len(scores):
        return f"empty: the tokenizer finds nothing in {len(head)} characters"
    if is_lost.any():
        return "memory: a GPU has too little for one window of the text; lower max_tokens"
    if not np.isfinite(scores).all():
        return "not_finite: the model gives no number; float16 does that, try bfloat16"
    return None


def _groups(texts: Sequence[str], scan: int) -> Iterator[Sequence[str]]:
    """Texts in order, in groups of at most `GROUP_CHARACTERS` that are looked at, or of one text."""
    start, size = 0, 0
    for row, text in enumerate(texts):
        more = min(len(text), scan)
        if row > start and size + more > GROUP_CHARACTERS:
            yield texts[start:row]
            start, size = row, 0
        size += more
    if start < len(texts):
        yield texts[start:]


def _sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text that have a letter or a digit start and end."""
    found = sentences.sentences(text)
    return [(start, end) for start, end, _ in found if any(map(str.isalnum, text[start:end]))]


def _wanted(model: str) -> str:
    return f"there is no classifier {model!r}: wanted a folder, or an id on the hub"


def _labels(config: Any, settings: Settings) -> tuple[int, ...]:
    """The outputs that make the score."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if settings.label is None:
        if len(names) > 1:
            raise ModelError(
                f"{settings.model} has {len(names)} labels: wanted label, one or more of {', '.join(names)}"
            )
        return (0,)
    asked = settings.label if isinstance(settings.label, tuple) else (settings.label,)
    unknown = [label for label in asked if label not in names and label not in range(len(names))]
    if unknown:
        raise ModelError(
            f"{settings.model} has no label {', '.join(map(repr, unknown))}: wanted one of {', '.join(names)}, "
            f"or a number below {len(names)}"
        )
    return tuple(sorted({label if isinstance(label, int) else names.index(label) for label in asked}))


def _activation(config: Any) -> str:
    """What makes probabilities of outputs, as transformers' own pipeline chooses it."""
    kind = getattr(config, "problem_type", None)
    if kind == "regression":
        return "none"
    if kind == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def _pad(model: Any, tokenizer: Any, name: str) -> None:
    """Decoders find the last token of a text by the padding behind it."""
    if getattr(model.config, "pad_token_id", None) is None and tokenizer.pad_token_id is not None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if tokenizer.pad_token_id is None and not getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} names no token for padding: wanted pad_token in tokenizer_config.json")


def _fill_rows(model: Any) -> None:
    """Let products of one row a text have `ROWS_TO` rows or a multiple, whatever there are."""
    torch, _ = transformer.libraries()

    def filled(forward: Any, rows: Any) -> Any:
        if rows.dim() != 2 or len(rows) % ROWS_TO == 0:
            return forward(rows)
        return forward(torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % ROWS_TO)))[: len(rows)]

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = functools.partial(filled, module.forward)
