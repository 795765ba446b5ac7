"""Benchmarks: how a row becomes a question, and what the answer of a model adds to a metric.

===================  ===========================================================  =====================================
task                 rows                                                         metrics
===================  ===========================================================  =====================================
hellaswag            activity_label, ctx_a, ctx_b, endings, label; or             accuracy, accuracy_per_character
                     query, choices, gold, preprocessed
mmlu                 question, subject, choices, answer                           accuracy
multiple_choice      question, ctx or query; choices or endings;                  accuracy, accuracy_per_character
                     answer, label or gold
gsm8k                question, answer                                             exact_match
bits_per_byte        text                                                         bits_per_byte
held_out_answers     messages                                                     answer_loss
held_out_pairs       prompt, chosen, rejected                                     margin, preference_accuracy
===================  ===========================================================  =====================================

HellaSwag and MMLU are asked as lm-evaluation-harness 0.4 asks them, so that results compare with published ones.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from etl.align import chat
from etl.align.models import Loaded
from etl.config import STRICT
from etl.errors import InputError
from etl.evaluate.data import MOST_PROBLEMS, Data, Row, sha256
from etl.evaluate.scorer import Scorer

T = TypeVar("T")

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Benchmark:
    """What is measured: a task on the rows of a file or of a training set.

    `shots` solved examples from the file `examples` stand before each question. `limit` takes the first rows only.
    `context` is the most tokens a model reads at once, its own limit by default. `chat_template` is for tokenizers
    that have none, or none that marks answers; `chat` asks GSM8K in that template. With `reference`, a model, a margin
    is how much more than the reference a model prefers the chosen answer: DPO's implicit reward divided by beta.
    """

    __pydantic_config__ = STRICT

    name: str
    task: str
    file: str | None = None
    training_set: str | None = None
    examples: str | None = None
    shots: int = 0
    limit: int | None = None
    context: int | None = None
    max_new_tokens: int = 256
    chat: bool = False
    chat_template: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.task not in TASKS:
            problems.append(f"task is {self.task!r}, wanted one of {', '.join(TASKS)}")
        elif self.training_set is not None and TASKS[self.task].kind is None:
            problems.append(f"{self.task} reads a file, not a training set")
        if (self.file is None) == (self.training_set is None):
            problems.append("wanted either file or training_set")
        if (self.shots > 0) != (self.examples is not None):
            problems.append("wanted shots and examples together: how many, and the file they come from")
        if self.reference is not None and self.task != "held_out_pairs":
            problems.append("reference is for held_out_pairs only")
        problems += [
            f"{key} is {value}, wanted at least {least}"
            for key, value, least in (
                ("shots", self.shots, 0),
                ("limit", self.limit, 1),
                ("context", self.context, 2),
                ("max_new_tokens", self.max_new_tokens, 1),
            )
            if value is not None and value < least
        ]
        if problems:
            raise ValueError(f"benchmark {self.name!r}: {'; '.join(problems)}")


@dataclass(frozen=True)
class Item:
    """What one row adds to a metric, whose value is sum(value) / sum(weight); see ``schemas/evaluation_items.sql``."""

    metric: str
    place: int
    item: str
    value: float
    weight: float = 1.0
    prompt: str | None = None
    prediction: str | None = None
    expected: str | None = None


@dataclass(frozen=True)
class Given:
    """What a task works on: its rows, the rows that shots are taken from, and the model to compare with."""

    data: Data
    examples: Data | None = None
    reference: Loaded | None = None


@dataclass(frozen=True)
class Task:
    """How rows are measured, and which kind of training set has such rows (None: only files have them)."""

    measure: Callable[[Scorer, Benchmark, Given], list[Item]]
    kind: str | None = None


@dataclass(frozen=True)
class Question:
    """A text, the texts that may follow it, and which of them is right."""

    context: str
    choices: tuple[str, ...]
    gold: int


class _BadRowError(ValueError):
    """A row cannot be used, and why."""


# --- multiple choice -------------------------------------------------------------------------------------------------


def hellaswag_question(row: Row) -> Question:
    """HellaSwag, Zellers et al. 2019: the activity, then the context, and four ways to go on."""
    if "query" in row:
        return any_question(row)
    context = f"{_text(row, 'ctx_a')} {_text(row, 'ctx_b').capitalize()}"
    endings = [clean(ending) for ending in _texts(row, "endings")]
    question = clean(f"{_text(row, 'activity_label')}: {context}")
    return Question(question, tuple(endings), _gold(row, "label", choices=endings))


def clean(text: str) -> str:
    """`text` without the marks in square brackets that the WikiHow part of HellaSwag has."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def any_question(row: Row) -> Question:
    """A row of any multiple-choice file; the answer is a place from 0, a letter from A, or the text of the choice."""
    choices = _texts(row, "choices", "endings")
    return Question(
        _text(row, "question", "ctx", "query"), tuple(choices), _gold(row, "answer", "label", "gold", choices=choices)
    )


def mmlu_question(row: Row) -> Question:
    """MMLU, Hendrycks et al. 2021: the question, its choices by letter, and the letters to choose from."""
    choices = _texts(row, "choices")
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    context = "\n".join([_text(row, "question").strip(), *lines, "Answer:"])
    return Question(context, tuple(LETTERS[: len(choices)]), _gold(row, "answer", choices=choices))


def mmlu_prompts(data: Data, examples: Data | None, shots: int) -> list[Question]:
    """The questions after a line that names the subject and the first `shots` examples of the same subject."""
    of_subject: dict[str, list[str]] = {}
    if examples is not None:
        for row, solved in zip(examples.rows, _each(examples, mmlu_question), strict=True):
            of_subject.setdefault(str(row.get("subject")), []).append(
                f"{solved.context} {solved.choices[solved.gold]}\n\n"
            )

    def asked(row: Row) -> Question:
        subject, question = _text(row, "subject"), mmlu_question(row)
        before = of_subject.get(subject, [])[:shots]
        if len(before) < shots:
            raise _BadRowError(f"wanted {shots} examples of subject {subject!r}, found {len(before)}")
        title = subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {title}.\n\n"
        return Question(head + "".join(before) + question.context, question.choices, question.gold)

    return _each(data, asked)


def choose(scorer: Scorer, data: Data, questions: Sequence[Question], *, per_character: bool) -> list[Item]:
    """Whether the likeliest choice is the right one; the first of equally likely ones is taken. A choice follows its
    question after a space. With `per_character`, also for the likelihood divided by the length of the choice."""
    requests = [(question.context, f" {choice}") for question in questions for choice in question.choices]
    scored = iter(scorer.loglikelihoods(requests))
    items = []
    for place, (row, question) in enumerate(zip(data.rows, questions, strict=True)):
        logprobs = [next(scored).logprob for _ in question.choices]
        ranked = {"accuracy": logprobs}
        if per_character:
            pairs = zip(logprobs, question.choices, strict=True)
            ranked["accuracy_per_character"] = [logprob / max(1, len(choice)) for logprob, choice in pairs]
        for metric, values in ranked.items():
            best = values.index(max(values))
            items.append(
                Item(
                    metric,
                    place,
                    sha256(row),
                    float(best == question.gold),
                    prompt=question.context,
                    prediction=question.choices[best],
                    expected=question.choices[question.gold],
                )
            )
    return items


def _hellaswag(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    return choose(scorer, given.data, _each(given.data, hellaswag_question), per_character=True)


def _multiple_choice(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    return choose(scorer, given.data, _each(given.data, any_question), per_character=True)


def _mmlu(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    questions = mmlu_prompts(given.data, given.examples, benchmark.shots)
    return choose(scorer, given.data, questions, per_character=False)


# --- GSM8K -----------------------------------------------------------------------------------------------------------

GSM8K_TASK = "Solve the problem step by step. End with a line that has only #### and the answer as a number."
_NUMBER = re.compile(r"(?:(?<![\w.)])-)?(?:\$-?)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_MARKED = re.compile(r"####([^\n]*)")


def gsm8k_answer(text: str) -> str | None:
    """The number that a solution ends with: the first one after ``####``, else the last one in the text, in one
    spelling for equal numbers (Cobbe et al. 2021 mark answers so); None when there is no number."""
    for marked in _MARKED.findall(text):
        found = _NUMBER.search(marked)
        if found:
            return normal_number(found[0])
    numbers = _NUMBER.findall(text)
    return normal_number(numbers[-1]) if numbers else None


def normal_number(number: str) -> str:
    """A number without dollar sign, thousands separators, trailing period and zeros: ``$1,250.50`` is 1250.5."""
    value = Decimal(re.sub(r"[$,]", "", number).removesuffix("."))
    return format(value.normalize() + 0, "f")  # + 0 makes -0 a 0


def gsm8k_prompt(question: str, solved: Sequence[tuple[str, str]]) -> str:
    """The task, the examples `solved` (question, answer), and the question, as a text to go on with."""
    parts = [GSM8K_TASK, *(f"Problem: {asked}\nSolution: {answer}" for asked, answer in solved)]
    return "\n\n".join([*parts, f"Problem: {question}\nSolution:"])


def gsm8k_messages(question: str, solved: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """The same as a conversation: examples are earlier turns."""
    messages = []
    for asked, answer in solved:
        messages.append({"role": "user", "content": f"{GSM8K_TASK}\n\n{asked}"})
        messages.append({"role": "assistant", "content": answer})
    return [*messages, {"role": "user", "content": f"{GSM8K_TASK}\n\n{question}"}]


def _gsm8k(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    def pair(row: Row) -> tuple[str, str]:
        question, answer = _text(row, "question"), _text(row, "answer")
        if gsm8k_answer(answer) is None:
            raise _BadRowError("key 'answer' has no number")
        return question, answer

    asked = _each(given.data, pair)
    solved = _each(given.examples.head(benchmark.shots), pair) if given.examples is not None else []
    if len(solved) < benchmark.shots:
        raise InputError(f"{benchmark.examples}: wanted {benchmark.shots} examples, found {len(solved)}")
    if benchmark.chat:
        tokenizer = conversations(scorer.loaded, benchmark).tokenizer
        prompts = [chat.prompt(tokenizer, gsm8k_messages(question, solved)) for question, _ in asked]
    else:
        prompts = [gsm8k_prompt(question, solved) for question, _ in asked]
    written = scorer.generate(
        prompts,
        max_new_tokens=benchmark.max_new_tokens,
        stop=() if benchmark.chat else ("\nProblem:",),
        is_whole=benchmark.chat,
    )
    items = []
    for place, (row, (_, answer)) in enumerate(zip(given.data.rows, asked, strict=True)):
        expected, said = gsm8k_answer(answer), written[place]
        value = float(gsm8k_answer(said) == expected)
        items.append(Item("exact_match", place, sha256(row), value, 1.0, prompts[place], said, expected))
    return items


# --- held-out texts, answers and pairs -------------------------------------------------------------------------------


def _bits_per_byte(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    """Bits that the model needs for a text over its bytes in UTF-8: comparable between tokenizers."""
    texts = _each(given.data, lambda row: _text(row, "text"))
    scored = scorer.rolling(texts)
    return [
        Item("bits_per_byte", place, _id(row, "doc_id"), -likelihood.logprob / math.log(2), float(len(text.encode())))
        for place, (row, text, likelihood) in enumerate(zip(given.data.rows, texts, scored, strict=True))
    ]


def _held_out_answers(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    """Nats that the model needs for what the assistant says, over its tokens. A conversation is cut at the context, as
    in training; one that has no answer within it weighs nothing."""
    messages = _each(given.data, lambda row: _messages(row, "messages"))
    tokenizer = conversations(scorer.loaded, benchmark).tokenizer
    scored = scorer.score([chat.encode(tokenizer, each, context=scorer.limit) for each in messages])
    return [
        Item(
            "answer_loss",
            place,
            _id(row, "example_id"),
            0.0 - likelihood.logprob,
            float(likelihood.tokens),
            prompt=_last_said(each, "user"),
            expected=_last_said(each, "assistant"),
        )
        for place, (row, each, likelihood) in enumerate(zip(given.data.rows, messages, scored, strict=True))
    ]


def _held_out_pairs(scorer: Scorer, benchmark: Benchmark, given: Given) -> list[Item]:
    """How much likelier the chosen answer is than the rejected one, in nats, and whether it is likelier. With a
    reference, both are taken relative to it. A pair with an answer that does not end within the context weighs
    nothing: a cut answer is another answer."""

    def pair(row: Row) -> tuple[list[chat.Message], list[chat.Message], list[chat.Message]]:
        return _messages(row, "prompt"), _messages(row, "chosen"), _messages(row, "rejected")

    pairs = _each(given.data, pair)
    scorers = [scorer] if given.reference is None else [scorer, scorer.of(given.reference)]
    margins = [_margins(each, benchmark, pairs, min(every.limit for every in scorers)) for each in scorers]
    items = []
    for place, (row, (prompt, _, _)) in enumerate(zip(given.data.rows, pairs, strict=True)):
        found = [of_model[place] for of_model in margins]
        fits = all(margin is not None for margin in found)
        margin = (found[0] or 0.0) - sum(each or 0.0 for each in found[1:]) if fits else 0.0
        prediction = ("chosen" if margin > 0 else "rejected") if fits else None
        for metric, value in (("margin", margin), ("preference_accuracy", float(margin > 0))):
            items.append(
                Item(
                    metric,
                    place,
                    _id(row, "example_id"),
                    value,
                    float(fits),
                    prompt=_last_said(prompt, "user"),
                    prediction=prediction,
                    expected="chosen",
                )
            )
    return items


def _margins(scorer: Scorer, benchmark: Benchmark, pairs: Sequence[Any], limit: int) -> list[float | None]:
    """log p(chosen) - log p(rejected) of each pair, or None where one of them is longer than `limit`."""
    tokenizer = conversations(scorer.loaded, benchmark).tokenizer
    sides = [side for prompt, *answers in pairs for side in chat.encode_answers(tokenizer, prompt, *answers)]
    fits = [len(chosen.ids) <= limit and len(rejected.ids) <= limit for chosen, rejected in _twos(sides)]
    scored = iter(scorer.score([side for place, side in enumerate(sides) if fits[place // 2]]))
    return [next(scored).logprob - next(scored).logprob if is_whole else None for is_whole in fits]


def _twos(sides: Sequence[T]) -> list[tuple[T, T]]:
    return list(zip(sides[::2], sides[1::2], strict=True))


def conversations(loaded: Loaded, benchmark: Benchmark) -> Loaded:
    """`loaded` with a tokenizer whose template says which tokens the assistant wrote; the tokenizer is a copy.

    Raises:
        ConfigError: it has no such template, and `benchmark` names none.
    """
    tokenizer = copy.deepcopy(loaded.tokenizer)
    origin = str(getattr(tokenizer, "name_or_path", "") or "the model")
    chat.set_template(tokenizer, benchmark.chat_template, origin)
    return Loaded(loaded.model, tokenizer)


TASKS: Mapping[str, Task] = {
    "hellaswag": Task(_hellaswag),
    "mmlu": Task(_mmlu),
    "multiple_choice": Task(_multiple_choice),
    "gsm8k": Task(_gsm8k),
    "bits_per_byte": Task(_bits_per_byte, "documents"),
    "held_out_answers": Task(_held_out_answers, "examples"),
    "held_out_pairs": Task(_held_out_pairs, "pairs"),
}


# --- reading rows ----------------------------------------------------------------------------------------------------


def _each(data: Data, parse: Callable[[Row], T]) -> list[T]:
    """Every row parsed.

    Raises:
        InputError: rows that cannot be, with their places and what was wanted.
    """
    found, problems = [], []
    for place, row in enumerate(data.rows):
        try:
            found.append(parse(row))
        except _BadRowError as error:
            problems.append(f"{data.where(place)}: {error}")
    if problems:
        more = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise InputError("; ".join(problems[:MOST_PROBLEMS]) + more)
    return found


def _value(row: Row, *keys: str) -> Any:
    """The value of the first of `keys` that the row has."""
    for key in keys:
        if row.get(key) is not None:
            return row[key]
    raise _BadRowError(f"wanted key {' or '.join(keys)}, found {', '.join(row) or 'no keys'}")


def _text(row: Row, *keys: str) -> str:
    value = _value(row, *keys)
    if not isinstance(value, str):
        raise _BadRowError(f"{' or '.join(keys)} is {type(value).__name__}, wanted a text")
    return value


def _texts(row: Row, *keys: str) -> list[str]:
    value = _value(row, *keys)
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, str) and each for each in value):
        raise _BadRowError(f"{' or '.join(keys)} is {str(value)[:60]!r}, wanted a list of two or more texts")
    return value


def _messages(row: Row, key: str) -> list[chat.Message]:
    value = _value(row, key)
    is_conversation = isinstance(value, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in value
    )
    if not is_conversation or not value:
        raise _BadRowError(f"{key} is {str(value)[:60]!r}, wanted a list of role and content")
    return value  # type: ignore[no-any-return]


def _gold(row: Row, *keys: str, choices: Sequence[str]) -> int:
    """The place of the right choice, which may be written as a number, a letter or the choice itself."""
    value = _value(row, *keys)
    if isinstance(value, str):
        letter = value.strip().upper()
        if value in choices and not value.isdecimal():
            return list(choices).index(value)
        if len(letter) == 1 and letter in LETTERS:
            value = LETTERS.index(letter)
        elif letter.isdecimal():
            value = int(letter)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(choices):
        wanted = f"0 to {len(choices) - 1}, A to {LETTERS[: len(choices)][-1:]} or a choice"
        raise _BadRowError(f"{' or '.join(keys)} is {value!r}, wanted {wanted}")
    return value


def _id(row: Row, key: str) -> str:
    """The id of a row of the lake, or the hash of a row of a file."""
    return str(row[key]) if key in row else sha256(row)


def _last_said(messages: Sequence[chat.Message], role: str) -> str | None:
    return next((message["content"] for message in reversed(messages) if message["role"] == role), None)
