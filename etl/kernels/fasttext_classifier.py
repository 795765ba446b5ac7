"""A score by a trained fastText classifier: the probability of one of its labels, as DCLM selects web text by.

Any supervised fastText file serves (``.bin`` or ``.ftz``; Joulin et al. 2017): one of ``goldenlake train-classifier``,
or a published one such as that of DCLM (Li et al. 2024). fastText reads a file without checking it, so a file is loaded
only when its SHA-256 is the one that the settings say. A model is loaded once per process, and a text is one line to
it, so that a score never depends on the texts beside it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fasttext

from etl import models
from etl.config import STRICT
from etl.kernels import fasttext_file
from etl.kernels.fasttext_file import LABEL
from etl.kernels.scoring import Score
from etl.models import ModelError

FILES = ("model.bin", "model.ftz")  # of the folder that a training leaves
_VERSION = 1  # of `line`: raise it when the same text becomes another line
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Words that fastText takes for the end of a line and for a label, and what is read instead; the space in each keeps
# what stands before and after from making the word again.
_TAKEN = {LABEL: "__ label__", "</s>": "</ s>"}


@dataclass(frozen=True)
class Settings:
    """What decides a score beside the text: the model, which of its labels, and how a text becomes its line.

    `model` is the path of a file, or of the folder that a training left; `sha256` is that of the file. `label` may be
    written with or without ``__label__``. `lowercase` and `max_characters`, from the start of a text, must be those
    that the model was trained with.
    """

    __pydantic_config__ = STRICT

    model: str
    sha256: str
    label: str = "positive"
    lowercase: bool = False
    max_characters: int = 100_000

    def __post_init__(self) -> None:
        problems = []
        if not _SHA256.fullmatch(self.sha256):
            problems.append(f"sha256 is {self.sha256!r}, wanted 64 digits of 0-9 and a-f")
        if not self.label.removeprefix(LABEL):
            problems.append("label is empty")
        if self.max_characters < 1:
            problems.append(f"max_characters is {self.max_characters}, wanted at least 1")
        if problems:
            raise ValueError("; ".join(problems))


def score(texts: Sequence[str], settings: Settings) -> list[Score]:
    """The probability of the label for each text, 0 to 1; a text without a word has none.

    Raises:
        ModelError: the file is missing, is not the one of `sha256`, is no classifier, or has no such label.
    """
    model, label = _model(settings)
    lines = [line(text, lowercase=settings.lowercase, max_characters=settings.max_characters) for text in texts]
    found: list[Score] = []
    for text, each in zip(texts, lines, strict=True):
        read = min(len(text), settings.max_characters)
        if not each:
            found.append(Score(None, read, error="empty: no word"))
            continue
        # The form for lists: that for one string fails in some releases with NumPy 2.
        ((labels, probabilities),) = zip(*model.predict([each], k=-1), strict=True)
        of_label = dict(zip(labels, probabilities, strict=True))
        if not of_label:
            found.append(Score(None, read, error="empty: no word that the model knows"))
            continue
        # fastText adds 1e-5 before it takes the logarithm, so that a sure answer is a little above 1.
        found.append(Score(min(max(float(of_label.get(label, 0.0)), 0.0), 1.0), read))
    return found


def line(text: str, *, lowercase: bool, max_characters: int) -> str:
    """A text as the model reads it, in training and in use: one line, its words separated by single spaces."""
    head = text[:max_characters]
    if lowercase:
        head = head.lower()
    # A NUL separates words for fastText too. A lone surrogate has no UTF-8.
    words = " ".join(head.replace("\0", " ").encode(errors="replace").decode().split())
    for taken, instead in _TAKEN.items():
        words = words.replace(taken, instead)
    return words


def digest(settings: Settings) -> str:
    """SHA-256 of what decides the scores: the file, the label, and how texts become lines.

    Raises:
        ModelError: the file is missing, or is not the one of `sha256`.
    """
    path = _file(settings.model)
    _check_sha256(path, settings)
    how = [settings.sha256, settings.label.removeprefix(LABEL), settings.lowercase, settings.max_characters, _VERSION]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()


def check(settings: Settings) -> None:
    """Load the model and find its label.

    Raises:
        ModelError: as `score`.
    """
    _model(settings)


def _model(settings: Settings) -> tuple[fasttext.FastText._FastText, str]:
    """The model, and the label as its file writes it."""
    path = _file(settings.model)
    _check_sha256(path, settings)
    model, labels = _loaded(path, settings.sha256)
    wanted = settings.label.removeprefix(LABEL)
    for label in labels:
        if label.removeprefix(LABEL) == wanted:
            return model, label
    names = [label.removeprefix(LABEL) for label in labels]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    raise ModelError(f"{settings.model} has no label {wanted!r}: its labels are {', '.join(names[:20])}{more}")


def _file(model: str) -> Path:
    path = Path(model)
    if path.is_dir():
        inside = [path / name for name in FILES if (path / name).is_file()]
        if len(inside) != 1:
            found = " and ".join(file.name for file in inside) or "neither"
            raise ModelError(f"{model} holds {found}: wanted one of {' and '.join(FILES)}")
        return inside[0]
    if not path.is_file():
        raise ModelError(f"there is no fastText model {model!r}: wanted the path of a file, or of a folder with one")
    return path


def _check_sha256(path: Path, settings: Settings) -> None:
    found = models.sha256(path)
    if found != settings.sha256:
        raise ModelError(f"{path} is not the model that was named: its SHA-256 is {found}, wanted {settings.sha256}")


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, _sha256: str) -> tuple[fasttext.FastText._FastText, tuple[str, ...]]:
    fasttext_file.check_start(path, str(path))
    model, labels = fasttext_file.load(path, str(path))
    if not labels:
        raise ModelError(f"{path} is no classifier: it has no labels that begin with {LABEL}")
    return model, labels
