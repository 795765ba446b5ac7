"""What the address of each page says: on which block lists it is, which words it has. No row is ever dropped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import pyarrow as pa
from pyspark.sql import DataFrame

from etl import tables
from etl.config import STRICT
from etl.errors import ConfigError
from etl.kernels import urls
from etl.stage import Stage
from etl.stages.extract import is_page

_KEYS = ["doc_id", "warc_filename"]


@dataclass(frozen=True)
class UrlParams:
    """Lists of domains, URLs and words: names of ``conf/lists``, or paths (see `etl.kernels.urls` for their form).

    `digests` is what the files held when the run was planned, so that a changed list is another fingerprint. It is
    filled in by `pinned` and never written by hand.
    """

    __pydantic_config__ = STRICT

    lists: tuple[str, ...] = ("adult",)
    digests: tuple[str, ...] = ()

    def pinned(self) -> UrlParams:
        """These lists as they are now.

        Raises:
            ConfigError: a list is missing, or has lines that are not of its kind.
        """
        digests = urls.digests(self.lists)
        _load(self.lists, digests)
        return replace(self, digests=digests)


@lru_cache(maxsize=1)
def _load(lists: tuple[str, ...], _digests: tuple[str, ...]) -> urls.Lists:
    """The lists as long as they hold the same: millions of lines are seconds, and are asked for twice a run."""
    return urls.Lists.load(lists)


def url_signals(captures: DataFrame, params: UrlParams) -> DataFrame:
    """One row per page: its place in the lists, its words, the kind of its path.

    The lists are read where the plan is made and travel with it, so executors need no copy of their files.

    Raises:
        ConfigError: a list is missing or wrong, or has changed since the params were pinned.
    """
    digests = urls.digests(params.lists)
    if params.digests and params.digests != digests:
        changed = sorted({line.split()[0] for line in set(digests) ^ set(params.digests)})
        raise ConfigError(f"lists have changed since the run was planned: {', '.join(changed)}")
    lists = _load(params.lists, digests)

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            signals = urls.batch(batch.column("url"), lists)
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(key) for key in _KEYS), *signals.columns], names=[*_KEYS, *signals.schema.names]
            )

    pages = captures.where(is_page()).select(*_KEYS, "url")
    return pages.mapInArrow(measure, tables.URL_SIGNALS.columns_ddl)


URL_SIGNALS = Stage(url_signals, inputs=(tables.CAPTURES,), output=tables.URL_SIGNALS, params=UrlParams)
