"""Models and tokenizers: made from scratch, loaded from any place that transformers knows, and named by their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.utils import logging as transformers_logging

from etl.align import chat
from etl.align.config import Architecture, Optimizer
from etl.errors import InputError
from etl.kernels import tokens

transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # goldenlake shows its own

END_OF_TEXT = "<|endoftext|>"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A causal language model in evaluation mode, and its tokenizer."""

    model: Any
    tokenizer: Any


def load(location: str, *, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """The model and tokenizer at a path, or of an id on the hub.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(location)
        model: Any = AutoModelForCausalLM.from_pretrained(location, dtype=DTYPES[dtype])
    except (OSError, ValueError) as error:
        raise InputError(f"{location}: no model that transformers can load: {' '.join(str(error).split())}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model.to(device).eval(), tokenizer)


def train_tokenizer(texts: Iterable[str], vocab_size: int, chat_template: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the marks of ChatML, learned from `texts`.

    The same texts give the same tokenizer, in whatever order they come: merges are chosen by count, then by id.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, *chat.CHATML_MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _fast(tokenizer, END_OF_TEXT, chat_template)


def _fast(tokenizer: Tokenizer, end: str, chat_template: str) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers has them; the token `end` also begins texts and fills up."""
    make: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        eos_token=end,
        bos_token=end,
        pad_token=end,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = chat.template(chat_template)
    return fast


def known_tokenizer(name: str, end_of_text: int, chat_template: str) -> PreTrainedTokenizerFast:
    """The tokenizer that `etl.kernels.tokens` calls `name`, with the marks of ChatML added: the same ids for a text.

    Raises:
        InputError: there is none, or its token `end_of_text` is another one than the end of a text.
    """
    try:
        if name.endswith(".json"):
            tokenizer = Tokenizer.from_file(name)
        elif name == tokens.BYTES:
            tokenizer = _byte_level({bytes([byte]): byte for byte in range(256)}, None, end_of_text)
        else:
            encoding = tokens.encoding(name)
            tokenizer = _byte_level(encoding._mergeable_ranks, encoding._pat_str, end_of_text)
    except Exception as error:  # the package tokenizers raises plain Exception
        raise InputError(f"tokenizer {name}: {error}") from error
    end = tokenizer.id_to_token(end_of_text)
    if end is None:
        raise InputError(f"tokenizer {name} has no token {end_of_text}, which ends the texts of the packing")
    tokenizer.add_special_tokens([end, *chat.CHATML_MARKS])
    return _fast(tokenizer, end, chat_template)


def _byte_level(ranks: Mapping[bytes, int], pattern: str | None, end_of_text: int) -> Tokenizer:
    """Byte-level BPE from the ranks of an encoding of tiktoken, and the pattern of its pieces."""
    letters: dict[int, str] = bytes_to_unicode()  # type: ignore[no-untyped-call]

    def word(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocab = {word(token): rank for token, rank in ranks.items()}
    merges = [(word(first), word(second)) for first, second in _merges(ranks)]
    # tiktoken looks a whole piece up before it merges.
    tokenizer = Tokenizer(BPE({**vocab, END_OF_TEXT: end_of_text}, merges, ignore_merges=True))
    cut = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), behavior="isolated")]
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, bytewise])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The two parts of each token, in the order of ranks: what is left of its bytes when all merges before it were
    done."""
    for token, rank in sorted(ranks.items(), key=lambda known: known[1]):
        parts = [token[place : place + 1] for place in range(len(token))]
        while len(parts) > 2:
            found = [ranks.get(first + second, rank) for first, second in pairwise(parts)]
            place = min(range(len(found)), key=found.__getitem__)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]


def build(architecture: Architecture, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights, the same for the same seed."""
    specials = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return llama(architecture, len(tokenizer), seed, specials)


def llama(
    architecture: Architecture,
    vocab_size: int,
    seed: int,
    specials: tuple[int | None, int | None, int | None] = (None, None, None),
) -> LlamaForCausalLM:
    """The same without a tokenizer; `specials` are the tokens that begin a text, end it and fill up."""
    begin, end, filler = specials
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=architecture.hidden_size,
            intermediate_size=architecture.intermediate_size,
            num_hidden_layers=architecture.layers,
            num_attention_heads=architecture.heads,
            num_key_value_heads=architecture.heads,
            max_position_embeddings=architecture.context,
            tie_word_embeddings=True,
            bos_token_id=begin,
            eos_token_id=end,
            pad_token_id=filler,
        )
    )


def adamw(model: Any, settings: Optimizer) -> torch.optim.AdamW:
    """The optimizer of the weights that learn: matrices decay, vectors do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": settings.weight_decay},
            {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
        ],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )


def weights_sha256(model: Any) -> str:
    """SHA-256 over name, type, shape and bytes of every weight, in the order of the names; 64 hex digits.

    Weights that are one under two names count once, so a model has the same hash before and after it was saved.
    """
    hasher = hashlib.sha256()
    for name, weight in _weights(model):
        value = weight.detach().cpu().contiguous()
        hasher.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        hasher.update(value.view(torch.uint8).numpy().tobytes() if value.dim() else value.numpy().tobytes())
    return hasher.hexdigest()


def _weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and the buffers that are saved, each once."""
    seen: set[int] = set()
    saved = set(model.state_dict())
    for name, weight in sorted(chain(model.named_parameters(), model.named_buffers())):
        if name in saved and weight.data_ptr() not in seen:
            seen.add(weight.data_ptr())
            yield name, weight


def tokenizer_sha256(folder: Path) -> str:
    """SHA-256 of ``tokenizer.json``, 64 hex digits."""
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
