"""Rows of training_blocks as the stage makes them, but in the order of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from etl.kernels import packing

SCHEMA = pa.schema(
    [
        ("training_set", pa.string()),
        ("packing", pa.string()),
        ("shard", pa.int64()),
        ("block", pa.int32()),
        ("ids", pa.list_(pa.int32())),
        ("starts", pa.list_(pa.int32())),
        ("documents", pa.list_(pa.int64())),
        ("begins", pa.list_(pa.int32())),
        ("padding", pa.int32()),
        ("is_rest", pa.bool_()),
    ]
)


def rows(
    documents: Sequence[Sequence[int]], shard: int, context: int, end: int, name: str = "set", first: int = 0
) -> list[dict[str, Any]]:
    """The blocks of the documents of one shard of the set `name`, whose positions begin with `first`."""
    made = packing.pack(documents, context, end)
    return [
        {
            "training_set": name,
            "packing": "p",
            "shard": shard,
            "block": block,
            "ids": row.ids.tolist(),
            "starts": row.starts.tolist(),
            "documents": (row.documents + first).tolist(),
            "begins": row.begins.tolist(),
            "padding": context - len(row.ids),
            "is_rest": made.has_rest and block == len(made) - 1,
        }
        for block, row in enumerate(made)
    ]
