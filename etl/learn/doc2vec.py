"""Train Doc2Vec within the JVM on the documents of a lake: vectors of what this lake is about, for any language.

Spark NLP averages over a document the vectors of its words that Word2Vec learned from all of them. The same documents
give the same vectors on any partitions: they are read in the order of their ids, and with one partition of training
nothing depends on which task ends first.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Pipeline
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import job, session, tables
from etl.config import STRICT
from etl.errors import InputError
from etl.stages import spark_nlp

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doc2VecParams:
    """Training of word vectors: `dimensions` of each, words within `window` of each other, seen `min_count` times.

    `documents` bounds those that are trained on, by the hash of their ids. `partitions` above one are trained on their
    own in each of `iterations` and then averaged: faster on a cluster, a little worse, and no longer the same bits.
    """

    __pydantic_config__ = STRICT

    dimensions: int = 100
    window: int = 5
    min_count: int = 5
    iterations: int = 5
    documents: int = 100_000
    partitions: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        wrong = [f"{name} is {value}, wanted at least 1" for name, value in vars(self).items() if value < 1]
        if wrong:
            raise ValueError("; ".join(wrong))


def train(documents: DataFrame, params: Doc2VecParams, folder: str) -> None:
    """Learn vectors from the texts of `documents` and save the model in `folder`, in place of what is there.

    Raises:
        InputError: there is no text to learn from.
        SessionError: Spark NLP is missing.
    """
    _, annotator = spark_nlp.annotators(documents)
    texts = spark_nlp.lowered(documents).select("doc_id", "text")
    drawn = texts.orderBy(F.xxhash64("doc_id", F.lit(params.seed)), "doc_id").limit(params.documents)
    if not drawn.head(1):
        raise InputError("doc2vec: the lake has no documents with text to learn from")
    learner = (
        annotator.Doc2VecApproach()
        .setInputCols(["token"])
        .setOutputCol("vectors")
        .setVectorSize(params.dimensions)
        .setWindowSize(params.window)
        .setMinCount(params.min_count)
        .setMaxIter(params.iterations)
        .setNumPartitions(params.partitions)
        .setSeed(params.seed)
    )
    pipeline = Pipeline(stages=[*spark_nlp.tokenized(documents), learner])
    model: Any = pipeline.fit(drawn.coalesce(1)).stages[-1]
    model.write().overwrite().save(folder)


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """The command line of ``jobs/train_doc2vec.py``."""
    options = _parser(doc).parse_args(argv)
    os.environ.setdefault(session.NLP_VARIABLE, "1")
    logging.getLogger("etl").setLevel(logging.INFO)
    with job.reported_errors():
        params = Doc2VecParams(options.dimensions, documents=options.documents, partitions=options.partitions)
        lake = job.open_lake(options)
        documents = lake.read(tables.DOCUMENTS).where(F.expr(options.where))
        train(documents, params, options.output)
        logger.info("%s: %s", options.output, spark_nlp.JvmEmbedParams(options.output).name)


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    result.add_argument("--output", required=True, metavar="FOLDER", help="where to save the model")
    result.add_argument("--where", default="true", metavar="SQL", help="which documents to learn from (all)")
    result.add_argument("--dimensions", type=int, default=100, help="length of a vector (100)")
    result.add_argument("--documents", type=int, default=100_000, help="to learn from at most (100,000)")
    result.add_argument("--partitions", type=int, default=1, help="trained apart and averaged (1)")
    job.add_lake_options(result)
    return result
