"""English prose that is on every machine with goldenlake installed: what Python packages say about themselves.

Docstrings, block comments, the topics of ``help()``, package descriptions and licences are
read from the standard library and from the packages that goldenlake depends on. Sources
are read as text, nothing is imported, and nothing is written: the pool is built anew in each run,
in a few seconds. It is the same for the same Python and the same installed packages.
"""

import ast
import functools
import html
import itertools
import os
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

# Only packages that goldenlake itself asks for, so that tools of a developer do not change the sample.
DISTRIBUTIONS = (
    "numpy",
    "pandas",
    "pyarrow",
    "pyspark",
    "delta-spark",
    "lxml",
    "trafilatura",
    "resiliparse",
    "fastwarc",
    "jinja2",
    "rich",
    "pygments",
    "urllib3",
    "requests",
    "tiktoken",
    "tldextract",
    "dateparser",
    "htmldate",
    "courlan",
    "justext",
    "regex",
    "charset-normalizer",
    "babel",
    "python-dateutil",
    "markdown-it-py",
    "importlib-metadata",
    "filelock",
    "pyyaml",
    "py4j",
)
SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "_vendor"})
MIN_WORDS, MAX_WORDS = 8, 110
MIN_SHELF = 150  # passages; a smaller subject is put on the shelf of its package, or on a common one

_DOCSTRING_OR_COMMENT = re.compile(r'"""(.*?)"""|^((?:[ \t]*#[^\n]*\n)+)', re.DOTALL | re.MULTILINE)
_COMMENT_SIGN = re.compile(r"^[ \t]*#+:? ?", re.MULTILINE)
_BETWEEN_PARAGRAPHS = re.compile(r"\n[ \t]*\n|\n[ \t]*(?=[-*+] |\d+[.)] )")
_ROLE = re.compile(r":[a-z:+-]+:`(?:~(?:[\w.]*\.)?|\.)?([^`<]*?)(?:\s*<[^`]*>)?`")
_LINK = re.compile(r"`([^`<]*?)\s*<[^`]*>`_+|\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"``([^`]*)``|`([^`]*)`_*")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^*\s][^*]*?)\*{1,2}(?![\w*])")
# Not prose, or a phrase by which C4 and its heirs know a page that is not: code, tables, markup, addresses.
_CODE_SIGN = re.compile(r"[{}<>|\\=^~@$%_#\[\]*]|--|\.\.|::|\w\.\w+\.\w|\w\(|https?:")
_NOT_PROSE = re.compile(
    r"lorem ipsum|javascript|privacy|cookie|terms of use|sign-in|read more"
    r"|^(?:Arg(?:ument)?s|Parameters?|Returns?|Raises|Yields|Attributes|Examples?|Usage|TODO|FIXME|XXX)\s*[:(]",
    re.IGNORECASE,
)
_WORD = re.compile(
    r"[\"'(\u201c\u2018]*[A-Za-z]+(?:['\u2019-][A-Za-z]+)*[\"')\u201d\u2019]*[,;:.!?]*[\"')\u201d\u2019]*"
)
_SENTENCE_END = re.compile(r"[.!?][\"')\u201d]*\s+(?=[A-Z])")
_STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with", "is", "a", "in", "it"})
_DULL_MODULES = frozenset({"init", "core", "base", "common", "api", "generic", "utils", "util", "lib", "src", "main"})


class Passage(NamedTuple):
    """One paragraph of prose."""

    text: str
    html: str  # the same, escaped, with names of code in <code>
    words: int
    sentences: int
    subject: str  # of what it speaks, such as "groupby"


class Shelf(NamedTuple):
    """Passages about related things."""

    name: str
    passages: tuple[Passage, ...]


class Pool(NamedTuple):
    """Every passage of the machine, each once."""

    shelves: tuple[Shelf, ...]
    weights: tuple[int, ...]  # passages of a shelf and of those before it
    passages: tuple[Passage, ...]


@functools.cache
def pool() -> Pool:
    """The passages of this machine. Found once in a process."""
    by_place: defaultdict[tuple[str, str], list[Passage]] = defaultdict(list)
    seen: set[str] = set()
    for package, module, text in _texts():
        parts = [part.strip("_") for part in module.split(".")]
        subject = next((part for part in reversed(parts) if len(part) > 2 and part not in _DULL_MODULES), package)
        shelf = parts[0] if package == "python" else ".".join(parts[:2])
        for passage in passages(text, subject.replace("_", " ")):
            key = re.sub(r"\W+", " ", passage.text.lower())
            if key not in seen:
                seen.add(key)
                by_place[package, shelf].append(passage)
    shelves = _shelves(by_place)
    weights = tuple(itertools.accumulate(len(shelf.passages) for shelf in shelves))
    return Pool(shelves, weights, tuple(itertools.chain.from_iterable(shelf.passages for shelf in shelves)))


def _shelves(by_place: dict[tuple[str, str], list[Passage]]) -> tuple[Shelf, ...]:
    shelves: defaultdict[str, list[Passage]] = defaultdict(list)
    for (package, name), found in by_place.items():
        shelves[name if len(found) >= MIN_SHELF else package].extend(found)
    common: list[Passage] = []
    for name in [name for name, found in shelves.items() if len(found) < MIN_SHELF]:
        common.extend(shelves.pop(name))
    if common:
        shelves["software"] = common
    return tuple(Shelf(name, tuple(shelves[name])) for name in sorted(shelves))


def passages(text: str, subject: str) -> Iterator[Passage]:
    """The paragraphs of `text` that are prose: whole sentences, mostly of words, without code, tables and lists."""
    for paragraph in _BETWEEN_PARAGRAPHS.split(text):
        if len(paragraph) < 5 * MIN_WORDS or paragraph.rstrip()[-1:] not in (".", "!", "?"):
            continue
        marked = plain = " ".join(paragraph.split())
        if "`" in marked or "[" in marked or "*" in marked:
            marked = _EMPHASIS.sub(r"\1", _LINK.sub(r"\1\2", _ROLE.sub(r"`\1`", marked)))
            plain = _CODE.sub(r"\1\2", marked)
        if "`" not in plain and (words := _prose_words(plain)):
            pieces = _CODE.split(marked)  # text, code in double marks, code in single marks, text, ...
            marked_up = html.escape(pieces[0], quote=False)
            for double, single, after in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
                code = html.escape(double or single or "", quote=False)
                marked_up += f"<code>{code}</code>{html.escape(after, quote=False)}"
            yield Passage(plain, marked_up, words, 1 + len(_SENTENCE_END.findall(plain)), subject)


def _prose_words(plain: str) -> int:
    """Words of `plain` if it is prose, else 0."""
    if not plain or not plain[0].isupper() or plain[-1] not in ".!?" or plain.count("(") != plain.count(")"):
        return 0
    words = plain.split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS or _CODE_SIGN.search(plain) or _NOT_PROSE.search(plain):
        return 0
    ordinary = sum(_WORD.fullmatch(word) is not None for word in words)
    is_prose = (
        ordinary >= 0.9 * len(words)
        and len(_STOP_WORDS.intersection(plain.lower().split())) >= 2
        and 3.5 < len(plain) / len(words) - 1 < 7.5
        and max(map(len, words)) <= 28
        and sum(map(str.isupper, plain)) < 0.15 * len(plain)
    )
    return len(words) if is_prose else 0


def _texts() -> Iterator[tuple[str, str, str]]:
    """(package, module, text) of everything that may hold prose, in a fixed order."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in _python_files(library):
        module = ".".join(path.relative_to(library).with_suffix("").parts)
        yield from (("python", module, text) for text in _prose_of(path))
    for name in DISTRIBUTIONS:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield from _distribution_texts(name, found)


def _distribution_texts(name: str, found: Distribution) -> Iterator[tuple[str, str, str]]:
    description = found.metadata.get_payload()  # type: ignore[attr-defined]  # the protocol omits it, every class has it
    if isinstance(description, str):
        yield name, name, description
    for file in sorted(found.files or (), key=str):
        parts = file.parts
        if SKIPPED_FOLDERS.intersection(parts) or parts[0].startswith("."):
            continue
        if file.suffix in (".py", ".pyx", ".pyi"):
            module = ".".join(file.with_suffix("").parts)
            yield from ((name, module, text) for text in _prose_of(Path(str(file.locate()))))
        elif parts[0].endswith(".dist-info") and "license" in file.name.lower():
            yield name, f"{name}.license", Path(str(file.locate())).read_text("utf-8", "replace")


def _python_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def _prose_of(path: Path) -> Iterator[str]:
    """Docstrings and block comments of one source.

    They are found by their quotes and not by a parser, which would take ten times as long
    for the same text: what is not prose is left out afterwards anyway.
    """
    try:
        source = path.read_text("utf-8", "replace")
    except FileNotFoundError:  # listed by the package, not on the disk
        return
    if path.match("pydoc_data/topics.py"):
        yield from _string_literals(source)
        return
    for match in _DOCSTRING_OR_COMMENT.finditer(source):
        docstring, comment = match.groups()
        yield docstring if docstring is not None else _COMMENT_SIGN.sub("", comment)


def _string_literals(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
