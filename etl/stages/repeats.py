"""Lines, paragraphs and runs of words that documents of a corpus repeat of each other, as spans. No text changes here.

Scope is what a recipe keeps, after whole duplicates are gone, so that copies of a page make nothing in it repeated.
Every count and order is of that scope alone: the rows do not depend on partitions or on the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import repeats
from etl.kernels.repeats import LINE, PARAGRAPH, SUBSTRING
from etl.stage import Stage

# Which document of those that have a text in common keeps it.
FIRST, NONE = KEEPS = ("first", "none")


@dataclass(frozen=True)
class LineParams:
    """Lines are boilerplate when most pages of one host have them, or very many of any, and then no page needs them.

    By host, at least `host_documents` documents have the line, which is at least `host_share` of those of the host:
    the first is where Llama 3 removes a line (2024, section 3.1.1: more than 6 times, there of 30 million documents),
    the second spares what a site writes about again and again, such as a line of code. null for never.
    Anywhere, at least `documents` have it; null for never. `min_host_words` and `min_words` are the shortest lines
    that count by host and anywhere: headings such as "Ingredients" are part of many texts.
    `keep`: the first document, by fetch_time and then doc_id, keeps the line on each host and anywhere (first), or
    none does.
    """

    __pydantic_config__ = STRICT

    host_documents: int | None = 7
    host_share: float = 0.5
    min_host_words: int = 4
    documents: int | None = 100
    min_words: int = 10
    keep: str = NONE

    def __post_init__(self) -> None:
        problems = [
            *_problems("host_documents", self.host_documents, least=2),
            *_problems("min_host_words", self.min_host_words, least=1),
            *_problems("documents", self.documents, least=2),
            *_problems("min_words", self.min_words, least=1),
            *_keep_problems(self.keep),
        ]
        if not 0 <= self.host_share <= 1:
            problems.append(f"host_share is {self.host_share}, wanted 0 to 1")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def shortest(self) -> int:
        """Words of the shortest line that may count."""
        return self.min_words if self.host_documents is None else min(self.min_host_words, self.min_words)


@dataclass(frozen=True)
class ParagraphParams:
    """Paragraphs that two documents have are copies, and the first keeps them: CCNet (Wenzek et al. 2020, section 3.2).

    CCNet compares paragraphs of any length. Here they have at least `min_words` words, as headings between blank
    lines are paragraphs too. `documents` and `keep` are as in `LineParams`.
    """

    __pydantic_config__ = STRICT

    documents: int = 2
    min_words: int = 20
    keep: str = FIRST

    def __post_init__(self) -> None:
        problems = [
            *_problems("documents", self.documents, least=2),
            *_problems("min_words", self.min_words, least=1),
            *_keep_problems(self.keep),
        ]
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def shortest(self) -> int:
        """Words of the shortest paragraph that may count."""
        return self.min_words


@dataclass(frozen=True)
class SubstringParams:
    """Runs of `words` words that two documents have: 50 tokens in Lee et al. 2022, of a tokenizer; here they are words.

    `keep`: the first document, by fetch_time and then doc_id, keeps its run, or none does, as in that paper.
    """

    __pydantic_config__ = STRICT

    words: int = 50
    keep: str = FIRST

    def __post_init__(self) -> None:
        problems = [*_problems("words", self.words, least=2), *_keep_problems(self.keep)]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class RepeatParams:
    """The recipe whose kept documents are compared, and what counts as repeated; a kind that is null is not looked for.

    The bounds do not depend on how large the corpus is, and are not scaled to it.
    """

    __pydantic_config__ = STRICT

    recipe: str
    line: LineParams | None = field(default_factory=LineParams)
    paragraph: ParagraphParams | None = field(default_factory=ParagraphParams)
    substring: SubstringParams | None = field(default_factory=SubstringParams)


def document_repeats(dispositions: DataFrame, documents: DataFrame, params: RepeatParams) -> DataFrame:
    """One row per kept document in which something is repeated, with the spans.

    Key: documents have one row per doc_id, and the semi join adds none.
    """
    is_kept = (F.col("recipe") == params.recipe) & (F.col("decision") == "kept")
    texts = documents.where(F.col("text").isNotNull()).select("doc_id", "url_host_name", "fetch_time", "text")
    texts = texts.join(dispositions.where(is_kept).select("doc_id"), "doc_id", how="left_semi")
    found = [_blocks(texts, params.line, params.paragraph)]
    if params.substring is not None:
        found.append(_substrings(texts, params.substring))
    spans = reduce(DataFrame.unionByName, found)
    rows = spans.groupBy("doc_id").agg(
        F.sort_array(F.collect_list(F.struct("start", "end", "kind", "documents"))).alias("found")
    )
    return rows.select(
        F.lit(params.recipe).alias("recipe"),
        "doc_id",
        *[_count(kind).alias(f"{kind}s") for kind in repeats.KINDS],
        _covered("found").alias("repeated_characters"),
        F.transform("found", lambda span: F.struct(span["kind"], span["start"], span["end"], span["documents"])).alias(
            "spans"
        ),
    )


_ROWS = 1 << 16  # of one batch that leaves Python


def _blocks(texts: DataFrame, line: LineParams | None, paragraph: ParagraphParams | None) -> DataFrame:
    """Spans of the lines and paragraphs that are repeated: doc_id, kind, start, end, documents.

    Counted by windows, which spill: a line may be on every page that there is.
    """
    wanted = {LINE: line, PARAGRAPH: paragraph}
    shortest = {kind: params.shortest for kind, params in wanted.items() if params is not None}

    def split(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from _with_parents(batch, map(blocks_of, batch.column("text").to_pylist()), _BLOCK)

    def blocks_of(text: str) -> Iterator[list[Any]]:
        seen = set()
        rows = []
        for kind, number, words, start, end in repeats.blocks(text, shortest):
            if words >= shortest[kind]:
                # A document counts once for a line, however often it has it.
                is_new = (kind, number) not in seen
                seen.add((kind, number))
                rows.append((kind, number, words, start, end, is_new))
            if len(rows) == _ROWS:
                yield list(zip(*rows, strict=True))
                rows = []
        if rows:
            yield list(zip(*rows, strict=True))

    same = Window.partitionBy("kind", "hash")
    same_on_host = Window.partitionBy("kind", "hash", "url_host_name")
    documents = F.sum(F.col("is_new").cast("bigint"))
    first = F.min(F.struct("fetch_time", "doc_id"))
    found = texts.mapInArrow(split, f"{_PARENT_DDL}, {_BLOCK_DDL}")
    counted = found.select(
        "doc_id",
        "url_host_name",
        "kind",
        "words",
        "start",
        "end",
        documents.over(same).alias("documents"),
        first.over(same)["doc_id"].alias("first"),
        documents.over(same_on_host).alias("host_documents"),
        first.over(same_on_host)["doc_id"].alias("host_first"),
    )
    anywhere = F.lit(False)
    for kind, params in wanted.items():
        if params is not None and params.documents is not None:
            is_often = (F.col("documents") >= params.documents) & (F.col("words") >= params.min_words)
            anywhere |= (F.col("kind") == kind) & is_often & _loses(params.keep, "first")
    if line is None or line.host_documents is None:
        return counted.where(anywhere).select(*_SPAN)
    # Pages of no host are not pages of one host.
    is_often = (F.col("host_documents") >= line.host_documents) & F.col("url_host_name").isNotNull()
    is_long = F.col("words") >= line.min_host_words
    on_host = (F.col("kind") == LINE) & is_often & is_long & _loses(line.keep, "host_first")
    # Key: one row per url_host_name. Few lines come as far as to be compared with the size of their host.
    hosts = texts.groupBy("url_host_name").agg(F.count(F.lit(1)).alias("host_size"))
    sized = counted.where(anywhere | on_host).join(hosts, "url_host_name", how="left")
    is_most = F.col("host_documents") >= F.lit(line.host_share) * F.col("host_size")
    return sized.where(anywhere | (on_host & is_most)).select(*_SPAN)


def _loses(keep: str, first: str) -> Column:
    """The document does not keep what it shares with the document `first`."""
    return F.lit(True) if keep == NONE else F.col("doc_id") != F.col(first)


def _substrings(texts: DataFrame, params: SubstringParams) -> DataFrame:
    """Spans of the runs of words that are repeated: doc_id, kind, start, end, documents.

    Linear in the number of words, however many documents have a run: hashes meet in windows, never documents in pairs.
    Each run of the shortest length that documents share is left to the first of them; what the others have of such
    runs, one after the other, is one span. So no word of a span is lost to the corpus: the first document of all that
    have a run around it keeps it.
    """
    length = params.words

    def fingerprints_of(text: str) -> Iterator[list[Any]]:
        yield [repeats.fingerprints(text, length)]

    def runs_of(text: str, shared: Any) -> Iterator[list[Any]]:
        for runs in repeats.candidates(text, shared, length):
            for row in range(0, runs.hashes.size, _ROWS):
                yield [values[row : row + _ROWS] for values in (runs.hashes.view(np.int64), runs.starts, runs.ends)]

    def fingerprint(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from _with_parents(batch, map(fingerprints_of, batch.column("text").to_pylist()), _HASH)

    def compare(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            shared = (scalar.values.to_numpy() for scalar in batch.column("shared"))
            yield from _with_parents(batch, map(runs_of, batch.column("text").to_pylist(), shared), _RUN)

    prints = texts.mapInArrow(fingerprint, f"{_PARENT_DDL}, hash bigint").select("doc_id", "hash")
    holders = F.count(F.lit(1)).over(Window.partitionBy("hash"))
    shared = prints.select("doc_id", "hash", holders.alias("holders")).where(F.col("holders") >= 2)
    shared = shared.groupBy("doc_id").agg(F.collect_list("hash").alias("shared"))
    # Key: `shared` has one row per doc_id.
    runs = texts.join(shared, "doc_id", how="inner").mapInArrow(compare, f"{_PARENT_DDL}, {_RUN_DDL}")
    same = Window.partitionBy("hash")
    # A document may have a run twice, so documents are counted by their ranks.
    ranked = runs.select(
        "doc_id",
        "hash",
        "start",
        "end",
        F.dense_rank().over(same.orderBy("fetch_time", "doc_id")).cast("bigint").alias("rank"),
    )
    counted = ranked.select("doc_id", "start", "end", "rank", F.max("rank").over(same).alias("documents"))
    least_rank = 2 if params.keep == FIRST else 1
    is_repeated = (F.col("documents") >= 2) & (F.col("rank") >= least_rank)
    merged = _merged(counted.where(is_repeated))
    return merged.select("doc_id", F.lit(SUBSTRING).alias("kind"), "start", "end", "documents")


def _merged(spans: DataFrame) -> DataFrame:
    """Spans that overlap, of one document, as one: from the first start to the last end, with the most documents."""
    in_order = Window.partitionBy("doc_id").orderBy("start", "end")
    before = in_order.rowsBetween(Window.unboundedPreceding, -1)
    up_to_here = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    is_apart = F.coalesce(F.col("start") > F.max("end").over(before), F.lit(True))
    numbered = spans.withColumn("is_apart", is_apart.cast("int"))
    numbered = numbered.withColumn("number", F.sum("is_apart").over(up_to_here))
    return numbered.groupBy("doc_id", "number").agg(
        F.min("start").alias("start"), F.max("end").alias("end"), F.max("documents").alias("documents")
    )


_PARENT = ["doc_id", "url_host_name", "fetch_time"]
_PARENT_DDL = "doc_id string, url_host_name string, fetch_time timestamp"
_SPAN = ["doc_id", "kind", "start", "end", "documents"]
_BLOCK = [
    ("kind", pa.string()),
    ("hash", pa.int64()),
    ("words", pa.int32()),
    ("start", pa.int32()),
    ("end", pa.int32()),
    ("is_new", pa.bool_()),
]
_BLOCK_DDL = "kind string, hash bigint, words int, start int, end int, is_new boolean"
_HASH = [("hash", pa.int64())]
_RUN = [("hash", pa.int64()), ("start", pa.int32()), ("end", pa.int32())]
_RUN_DDL = "hash bigint, start int, end int"


def _with_parents(
    batch: pa.RecordBatch, found: Iterable[Iterator[list[Any]]], columns: Sequence[tuple[str, pa.DataType]]
) -> Iterator[pa.RecordBatch]:
    """The rows found in each text of `batch`, beside what the stage needs of the document; some `_ROWS` at a time.

    `found` has for each text some lists of values, one for each of `columns`.
    """
    parents: list[int] = []
    parts: list[list[pa.Array]] = []

    def flush() -> Iterator[pa.RecordBatch]:
        if parts:
            rows = pa.array(parents, pa.int64())
            arrays = [batch.column(name).take(rows) for name in _PARENT]
            arrays += [pa.concat_arrays(column) for column in zip(*parts, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=[*_PARENT, *(name for name, _ in columns)])

    for row, lists in enumerate(found):
        for values in lists:
            arrays = [pa.array(value, kind) for value, (_, kind) in zip(values, columns, strict=True)]
            parents += [row] * len(arrays[0])
            parts.append(arrays)
            if len(parents) >= _ROWS:
                yield from flush()
                parents, parts = [], []
    yield from flush()


def _count(kind: str) -> Column:
    return F.size(F.filter("found", lambda span: span["kind"] == kind)).cast("int")


def _covered(spans: str) -> Column:
    """Characters that spans, in order of their starts, cover."""
    zero = F.lit(0).cast("bigint")

    def add(state: Column, span: Column) -> Column:
        more = F.greatest(zero, span["end"] - F.greatest(span["start"].cast("bigint"), state["reach"]))
        reach = F.greatest(state["reach"], span["end"].cast("bigint"))
        return F.struct((state["covered"] + more).alias("covered"), reach.alias("reach"))

    start = F.struct(zero.alias("covered"), zero.alias("reach"))
    return F.aggregate(spans, start, add, lambda state: state["covered"])


def _problems(name: str, value: int | None, least: int) -> list[str]:
    return [f"{name} is {value}, wanted at least {least}"] if value is not None and value < least else []


def _keep_problems(keep: str) -> list[str]:
    return [] if keep in KEEPS else [f"keep is {keep!r}, wanted {' or '.join(KEEPS)}"]


DOCUMENT_REPEATS = Stage(
    document_repeats,
    inputs=(tables.DISPOSITIONS, tables.DOCUMENTS),
    output=tables.DOCUMENT_REPEATS,
    params=RepeatParams,
)
