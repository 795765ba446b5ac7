"""Which documents are copies of each other. Which copy is kept, a recipe decides."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.stage import NoParams, Stage

EXACT = "exact"


def duplicate_clusters(documents: DataFrame, _params: NoParams) -> DataFrame:
    """One row per document whose text another document has too, character by character.

    Key: documents have one text each, so one cluster each. Native Spark: the hash was made when the text was.
    """
    texts = documents.where(F.col("text_hash").isNotNull()).select("doc_id", "text_hash")
    clusters = (
        texts.groupBy("text_hash")
        .agg(F.min("doc_id").alias("cluster_id"), F.count(F.lit(1)).alias("cluster_size"))
        .where(F.col("cluster_size") >= 2)
    )
    return texts.join(clusters, "text_hash", how="inner").select(
        F.lit(EXACT).alias("method"), "doc_id", "cluster_id", "cluster_size"
    )


DUPLICATE_CLUSTERS = Stage(duplicate_clusters, inputs=(tables.DOCUMENTS,), output=tables.DUPLICATE_CLUSTERS)
