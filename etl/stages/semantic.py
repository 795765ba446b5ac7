"""Which documents say the same in other words: SemDeDup (Abbas et al. 2023) on `document_embeddings`.

Centroids are trained once for a model and kept: new documents find their cells among them, so a pair that was found
stays found. Pairs are made anew as a whole: of one million documents they take minutes, where the embeddings took a
day, and the state is that of a full rebuild by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.errors import InputError
from etl.kernels import semantic
from etl.stage import Stage, digest
from etl.tables import Table

MAX_CELLS = 4096  # 100 million documents have 25,000 in each: some hours of one core for the pairs of all
MIN_SAMPLE = 1000  # drawn by hash, so of about that size, and never empty
_SHARES = 1 << 30  # steps in which a sample is measured


@dataclass(frozen=True)
class SemanticParams:
    """How semantic duplicates of the vectors of one `model` (`EmbedParams.name`) are found.

    `min_similarity` is the cosine from which pairs are kept, below any threshold that clusters will be made with.
    A document is compared within its `probes` nearest cells, 1 or 2. `neighbors` bounds the pairs of a document with
    documents before it in a cell: more are alike only in masses, which stay connected (see `etl.kernels.semantic`).
    A cell of more than `max_rows` is split while it is compared.

    Training, done once: `cells`, or one for each `cell_rows` documents at that time and `MAX_CELLS` at most, on a
    sample of `sample` documents. Another `generation` trains again, as does any other param of this paragraph and
    another `seed`: worth it when the lake has become ten times as large.
    """

    __pydantic_config__ = STRICT

    model: str
    min_similarity: float = 0.9
    probes: int = 2
    neighbors: int = 64
    max_rows: int = 8192
    cells: int | None = None
    cell_rows: int = 1000
    sample: int = 100_000
    seed: int = 1
    generation: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.min_similarity <= 1:
            problems.append(f"min_similarity is {self.min_similarity:g}, wanted above 0 and at most 1")
        if self.probes not in (1, 2):
            problems.append(f"probes is {self.probes}, wanted 1 or 2")
        if self.max_rows < 64:
            problems.append(f"max_rows is {self.max_rows}, wanted at least 64")
        if self.sample < MIN_SAMPLE:
            problems.append(f"sample is {self.sample}, wanted at least {MIN_SAMPLE}")
        at_least_1 = {"neighbors": self.neighbors, "cell_rows": self.cell_rows}
        if self.cells is not None:
            at_least_1["cells"] = self.cells
        problems += [f"{name} is {value}, wanted at least 1" for name, value in at_least_1.items() if value < 1]
        if problems:
            raise ValueError("; ".join(problems))

    def training(self) -> str:
        """Hash of what decides the centroids beside the documents: 16 hex digits."""
        names = ("cells", "cell_rows", "sample", "seed", "generation")
        return digest([semantic.TRAINING_VERSION, {name: asdict(self)[name] for name in names}])[:16]


def semantic_centroids(document_embeddings: DataFrame, known: DataFrame, params: SemanticParams) -> DataFrame:
    """One row per cell of the model. Centroids of `known` that were trained with these params are kept.

    The sample is drawn by the hash of `doc_id`, so it does not depend on partitions.
    """
    training = params.training()
    kept = known.where((F.col("model") == params.model) & (F.col("training") == training)).select(
        *tables.SEMANTIC_CENTROIDS.columns
    )
    if kept.head(1):
        return kept

    def train(vectors: pd.DataFrame) -> pd.DataFrame:
        documents = int(vectors["documents"].iloc[0])
        cells = params.cells or min(max(documents // params.cell_rows, 1), MAX_CELLS)
        centroids = semantic.train(_matrix(vectors["embedding"]), cells, seed=params.seed)
        return _frame(
            tables.SEMANTIC_CENTROIDS, params.model, range(len(centroids)), list(centroids), training, documents
        )

    vectors = document_embeddings.where(F.col("model") == params.model)
    # One row, so the join adds a column and no rows.
    counted = vectors.select("model", "doc_id", "embedding").crossJoin(
        F.broadcast(vectors.agg(F.count(F.lit(1)).alias("documents")))
    )
    share = F.pmod(F.xxhash64("doc_id", F.lit(params.seed)), F.lit(_SHARES)) / F.lit(float(_SHARES))
    sample = counted.where(share * F.col("documents") < F.lit(params.sample))
    return sample.groupBy("model").applyInPandas(train, tables.SEMANTIC_CENTROIDS.columns_ddl)


def semantic_pairs(document_embeddings: DataFrame, centroids: DataFrame, params: SemanticParams) -> DataFrame:
    """One row per pair of documents of cosine `min_similarity` or more that share a cell.

    Documents whose vectors are equal are pairs with the first of them alone, which stands for all in its cells.
    """
    places = centroids.where(F.col("model") == params.model).select("cell", "centroid").orderBy("cell").collect()
    cells = np.asarray([row["cell"] for row in places], dtype=np.int32)
    matrix = np.asarray([row["centroid"] for row in places], dtype=np.float32)

    def assign(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                embeddings = batch.column("embedding")
                vectors = _matrix(embeddings.to_numpy(zero_copy_only=False))
                nearest = cells[semantic.nearest(vectors, matrix, params.probes)]
                columns = [
                    batch.column("doc_id"),
                    pa.array(semantic.digests(vectors), pa.binary()),
                    pa.array(list(nearest), pa.list_(pa.int32())),
                    embeddings,
                ]
                yield pa.RecordBatch.from_arrays(columns, names=["doc_id", "digest", "cells", "embedding"])

    def compare(members: pd.DataFrame) -> pd.DataFrame:
        ordered = members.sort_values("doc_id", ignore_index=True)
        cell = int(ordered["cell"].iloc[0])
        found = semantic.cell_pairs(
            _matrix(ordered["embedding"]),
            params.min_similarity,
            neighbors=params.neighbors,
            max_rows=params.max_rows,
            probes=params.probes,
            elsewhere=ordered["earlier"].to_numpy(dtype=np.int64)[:, None],
            seed=params.seed,
        )
        ids = ordered["doc_id"].to_numpy()
        return _frame(tables.SEMANTIC_PAIRS, params.model, ids[found.left], ids[found.right], cell, found.similarity)

    assigned = (
        document_embeddings.where(F.col("model") == params.model)
        .select("doc_id", "embedding")
        .mapInArrow(assign, "doc_id string, digest binary, cells array<int>, embedding array<float>")
    )
    # Equal vectors have equal cells and embeddings, so it does not matter whose are taken.
    distinct = assigned.groupBy("digest").agg(
        F.min("doc_id").alias("first_id"),
        F.count(F.lit(1)).alias("copies"),
        F.first("cells").alias("cells"),
        F.first("embedding").alias("embedding"),
    )
    members = distinct.select(
        F.col("first_id").alias("doc_id"), "cells", "embedding", F.explode("cells").alias("cell")
    ).select("doc_id", "embedding", "cell", _earlier().alias("earlier"))
    alike = members.groupBy("cell").applyInPandas(compare, tables.SEMANTIC_PAIRS.columns_ddl)
    # Key of `distinct`: digest.
    firsts = distinct.where(F.col("copies") > 1).select("digest", "first_id")
    copies = assigned.select("doc_id", "digest", "cells").join(firsts, "digest", how="inner")
    equal = copies.where(F.col("doc_id") != F.col("first_id")).select(
        F.lit(params.model).alias("model"),
        F.col("first_id").alias("left_id"),
        F.col("doc_id").alias("right_id"),
        F.element_at("cells", 1).alias("cell"),
        F.lit(1.0).alias("similarity"),
    )
    return alike.select(*tables.SEMANTIC_PAIRS.columns).unionByName(equal)


def require_centroids(document_embeddings: DataFrame, centroids: DataFrame, params: SemanticParams) -> None:
    """Documents without centroids would have no cells, and so no pairs.

    Raises:
        InputError: there are documents of the model and no centroids.
    """
    of_model = F.col("model") == params.model
    if document_embeddings.where(of_model).head(1) and not centroids.where(of_model).head(1):
        raise InputError(f"semantic_pairs: no centroids of {params.model} in semantic_centroids: make them first")


def _earlier() -> Column:
    """The other cell of a document where it comes before this one, else -1: pairs are compared in the first they
    share."""
    least = F.array_min("cells")
    return F.when(least < F.col("cell"), least).otherwise(F.lit(-1))


def _frame(table: Table, *columns: Any) -> pd.DataFrame:
    """Rows of a table from its columns in order; a single value is that of every row."""
    frame: pd.DataFrame = pd.DataFrame(dict(zip(table.columns, columns, strict=True)))
    return frame


def _matrix(embeddings: pd.Series | np.ndarray) -> semantic.Vectors:
    return np.stack([np.asarray(row, dtype=np.float32) for row in embeddings])


SEMANTIC_CENTROIDS = Stage(
    semantic_centroids,
    inputs=(tables.DOCUMENT_EMBEDDINGS, tables.SEMANTIC_CENTROIDS),
    output=tables.SEMANTIC_CENTROIDS,
    params=SemanticParams,
)
SEMANTIC_PAIRS = Stage(
    semantic_pairs,
    inputs=(tables.DOCUMENT_EMBEDDINGS, tables.SEMANTIC_CENTROIDS),
    output=tables.SEMANTIC_PAIRS,
    params=SemanticParams,
    require=require_centroids,
)
