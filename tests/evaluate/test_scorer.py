"""The scorer against closed forms and against the plain computation, one request at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM

from etl.align.chat import Encoded
from etl.align.models import Loaded
from etl.errors import InputError
from etl.evaluate.scorer import Likelihood, Scorer, model_context
from tests.evaluate.conftest import CONTEXT, SENTENCES

REQUESTS = [
    ("The river carries", " sand to the sea"),
    ("The river carries ", "sand to the sea"),
    ("", "A clock"),
    ("A clock that stands still is right twice a", " day."),
    ("A clock that stands still is right twice a", " year."),
    ("Two and two are\n", "four"),
    (" \n", "four"),
    (" ".join(SENTENCES), " and then some more"),
    ("\u65e5\u672c", "\u8a9e \U0001f600"),
]


def plain(loaded: Loaded, ids: Sequence[int], count: int) -> Likelihood:
    """The last `count` tokens of one sequence, without batches, padding or chosen places; float64 at the end."""
    with torch.no_grad():
        logits = loaded.model(torch.tensor([list(ids)])).logits[0].double()
    logprobs = logits.log_softmax(-1)
    places = range(len(ids) - count, len(ids))
    return Likelihood(
        sum(float(logprobs[place - 1, ids[place]]) for place in places),
        count,
        all(int(logits[place - 1].argmax()) == ids[place] for place in places),
    )


def same(found: Likelihood, wanted: Likelihood) -> bool:
    return found.logprob == pytest.approx(wanted.logprob, rel=1e-5, abs=1e-4) and (
        (found.tokens, found.is_greedy) == (wanted.tokens, wanted.is_greedy)
    )


@contextmanager
def shapes_read(loaded: Loaded) -> Iterator[list[tuple[int, ...]]]:
    """The shapes (rows, tokens) of what the model reads while the block runs."""
    shapes: list[tuple[int, ...]] = []
    handle = loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        yield shapes
    finally:
        handle.remove()


def test_likelihoods_are_those_of_the_plain_computation(loaded: Loaded) -> None:
    tokenizer = loaded.tokenizer
    for request, found in zip(REQUESTS, Scorer(loaded).loglikelihoods(REQUESTS), strict=True):
        context, continuation = request
        before = tokenizer.encode(context.rstrip()) or [tokenizer.bos_token_id]
        whole = tokenizer.encode(context + continuation)
        count = len(whole) - len(tokenizer.encode(context.rstrip()))
        ids = (before + whole[len(whole) - count :])[-(CONTEXT + 1) :]
        assert same(found, plain(loaded, ids, count)), request


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_the_size_of_batches_does_not_matter(loaded: Loaded, batch_tokens: int) -> None:
    scorer, other = Scorer(loaded, batch_tokens), Scorer(loaded, 200)
    assert all(map(same, scorer.loglikelihoods(REQUESTS), other.loglikelihoods(REQUESTS)))
    assert all(map(same, scorer.rolling(SENTENCES * 3), other.rolling(SENTENCES * 3)))


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(len(REQUESTS))))
def test_results_come_in_the_order_of_requests(loaded: Loaded, order: list[int]) -> None:
    inorder = Scorer(loaded).loglikelihoods(REQUESTS)
    found = Scorer(loaded, 100).loglikelihoods([REQUESTS[place] for place in order])
    assert all(same(each, inorder[place]) for each, place in zip(found, order, strict=True))


def test_a_uniform_model_needs_log_v_for_every_token(uniform: Loaded) -> None:
    log_v = math.log(uniform.model.config.vocab_size)
    for found in Scorer(uniform).loglikelihoods(REQUESTS[:4]) + Scorer(uniform).rolling(SENTENCES):
        assert found.tokens > 0
        assert found.logprob == pytest.approx(-found.tokens * log_v, rel=1e-6)


def test_spaces_that_end_a_context_belong_to_the_continuation(loaded: Loaded) -> None:
    first, second = Scorer(loaded).loglikelihoods(REQUESTS[:2])
    assert first == second


def test_a_context_that_is_too_long_loses_its_beginning(loaded: Loaded) -> None:
    long = " ".join(SENTENCES * 2)
    tokens = loaded.tokenizer.encode(long)
    shorter = loaded.tokenizer.decode(tokens[-(CONTEXT + 10) :])
    assert loaded.tokenizer.encode(shorter)[-CONTEXT:] == tokens[-CONTEXT:]
    first, second = Scorer(loaded).loglikelihoods([(long, " day"), (shorter, " day")])
    assert same(first, second)


def test_continuations_that_cannot_be_scored_are_named_before_any_work(loaded: Loaded) -> None:
    asked: list[int] = []
    scorer = Scorer(loaded, watch=lambda done, total: asked.append(done))
    with pytest.raises(InputError) as error:
        scorer.loglikelihoods([("a", " b"), ("The", ""), ("A", "")])
    assert "request 1: the continuation '' has no tokens, wanted one or more; request 2: " in str(error.value)
    assert not asked


def test_a_continuation_that_is_longer_than_the_context_is_scored_in_windows(loaded: Loaded) -> None:
    scorer, long = Scorer(loaded), " four and" * CONTEXT
    ids, first = loaded.tokenizer.encode("The" + long), len(loaded.tokenizer.encode("The"))
    windows = [ids[max(0, end - CONTEXT - 1) : end] for end in range(first + CONTEXT, len(ids), CONTEXT)]
    expected = [plain(loaded, window, CONTEXT) for window in windows]
    rest = (len(ids) - first) % CONTEXT or CONTEXT
    expected.append(plain(loaded, ids[-(CONTEXT + 1) :], rest))
    (found,) = scorer.loglikelihoods([("The", long)])
    assert found.tokens == len(ids) - first > CONTEXT
    assert found.logprob == pytest.approx(sum(each.logprob for each in expected), rel=1e-5)
    assert same(scorer.loglikelihoods([("", long)])[0], scorer.rolling([long])[0])


def test_greedy_means_that_the_model_would_have_written_it(loaded: Loaded) -> None:
    scorer = Scorer(loaded)
    ids = loaded.tokenizer.encode(SENTENCES[0])
    with torch.no_grad():
        next_token = int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax())
    other_token = (next_token + 1) % 300
    mask = [0] * len(ids) + [1]
    greedy, other = scorer.score([Encoded([*ids, next_token], mask), Encoded([*ids, other_token], mask)])
    assert greedy.is_greedy
    assert not other.is_greedy
    assert greedy.logprob > other.logprob


@given(marks=st.lists(st.integers(0, 1), min_size=30, max_size=30))
@settings(max_examples=20, deadline=None)
def test_a_mask_chooses_tokens_and_the_first_token_never_counts(loaded: Loaded, marks: list[int]) -> None:
    ids = loaded.tokenizer.encode(" ".join(SENTENCES))[:30]
    (found,) = Scorer(loaded).score([Encoded(ids, marks)])
    each = [plain(loaded, ids[: place + 1], 1) for place in range(1, 30)]
    chosen = [likelihood for likelihood, mark in zip(each, marks[1:], strict=True) if mark]
    wanted = Likelihood(
        sum(likelihood.logprob for likelihood in chosen),
        len(chosen),
        all(likelihood.is_greedy for likelihood in chosen),
    )
    assert same(found, wanted)


def test_a_text_within_the_context_is_one_window(loaded: Loaded) -> None:
    (found,) = Scorer(loaded).rolling([SENTENCES[0]])
    ids = loaded.tokenizer.encode(SENTENCES[0])
    assert same(found, plain(loaded, [loaded.tokenizer.bos_token_id, *ids], len(ids)))


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 33, 100])
def test_rolling_windows_score_each_token_once(uniform: Loaded, length: int) -> None:
    """Each token costs log V, so the sum counts how often tokens were scored."""
    ids = (uniform.tokenizer.encode(" ".join(SENTENCES * 4)))[:length]
    (found,) = Scorer(uniform, context=16).rolling([uniform.tokenizer.decode(ids)])
    assert found.tokens == length
    assert found.logprob == pytest.approx(-length * math.log(uniform.model.config.vocab_size), rel=1e-6)


def test_rolling_windows_see_what_is_written_before_them(loaded: Loaded) -> None:
    """Three windows of a text by hand: the last one reaches back as far as the context does."""
    ids = loaded.tokenizer.encode(" ".join(SENTENCES))[:40]
    text = loaded.tokenizer.decode(ids)
    assert loaded.tokenizer.encode(text) == ids
    (found,) = Scorer(loaded, context=16).rolling([text])
    shifted = [loaded.tokenizer.bos_token_id, *ids]
    windows = [(shifted[:17], 16), (shifted[16:33], 16), (shifted[24:41], 8)]
    wanted = sum(plain(loaded, window, count).logprob for window, count in windows)
    assert found.logprob == pytest.approx(wanted, rel=1e-5)


def test_with_one_window_for_all_a_rolled_text_is_the_whole_text(loaded: Loaded) -> None:
    """A context above the length changes nothing; one below it does, since tokens then see less."""
    texts = [SENTENCES[0][:30]]
    whole, cut = Scorer(loaded, context=64).rolling(texts), Scorer(loaded, context=4).rolling(texts)
    assert whole == Scorer(loaded, context=40).rolling(texts)
    assert cut[0].tokens == whole[0].tokens
    assert cut[0].logprob != pytest.approx(whole[0].logprob, rel=1e-3)


def test_an_empty_text_has_no_tokens_to_score(loaded: Loaded) -> None:
    assert Scorer(loaded).rolling(["", "a"])[0] == Likelihood(0.0, 0, True)


def test_equal_beginnings_are_read_once(loaded: Loaded) -> None:
    ids = loaded.tokenizer.encode(SENTENCES[1])
    choices = [Encoded([*ids, token], [0] * len(ids) + [1]) for token in (70, 71, 72, 73)]
    with shapes_read(loaded) as shapes:
        found = Scorer(loaded).score(choices)
    assert shapes == [(1, len(ids))]
    assert all(same(each, plain(loaded, choice.ids, 1)) for each, choice in zip(found, choices, strict=True))


def test_what_inputs_begin_with_is_read_once_and_changes_nothing(loaded: Loaded) -> None:
    """Three questions with beginnings and choices of several lengths, one choice the beginning of another."""
    tokens = loaded.tokenizer.encode(" ".join(SENTENCES))
    choices = []
    for start, length in ((0, 30), (5, 20), (9, 41)):
        begin = tokens[start : start + length]
        choices += [(begin, rest) for rest in ([70], [70, 71], [72, 73, 74, 75, 76], [77] * 12)]
    sequences = [Encoded(begin + rest, [0] * len(begin) + [1] * len(rest)) for begin, rest in choices]
    with shapes_read(loaded) as shapes:
        found = Scorer(loaded).score(sequences)
    assert shapes == [(3, 41), (12, 11)]
    for each, (begin, rest) in zip(found, choices, strict=True):
        assert same(each, plain(loaded, begin + rest, len(rest)))
    with shapes_read(loaded) as shapes:
        assert all(map(same, Scorer(loaded, 90).score(sequences), found))
    assert len(shapes) == 6  # a small batch takes the questions one by one


def test_a_model_whose_cache_is_another_reads_everything_for_each_input(loaded: Loaded) -> None:
    """A window of attention shorter than the text: its layers do not keep all keys and values."""
    shape = loaded.model.config
    sliding = MistralForCausalLM(
        MistralConfig(
            vocab_size=shape.vocab_size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            sliding_window=8,
            max_position_embeddings=64,
        )
    )
    slider = Loaded(sliding.eval(), loaded.tokenizer)
    rests = [" sea", " river", " sea and the river", " board"]
    requests = [(SENTENCES[0], rest) for rest in rests]
    for (context, rest), found in zip(requests, Scorer(slider).loglikelihoods(requests), strict=True):
        ids = loaded.tokenizer.encode(context + rest)
        assert same(found, plain(slider, ids, len(ids) - len(loaded.tokenizer.encode(context))))


def test_dropout_is_off_while_scoring_and_the_model_is_left_as_it_was(loaded: Loaded) -> None:
    loaded.model.train()
    seen = []
    handle = loaded.model.register_forward_pre_hook(lambda module, args: seen.append(module.training))
    Scorer(loaded).rolling(["a"])
    handle.remove()
    assert seen == [False]
    assert loaded.model.training
    loaded.model.eval()


def test_generation_takes_the_likeliest_token_each_time(loaded: Loaded) -> None:
    prompts = ["The river", "A clock that stands still", "", "Two and two are"]
    found = Scorer(loaded).generate(prompts, max_new_tokens=6)
    for prompt, written in zip(prompts, found, strict=True):
        ids = loaded.tokenizer.encode(prompt) or [loaded.tokenizer.bos_token_id]
        start = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == loaded.tokenizer.eos_token_id:
                break
        assert written == loaded.tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_generation_does_not_depend_on_what_is_padded_beside_it(loaded: Loaded) -> None:
    prompts = list(SENTENCES)
    together = Scorer(loaded, 10_000).generate(prompts, max_new_tokens=8)
    assert together == Scorer(loaded, 1).generate(prompts, max_new_tokens=8)


def test_generation_ends_before_the_first_stop(loaded: Loaded) -> None:
    (whole,) = Scorer(loaded).generate([SENTENCES[2]], max_new_tokens=12)
    stop = whole[4:6]
    assert stop
    with shapes_read(loaded) as steps:
        (found,) = Scorer(loaded).generate([SENTENCES[2]], max_new_tokens=12, stop=["never written", stop])
    assert found == whole[: whole.index(stop)]
    assert len(steps) < 12


def test_settings_that_a_model_brings_along_do_not_change_greedy_decoding(loaded: Loaded) -> None:
    before = Scorer(loaded).generate([SENTENCES[0]], max_new_tokens=6)
    brought = loaded.model.generation_config
    brought.do_sample, brought.temperature, brought.repetition_penalty, brought.top_p = True, 3.0, 5.0, 0.5
    try:
        assert Scorer(loaded).generate([SENTENCES[0]], max_new_tokens=6) == before
    finally:
        brought.do_sample, brought.temperature, brought.repetition_penalty, brought.top_p = False, 1.0, 1.0, 1.0


def test_a_prompt_without_room_for_an_answer_is_refused(loaded: Loaded) -> None:
    with pytest.raises(InputError, match="max_new_tokens is 64, wanted less than the context of 64"):
        Scorer(loaded).generate(["a"], max_new_tokens=CONTEXT)


def test_progress_ends_at_its_total(loaded: Loaded) -> None:
    seen: list[tuple[int, int]] = []
    Scorer(loaded, 50, watch=lambda done, total: seen.append((done, total))).loglikelihoods(REQUESTS)
    assert seen == sorted(seen)
    assert seen[-1] == (len(REQUESTS), len(REQUESTS))


def test_the_context_is_that_of_the_model_unless_told(loaded: Loaded) -> None:
    assert model_context(loaded) == Scorer(loaded).limit == CONTEXT
    assert Scorer(loaded, context=7).limit == 7


def test_many_places_are_turned_into_probabilities_slice_by_slice(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Scorer(loaded).rolling(SENTENCES)
    monkeypatch.setattr("etl.evaluate.scorer.SLICE", 3)
    assert all(map(same, Scorer(loaded).rolling(SENTENCES), whole))
