"""What a causal language model says of given texts: log-likelihoods, and answers written greedily.

Texts become tokens as in lm-evaluation-harness 0.4, so that scores compare with published ones; the numbers do not
depend on how requests are put together into batches, but for the rounding of float32.

What several inputs begin with is read once, see `etl.evaluate.prefixes`. Other inputs are padded on the right without
an attention mask: a causal model never looks to the right, and what it says of padding is not read. Logits are made
only for the places that some request of the batch needs.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, StoppingCriteria, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from etl.align.chat import Encoded
from etl.align.models import Loaded
from etl.errors import InputError
from etl.evaluate import prefixes
from etl.evaluate.prefixes import Ids

DEFAULT_CONTEXT = 2048  # of a model that does not say its own, as in lm-evaluation-harness
_CONTEXT_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")
WRITING = 8  # as many tokens in a batch of prompts, whose logits are made for the last place only
SLICE = 512  # places whose logits are turned into probabilities at a time
_NO_CONTEXT = 1 << 30  # tokenizers that know no limit say a number above this

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Likelihood:
    """Sum of the natural log-probabilities of the tokens that were scored, how many they were, and whether greedy
    decoding would have written every one of them."""

    logprob: float
    tokens: int
    is_greedy: bool


NOTHING = Likelihood(0.0, 0, True)


@dataclass(frozen=True)
class Logits:
    """What the model holds of the token after some places of one input: `values` (columns, vocabulary), and in which
    column a place is."""

    values: torch.Tensor
    column: Mapping[int, int]


@dataclass(frozen=True)
class Scorer:
    """A model to be asked. A batch holds at most `batch_tokens` tokens with its padding, but at least one request: by
    default 1,024 on a CPU, where larger ones are slower, and 16,384 elsewhere. `watch(done, total)` is called after
    each."""

    loaded: Loaded
    batch_tokens: int | None = None
    context: int | None = None
    watch: Watch = lambda done, total: None

    @property
    def limit(self) -> int:
        """The most tokens that the model reads at once: `context`, or else its own limit."""
        return self.context or model_context(self.loaded)

    @property
    def most_tokens(self) -> int:
        """The most tokens of a batch."""
        return self.batch_tokens or (1024 if self.loaded.model.device.type == "cpu" else 16_384)

    def of(self, loaded: Loaded) -> Scorer:
        """The same for another model, without its being watched."""
        return Scorer(loaded, self.batch_tokens, self.context)

    def loglikelihoods(self, requests: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """For each (context, continuation): the likelihood of the continuation after the context.

        Both are encoded as one text, and the spaces that end the context count to the continuation. An empty context
        stands for the beginning of a text. A context that is too long loses its beginning; a continuation that is, at
        which lm-evaluation-harness stops, is scored window by window as by `rolling`.

        Raises:
            InputError: continuations that have no tokens of their own.
        """
        split = [self._split(context, continuation) for context, continuation in requests]
        empty = [
            f"request {place}: the continuation {requests[place][1][:40]!r} has no tokens, wanted one or more"
            for place, (_, after) in enumerate(split)
            if not after
        ]
        if empty:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            raise InputError("; ".join(empty[:5]) + more)
        return self._in_windows(split)

    def rolling(self, texts: Sequence[str]) -> list[Likelihood]:
        """For each text: the likelihood of all its tokens, each scored once, the first one after the mark that begins
        a text. A text that is longer than the context is scored window by window, without overlap but for one token;
        the last window reaches back as far as it can. No special token is added or scored."""
        return self._in_windows([([self._prefix], self._encode(text, special=False)) for text in texts])

    def _in_windows(self, split: Iterable[tuple[list[int], list[int]]]) -> list[Likelihood]:
        """For each (before, after), tokens: the likelihood of those after."""
        windows = [list(self._windows(before, after)) for before, after in split]
        scored = iter(self.score([window for each in windows for window in each]))
        return [_sum([next(scored) for _ in each]) for each in windows]

    @torch.inference_mode()
    def score(self, sequences: Sequence[Encoded]) -> list[Likelihood]:
        """For each sequence of tokens: the likelihood of those that its mask marks, each after all before it.

        The first token has nothing before it and is never scored. What several sequences begin with is read once, where
        the model keeps its keys and values in the ordinary way.
        """
        # Of what the model reads: which sequences ask for it, and at which places.
        wanted: dict[Ids, list[int]] = {}
        places: list[list[int]] = []
        for index, sequence in enumerate(sequences):
            places.append([place for place, mark in enumerate(sequence.mask[1:]) if mark])
            if places[index]:
                wanted.setdefault(tuple(sequence.ids[:-1]), []).append(index)
        results = [NOTHING] * len(sequences)
        total, done = sum(map(len, wanted.values())), 0
        with _evaluating(self.loaded.model):
            for read in self._readings({ids: sorted({*_flat(places, wanted[ids])}) for ids in wanted}):
                for ids, logits in read.items():
                    for index in wanted[ids]:
                        targets = [sequences[index].ids[place + 1] for place in places[index]]
                        results[index] = _likelihood(logits, places[index], targets)
                        done += 1
                self.watch(done, total)
        return results

    def _readings(self, places: Mapping[Ids, list[int]]) -> Iterator[dict[Ids, Logits]]:
        """Logits of each input at its places, batch by batch."""
        # The logits at a place need all tokens up to it, so what is shared ends with the first place at the latest.
        latest = {ids: at[0] + 1 if self._can_share else 0 for ids, at in places.items()}
        groups = prefixes.groups(latest, self.most_tokens)
        alone = [group for group in groups if not group.shared]
        for batch in prefixes.batches([group for group in groups if group.shared], self.most_tokens):
            yield self._read_shared(batch, places)
        for batch in prefixes.batches(alone, self.most_tokens):
            yield self._read([ids for group in batch for ids in group.inputs], places)

    @property
    def _can_share(self) -> bool:
        model = self.loaded.model
        if "position_ids" not in inspect.signature(model.forward).parameters or getattr(model, "_is_stateful", False):
            return False
        return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)

    def _read(self, inputs: Sequence[Ids], places: Mapping[Ids, list[int]]) -> dict[Ids, Logits]:
        needed = sorted({*_flat(places, inputs)})
        logits = self._call(needed, input_ids=self._padded(inputs), use_cache=False).logits
        column = {place: at for at, place in enumerate(needed)}
        return {ids: Logits(row, column) for row, ids in zip(logits, inputs, strict=True)}

    def _read_shared(self, groups: Sequence[prefixes.Group], places: Mapping[Ids, list[int]]) -> dict[Ids, Logits]:
        """The beginnings, padded on the left so that all end together; then each rest after its beginning."""
        device = self.loaded.model.device
        shared = torch.tensor([group.shared for group in groups], device=device)
        longest = int(shared.max())
        before = self._padded([group.inputs[0][: group.shared] for group in groups], on_left=True)
        mask = (torch.arange(longest, device=device) >= longest - shared[:, None]).long()
        first = self._call(
            [longest - 1],
            input_ids=before,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=DynamicCache(config=self.loaded.model.config),
            use_cache=True,
        )
        rows = [(number, ids) for number, group in enumerate(groups) for ids in group.inputs]
        group_of = torch.tensor([number for number, _ in rows], device=device)
        first.past_key_values.batch_select_indices(group_of)
        after = self._padded([ids[groups[number].shared :] for number, ids in rows])
        needed = sorted({place - groups[number].shared for number, ids in rows for place in places[ids]} - {-1})
        second = self._call(
            needed or [0],
            input_ids=after,
            attention_mask=torch.cat([mask[group_of], torch.ones_like(after)], 1),
            position_ids=shared[group_of, None] + torch.arange(after.shape[1], device=device),
            past_key_values=first.past_key_values,
            use_cache=True,
        )
        # Before the rest of an input stands the last place of its beginning.
        logits = torch.cat([first.logits[group_of], second.logits], 1)
        columns = [{group.shared + place: at for at, place in enumerate([-1, *(needed or [0])])} for group in groups]
        return {ids: Logits(row, columns[number]) for row, (number, ids) in zip(logits, rows, strict=True)}

    def _call(self, needed: Sequence[int], **inputs: Any) -> Any:
        """What the model gives, with logits (rows, needed, vocabulary) at the places `needed` only."""
        model = self.loaded.model
        at = torch.tensor(needed, device=model.device)
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            return model(**inputs, logits_to_keep=at)
        found = model(**inputs)
        found.logits = found.logits[:, at]
        return found

    def _padded(self, inputs: Sequence[Ids], *, on_left: bool = False, filler: int = 0) -> torch.Tensor:
        longest = max(map(len, inputs))
        padding = [(filler,) * (longest - len(ids)) for ids in inputs]
        rows = [pad + ids if on_left else ids + pad for pad, ids in zip(padding, inputs, strict=True)]
        return torch.tensor(rows, device=self.loaded.model.device)

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = (), is_whole: bool = False
    ) -> list[str]:
        """What the model writes after each prompt by taking the likeliest token each time, cut before the first of the
        texts `stop`. A prompt that leaves no room loses its beginning; one that `is_whole`, as a chat template writes
        it, gets no special tokens.

        Raises:
            InputError: `max_new_tokens` leaves no room for a prompt.
        """
        room = self.limit - max_new_tokens
        if room < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}, wanted less than the context of {self.limit}")
        encoded = [tuple(self._encode(prompt, special=not is_whole))[-room:] or (self._prefix,) for prompt in prompts]
        wanted: dict[Ids, list[int]] = {}
        for index, ids in enumerate(encoded):
            wanted.setdefault(ids, []).append(index)
        results = [""] * len(prompts)
        done = 0
        with _evaluating(self.loaded.model):
            for inputs in _batches(wanted, WRITING * self.most_tokens, max_new_tokens):
                for ids, written in zip(inputs, self._write(inputs, max_new_tokens, stop), strict=True):
                    for index in wanted[ids]:
                        results[index] = written
                        done += 1
                self.watch(done, len(prompts))
        return results

    def _write(self, inputs: Sequence[Ids], max_new_tokens: int, stop: Sequence[str]) -> list[str]:
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._prefix
        ids = self._padded(inputs, on_left=True, filler=filler)
        longest = ids.shape[1]
        lengths = torch.tensor([len(each) for each in inputs], device=model.device)
        written = model.generate(
            input_ids=ids,
            attention_mask=(torch.arange(longest, device=model.device) >= longest - lengths[:, None]).long(),
            max_new_tokens=max_new_tokens,
            max_length=None,
            pad_token_id=filler,
            stopping_criteria=StoppingCriteriaList([_Stop(tokenizer, longest, stop)]),
            # Every setting that a model may bring along and that would make this other than greedy decoding.
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
        )
        texts = tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)
        return [_before(text, stop) for text in texts]

    @property
    def _prefix(self) -> int:
        """The token that stands for the beginning of a text."""
        tokenizer = self.loaded.tokenizer
        token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if token is None:
            raise InputError("the tokenizer has no token for the beginning or the end of a text")
        return int(token)

    def _encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids, with the special tokens that the tokenizer adds unless the text brings its first one along."""
        tokenizer = self.loaded.tokenizer
        special = special and not text.startswith(tokenizer.decode([self._prefix]))
        return list(tokenizer.encode(text, add_special_tokens=special))

    def _split(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        if not stripped:
            ids = self._encode(continuation, special=False)
            return (ids[:1], ids[1:]) if ids[:1] == [self._prefix] else ([self._prefix], ids)
        before = self._encode(stripped)
        return before, self._encode(stripped + continuation)[len(before) :]

    def _windows(self, before: Sequence[int], after: Sequence[int]) -> Iterator[Encoded]:
        ids = [*before, *after]
        for start in range(len(before), len(ids), self.limit):
            end = min(start + self.limit, len(ids))
            yield _last(ids[max(0, end - self.limit - 1) : end], end - start)


def model_context(loaded: Loaded) -> int:
    """The most tokens that a model was made to read at once, by its configuration, else by its tokenizer."""
    config = loaded.model.config
    for key in _CONTEXT_KEYS:
        if isinstance(getattr(config, key, None), int):
            return int(getattr(config, key))
    limit = loaded.tokenizer.model_max_length
    return int(limit) if limit < _NO_CONTEXT else DEFAULT_CONTEXT


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The model without dropout while the block runs, then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _last(ids: Sequence[int], count: int) -> Encoded:
    """`ids` with the last `count` of them to be scored."""
    return Encoded(list(ids), [0] * (len(ids) - count) + [1] * count)


def _batches(prompts: Iterable[Ids], tokens: int, room: int) -> Iterator[list[Ids]]:
    """`prompts`, longest first, in batches of at most `tokens` with the padding and the `room` to write."""
    batch: list[Ids] = []
    for ids in sorted(prompts, key=lambda ids: (-len(ids), ids)):
        if batch and (len(batch) + 1) * (len(batch[0]) + room) > tokens:
            yield batch
            batch = []
        batch.append(ids)
    if batch:
        yield batch


def _flat(places: Any, keys: Iterable[Any]) -> Iterator[int]:
    """All places of all `keys`."""
    return (place for key in keys for place in places[key])


def _likelihood(logits: Logits, places: Sequence[int], targets: Sequence[int]) -> Likelihood:
    """Of the tokens `targets` after `places`: in float32, a slice at a time as each is a copy; summed in float64."""
    logprobs: list[float] = []
    is_greedy = True
    for start in range(0, len(places), SLICE):
        rows = logits.values[[logits.column[place] for place in places[start : start + SLICE]]].float()
        wanted = torch.tensor(targets[start : start + SLICE], device=rows.device)
        logprobs += (rows.gather(1, wanted[:, None])[:, 0] - rows.logsumexp(1)).double().tolist()
        is_greedy = is_greedy and bool((rows.argmax(1) == wanted).all())
    return Likelihood(math.fsum(logprobs), len(targets), is_greedy)


def _sum(parts: Sequence[Likelihood]) -> Likelihood:
    return Likelihood(
        math.fsum(part.logprob for part in parts),
        sum(part.tokens for part in parts),
        all(part.is_greedy for part in parts),
    )


def _before(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the texts `stop` in it."""
    return text[: min((place for place in map(text.find, stop) if place >= 0), default=len(text))]


class _Stop(StoppingCriteria):
    """Ends a row when what it wrote after the prompt of `start` tokens has one of the texts `stop` in it."""

    def __init__(self, tokenizer: Any, start: int, stop: Sequence[str]) -> None:
        self.tokenizer, self.start, self.stop = tokenizer, start, stop

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        texts = self.tokenizer.batch_decode(input_ids[:, self.start :], skip_special_tokens=True)
        ended = [any(each in text for each in self.stop) for text in texts]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)
