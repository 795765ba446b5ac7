"""A rule: one condition on one signal, the same in Spark over a table and in Python over one page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels.pages import Skip
from etl.tables import Table

# Tables whose columns a rule may read, by the stage that a disposition names.
SIGNAL_TABLES: tuple[Table, ...] = (
    tables.URL_SIGNALS,
    tables.DOCUMENTS,
    tables.DOCUMENT_LANGUAGE,
    tables.DOCUMENT_TOKENS,
    tables.DOCUMENT_QUALITY,
    tables.DOCUMENT_PII,
    tables.DOCUMENT_CONTAMINATION,
    tables.DOCUMENT_ROBOTS,
)
# Made where a run names benchmarks, or where a recipe asks for it. A recipe whose rules read none does without.
OPTIONAL = (tables.DOCUMENT_CONTAMINATION, tables.DOCUMENT_ROBOTS)
# What a rule may read of what a scorer says of a document, as in `quality.score`.
SCORE_FIELDS = ("score", "level", "worst")
NOT_SCORED = "not_scored"  # the rule of a disposition that waits for a model
SIGNALS = {column: table.name for table in reversed(SIGNAL_TABLES) for column in table.columns}


def scorer_of(signal: str) -> str | None:
    """The scorer that a signal such as ``quality.score`` is of; None for a signal that is a column of a table."""
    scorer, _, column = signal.partition(".")
    return scorer if scorer and column in SCORE_FIELDS else None


def table_of(signal: str) -> str | None:
    """The name of the table that a signal stands in; None where no table has it."""
    return tables.DOCUMENT_SCORES.name if scorer_of(signal) else SIGNALS.get(signal)


def reads(rules: Iterable[Rule], table: Table) -> bool:
    """Whether one of some rules reads a signal of `table`."""
    return any(table_of(rule.signal) == table.name for rule in rules)


def fits(crawl: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` fits the name of a crawl; a star in it stands for any characters, or none."""
    return any(re.fullmatch(".*".join(map(re.escape, each.split("*"))), crawl, re.DOTALL) for each in patterns)


def crawl_fits(patterns: Sequence[str]) -> Column:
    """The same as a condition on the column `crawl`."""
    likes = [re.sub(r"([\\%_])", r"\\\1", each).replace("*", "%") for each in patterns]
    return reduce(or_, [F.col("crawl").like(each) for each in likes], F.lit(False))


@dataclass(frozen=True)
class Rule:
    """One condition that a document must meet. Exactly one bound is given; `min` and `max` are inclusive.

    With `languages`, the rule only counts for documents of these languages; with `crawls`, for those of crawls that
    one of these patterns fits (``CC-MAIN-*``), with `except_crawls` for those that none of these fits (``code:*``).
    `by_language` gives the bound of some languages, in place of `min` or `max`, which is that of the others. A signal
    that is missing fails.
    """

    __pydantic_config__ = STRICT

    name: str
    signal: str
    min: float | None = None
    max: float | None = None
    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    crawls: tuple[str, ...] | None = None
    except_crawls: tuple[str, ...] = ()
    by_language: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds = [bound for bound in ("min", "max", "one_of", "none_of") if getattr(self, bound) is not None]
        if len(bounds) != 1:
            raise ValueError(f"rule {self.name!r} has {bounds or 'no bound'}, wanted one of min, max, one_of, none_of")
        if self.by_language and self.threshold is None:
            raise ValueError(f"rule {self.name!r} has by_language beside {bounds[0]}, wanted it beside min or max")
        if self.crawls == () or "" in (*(self.crawls or ()), *self.except_crawls):
            raise ValueError(f"rule {self.name!r} has an empty list or name of crawls, wanted names such as CC-MAIN-*")
        if not self.is_known():
            raise ValueError(f"rule {self.name!r} reads {self.signal!r}, which no table of signals has")

    def is_known(self) -> bool:
        """Whether there can be such a signal: which scorers there are is known where the recipe is used."""
        return table_of(self.signal) is not None

    @property
    def crawl_patterns(self) -> tuple[str, ...]:
        """All names and patterns of crawls that the rule knows."""
        return (*(self.crawls or ()), *self.except_crawls)

    def is_about(self, crawl: str) -> bool:
        """Whether the rule counts for documents of a crawl."""
        return (self.crawls is None or fits(crawl, self.crawls)) and not fits(crawl, self.except_crawls)

    def about(self) -> Column:
        """The same as a condition on `crawl`."""
        listed = F.lit(True) if self.crawls is None else crawl_fits(self.crawls)
        return listed & ~crawl_fits(self.except_crawls) if self.except_crawls else listed

    def counts(self) -> Column:
        """Condition on the joined signals, never null: the rule is about a document of this language and crawl."""
        conditions = [self.about()] if self.crawl_patterns else []
        if self.languages:
            conditions.append(F.coalesce(F.col("language").isin(*self.languages), F.lit(False)))
        return reduce(and_, conditions, F.lit(True))

    @property
    def threshold(self) -> float | None:
        """The bound of a language that `by_language` does not name."""
        return self.max if self.min is None else self.min

    def bound(self) -> Column:
        """The bound that holds for a document, null for a rule of names."""
        bound = F.lit(self.threshold).cast("double")
        for language, value in self.by_language.items():
            bound = F.when(F.col("language") == language, F.lit(value)).otherwise(bound)
        return bound

    def fails(self) -> Column:
        """Condition on the joined signals, never null."""
        value = F.col(self.signal)
        if self.threshold is not None:
            # Without by_language a literal, which Spark can push down to the files.
            bound = self.bound() if self.by_language else F.lit(self.threshold)
            passes = value >= bound if self.min is not None else value <= bound
        else:
            passes = value.isin(*self.one_of) if self.one_of is not None else ~value.isin(*(self.none_of or ()))
        return ~F.coalesce(passes, F.lit(False)) & self.counts()

    def passes(self, value: Any, language: str | None = None) -> bool:
        """The same for the value of one document in a language."""
        if self.languages and language not in self.languages:
            return True
        if value is None:
            return False
        if self.threshold is not None:
            bound = self.by_language.get(language or "", self.threshold)
            return bool(value >= bound if self.min is not None else value <= bound)
        return value in self.one_of if self.one_of is not None else value not in (self.none_of or ())

    def only(self) -> str:
        """Of which documents it is asked, in words that go on after the bound; empty where of all."""
        languages = f", in {', '.join(self.languages)}" if self.languages else ""
        crawls = f", of {', '.join(self.crawls)}" if self.crawls else ""
        return languages + crawls + (f", not of {', '.join(self.except_crawls)}" if self.except_crawls else "")

    def skip(self) -> Column:
        """What `documents.skipped` says of a page that fails."""
        return F.struct(
            F.lit(table_of(self.signal)).alias("stage"),
            F.lit(self.name).alias("rule"),
            F.lit(self.signal).alias("signal"),
            (F.lit(None) if self.threshold is None else F.col(self.signal)).cast("double").alias("value"),
            F.lit(self.threshold).cast("double").alias("threshold"),
            F.concat(is_value(self.signal), F.lit(f", wanted {self.wanted()}")).alias("detail"),
        )

    def wanted(self) -> str:
        """The bound in words."""
        if self.threshold is not None:
            others = "".join(f", {language} {value:g}" for language, value in self.by_language.items())
            return f"at {'least' if self.min is not None else 'most'} {self.threshold:g}{others}"
        names = self.one_of if self.one_of is not None else self.none_of or ()
        return f"{'one' if self.one_of is not None else 'none'} of {', '.join(names)}"


def is_value(signal: str) -> Column:
    """What was found, in words; of a score that is missing, why."""
    scorer = scorer_of(signal)
    nothing = [F.col(f"{scorer}.error")] if scorer else []
    value = F.col(signal).cast("string")
    return F.concat(F.lit(f"{signal} is "), F.coalesce(value, *nothing, F.lit("missing")))


# What a page says of its use.
HEAD_SIGNALS = frozenset({"no_index", "no_ai", "tdm_reserved", "license", "license_place"})
# A page whose visible text is surely in one language has its main text in that language: see Early.
SURE_LANGUAGE_SCORE = 0.8


@dataclass(frozen=True)
class Early:
    """Rules of a recipe that can drop a page before its main text is cut out, which is most of the work.

    What a page's address and head say decides as it would later. Where all visible text is surely in a language
    (SURE_LANGUAGE_SCORE), the main text is taken to be too, which ``tests/bench/frontend.py`` counts the errors of.
    Thresholds on quality are not tried: a page whose visible text is too short costs next to nothing to extract, and
    another threshold would ask for another extraction.
    """

    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        """Those of `rules` that can be tried early, in order."""
        return tuple(rule for rule in rules if cls._can_try(rule))

    @staticmethod
    def _can_try(rule: Rule) -> bool:
        if rule.languages or rule.by_language:
            return False
        if rule.signal == "language":
            return rule.one_of is not None
        return table_of(rule.signal) == tables.URL_SIGNALS.name or rule.signal in HEAD_SIGNALS

    @property
    def asks_crawl(self) -> bool:
        """Whether two captures of the same bytes can differ in what becomes of them."""
        return any(rule.crawl_patterns for rule in self.rules)

    @property
    def signals(self) -> frozenset[str]:
        return frozenset(rule.signal for rule in self.rules)

    def rejects(self, found: Mapping[str, Any]) -> Skip | None:
        """The first rule that a page fails, by its crawl and those of the signals that are known of it."""
        for rule in self.rules:
            if rule.signal not in found or not rule.is_about(found["crawl"]):
                continue
            value = found[rule.signal]
            is_sure = rule.signal != "language" or (found["language_score"] or 0.0) >= SURE_LANGUAGE_SCORE
            if is_sure and not rule.passes(value):
                return self._skip(rule, value, found)
        return None

    @staticmethod
    def _skip(rule: Rule, value: Any, found: Mapping[str, Any]) -> Skip:
        is_language = rule.signal == "language"
        how = f" (score {found['language_score']:.2f}) in all text that the page shows" if is_language else ""
        return Skip(
            tables.DOCUMENTS.name,
            rule.name,
            rule.signal,
            None if rule.threshold is None else float(value),
            rule.threshold,
            f"{rule.signal} is {value}{how}, wanted {rule.wanted()}",
        )
