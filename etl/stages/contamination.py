"""Which documents and which instructions hold items of benchmarks. No row is ever dropped here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import stage, tables
from etl.config import STRICT
from etl.errors import ConfigError
from etl.kernels import benchmarks, contamination
from etl.kernels.benchmarks import BenchmarkFile
from etl.kernels.contamination import Index, Match, Settings
from etl.stage import Stage
from etl.stages.instruct import EXAMPLES, PAIRS, PLACE

logger = logging.getLogger(__name__)

_KEYS = ["doc_id", "warc_filename"]


@dataclass(frozen=True)
class ContaminationParams:
    """The benchmarks that are looked for, and what counts as a find.

    `digests` is what their files held when the run was planned, so that other items are another fingerprint. It is
    filled in by `pinned` and never written by hand.
    """

    __pydantic_config__ = STRICT

    benchmarks: tuple[BenchmarkFile, ...]
    settings: Settings = field(default_factory=Settings)
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("benchmarks is empty, wanted one at least: without items nothing can be found")

    def pinned(self) -> ContaminationParams:
        """These benchmarks as they are now.

        Raises:
            InputError: files are missing or have records that are no items.
        """
        found = replace(self, digests=benchmarks.digests(self.benchmarks))
        _index(found)
        return found


@dataclass(frozen=True)
class InstructionContaminationParams(ContaminationParams):
    """The same for the instructions and preferences of a collection."""

    __pydantic_config__ = STRICT

    collection: str = field(kw_only=True)


def document_contamination(documents: DataFrame, params: ContaminationParams) -> DataFrame:
    """One row per document with text: the items of benchmarks in it, none in most.

    The index is made where the plan is and travels with it, so executors need no copy of the files.

    Raises:
        ConfigError: files have changed since the params were pinned.
        InputError: they are missing or have records that are no items.
    """
    index = _checked_index(params)

    def search(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [[match._asdict() for match in of] for of in contamination.find(_texts(batch), index)]
            keys = {name: batch.column(name) for name in _KEYS}
            yield _batch(keys, found, _DOCUMENT_MATCHES)

    texts = documents.where(F.col("text").isNotNull()).select(*_KEYS, "text")
    return texts.mapInArrow(search, tables.DOCUMENT_CONTAMINATION.columns_ddl)


def instruction_contamination(
    instructions: DataFrame, preferences: DataFrame, params: InstructionContaminationParams
) -> DataFrame:
    """One row per example or pair of the collection in which items of benchmarks were found, message by message.

    Raises:
        ConfigError, InputError: as `document_contamination`.
    """
    index = _checked_index(params)

    def search(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            said = batch.column("said").to_pylist()
            of_message = iter(contamination.find([message["content"] for row in said for message in row], index))
            found = [[_in_message(message, match) for message in row for match in next(of_message)] for row in said]
            rows = [row for row, matches in enumerate(found) if matches]
            keys = {name: batch.column(name).take(pa.array(rows, pa.int64())) for name in keep}
            yield _batch(keys, [found[row] for row in rows], _INSTRUCTION_MATCHES)

    keep = ["collection", "kind", *PLACE, "example_id"]
    texts = _said(instructions, EXAMPLES, ["messages"], params.collection).unionByName(
        _said(preferences, PAIRS, ["prompt", "chosen", "rejected"], params.collection)
    )
    return texts.mapInArrow(search, tables.INSTRUCTION_CONTAMINATION.columns_ddl)


_MATCH_TYPES: list[tuple[str, pa.DataType]] = [
    *((name, pa.string()) for name in ("benchmark", "item", "part", "kind")),
    ("overlap", pa.float64()),
    ("start", pa.int32()),
    ("end", pa.int32()),
]
_DOCUMENT_MATCHES = pa.list_(pa.struct(_MATCH_TYPES))
_INSTRUCTION_MATCHES = pa.list_(pa.struct([("column", pa.string()), ("message", pa.int32()), *_MATCH_TYPES]))


def _texts(batch: pa.RecordBatch) -> list[str]:
    texts: list[str] = batch.column("text").to_pylist()
    return texts


def _batch(
    keys: dict[str, pa.Array], found: Sequence[Sequence[dict[str, Any]]], matches: pa.DataType
) -> pa.RecordBatch:
    """`keys`, and of each row what was found as columns."""
    columns = {
        **keys,
        "contaminated_items": pa.array([len({(m["benchmark"], m["item"]) for m in of}) for of in found], pa.int32()),
        "contamination": pa.array([max((m["overlap"] for m in of), default=0.0) for of in found], pa.float64()),
        "benchmarks": pa.array([sorted({m["benchmark"] for m in of}) for of in found], pa.list_(pa.string())),
        "matches": pa.array(found, matches),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _in_message(message: dict[str, Any], match: Match) -> dict[str, Any]:
    return {"column": message["column"], "message": message["message"], **match._asdict()}


def _said(rows: DataFrame, kind: str, columns: Sequence[str], collection: str) -> DataFrame:
    """Of each example its place, its id, and what is said in it, message by message."""

    def of(name: str) -> Column:
        return F.transform(
            name,
            lambda message, place: F.struct(
                F.lit(name).alias("column"), place.cast("int").alias("message"), message["content"].alias("content")
            ),
        )

    is_example = (F.col("collection") == collection) & F.col("example_id").isNotNull()
    return rows.where(is_example).select(
        "collection", F.lit(kind).alias("kind"), *PLACE, "example_id", F.concat(*map(of, columns)).alias("said")
    )


def _checked_index(params: ContaminationParams) -> Index:
    """The index of the files as they were when the params were pinned; as they are, if they were not."""
    digests = benchmarks.digests(params.benchmarks)
    if params.digests and params.digests != digests:
        changed = sorted({line.split()[0] for line in set(digests) ^ set(params.digests)})
        raise ConfigError(f"benchmarks have changed since the run was planned: {', '.join(changed)}")
    return _index(replace(params, digests=digests))


_last_index: dict[str, Index] = {}  # at most one: it takes seconds to make, and is asked for twice a run


def _index(params: ContaminationParams) -> Index:
    key = stage.digest([[asdict(each) for each in params.benchmarks], asdict(params.settings), params.digests])
    if key not in _last_index:
        index = contamination.build(benchmarks.read(params.benchmarks), params.settings)
        for line in index.report:
            logger.info(
                "benchmark %s: %d of %d items can be found (%d as a whole); %d are too short, %d too common",
                *(line.benchmark, line.tested, line.items, line.as_whole, line.too_short, line.too_common),
            )
        _last_index.clear()
        _last_index[key] = index
    return _last_index[key]


DOCUMENT_CONTAMINATION = Stage(
    document_contamination, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_CONTAMINATION, params=ContaminationParams
)
INSTRUCTION_CONTAMINATION = Stage(
    instruction_contamination,
    inputs=(tables.INSTRUCTIONS, tables.PREFERENCES),
    output=tables.INSTRUCTION_CONTAMINATION,
    params=InstructionContaminationParams,
)
