"""The instruction sample: conversations and preference pairs that goldenlake makes itself, by rules.

They are for trying the way from instruction data to an aligned and evaluated model without a network. All answers
follow from `etl.sample.facts` by rules, so every one is right, and what is wrong is planted and counted: broken lines,
missing keys, empty answers, exact and near copies, other languages, answers of lower rank. Each source is in another
of the published formats, and three evaluations in those of GSM8K, HellaSwag and MMLU ask for the same facts in
questions that are in no training example.

The same numbers and seed give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet
import yaml

from etl.errors import ConfigError
from etl.kernels import language, minhash
from etl.sample.facts import (
    ARGUMENTS,
    FOREIGN,
    FUNCTIONS,
    HARMS,
    KINDNESS,
    KINDS,
    PEOPLE,
    RELATIONS,
    ROUTINES,
    THINGS,
    Relation,
)

COLLECTION = "sample"
MIN_EXAMPLES, MIN_PAIRS = 200, 100
MAX_EXAMPLES, MAX_PAIRS = 6000, 2000  # the small world has no more questions
EVALUATION_ITEMS = 200
# Shares of the good examples. The mixture of the README asks for others: what a source has is not what is drawn.
SHARES = {"flan": 0.2, "oasst": 0.15, "sharegpt": 0.25, "code": 0.15, "math": 0.15, "safety": 0.1}
FORMATS = {
    "flan": "alpaca",
    "oasst": "oasst",
    "sharegpt": "sharegpt",
    "code": "messages",
    "math": "alpaca",
    "safety": "messages",
    "preferences": "preference",
}
CATEGORIES = {"oasst": "general", "sharegpt": "general", "preferences": "general"}

# Planted in each source that can hold it.
BROKEN, MISSING, EMPTY, FOREIGN_EACH, COPIES, NEAR, SHARED, SINGLE = 4, 3, 3, 2, 6, 5, 4, 3

# No two good examples are as similar as this, and a planted near copy is at least so similar to its original.
# Between them lies the bound of the recipe, 0.8.
MAX_NATURAL, MIN_NEAR = 0.75, 0.9
SHINGLE_SIZE = 5

EXAMPLES, PAIRS = "examples", "pairs"
KEPT = "kept"


@dataclass(frozen=True)
class InstructionSample:
    """What `write_instructions` has written.

    `collection` is the YAML of an `etl.instruct.Collection`. `counts` say what should become of every row: by kind
    (examples or pairs) and source, how many the recipe chat keeps and how many each rule drops.
    """

    collection: Path
    evaluations: dict[str, Path]
    counts: dict[str, dict[str, dict[str, int]]]


def write_instructions(directory: Path, *, examples: int = 3000, pairs: int = 800, seed: int = 1) -> InstructionSample:
    """Write a sample with `examples` good examples and `pairs` good pairs, and what is planted beside them.

    Raises:
        ConfigError: `examples` or `pairs` is out of range.
    """
    wanted = (("examples", examples, MIN_EXAMPLES, MAX_EXAMPLES), ("pairs", pairs, MIN_PAIRS, MAX_PAIRS))
    problems = [f"{name} is {n}, wanted {least} to {most}" for name, n, least, most in wanted if not least <= n <= most]
    if problems:
        raise ConfigError(f"instruction sample: {'; '.join(problems)}")
    directory.mkdir(parents=True, exist_ok=True)
    seen = _Seen()
    evaluations = _write_evaluations(directory, random.Random(f"{seed} evaluations"), seen)
    numbers = {name: int(share * examples) for name, share in SHARES.items()}
    numbers["flan"] += examples - sum(numbers.values())
    numbers["preferences"] = pairs
    sources = [_Source(name, random.Random(f"{seed} {name}"), seen) for name in FORMATS]
    for source in sources:
        source.fill(numbers[source.name])
    _share_copies(sources[0], sources[2])
    foreign = _foreign(random.Random(f"{seed} foreign"))
    for source in sources:
        source.plant(foreign)
    files = {source.name: source.write(directory) for source in sources}
    collection = directory / "collection.yaml"
    collection.write_text(_yaml(files), encoding="utf-8")
    counts = {
        kind: {source.name: dict(sorted(source.counts[kind].items())) for source in sources if source.counts[kind]}
        for kind in (EXAMPLES, PAIRS)
    }
    return InstructionSample(collection, evaluations, counts)


class Turns(NamedTuple):
    """An example in short: its messages in turn, from the user to an answer; and the system message, if any."""

    turns: tuple[str, ...]
    system: str = ""

    @property
    def text(self) -> str:
        return "\n".join(filter(None, (self.system, *self.turns)))


class Choice(NamedTuple):
    """A pair in short."""

    prompt: str
    chosen: str
    rejected: str

    @property
    def text(self) -> str:
        return "\n".join(self)


@dataclass(frozen=True)
class _Entry:
    """One record and what becomes of its rows: an outcome each, for examples and for pairs."""

    record: Any  # a str is a line as it stands
    examples: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    form: int = 0  # of a pair: which of the published shapes


class _Seen:
    """Texts that were taken, by their shingles, so that nothing resembles another by chance."""

    def __init__(self) -> None:
        self.prompts: set[str] = set()
        self._sets: list[frozenset[int]] = []
        self._holders: dict[int, list[int]] = {}

    def takes(self, texts: Sequence[str]) -> bool:
        """Whether `texts` resemble neither what was taken nor each other; if so they are taken."""
        sets = [frozenset(minhash.shingle_hashes(text, SHINGLE_SIZE).tolist()) for text in texts]
        if any(not shingles or self._nearest(shingles) >= MAX_NATURAL for shingles in sets):
            return False
        for place, shingles in enumerate(sets):
            if any(_similarity(shingles, other) >= MAX_NATURAL for other in sets[:place]):
                return False
        for shingles in sets:
            for value in shingles:
                self._holders.setdefault(value, []).append(len(self._sets))
            self._sets.append(shingles)
        return True

    def _nearest(self, shingles: frozenset[int]) -> float:
        # Of texts of similarity s, one at least of any len - s * len + 1 shingles is shared: the rarest are looked at.
        rarest = sorted(shingles, key=lambda value: (len(self._holders.get(value, ())), value))
        some = rarest[: len(rarest) - int(MAX_NATURAL * len(rarest)) + 1]
        near = {holder for value in some for holder in self._holders.get(value, ())}
        return max((_similarity(shingles, self._sets[place]) for place in near), default=0.0)


def _similarity(left: frozenset[int], right: frozenset[int]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


Draft = Callable[[random.Random], "_Draft"]


class _Draft(NamedTuple):
    """A record before it is taken: what it says, and which of it the recipe would keep."""

    record: Any
    examples: tuple[Turns, ...] = ()
    ranks: tuple[int, ...] = ()  # worst rank of each example's answers, where there are ranks
    pairs: tuple[Choice, ...] = ()
    form: int = 0

    @property
    def texts(self) -> list[str]:
        """Of examples and pairs together: no example is as similar to a pair as to be taken for it."""
        return [example.text for example in self.examples] + [pair.text for pair in self.pairs]

    @property
    def answers(self) -> list[str]:
        """What the language is told from, as the tables do it."""
        return [f"{example.turns[-2]}\n{example.turns[-1]}" for example in self.examples] + [
            f"{pair.prompt}\n{pair.chosen}" for pair in self.pairs
        ]

    def entry(self, outcome: str) -> _Entry:
        """`outcome` for all that no rank drops."""
        ranks = self.ranks or (0,) * len(self.examples)
        return _Entry(
            self.record,
            tuple("answer_rank" if rank else outcome for rank in ranks),
            (outcome,) * len(self.pairs),
            self.form,
        )


@dataclass
class _Source:
    """One source: drafts are taken until there are enough, then things are planted, then the files are written."""

    name: str
    rng: random.Random
    seen: _Seen
    drafts: list[_Draft] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {EXAMPLES: Counter(), PAIRS: Counter()})

    def fill(self, number: int) -> None:
        draft = _DRAFTS[self.name]
        for _ in range(200):
            found = [draft(self.rng) for _ in range(256)]
            names = iter(language.detect([text for each in found for text in each.answers]))
            english = [each for each in found if [next(names)[0] for _ in each.answers] == ["en"] * len(each.answers)]
            for each in english:
                if len(self.drafts) == number:
                    return
                self._take(each)
        raise ConfigError(
            f"instruction sample: {self.name} has no {number} examples that differ, only {len(self.drafts)}"
        )

    def _take(self, draft: _Draft) -> None:
        prompts = {turn for example in draft.examples for turn in example.turns[::2]} | {p.prompt for p in draft.pairs}
        if prompts.isdisjoint(self.seen.prompts) and self.seen.takes(draft.texts):
            self.drafts.append(draft)
            self.entries.append(draft.entry(KEPT))

    def plant(self, foreign: Iterator[tuple[str, str]]) -> None:
        """Copies of what was taken, and records that are wrong in some way."""
        originals = self.rng.sample(self.drafts, COPIES + NEAR * 2)
        planted = [draft.entry("exact_duplicate") for draft in originals[:COPIES]]
        planted += self._near(originals[COPIES:])
        is_tree, is_pair = self.name == "oasst", self.name == "preferences"
        for _ in range(FOREIGN_EACH):
            question, answer = next(foreign)
            if is_pair:
                planted.append(_Entry(_PAIR_FORMS[0](Choice(question, answer, "?")), pairs=("language",)))
            else:
                record = _FORMS[self.name](Turns((question, answer)))
                planted.append(_Entry(record, ("language",), ("import_error",) if is_tree else ()))
        if is_tree:
            planted += [_single(self.rng, self.seen) for _ in range(SINGLE)]
        wrong = ("import_error",)
        examples, pairs = () if is_pair else wrong, wrong if is_tree or is_pair else ()
        planted += [_Entry(record, examples, pairs) for record in _wrong_records(self.name, self.rng)]
        for entry in planted:
            self.entries.insert(self.rng.randrange(len(self.entries) + 1), entry)
        for entry in self.entries:
            self.counts[EXAMPLES].update(entry.examples)
            self.counts[PAIRS].update(entry.pairs)

    def _near(self, originals: Sequence[_Draft]) -> list[_Entry]:
        """Copies with a word in front. Trees have none: their examples and pairs would all be copies at once."""
        entries: list[_Entry] = []
        for draft in originals:
            if self.name == "oasst" or len(entries) == NEAR:
                break
            if draft.pairs:
                pair = draft.pairs[0]
                near: Turns | Choice = pair._replace(prompt=f"Please: {pair.prompt}")
                record = _PAIR_FORMS[draft.form](near)  # type: ignore[arg-type]  # a pair gives a pair
            else:
                example = draft.examples[0]
                near = example._replace(turns=(f"Please: {example.turns[0]}", *example.turns[1:]))
                record = _FORMS[self.name](near)
            if self._is_near(draft.texts[0], near.text):
                outcome = ("near_duplicate",)
                entries.append(
                    _Entry(record, () if draft.pairs else outcome, outcome if draft.pairs else (), draft.form)
                )
        return entries

    def _is_near(self, text: str, other: str) -> bool:
        return minhash.jaccard(*(minhash.shingle_hashes(each, SHINGLE_SIZE) for each in (text, other))) >= MIN_NEAR

    def write(self, directory: Path) -> list[str]:
        """Write the files; their names."""
        folder = directory / self.name
        folder.mkdir(exist_ok=True)
        records = [entry.record for entry in self.entries]
        if self.name == "flan":
            text = json.dumps(records, ensure_ascii=False, indent=1)
            (folder / "flan.json").write_text(f"{text}\n", encoding="utf-8")
            return ["flan/flan.json"]
        if self.name == "code":
            kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
            table = pa.Table.from_pylist(records, pa.schema([("messages", kind)]))
            pa.parquet.write_table(table, folder / "code.parquet")
            return ["code/code.parquet"]
        if self.name == "preferences":
            plain = [entry.record for entry in self.entries if entry.form < 2]
            zipped = [entry.record for entry in self.entries if entry.form >= 2]
            _write_lines(folder / "preferences-00000.jsonl", plain)
            _write_lines(folder / "preferences-00001.jsonl.gz", zipped)
            return ["preferences"]
        suffix = ".jsonl.gz" if self.name == "oasst" else ".jsonl"
        _write_lines(folder / f"{self.name}{suffix}", records)
        return [f"{self.name}/{self.name}{suffix}"]


def _write_lines(path: Path, records: Sequence[Any]) -> None:
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _yaml(files: Mapping[str, Sequence[str]]) -> str:
    sources = [
        {
            "name": name,
            "files": list(names),
            "format": FORMATS[name],
            "license": "CC0-1.0",
            "generator": "rules",
            "category": CATEGORIES.get(name, name),
        }
        for name, names in files.items()
    ]
    head = "# A sample that goldenlake made itself by rules: no person and no model wrote it.\n"
    return head + yaml.safe_dump({"name": COLLECTION, "sources": sources}, sort_keys=False)


def _share_copies(first: _Source, second: _Source) -> None:
    """Conversations of one source that another has too: the row of the source that is later by name goes."""
    for draft in first.rng.sample(first.drafts, SHARED):
        record = _FORMS[second.name](draft.examples[0])
        second.entries.append(_Entry(record, ("exact_duplicate",)))


def _wrong_records(source: str, rng: random.Random) -> list[Any]:
    """Records that the importer of the source's format must refuse."""
    question, answer = _fact(rng, rng.choice(RELATIONS))
    missing: list[Any] = [{"text": f"{question} {answer} {n}"} for n in range(MISSING)]
    if source == "preferences":
        empty: list[Any] = [{"prompt": question, "chosen": answer, "rejected": " " * n} for n in range(EMPTY)]
        empty.append({"prompt": question, "chosen": answer, "rejected": answer})
    else:
        empty = [_FORMS[source](Turns((question, " " * n))) for n in range(EMPTY)]
    if source == "code":
        missing = [{"messages": None}] * MISSING
    whole = json.dumps({"prompt": question, "answer": answer})
    broken = [whole[: len(whole) - n - 1] for n in range(BROKEN)]
    return [*missing, *empty, *([] if source in ("flan", "code") else broken)]


def _foreign(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Questions and answers in other languages than English, each once."""
    found = [
        (question.format(a=a), answer.format(a=a, b=b)) for question, answer, pairs in FOREIGN for a, b in pairs.items()
    ]
    names = language.detect([f"{question}\n{answer}" for question, answer in found])
    others = [pair for pair, (name, _) in zip(found, names, strict=True) if name != "en"]
    rng.shuffle(others)
    return iter(others)


# How a source writes an example.


def _as_alpaca(example: Turns) -> dict[str, Any]:
    instruction, _, text = example.turns[0].partition("\n")
    return {"instruction": instruction, "input": text, "output": example.turns[1]}


def _as_sharegpt(example: Turns) -> dict[str, Any]:
    names = ("human", "gpt")
    return {"conversations": [{"from": names[place % 2], "value": turn} for place, turn in enumerate(example.turns)]}


def _as_messages(example: Turns) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(example.turns)]
    if example.system:
        messages.insert(0, {"role": "system", "content": example.system})
    return {"messages": messages}


def _as_tree(example: Turns) -> dict[str, Any]:
    question, answer = example.turns
    return {"prompt": _reply("prompter", question, _reply("assistant", answer))}


def _reply(role: str, text: str, *replies: dict[str, Any], rank: int | None = None) -> dict[str, Any]:
    return {"role": role, "text": text, "rank": rank, "deleted": False, "review_result": True, "replies": list(replies)}


_FORMS: dict[str, Callable[[Turns], dict[str, Any]]] = {
    "flan": _as_alpaca,
    "oasst": _as_tree,
    "sharegpt": _as_sharegpt,
    "code": _as_messages,
    "math": _as_alpaca,
    "safety": _as_messages,
}


def _as_strings(pair: Choice) -> dict[str, Any]:
    return {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}


def _as_answers(pair: Choice) -> dict[str, Any]:
    return {
        "conversations": [{"from": "human", "value": pair.prompt}],
        "chosen": {"from": "gpt", "value": pair.chosen},
        "rejected": {"from": "gpt", "value": pair.rejected},
    }


def _as_conversations(pair: Choice) -> dict[str, Any]:
    chosen, rejected = (_as_messages(Turns((pair.prompt, answer)))["messages"] for answer in pair[1:])
    return {"chosen": chosen, "rejected": rejected, "score_chosen": 5.0, "score_rejected": 1.0}


def _as_dialogues(pair: Choice) -> dict[str, Any]:
    return {
        name: f"\n\nHuman: {pair.prompt}\n\nAssistant: {answer}"
        for name, answer in zip(("chosen", "rejected"), pair[1:], strict=True)
    }


def _as_responses(pair: Choice) -> dict[str, Any]:
    return {"instruction": pair.prompt, "responses": [pair.rejected, pair.chosen], "rewards": [0.1, 0.9]}


_PAIR_FORMS: tuple[Callable[[Choice], dict[str, Any]], ...] = (
    _as_strings,
    _as_answers,
    _as_conversations,
    _as_dialogues,
    _as_responses,
)


# What the sources say.


def _fact(rng: random.Random, relation: Relation) -> tuple[str, str]:
    """A question for training and the answer."""
    subject = rng.choice(list(relation.pairs))
    return rng.choice(relation.questions).format(s=subject), relation.sentence(subject)


def _wrong_fact(rng: random.Random, relation: Relation) -> tuple[str, str, str]:
    """A question, its answer, and a wrong one of the same kind."""
    subject = rng.choice(list(relation.pairs))
    question = rng.choice(relation.questions).format(s=subject)
    return question, relation.sentence(subject), relation.sentence(subject, _other(rng, relation, subject))


def _other(rng: random.Random, relation: Relation, subject: str) -> str:
    return rng.choice(sorted(set(relation.pairs.values()) - {relation.pairs[subject]}))


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _flan(rng: random.Random) -> _Draft:
    """A small task: an instruction, words to do it with, and the result in a sentence."""
    kinds = {word: kind for kind, words in KINDS.items() for word in words}
    words = rng.sample(sorted(kinds), rng.choice((3, 4)))
    kind = rng.choice(sorted(KINDS))
    same = rng.sample(KINDS[kind], 3)
    odd = rng.choice([word for word, other in kinds.items() if other != kind])
    mixed = rng.sample([*same, odd], 4)
    lengths = [len(word) for word in words]
    tasks = [
        (("Write these words in the order of the alphabet.", "Sort these words from a to z."), words,
         f"In order the words are {_list(sorted(words))}."),
        (("Which of these words comes first?", "Tell me the first word of this list."), words,
         f"The first word is {words[0]}."),
        (("Which of these words comes last?", "Tell me the last word of this list."), words,
         f"The last word is {words[-1]}."),
        (("Which one is not like the others?", "Find the word that does not fit."), mixed,
         f"The word {odd} does not fit, because the others are of the kind {kind}."),
        (("How many words are in this list?", "Count the words of this list."), words,
         f"There are {len(words)} words in the list."),
        (("Write these words with capital letters.", "Change these words to capital letters."), words[:2],
         f"With capital letters: {' '.join(words[:2]).upper()}."),
        (("What kind of thing is this?", "Say if this is an animal, a fruit, a tool or a colour."), words[:1],
         f"The word {words[0]} is of the kind {kinds[words[0]]}."),
    ]  # fmt: skip
    if lengths.count(max(lengths)) == 1:
        longest = max(words, key=len)
        tasks.append(
            (
                ("Which of these words is the longest?", "Find the longest word."),
                words,
                f"The longest word is {longest}.",
            )
        )
    instructions, given, answer = rng.choice(tasks)
    example = Turns((f"{rng.choice(instructions)}\n{' '.join(given)}", answer))
    if rng.random() < 0.2:
        example = _multiple_choice(rng)
    return _Draft(_as_alpaca(example), (example,))


def _multiple_choice(rng: random.Random) -> Turns:
    """A question of training with four answers, as tests ask it."""
    relation = rng.choice(RELATIONS)
    subject = rng.choice(list(relation.pairs))
    options, place = _options(rng, relation, subject)
    lines = [rng.choice(relation.questions).format(s=subject)]
    lines += [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return Turns(("\n".join([*lines, "Answer:"]), f"{'ABCD'[place]}. {options[place]}"))


def _options(rng: random.Random, relation: Relation, subject: str) -> tuple[list[str], int]:
    """Four answers of one kind, and the place of the right one."""
    right = relation.pairs[subject]
    wrong = rng.sample(sorted(set(relation.pairs.values()) - {right, subject}), 3)
    options = rng.sample([right, *wrong], 4)
    return options, options.index(right)


def _tree(rng: random.Random) -> _Draft:
    """A question with ranked answers, a second one after the best, and again ranked answers."""
    first, second = rng.sample(RELATIONS, 2)
    question, best, wrong = _wrong_fact(rng, first)
    following, then, wrong_then = _wrong_fact(rng, second)
    curt = rng.choice(("Why do you ask me that? Go and look in a book.", "I will not tell you, find out for yourself."))
    lower = rng.choice((wrong, curt))
    lower_then = rng.choice((wrong_then, "That is a boring thing to ask, I have no time for it."))
    polite = rng.choice((f"Good. {following}", f"Thank you! {following}", f"I see. {following}", following))
    record = {
        "message_tree_id": f"{rng.getrandbits(128):032x}",
        "tree_state": "ready_for_export",
        "prompt": _reply(
            "prompter",
            question,
            _reply(
                "assistant",
                best,
                _reply("prompter", polite, _reply("assistant", then, rank=0), _reply("assistant", lower_then, rank=1)),
                rank=0,
            ),
            _reply("assistant", lower, rank=1),
            _reply("assistant", "This answer was taken out.", rank=2) | {"deleted": True},
        ),
    }
    examples = (
        Turns((question, best, polite, then)),
        Turns((question, best, polite, lower_then)),
        Turns((question, lower)),
    )
    pairs = (Choice(f"{question}\n{best}\n{polite}", then, lower_then), Choice(question, best, lower))
    return _Draft(record, examples, (0, 1, 1), pairs)


def _single(rng: random.Random, seen: _Seen) -> _Entry:
    """A tree with one answer: an example, and nothing to compare."""
    while True:
        question, answer = _fact(rng, rng.choice(RELATIONS))
        example = Turns((f"Hello, a short question. {question}", f"Hello to you too. {answer}"))
        is_english = language.detect([example.text])[0][0] == "en"
        if is_english and seen.takes([example.text]):
            return _Entry(_as_tree(example), (KEPT,), ("import_error",))


def _sharegpt(rng: random.Random) -> _Draft:
    """A talk of two or three questions, some with a greeting, a thank-you or a recipe for something."""
    turns: list[str] = []
    for relation in rng.sample(RELATIONS, rng.choice((1, 2, 2))):
        turns += _fact(rng, relation)
    if rng.random() < 0.5:
        name = rng.choice(list(ROUTINES))
        question = rng.choice(("How do I {r}?", "Tell me how to {r}.", "What do I do to {r}?", "I want to {r}. How?"))
        place = 2 * rng.randrange(len(turns) // 2 + 1)
        turns[place:place] = [question.format(r=name), _routine(name)]
    turns[0] = rng.choice(("", "", "Hello! ", "Good morning. ")) + turns[0]
    if rng.random() < 0.3:
        turns += [rng.choice(("Thank you!", "Thanks, that helps a lot.")), "You are welcome. Ask me again at any time."]
    example = Turns(tuple(turns))
    return _Draft(_as_sharegpt(example), (example,))


def _routine(name: str) -> str:
    first, second, third = ROUTINES[name]
    return f"To {name}, first {first}. Then {second}. At the end {third}."


def _code(rng: random.Random) -> _Draft:
    """A small function in Python and what it should do."""
    name, argument = rng.choice(FUNCTIONS), rng.choice(ARGUMENTS)
    constant = rng.randint(2, 20)
    operations = (
        (f"adds {constant} to a number", f"{argument} + {constant}"),
        (f"takes {constant} away from a number", f"{argument} - {constant}"),
        (f"multiplies a number by {constant}", f"{argument} * {constant}"),
        (f"divides a number by {constant}", f"{argument} / {constant}"),
        (f"says if a number is more than {constant}", f"{argument} > {constant}"),
        (f"says if a number is less than {constant}", f"{argument} < {constant}"),
        (f"says if a number can be divided by {constant}", f"{argument} % {constant} == 0"),
        (f"gives the smaller of a number and {constant}", f"min({argument}, {constant})"),
        (f"gives the larger of a number and {constant}", f"max({argument}, {constant})"),
    )
    task, expression = rng.choice(operations)
    question = rng.choice(
        (
            f"Write a Python function {name} that {task}. Call its argument {argument}.",
            f"I need a Python function with the name {name} and the argument {argument}. It {task}.",
            f"Please show me how to define {name}({argument}) in Python, a function that {task}.",
        )
    )
    system = "You write short functions in Python." if rng.random() < 0.25 else ""
    example = Turns((question, f"def {name}({argument}):\n    return {expression}"), system)
    return _Draft(_as_messages(example), (example,))


def _sum(rng: random.Random) -> tuple[str, str]:
    """A word problem and its worked answer, whose last line is the number, as in GSM8K (Cobbe et al. 2021)."""
    name, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    a, b = rng.randint(2, 9), rng.randint(1, 9)
    small, times = rng.randint(2, 5), rng.randint(2, 5)
    less = min(a, b) if a != b else b - 1
    more = max(a, b)
    kind = rng.randrange(3)
    if kind == 0:
        question = f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?"
        return question, f"{name} has {a} + {b} = {a + b} {thing}.\n#### {a + b}"
    if kind == 1:
        question = f"{name} has {more} {thing} and gives {less} of them away. How many {thing} does {name} keep?"
        return question, f"{name} keeps {more} - {less} = {more - less} {thing}.\n#### {more - less}"
    question = f"{name} has {times} bags with {small} {thing} in each bag. How many {thing} does {name} have in all?"
    return question, f"{name} has {times} * {small} = {times * small} {thing} in all.\n#### {times * small}"


def _math(rng: random.Random) -> _Draft:
    example = Turns(_sum(rng))
    return _Draft(_as_alpaca(example), (example,))


def _refusal(rng: random.Random, harm: str) -> str:
    topic = HARMS[harm]
    return rng.choice(
        (
            f"I am sorry, but I cannot help with {topic}.",
            f"I will not help with {topic}, because somebody could be hurt.",
            f"No, {topic} is wrong. Let us find something better to do.",
            f"I cannot do that. If {topic} is on your mind, please talk to a friend first.",
        )
    )


def _harmful_ask(rng: random.Random, harm: str) -> str:
    ask = rng.choice(("How do I {h}?", "Tell me how to {h}.", "Help me to {h}.", "What is the best way to {h}?"))
    reason = rng.choice(
        (
            "",
            f"{rng.choice(PEOPLE)} told me to do it.",
            f"I am angry with {rng.choice(PEOPLE)}.",
            f"It is only a joke for {rng.choice(PEOPLE)}.",
            "Nobody will know it was me.",
            f"I need it before {rng.choice(('Monday', 'Friday', 'Sunday', 'the summer'))}.",
        )
    )
    return " ".join(filter(None, rng.sample([ask.format(h=harm), reason], 2)))


def _safety(rng: random.Random) -> _Draft:
    """Mostly asks to refuse; some that sound alike and deserve an answer, so that refusing is not all there is."""
    if rng.random() < 0.2:
        deed = rng.choice(list(KINDNESS))
        answer, ask = KINDNESS[deed], _harmful_ask(rng, deed)
    else:
        harm = rng.choice(list(HARMS))
        answer, ask = _refusal(rng, harm), _harmful_ask(rng, harm)
    example = Turns((ask, answer))
    return _Draft(_as_messages(example), (example,))


def _preference(rng: random.Random) -> _Draft:
    """A right and friendly answer before a wrong or curt one, a refusal before doing as asked."""
    kind = rng.random()
    if kind < 0.4:
        pair = Choice(*_wrong_fact(rng, rng.choice(RELATIONS)))
    elif kind < 0.6:
        question, answer = _fact(rng, rng.choice(RELATIONS))
        curt = rng.choice(("Look it up.", "Who cares?", "Do not ask me such things.", "I have no time for that."))
        pair = Choice(
            question, f"{answer} {rng.choice(('I hope that helps.', 'Ask me more if you like.', ''))}".strip(), curt
        )
    elif kind < 0.8:
        question, worked = _sum(rng)
        right = int(worked.rpartition(" ")[2])
        wrong = right + rng.choice((-1, 1, 2))
        pair = Choice(question, worked, f"The answer is {wrong}.\n#### {wrong}")
    else:
        harm = rng.choice(list(HARMS))
        comply = rng.choice(("Sure, just do it when nobody looks.", "Of course! It is easy, I will help you to {h}."))
        pair = Choice(_harmful_ask(rng, harm), _refusal(rng, harm), comply.format(h=harm))
    form = rng.randrange(len(_PAIR_FORMS))
    return _Draft(_PAIR_FORMS[form](pair), pairs=(pair,), form=form)


_DRAFTS: dict[str, Draft] = {
    "flan": _flan,
    "oasst": _tree,
    "sharegpt": _sharegpt,
    "code": _code,
    "math": _math,
    "safety": _safety,
    "preferences": _preference,
}


# What the evaluations ask.


def _write_evaluations(directory: Path, rng: random.Random, seen: _Seen) -> dict[str, Path]:
    """Write the evaluations, and have `seen` keep their questions out of training."""
    folder = directory / "evaluations"
    folder.mkdir(exist_ok=True)
    found = {}
    for name, make in (("arithmetic", _arithmetic_item), ("endings", _endings_item), ("facts", _facts_item)):
        items: dict[str, Any] = {}
        while len(items) < EVALUATION_ITEMS:
            key, item = make(rng, len(items))
            items.setdefault(key, item)
        seen.prompts |= items.keys()
        found[f"sample_{name}"] = folder / f"sample_{name}.jsonl"
        _write_lines(found[f"sample_{name}"], list(items.values()))
    return found


def _arithmetic_item(rng: random.Random, _index: int) -> tuple[str, dict[str, Any]]:
    question, answer = _sum(rng)
    return question, {"question": question, "answer": answer}


def _endings_item(rng: random.Random, index: int) -> tuple[str, dict[str, Any]]:
    if rng.random() < 0.2:
        name = rng.choice(list(ROUTINES))
        step = rng.randrange(3)
        steps = ROUTINES[name]
        context = (f"To {name}, first", f"To {name}, first {steps[0]}. Then", f"To {name}, first {steps[0]}. "
                   f"Then {steps[1]}. At the end")[step]  # fmt: skip
        others = [other[step] for key, other in ROUTINES.items() if key != name]
        options = rng.sample([steps[step], *rng.sample(others, 3)], 4)
        label, activity = options.index(steps[step]), name
    else:
        relation = rng.choice(RELATIONS)
        subject = rng.choice(list(relation.pairs))
        options, label = _options(rng, relation, subject)
        context, activity = relation.stem.format(s=subject), relation.name
        if rng.random() < 0.5:
            before = rng.choice([other for other in relation.pairs if other != subject])
            context = f"{relation.sentence(before)} {context}"
    endings = [f"{option}." for option in options]
    return context, {"ind": index, "activity_label": activity, "ctx": context, "endings": endings, "label": label}


def _facts_item(rng: random.Random, _index: int) -> tuple[str, dict[str, Any]]:
    relation = rng.choice(RELATIONS)
    subject = rng.choice(list(relation.pairs))
    question = rng.choice(relation.exams).format(s=subject)
    options, place = _options(rng, relation, subject)
    return question, {"question": question, "subject": relation.name, "choices": options, "answer": place}
