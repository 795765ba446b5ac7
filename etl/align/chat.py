"""Conversations as tokens: chat templates, and which tokens the model is to learn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl.errors import ConfigError

TEMPLATES = Path(__file__).parent / "templates"
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
CHATML_MARKS = ("<|im_start|>", "<|im_end|>")

Message = Mapping[str, str]


@dataclass(frozen=True)
class Encoded:
    """Token ids of a conversation, and for each 1 where the assistant wrote it, else 0."""

    ids: list[int]
    mask: list[int]


def encode(tokenizer: Any, messages: Sequence[Message], *, context: int | None = None) -> Encoded:
    """The conversation in the template of `tokenizer`, cut after `context` tokens.

    The mask covers what the template puts into ``{% generation %}`` blocks: the answers and their end marks.
    """
    found = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        truncation=False,
    )
    return Encoded(list(found["input_ids"])[:context], [int(mark) for mark in found["assistant_masks"]][:context])


def prompt(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The conversation as text up to where the assistant is to go on."""
    return str(
        tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
    )


def encode_answers(tokenizer: Any, prompt_messages: Sequence[Message], *answers: Sequence[Message]) -> list[Encoded]:
    """Each answer after the prompt, with only what follows the prompt marked: no earlier turn of the assistant."""
    start = len(tokenizer(prompt(tokenizer, prompt_messages), add_special_tokens=False)["input_ids"])
    found = [encode(tokenizer, [*prompt_messages, *answer]) for answer in answers]
    return [
        Encoded(each.ids, [mark if place >= start else 0 for place, mark in enumerate(each.mask)]) for each in found
    ]


def template(name: str) -> str:
    """A template of this package: ``chatml``, or ``plain``, which needs no marks but the end of text.

    Raises:
        ConfigError: there is no such template.
    """
    path = TEMPLATES / f"{name}.jinja"
    if not path.is_file():
        known = sorted(file.stem for file in TEMPLATES.glob("*.jinja"))
        raise ConfigError(f"there is no chat template {name!r}, known are {known}")
    return path.read_text(encoding="utf-8").rstrip("\n")


def set_template(tokenizer: Any, name: str | None, origin: str) -> None:
    """Give `tokenizer` the template `name`, or keep its own when `name` is None, and check that it can be learned from.

    Raises:
        ConfigError: there is none, it does not say what the assistant writes, or its marks are no single tokens.
    """
    if name is not None:
        tokenizer.chat_template = template(name)
    if not tokenizer.chat_template:
        raise ConfigError(f"{origin} has no chat template: set chat_template to chatml or plain")
    if not _GENERATION.search(str(tokenizer.chat_template)):
        raise ConfigError(
            f"the chat template of {origin} has no {{% generation %}} marks, so it does not say what the assistant "
            f"writes: set chat_template to chatml or plain"
        )
    used = [mark for mark in CHATML_MARKS if mark in str(tokenizer.chat_template)]
    broken = [mark for mark in used if len(tokenizer.encode(mark, add_special_tokens=False)) != 1]
    if broken:
        raise ConfigError(
            f"the chat template of {origin} uses {', '.join(broken)}, which its tokenizer does not have as tokens: "
            f"set chat_template to plain"
        )
