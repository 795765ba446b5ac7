r"""Records of instruction data, in the shapes in which it is published, to conversations and preference pairs.

==============  ============================================================================================
``alpaca``      instruction, input, output; also system and history (turns before), and instances, the seed
                tasks of Self-Instruct. Keys of the same meaning count: prompt or question, context, response,
                answer or completion
``sharegpt``    conversations: messages of {from, value}
``messages``    messages of {role, content}
``oasst``       trees of messages with replies, or their flat table (`trees`)
``preference``  chosen and rejected: texts beside a prompt, messages with or without the prompt they share,
                dialogues of "\n\nHuman: ... \n\nAssistant: ...", answers to a list of conversations; or an
                instruction with responses and rewards, of which the best and the worst are taken
==============  ============================================================================================

A conversation is canonical: at most one system message, first, and then user and assistant in turn up to an answer.
Contents have no white space at their ends, LF for CRLF, U+FFFD for what is no Unicode, and are else as they were.
A tool's messages have no place in that form, so records with them are a problem, not an example.

A tree of OpenAssistant (Köpf et al. 2023) gives one example per path from its root to an answer that no other answer
follows; messages deleted or refused in review are left out, with all that follows them. No path is chosen here: the
scores say the rank of the answer, 0 the best, and the worst rank on the path. Of ranked answers to one message it
gives pairs, the best against each that people ranked lower. A rank counts as its negative in a pair's scores, so that
of every pair the higher score is the better.

What is wrong with a record is a value, `ImportProblem`. No function raises for any JSON value.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from etl.kernels.records import ImportProblem as ImportProblem

T = TypeVar("T")
EXAMPLE_FORMATS = ("alpaca", "sharegpt", "messages", "oasst")
PAIR_FORMATS = ("preference", "oasst")
FORMATS = ("alpaca", "sharegpt", "messages", "oasst", "preference")

MAX_CHARACTERS = 1_000_000  # of one conversation: the longest books have that, and tokenizers take seconds for it
MAX_MESSAGES = 1_000  # of one conversation
MAX_PARTS = 10_000  # examples or pairs of one record

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
_ROLES = {
    **dict.fromkeys(("system",), SYSTEM),
    **dict.fromkeys(("user", "human", "prompter"), USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), ASSISTANT),
}
_TOOL_ROLES = frozenset(("tool", "tools", "tool_call", "tool_response", "function", "function_call", "observation"))
_PROMPT_KEYS = ("instruction", "prompt", "question")
_INPUT_KEYS = ("input", "context")
_ANSWER_KEYS = ("output", "response", "answer", "completion")
_CONVERSATION_KEYS = ("messages", "conversations", "conversation")
_GENERATOR_KEYS = ("generator", "model", "model_name")
_SCORE_KEYS = ("label", "score", "reward", "rating", "quality", "complexity")
_DIALOGUE = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant):")


class Message(NamedTuple):
    """Who speaks, system, user or assistant, and what."""

    role: str
    content: str


Messages = tuple[Message, ...]


@dataclass(frozen=True)
class Example:
    """A conversation that ends in an answer, and what its source says of it."""

    messages: Messages
    scores: Mapping[str, float] = field(default_factory=dict)
    generator: str | None = None

    @property
    def example_id(self) -> str:
        return digest(self.messages)

    @property
    def prompt_id(self) -> str:
        """Id of the messages before the first answer."""
        first = next(place for place, message in enumerate(self.messages) if message.role == ASSISTANT)
        return digest(self.messages[:first])


@dataclass(frozen=True)
class Pair:
    """A prompt that ends with the user, and two ways to go on from it, each of which ends in an answer."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    chosen_score: float | None = None
    rejected_score: float | None = None
    generator: str | None = None

    @property
    def example_id(self) -> str:
        return digest(self.prompt, self.chosen, self.rejected)

    @property
    def prompt_id(self) -> str:
        return digest(self.prompt)


def digest(*parts: Messages) -> str:
    """SHA-256 of the roles and contents of `parts`, as JSON without spaces, hex."""
    text = json.dumps(parts if len(parts) > 1 else parts[0], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def examples(record: object, format: str) -> list[Example | ImportProblem]:
    """The conversations of one record in their order, at least one value; `format` is one of EXAMPLE_FORMATS."""
    readers = {"alpaca": _alpaca, "sharegpt": _conversation, "messages": _conversation, "oasst": _tree_examples}
    try:
        return readers[format](_fields(record))
    except _Wrong as wrong:
        return [wrong.problem]


def pairs(record: object, format: str) -> list[Pair | ImportProblem]:
    """The preference pairs of one record in their order, at least one value; `format` is one of PAIR_FORMATS."""
    readers = {"preference": _preference, "oasst": _tree_pairs}
    try:
        return readers[format](_fields(record))
    except _Wrong as wrong:
        return [wrong.problem]


def trees(records: Iterable[tuple[int, object]]) -> Iterator[tuple[int, object]]:
    """(place, record) with the flat messages of each OpenAssistant tree that stand one after the other made one
    record, at the place of the first. Other records pass as they are, and so do messages whose parent is not there.
    """
    waiting: list[tuple[int, dict[str, Any]]] = []
    for place, record in records:
        tree = _tree_id(record)
        if waiting and (tree != waiting[0][1]["message_tree_id"] or len(waiting) == MAX_PARTS):
            yield from _grown(waiting)
            waiting = []
        if isinstance(record, dict) and tree is not None:
            waiting.append((place, record))
        else:
            yield place, record
    yield from _grown(waiting)


class _Wrong(Exception):
    """Carries a problem from where it is seen to `examples` and `pairs`, which return it."""

    def __init__(self, kind: str, found: str, wanted: str) -> None:
        super().__init__(kind)
        self.problem = ImportProblem(kind, found, wanted)


def _caught(read: Callable[..., T], *given: Any) -> T | ImportProblem:
    """What `read` gives, or the problem it meets: one bad part of a record leaves the others."""
    try:
        return read(*given)
    except _Wrong as wrong:
        return wrong.problem


def _refuse_too_many(parts: Sequence[object]) -> None:
    if len(parts) > MAX_PARTS:
        raise _Wrong("too_many_parts", f"{len(parts)} in one record", f"at most {MAX_PARTS}")


def _shown(value: object) -> str:
    """A value in a message: the type of what is large, the text of what is small."""
    if isinstance(value, str):
        return repr(_valid(value if len(value) <= 40 else value[:37] + "..."))
    if isinstance(value, bool | int | float) or value is None:
        return "null" if value is None else str(value)[:40]
    return "a list" if isinstance(value, list | tuple) else "an object" if isinstance(value, dict) else "another type"


def _fields(value: object, what: str = "a record") -> dict[str, Any]:
    """The keys of an object that have a value: null stands for nothing, as in tables."""
    if not isinstance(value, dict):
        raise _Wrong("wrong_type", f"{what} that is {_shown(value)}", "an object")
    return {str(key): field for key, field in value.items() if field is not None}


def _valid(text: str) -> str:
    """`text` as Unicode: a lone surrogate becomes U+FFFD, a pair of them what it stands for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _text(value: object, key: str) -> str:
    """Canonical text. A list of the parts {type: text, text} of one message is one text."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        value = "\n".join(texts) if texts and len(texts) == len(parts) else value
    if not isinstance(value, str):
        raise _Wrong("wrong_type", f"{key} that is {_shown(value)}", "text")
    return _valid(value).replace("\r\n", "\n").replace("\r", "\n").strip()


def _first(record: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, Any]:
    """The first of `keys` that the record has, and its value."""
    for key in keys:
        if key in record:
            return key, record[key]
    raise _Wrong("missing_key", _keys(record), " or ".join(keys))


def _keys(record: Mapping[str, Any]) -> str:
    names = ", ".join(_valid(key)[:40] for key in list(record)[:12])
    return f"keys {names}" if names else "no keys"


def _number(value: object) -> float | None:
    if not isinstance(value, bool | int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _generator(record: Mapping[str, Any]) -> str | None:
    for key in _GENERATOR_KEYS:
        value = record.get(key)
        if isinstance(value, str) and value.strip():
            return _valid(value).strip()[:200]
    return None


def _scores(record: Mapping[str, Any]) -> dict[str, float]:
    """Numbers under the keys that sources score by, and under their key `scores`."""
    inner = record.get("scores")
    named = {**(inner if isinstance(inner, dict) else {}), **{key: record[key] for key in _SCORE_KEYS if key in record}}
    numbers = {_valid(str(key))[:40]: _number(value) for key, value in list(named.items())[:40]}
    return {key: number for key, number in numbers.items() if number is not None}


def _message(value: object) -> Message:
    message = _fields(value, "a message")
    _, role = _first(message, ("role", "from"))
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        if isinstance(role, str) and role.strip().lower() in _TOOL_ROLES:
            raise _Wrong("tool_message", f"role {_shown(role)}", "system, user and assistant only")
        raise _Wrong("unknown_role", f"role {_shown(role)}", f"one of {', '.join(_ROLES)}")
    if known == ASSISTANT and "tool_calls" in message and message["tool_calls"]:
        raise _Wrong("tool_message", "tool_calls", "answers in words")
    # Of the keys that are there one may be null: so some sources write an answer that is none.
    keys = [key for key in ("content", "value", "text") if isinstance(value, dict) and key in value]
    if not keys:
        raise _Wrong("missing_key", _keys(message), "content or value")
    return Message(known, _text(message.get(keys[0], ""), keys[0]))


def _messages(value: object, key: str) -> list[Message]:
    if not isinstance(value, list | tuple):
        raise _Wrong("wrong_type", f"{key} that is {_shown(value)}", "a list of messages")
    if len(value) > MAX_MESSAGES:
        raise _too_many(len(value))
    return [_message(item) for item in value]


def _too_many(count: int) -> _Wrong:
    return _Wrong("too_long", f"{count} messages", f"at most {MAX_MESSAGES}")


def _checked(messages: Sequence[Message]) -> Messages:
    """`messages` in canonical form: an empty system message is none."""
    found = tuple(message for message in messages if message.role != SYSTEM or message.content)
    turns = found[1:] if found and found[0].role == SYSTEM else found
    if len(found) > MAX_MESSAGES:
        raise _too_many(len(found))
    for place, message in enumerate(turns):
        wanted = (USER, ASSISTANT)[place % 2]
        if message.role == SYSTEM:
            raise _Wrong("late_system", f"a system message after {place} others", "one at most, first")
        if message.role != wanted:
            before = f"two messages of {message.role} in a row" if place else f"a first message of {message.role}"
            raise _Wrong("repeated_role" if place else "wrong_first_role", before, f"one of {wanted}")
        if not message.content:
            kind = "empty_answer" if wanted == ASSISTANT else "empty_prompt"
            raise _Wrong(kind, f"an empty message of {wanted}", "text")
    if not turns:
        raise _Wrong("no_messages", "no messages", "a question and an answer")
    if turns[-1].role != ASSISTANT:
        raise _Wrong("no_answer", "a last message of user", "one of assistant")
    characters = sum(len(message.content) for message in found)
    if characters > MAX_CHARACTERS:
        raise _Wrong("too_long", f"{characters} characters", f"at most {MAX_CHARACTERS}")
    return found


def _system(record: Mapping[str, Any]) -> list[Message]:
    return [Message(SYSTEM, _text(record["system"], "system"))] if "system" in record else []


def _alpaca(record: dict[str, Any]) -> list[Example | ImportProblem]:
    if "instances" not in record:
        return [_alpaca_example(record, record)]
    instances = record["instances"]
    if not isinstance(instances, list) or not instances:
        raise _Wrong("wrong_type", f"instances that is {_shown(instances)}", "a list of input and output")
    _refuse_too_many(instances)
    return [_caught(_alpaca_instance, record, item) for item in instances]


def _alpaca_instance(record: dict[str, Any], instance: object) -> Example:
    return _alpaca_example(record, _fields(instance, "an instance"))


def _alpaca_example(record: dict[str, Any], instance: dict[str, Any]) -> Example:
    missing = [keys for keys, place in ((_PROMPT_KEYS, record), (_ANSWER_KEYS, instance)) if not set(keys) & set(place)]
    if missing:
        raise _Wrong("missing_key", _keys(record), " and ".join(" or ".join(keys) for keys in missing))
    answer = _text(instance[_first(instance, _ANSWER_KEYS)[0]], "output")
    messages = [*_system(record), *_history(record), _asked(record, instance), Message(ASSISTANT, answer)]
    return Example(_checked(messages), _scores(record), _generator(record))


def _asked(record: Mapping[str, Any], instance: Mapping[str, Any]) -> Message:
    """The instruction, and below it the input where there is one."""
    key, instruction = _first(record, _PROMPT_KEYS)
    parts = [_text(instruction, key)]
    parts += [_text(instance[name], name) for name in _INPUT_KEYS if name in instance][:1]
    return Message(USER, "\n".join(part for part in parts if part))


def _history(record: Mapping[str, Any]) -> list[Message]:
    history = record.get("history", [])
    is_turns = isinstance(history, list) and all(isinstance(turn, list) and len(turn) == 2 for turn in history)
    if not is_turns:
        raise _Wrong("wrong_type", f"history that is {_shown(history)}", "a list of [question, answer]")
    if len(history) > MAX_MESSAGES:
        raise _too_many(len(history))
    roles = (USER, ASSISTANT)
    return [Message(role, _text(text, "history")) for turn in history for role, text in zip(roles, turn, strict=True)]


def _conversation(record: dict[str, Any]) -> list[Example | ImportProblem]:
    key, values = _first(record, _CONVERSATION_KEYS)
    messages = [*_system(record), *_messages(values, key)]
    return [Example(_checked(messages), _scores(record), _generator(record))]


@dataclass
class _Node:
    """A message of a tree by its place in reading order, after its parent."""

    parent: int | None
    depth: int
    message: Message | None
    problem: ImportProblem | None
    fields: dict[str, Any]
    is_answered: bool = False  # an answer follows, at any distance

    @property
    def rank(self) -> float | None:
        return _number(self.fields.get("rank"))

    @property
    def is_answer(self) -> bool:
        return self.message is not None and self.message.role == ASSISTANT


def _tree_id(record: object) -> str | None:
    """The tree of a message that is a row of the flat table, and none for other records."""
    if not isinstance(record, dict) or "parent_id" not in record or {"prompt", "replies"} & record.keys():
        return None
    tree, message = record.get("message_tree_id"), record.get("message_id")
    return tree if isinstance(tree, str) and isinstance(message, str) else None


def _grown(flat: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, object]]:
    """The flat messages of one tree as one record; those that do not hang on its root stay what they are."""
    by_id: dict[str, dict[str, Any]] = {}
    root: tuple[int, dict[str, Any]] | None = None
    orphans: list[tuple[int, object]] = []
    for place, message in flat:
        grown = {**message, "replies": []}
        if message["parent_id"] is None and root is None:
            root = place, grown
        elif message["parent_id"] in by_id and message["message_id"] not in by_id:
            by_id[message["parent_id"]]["replies"].append(grown)
        else:
            orphans.append((place, message))
            continue
        by_id[message["message_id"]] = grown
    if root is not None:
        yield root[0], {"prompt": root[1]}
    yield from orphans


def _tree(record: dict[str, Any]) -> list[_Node]:
    """The messages of a tree that people left standing, each after its parent, depth first."""
    if "message_id" in record and "prompt" not in record:
        raise _Wrong("missing_parent", "a message without its tree", "the messages of a tree one after the other")
    _, root = _first(record, ("prompt",))
    nodes: list[_Node] = []
    waiting: list[tuple[object, int | None]] = [(root, None)]
    while waiting:
        value, parent = waiting.pop()
        node = _node(value, parent, nodes)
        if node is None:
            continue
        nodes.append(node)
        replies = node.fields.get("replies", [])
        if node.problem is None and isinstance(replies, list):
            waiting.extend((reply, len(nodes) - 1) for reply in reversed(replies))
    if not nodes:
        raise _Wrong("deleted", "a prompt that was deleted or refused in review", "one that stands")
    for node in reversed(nodes):
        if node.parent is not None and (node.is_answer or node.is_answered):
            nodes[node.parent].is_answered = True
    return nodes


def _node(value: object, parent: int | None, nodes: Sequence[_Node]) -> _Node | None:
    """None where people took the message out."""
    depth = 0 if parent is None else nodes[parent].depth + 1
    try:
        fields = _fields(value, "a message")
        if fields.get("deleted") is True or fields.get("review_result") is False:
            return None
        message = _message(fields)
        wanted = (USER, ASSISTANT)[depth % 2]
        if message.role != wanted:
            raise _Wrong("repeated_role" if depth else "wrong_first_role", f"a reply of {message.role}", wanted)
        if not message.content:
            raise _Wrong("empty_answer" if depth % 2 else "empty_prompt", f"an empty message of {wanted}", "text")
        if depth >= MAX_MESSAGES:
            raise _too_many(depth + 1)
    except _Wrong as wrong:
        return _Node(parent, depth, None, wrong.problem, {})
    return _Node(parent, depth, message, None, fields)


def _path(nodes: Sequence[_Node], last: _Node) -> list[_Node]:
    path = [last]
    while path[-1].parent is not None:
        path.append(nodes[path[-1].parent])
    return path[::-1]


def _tree_examples(record: dict[str, Any]) -> list[Example | ImportProblem]:
    nodes = _tree(record)
    ends = [node for node in nodes if node.problem or (node.is_answer and not node.is_answered)]
    if not ends:
        raise _Wrong("no_answer", "a tree without answers", "one at least")
    _refuse_too_many(ends)
    return [_caught(_tree_example, nodes, node) if node.problem is None else node.problem for node in ends]


def _tree_example(nodes: Sequence[_Node], last: _Node) -> Example:
    path = _path(nodes, last)
    messages = _checked([node.message for node in path if node.message])
    ranks = [node.rank for node in path if node.is_answer and node.rank is not None]
    scores = _labels(last.fields)
    if last.rank is not None:
        scores["rank"] = last.rank
    if ranks:
        scores["worst_rank"] = max(ranks)
    return Example(messages, scores, _generator(last.fields))


def _labels(fields: Mapping[str, Any]) -> dict[str, float]:
    """Means of the labels that people gave: {name: {value}} in trees, {name: [...], value: [...]} in the flat table."""
    labels = fields.get("labels")
    if not isinstance(labels, dict):
        return {}
    names, values = labels.get("name"), labels.get("value")
    if isinstance(names, list) and isinstance(values, list):
        labels = {name: value for name, value in zip(names, values, strict=False) if isinstance(name, str)}
    found = {
        _valid(str(name))[:40]: _number(value.get("value") if isinstance(value, dict) else value)
        for name, value in list(labels.items())[:40]
    }
    return {name: number for name, number in found.items() if number is not None}


def _tree_pairs(record: dict[str, Any]) -> list[Pair | ImportProblem]:
    nodes = _tree(record)
    siblings: dict[int, list[tuple[float, int]]] = {}
    for place, node in enumerate(nodes):
        if node.is_answer and node.parent is not None and node.rank is not None:
            siblings.setdefault(node.parent, []).append((node.rank, place))
    best = {parent: min(answers) for parent, answers in siblings.items()}
    ranked = [
        (parent, best[parent], worse)
        for parent, answers in siblings.items()
        for worse in sorted(answers)
        if worse[0] > best[parent][0]
    ]
    if not ranked:
        raise _Wrong("no_pair", "no two answers of different rank to one message", "two")
    _refuse_too_many(ranked)
    return [_caught(_tree_pair, nodes, *answers) for answers in ranked]


def _tree_pair(nodes: Sequence[_Node], parent: int, best: tuple[float, int], worse: tuple[float, int]) -> Pair:
    prompt = [node.message for node in _path(nodes, nodes[parent]) if node.message]
    chosen, rejected = nodes[best[1]], nodes[worse[1]]
    generator = _generator(chosen.fields)
    answers = [[node.message] for node in (chosen, rejected) if node.message]
    return _pair(prompt, answers[0], answers[1], (-best[0], -worse[0]), generator)


def _pair(
    prompt: Sequence[Message],
    chosen: Sequence[Message],
    rejected: Sequence[Message],
    scores: tuple[float | None, float | None],
    generator: str | None,
) -> Pair:
    """A pair in canonical form."""
    whole, other = _checked([*prompt, *chosen]), _checked([*prompt, *rejected])
    size = len(whole) - len(chosen)
    if whole == other:
        raise _Wrong("chosen_equals_rejected", "one answer twice", "two that differ")
    return Pair(whole[:size], whole[size:], other[size:], scores[0], scores[1], generator)


def _preference(record: dict[str, Any]) -> list[Pair | ImportProblem]:
    if "responses" in record and "chosen" not in record:
        return [_best_and_worst(record)]
    missing = [key for key in ("chosen", "rejected") if key not in record]
    if missing:
        raise _Wrong("missing_key", _keys(record), " and ".join(missing))
    prompt = _prompt(record)
    chosen, rejected = (_answer(record[key], key) for key in ("chosen", "rejected"))
    if chosen[0].role == ASSISTANT and rejected[0].role == ASSISTANT:
        if not prompt:
            raise _Wrong("missing_key", _keys(record), " or ".join((*_PROMPT_KEYS, "conversations")))
    else:
        system = [message for message in prompt[:1] if message.role == SYSTEM and chosen[0].role != SYSTEM]
        prompt, chosen, rejected = _split(chosen, rejected)
        prompt = [*system, *prompt]
    scores = _pair_scores(record)
    return [_pair(prompt, chosen, rejected, scores, _generator(record))]


def _prompt(record: Mapping[str, Any]) -> list[Message]:
    """The messages that a record gives beside its answers; none where the answers hold them."""
    for key in _CONVERSATION_KEYS:
        if key in record:
            return [*_system(record), *_messages(record[key], key)]
    if not set(_PROMPT_KEYS) & set(record):
        return []
    key, _ = _first(record, _PROMPT_KEYS)
    if not isinstance(record[key], str):
        return [*_system(record), *_messages(record[key], key)]
    if _DIALOGUE.match(record[key]):
        messages = _dialogue(record[key])
        return messages[:-1] if messages[-1] == Message(ASSISTANT, "") else messages
    return [*_system(record), *_history(record), _asked(record, record)]


def _answer(value: object, key: str) -> list[Message]:
    """An answer, or a whole conversation that ends in one."""
    if isinstance(value, str):
        return _dialogue(value) if _DIALOGUE.match(value) else [Message(ASSISTANT, _text(value, key))]
    messages = [_message(value)] if isinstance(value, dict) else _messages(value, key)
    if not messages:
        raise _Wrong("empty_answer", f"{key} without messages", "an answer")
    return messages


def _dialogue(text: str) -> list[Message]:
    """The turns of "\\n\\nHuman: ... \\n\\nAssistant: ...", as in hh-rlhf (Bai et al. 2022)."""
    _, *parts = _DIALOGUE.split(text.replace("\r\n", "\n"))
    if len(parts) // 2 > MAX_MESSAGES:
        raise _too_many(len(parts) // 2)
    roles = {"Human": USER, "Assistant": ASSISTANT}
    return [Message(roles[who], _text(said, "text")) for who, said in zip(parts[::2], parts[1::2], strict=True)]


def _split(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message], list[Message]]:
    """What two conversations share up to a message of the user, and the rest of each."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and chosen[shared - 1].role != USER:
        shared -= 1
    if not shared:
        raise _Wrong("no_shared_prompt", "chosen and rejected that begin differently", "one prompt for both")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _pair_scores(record: Mapping[str, Any]) -> tuple[float | None, float | None]:
    found = []
    for answer in ("chosen", "rejected"):
        keys = (f"{answer}_score", f"score_{answer}", f"{answer}_reward", f"{answer}_rating")
        found.append(next((_number(record[key]) for key in keys if key in record), None))
    return found[0], found[1]


def _best_and_worst(record: Mapping[str, Any]) -> Pair:
    """Of answers with rewards the best against the worst, as Magpie makes its pairs (Xu et al. 2024)."""
    responses = record["responses"]
    rewards = next((record[key] for key in record if key.startswith(("rewards", "scores"))), None)
    if rewards is None:
        raise _Wrong("missing_key", _keys(record), "rewards")
    if not isinstance(responses, list) or not isinstance(rewards, list) or len(responses) != len(rewards):
        raise _Wrong("wrong_type", "responses and rewards that do not match", "two lists of one length")
    numbers = [_number(reward.get("score") if isinstance(reward, dict) else reward) for reward in rewards]
    scored = [(number, -place) for place, number in enumerate(numbers) if number is not None]
    if len(scored) < 2:
        raise _Wrong("no_pair", f"{len(scored)} answers with a reward", "two")
    best, worst = max(scored), min(scored)
    chosen, rejected = (_answer(responses[-place], "responses") for _, place in (best, worst))
    return _pair(_prompt(record), chosen, rejected, (best[0], worst[0]), _generator(record))
