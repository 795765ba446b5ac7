"""Records of every published shape become canonical conversations and pairs, or say what is wrong with them."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import chat
from etl.kernels.chat import Example, ImportProblem, Message, Pair

Turns = list[tuple[str, ...]]


def turns(messages: chat.Messages) -> Turns:
    return [tuple(message) for message in messages]


def example_of(record: object, format: str) -> Example:
    (found,) = chat.examples(record, format)
    assert isinstance(found, Example), str(found)
    return found


def pair_of(record: object, format: str = "preference") -> Pair:
    (found,) = chat.pairs(record, format)
    assert isinstance(found, Pair), str(found)
    return found


def said(who: str, text: object, *replies: dict[str, Any], **facts: object) -> dict[str, Any]:
    return {"role": who, "text": text, "replies": list(replies), **facts}


QUESTION, ANSWER = ("user", "Which?"), ("assistant", "That.")
SHAPES = [
    ("alpaca", {"instruction": "Which?", "input": "", "output": "That."}, [QUESTION, ANSWER]),
    ("alpaca", {"instruction": "Sort.", "input": "b a", "output": "a b"},
     [("user", "Sort.\nb a"), ("assistant", "a b")]),
    ("alpaca", {"prompt": "Which?", "response": "That."}, [QUESTION, ANSWER]),
    ("alpaca", {"question": "Which?", "answer": "That.", "input": None}, [QUESTION, ANSWER]),
    (
        "alpaca",
        {"system": "Be brief.", "instruction": "And?", "output": "So.", "history": [["Which?", "That."]]},
        [("system", "Be brief."), QUESTION, ANSWER, ("user", "And?"), ("assistant", "So.")],
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": "That."}], "system": "S"},
        [("system", "S"), QUESTION, ANSWER],
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "User", "value": "Which?"}, {"from": "assistant", "value": "That."}]},
        [QUESTION, ANSWER],
    ),
    (
        "messages",
        {"messages": [{"role": "system", "content": " "}, {"role": "user", "content": "Which?"},
                      {"role": "assistant", "content": "That."}]},
        [QUESTION, ANSWER],
    ),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Which?"}]},
                      {"role": "assistant", "content": "That."}]},
        [QUESTION, ANSWER],
    ),
    ("oasst", {"prompt": said("prompter", "Which?", said("assistant", "That."))}, [QUESTION, ANSWER]),
]  # fmt: skip


@pytest.mark.parametrize(("format", "record", "wanted"), SHAPES)
def test_each_shape_gives_its_conversation(format: str, record: object, wanted: Turns) -> None:
    assert turns(example_of(record, format).messages) == wanted


def test_the_same_conversation_has_the_same_id_in_every_shape() -> None:
    ids = {example_of(record, format).example_id for format, record, wanted in SHAPES if wanted == [QUESTION, ANSWER]}
    assert ids == {hashlib.sha256(b'[["user","Which?"],["assistant","That."]]').hexdigest()}


def test_instances_are_examples_each() -> None:
    record = {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"input": "", "output": ""}]}
    good, bad = chat.examples(record, "alpaca")
    assert isinstance(good, Example)
    assert turns(good.messages) == [("user", "Add.\n1 2"), ("assistant", "3")]
    assert str(bad) == "empty_answer: found an empty message of assistant, wanted text"


def test_contents_are_canonical_and_else_untouched() -> None:
    record = {"instruction": " \r\n\tGrüße, 世界  \n", "output": "a\r\n b\rc \ud83d\ude00 \ud800"}
    question, answer = example_of(record, "alpaca").messages
    assert question.content == "Grüße, 世界"
    assert answer.content == "a\n b\nc \U0001f600 \ufffd"


def test_scores_and_generator_are_taken_from_the_record() -> None:
    record = {
        "messages": [],
        "label": True,
        "scores": {"helpful": 3, "note": "x"},
        "reward": float("nan"),
        "model": "m",
    }
    record["messages"] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    found = example_of(record, "messages")
    assert (found.scores, found.generator) == ({"helpful": 3.0, "label": 1.0}, "m")


def test_the_prompt_ends_before_the_first_answer() -> None:
    talk = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    found = example_of({"messages": [{"role": role, "content": text} for role, text in talk]}, "messages")
    assert found.prompt_id == chat.digest((Message("system", "s"), Message("user", "a")))


def messages(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    ("format", "record", "wanted"),
    [
        ("alpaca", [1], "wrong_type: found a record that is a list, wanted an object"),
        ("alpaca", {"input": "x"}, "missing_key: found keys input, wanted instruction or prompt or question and output "
         "or response or answer or completion"),
        ("alpaca", {}, "missing_key: found no keys, wanted instruction or prompt or question and output or response or "
         "answer or completion"),
        ("alpaca", {"instruction": "a", "output": 3}, "wrong_type: found output that is 3, wanted text"),
        ("alpaca", {"instruction": "a", "output": " \n"},
         "empty_answer: found an empty message of assistant, wanted text"),
        ("alpaca", {"instruction": "", "output": "a"}, "empty_prompt: found an empty message of user, wanted text"),
        ("alpaca", {"instruction": "a", "output": "b", "history": [["x"]]},
         "wrong_type: found history that is a list, wanted a list of [question, answer]"),
        ("messages", {"messages": "hello"}, "wrong_type: found messages that is 'hello', wanted a list of messages"),
        ("messages", {"messages": []}, "no_messages: found no messages, wanted a question and an answer"),
        ("messages", messages("user", "user"),
         "repeated_role: found two messages of user in a row, wanted one of assistant"),
        ("messages", messages("assistant"), "wrong_first_role: found a first message of assistant, wanted one of user"),
        ("messages", messages("user"), "no_answer: found a last message of user, wanted one of assistant"),
        ("messages", messages("user", "assistant", "system"), "late_system: found a system message after 2 others, "
         "wanted one at most, first"),
        ("messages", messages("user", "tool"),
         "tool_message: found role 'tool', wanted system, user and assistant only"),
        ("messages", messages("narrator"), "unknown_role: found role 'narrator', wanted one of system, user, human, "
         "prompter, assistant, gpt, chatgpt, bot, model"),
        ("messages", {"messages": [{"role": "user"}]}, "missing_key: found keys role, wanted content or value"),
        ("messages", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]},
         "empty_answer: found an empty message of assistant, wanted text"),
        ("messages", messages(*["user", "assistant"] * 501), "too_long: found 1002 messages, wanted at most 1000"),
        ("alpaca", {"instruction": "a", "output": "b" * 1_000_000},
         "too_long: found 1000001 characters, wanted at most 1000000"),
        ("oasst", {"tree": 1}, "missing_key: found keys tree, wanted prompt"),
        ("oasst", {"prompt": said("prompter", "a", deleted=True)},
         "deleted: found a prompt that was deleted or refused in review, wanted one that stands"),
        ("oasst", {"prompt": said("prompter", "a")}, "no_answer: found a tree without answers, wanted one at least"),
        ("oasst", {"message_id": "1", "parent_id": "0", "text": "a", "role": "prompter"},
         "missing_parent: found a message without its tree, wanted the messages of a tree one after the other"),
    ],
)  # fmt: skip
def test_a_problem_names_what_was_found_and_wanted(format: str, record: object, wanted: str) -> None:
    assert [str(found) for found in chat.examples(record, format)] == [wanted]


TREE = {
    "message_tree_id": "t",
    "prompt": said(
        "prompter",
        "q",
        said(
            "assistant",
            "best",
            said("prompter", "why", said("assistant", "because", rank=0), said("assistant", "no idea", rank=1)),
            said("prompter", "thanks"),
            rank=0,
            labels={"quality": {"value": 0.75, "count": 3}},
        ),
        said("assistant", "worse", rank=1, model_name="m", labels={"quality": {"value": 0.25, "count": 3}}),
        said("assistant", "worst", rank=2),
        said("assistant", "unranked"),
        said("assistant", "taken out", said("prompter", "gone too"), deleted=True),
        said("assistant", "refused", review_result=False),
    ),
}


def test_a_tree_gives_an_example_for_each_path_to_a_last_answer() -> None:
    found = chat.examples(TREE, "oasst")
    paths = [[message.content for message in each.messages] for each in found if isinstance(each, Example)]
    assert paths == [
        ["q", "best", "why", "because"],
        ["q", "best", "why", "no idea"],
        ["q", "worse"],
        ["q", "worst"],
        ["q", "unranked"],
    ]
    scores = [each.scores for each in found if isinstance(each, Example)]
    assert scores == [
        {"rank": 0.0, "worst_rank": 0.0},
        {"rank": 1.0, "worst_rank": 1.0},
        {"quality": 0.25, "rank": 1.0, "worst_rank": 1.0},
        {"rank": 2.0, "worst_rank": 2.0},
        {},
    ]
    assert [each.generator for each in found if isinstance(each, Example)] == [None, None, "m", None, None]


def test_a_tree_gives_the_best_answer_against_each_of_lower_rank() -> None:
    found = [each for each in chat.pairs(TREE, "oasst") if isinstance(each, Pair)]
    assert [(each.prompt[-1].content, each.chosen[0].content, each.rejected[0].content) for each in found] == [
        ("q", "best", "worse"),
        ("q", "best", "worst"),
        ("why", "because", "no idea"),
    ]
    assert [(each.chosen_score, each.rejected_score) for each in found] == [(0.0, -1.0), (0.0, -2.0), (0.0, -1.0)]
    assert turns(found[2].prompt) == [("user", "q"), ("assistant", "best"), ("user", "why")]


def flat_rows(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """A tree as the rows of the flat table, depth first."""
    rows: list[dict[str, Any]] = []
    waiting: list[tuple[dict[str, Any], str | None]] = [(tree["prompt"], None)]
    while waiting:
        node, parent = waiting.pop()
        name = f"{tree['message_tree_id']}{len(rows)}"
        fields = {key: value for key, value in node.items() if key != "replies"}
        rows.append({**fields, "message_id": name, "parent_id": parent, "message_tree_id": tree["message_tree_id"]})
        waiting.extend((reply, name) for reply in reversed(node["replies"]))
    return rows


def test_a_flat_table_gives_what_its_trees_give() -> None:
    other = {**TREE, "message_tree_id": "u"}
    rows = [*flat_rows(TREE), {"no": "message"}, *flat_rows(other)]
    found = list(chat.trees(enumerate(rows)))
    assert [place for place, _ in found] == [0, 12, 13]
    for _, record in (found[0], found[2]):
        assert chat.examples(record, "oasst") == chat.examples(TREE, "oasst")
        assert chat.pairs(record, "oasst") == chat.pairs(TREE, "oasst")


def test_a_message_without_its_parent_is_a_problem_in_its_place() -> None:
    rows = flat_rows(TREE)
    found = dict(chat.trees(enumerate([rows[0], rows[2], rows[1]])))
    assert sorted(found) == [0, 1], "the second hangs on nothing yet"
    (problem,) = chat.examples(found[1], "oasst")
    assert isinstance(problem, ImportProblem)
    assert problem.kind == "missing_parent"


def test_labels_of_the_flat_table_are_scores_too() -> None:
    labels = {"name": ["spam", "quality"], "value": [0.0, 1.0], "count": [3, 3]}
    record = {"prompt": said("prompter", "q", said("assistant", "a", labels=labels))}
    assert example_of(record, "oasst").scores == {"spam": 0.0, "quality": 1.0}


def test_a_tree_of_any_depth_is_walked() -> None:
    node = said("assistant", "end")
    for place in range(5000):
        node = said(("prompter", "assistant")[place % 2], "x", node)
    root = said("prompter", "q", node) if node["role"] == "assistant" else node
    example, problem = chat.examples({"prompt": root}, "oasst")
    assert isinstance(example, Example)
    assert len(example.messages) == chat.MAX_MESSAGES
    assert str(problem) == "too_long: found 1001 messages, wanted at most 1000"


PROMPT = ({"role": "user", "content": "Which?"},)
CHOSEN, REJECTED = {"role": "assistant", "content": "That."}, {"role": "assistant", "content": "None."}
PAIR_SHAPES: list[dict[str, Any]] = [
    {"prompt": "Which?", "chosen": "That.", "rejected": "None."},
    {"question": "Which?", "chosen": "That.", "rejected": "None."},
    {"instruction": "Which?", "input": "", "chosen": "That.", "rejected": "None."},
    {"prompt": list(PROMPT), "chosen": [CHOSEN], "rejected": [REJECTED]},
    {"chosen": [*PROMPT, CHOSEN], "rejected": [*PROMPT, REJECTED]},
    {"prompt": "Which?", "chosen": [*PROMPT, CHOSEN], "rejected": [*PROMPT, REJECTED]},
    {"chosen": "\n\nHuman: Which?\n\nAssistant: That.", "rejected": "\n\nHuman: Which?\n\nAssistant: None."},
    {"prompt": "\n\nHuman: Which?\n\nAssistant:", "chosen": " That.", "rejected": " None."},
    {
        "conversations": [{"from": "human", "value": "Which?"}],
        "chosen": {"from": "gpt", "value": "That."},
        "rejected": {"from": "gpt", "value": "None."},
    },
    {"instruction": "Which?", "responses": ["Maybe.", "That.", "None."],
     "rewards_x": [{"score": 2}, {"score": 3}, {"score": 1}]},
]  # fmt: skip


@pytest.mark.parametrize("record", PAIR_SHAPES)
def test_each_shape_of_a_preference_gives_the_same_pair(record: object) -> None:
    found = pair_of(record)
    assert turns(found.prompt) == [QUESTION]
    assert (turns(found.chosen), turns(found.rejected)) == ([ANSWER], [("assistant", "None.")])
    assert found.example_id == pair_of(PAIR_SHAPES[0]).example_id
    assert found.prompt_id == chat.digest((Message(*QUESTION),))


def test_an_answer_keeps_what_followed_it() -> None:
    """Two dialogues of hh-rlhf that part before their end."""
    start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"
    found = pair_of(
        {"chosen": f"{start}\n\nAssistant: d\n\nHuman: e\n\nAssistant: f", "rejected": f"{start}\n\nAssistant: g"}
    )
    assert turns(found.prompt) == [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert turns(found.chosen) == [("assistant", "d"), ("user", "e"), ("assistant", "f")]
    assert turns(found.rejected) == [("assistant", "g")]


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"chosen": "a"}, "missing_key: found keys chosen, wanted rejected"),
        (
            {"chosen": "a", "rejected": "b"},
            "missing_key: found keys chosen, rejected, wanted instruction or prompt or question or conversations",
        ),
        (
            {**PAIR_SHAPES[0], "rejected": " That. "},
            "chosen_equals_rejected: found one answer twice, wanted two that differ",
        ),
        ({**PAIR_SHAPES[0], "chosen": ""}, "empty_answer: found an empty message of assistant, wanted text"),
        ({**PAIR_SHAPES[3], "chosen": []}, "empty_answer: found chosen without messages, wanted an answer"),
        (
            {"chosen": [*PROMPT, CHOSEN], "rejected": [{"role": "user", "content": "Who?"}, REJECTED]},
            "no_shared_prompt: found chosen and rejected that begin differently, wanted one prompt for both",
        ),
        ({"instruction": "q", "responses": ["a"]}, "missing_key: found keys instruction, responses, wanted rewards"),
        (
            {"instruction": "q", "responses": ["a", "b"], "rewards": [1, None]},
            "no_pair: found 1 answers with a reward, wanted two",
        ),
        (
            {"instruction": "q", "responses": ["a", "b"], "rewards": [1]},
            "wrong_type: found responses and rewards that do not match, wanted two lists of one length",
        ),
    ],
)
def test_a_preference_that_is_none_says_why(record: object, wanted: str) -> None:
    assert [str(found) for found in chat.pairs(record, "preference")] == [wanted]


def test_a_tree_without_ranks_says_why_it_gives_no_pair() -> None:
    record = {"prompt": said("prompter", "q", said("assistant", "a"), said("assistant", "b"))}
    assert [str(found) for found in chat.pairs(record, "oasst")] == [
        "no_pair: found no two answers of different rank to one message, wanted two"
    ]


def test_more_parts_than_a_record_may_have_are_one_problem() -> None:
    answers = [said("assistant", f"a{n}", rank=n) for n in range(chat.MAX_PARTS + 2)]
    record = {"prompt": said("prompter", "q", *answers)}
    assert [str(found) for found in chat.examples(record, "oasst")] == [
        "too_many_parts: found 10002 in one record, wanted at most 10000"
    ]
    assert [str(found) for found in chat.pairs(record, "oasst")] == [
        "too_many_parts: found 10001 in one record, wanted at most 10000"
    ]


# JSON as the importer meets it: keys and values that mean something somewhere, in places where they do not.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
KNOWN = (
    *("instruction", "prompt", "question", "input", "context", "output", "response", "answer", "history", "system"),
    *("instances", "messages", "conversations", "role", "from", "content", "value", "text", "replies", "rank"),
    *("deleted", "review_result", "labels", "name", "chosen", "rejected", "responses", "rewards", "score", "scores"),
    *("label", "message_id", "parent_id", "message_tree_id", "tool_calls", "model"),
)
KEYS = st.sampled_from(KNOWN)
VALUES = st.sampled_from(
    ["user", "human", "assistant", "gpt", "system", "tool", "\n\nHuman: a\n\nAssistant: b", "\n\nHuman:"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | VALUES | ANY_TEXT
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=6),
    max_leaves=30,
)
MESSAGE = st.fixed_dictionaries({"role": VALUES, "content": LEAVES}) | st.fixed_dictionaries(
    {"from": VALUES, "value": LEAVES}
)
NODE = st.recursive(
    st.fixed_dictionaries({"role": VALUES, "text": LEAVES, "rank": LEAVES}),
    lambda inner: st.fixed_dictionaries(
        {
            "role": VALUES,
            "text": ANY_TEXT,
            "rank": LEAVES,
            "labels": JSON,
            "replies": st.lists(inner, max_size=3) | JSON,
        }
    ),
    max_leaves=12,
)
RECORDS = (
    JSON
    | st.dictionaries(KEYS, st.lists(MESSAGE, max_size=4) | JSON, max_size=6)
    | st.fixed_dictionaries({"prompt": NODE})
    | st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=5)})
    | st.fixed_dictionaries({"instruction": ANY_TEXT, "output": ANY_TEXT, "input": LEAVES, "scores": JSON})
    | st.fixed_dictionaries({"chosen": st.lists(MESSAGE, max_size=4) | JSON, "rejected": st.lists(MESSAGE, max_size=4)})
)


def is_canonical(messages: chat.Messages) -> bool:
    talk = messages[1:] if messages[0].role == "system" else messages
    roles = [message.role for message in talk]
    contents = [message.content for message in messages]
    return (
        roles == ["user", "assistant"] * (len(roles) // 2)
        and all(text and text == text.strip() and "\r" not in text for text in contents)
        and all(text.encode().decode() == text for text in contents)
    )


@settings(deadline=None, max_examples=300)
@given(RECORDS, st.sampled_from(chat.EXAMPLE_FORMATS))
def test_any_json_gives_canonical_examples_or_problems(record: object, format: str) -> None:
    found = chat.examples(record, format)
    assert found
    for each in found:
        if isinstance(each, Example):
            assert is_canonical(each.messages)
            assert len(each.example_id) == len(each.prompt_id) == 64
        else:
            assert str(each).encode(), "a problem can be written to a table"


@settings(deadline=None, max_examples=300)
@given(RECORDS, st.sampled_from(chat.PAIR_FORMATS))
def test_any_json_gives_canonical_pairs_or_problems(record: object, format: str) -> None:
    found = chat.pairs(record, format)
    assert found
    for each in found:
        if isinstance(each, Pair):
            assert is_canonical((*each.prompt, *each.chosen))
            assert is_canonical((*each.prompt, *each.rejected))
            assert each.prompt[-1].role == "user"
            assert each.chosen != each.rejected
        else:
            assert str(each).encode(), "a problem can be written to a table"


@settings(deadline=None, max_examples=200)
@given(st.lists(JSON | st.dictionaries(KEYS, ANY_TEXT | st.none(), max_size=6), max_size=8))
def test_grouping_into_trees_keeps_places_in_order_and_never_raises(records: list[object]) -> None:
    places = [place for place, _ in chat.trees(enumerate(records))]
    assert all(left < right for left, right in pairwise(places))
    assert set(places) <= set(range(len(records)))


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), min_size=1))
def test_an_id_is_that_of_the_json(talk: Turns) -> None:
    found = chat.digest(tuple(Message(*turn) for turn in talk))
    text = json.dumps(talk, ensure_ascii=False, separators=(",", ":"))
    assert found == hashlib.sha256(text.encode()).hexdigest()
