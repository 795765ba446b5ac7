"""What each document is about, as a vector: for semantic duplicates and for choosing documents by content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import embed
from etl.models import ModelError
from etl.stage import Stage
from etl.stages import devices


@dataclass(frozen=True)
class EmbedParams:
    """The model of embeddings: the packaged all-MiniLM-L6-v2, a folder, or an id on the hub (``owner/name@revision``).

    `max_tokens` is the length of a window (None: the model's own, here 256), `windows` how many of them are looked at
    from the start of a document, whose vectors are averaged. `prefix` is put before every text (None: the model's own,
    where it names one). `precision` may be bfloat16 or float16 on a GPU; on a CPU bfloat16 takes half the time where
    the processor has it.

    `digest` is what decided the vectors when the run was planned; `pinned` fills it in. A worker that has another
    model under this name fails.
    """

    __pydantic_config__ = STRICT

    model: str = embed.PACKAGED
    max_tokens: int | None = None
    windows: int = 1
    prefix: str | None = None
    precision: str = "float32"
    digest: str | None = None

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> embed.Settings:
        """What the kernel is asked for.

        Raises:
            ValueError: all impossible values, in one message.
        """
        return embed.Settings(self.model, self.max_tokens, self.windows, self.prefix, self.precision)

    def pinned(self) -> EmbedParams:
        """This model as it is now, loaded once to see that it can be.

        Raises:
            ModelError: the extra or the model is missing, or it is no model of embeddings.
        """
        embed.check(self.settings())
        return replace(self, digest=embed.digest(self.settings()))

    @property
    def name(self) -> str:
        """The value of `model` in the tables that are made with these params; needs the files of the model."""
        return embed.name(self.settings())


def document_embeddings(documents: DataFrame, params: EmbedParams) -> DataFrame:
    """One row per document with text other than spaces: its vector."""
    settings, wanted = params.settings(), params.digest

    def vectors(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Only where there are documents: a task without any loads no model.
        for batch in batches:
            devices.claim()
            if wanted is not None and embed.digest(settings) != wanted:
                raise ModelError(
                    f"document_embeddings: {settings.model} is another model on this worker than where the run was "
                    f"planned: {embed.digest(settings)[:12]}, wanted {wanted[:12]}"
                )
            found = embed.embed(batch.column("text").to_pylist(), settings)
            offsets = pa.array(range(0, found.size + 1, found.shape[1]), pa.int32())
            arrays = pa.ListArray.from_arrays(offsets, pa.array(found.ravel(), pa.float32()))
            names = pa.array([embed.name(settings)] * len(found), pa.string())
            keys = [batch.column("doc_id"), batch.column("warc_filename")]
            yield pa.RecordBatch.from_arrays([*keys, names, arrays], names=list(tables.DOCUMENT_EMBEDDINGS.columns))

    texts = documents.where(F.col("text").rlike(r"\S")).select("doc_id", "warc_filename", "text")
    return texts.mapInArrow(vectors, tables.DOCUMENT_EMBEDDINGS.columns_ddl)


DOCUMENT_EMBEDDINGS = Stage(
    document_embeddings, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_EMBEDDINGS, params=EmbedParams
)
