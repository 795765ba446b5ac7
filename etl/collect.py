"""``goldenlake collect``: files that are no web pages, as archives that the whole line reads like a crawl.

Code, books, articles and records of JSON lines or Parquet become WARC records of plain text, one per file or record,
under a name such as ``code:linux``: the kind of text, then what it is. Ingested with ``--crawl code:linux``, each is a
capture like any other, so that the ledger counts it, and rules, duplicates, scores and mixtures know it. Its address is
the name and the path below what was collected. Its licence is in the record as a Link header, and so in `documents`.
Of code, files of HTML are texts like others; of any other kind they are pages, whose main text is looked for. Records
that an ``id`` or ``url`` names are text, whatever that ends in.

The same files give the same archives. Files that give no text are counted and named.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rich.console import Console

from etl import job
from etl.errors import InputError
from etl.kernels import records, rights, texts

CATEGORIES = ("code", "math", "books", "academic", "web")
ARCHIVE_BYTES = 256 << 20  # of text, in one archive
MAX_FILE_BYTES = 32 << 20  # as IngestParams.max_payload_bytes
TEXT_FIELDS = ("text", "content", "body")
PATH_FIELDS = ("path", "id", "url")
SPDX = "https://spdx.org/licenses/"
_NAME = re.compile(r"([a-z]+):([\w.-]+)")
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})


class Item(NamedTuple):
    """One text with the path that names it, its date, its licence, an address or SPDX identifier, where known, and the
    language of code that its file is in."""

    path: str
    found: texts.Text
    date: datetime
    license: str | None = None
    language: str | None = None


@dataclass
class Collected:
    """What was collected: archives, texts by language of code or kind, and what gave no text, with the reason."""

    archives: list[Path] = field(default_factory=list)
    texts: int = 0
    characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    without: list[tuple[str, str]] = field(default_factory=list)


def collect(
    places: Sequence[Path], name: str, out: Path, *, date: datetime | None = None, text_field: str | None = None
) -> Collected:
    """Write archives of the files at `places` into the folder `out`.

    `name` is a kind of text and what it is, such as ``books:gutenberg``. `date` stands for that of every file: of a
    git tree, give that of the commit, for the files of a checkout have that of the checkout.

    Raises:
        InputError: the name is wrong, a place is missing, the archives are there already, or nothing gave text.
    """
    match = _NAME.fullmatch(name)
    problems = [f"{place}: no such file or folder" for place in places if not place.exists()]
    if match is None or match[1] not in CATEGORIES:
        problems.append(f"name is {name!r}, wanted one of {', '.join(CATEGORIES)}, a colon and a name: code:linux")
    if sorted(out.glob("*.warc.gz")):
        problems.append(f"{out}: holds archives, wanted a folder without")
    if problems:
        raise InputError("; ".join(problems))
    result = Collected()
    writer = _Writer(out, name, result)
    seen: set[str] = set()
    for place in places:
        for item in _items(place, date, text_field):
            if item.path in seen:
                item = item._replace(found=texts.Text(None, "named_twice: another text has this path"))
            seen.add(item.path)
            if item.found.text is None:
                result.without.append((item.path, item.found.error or "empty"))
            else:
                writer.write(item, item.found.text)
    writer.close()
    if not result.texts:
        reasons = ", ".join(f"{path}: {why}" for path, why in result.without[:3]) or "no file was found"
        raise InputError(f"{', '.join(map(str, places))}: nothing gave a text: {reasons}")
    return result


def _items(place: Path, date: datetime | None, text_field: str | None) -> Iterator[Item]:
    root = place if place.is_dir() else place.parent
    licenses: dict[Path, str | None] = {}
    for path in _files(place):
        inner = path.relative_to(root).as_posix()
        status = path.stat()
        when = date or datetime.fromtimestamp(int(status.st_mtime), timezone.utc)
        license = _license_above(path.parent, root, licenses)
        if path.name.lower().endswith((".jsonl", ".jsonl.gz", ".parquet")):
            yield from _records(path, inner, when, license, text_field)
        elif status.st_size > MAX_FILE_BYTES and path.suffix.lower() != ".epub":
            yield Item(inner, texts.Text(None, f"too_large: {status.st_size} bytes"), when)
        else:
            found = texts.read(path.name, path.read_bytes())
            said = texts.license_said(found.text or "") or found.rights
            yield Item(inner, found, when, said or license, texts.language(path.name))


def _files(place: Path) -> Iterator[Path]:
    """The file, or those of a folder in order, without hidden ones and what is installed."""
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in _SKIPPED_FOLDERS)
        paths = (Path(folder, each) for each in sorted(names) if not each.startswith("."))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _license_above(folder: Path, root: Path, known: dict[Path, str | None]) -> str | None:
    """The licence by the file that says one in `folder`, or in the nearest above it, up to `root`."""
    if folder not in known:
        known[folder] = None
        for path in sorted(folder.iterdir()):
            if path.is_file() and texts.LICENSE_FILE.match(path.name) and path.stat().st_size < 1 << 20:
                known[folder] = known[folder] or texts.license_of(path.read_text("utf-8", "replace"))
        if known[folder] is None and folder != root:
            known[folder] = _license_above(folder.parent, root, known)
    return known[folder]


def _records(path: Path, inner: str, date: datetime, license: str | None, text_field: str | None) -> Iterator[Item]:
    """The records of JSON lines or Parquet: each names itself, or is named by its place in the file."""
    fields = (text_field,) if text_field else TEXT_FIELDS
    with path.open("rb") as stream:
        for place, record in records.read(stream, path.name, MAX_FILE_BYTES):
            here = f"{inner}/{place}"
            if not isinstance(record, dict):
                problem = str(record) if isinstance(record, records.ImportProblem) else "not_a_record: wanted fields"
                yield Item(here, texts.Text(None, problem), date)
                continue
            text = next((record[name] for name in fields if isinstance(record.get(name), str)), None)
            named = next((name for name in PATH_FIELDS if isinstance(record.get(name), str)), None)
            name = record[named] if named else None
            # A path is of a file, and the record its source; what an address names is text, whatever it ends in.
            language = texts.language(record["path"]) if named == "path" else None
            found = texts.Text(text) if text and text.strip() else texts.Text(None, f"no_text: wanted one of {fields}")
            yield Item(f"{inner}/{name}" if name else here, found, date, _license_field(record) or license, language)


def _license_field(record: dict[str, Any]) -> str | None:
    """The licence that a record says: one, or the first of several, as The Stack has them."""
    said = next((record[name] for name in ("license", "licenses", "license_type") if record.get(name)), None)
    first = said[0] if isinstance(said, list) and said else said
    return first if isinstance(first, str) else None


class _Writer:
    """Writes texts as WARC records, each a gzip member of its own, into archives of a bounded size."""

    def __init__(self, out: Path, name: str, result: Collected) -> None:
        self._out, self._name, self._result = out, name, result
        self._is_code = name.startswith("code:")
        self._part: Path | None = None
        self._bytes = 0

    def write(self, item: Item, text: str) -> None:
        body = text.encode("utf-8", "replace")
        if self._part is None or self._bytes + len(body) > ARCHIVE_BYTES:
            self._begin()
        mime = "text/html" if item.language == "HTML" and not self._is_code else "text/plain"
        self._append(_record(f"{self._name}/{quote(item.path)}", item, body, mime))
        self._bytes += len(body)
        self._result.texts += 1
        self._result.characters += len(text)
        self._result.languages[item.language or "text"] += 1
        self._result.licenses[item.license or "none"] += 1

    def _begin(self) -> None:
        self.close()
        self._out.mkdir(parents=True, exist_ok=True)
        number = len(self._result.archives)
        self._result.archives.append(self._out / f"{self._name.replace(':', '-')}-{number:05}.warc.gz")
        # A collection that is killed leaves no archive that is cut.
        self._part = self._result.archives[-1].with_suffix(".part")
        self._part.unlink(missing_ok=True)
        self._bytes = 0

    def _append(self, record: bytes) -> None:
        if self._part is not None:
            with self._part.open("ab") as file:
                file.write(gzip.compress(record, mtime=0))

    def close(self) -> None:
        if self._part is not None:
            self._part.rename(self._result.archives[-1])
            self._part = None


def _record(uri: str, item: Item, body: bytes, mime: str) -> bytes:
    digest = base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    headers = {
        "WARC-Type": "conversion" if item.found.is_converted else "resource",
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{uri} {digest}')}>",
        "WARC-Date": item.date.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "WARC-Target-URI": uri,
        "WARC-Payload-Digest": f"sha1:{digest}",
        "Content-Type": f"{mime}; charset=utf-8",
        "Content-Length": str(len(body)),
    }
    if item.license:
        headers["Link"] = f'<{license_address(item.license)}>; rel="license"'
    lines = ["WARC/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body + b"\r\n\r\n"


def license_address(license: str) -> str:
    """Where a licence can be read: an address that a text names, else that of an SPDX identifier."""
    address = re.search(r"https?://[^\s<>\"]+", license)
    name = rights.named(license) or " ".join(license.split())[: rights.MAX_NAME_CHARACTERS]
    return address[0] if address else SPDX + quote(name, safe="")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Code, books, articles and records of JSON lines or Parquet as archives that the line reads.",
        epilog="Then: goldenlake run --input FOLDER --crawl NAME",
    )
    parser.add_argument("places", nargs="+", type=Path, metavar="PLACE", help="files and folders")
    parser.add_argument("--name", required=True, help=f"{', '.join(CATEGORIES)}, a colon and a name: books:gutenberg")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the archives are written")
    parser.add_argument("--date", type=datetime.fromisoformat, help="of all texts, such as that of a commit (each its)")
    parser.add_argument("--text-field", help=f"of JSON lines and Parquet (the first of {', '.join(TEXT_FIELDS)})")
    options = parser.parse_args(argv)
    with job.reported_errors():
        found = collect(options.places, options.name, options.out, date=options.date, text_field=options.text_field)
    _show(Console(), found, options)


def _show(console: Console, found: Collected, options: argparse.Namespace) -> None:
    lines = [f"{found.texts:,} texts, {found.characters:,} characters, in {len(found.archives)} archives"]
    for name, counts in (("kinds", found.languages), ("licences", found.licenses)):
        lines.append(f"{name}: " + ", ".join(f"{key} {count:,}" for key, count in counts.most_common(8)))
    kinds = Counter(why.partition(":")[0] for _, why in found.without)
    if kinds:
        lines.append(f"no text in {len(found.without):,}: " + ", ".join(f"{k} {n:,}" for k, n in kinds.most_common()))
        lines += [f"  {path}: {why}" for path, why in found.without[:5]]
    lines.append(f"read them with: goldenlake run --input {options.out} --crawl {options.name}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
