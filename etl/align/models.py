"""Models and tokenizers: made from scratch, loaded from any place that transformers knows, and named by their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from etl.align import chat
from etl.align.config import Architecture, Optimizer
from etl.errors import InputError

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
    make: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = chat.template(chat_template)
    return fast


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
