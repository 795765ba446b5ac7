"""Files of fastText models: what can be known of one before fastText reads it, which it does without checking.

Used by the kernels of languages and of classifiers (Joulin et al. 2017).
"""

from __future__ import annotations

import struct
from pathlib import Path

import fasttext

from etl.models import ModelError

LABEL = "__label__"  # begins every label
# How every file begins: a magic number, and the version of the format (FastText.checkModel).
START = struct.Struct("<ii")
MAGIC, MAX_VERSION = 793712314, 12


def check_start(path: Path, name: str) -> None:
    """See that a file is a fastText model; `name` is what messages call it.

    Raises:
        ModelError: it begins otherwise, or is of a newer format.
    """
    with path.open("rb") as file:
        start = file.read(START.size)
    magic, version = START.unpack(start) if len(start) == START.size else (0, 0)
    if magic != MAGIC:
        raise ModelError(f"{name} is no fastText model: it begins with {start!r}")
    if version > MAX_VERSION:
        raise ModelError(f"{name} is of version {version} of fastText's format, wanted {MAX_VERSION} or less")


def load(path: Path, name: str) -> tuple[fasttext.FastText._FastText, tuple[str, ...]]:
    """The model of a file, and its labels; none where it is no classifier, as a model of word vectors.

    Raises:
        ModelError: fastText cannot load it.
    """
    try:
        # The class is what fasttext.load_model returns, after a warning on standard error in some releases.
        model = fasttext.FastText._FastText(model_path=str(path))
        labels = tuple(model.get_labels())
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{name} cannot be loaded: {error}") from error
    # A model of word vectors gives its words here.
    return model, labels if all(label.startswith(LABEL) for label in labels) else ()
