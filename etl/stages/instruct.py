"""Instruction data: files to examples and preference pairs, a row for each record and each part that gave none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import files, tables
from etl.config import STRICT
from etl.kernels import chat, language, records, tokens
from etl.kernels.chat import Example, ImportProblem, Pair
from etl.stage import Stage
from etl.tables import Table

EXAMPLES, PAIRS = "examples", "pairs"  # values of `kind`

BATCH_ROWS = 256
BATCH_CHARACTERS = 8 << 20

PLACE = ("source", "file", "record", "part")


@dataclass(frozen=True)
class ImportParams:
    """The collection to read. A record of more than `max_record_bytes` is not read: its row says so."""

    __pydantic_config__ = STRICT

    collection: str
    max_record_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        if self.max_record_bytes < 1:
            raise ValueError(f"max_record_bytes is {self.max_record_bytes}, wanted at least 1")


def instructions(instruction_files: DataFrame, params: ImportParams) -> DataFrame:
    """One row per example of each file that has examples, and one for each record or part that gave none."""
    return _imported(instruction_files, params, tables.INSTRUCTIONS, chat.EXAMPLE_FORMATS, chat.examples, _example)


def preferences(instruction_files: DataFrame, params: ImportParams) -> DataFrame:
    """One row per pair of each file that has pairs, and one for each record or part that gave none."""
    return _imported(instruction_files, params, tables.PREFERENCES, chat.PAIR_FORMATS, chat.pairs, _pair)


Parts = Callable[[object, str], Sequence[Example | Pair | ImportProblem]]
Columns = Callable[[Any], dict[str, Any]]


def _imported(
    instruction_files: DataFrame,
    params: ImportParams,
    table: Table,
    formats: Sequence[str],
    parts: Parts,
    columns: Columns,
) -> DataFrame:
    """The rows of `table`: `parts` of each record, `columns` of each part. A file is streamed by one task."""
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in table.columns])

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch.to_pylist():
                rows = _rows(file, params.max_record_bytes, parts, columns)
                for some in _chunks(rows):
                    yield pa.RecordBatch.from_pylist(_annotated(some), schema=schema)

    is_read = (F.col("collection") == params.collection) & F.col("format").isin(*formats)
    # One file to a task: the row of a file is nothing, what is in it may be minutes of work.
    spread = instruction_files.where(is_read).repartition("source", "file")
    return spread.mapInArrow(read, table.columns_ddl)


_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TYPES = {
    **dict.fromkeys(("messages", "prompt", "chosen", "rejected"), _MESSAGES),
    **dict.fromkeys(("record", "prompt_length", "answer_length", "tokens"), pa.int64()),
    **dict.fromkeys(("part", "turns"), pa.int32()),
    **dict.fromkeys(("language_score", "chosen_score", "rejected_score"), pa.float64()),
    "scores": pa.map_(pa.string(), pa.float64()),
}


def _rows(file: dict[str, Any], max_bytes: int, parts: Parts, columns: Columns) -> Iterator[dict[str, Any]]:
    given = {name: file[name] for name in ("collection", "source", "file", "license", "generator", "category")}
    for place, record in _records(file, max_bytes):
        found = [record] if isinstance(record, ImportProblem) else parts(record, file["format"])
        for number, part in enumerate(found):
            row = {**given, "record": place, "part": number}
            if isinstance(part, ImportProblem):
                yield {**row, "import_error": str(part)}
            else:
                yield {**row, **columns(part), "generator": part.generator or file["generator"]}


def _records(file: dict[str, Any], max_bytes: int) -> Iterator[tuple[int, object]]:
    try:
        stream = files.open_stream(file["location"])
    except OSError as error:
        yield 0, ImportProblem("unreadable", error.strerror or str(error), "a file that can be opened")
        return
    with stream:
        found = records.read(stream, file["file"], max_bytes)
        yield from chat.trees(found) if file["format"] == "oasst" else found


def _example(example: Example) -> dict[str, Any]:
    before, answer = example.messages[:-1], example.messages[-1]
    return {
        "example_id": example.example_id,
        "prompt_id": example.prompt_id,
        "messages": example.messages,
        "turns": sum(message.role == chat.ASSISTANT for message in example.messages),
        "prompt_length": sum(len(message.content) for message in before),
        "answer_length": len(answer.content),
        "scores": list(example.scores.items()),
        "told": f"{before[-1].content}\n{answer.content}",
        "contents": [message.content for message in example.messages],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "example_id": pair.example_id,
        "prompt_id": pair.prompt_id,
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "chosen_score": pair.chosen_score,
        "rejected_score": pair.rejected_score,
        "prompt_length": sum(len(message.content) for message in pair.prompt),
        "answer_length": sum(len(message.content) for message in pair.chosen),
        "told": f"{pair.prompt[-1].content}\n{pair.chosen[0].content}",
        "contents": [message.content for message in (*pair.prompt, *pair.chosen, *pair.rejected)],
    }


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in lists that one Arrow batch holds with ease."""
    chunk: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(map(len, row.get("contents", ())))
        if len(chunk) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _annotated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`rows` with language and length in tokens, from the columns told and contents, which go."""
    read = [row for row in rows if "told" in row]
    lengths = iter(tokens.counter(tokens.GPT2)([text for row in read for text in row["contents"]]))
    for row, (name, score) in zip(read, language.detect([row.pop("told") for row in read]), strict=True):
        row["language"], row["language_score"] = name, score
        row["tokens"] = sum(next(lengths) for _ in row.pop("contents"))
    return rows


INSTRUCTIONS = Stage(instructions, inputs=(tables.INSTRUCTION_FILES,), output=tables.INSTRUCTIONS, params=ImportParams)
PREFERENCES = Stage(preferences, inputs=(tables.INSTRUCTION_FILES,), output=tables.PREFERENCES, params=ImportParams)
