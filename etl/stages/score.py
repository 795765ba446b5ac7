"""What models say of documents: a number for each document and model, made once and kept.

Models are the dearest work, so a document is scored by a model only once, and by a dear model only when every rule that
needs no model has kept it: `dispositions` then says ``not_scored``, which is what this stage looks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tables
from etl.config import STRICT
from etl.kernels import classifier, fasttext_classifier, perspective, quality_model, toxicity
from etl.kernels.classifier import Settings as ClassifierSettings
from etl.kernels.fasttext_classifier import Settings as FastTextSettings
from etl.kernels.perspective import Settings as PerspectiveSettings
from etl.kernels.quality_model import Settings as QualitySettings
from etl.kernels.toxicity import Settings as ToxicitySettings
from etl.models import ModelError
from etl.stage import Stage, partitions
from etl.stages import devices
from etl.stages.rules import NOT_SCORED, SIGNALS

# A key of a file of conf/scorers, and the kernel that it is for.
ENGINES: dict[str, ModuleType] = {
    "quality": quality_model,
    "toxicity": toxicity,
    "transformers": classifier,
    "fasttext": fasttext_classifier,
    "perspective": perspective,
}
ALL, SURVIVORS = "all", "survivors"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())]))


@dataclass(frozen=True)
class Scorer:
    """A model that gives documents a number: a file of ``conf/scorers``, with the settings of one engine.

    `scope` is all, for a model that is cheap enough to score every document with text, or survivors, for one that
    scores only documents that the recipe keeps by every rule before. `digest` is what decided the scores when the run
    was planned; `pinned` fills it in.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    scope: str = SURVIVORS
    quality: QualitySettings | None = None
    toxicity: ToxicitySettings | None = None
    transformers: ClassifierSettings | None = None
    fasttext: FastTextSettings | None = None
    perspective: PerspectiveSettings | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not _NAME.fullmatch(self.name) or self.name in SIGNALS:
            problems.append(f"name is {self.name!r}, wanted letters, digits and _, and not the name of a signal")
        if self.scope not in (ALL, SURVIVORS):
            problems.append(f"scope is {self.scope!r}, wanted {ALL} or {SURVIVORS}")
        if len(self._engines) != 1:
            problems.append(f"engines are {self._engines or 'none'}, wanted one of {', '.join(ENGINES)}")
        if problems:
            raise ValueError(f"scorer {self.name!r}: {'; '.join(problems)}")

    @property
    def _engines(self) -> list[str]:
        return [name for name in ENGINES if getattr(self, name) is not None]

    @property
    def engine(self) -> ModuleType:
        """The kernel that scores."""
        return ENGINES[self._engines[0]]

    @property
    def settings(self) -> Any:
        """What that kernel is asked for."""
        return getattr(self, self._engines[0])

    def pinned(self) -> Scorer:
        """This model as it is now, loaded once to see that it can be.

        Raises:
            ModelError: it is missing, damaged, or not what the settings say.
        """
        try:
            self.engine.check(self.settings)
            return replace(self, digest=self.engine.digest(self.settings))
        except ModelError as error:
            raise ModelError(f"scorer {self.name!r}: {error}") from error

    @property
    def model(self) -> str:
        """How tables name scores that can be compared; of a scorer that is pinned."""
        return f"{self.name}@{(self.digest or '')[:12]}"


@dataclass(frozen=True)
class ScoreParams:
    """A pinned scorer, and the recipe whose survivors it scores where its scope is survivors."""

    __pydantic_config__ = STRICT

    scorer: Scorer
    recipe: str = ""


def waiting(
    documents: DataFrame, dispositions: DataFrame, document_scores: DataFrame, params: ScoreParams
) -> DataFrame:
    """The documents that the model has not scored and should: doc_id, warc_filename, text_hash, text."""
    texts = documents.where(F.col("text").isNotNull()).select("doc_id", "warc_filename", "text_hash", "text")
    scorer = params.scorer
    if scorer.scope == SURVIVORS:
        is_asked = (F.col("rule") == NOT_SCORED) & (F.col("signal") == scorer.name)
        asked = dispositions.where((F.col("recipe") == params.recipe) & is_asked)
        texts = texts.join(asked.select("doc_id"), "doc_id", how="left_semi")
    known = document_scores.where(F.col("model") == scorer.model).select("doc_id", "text_hash")
    return texts.join(known, ["doc_id", "text_hash"], how="left_anti").select(*texts.columns)


def document_scores(
    documents: DataFrame, dispositions: DataFrame, document_scores: DataFrame, params: ScoreParams
) -> DataFrame:
    """What the model has said of these documents, and what it says of those that wait.

    Scores of texts that have changed since are left out.
    """
    scorer = params.scorer
    texts = documents.select("doc_id", "text_hash")
    # Key: documents has one row per doc_id.
    known = document_scores.where(F.col("model") == scorer.model).join(texts, ["doc_id", "text_hash"], how="left_semi")
    todo = waiting(documents, dispositions, document_scores, params)
    # An archive can be one file and so one task, and models are worth a shuffle. The API has one quota for all.
    tasks = 1 if scorer.perspective else partitions(documents.sparkSession)
    scored = todo.repartition(tasks, "doc_id").mapInArrow(_score(scorer), tables.DOCUMENT_SCORES.columns_ddl)
    return known.select(*tables.DOCUMENT_SCORES.columns).unionByName(scored)


def _score(scorer: Scorer) -> Any:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        is_checked = False
        for batch in batches:
            if not is_checked:
                # Only where there are documents: a task without any loads no model.
                devices.claim()
                _is_as_planned(scorer)
                is_checked = True
            for part in _parts(batch, scorer):
                yield _rows(part, scorer)

    return work


def _parts(batch: pa.RecordBatch, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    """A batch in parts that are not long in coming: Spark kills a worker that gives nothing for an hour.

    The API may be asked once a second, and sixteen times for a long text. A part takes 1.1 kB, so that the 64 kB that
    Python holds back are on their way after a quarter of an hour at most.
    """
    rows = math.ceil(scorer.perspective.requests_per_second) if scorer.perspective else max(1, batch.num_rows)
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _is_as_planned(scorer: Scorer) -> None:
    found = scorer.engine.digest(scorer.settings)
    if scorer.digest is not None and found != scorer.digest:
        raise ModelError(
            f"scorer {scorer.name!r} is another model on this worker than where the run was planned: "
            f"{found[:12]}, wanted {scorer.digest[:12]}"
        )


def _rows(batch: pa.RecordBatch, scorer: Scorer) -> pa.RecordBatch:
    found = scorer.engine.score(batch.column("text").to_pylist(), scorer.settings)
    columns = {
        **{name: batch.column(name) for name in ("doc_id", "warc_filename", "text_hash")},
        "scorer": pa.array([scorer.name] * len(found), pa.string()),
        "model": pa.array([scorer.model] * len(found), pa.string()),
        "score": pa.array([each.score for each in found], pa.float64()),
        "level": pa.array([each.level for each in found], pa.int64()),
        "worst": pa.array([each.worst for each in found], pa.float64()),
        "spans": pa.array([[span._asdict() for span in each.spans] for each in found], _SPANS),
        "read": pa.array([each.read for each in found], pa.int64()),
        "error": pa.array([each.error for each in found], pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


DOCUMENT_SCORES = Stage(
    document_scores,
    inputs=(tables.DOCUMENTS, tables.DISPOSITIONS, tables.DOCUMENT_SCORES),
    output=tables.DOCUMENT_SCORES,
    params=ScoreParams,
    missing=waiting,
)
