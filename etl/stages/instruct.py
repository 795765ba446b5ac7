"""Instruction data: files to examples and preference pairs, which of them repeat others, and what a recipe keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import files, tables
from etl.config import STRICT
from etl.kernels import chat, language, minhash, records, tokens
from etl.kernels.chat import Example, ImportProblem, Pair
from etl.kernels.minhash import Geometry
from etl.stage import Stage
from etl.stages.rules import Rule
from etl.tables import Table

EXAMPLES, PAIRS = "examples", "pairs"  # values of `kind`
EXACT, NEAR = "exact", "minhash"  # values of `method`
MIN_SIMILARITY = 0.8  # of near duplicates, as FineWeb's bands find them (Penedo et al. 2024)

BATCH_ROWS = 256
BATCH_CHARACTERS = 8 << 20

PLACE = ("source", "file", "record", "part")
_SCORE = re.compile(r"scores\.\w+")


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


@dataclass(frozen=True)
class DuplicateParams:
    """How near duplicates of a collection are found: shingles of words, bands that propose, a similarity that decides.

    14 bands of 8 rows, as FineWeb: of texts of similarity 0.8 they propose 92 %, of 0.9 all but 0.04 %.
    A bucket, the texts that share a band, of more than `max_bucket` proposes each of them only with the `max_bucket`
    of smallest id, so that a phrase which all of a source repeats does not compare all with all. Copies of one text
    are still found so; what is missed are neighbours that meet in no other bucket.
    """

    __pydantic_config__ = STRICT

    collection: str
    similarity: float = MIN_SIMILARITY
    shingle_size: int = 5
    bands: int = 14
    rows: int = 8
    max_bucket: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, wanted at least 1"
            for name in ("shingle_size", "bands", "rows", "max_bucket")
            if getattr(self, name) < 1
        ]
        if not 0 < self.similarity <= 1:
            problems.append(f"similarity is {self.similarity:g}, wanted more than 0, at most 1")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def geometry(self) -> Geometry:
        """Which shingles are compared, and which bands propose."""
        return Geometry(
            "instructions", "", "", size=self.shingle_size, bands=self.bands, rows=self.rows, seed=self.seed
        )


def instruction_duplicates(instructions: DataFrame, preferences: DataFrame, params: DuplicateParams) -> DataFrame:
    """One row per example that repeats another: exactly one with a smaller place, or nearly one with a smaller id.

    Neighbours are two that share a band and are as similar as asked. Of the examples without a row no two are: a row
    names its smallest neighbour, and of any two the one of greater id has a row. All is decided by ids and places, so
    partitions change nothing.
    """
    texts = _texts(instructions, EXAMPLES, ["messages"], params.collection).unionByName(
        _texts(preferences, PAIRS, ["prompt", "chosen", "rejected"], params.collection)
    )
    same = Window.partitionBy("kind", "example_id").orderBy(*PLACE)
    is_copy = F.row_number().over(same) > 1
    numbered = texts.select("collection", "kind", *PLACE, "example_id", is_copy.alias("is_copy"))
    # Key: `_neighbours` has one row per kind and example_id.
    found = numbered.join(_neighbours(texts, params), ["kind", "example_id"], how="left")
    is_exact, is_near = F.col("is_copy"), F.col("near").isNotNull()
    return found.where(is_exact | is_near).select(
        "collection",
        "kind",
        *PLACE,
        "example_id",
        F.when(is_exact, EXACT).otherwise(NEAR).alias("method"),
        F.when(is_exact, F.col("example_id")).otherwise(F.col("near")).alias("duplicate_of"),
        F.when(is_exact, 1.0).otherwise(F.col("similarity")).alias("similarity"),
    )


def _texts(rows: DataFrame, kind: str, columns: Sequence[str], collection: str) -> DataFrame:
    """Of each example its place, its id and all that is said in it."""
    contents = F.transform(F.concat(*columns), lambda message: message["content"])
    is_example = (F.col("collection") == collection) & F.col("example_id").isNotNull()
    return rows.where(is_example).select(
        "collection", F.lit(kind).alias("kind"), *PLACE, "example_id", F.array_join(contents, "\n").alias("text")
    )


def _neighbours(texts: DataFrame, params: DuplicateParams) -> DataFrame:
    """One row (kind, example_id, near, similarity) per example with a neighbour of smaller id: the smallest."""
    bands = texts.select("kind", "example_id", "text").mapInArrow(
        partial(_banded, geometry=params.geometry), "kind string, example_id string, bands array<bigint>"
    )
    buckets = (
        bands.select("kind", "example_id", F.posexplode("bands").alias("band", "band_hash"))
        .groupBy("kind", "band", "band_hash")
        .agg(F.array_sort(F.collect_set("example_id")).alias("members"))
        .where(F.size("members") > 1)
    )
    candidates = (
        buckets.select("kind", "members", F.explode(F.slice("members", 1, params.max_bucket)).alias("near"))
        .select("kind", "near", F.explode("members").alias("other"))
        .where(F.col("near") < F.col("other"))
        .distinct()
    )
    both = candidates.select("kind", "near", "other", F.explode(F.array("near", "other")).alias("example_id"))
    # Key: an id has one text, so of its copies any will do.
    unique = texts.select("kind", "example_id", "text").dropDuplicates(["kind", "example_id"])
    pairs = (
        both.join(unique, ["kind", "example_id"], how="inner")
        .groupBy("kind", "near", "other")
        .agg(F.collect_list("text").alias("texts"))
    )
    compared = pairs.mapInArrow(
        partial(_compared, geometry=params.geometry), "kind string, near string, other string, similarity double"
    )
    verified = compared.where(F.col("similarity") >= params.similarity)
    smallest = verified.groupBy("kind", "other").agg(F.min(F.struct("near", "similarity")).alias("found"))
    return smallest.select("kind", F.col("other").alias("example_id"), "found.near", "found.similarity")


def _banded(batches: Iterable[pa.RecordBatch], geometry: Geometry) -> Iterator[pa.RecordBatch]:
    """Band hashes of the texts of each batch; those without words have none."""
    keys = ["kind", "example_id"]
    for batch in batches:
        bands = minhash.batch(batch.column("text"), geometry).column("bands")
        yield pa.RecordBatch.from_arrays([*(batch.column(key) for key in keys), bands], names=[*keys, "bands"])


def _compared(batches: Iterable[pa.RecordBatch], geometry: Geometry) -> Iterator[pa.RecordBatch]:
    """The similarity of the two texts of each row; it is the same in either order."""
    keys = ["kind", "near", "other"]
    for batch in batches:
        flat = batch.column("texts").flatten().to_pylist()
        similarities, _ = minhash.compare(flat[::2], flat[1::2], geometry)
        yield pa.RecordBatch.from_arrays(
            [*(batch.column(key) for key in keys), pa.array(similarities, pa.float64())], names=[*keys, "similarity"]
        )


@dataclass(frozen=True)
class InstructionRule(Rule):
    """A condition on a column of `instructions` or `preferences`, or on what a source says: ``scores.<name>``.

    A rule counts for the tables that have its column, and a rule on a score for the examples that have it, as only
    some sources score. Any other signal that is missing fails.
    """

    __pydantic_config__ = STRICT

    @property
    def is_score(self) -> bool:
        return _SCORE.fullmatch(self.signal) is not None

    def is_known(self) -> bool:
        return self.is_score or any(self.is_of(table) for table in (tables.INSTRUCTIONS, tables.PREFERENCES))

    def is_of(self, table: Table) -> bool:
        """Whether the rule counts for a table."""
        return self.column in _signals(table)

    @property
    def column(self) -> str:
        return "scores" if self.is_score else self.signal

    def fails(self) -> Column:
        fails = super().fails()
        return F.col(self.signal).isNotNull() & fails if self.is_score else fails


def _signals(table: Table) -> set[str]:
    """Columns with one value to judge, and the scores."""
    return set(table.columns) - {"messages", "prompt", "chosen", "rejected", "import_error"}


@dataclass(frozen=True)
class InstructionRecipe:
    """Which examples and pairs are kept, by rules in order; the first that fails names the drop, then come duplicates.

    Of exact copies that pass every rule, the one of smallest place is kept. An example whose similarity to one of
    smaller id is `max_similarity` or more is dropped; null keeps near copies. Which example that is does not depend on
    the recipe: a near copy of one that a rule drops goes with it. An example that holds more of an item of a benchmark
    than `max_contamination`, a share, is dropped; null looks for none.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    rules: tuple[InstructionRule, ...]
    max_similarity: float | None = MIN_SIMILARITY
    max_contamination: float | None = None

    def __post_init__(self) -> None:
        problems = []
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"rules named twice: {', '.join(twice)}")
        if self.max_similarity is not None and not MIN_SIMILARITY <= self.max_similarity <= 1:
            problems.append(
                f"max_similarity is {self.max_similarity:g}, wanted {MIN_SIMILARITY:g} to 1: "
                "instruction_duplicates knows no lower one"
            )
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class InstructionDispositionParams:
    """The collection, and the recipe that decides about it."""

    __pydantic_config__ = STRICT

    collection: str
    recipe: InstructionRecipe


def instruction_dispositions(
    instructions: DataFrame,
    preferences: DataFrame,
    instruction_duplicates: DataFrame,
    instruction_contamination: DataFrame,
    params: InstructionDispositionParams,
) -> DataFrame:
    """One row per row of `instructions` and of `preferences`: kept, or dropped by which rule, and why.

    Key: of each kind, `instruction_duplicates` has at most one row of method minhash per example_id.
    """
    recipe, of_collection = params.recipe, F.col("collection") == params.collection
    given = _signals_of(instructions, EXAMPLES, preferences, recipe).unionByName(
        _signals_of(preferences, PAIRS, instructions, recipe)
    )
    near = instruction_duplicates.where(of_collection & (F.col("method") == NEAR)).select(
        "kind", "example_id", F.col("duplicate_of").alias("near"), "similarity"
    )
    error = F.col("import_error")
    unread = F.when(error.isNotNull(), _reason("import_error", "import_error", error))
    found = instruction_contamination.where(of_collection).select("kind", *PLACE, "contamination", "benchmarks")
    # Key: `instruction_contamination` has at most one row per place.
    given = given.where(of_collection).join(found, ["kind", *PLACE], how="left")
    failed = F.coalesce(
        unread, _contaminated(recipe), *[F.when(_fails(rule), _rule_reason(rule)) for rule in recipe.rules]
    )
    judged = given.withColumn("reason", failed).join(near, ["kind", "example_id"], how="left")
    final = _with_near_copies(_with_copies(judged), recipe.max_similarity)
    return final.select(
        F.lit(recipe.name).alias("recipe"),
        "collection",
        "kind",
        *PLACE,
        "example_id",
        F.when(F.col("reason").isNull(), "kept").otherwise("dropped").alias("decision"),
        *[F.col(f"reason.{name}").alias(name) for name in ("rule", "signal", "value", "threshold", "detail")],
        "duplicate_of",
    )


def _signals_of(rows: DataFrame, kind: str, others: DataFrame, recipe: InstructionRecipe) -> DataFrame:
    """Place, id and what the rules read; null for the columns that only the `others` have."""
    ruled = {rule.column for rule in recipe.rules}
    read = sorted(ruled.union({"language"}).difference({"collection", *PLACE, "example_id"}))
    columns = [
        name if name in rows.columns else F.lit(None).cast(others.schema[name].dataType).alias(name) for name in read
    ]
    return rows.select("collection", F.lit(kind).alias("kind"), *PLACE, "example_id", "import_error", *columns)


def _fails(rule: InstructionRule) -> Column:
    kinds = ((EXAMPLES, tables.INSTRUCTIONS), (PAIRS, tables.PREFERENCES))
    return F.col("kind").isin(*[kind for kind, table in kinds if rule.is_of(table)]) & rule.fails()


def _with_copies(judged: DataFrame) -> DataFrame:
    """`judged`, where of the copies of one example that pass every rule all but the first have a reason."""
    place, passes = F.struct(*PLACE), F.col("reason").isNull()
    # Rows without an example are their own copies, so that they do not meet in one partition.
    same = Window.partitionBy("kind", F.coalesce("example_id", F.concat_ws(" ", *PLACE)))
    marked = judged.withColumn("first", F.min(F.when(passes, place)).over(same))
    is_copy = passes & (F.col("first") != place)
    first = (F.col(f"first.{name}") for name in ("record", "source", "file"))
    reason = _reason("exact_duplicate", "example_id", F.format_string("the same as record %d of %s/%s", *first))
    return marked.withColumn("duplicate_of", F.when(is_copy, F.col("example_id"))).withColumn(
        "reason", F.when(is_copy, reason).otherwise(F.col("reason"))
    )


def _with_near_copies(judged: DataFrame, bound: float | None) -> DataFrame:
    """`judged`, where each that passes so far and is too similar to one of smaller id has a reason."""
    if bound is None:
        return judged
    similarity = F.col("similarity")
    is_near = F.col("reason").isNull() & F.coalesce(similarity >= bound, F.lit(False))
    detail = F.concat(
        F.format_string("similarity is %.3f to ", similarity), "near", F.lit(f", wanted less than {bound:g}")
    )
    reason = _reason("near_duplicate", "similarity", detail, similarity, bound)
    return judged.withColumn(
        "duplicate_of", F.when(is_near, F.col("near")).otherwise(F.col("duplicate_of"))
    ).withColumn("reason", F.when(is_near, reason).otherwise(F.col("reason")))


def _contaminated(recipe: InstructionRecipe) -> Column:
    """Why an example is dropped that holds items of benchmarks, or null."""
    bound, value = recipe.max_contamination, F.col("contamination")
    if bound is None:
        return F.lit(None)
    items = F.concat(F.lit("holds items of "), F.array_join("benchmarks", ", "))
    share = F.format_string(f", %.3f of one, wanted at most {bound:g}", value)
    return F.when(value > bound, _reason("contaminated", "contamination", F.concat(items, share), value, bound))


def _rule_reason(rule: InstructionRule) -> Column:
    value = F.col(rule.signal)
    is_value = F.concat(F.lit(f"{rule.signal} is "), F.coalesce(value.cast("string"), F.lit("missing")))
    number = None if rule.threshold is None else value
    return _reason(rule.name, rule.signal, F.concat(is_value, F.lit(f", wanted {rule.wanted()}")), number, rule.bound())


def _reason(
    rule: str, signal: str, detail: Column, value: Column | None = None, threshold: float | Column | None = None
) -> Column:
    number = F.lit(None) if value is None else value
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(signal).alias("signal"),
        number.cast("double").alias("value"),
        F.lit(threshold).cast("double").alias("threshold"),
        detail.alias("detail"),
    )


INSTRUCTIONS = Stage(instructions, inputs=(tables.INSTRUCTION_FILES,), output=tables.INSTRUCTIONS, params=ImportParams)
PREFERENCES = Stage(preferences, inputs=(tables.INSTRUCTION_FILES,), output=tables.PREFERENCES, params=ImportParams)
INSTRUCTION_DUPLICATES = Stage(
    instruction_duplicates,
    inputs=(tables.INSTRUCTIONS, tables.PREFERENCES),
    output=tables.INSTRUCTION_DUPLICATES,
    params=DuplicateParams,
)
INSTRUCTION_DISPOSITIONS = Stage(
    instruction_dispositions,
    inputs=(
        tables.INSTRUCTIONS,
        tables.PREFERENCES,
        tables.INSTRUCTION_DUPLICATES,
        tables.INSTRUCTION_CONTAMINATION,
    ),
    output=tables.INSTRUCTION_DISPOSITIONS,
    params=InstructionDispositionParams,
)
