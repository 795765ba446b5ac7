"""A set of documents as blocks of tokens, for trainers that read ids: tokenised, packed, put in order, accounted for.

Documents are packed in *shards* of consecutive positions, each by itself: shards are the work of tasks, what is in one
depends on nothing but the documents of its positions, and so the blocks do not depend on partitions or files. The price
is one rest a shard, with the default a block that is not full in about two thousand.

The order of training is shuffled at two levels. Documents of a source are in the order of a hash of their ids, and
sources interleaved (`etl.stages.mix`), so a shard is a random sample of the set. Blocks are then put in an order drawn
from `seed` within their shard: neighbours in a stream share a document, and rows of best fit are in the order of the
documents they begin with, the long ones by themselves. Shards stay in their order: random samples gain nothing by
another, and so a larger budget of the same mixture begins with the same blocks, up to the last shard of the smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.errors import InputError
from etl.kernels import packing, tokens
from etl.stage import Stage

BLOCKS = tables.TRAINING_BLOCKS
PACKINGS = tables.TRAINING_PACKINGS

ENCODED_AT_ONCE = 256  # documents
BLOCKS_AT_ONCE = 1024  # handed to Spark

_READ = ("shard", "position", "text")
_SCHEMA = pa.schema(
    [
        ("shard", pa.int64()),
        ("block", pa.int32()),
        ("ids", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
        ("documents", pa.list_(pa.int64())),
        ("begins", pa.list_(pa.int32())),
        ("separators", pa.int32()),
        ("padding", pa.int32()),
        ("is_rest", pa.bool_()),
    ]
)
_DDL = (
    "shard bigint, block int, ids array<int>, starts array<int>, documents array<bigint>, begins array<int>, "
    "separators int, padding int, is_rest boolean"
)


@dataclass(frozen=True)
class PackParams:
    """How a set of documents is packed, see `etl.kernels.packing`.

    `packing` names the way, so that a set can be packed in several; None: made of mode, context and tokenizer.
    `end_of_text` None: what the tokenizer calls the end of a text; `pinned` fills in both. Blocks of a shard of
    `shard_documents` documents are in an order drawn from `seed`.
    """

    __pydantic_config__ = STRICT

    training_set: str
    tokenizer: str = tokens.GPT2
    mode: str = packing.CONCAT
    context: int = 2048
    packing: str | None = None
    end_of_text: int | None = None
    shard_documents: int = 4096
    seed: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.mode not in packing.MODES:
            problems.append(f"mode is {self.mode!r}, wanted one of {', '.join(packing.MODES)}")
        if self.context < 2:
            problems.append(f"context is {self.context}, wanted at least 2")
        if self.shard_documents < 1:
            problems.append(f"shard_documents is {self.shard_documents}, wanted at least 1")
        if self.end_of_text is not None and not 0 <= self.end_of_text < 1 << 31:
            problems.append(f"end_of_text is {self.end_of_text}, wanted the id of a token")
        if problems:
            raise ValueError("; ".join(problems))

    def pinned(self) -> PackParams:
        """These params with the id of the end of a text and the name of the packing.

        Raises:
            ValueError: there is no such tokenizer, or it does not say how a text ends.
            ModelError: the file of the tokenizer cannot be read.
        """
        tokens.encoder(self.tokenizer)
        end = packing.end_of_text(self.tokenizer) if self.end_of_text is None else self.end_of_text
        tokenizer = self.tokenizer.removesuffix(".json").rpartition("/")[2].replace(":", "-")
        return replace(self, end_of_text=end, packing=self.packing or f"{self.mode}-{self.context}-{tokenizer}")


def training_blocks(documents: DataFrame, params: PackParams) -> DataFrame:
    """One row per block of tokens of the set, in the order (shard, block).

    The documents of a shard are in the memory of one task, as tokens. Every token of every document is in one block.
    """
    settings = params.pinned()

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for shard, positions, encoded in _shards(batches, settings.tokenizer):
            yield from _blocks(shard, positions, encoded, settings)

    mine = documents.where(F.col("training_set") == settings.training_set)
    shard = (F.col("position") / settings.shard_documents).cast("bigint").alias("shard")
    ordered = mine.select(shard, "position", "text").repartition("shard").sortWithinPartitions("shard", "position")
    return ordered.mapInArrow(pack, _DDL).select(
        F.lit(settings.training_set).alias("training_set"),
        F.lit(settings.packing).alias("packing"),
        *_SCHEMA.names,
    )


def _shards(
    batches: Iterable[pa.RecordBatch], tokenizer: str
) -> Iterator[tuple[int, list[int], list[np.ndarray[tuple[int], np.dtype[np.int32]]]]]:
    """Each shard of rows that are sorted by shard and position: its number, its positions, and the documents' ids."""
    current: int | None = None
    positions: list[int] = []
    encoded: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    for batch in batches:
        encode = tokens.encoder(tokenizer)
        for start in range(0, batch.num_rows, ENCODED_AT_ONCE):
            shards, places, texts = (batch.column(name).slice(start, ENCODED_AT_ONCE).to_pylist() for name in _READ)
            for shard, position, ids in zip(shards, places, encode(texts), strict=True):
                if shard != current:
                    if current is not None:
                        yield current, positions, encoded
                    current, positions, encoded = shard, [], []
                positions.append(position)
                encoded.append(np.array(ids, dtype=np.int32))
    if current is not None:
        yield current, positions, encoded


def _blocks(
    shard: int,
    positions: Sequence[int],
    encoded: Sequence[np.ndarray[tuple[int], np.dtype[np.int32]]],
    params: PackParams,
) -> Iterator[pa.RecordBatch]:
    """The blocks of one shard in the order of training."""
    packed = packing.pack(encoded, params.context, params.end_of_text or 0, params.mode)
    rows = list(packed)
    whole = len(rows) - packed.has_rest
    order = [*sorted(range(whole), key=lambda row: _hash(params.seed, shard, row)), *range(whole, len(rows))]
    place_of = np.asarray(positions, dtype=np.int64)
    for start in range(0, len(order), BLOCKS_AT_ONCE):
        numbers = order[start : start + BLOCKS_AT_ONCE]
        chosen = [rows[number] for number in numbers]
        columns = [
            [shard] * len(chosen),
            range(start, start + len(chosen)),
            [row.ids for row in chosen],
            [row.starts.astype(np.int32) for row in chosen],
            [place_of[row.documents] for row in chosen],
            [row.begins.astype(np.int32) for row in chosen],
            [row.separators for row in chosen],
            [params.context - len(row.ids) for row in chosen],
            [number >= whole for number in numbers],
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _hash(seed: int, shard: int, row: int) -> bytes:
    # Not a generator of NumPy, whose draws may be others in another release.
    return hashlib.sha256(f"{seed} {shard} {row}".encode()).digest()


def training_packings(documents: DataFrame, blocks: DataFrame, params: PackParams) -> DataFrame:
    """One row: how the set was packed, where its tokens went, and the hash of the blocks."""
    settings = params.pinned()
    is_mine = F.col("training_set") == settings.training_set
    given = documents.where(is_mine).agg(
        F.count(F.lit(1)).alias("set_documents"), F.coalesce(F.sum("tokens"), F.lit(0)).alias("set_tokens")
    )
    mine = blocks.where(is_mine & (F.col("packing") == settings.packing))
    size = F.size("ids")
    # A piece that begins its document: every document with a token has one.
    begun = F.size(F.filter("begins", lambda begin: begin == 0))
    rest = F.when(F.col("is_rest"), size)
    sums = {
        "documents": F.sum(begun),
        "tokens": F.sum(size - F.col("separators")),
        "separators": F.sum("separators"),
        "padding": F.sum("padding"),
        "blocks": F.count(F.lit(1)),
        "rests": F.count(rest),
        "rest_tokens": F.sum(rest),
    }
    counted = mine.groupBy("shard").agg(
        _hash_in_order("block", block_hash()).alias("shard_hash"), *[value.alias(name) for name, value in sums.items()]
    )
    totals = counted.agg(
        _hash_in_order("shard", F.col("shard_hash")).alias("content_hash"),
        F.count(F.lit(1)).alias("shards"),
        *[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in sums],
    )
    chosen = {
        "training_set": F.lit(settings.training_set),
        "packing": F.lit(settings.packing),
        "mode": F.lit(settings.mode),
        "context": F.lit(settings.context),
        "tokenizer": F.lit(settings.tokenizer),
        "end_of_text": F.lit(settings.end_of_text).cast("int"),
        "shard_documents": F.lit(settings.shard_documents),
        "seed": F.lit(settings.seed).cast("bigint"),
    }
    # Key: each side is one row.
    return totals.join(given, how="cross").select(
        *[value.alias(name) for name, value in chosen.items()],
        *[F.col(name).cast("bigint").alias(name) for name in sums if name != "blocks"],
        "blocks",
        "shards",
        "set_documents",
        F.col("set_tokens").cast("bigint").alias("set_tokens"),
        "content_hash",
    )


def content_hash(blocks: DataFrame, training_set: str, packing: str) -> DataFrame:
    """One row: the hash of the blocks of a packing, as `training_packings` has it."""
    mine = blocks.where((F.col("training_set") == training_set) & (F.col("packing") == packing))
    shards = mine.groupBy("shard").agg(_hash_in_order("block", block_hash()).alias("shard_hash"))
    return shards.agg(_hash_in_order("shard", F.col("shard_hash")).alias("content_hash"))


def block_hash() -> Column:
    """SHA-256 of the ids of a block and the starts of its pieces, as JSON arrays without spaces, hex.

    `etl.export` makes the same without Spark.
    """
    content = F.concat_ws(" ", F.to_json("ids"), F.to_json("starts"))
    return F.sha2(content.cast("binary"), 256)


def _hash_in_order(order: str, hashed: Column) -> Column:
    ordered = F.array_sort(F.collect_list(F.struct(F.col(order), hashed.alias("hashed"))))
    return F.sha2(F.array_join(F.transform(ordered, lambda pair: pair["hashed"]), " ").cast("binary"), 256)


def has_documents(documents: DataFrame, params: PackParams) -> None:
    """Refuse a set that is not there.

    Raises:
        InputError: the message lists the sets of documents that there are.
    """
    if documents.where(F.col("training_set") == params.training_set).limit(1).count() == 0:
        rows = documents.select("training_set").distinct().orderBy("training_set").collect()
        raise InputError(
            f"there is no training set {params.training_set!r} of documents, known are {[row[0] for row in rows]}"
        )


TRAINING_BLOCKS = Stage(
    training_blocks,
    inputs=(tables.TRAINING_DOCUMENTS,),
    output=BLOCKS,
    params=PackParams,
    require=has_documents,
)
TRAINING_PACKINGS = Stage(
    training_packings, inputs=(tables.TRAINING_DOCUMENTS, BLOCKS), output=PACKINGS, params=PackParams
)
