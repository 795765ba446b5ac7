"""What we know about each document: language, quality signals, length in tokens. No row is ever dropped here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import language, pii, quality, stop_words, tokens
from etl.stage import NoParams, Stage

_KEYS = ["doc_id", "warc_filename"]


@dataclass(frozen=True)
class LanguageParams:
    """The model that names languages: lid.176.ftz, or the path of another fastText model such as GlotLID.

    `lines` also measures lines in other languages, which doubles the time. `digest` is what the file of the model held
    when the run was planned, so that another model under one name is another fingerprint; `pinned` fills it in.
    """

    __pydantic_config__ = STRICT

    model: str = language.MODEL
    lines: bool = True
    digest: str | None = None

    def pinned(self) -> LanguageParams:
        """This model as it is now.

        Raises:
            ModelError: it is missing or damaged, or is no model of languages.
        """
        language.languages(self.model)
        return replace(self, digest=language.digest(self.model))


def document_language(documents: DataFrame, params: LanguageParams) -> DataFrame:
    """One row per document with text: its most probable language, the next, its common words, and lines in others."""

    def detect(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            texts = batch.column("text")
            found = language.batch(texts, model=params.model, lines=params.lines)
            words = stop_words.counts(texts.to_pylist(), found.column("language").to_pylist())
            names = [*found.schema.names, "language_stop_words", "model"]
            yield _with_keys(batch, [*found.columns, words, pa.array([name] * len(found))], names)

    name = params.model.rpartition("/")[2]
    return _texts(documents).mapInArrow(detect, tables.DOCUMENT_LANGUAGE.columns_ddl)


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


def document_pii(documents: DataFrame, _params: NoParams) -> DataFrame:
    """One row per document with text: where it holds personal data, and how much of each kind."""

    def find(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            spans = pii.batch(batch.column("text").to_pylist())
            kinds = [Counter(span.kind for span in found) for found in spans]
            counts = [pa.array([found[kind] for found in kinds], pa.int32()) for kind in pii.KINDS]
            places = pa.array([[span._asdict() for span in found] for found in spans], _SPANS)
            yield _with_keys(batch, [*counts, places], [*tables.DOCUMENT_PII.columns[len(_KEYS) :]])

    return _texts(documents).mapInArrow(find, tables.DOCUMENT_PII.columns_ddl)


_SPANS = pa.list_(pa.struct([("kind", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))


def _texts(documents: DataFrame) -> DataFrame:
    return documents.where(F.col("text").isNotNull()).select(*_KEYS, "text")


def _ddl(columns: str) -> str:
    return f"doc_id string, warc_filename string, {columns}"


def _with_keys(batch: pa.RecordBatch, columns: list[pa.Array], names: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*(batch.column(key) for key in _KEYS), *columns], names=[*_KEYS, *names])


DOCUMENT_LANGUAGE = Stage(
    document_language, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_LANGUAGE, params=LanguageParams, version=3
)
DOCUMENT_QUALITY = Stage(document_quality, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_QUALITY)
DOCUMENT_PII = Stage(document_pii, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_PII)
DOCUMENT_TOKENS = Stage(document_tokens, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_TOKENS, params=TokenParams)
