"""Rows to questions, answers to items: by hand, and with a real small model."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.align import chat
from etl.align.models import Loaded
from etl.errors import ConfigError, InputError
from etl.evaluate import Benchmark, Data, Given, Item, Result, evaluate, tasks
from etl.evaluate import data as files
from etl.evaluate.scorer import Scorer
from etl.evaluate.tasks import Question
from tests.evaluate.conftest import CONTEXT, SENTENCES


def data_of(*rows: dict[str, Any]) -> Data:
    return Data("rows.jsonl", "0" * 64, rows, "line")


def run(loaded: Loaded, task: str, rows: Sequence[dict[str, Any]], **chosen: Any) -> Result:
    given = Given(data_of(*rows), chosen.pop("rows_of_examples", None), chosen.pop("compared", None))
    return evaluate(loaded, Benchmark("b", task, file="rows.jsonl", **chosen), given)


def values(result: Result, metric: str) -> list[float]:
    return [item.value for item in result.items if item.metric == metric]


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_same_rows_come_from_json_lines_gzip_and_parquet(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028line"}, {"text": "two"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = [files.read(tmp_path / name) for name in ("a.jsonl", "a.jsonl.gz", "a.parquet")]
    assert [each.rows for each in found] == [rows] * 3
    assert [each.name for each in found] == ["a.jsonl", "a.jsonl.gz", "a.parquet"]
    assert len({each.sha256 for each in found}) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"text": 1}\n{"text"\n[1]\n',
            r"a.jsonl: line 2 is not JSON .*; line 3 is a JSON list, wanted an obj",
        ),
        ("a.jsonl", b"", "a.jsonl: has no rows"),
        ("a.jsonl", b"\xff\xfe", "a.jsonl: cannot be read"),
        ("a.jsonl.gz", b"no gzip", "a.jsonl.gz: cannot be read"),
        ("a.parquet", b"no parquet", "a.parquet: cannot be read"),
        ("a.csv", b"text\n1\n", "a.csv: wanted a file that ends in .jsonl, .jsonl.gz, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        files.read(tmp_path / name)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.jsonl: cannot be read: .*No such file"):
        files.read(tmp_path / "none.jsonl")


def test_rows_that_a_task_cannot_use_are_all_named(loaded: Loaded) -> None:
    rows = [
        {"question": "a", "choices": ["x", "y"], "answer": 0},
        {"questoin": "a", "choices": ["x", "y"], "answer": 0},
        {"question": "a", "choices": ["x", "y"], "answer": 2},
        {"question": "a", "choices": "xy", "answer": 0},
    ]
    with pytest.raises(InputError) as error:
        run(loaded, "multiple_choice", rows)
    assert str(error.value) == (
        "rows.jsonl, line 2: wanted key question or ctx or query, found questoin, choices, answer; "
        "rows.jsonl, line 3: answer or label or gold is 2, wanted 0 to 1, A to B or a choice; "
        "rows.jsonl, line 4: choices or endings is 'xy', wanted a list of two or more texts"
    )


# --- multiple choice -------------------------------------------------------------------------------------------------


def test_hellaswag_is_preprocessed_as_published() -> None:
    row = {
        "activity_label": "Baking cookies",
        "ctx_a": "A woman [header] opens  the oven. [title] Heat",
        "ctx_b": "THEN she",
        "endings": [" takes [substeps] them out.", "sings."],
        "label": "1",
    }
    wanted = Question("Baking cookies: A woman opens the oven.. Heat Then she", ("takes them out.", "sings."), 1)
    assert tasks.hellaswag_question(row) == wanted


def test_hellaswag_rows_may_be_preprocessed_already() -> None:
    row = {"query": "Tango: They", "choices": ["clap.", "[sing]."], "gold": 1}
    assert tasks.hellaswag_question(row) == Question("Tango: They", ("clap.", "[sing]."), 1)


@pytest.mark.parametrize(("answer", "gold"), [(1, 1), ("1", 1), ("B", 1), ("b", 1), ("blue", 1), ("3", 2), ("0", 0)])
def test_an_answer_is_a_place_a_letter_or_a_choice(answer: Any, gold: int) -> None:
    choices = ["red", "blue", "3"] if answer == "blue" else ["red", "blue", "green", "grey"]
    row = {"ctx": "c", "endings": choices, "label": 2 if answer == "3" else answer}
    assert tasks.any_question(row) == Question("c", tuple(choices), gold)


def test_mmlu_is_asked_as_published() -> None:
    row = {"question": " What is 2 + 2? ", "subject": "high_school_maths", "choices": ["1", "2", "3", "4"], "answer": 3}
    solved = [
        {"question": "Is it?", "subject": "high_school_maths", "choices": ["no", "yes", "x", "y"], "answer": "B"},
        {"question": "Who?", "subject": "law", "choices": ["a", "b", "c", "d"], "answer": 0},
        {"question": "Not asked.", "subject": "high_school_maths", "choices": ["n", "y", "x", "y"], "answer": 0},
    ]
    (found,) = tasks.mmlu_prompts(data_of(row), data_of(*solved), shots=1)
    assert found == Question(
        "The following are multiple choice questions (with answers) about high school maths.\n\n"
        "Is it?\nA. no\nB. yes\nC. x\nD. y\nAnswer: B\n\n"
        "What is 2 + 2?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:",
        ("A", "B", "C", "D"),
        3,
    )


def test_mmlu_without_enough_examples_of_the_subject_is_refused() -> None:
    row = {"question": "q", "subject": "law", "choices": ["a", "b", "c", "d"], "answer": 0}
    with pytest.raises(InputError, match="line 1: wanted 2 examples of subject 'law', found 1"):
        tasks.mmlu_prompts(data_of(row), data_of(row), shots=2)


def test_the_likeliest_choice_is_taken_by_sum_and_by_character(loaded: Loaded) -> None:
    rows = [
        {"question": sentence[:20], "choices": [sentence[20:], "it", "a longer way to go on than that"], "answer": 0}
        for sentence in SENTENCES
    ]
    result = run(loaded, "multiple_choice", rows)
    predicted = {metric: [] for metric in ("accuracy", "accuracy_per_character")}
    for row in rows:
        scored = [Scorer(loaded).loglikelihoods([(row["question"], f" {choice}")])[0] for choice in row["choices"]]
        sums = [each.logprob for each in scored]
        means = [each / len(choice) for each, choice in zip(sums, row["choices"], strict=True)]
        predicted["accuracy"].append(row["choices"][sums.index(max(sums))])
        predicted["accuracy_per_character"].append(row["choices"][means.index(max(means))])
    for metric, choices in predicted.items():
        assert [item.prediction for item in result.items if item.metric == metric] == choices
        wanted = [float(choice == row["choices"][0]) for choice, row in zip(choices, rows, strict=True)]
        assert values(result, metric) == wanted
    assert predicted["accuracy"] != predicted["accuracy_per_character"]


def test_a_uniform_model_takes_the_shortest_choice_and_the_first_of_equals(uniform: Loaded) -> None:
    rows = [
        {"question": "The", "choices": ["river carries sand", "b"], "answer": 1},
        {"question": "The", "choices": ["c", "b"], "answer": 1},
    ]
    assert values(run(uniform, "multiple_choice", rows), "accuracy") == [1.0, 0.0]
    rows = [{"question": "q", "subject": "s", "choices": ["w", "x", "y", "z"], "answer": gold} for gold in (0, 1)]
    assert values(run(uniform, "mmlu", rows), "accuracy") == [1.0, 0.0]


# --- GSM8K -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So he has 9 eggs.\n#### 18", "18"),
        ("#### $1,250.50.", "1250.5"),
        ("####-3", "-3"),
        ("#### 18.00", "18"),
        ("#### 5 apples and 3 pears", "5"),
        ("#### none\n#### 7", "7"),
        ("#### 7\n\nProblem: another\n#### 9", "7"),
        ("The answer is 1,234,567 dollars.", "1234567"),
        ("First 10, then 5-7", "7"),
        ("10 - 3 is -$7.", "-7"),
        ("It is .5", "0.5"),
        ("It is 3.", "3"),
        ("#### -0", "0"),
        ("#### 1000", "1000"),
        ("#### no number", None),
        ("", None),
    ],
)
def test_a_gsm8k_answer_is_the_marked_number_or_the_last_one(text: str, answer: str | None) -> None:
    assert tasks.gsm8k_answer(text) == answer


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_every_spelling_of_a_whole_number_is_the_same(number: int) -> None:
    spellings = [str(number), f"{number:,}", f"{number}.00", f"{number:,}.", f"the answer: {number}"]
    assert {tasks.gsm8k_answer(f"#### {spelling}") for spelling in spellings} == {str(number)}


@settings(deadline=None)
@given(st.text())
def test_reading_an_answer_never_fails(text: str) -> None:
    tasks.gsm8k_answer(text)
    tasks.gsm8k_answer(f"#### {text}")


def test_gsm8k_prompts_hold_the_task_the_examples_and_the_question() -> None:
    prompt = tasks.gsm8k_prompt("How many?", [("One and one?", "It is 2.\n#### 2")])
    assert prompt == (
        f"{tasks.GSM8K_TASK}\n\nProblem: One and one?\nSolution: It is 2.\n#### 2\n\nProblem: How many?\nSolution:"
    )
    messages = tasks.gsm8k_messages("How many?", [("One and one?", "#### 2")])
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[-1]["content"] == f"{tasks.GSM8K_TASK}\n\nHow many?"


@pytest.mark.parametrize("is_chat", [False, True])
def test_gsm8k_compares_what_the_model_wrote(loaded: Loaded, is_chat: bool) -> None:
    """What the model writes is made the expected answer of one item, and another number that of the next."""
    rows = [{"question": "How many?", "answer": "#### 5"}]
    (said,) = [item.prediction for item in run(loaded, "gsm8k", rows, max_new_tokens=12, chat=is_chat).items]
    assert said
    number = tasks.gsm8k_answer(said)
    rows = [{"question": "How many?", "answer": f"#### {answer}"} for answer in ("123456", number or "654321")]
    result = run(loaded, "gsm8k", rows, max_new_tokens=12, chat=is_chat)
    assert values(result, "exact_match") == [0.0, float(number is not None)]
    assert result.items[0].expected == "123456"
    assert ("<|im_start|>" in (result.items[0].prompt or "")) == is_chat


def test_gsm8k_without_a_number_in_the_answer_or_enough_examples_is_refused(loaded: Loaded) -> None:
    with pytest.raises(InputError, match="line 1: key 'answer' has no number"):
        run(loaded, "gsm8k", [{"question": "q", "answer": "many"}])
    one = data_of({"question": "q", "answer": "#### 1"})
    with pytest.raises(InputError, match=r"e.jsonl: wanted 2 examples, found 1"):
        run(loaded, "gsm8k", one.rows, shots=2, examples="e.jsonl", rows_of_examples=one)


# --- held-out texts, answers and pairs -------------------------------------------------------------------------------


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def answer_loss(loaded: Loaded, messages: Sequence[dict[str, str]], context: int) -> tuple[float, int]:
    """The loss of PyTorch's cross entropy over the tokens of the assistant."""
    encoded = chat.encode(loaded.tokenizer, messages, context=context)
    ids = torch.tensor([encoded.ids])
    labels = torch.where(torch.tensor([encoded.mask]) == 1, ids, -100)
    with torch.no_grad():
        logits = loaded.model(ids).logits.double()
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum")
    return float(loss), int((labels[0, 1:] != -100).sum())


def test_bits_per_byte_are_nats_over_bytes_by_another_way(loaded: Loaded) -> None:
    rows = [
        {"text": "The r\u00efver", "doc_id": "a"},
        {"text": "", "doc_id": "b"},
        {"text": SENTENCES[4][:30], "doc_id": "c"},
    ]
    result = run(loaded, "bits_per_byte", rows)
    nats = 0.0
    for row in rows:
        ids = torch.tensor([[loaded.tokenizer.bos_token_id, *loaded.tokenizer.encode(row["text"])]])
        with torch.no_grad():
            logits = loaded.model(ids).logits.double()[0, :-1]
        nats += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")) if row["text"] else 0.0
    bytes_of_all = sum(len(row["text"].encode()) for row in rows)
    (found,) = result.evaluations
    assert found.value == pytest.approx(nats / math.log(2) / bytes_of_all, rel=1e-6)
    assert [(item.item, item.weight) for item in result.items] == [("a", 10.0), ("b", 0.0), ("c", 30.0)]


def test_answer_loss_is_the_cross_entropy_of_what_the_assistant_says(loaded: Loaded) -> None:
    conversations = [
        [message("user", "Two and two?"), message("assistant", "They are four.")],
        [message("user", "Hi"), message("assistant", "Hi."), message("user", "Bye"), message("assistant", "Bye.")],
        [message("user", " ".join(SENTENCES)), message("assistant", "It does not fit.")],
    ]
    rows = [{"messages": each, "example_id": str(place)} for place, each in enumerate(conversations)]
    result = run(loaded, "held_out_answers", rows)
    wanted = [answer_loss(loaded, each, context=CONTEXT) for each in conversations]
    assert [item.weight for item in result.items] == [tokens for _, tokens in wanted]
    assert values(result, "answer_loss") == pytest.approx([loss for loss, _ in wanted], rel=1e-5)
    assert wanted[2] == (0.0, 0)
    assert result.evaluations[0].value == pytest.approx(sum(loss for loss, _ in wanted) / sum(n for _, n in wanted))
    assert (result.items[1].prompt, result.items[1].expected, result.items[1].item) == ("Bye", "Bye.", "1")


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": [message("user", "Hello"), message("assistant", "Yes?"), message("user", prompt)],
        "chosen": [message("assistant", chosen)],
        "rejected": [message("assistant", rejected)],
    }


PAIRS = [pair("Two?", "Two.", "Four."), pair("Two?", "Four.", "Two."), pair("Sand?", "sea", "sea")]


def test_a_margin_is_the_difference_of_two_log_likelihoods(loaded: Loaded) -> None:
    result = run(loaded, "held_out_pairs", PAIRS)
    margins = []
    for row in PAIRS:
        # The earlier answer is in both and cancels.
        chosen, rejected = (answer_loss(loaded, [*row["prompt"], *row[side]], 99)[0] for side in ("chosen", "rejected"))
        margins.append(rejected - chosen)
    assert values(result, "margin") == pytest.approx(margins, abs=1e-4)
    assert values(result, "preference_accuracy") == [float(margin > 0) for margin in margins[:2]] + [0.0]
    assert values(result, "margin")[0] == pytest.approx(-values(result, "margin")[1], abs=1e-4)
    first = result.items[0]
    assert (first.prompt, first.expected) == ("Two?", "chosen")
    assert first.prediction == ("chosen" if margins[0] > 0 else "rejected")


def test_a_model_prefers_nothing_to_itself(loaded: Loaded) -> None:
    result = run(loaded, "held_out_pairs", PAIRS, reference="itself", compared=loaded)
    assert values(result, "margin") == pytest.approx([0.0] * 3, abs=1e-4)


def test_with_a_reference_a_margin_is_relative_to_it(loaded: Loaded, other: Loaded) -> None:
    relative = values(run(loaded, "held_out_pairs", PAIRS, reference="other", compared=other), "margin")
    own, others = (values(run(each, "held_out_pairs", PAIRS), "margin") for each in (loaded, other))
    assert relative == pytest.approx([a - b for a, b in zip(own, others, strict=True)], abs=1e-4)
    assert relative != pytest.approx(own, abs=1e-2)


def test_a_pair_that_does_not_fit_weighs_nothing(loaded: Loaded) -> None:
    result = run(loaded, "held_out_pairs", [PAIRS[0], pair("Two?", " ".join(SENTENCES), "Two.")])
    assert [item.weight for item in result.items] == [1.0, 1.0, 0.0, 0.0]
    assert result.items[3].prediction is None
    alone = run(loaded, "held_out_pairs", PAIRS[:1])
    assert [each.value for each in result.evaluations] == pytest.approx([each.value for each in alone.evaluations])


def test_a_set_of_which_nothing_fits_is_refused(loaded: Loaded) -> None:
    rows = [{"messages": [message("user", " ".join(SENTENCES)), message("assistant", "a")]}]
    with pytest.raises(InputError, match="benchmark 'b': none of 1 items can be measured"):
        run(loaded, "held_out_answers", rows)


def test_conversations_need_a_template_that_marks_answers(loaded: Loaded) -> None:
    rows = [{"messages": [message("user", "a"), message("assistant", "b")]}]
    before = loaded.tokenizer.chat_template
    loaded.tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    try:
        with pytest.raises(ConfigError, match=r"no \{% generation %\} marks"):
            run(loaded, "held_out_answers", rows)
        assert run(loaded, "held_out_answers", rows, chat_template="plain").evaluations[0].n == 1
        assert "generation" not in loaded.tokenizer.chat_template  # the template was for that benchmark only
    finally:
        loaded.tokenizer.chat_template = before


def test_items_of_files_are_named_by_their_content(loaded: Loaded) -> None:
    result = run(loaded, "bits_per_byte", [{"text": "a", "b": 1}, {"b": 1, "text": "a"}, {"text": "c"}])
    first, second, third = result.items
    assert first.item == second.item != third.item
    assert first == Item("bits_per_byte", 0, first.item, first.value, 1.0)
