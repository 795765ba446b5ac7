"""A lake: the tables of one warehouse, opened, read at a version, and written one slice in one commit."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import tables, views
from etl.errors import ContractError, WarehouseError
from etl.locks import is_local
from etl.tables import Table

logger = logging.getLogger(__name__)

# Commits that change no row, so they do not make a slice stale.
_ROWLESS = {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "CHANGE COLUMN", "ADD CONSTRAINT"}


_COMMIT_FILE = "[0-9]" * 20 + ".json"  # Delta protocol, "Delta Log Entries"


@dataclass(frozen=True)
class Commit:
    """One entry of a Delta log: what was done, and the metadata that the writer gave it."""

    version: int
    operation: str
    metadata: str | None


@dataclass(frozen=True)
class Lake:
    """The tables of a warehouse (a directory or object-store address) or of a catalog namespace.

    With a `warehouse`, table t is the Delta table at ``<warehouse>/t``, registered under `namespace` so that SQL can
    name it; without one, tables are managed by the catalog that `namespace`, such as ``main.llm``, belongs to.
    """

    spark: SparkSession
    warehouse: str | None = None
    namespace: str = "default"

    def name(self, table: Table) -> str:
        return f"{self.namespace}.{table.name}"

    def location(self, table: Table) -> str:
        """Folder or address of a table, for those who read it without Spark."""
        if self.warehouse is not None:
            return f"{self.warehouse}/{table.name}"
        detail = self.spark.sql(f"DESCRIBE DETAIL {self.name(table)}").collect()[0]
        return str(detail["location"]).removeprefix("file:")

    def open(self) -> Lake:
        """Create the tables that are missing, compare those that are there with their contracts, and make the views.

        Raises:
            ContractError: a table has other columns; the message names all differences of all tables.
            WarehouseError: the namespace holds the tables of another warehouse in this session.
        """
        if self.namespace != "default":
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.namespace}")
        self._refuse_another_lake()
        with ThreadPoolExecutor(4) as pool:
            problems = [problem for problem in pool.map(self._open_table, tables.ALL) if problem]
        if problems:
            place = self.warehouse or self.namespace
            raise ContractError(f"{place} was made by another version of goldenlake. " + "; ".join(problems))
        views.create(self.spark, self.namespace)
        return self

    def _refuse_another_lake(self) -> None:
        """A name stands for one place in a session: a second lake under it would read the tables of the first."""
        table = self.name(tables.WARC_FILES)
        if self.warehouse is None or not self.spark.catalog.tableExists(table):
            return
        described = self.spark.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()
        place = next(row["data_type"] for row in described if row["col_name"] == "Location")
        if place.removeprefix("file:").rstrip("/") != f"{self.warehouse}/{tables.WARC_FILES.name}":
            raise WarehouseError(
                f"{self.namespace} is the lake at {place.removesuffix('/warc_files')} in this session; "
                f"open {self.warehouse} under another namespace"
            )

    def _open_table(self, table: Table) -> str | None:
        statement = table.ddl.replace(f"EXISTS {table.name} (", f"EXISTS {self.name(table)} (", 1)
        if self.warehouse is not None:
            location = sql_string(f"{self.warehouse}/{table.name}")
            statement = statement.replace("\nUSING DELTA\n", f"\nUSING DELTA\nLOCATION {location}\n", 1)
            exists = self.is_table(table)
            if exists:  # Registering by location alone lets our check, not Delta's, explain a difference.
                statement = f"CREATE TABLE IF NOT EXISTS {self.name(table)} USING DELTA LOCATION {location}"
        self.spark.sql(statement)
        try:
            table.check(self.spark.table(self.name(table)).schema)
        except ContractError as error:
            return str(error)
        return None

    def is_table(self, table: Table) -> bool:
        """Whether the Delta table is in the warehouse already."""
        path = f"{self.warehouse}/{table.name}"
        if is_local(path):
            return (Path(path) / "_delta_log").is_dir()
        return bool(self.spark.sql(f"SHOW TABLES IN {self.namespace} LIKE '{table.name}'").head(1))

    def version(self, table: Table) -> int:
        """Version of the newest commit."""
        return next(iter(self.commits(table))).version

    def commits(self, table: Table) -> Iterator[Commit]:
        """The commits of a table, newest first, as far back as its log is kept."""
        log = Path(f"{self.warehouse}/{table.name}/_delta_log")
        if self.warehouse is not None and log.is_dir():
            # A local log is read directly: DESCRIBE HISTORY takes a second for what is one small file.
            for path in sorted(log.glob(_COMMIT_FILE), reverse=True):
                actions = map(json.loads, path.read_text(encoding="utf-8").splitlines())
                info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
                yield Commit(int(path.stem), info.get("operation", ""), info.get("userMetadata"))
        else:
            for row in self.spark.sql(f"DESCRIBE HISTORY {self.name(table)} LIMIT 200").collect():
                yield Commit(row["version"], row["operation"], row["userMetadata"])

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The rows of a table, now or as of a version."""
        if version is None:
            return self.spark.table(self.name(table))
        return self.spark.sql(f"SELECT * FROM {self.name(table)} VERSION AS OF {version}")

    def replace(
        self, table: Table, rows: DataFrame, part: Mapping[str, Sequence[str]], metadata: Mapping[str, Any]
    ) -> None:
        """Put `rows` in the place of the slice that `part` names by column and values, in one commit; without any, of
        the whole table.

        Raises:
            ContractError: `rows` do not match the contract. Nothing was written.
        """
        table.check(rows.schema)
        condition = (
            " AND ".join(f"{column} IN ({', '.join(map(sql_string, part[column]))})" for column in part) or "true"
        )
        chosen, note = rows.select(*table.columns), json.dumps(metadata, sort_keys=True)
        if self.spark.version.startswith("3."):
            # There Delta refuses saveAsTable on a table that is there already.
            chosen.writeTo(self.name(table)).option("userMetadata", note).overwrite(F.expr(condition))
        else:
            # Not writeTo, which makes no commit where nothing is replaced by nothing, and the metadata would be lost.
            writer = chosen.write.format("delta").mode("overwrite").option("replaceWhere", condition)
            writer.option("userMetadata", note).saveAsTable(self.name(table))

    def last_metadata(self, table: Table, part: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
        """Metadata of the commit that wrote this slice, or None when a commit that is not ours came after it."""
        for commit in self.commits(table):
            metadata = json.loads(commit.metadata or "null")
            if isinstance(metadata, dict) and metadata.get("slice") == part:
                return metadata
            if metadata is None and commit.operation not in _ROWLESS:
                return None
        return None


def sql_string(value: str) -> str:
    """A SQL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
