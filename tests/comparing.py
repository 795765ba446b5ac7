"""Whether two lakes hold the same rows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import MapType

from etl import tables
from etl.lake import Lake
from etl.tables import Table

# A manifest names table versions, and a run that was killed has made more of them.
NOT_COMPARED = {"training_sets": ("manifest", "manifest_hash")}


def differing(one: Lake, other: Lake, among: Sequence[Table] = tables.ALL) -> dict[str, int]:
    """Tables that differ, with the number of rows that only one of the lakes has."""
    counts = {}
    for table in among:
        left, right = (_comparable(lake, table) for lake in (one, other))
        counts[table.name] = left.exceptAll(right).count() + right.exceptAll(left).count()
    return {name: count for name, count in counts.items() if count}


def _comparable(lake: Lake, table: Table) -> DataFrame:
    """The rows with maps as lists, which Spark can compare."""
    columns = [
        F.array_sort(F.map_entries(field.name)).alias(field.name) if isinstance(field.dataType, MapType) else field.name
        for field in table.schema
        if field.name not in NOT_COMPARED.get(table.name, ())
    ]
    return lake.read(table).select(*columns)
