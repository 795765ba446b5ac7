"""Which documents are duplicates of each other, by which method. Which of them is kept, a recipe decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import cast

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import components, shingles
from etl.kernels.minhash import CompleteLink, Geometry, StarLink
from etl.stage import Stage, digest
from etl.stages import minhash
from etl.stages.minhash import MAX_PROBES

PAYLOAD, EXACT, NORMAL, MINHASH, SEMANTIC = "payload", "exact", "normal", minhash.MINHASH, "semantic"
METHODS = (PAYLOAD, EXACT, NORMAL, MINHASH, SEMANTIC)
STAR, COMPLETE, CONNECTED = "star", "complete", "connected"

MAX_EDGES = 100_000_000  # that one task joins: some 10 GB


@dataclass(frozen=True)
class ClusterParams:
    """How documents are put together that one `method` finds alike.

    Copies share a hash: of the payload as archived (payload), of the text (exact), of its words (normal). Near
    duplicates (minhash) are pairs of at least `similarity`, by the shingles of `geometry`; of the same meaning
    (semantic) are pairs whose embeddings by `model` have at least that cosine.

    `linkage` says when more than two near duplicates are one cluster.
    - star: each is alike to the one fetched first, which is the one that recipes keep when they prefer no other, and
      the first ones of two clusters are not alike. So what goes away was compared with what stays, and what stays is
      no near duplicate of what stays.
    - complete: all are alike, each to each, so that whichever is kept, the others are proven to be alike to it. Two
      that are kept may be alike.
    - connected: each is alike to some other, as in connected components, where a chain of small differences can join
      what has little in common.
    """

    __pydantic_config__ = STRICT

    method: str = EXACT
    similarity: float = 0.8
    linkage: str = STAR
    geometry: Geometry | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(f"method is {self.method!r}, wanted one of {', '.join(METHODS)}")
        if not 0 < self.similarity <= 1:
            problems.append(f"similarity is {self.similarity:g}, wanted more than 0, at most 1")
        if self.linkage not in (STAR, COMPLETE, CONNECTED):
            problems.append(f"linkage is {self.linkage!r}, wanted {STAR}, {COMPLETE} or {CONNECTED}")
        if self.method == MINHASH and self.geometry is None:
            problems.append("method is 'minhash' without a geometry to compare shingles by")
        if self.method == SEMANTIC and (self.model is None or self.linkage != CONNECTED):
            problems.append("method is 'semantic', wanted a model, and connected linkage")
        if problems:
            raise ValueError("; ".join(problems))


def duplicate_clusters(
    captures: DataFrame,
    documents: DataFrame,
    document_minhash: DataFrame,
    duplicate_pairs: DataFrame,
    semantic_pairs: DataFrame,
    duplicate_clusters: DataFrame,
    params: ClusterParams,
) -> DataFrame:
    """One row per document that has a duplicate by the method of `params`.

    A component that an earlier run took apart by the texts of its documents, as the rows of `duplicate_clusters` say
    that there are, is not taken apart again while all that decided it is the same.
    """
    if params.method == SEMANTIC:
        is_alike = (F.col("model") == params.model) & (F.col("similarity") >= params.similarity)
        nodes = _components(semantic_pairs.where(is_alike).select("left_id", "right_id"))
        members = nodes.select("doc_id", F.col("component").alias("cluster_id"), _not_read())
    elif params.method == MINHASH:
        known = duplicate_clusters.where(F.col("method") == MINHASH)
        pairs = duplicate_pairs.where(F.col("method") == MINHASH)
        members = _alike(pairs, documents, document_minhash, known, params)
    else:
        hashed = {
            # Key: both have one row per doc_id.
            PAYLOAD: captures.select("doc_id", F.col("content_digest").alias("hash")).join(
                documents.where(F.col("text_hash").isNotNull()), "doc_id", how="left_semi"
            ),
            EXACT: documents.select("doc_id", F.col("text_hash").alias("hash")),
            NORMAL: document_minhash.select("doc_id", F.col("normal_hash").alias("hash")),
        }[params.method]
        first = F.min("doc_id").over(Window.partitionBy("hash"))
        members = hashed.where(F.col("hash").isNotNull()).select("doc_id", first.alias("cluster_id"), _not_read())
    cluster = Window.partitionBy("cluster_id")
    found = members.select(
        F.lit(params.method).alias("method"),
        "doc_id",
        F.min("doc_id").over(cluster).alias("cluster_id"),
        F.count(F.lit(1)).over(cluster).alias("cluster_size"),
        "evidence",
    )
    return found.where(F.col("cluster_size") >= 2)


def _not_read() -> Column:
    return F.lit(None).cast("string").alias("evidence")


def _alike(
    pairs: DataFrame, documents: DataFrame, document_minhash: DataFrame, known: DataFrame, params: ClusterParams
) -> DataFrame:
    """One row (doc_id, cluster_id, evidence) per document of a similar pair or with a copy; of some the cluster is
    their own.

    Of documents with one set of shingles the first stands for all until the end, and the others follow it.
    """
    is_copy = F.col("left_set") == F.col("right_set")
    similar = pairs.where(~is_copy & (F.col("similarity") >= params.similarity))
    copies = pairs.where(is_copy).select("left_id", "right_id")
    nodes = _components(similar.select("left_id", "right_id"))
    if params.linkage == CONNECTED:
        linked = nodes.select("doc_id", F.col("component").alias("cluster_id"), _not_read())
    else:
        whole = nodes.where("is_complete").select("doc_id", F.col("component").alias("cluster_id"), _not_read())
        # In a component that is not complete some pairs were not compared, or were and are not similar.
        sparse = nodes.where(~F.col("is_complete")).select("doc_id", "component")
        is_few = sparse.limit(MAX_PROBES + 1).count() <= MAX_PROBES
        placed = _placed(sparse, copies, documents, document_minhash, params)
        linked = whole.unionByName(_taken_apart(placed, documents, known, params, is_few=is_few))
    cluster = F.struct("cluster_id", "evidence").alias("cluster")
    rows = linked.select(F.col("doc_id").alias("first"), "doc_id", cluster)
    for copy in ("left_id", "right_id"):
        nothing = F.lit(None).cast("struct<cluster_id: string, evidence: string>").alias("cluster")
        rows = rows.unionByName(copies.select(F.col("left_id").alias("first"), F.col(copy).alias("doc_id"), nothing))
    # Of its rows only one names the cluster: the one from `linked`.
    members = rows.groupBy("first", "doc_id").agg(F.max("cluster").alias("cluster"))
    of_first = F.max("cluster").over(Window.partitionBy("first"))
    found = members.select("doc_id", "first", of_first.alias("cluster"))
    return found.select("doc_id", F.coalesce("cluster.cluster_id", "first").alias("cluster_id"), "cluster.evidence")


def _components(edges: DataFrame) -> DataFrame:
    """One row (doc_id, component, is_complete) per document of an edge (left_id, right_id); no edge is given twice.

    A component is named by its smallest doc_id; it is complete when each of its documents has an edge to each. One
    task joins all edges, with 150 bytes for a document: those with a near duplicate, of which copies count once.

    Raises:
        MemoryError: in that task, when there are more than MAX_EDGES.
    """

    def join(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held, count = [], 0
        for batch in batches:
            held.append(batch)
            count += len(batch)
            if count > MAX_EDGES:
                raise MemoryError(f"duplicate_clusters: over {MAX_EDGES:,} pairs of near duplicates, wanted no more")
        if held:
            edges = pa.Table.from_batches(held)
            found = components.of_edges(*(edges.column(side).combine_chunks() for side in ("left_id", "right_id")))
            yield from pa.Table.from_batches([found]).to_batches(max_chunksize=1 << 16)

    schema = "node string, component string, degree bigint, size bigint"
    nodes = edges.repartition(1).mapInArrow(join, schema)
    is_complete = F.min("degree").over(Window.partitionBy("component")) == F.col("size") - 1
    return nodes.select(F.col("node").alias("doc_id"), "component", is_complete.alias("is_complete"))


def _placed(
    sparse: DataFrame, copies: DataFrame, documents: DataFrame, document_minhash: DataFrame, params: ClusterParams
) -> DataFrame:
    """One row (component, doc_id, earliest, evidence) per row of `sparse`: when it was first fetched, itself or a copy
    of it, and a hash of all that decides which clusters its component makes."""
    fetched = documents.select(F.col("doc_id").alias("right_id"), "fetch_time")
    copied = copies.join(fetched, "right_id", how="inner")
    copied = copied.groupBy(F.col("left_id").alias("doc_id")).agg(F.min("fetch_time").alias("copied"))
    # Key: documents and their index have one row each, `copied` one for each that has copies.
    rows = sparse.join(documents.select("doc_id", "fetch_time"), "doc_id", how="inner")
    rows = rows.join(document_minhash.select("doc_id", "shingle_set"), "doc_id", how="inner")
    rows = rows.join(copied, "doc_id", how="left").withColumn("earliest", F.least("fetch_time", "copied"))
    decisive = (F.lit(digest(asdict(params))), "doc_id", "shingle_set", "earliest")
    component = Window.partitionBy("component")
    # Of 128 bits, and the same in any order of rows: the order of the documents is in what is hashed.
    halves = [F.bit_xor(F.xxhash64(F.lit(half), *decisive)).over(component) for half in (0, 1)]
    evidence = F.lower(F.concat(*[F.lpad(F.hex(half), 16, "0") for half in halves])).alias("evidence")
    return rows.select("component", "doc_id", "earliest", evidence)


def _taken_apart(
    placed: DataFrame, documents: DataFrame, known: DataFrame, params: ClusterParams, *, is_few: bool
) -> DataFrame:
    """One row (doc_id, cluster_id, evidence) per row of `placed`: the part of its component that the linkage makes,
    with documents in order of the time, then doc_id. Texts are read of components without known clusters."""
    # Key: `known` has one row per document. Of a known component some documents are in no cluster, but not all.
    told = placed.join(known.select("doc_id", "evidence", "cluster_id"), ["doc_id", "evidence"], how="left")
    is_known = F.max(F.col("cluster_id").isNotNull()).over(Window.partitionBy("component"))
    told = told.withColumn("is_known", is_known)
    remembered = told.where("is_known").select(
        "doc_id", F.coalesce("cluster_id", "doc_id").alias("cluster_id"), "evidence"
    )
    unknown = told.where(~F.col("is_known")).select("component", "doc_id", "earliest", "evidence")
    # Of few, texts of other documents are read and not shuffled.
    texts = documents.select("doc_id", "text").join(F.broadcast(unknown) if is_few else unknown, "doc_id", how="inner")
    split = (
        texts.repartition("component")
        .sortWithinPartitions("component", F.asc_nulls_last("earliest"), "doc_id")
        .select("component", "doc_id", "evidence", "text")
        .mapInArrow(partial(_split, params=params), "doc_id string, cluster_id string, evidence string")
    )
    return remembered.unionByName(split)


def _split(batches: Iterable[pa.RecordBatch], params: ClusterParams) -> Iterator[pa.RecordBatch]:
    """Components, one after the other, to clusters; each is named by its first document."""
    linkage = {STAR: StarLink, COMPLETE: CompleteLink}[params.linkage]
    geometry = cast(Geometry, params.geometry)  # which near duplicates have
    component: str | None = None
    link, names = linkage(params.similarity), list[str]()
    for batch in batches:
        texts = [text or "" for text in batch.column("text").to_pylist()]
        sets = shingles.split(*shingles.sets_of(texts, geometry.size, geometry.unit))
        clusters = []
        ids = (batch.column(name).to_pylist() for name in ("doc_id", "component"))
        for doc_id, name, found in zip(*ids, sets, strict=True):
            if name != component:
                component, link, names = name, linkage(params.similarity), []
            place = link.place(found)
            if place == len(names):
                names.append(doc_id)
            clusters.append(names[place])
        named = [batch.column("doc_id"), pa.array(clusters, pa.string()), batch.column("evidence")]
        yield pa.RecordBatch.from_arrays(named, names=["doc_id", "cluster_id", "evidence"])


DUPLICATE_CLUSTERS = Stage(
    duplicate_clusters,
    inputs=(
        tables.CAPTURES,
        tables.DOCUMENTS,
        tables.DOCUMENT_MINHASH,
        tables.DUPLICATE_PAIRS,
        tables.SEMANTIC_PAIRS,
        tables.DUPLICATE_CLUSTERS,
    ),
    output=tables.DUPLICATE_CLUSTERS,
    params=ClusterParams,
)
