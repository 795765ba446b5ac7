"""Chat templates: what the model learns from is what the assistant says, and nothing else."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.align import chat
from etl.errors import ConfigError
from tests.align.tiny import Saved

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is two plus three?"},
    {"role": "assistant", "content": "It is five."},
    {"role": "user", "content": "And is it cold?"},
    {"role": "assistant", "content": "In winter."},
]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("chatml", "It is five.<|im_end|>In winter.<|im_end|>"),
        ("plain", " It is five.<|endoftext|> In winter.<|endoftext|>"),
    ],
)
def test_only_answers_and_their_ends_are_learned(loaded: Saved, name: str, wanted: str) -> None:
    tokenizer = deepcopy(loaded.tokenizer)
    chat.set_template(tokenizer, name, "tiny")
    encoded = chat.encode(tokenizer, CONVERSATION)
    learned = [token for token, mark in zip(encoded.ids, encoded.mask, strict=True) if mark]
    assert tokenizer.decode(learned) == wanted


def test_a_prompt_is_the_beginning_of_the_conversation(loaded: Saved) -> None:
    """What the model is asked at generation is what stood before the answer in training."""
    whole = chat.encode(loaded.tokenizer, CONVERSATION)
    before = loaded.tokenizer(chat.prompt(loaded.tokenizer, CONVERSATION[:-1]))["input_ids"]
    assert whole.ids[: len(before)] == before
    assert not any(whole.mask[sum(whole.mask[: len(before)]) and len(before) - 1 : len(before)])


@given(st.text(min_size=1, max_size=40), st.integers(1, 30))
def test_a_cut_conversation_is_a_prefix(loaded: Saved, content: str, context: int) -> None:
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    whole, cut = chat.encode(loaded.tokenizer, messages), chat.encode(loaded.tokenizer, messages, context=context)
    assert (cut.ids, cut.mask) == (whole.ids[:context], whole.mask[:context])
    assert len(whole.ids) == len(whole.mask)


def test_a_template_without_marks_of_the_assistant_is_refused(loaded: Saved) -> None:
    tokenizer = deepcopy(loaded.tokenizer)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(ConfigError, match=r"of tiny has no {% generation %} marks.*set chat_template to chatml"):
        chat.set_template(tokenizer, None, "tiny")


def test_a_missing_template_is_refused(loaded: Saved) -> None:
    tokenizer = deepcopy(loaded.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="tiny has no chat template"):
        chat.set_template(tokenizer, None, "tiny")
    with pytest.raises(ConfigError, match=r"no chat template 'chat', known are \['chatml', 'plain'\]"):
        chat.set_template(tokenizer, "chat", "tiny")


def test_marks_that_are_no_tokens_are_refused(loaded: Saved) -> None:
    tokenizer = deepcopy(loaded.tokenizer)
    tokenizer.chat_template = chat.template("chatml").replace("<|im_start|>", "<|im_start|>")
    tokenizer = type("Split", (), {"chat_template": tokenizer.chat_template, "encode": lambda *_, **__: [1, 2]})()
    with pytest.raises(ConfigError, match=r"uses <\|im_start\|>, <\|im_end\|>.*set chat_template to plain"):
        chat.set_template(tokenizer, None, "tiny")
