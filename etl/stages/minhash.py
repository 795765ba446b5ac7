"""Near duplicates, found and proven: the band index, the pairs that it proposes, and their true similarity.

Every other tool takes a shared band for proof, and joins by chance what is not alike. Here a band only proposes: a pair
counts when its two sets of shingles have been compared. Each step is a table, so that a new crawl adds to the index
and compares what was never compared, and another threshold needs no step of this module at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.errors import InputError
from etl.kernels import minhash
from etl.kernels.minhash import Geometry
from etl.stage import Stage

MINHASH = "minhash"  # value of `method`
PAIRS_AT_ONCE = 4096  # compared in one go: texts that repeat among them are split into shingles once
BYTES_AT_ONCE = 32 << 20
MAX_PROBES = 500_000  # new documents whose bands every task gets: some 200 MB
MAX_ADDED = 0.3  # share of new documents up to which the old ones are probed; beyond it few buckets have no new one
WORD = 64  # bands of which a column keeps the bits

_PAIR = ["left_id", "right_id", "left_set", "right_set", "sketch"]
_PROPOSED = ["method", "left_id", "right_id", "left_set", "right_set", "bands"]


@dataclass(frozen=True)
class MinHashParams:
    """How near duplicates are proposed: the geometry, a file of ``conf/minhash``, and how buckets are searched.

    A bucket is the documents that share a band. In one of up to ``neighbours + 1`` documents all are compared with
    all. In a larger one, such as the pages of one template, each is compared with the `neighbours_in_crowd` that follow
    it in order of sketch, so that the work grows with the documents and not with their square. Similar documents lie
    together in that order, so that those of a family are joined by way of each other.
    """

    __pydantic_config__ = STRICT

    geometry: Geometry
    neighbours: int = 8
    neighbours_in_crowd: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours_in_crowd <= self.neighbours:
            raise ValueError(
                f"neighbours is {self.neighbours} and neighbours_in_crowd {self.neighbours_in_crowd}, "
                "wanted at least 1, and no more in a crowd"
            )


def document_minhash(documents: DataFrame, params: MinHashParams) -> DataFrame:
    """One row per document with text: what its near duplicates are found by."""
    label = params.geometry.label

    def index(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = minhash.batch(batch.column("text"), params.geometry)
            yield pa.RecordBatch.from_arrays(
                [batch.column("doc_id"), batch.column("warc_filename"), pa.array([label] * len(found)), *found.columns],
                names=["doc_id", "warc_filename", "geometry", *found.schema.names],
            )

    texts = documents.where(F.col("text").isNotNull()).select("doc_id", "warc_filename", "text")
    return texts.mapInArrow(index, tables.DOCUMENT_MINHASH.columns_ddl)


def duplicate_candidates(document_minhash: DataFrame, params: MinHashParams) -> DataFrame:
    """One row per pair of documents that lie side by side in a band, or have the same set of shingles.

    Of documents with one set of shingles the smallest doc_id stands for all, so that copies, however many, are one in
    a bucket, and make one pair each, with that one. Native Spark: 17 bytes are shuffled for a document and band.
    """
    indexed = _indexed(document_minhash)
    near = _of_documents(_side_by_side(_in_buckets(indexed), params), indexed, params)
    return _proposed(near, _copies(indexed), params)


def with_added(document_minhash: DataFrame, known: DataFrame, added: Sequence[str], params: MinHashParams) -> DataFrame:
    """`duplicate_candidates` of the whole index, by the rows that there were before the archives of `added` came.

    Only buckets that a new document falls into are searched; what was found in others stands. Where the new documents
    are more than MAX_PROBES, or more than MAX_ADDED of all, all is searched, which gives the same rows.
    """
    indexed = _indexed(document_minhash)
    is_new = F.col("warc_filename").isin(*added)
    counts = indexed.agg(F.count(F.lit(1)).alias("all"), F.count_if(is_new).alias("new")).collect()[0]
    if counts["new"] > min(MAX_PROBES, MAX_ADDED * counts["all"]):
        return duplicate_candidates(document_minhash, params)

    def probe(rows: DataFrame, key: str, how: str, of_new: Column) -> DataFrame:
        keys = indexed.where(is_new).select(of_new.alias(key))
        return rows.join(F.broadcast(keys), key, how=how)

    met = _side_by_side(probe(_in_buckets(indexed), "band_hash", "left_semi", F.explode("bands")), params)
    words = _words(params)
    # In a bucket of two or more, each has a neighbour. The two of a pair share its buckets, so those of the one that
    # its sketch is of tell which were searched again.
    members = met.select(F.explode(F.array("one", "other")).alias("sketch"), *words)
    searched = members.groupBy("sketch").agg(*[F.bit_or(word).alias(f"searched_{word}") for word in words])
    known = known.where(F.col("method") == MINHASH).drop("method")
    is_copy = F.col("left_set") == F.col("right_set")
    # Key: `searched` has one row per sketch.
    before = known.where(~is_copy).join(searched, "sketch", how="left")
    elsewhere = [
        _bits(F.col("bands"), number).bitwiseAND(F.bitwise_not(F.coalesce(f"searched_{word}", F.lit(0)))).alias(word)
        for number, word in enumerate(words)
    ]
    near = before.select(*_PAIR, *elsewhere).unionByName(_of_documents(met, indexed, params))
    near = near.groupBy(*_PAIR).agg(*[F.bit_or(word).alias(word) for word in words])
    copies = probe(known.where(is_copy), "left_set", "left_anti", F.col("shingle_set")).drop("bands")
    again = _copies(probe(indexed, "shingle_set", "left_semi", F.col("shingle_set")))
    return _proposed(near, copies.unionByName(again), params)


def _indexed(document_minhash: DataFrame) -> DataFrame:
    """Documents with shingles, with eight bytes that stand for a set: half of them sketch, so that they also order a
    bucket. Two sets of one sketch can share them; then both are proposed in the place of one."""
    short = F.shiftleft(F.shiftright("sketch", 32), 32).bitwiseOR(F.crc32("shingle_set"))
    indexed = document_minhash.where(F.col("shingle_set").isNotNull())
    return indexed.select("doc_id", "warc_filename", "shingle_set", "bands", short.alias("short"))


def _in_buckets(indexed: DataFrame) -> DataFrame:
    """One row per document and band. A bucket is the documents that share a `band_hash`."""
    return indexed.select("short", F.posexplode("bands").alias("band", "band_hash"))


def _words(params: MinHashParams) -> list[str]:
    """Columns that hold a set of bands, a bit each: Spark joins these in place, and sets as arrays by sorting."""
    return [f"word{number}" for number in range(-(-params.geometry.bands // WORD))]


def _bit(band: Column, number: int) -> Column:
    """The bit of a band in the word of this number, 0 where it is in another."""
    one, none = (F.lit(value).cast("bigint") for value in (1, 0))
    # Of a shift only the last six bits count.
    return F.when(F.shiftright(band, 6) == number, F.call_function("shiftleft", one, band)).otherwise(none)


def _bits(bands: Column, number: int) -> Column:
    """The bits of an array of bands in the word of this number."""
    return F.aggregate(bands, F.lit(0).cast("bigint"), lambda held, band: held.bitwiseOR(_bit(band, number)))


def _side_by_side(in_buckets: DataFrame, params: MinHashParams) -> DataFrame:
    """One row (one, other, words) per pair of neighbours in some bucket, in their order, and the bands where they are.

    A set is in a bucket once. It goes by its short, which is little to shuffle and to sort.
    """
    bucket = Window.partitionBy("band_hash").orderBy("short")
    again = F.lag("short").over(bucket) == F.col("short")
    members = in_buckets.select("short", "band", "band_hash", again.alias("again"))
    members = members.where(~F.coalesce("again", F.lit(False)))
    # One more than are compared, which tells the last document of a full bucket from one of a crowd.
    following = F.array(*[F.lead("short", place).over(bucket) for place in range(1, params.neighbours + 2)])
    before = F.row_number().over(bucket) - 1
    found = members.select(F.col("short").alias("one"), "band", following.alias("following"), before.alias("before"))
    found = found.where(F.get("following", F.lit(0)).isNotNull())
    found = found.withColumn("following", F.filter("following", lambda other: other.isNotNull()))
    is_crowd = F.col("before") + F.size("following") > params.neighbours
    reach = F.when(is_crowd, params.neighbours_in_crowd).otherwise(params.neighbours)
    others = F.explode(F.slice("following", F.lit(1), reach)).alias("other")
    bits = [F.bit_or(_bit(F.col("band"), number)).alias(word) for number, word in enumerate(_words(params))]
    found = found.select("one", "band", others)
    # None is null. Where Spark learns that of one use of the pairs alone, it makes them again for the other.
    found = found.where(F.col("one").isNotNull() & F.col("other").isNotNull())
    return found.groupBy("one", "other").agg(*bits)


def _of_documents(met: DataFrame, indexed: DataFrame, params: MinHashParams) -> DataFrame:
    """Pairs of shorts as pairs of the documents that stand for them, the smaller doc_id first."""
    sets = indexed.groupBy("short", "shingle_set").agg(F.min("doc_id").alias("doc_id"))
    for side in ("one", "other"):
        # Key: a short is one set, or, once in 2**32 pairs of one sketch, some, which all are proposed.
        member = F.struct("short", "shingle_set", "doc_id").alias(f"{side}_member")
        met = met.join(sets.select(F.col("short").alias(side), member), side, how="inner")
    one, other = F.col("one_member"), F.col("other_member")
    is_first = one["doc_id"] < other["doc_id"]
    left, right = (F.when(first, one).otherwise(other) for first in (is_first, ~is_first))
    return met.select(
        left["doc_id"].alias("left_id"),
        right["doc_id"].alias("right_id"),
        left["shingle_set"].alias("left_set"),
        right["shingle_set"].alias("right_set"),
        F.col("one").alias("sketch"),
        *_words(params),
    )


def _copies(indexed: DataFrame) -> DataFrame:
    """One row per document that another stands for, with that one."""
    first = F.min("doc_id").over(Window.partitionBy("shingle_set"))
    found = indexed.select("doc_id", "shingle_set", "short", first.alias("left_id"))
    return found.where(F.col("doc_id") != F.col("left_id")).select(
        "left_id",
        F.col("doc_id").alias("right_id"),
        F.col("shingle_set").alias("left_set"),
        F.col("shingle_set").alias("right_set"),
        F.col("short").alias("sketch"),
    )


def _proposed(near: DataFrame, copies: DataFrame, params: MinHashParams) -> DataFrame:
    """Near duplicates, by their words, and copies, which met in no band."""
    words = F.array(*_words(params))

    def is_in(band: Column) -> Column:
        word = F.get(words, F.shiftright(band, 6))
        return F.call_function("shiftright", word, band).bitwiseAND(1) == 1

    every = F.sequence(F.lit(0), F.lit(params.geometry.bands - 1))
    near = near.select(*_PAIR, F.filter(every, is_in).alias("bands")).where(F.size("bands") > 0)
    copies = copies.select(*_PAIR, F.array().cast("array<int>").alias("bands"))
    rows = near.unionByName(copies).withColumn("method", F.lit(MINHASH))
    return rows.select(*tables.DUPLICATE_CANDIDATES.columns)


def duplicate_pairs(
    duplicate_candidates: DataFrame, documents: DataFrame, duplicate_pairs: DataFrame, params: MinHashParams
) -> DataFrame:
    """One row per candidate, with the similarity of its two sets of shingles.

    Sets that were compared in an earlier run, by the rows of `duplicate_pairs` that there are, are not compared again:
    their similarity cannot have changed. Texts are read of the others alone.
    """
    candidates = duplicate_candidates.where(F.col("method") == MINHASH)
    sets = [F.least("left_set", "right_set").alias("one_set"), F.greatest("left_set", "right_set").alias("other_set")]
    # Key: a pair of sets has one similarity, whichever documents stood for them.
    known = duplicate_pairs.where((F.col("method") == MINHASH) & (F.col("left_set") != F.col("right_set")))
    known = known.groupBy(*sets).agg(*[F.min(name).alias(name) for name in ("similarity", "containment")])
    is_copy = F.col("left_set") == F.col("right_set")
    copies = candidates.where(is_copy).select("*", F.lit(1.0).alias("similarity"), F.lit(1.0).alias("containment"))
    near = candidates.where(~is_copy).select("*", *sets).join(known, ["one_set", "other_set"], how="left")
    remembered, unknown = near.where(F.col("similarity").isNotNull()), near.where(F.col("similarity").isNull())
    asked = unknown.select(F.explode(F.array("left_id", "right_id")).alias("doc_id")).distinct()
    # Dealt out by doc_id for both joins, so that the documents are read once.
    texts = texts_of(documents.select("doc_id", "text"), asked).repartition("doc_id")
    both = unknown.select(*_PROPOSED, "sketch")
    for side in ("left", "right"):
        # Key: documents have one text each.
        of_side = texts.withColumnsRenamed({"doc_id": f"{side}_id", "text": f"{side}_text"})
        both = both.join(of_side, f"{side}_id", how="inner")
    # Pairs of one family together, so that each of its texts is split into shingles once.
    both = both.sortWithinPartitions("sketch", "left_id", "right_id").select(*_PROPOSED, "left_text", "right_text")
    measured = both.mapInArrow(_comparison(params.geometry), tables.DUPLICATE_PAIRS.columns_ddl)
    columns = tables.DUPLICATE_PAIRS.columns
    return measured.unionByName(remembered.select(*columns)).unionByName(copies.select(*columns))


def texts_of(documents: DataFrame, asked: DataFrame) -> DataFrame:
    """`documents` of the ids of `asked`, which has each once. While these are at most MAX_PROBES, texts of others are
    read and not shuffled: a query counts the ids, and costs less than that."""
    is_few = asked.limit(MAX_PROBES + 1).count() <= MAX_PROBES
    return documents.join(F.broadcast(asked) if is_few else asked, "doc_id", how="left_semi")


def _comparison(geometry: Geometry) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Batches with ``left_text`` and ``right_text`` to batches with ``similarity`` and ``containment``."""

    def compare(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in _together(batches):
            texts = rows.column("left_text").to_pylist(), rows.column("right_text").to_pylist()
            compared = rows.select(_PROPOSED)
            for name, values in zip(("similarity", "containment"), minhash.compare(*texts, geometry), strict=True):
                compared = compared.append_column(name, pa.array(values, pa.float64()))
            yield from compared.combine_chunks().to_batches()

    return compare


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches joined to tables of up to PAIRS_AT_ONCE rows, of no more than some BYTES_AT_ONCE."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= PAIRS_AT_ONCE or sum(each.nbytes for each in held) >= BYTES_AT_ONCE:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def is_of_geometry(document_minhash: DataFrame, params: MinHashParams) -> None:
    """Refuse an index that was made with other parameters: its numbers mean something else.

    Raises:
        InputError: what the index was made with, and what was asked for.
    """
    found = {row["geometry"] for row in document_minhash.select("geometry").distinct().collect()}
    others = sorted(found - {params.geometry.label})
    if others:
        raise InputError(
            f"document_minhash was made with {' and with '.join(others)}, wanted {params.geometry.label}: "
            "take the geometry of the index, or make the index again with --set reindex=true"
        )


DOCUMENT_MINHASH = Stage(
    document_minhash, inputs=(tables.DOCUMENTS,), output=tables.DOCUMENT_MINHASH, params=MinHashParams
)
DUPLICATE_CANDIDATES = Stage(
    duplicate_candidates,
    inputs=(tables.DOCUMENT_MINHASH,),
    output=tables.DUPLICATE_CANDIDATES,
    params=MinHashParams,
    require=is_of_geometry,
    update=with_added,
)
DUPLICATE_PAIRS = Stage(
    duplicate_pairs,
    inputs=(tables.DUPLICATE_CANDIDATES, tables.DOCUMENTS, tables.DUPLICATE_PAIRS),
    output=tables.DUPLICATE_PAIRS,
    params=MinHashParams,
)
