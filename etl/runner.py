"""Runs stages: reads their inputs, checks their results, writes them, and skips what is up to date.

Three kinds of work. *By file*: the tables from archives to annotations are made archive by archive, some archives to
a commit; `stage_files` then records a fingerprint of stage, params and inputs for each archive, so that only new and
changed ones are worked on. *As a whole*: a derived slice (a recipe's corpus, a training set) is made in one commit,
which carries the fingerprint in its metadata. *By document*: what a model says is added for documents that lack it.

A run that is killed leaves either no commit, or a commit without its fingerprint. In both cases the next run makes
the same slice again and replaces it, so the tables end as one clean run leaves them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

import etl
from etl import tables
from etl.lake import Lake
from etl.progress import Reporter
from etl.stage import Stage, digest, partitions

logger = logging.getLogger(__name__)

BATCH_BYTES_PER_PARTITION = 128 << 20  # archives of one commit: some minutes of work for each core
BATCH_FILES = 512  # names in the predicate of one commit
BATCH_DOCUMENTS_PER_PARTITION = 5000  # of one commit, for a model: at most some minutes for each core
UNKNOWN_BYTES = 1 << 30  # an archive of unknown size counts as one of Common Crawl's


@dataclass(frozen=True)
class Runner:
    """Runs stages on one lake and reports on them."""

    lake: Lake
    reporter: Reporter

    def by_file(self, stage: Stage, params: Any) -> None:
        """Make the rows of `stage` for every archive whose fingerprint is not the one on record.

        Raises:
            ContractError: the result does not match ``stage.output``. The batch was not written.
        """
        archives = self._archives()
        marks = self._marks({table.name for table in (*stage.inputs, stage.output)})
        # What stands for the rows of an archive in an input: the mark of the stage that made them, or for
        # `warc_files`, which is known before any stage, the size and selection of the archive.
        known = {name: digest([row["bytes"], row["selection"]])[:32] for name, row in archives.items()}
        states = [
            known if table is tables.WARC_FILES else marks[table.name]
            for table in stage.inputs
            if table is not stage.output
        ]
        archived = set(known).intersection(*states)
        wanted = {name: stage.fingerprint(params, *[state[name] for state in states]) for name in archived}
        have = marks[stage.output.name]
        pending = sorted(name for name in archived if have.get(name) != wanted[name])
        sizes = {name: archives[name]["bytes"] or UNKNOWN_BYTES for name in pending}
        batches = self._batches(sizes, BATCH_BYTES_PER_PARTITION)
        with self.reporter.stage(stage.name, len(batches)) as run:
            run.skipped = not batches
            for names in batches:
                with self.reporter.batch(run):
                    inputs = [self.lake.read(table).where(F.col("warc_filename").isin(names)) for table in stage.inputs]
                    rows = stage.transform(*inputs, params)
                    metadata = self._metadata(stage, params, {"warc_filename": names}, self._versions(stage))
                    self.lake.replace(stage.output, rows, {"warc_filename": names}, metadata)
                self._mark(stage, {name: wanted[name] for name in names}, metadata)

    def by_document(self, stage: Stage, params: Any, part: Mapping[str, str]) -> None:
        """Add the rows of documents that ``stage.missing`` names to the slice of each archive and `part`.

        No fingerprint is kept: what there is to do can be seen from the rows. A killed run leaves whole archives.
        """
        if stage.missing is None:
            raise ValueError(f"{stage.name} does not say which documents it lacks")
        versions = self._versions(stage)
        inputs = [self.lake.read(table, versions[table.name]) for table in stage.inputs]
        counted = stage.missing(*inputs, params).groupBy("warc_filename").count().collect()
        sizes = {row["warc_filename"]: row["count"] for row in counted}
        batches = self._batches(sizes, BATCH_DOCUMENTS_PER_PARTITION)
        with self.reporter.stage(stage.name, len(batches)) as run:
            run.skipped = not batches
            for names in batches:
                with self.reporter.batch(run):
                    of_names = [rows.where(F.col("warc_filename").isin(names)) for rows in inputs]
                    values = {"warc_filename": names, **{column: [value] for column, value in part.items()}}
                    metadata = self._metadata(stage, params, values, versions)
                    self.lake.replace(stage.output, stage.transform(*of_names, params), values, metadata)

    def whole(self, stage: Stage, params: Any, part: Mapping[str, str]) -> None:
        """Make the slice of ``stage.output`` that `part` names, or without any all of it, unless its inputs and params
        are unchanged.

        A stage with ``update`` brings the slice up to date by the archives that came since, when no other changed.

        Inputs are read at the versions that the commit's metadata names, whatever is committed meanwhile.
        """
        versions = self._versions(stage)
        # What a stage remembers of its own rows spares it work and changes no row.
        decisive = {name: version for name, version in versions.items() if name != stage.output.name}
        fingerprint = stage.fingerprint(params, digest(decisive))
        values = {column: [value] for column, value in part.items()}
        with self.reporter.stage(stage.name) as run:
            last = self.lake.last_metadata(stage.output, values)
            run.skipped = last is not None and last.get("fingerprint") == fingerprint
            if run.skipped:
                return
            with self.reporter.batch(run):
                inputs = [self.lake.read(table, versions[table.name]) for table in stage.inputs]
                if stage.require is not None:
                    stage.require(*inputs, params)
                marks, added = ({}, None) if stage.update is None else self._added(stage, params)
                if added is None or last is None:
                    rows = stage.transform(*inputs, params)
                else:
                    rows = stage.update(*inputs, self.lake.read(stage.output), added, params)  # type: ignore[misc]
                metadata = {**self._metadata(stage, params, values, versions), "fingerprint": fingerprint}
                self.lake.replace(stage.output, rows, values, metadata)
                if stage.update is not None:
                    # A run that is killed before this updates again, by archives that the rows know already.
                    self._mark(stage, marks, metadata, only_these=True)

    def _added(self, stage: Stage, params: Any) -> tuple[dict[str, str], list[str] | None]:
        """The fingerprint of what each archive gives to a stage that makes a whole, and the archives that its last
        rows lack; None instead of these when others have changed or gone since."""
        marks = self._marks({table.name for table in (*stage.inputs, stage.output)})
        states = [marks[table.name] for table in stage.inputs]
        archived = set(states[0]).intersection(*states)
        wanted = {name: stage.fingerprint(params, *[state[name] for state in states]) for name in archived}
        have = marks[stage.output.name]
        if not have or any(wanted.get(name) != mark for name, mark in have.items()):
            return wanted, None
        return wanted, sorted(archived - have.keys())

    def _archives(self) -> dict[str, Row]:
        rows = self.lake.read(tables.WARC_FILES).select("warc_filename", "bytes", "selection").collect()
        return {row["warc_filename"]: row for row in rows}

    def _marks(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """For each table of `names`, the fingerprint of its rows by archive."""
        marks: dict[str, dict[str, str]] = {name: {} for name in names}
        for row in self.lake.read(tables.STAGE_FILES).where(F.col("stage").isin(*names)).collect():
            marks[row["stage"]][row["warc_filename"]] = row["fingerprint"]
        return marks

    def _batches(self, sizes: Mapping[str, int], per_partition: int) -> list[list[str]]:
        """Archives by name, with their sizes in bytes or documents, in batches that are worth a commit each."""
        budget = per_partition * partitions(self.lake.spark)
        batches: list[list[str]] = []
        filled = 0
        for name in sorted(sizes):
            if not batches or filled + sizes[name] > budget or len(batches[-1]) == BATCH_FILES:
                batches.append([])
                filled = 0
            batches[-1].append(name)
            filled += sizes[name]
        return batches

    def _mark(
        self, stage: Stage, fingerprints: Mapping[str, str], metadata: Mapping[str, Any], *, only_these: bool = False
    ) -> None:
        """Record fingerprints of archives; with `only_these`, the stage then has no others."""
        rows = [(stage.output.name, name, fingerprint) for name, fingerprint in fingerprints.items()]
        marks = self.lake.spark.createDataFrame(rows, tables.STAGE_FILES.schema)
        part = {"stage": [stage.output.name]}
        if not only_these:
            part["warc_filename"] = list(fingerprints)
        self.lake.replace(tables.STAGE_FILES, marks, part, metadata)

    def _versions(self, stage: Stage) -> dict[str, int]:
        return {table.name: self.lake.version(table) for table in stage.inputs}

    @staticmethod
    def _metadata(stage: Stage, params: Any, part: Mapping[str, Any], versions: Mapping[str, int]) -> dict[str, Any]:
        return {
            "stage": stage.name,
            "stage_version": stage.version,
            "params": asdict(params),
            "package": f"goldenlake {etl.__version__}",
            "inputs": dict(versions),
            "slice": part,
        }
