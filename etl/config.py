"""YAML to frozen dataclasses, checked whole before anything starts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from etl import resources
from etl.errors import ConfigError

T = TypeVar("T")

# On every dataclass that is read from YAML: a misspelt key or "3" for 3 is an error, not a surprise later.
STRICT = ConfigDict(extra="forbid", strict=True)


def load(path: Path, kind: type[T], assignments: Sequence[str] = ()) -> T:
    """The frozen dataclass `kind` that a YAML file describes, once each of `assignments` is put in, see `override`.

    Raises:
        ConfigError: all problems of the file in one message: place, what was found, what was wanted.
    """
    return build(override(read_yaml(path), assignments), kind, origin=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: wanted keys and values, found {type(data).__name__}")
    return data


def build(data: Mapping[str, Any], kind: type[T], origin: str) -> T:
    """The frozen dataclass `kind` from plain data; `origin` begins every message."""
    try:
        # By way of JSON: there, strict types still let a list stand for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        problems = [_explain(problem, kind) for problem in error.errors(include_url=False)]
        raise ConfigError(f"{origin}: " + "; ".join(problems)) from error


def _explain(problem: Any, kind: type[Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the file"
    found = json.dumps(problem["input"], default=str, ensure_ascii=False)
    found = found if len(found) <= 60 else found[:57] + "..."
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = getattr(_at(kind, problem["loc"][:-1]), "__dataclass_fields__", {})
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f", did you mean {near[0]!r}?" if near else f", known are {', '.join(known)}" if known else ""
        return f"unknown key {place!r}{hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"key {place!r} is missing"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place!r} is {found}, wanted {message}"


def _at(kind: Any, path: Sequence[Any]) -> Any:
    """The dataclass that a path of keys leads to, or None where it leads elsewhere."""
    import typing

    for part in path:
        if isinstance(part, int):
            kind = typing.get_args(kind)[0] if typing.get_args(kind) else None
            continue
        hints = typing.get_type_hints(kind) if hasattr(kind, "__dataclass_fields__") else {}
        kind = hints.get(part)
    return kind


def load_extended(folder: str, name: str, kind: type[T], *, joined: str) -> T:
    """The frozen dataclass `kind` in a file of ``conf/<folder>`` that may name another in the key ``extends``.

    It then has what the other has and it does not say itself, and in the list `joined` the items of the other before
    its own. Where ``extends`` is a mapping, `name` in it is the other, and its other keys are put into each of these
    items: ``extends: {name: fineweb, except_crawls: ["code:*"]}``.

    Raises:
        ConfigError: as `find` and `load`; or files extend each other in a ring, or a key that is put into an item is
            there already.
    """
    path = find(folder, name)
    return build(_extended(folder, path, read_yaml(path), joined, [name]), kind, origin=str(path))


def _extended(folder: str, path: Path, data: dict[str, Any], joined: str, seen: Sequence[str]) -> dict[str, Any]:
    extends = data.pop("extends", None)
    if extends is None:
        return data
    added = dict(extends) if isinstance(extends, Mapping) else {"name": extends}
    base = str(added.pop("name", None))
    if base in seen:
        raise ConfigError(f"{path}: extends itself, by way of {', '.join([*seen, base])}")
    other = find(folder, base)
    below = _extended(folder, other, read_yaml(other), joined, [*seen, base])
    items = [dict(item) for item in below.get(joined) or ()]
    twice = sorted({key for item in items for key in added if key in item})
    if twice:
        raise ConfigError(f"{path}: extends {base} with {', '.join(twice)}, which {joined} of it have already")
    return {**below, **data, joined: [*({**item, **added} for item in items), *(data.get(joined) or ())]}


def override(data: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """`data` with each ``key.key=value`` put in; values are YAML.

    Raises:
        ConfigError: an assignment has no ``=`` or steps into something that has no keys.
    """
    result = json.loads(json.dumps(data, default=str))
    for assignment in assignments:
        path, separator, value = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set {assignment}: wanted key=value, such as extract.engine=resiliparse")
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {assignment}: {parent!r} has no keys below it")
        place[last] = yaml.safe_load(value)
    return result  # type: ignore[no-any-return]


def find(folder: str, name: str) -> Path:
    """A file of ``conf/<folder>`` by name, or any YAML file by path.

    Raises:
        ConfigError: there is neither; the message lists the names there are.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    path = resources.folder("conf") / folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ConfigError(f"there is no {folder} file {name!r}: wanted a path of a YAML file or one of {known}")
    return path
