"""What we know about each document: language, quality signals, length in tokens. No row is ever dropped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import language, quality, tokens
from etl.stage import NoParams, Stage

_KEYS = ["doc_id", "warc_filename"]


def document_language(documents: DataFrame, _params: NoParams) -> DataFrame:
    """One row per document with text: its most probable language by fastText lid.176 (Joulin et al. 2016)."""

    def detect(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = language.detect(batch.column("text").to_pylist())
            names, scores = zip(*found, strict=True) if found else ((), ())
            columns = [pa.array(names, pa.string()), pa.array(scores, pa.float64())]
            yield _with_keys(batch, columns, ["language", "language_score"])

    found = _texts(documents).mapInArrow(detect, _ddl("language string, language_score double"))
    return found.select(*_KEYS, "language", "language_score", F.lit(language.MODEL).alias("model"))


def document_quality(documents: DataFrame, _params: NoParams) -> DataFrame:
    """One row per document with text: the signals that Gopher, C4, FineWeb and RefinedWeb filter by."""

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            signals = quality.batch(batch.column("text"))
            yield _with_keys(batch, signals.columns, signals.schema.names)

    return _texts(documents).mapInArrow(measure, tables.DOCUMENT_QUALITY.columns_ddl)


@dataclass(frozen=True)
class TokenParams:
    """Tokenizer that lengths are counted with: gpt2, bytes, or the path of a tokenizer.json."""

    __pydantic_config__ = STRICT

    tokenizer: str = "gpt2"


def document_tokens(documents: DataFrame, params: TokenParams) -> DataFrame:
    """One row per document with text: its length in tokens."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counter = tokens.counter(params.tokenizer)
        for batch in batches:
            lengths = pa.array(counter(batch.column("text").to_pylist()), pa.int64())
            yield _with_keys(batch, [lengths], ["tokens"])

    counted = _texts(documents).mapInArrow(count, _ddl("tokens bigint"))
    return counted.select(*_KEYS, F.lit(params.tokenizer).alias("tokenizer"), "tokens")


def _texts(documents: DataFrame) -> DataFrame:
    return documents.where(F.col("text").isNotNull()).select(*_KEYS, "text")


def _ddl(columns: str) -> str:
    return f"doc_id string, warc_filename string, {columns}"


def _with_keys(batch: pa.RecordBatch, columns: list[pa.Array], names: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*(batch.column(key) for key in _KEYS), *columns], names=[*_KEYS, *names])


DOCUMENT_LANGUAGE = Stage(document_language, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_LANGUAGE)
DOCUMENT_QUALITY = Stage(document_quality, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_QUALITY)
DOCUMENT_TOKENS = Stage(document_tokens, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_TOKENS, params=TokenParams)
