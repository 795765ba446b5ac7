"""The instruction sample is what it says it is: repeatable, right, and with planted copies alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from etl import instruct
from etl.errors import ConfigError
from etl.kernels import chat, language, minhash, records
from etl.kernels.chat import Example, Pair
from etl.sample.facts import RELATIONS
from etl.sample.instructions import MAX_EXAMPLES, MAX_NATURAL, MIN_NEAR, InstructionSample, write_instructions


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> InstructionSample:
    return write_instructions(tmp_path_factory.mktemp("sample"), examples=400, pairs=150)


@pytest.fixture(scope="module")
def parts(sample: InstructionSample) -> dict[str, list[Any]]:
    """Every example, pair and problem of each source, by the kernels alone."""
    found: dict[str, list[Any]] = {}
    for file in instruct.locate(instruct.load(sample.collection)):
        with open(file.location, "rb") as stream:
            for _, record in records.read(stream, file.name, 1 << 20):
                read = chat.pairs if file.source.format == "preference" else chat.examples
                is_broken = isinstance(record, records.ImportProblem)
                found.setdefault(file.source.name, []).extend(
                    [record] if is_broken else read(record, file.source.format)
                )
    return found


def bytes_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(sample: InstructionSample, tmp_path: Path) -> None:
    again = write_instructions(tmp_path / "again", examples=400, pairs=150)
    assert bytes_of(tmp_path / "again") == bytes_of(sample.collection.parent)
    assert again.counts == sample.counts
    other = write_instructions(tmp_path / "other", examples=400, pairs=150, seed=2)
    assert bytes_of(tmp_path / "other") != bytes_of(tmp_path / "again")
    assert other.counts.keys() == sample.counts.keys()


def test_every_format_is_there(sample: InstructionSample) -> None:
    collection = instruct.load(sample.collection)
    assert {source.format for source in collection.sources} == set(chat.FORMATS)
    assert {(source.license, source.generator) for source in collection.sources} == {("CC0-1.0", "rules")}
    assert "A sample that goldenlake made itself" in sample.collection.read_text()
    suffixes = {"".join(Path(file.name).suffixes) for file in instruct.locate(collection)}
    assert suffixes == {".json", ".jsonl", ".jsonl.gz", ".parquet"}


def test_as_many_are_good_as_were_asked_for(sample: InstructionSample) -> None:
    kept = {kind: sum(rules["kept"] for rules in sources.values()) for kind, sources in sample.counts.items()}
    assert kept["examples"] - 3 == 400, "and the three trees with one answer"
    assert sample.counts["pairs"]["preferences"]["kept"] == 150


def test_counts_are_of_every_row(sample: InstructionSample, parts: dict[str, list[Any]]) -> None:
    for source, found in parts.items():
        kind = "pairs" if source == "preferences" else "examples"
        counts = Counter(sample.counts[kind][source])
        assert counts.total() == len(found), source
        assert counts["import_error"] == sum(not isinstance(part, Example | Pair) for part in found), source


def test_only_planted_copies_are_alike(sample: InstructionSample, parts: dict[str, list[Any]]) -> None:
    """All compared with all, exactly: texts are the same, or planted near copies, or clearly different."""
    texts: dict[str, tuple[str, str]] = {}
    for source, found in parts.items():
        for part in found:
            if isinstance(part, Example):
                texts[part.example_id] = (source, "\n".join(message.content for message in part.messages))
            elif isinstance(part, Pair):
                told = (*part.prompt, *part.chosen, *part.rejected)
                texts[part.example_id] = (source, "\n".join(message.content for message in told))
    sets = {one: set(minhash.shingle_hashes(text, 5).tolist()) for one, (_, text) in texts.items()}
    holders: dict[int, list[str]] = {}
    near: Counter[str] = Counter()
    for one, shingles in sets.items():
        shared = Counter(other for value in shingles for other in holders.get(value, ()))
        for other, number in shared.items():
            similarity = number / (len(shingles) + len(sets[other]) - number)
            assert similarity < MAX_NATURAL or similarity >= MIN_NEAR, (texts[one], texts[other])
            near[texts[one][0]] += similarity >= MIN_NEAR
        for value in shingles:
            holders.setdefault(value, []).append(one)
    planted = {
        source: rules["near_duplicate"]
        for sources in sample.counts.values()
        for source, rules in sources.items()
        if "near_duplicate" in rules
    }
    assert {source: number for source, number in near.items() if number} == planted
    assert len(planted) == 6


def test_answers_are_short_and_english(parts: dict[str, list[Any]]) -> None:
    examples = [part for found in parts.values() for part in found if isinstance(part, Example)]
    lengths = [len(part.messages[-1].content.split()) for part in examples]
    assert min(lengths) >= 1
    assert max(lengths) <= 40
    names = language.detect([f"{part.messages[-2].content}\n{part.messages[-1].content}" for part in examples])
    others = sum(name != "en" for name, _ in names)
    assert others == 2 * 6, "two of each source are planted"


def test_sums_are_right(sample: InstructionSample, parts: dict[str, list[Any]]) -> None:
    answers = [part.messages[-1].content for part in parts["math"] if isinstance(part, Example)]
    items = sample.evaluations["sample_arithmetic"].read_text().splitlines()
    answers += [json.loads(line)["answer"] for line in items]
    worked = [re.search(r"(\d+) ([-+*]) (\d+) = (\d+) .*\n#### (\d+)\Z", answer) for answer in answers]
    sums = [match.groups() for match in worked if match]
    assert len(answers) - len(sums) == 2, "all but the two in other languages"
    for left, sign, right, result, last in sums:
        assert {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[sign] == int(
            result
        )
        assert result == last


def test_functions_do_what_is_asked(parts: dict[str, list[Any]]) -> None:
    examples = [part for part in parts["code"] if isinstance(part, Example) and "def " in part.messages[-1].content]
    assert len(examples) > 50
    for example in examples:
        names: dict[str, Any] = {}
        exec(example.messages[-1].content, names)
        (function,) = [value for name, value in names.items() if name != "__builtins__"]
        question = example.messages[-2].content
        assert function.__name__ in question
        (constant,) = map(int, re.findall(r"\d+", question))
        if "adds" in question:
            assert function(7) == 7 + constant
        elif "more than" in question:
            assert function(constant + 1)
            assert not function(constant)


def test_evaluations_have_the_published_keys_and_right_labels(sample: InstructionSample) -> None:
    items = {
        name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in sample.evaluations.items()
    }
    assert {name: sorted(found[0]) for name, found in items.items()} == {
        "sample_arithmetic": ["answer", "question"],
        "sample_endings": ["activity_label", "ctx", "endings", "ind", "label"],
        "sample_facts": ["answer", "choices", "question", "subject"],
    }
    relations = {relation.name: relation for relation in RELATIONS}
    for item in items["sample_facts"]:
        relation = relations[item["subject"]]
        right = item["choices"][item["answer"]]
        asked = [exam.format(s=s) for s, o in relation.pairs.items() for exam in relation.exams if o == right]
        assert item["question"] in asked
        assert len(set(item["choices"])) == 4
    for item in items["sample_endings"]:
        assert len(set(item["endings"])) == 4
        if item["activity_label"] in relations:
            relation = relations[item["activity_label"]]
            sentence = f"{item['ctx']} {item['endings'][item['label']]}"
            assert sentence.endswith(tuple(relation.sentence(subject) for subject in relation.pairs))


def test_more_than_the_world_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"examples is 10, wanted 200 to 6000; pairs is 5000, wanted 100 to 2000"):
        write_instructions(tmp_path, examples=10, pairs=5000)


def test_the_largest_sample_can_be_made(tmp_path: Path) -> None:
    found = write_instructions(tmp_path, examples=MAX_EXAMPLES, pairs=2000, seed=3)
    assert found.counts["examples"]["flan"]["kept"] == 1200
