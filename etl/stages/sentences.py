"""Sentences and tokens by our own kernel; `etl.stages.spark_nlp` makes the same table within the JVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.kernels import sentences
from etl.stage import NoParams, Stage


def document_sentences(documents: DataFrame, _params: NoParams) -> DataFrame:
    """One row per document with text: where its sentences stand."""

    def find(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = sentences.batch(batch.column("text").to_pylist())
            engine = pa.array([sentences.ENGINE] * len(found), pa.string())
            columns = [batch.column("doc_id"), batch.column("warc_filename"), engine, *found.columns]
            yield pa.RecordBatch.from_arrays(columns, names=list(tables.DOCUMENT_SENTENCES.columns))

    texts = documents.where(F.col("text").isNotNull()).select("doc_id", "warc_filename", "text")
    return texts.mapInArrow(find, tables.DOCUMENT_SENTENCES.columns_ddl)


DOCUMENT_SENTENCES = Stage(document_sentences, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_SENTENCES)
