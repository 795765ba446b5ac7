"""Tables are contracts: one ``CREATE TABLE`` file each in ``schemas/``, read as it stands by SQL users and by us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from etl import resources
from etl.errors import ContractError

_STATEMENT = re.compile(
    r"\A\s*CREATE TABLE IF NOT EXISTS (?P<name>\w+) \(\n(?P<columns>.*?)\n\)\nUSING DELTA\n(?P<rest>.*)\Z", re.DOTALL
)
_PROPERTY = re.compile(r"'(?P<key>etl\.\w+)' = '(?P<value>[^']*)'")
_COLUMN = re.compile(r"^\s*(\w+)\s", re.MULTILINE)


@dataclass(frozen=True)
class Table:
    """A Delta table by contract: its name, its ``CREATE TABLE`` statement, the key of its rows and its slice.

    A slice is what one commit replaces: all rows with the same values in the columns of `slice`.
    """

    name: str
    ddl: str
    columns_ddl: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    slice: tuple[str, ...]

    @cached_property
    def schema(self) -> StructType:
        """Columns, types and comments as the active session parses them (StructType.fromDDL is Spark 4 only)."""
        return SparkSession.active().createDataFrame([], self.columns_ddl).schema

    def check(self, found: StructType) -> None:
        """Compare names and types with the contract; order and nullability are set at the write.

        Raises:
            ContractError: all differences, in one message.
        """
        # simpleString leaves out nullability, which the results of UDFs do not keep.
        wanted = {field.name: field.dataType.simpleString() for field in self.schema}
        have = {field.name: field.dataType.simpleString() for field in found}
        problems = [
            f"{name!r} is {have[name]}, the contract says {wanted[name]}"
            for name in wanted
            if name in have and have[name] != wanted[name]
        ]
        problems += [f"{name!r} is missing" for name in wanted if name not in have]
        problems += [f"{name!r} is not in the contract" for name in have if name not in wanted]
        if problems:
            raise ContractError(f"{self.name}: {'; '.join(problems)}")


def parse(ddl: str, origin: str) -> Table:
    """A table from its ``CREATE TABLE`` statement.

    Raises:
        ContractError: the statement is not of the form that ``schemas/`` uses; `origin` names the file.
    """
    match = _STATEMENT.match(ddl)
    if match is None:
        raise ContractError(f"{origin}: wanted CREATE TABLE IF NOT EXISTS name (...) USING DELTA, one column a line")
    properties = {found["key"]: found["value"] for found in _PROPERTY.finditer(match["rest"])}
    columns = tuple(_COLUMN.findall(match["columns"]))
    key, part = (tuple(re.split(r",\s*", properties.get(name, ""))) for name in ("etl.key", "etl.slice"))
    unknown = sorted({*key, *part} - set(columns))
    if unknown:
        raise ContractError(f"{origin}: etl.key and etl.slice must name columns, found {unknown}")
    return Table(match["name"], ddl, match["columns"], columns, key, part)


def load(name: str) -> Table:
    """The contract in ``schemas/<name>.sql``."""
    path = resources.folder("schemas") / f"{name}.sql"
    return parse(path.read_text(encoding="utf-8"), origin=path.name)


WARC_FILES = load("warc_files")
CAPTURES = load("captures")
URL_SIGNALS = load("url_signals")
DOCUMENTS = load("documents")
DOCUMENT_LANGUAGE = load("document_language")
DOCUMENT_QUALITY = load("document_quality")
DOCUMENT_TOKENS = load("document_tokens")
DOCUMENT_PII = load("document_pii")
DOCUMENT_SENTENCES = load("document_sentences")
DOCUMENT_SCORES = load("document_scores")
DOCUMENT_CONTAMINATION = load("document_contamination")
HOST_ROBOTS = load("host_robots")
DOCUMENT_ROBOTS = load("document_robots")
DOCUMENT_MINHASH = load("document_minhash")
DUPLICATE_CANDIDATES = load("duplicate_candidates")
DUPLICATE_PAIRS = load("duplicate_pairs")
DOCUMENT_EMBEDDINGS = load("document_embeddings")
SEMANTIC_CENTROIDS = load("semantic_centroids")
SEMANTIC_PAIRS = load("semantic_pairs")
DUPLICATE_CLUSTERS = load("duplicate_clusters")
DISPOSITIONS = load("dispositions")
DOCUMENT_REPEATS = load("document_repeats")
CORPUS = load("corpus")
TRAINING_DOCUMENTS = load("training_documents")
INSTRUCTION_FILES = load("instruction_files")
INSTRUCTIONS = load("instructions")
PREFERENCES = load("preferences")
INSTRUCTION_DUPLICATES = load("instruction_duplicates")
INSTRUCTION_CONTAMINATION = load("instruction_contamination")
INSTRUCTION_DISPOSITIONS = load("instruction_dispositions")
TRAINING_EXAMPLES = load("training_examples")
TRAINING_PAIRS = load("training_pairs")
TRAINING_SETS = load("training_sets")
TRAINING_BLOCKS = load("training_blocks")
TRAINING_PACKINGS = load("training_packings")
MODELS = load("models")
MODEL_STEPS = load("model_steps")
EVALUATIONS = load("evaluations")
EVALUATION_ITEMS = load("evaluation_items")
EXPERIMENTS = load("experiments")
STAGE_FILES = load("stage_files")

ALL = (
    WARC_FILES,
    CAPTURES,
    URL_SIGNALS,
    DOCUMENTS,
    DOCUMENT_LANGUAGE,
    DOCUMENT_QUALITY,
    DOCUMENT_TOKENS,
    DOCUMENT_PII,
    DOCUMENT_SENTENCES,
    DOCUMENT_SCORES,
    DOCUMENT_CONTAMINATION,
    HOST_ROBOTS,
    DOCUMENT_ROBOTS,
    DOCUMENT_MINHASH,
    DUPLICATE_CANDIDATES,
    DUPLICATE_PAIRS,
    DOCUMENT_EMBEDDINGS,
    SEMANTIC_CENTROIDS,
    SEMANTIC_PAIRS,
    DUPLICATE_CLUSTERS,
    DISPOSITIONS,
    DOCUMENT_REPEATS,
    CORPUS,
    TRAINING_DOCUMENTS,
    INSTRUCTION_FILES,
    INSTRUCTIONS,
    PREFERENCES,
    INSTRUCTION_DUPLICATES,
    INSTRUCTION_CONTAMINATION,
    INSTRUCTION_DISPOSITIONS,
    TRAINING_EXAMPLES,
    TRAINING_PAIRS,
    TRAINING_SETS,
    TRAINING_BLOCKS,
    TRAINING_PACKINGS,
    MODELS,
    MODEL_STEPS,
    EVALUATIONS,
    EVALUATION_ITEMS,
    EXPERIMENTS,
    STAGE_FILES,
)
