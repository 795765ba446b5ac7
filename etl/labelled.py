"""Texts, or what names them, with the labels that people gave them.

A label is yes or no. `QUALITY` and `TOXICITY` say which words mean which; of two numbers the higher means yes, and a
number with more than two values, such as a level from 0 to 5, needs a threshold. What cannot be understood is an error
that names every problem at once.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from etl.errors import InputError

Labels = NDArray[np.bool_]

ANSWERS = {"1": True, "true": True, "yes": True, "y": True, "0": False, "false": False, "no": False, "n": False}
QUALITY = ANSWERS | {
    **dict.fromkeys(("good", "high", "positive", "pos", "keep", "educational", "ham", "hq", "high-quality"), True),
    **dict.fromkeys(("bad", "low", "negative", "neg", "drop", "not-educational", "spam", "lq", "low-quality"), False),
}
TOXICITY = ANSWERS | {
    **dict.fromkeys(("toxic", "hateful", "hate", "offensive", "abusive", "harmful", "unsafe", "bad", "high"), True),
    **dict.fromkeys(("non-toxic", "not-toxic", "non-hateful", "not-hateful", "neither", "neutral", "none"), False),
    **dict.fromkeys(("not-offensive", "non-offensive", "clean", "harmless", "safe", "good", "low"), False),
}
MANY = 12  # labels and places that an error names
LONG = 40  # characters of a label that it shows


class Labelled(NamedTuple):
    """Texts of a file in its order, and for each whether its label says yes."""

    texts: list[str]
    labels: Labels


def rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and row of JSON lines, plain or compressed with gzip; blank lines are left out.

    Raises:
        InputError: the file cannot be read, or a line is no JSON object.
    """
    number = 0
    try:
        with open(path, "rb") as file, io.TextIOWrapper(_plain(file), encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}, line {number}: is a {type(row).__name__}, wanted a JSON object")
                    yield number, row
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}: is no JSON ({error.msg}), wanted an object in each line") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as JSON lines after line {number}: {error}") from error


def _plain(file: BinaryIO) -> BinaryIO:
    """A file's bytes, uncompressed where it begins as gzip does."""
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file


def labelled(
    path: str | Path,
    text_field: str,
    label_field: str,
    *,
    names: Mapping[str, bool] = QUALITY,
    threshold: float | None = None,
    yes: Collection[str] = (),
) -> Labelled:
    """The texts and labels of a file of JSON lines.

    A label is a boolean, or a word or number of `names`, letters as small ones and spaces and underscores as hyphens;
    where it is one of two numbers, the higher means yes. With `threshold` it is a number, and yes from there on;
    with `yes` it is one of these words, or means no.

    Raises:
        InputError: nothing can be read, a row lacks a field or its text is no string, a label means neither yes nor
            no, or all labels mean the same. The message has all of it.
    """
    texts: list[str] = []
    found: list[Any] = []
    lacking: dict[str, list[int]] = {}
    keys: Counter[str] = Counter()
    for number, row in rows(path):
        keys.update(row.keys())
        text, label = row.get(text_field), row.get(label_field)
        if not isinstance(text, str):
            lacking.setdefault(f"no string in {text_field!r}", []).append(number)
        if label is None or isinstance(label, (dict, list)):
            lacking.setdefault(f"no single value in {label_field!r}", []).append(number)
        texts.append(text if isinstance(text, str) else "")
        found.append(label)
    problems = [
        f"{what} in {len(places):,} of {len(texts):,} rows, lines {_some(places)}" for what, places in lacking.items()
    ]
    if not texts:
        problems.append("no rows")
    elif lacking:
        problems.append(f"fields found: {', '.join(key for key, _ in keys.most_common(MANY))}")
    meant: list[bool | None] = []
    if not problems:
        meant = [str(label) in yes if yes else _meaning(label, names, threshold) for label in found]
        numbers = [number for number in map(_number, found) if number is not None]
        if threshold is None and None in meant and len(numbers) == len(found) and len(set(numbers)) == 2:
            lower = min(numbers)
            meant = [number > lower for number in numbers]
        counts = Counter(str(label)[:LONG] for label in found)
        listed = ", ".join(f"{label!r} {count:,}" for label, count in counts.most_common(MANY))
        more = f" and {len(counts) - MANY:,} more" if len(counts) > MANY else ""
        unknown = sum(yes is None for yes in meant)
        if unknown:
            wanted = "numbers" if threshold is not None else f"{', '.join(names)}, or numbers and a threshold"
            problems.append(f"{unknown:,} labels are not understood; found {listed}{more}; wanted {wanted}")
        elif len(set(meant)) == 1:
            answer = "yes" if meant[0] else "no"
            problems.append(f"all {len(meant):,} labels mean {answer}, wanted both kinds; found {listed}{more}")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return Labelled(texts, np.array(meant, dtype=np.bool_))


def _some(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:MANY])) + (", ..." if len(places) > MANY else "")


def _meaning(label: Any, names: Mapping[str, bool], threshold: float | None) -> bool | None:
    number = _number(label)
    if threshold is not None:
        return None if number is None else number >= threshold
    if number is not None and number.is_integer():
        label = int(number)
    return names.get("-".join(str(label).strip().lower().replace("_", " ").split()))


def _number(label: Any) -> float | None:
    """The number that a label is, or that its words are; none that is infinite or no number."""
    try:
        number = float(label)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
