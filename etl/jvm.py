"""Annotate the documents of a lake within the JVM: what ``jobs/annotate_in_jvm.py`` does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from etl import job, session
from etl.stages import spark_nlp


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Make the tables that the options name. What an archive has already from the same engine and model is kept."""
    parser = _parser(doc)
    options = parser.parse_args(argv)
    if not (options.sentences or options.embeddings):
        parser.error("wanted --sentences, --embeddings FOLDER or both")
    os.environ.setdefault(session.NLP_VARIABLE, "1")
    with job.reported_errors():
        params = spark_nlp.JvmEmbedParams(options.embeddings).pinned() if options.embeddings else None
        with job.writer(options) as runner:
            if options.sentences:
                runner.by_file(spark_nlp.DOCUMENT_SENTENCES, spark_nlp.JvmSentenceParams())
            if params is not None:
                runner.by_file(spark_nlp.DOCUMENT_EMBEDDINGS, params)


def _parser(doc: str | None) -> argparse.ArgumentParser:
    result = job.described(doc)
    result.add_argument("--sentences", action="store_true", help="document_sentences, by Spark NLP's own rules")
    result.add_argument("--embeddings", metavar="FOLDER", help="document_embeddings, by a model in ONNX or Doc2Vec")
    job.add_lake_options(result)
    return result
