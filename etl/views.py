"""Views are questions that come up often: one ``CREATE OR REPLACE VIEW`` file each in ``schemas/views/``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import SparkSession

from etl import resources
from etl.errors import ContractError

_STATEMENT = re.compile(
    r"\A\s*CREATE OR REPLACE VIEW (?P<name>\w+) \(\n.*?\n\)\nCOMMENT '(?P<comment>[^']*)'\nAS\n", re.DOTALL
)


@dataclass(frozen=True)
class View:
    """A view by its statement. Tables in it are named without a namespace: they are those beside the view."""

    name: str
    comment: str
    ddl: str

    @property
    def query(self) -> str:
        """The SELECT statement of the view."""
        return self.ddl.split("\nAS\n", 1)[1]


def parse(ddl: str, origin: str) -> View:
    """A view from its statement.

    Raises:
        ContractError: the statement is not of the form that ``schemas/views/`` uses; `origin` names the file.
    """
    match = _STATEMENT.match(ddl)
    if match is None:
        raise ContractError(f"{origin}: wanted CREATE OR REPLACE VIEW name (...) COMMENT '...' AS, one column a line")
    return View(match["name"], match["comment"], ddl)


def load(name: str) -> View:
    """The view in ``schemas/views/<name>.sql``."""
    path = resources.folder("schemas") / "views" / f"{name}.sql"
    return parse(path.read_text(encoding="utf-8"), origin=path.name)


FUNNEL = load("funnel")
RULE_FAILURES = load("rule_failures")
DROPS_BY_RULE_AND_HOST = load("drops_by_rule_and_host")
HOST_SHARES = load("host_shares")
LANGUAGE_SHARES = load("language_shares")
DUPLICATES_KEPT = load("duplicates_kept")
DUPLICATE_EVIDENCE = load("duplicate_evidence")
SCORE_THRESHOLDS = load("score_thresholds")
ANNOTATIONS = load("annotations")
ARCHIVE_HEALTH = load("archive_health")
LEDGER = load("ledger")
MIXTURE_SHARES = load("mixture_shares")
MIXTURE_ORIGINS = load("mixture_origins")
MODEL_PAGES = load("model_pages")

ALL = (
    FUNNEL,
    RULE_FAILURES,
    DROPS_BY_RULE_AND_HOST,
    HOST_SHARES,
    LANGUAGE_SHARES,
    DUPLICATES_KEPT,
    DUPLICATE_EVIDENCE,
    SCORE_THRESHOLDS,
    ANNOTATIONS,
    ARCHIVE_HEALTH,
    LEDGER,
    MIXTURE_SHARES,
    MIXTURE_ORIGINS,
    MODEL_PAGES,
)


def create(spark: SparkSession, namespace: str) -> None:
    """Make all views in `namespace`, beside the tables that they read."""
    # A view reads the tables of the namespace that was current when it was made.
    with using(spark, namespace), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda view: spark.sql(view.ddl), ALL))


@contextmanager
def using(spark: SparkSession, namespace: str) -> Iterator[None]:
    """Names without a namespace are those of `namespace` while the block runs."""
    before = spark.sql("SELECT current_catalog(), current_database()").head()
    spark.sql(f"USE {namespace}")
    try:
        yield
    finally:
        if before is not None:
            spark.sql(f"USE {'.'.join(f'`{name}`' for name in before)}")
