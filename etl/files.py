"""Where archives are: the inputs a user names, resolved to files, and the bytes of those files.

A location is a path of this machine, or an ``http(s)://`` or ``s3://`` address. Remote files are
not looked at before they are read, as a crawl has tens of thousands of them.
"""

import glob
import gzip
import io
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow.fs
import urllib3

from etl.errors import InputError

COMMON_CRAWL = "https://data.commoncrawl.org/"

BLOCK_BYTES = 8 << 20  # asked for in one request
ATTEMPTS = 6  # without a byte of progress
BACKOFF_SECONDS = 0.5
RETRY_STATUS = (429, 500, 502, 503, 504)  # 503 is how S3 and Common Crawl say that one should slow down

_REMOTE = re.compile(r"(https?|s3a?)://", re.IGNORECASE)
_CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_ARCHIVE = re.compile(r"\.(w?arc|wet|wat)(\.(gz|lz4|zst))?$", re.IGNORECASE)
_COMMON_CRAWL_NAME = re.compile(r"(?:^|/)(crawl-data/([^/]+)/.+)$")


@dataclass(frozen=True)
class WarcFile:
    """One archive: how tables name it, and where its bytes are."""

    warc_filename: str
    crawl: str
    location: str
    bytes: int | None


def resolve(
    inputs: Sequence[str], *, crawl: str | None = None, base: str = COMMON_CRAWL, limit: int | None = None
) -> list[WarcFile]:
    """The archives that `inputs` name, sorted by warc_filename; of them the first `limit`.

    An input is one of

        a file, an http(s):// or s3:// address    any name, any content
        a glob                                    the files it matches, any name
        a directory                               the archives in it, at any depth, by their names
        @list.txt, warc.paths, warc.paths.gz      one location a line
        crawl=CC-MAIN-2024-10                     all WARC files of that crawl, below `base`

    `base` is an address or a directory that holds ``crawl-data/``. `crawl` names the crawl of
    files whose location does not: without it that is "local".

    Raises:
        InputError: names everything that is missing, empty or named twice.
    """
    problems: list[str] = []
    if not inputs:
        problems.append("no input was named")
    if limit is not None and limit < 1:
        problems.append(f"limit is {limit}, and must be at least 1")
    found: dict[str, WarcFile] = {}
    for name in inputs:
        try:
            for location, inner_path in _expand(name, base):
                file = _warc_file(location, inner_path, crawl)
                other = found.setdefault(file.warc_filename, file)
                if other is not file:
                    problems.append(_named_twice(file, other))
        except (OSError, EOFError) as error:
            problems.append(f"{name}: {error}" if isinstance(error, NotFoundError) else f"{name}: cannot read: {error}")
    if problems:
        raise InputError("; ".join(problems))
    return sorted(found.values(), key=lambda file: file.warc_filename)[:limit]


class NotFoundError(OSError):
    """An input names nothing; the message says what was looked for."""


def _named_twice(file: WarcFile, other: WarcFile) -> str:
    if file.location == other.location:
        return f"{file.location} is named twice"
    return f"{other.location} and {file.location} would both be {file.warc_filename!r}"


def _warc_file(location: str, inner_path: str, crawl: str | None) -> WarcFile:
    """`inner_path` is the path below the directory that the user named, or the name of the file."""
    size = None
    if not _REMOTE.match(location):
        # The table outlives the directory that the run was started in.
        location, size = os.path.abspath(location), os.path.getsize(location)
    if match := _COMMON_CRAWL_NAME.search(Path(location).as_posix() if size is not None else location):
        return WarcFile(match.group(1), crawl or match.group(2), location, size)
    crawl = crawl or "local"
    return WarcFile(f"{crawl}/{inner_path}", crawl, location, size)


def _expand(name: str, base: str) -> Iterator[tuple[str, str]]:
    """Locations that one input names, each with its path inside of what was named."""
    if name.startswith("crawl="):
        yield from _listed(_join(base, f"crawl-data/{name.removeprefix('crawl=')}/warc.paths.gz"), base)
    elif name.startswith("@") and not os.path.exists(name):
        yield from _listed(name[1:], base)
    elif re.search(r"\.paths(\.gz)?$", name):
        yield from _listed(name, base)
    elif name.startswith("file:"):
        yield from _expand(re.sub(r"^file:(//)?", "", name), base)
    elif _REMOTE.match(name):
        yield name, name.partition("?")[0].rstrip("/").rpartition("/")[2]
    elif os.path.isdir(name):
        yield from _in_directory(name)
    elif os.path.exists(name):
        yield name, os.path.basename(name)
    elif glob.has_magic(name):
        yield from _matching(name)
    elif "://" in name:
        raise NotFoundError("an address begins with http://, https:// or s3://")
    else:
        raise NotFoundError("there is no such file or directory")


def _in_directory(directory: str) -> Iterator[tuple[str, str]]:
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(directory) for name in names]
    archives = [path for path in paths if _ARCHIVE.search(path)]
    if not archives:
        raise NotFoundError(f"no archive (.warc, .arc, .wet, .wat, also .gz, .lz4, .zst) among its {len(paths)} files")
    for path in sorted(archives):
        yield path, Path(path).relative_to(directory).as_posix()


def _matching(pattern: str) -> Iterator[tuple[str, str]]:
    paths = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not paths:
        raise NotFoundError("no file matches")
    fixed = pattern[: re.search(r"[*?\[]", pattern).start()]  # type: ignore[union-attr]  # glob.has_magic has seen one
    root = os.path.dirname(fixed)
    for path in sorted(paths):
        yield path, Path(os.path.relpath(path, root or ".")).as_posix()


def _listed(list_location: str, base: str) -> Iterator[tuple[str, str]]:
    """The locations in a list; a relative one is looked for beside the list, and then below `base`."""
    with open_stream(list_location) as stream:
        raw = stream.read()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
    locations = [line for line in lines if line and not line.startswith("#")]
    if not locations:
        raise NotFoundError("the list is empty")
    missing: list[str] = []
    for line in locations:
        location = _listed_location(line, list_location, base)
        if _REMOTE.match(location) or os.path.isfile(location):
            yield location, location.rpartition("/")[2]
        else:
            missing.append(location)
    if missing:
        raise NotFoundError(f"{len(missing)} of {len(locations)} listed files do not exist: {', '.join(missing)}")


def _listed_location(line: str, list_location: str, base: str) -> str:
    if _REMOTE.match(line) or os.path.isabs(line):
        return line
    beside = _join(os.path.dirname(list_location), line)
    return beside if os.path.exists(beside) or not line.startswith("crawl-data/") else _join(base, line)


def _join(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{path}" if _REMOTE.match(base) else os.path.join(base, path)


def open_stream(location: str) -> BinaryIO:
    """The bytes of a file from its first, as a context manager. Reading raises OSError where they cannot be had."""
    if location.lower().startswith(("http://", "https://")):
        return cast(BinaryIO, HttpStream(location))
    if _REMOTE.match(location):
        filesystem, path = _s3(location)
        return cast(BinaryIO, filesystem.open_input_stream(path, compression=None, buffer_size=BLOCK_BYTES))
    return open(location, "rb")


def read_range(location: str, offset: int, length: int) -> bytes:
    """The bytes [offset, offset + length) of a file, fewer where it ends before."""
    if location.lower().startswith(("http://", "https://")):
        with HttpStream(location, start=offset, block_bytes=length) as stream:
            return _read_fully(stream, length)
    if _REMOTE.match(location):
        filesystem, path = _s3(location)
        with filesystem.open_input_file(path) as file:
            return bytes(file.read_at(max(0, min(length, file.size() - offset)), offset))
    with open(location, "rb") as file:
        file.seek(offset)
        return file.read(length)


def _read_fully(stream: "HttpStream", length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := stream.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


@lru_cache(maxsize=1)
def _pool() -> urllib3.PoolManager:
    retries = urllib3.Retry(
        total=ATTEMPTS,
        status_forcelist=RETRY_STATUS,
        backoff_factor=BACKOFF_SECONDS,
        backoff_jitter=BACKOFF_SECONDS,
        raise_on_status=False,
    )
    return urllib3.PoolManager(
        retries=retries, timeout=urllib3.Timeout(connect=20, read=60), headers={"User-Agent": "goldenlake"}
    )


class HttpStream(io.RawIOBase):
    """A file on a web server, read in ranges of `block_bytes`.

    After a dropped connection it goes on at the byte it had come to. A server that does not
    know ranges is read as one stream, from the start again if the connection drops.
    """

    def __init__(self, url: str, *, start: int = 0, block_bytes: int = BLOCK_BYTES) -> None:
        self._url = url
        self._position = start
        self._block_bytes = block_bytes
        self._size: int | None = None
        self._etag: str | None = None
        self._response: urllib3.BaseHTTPResponse | None = None
        self._failures = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        while size and (self._response or self._open()):
            response = self._response
            if response is None:  # the connection dropped on the way to the position
                continue
            try:
                data = response.read(size)
            except urllib3.exceptions.HTTPError as error:
                self._failed(error)
                continue
            if data:
                self._position += len(data)
                self._failures = 0
                return data
            if response.status == 200:
                self._size = self._position
            self._drop()
        return b""

    def close(self) -> None:
        self._drop()
        super().close()

    def _open(self) -> bool:
        """Ask for the next range; false at the end of the file."""
        if self._size is not None and self._position >= self._size:
            return False
        last = self._position + self._block_bytes - 1
        headers = {"Range": f"bytes={self._position}-{last}", "Accept-Encoding": "identity"}
        try:
            # A .gz file is often sent as if gzip were its encoding; it is wanted as it is stored.
            response = _pool().request("GET", self._url, headers=headers, preload_content=False, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{self._url}: {error}") from error
        self._response = response
        if response.status == 416:  # begins at or after the end
            self._drop()
            return False
        if response.status not in (200, 206):
            self._drop()
            kind = FileNotFoundError if response.status in (404, 410) else OSError
            raise kind(f"{self._url}: HTTP status {response.status} {response.reason}")
        self._check_unchanged(response)
        if response.status == 200:
            self._skip(response)
        elif total := re.search(r"/(\d+)$", response.headers.get("Content-Range", "")):
            self._size = int(total.group(1))
        return True

    def _check_unchanged(self, response: urllib3.BaseHTTPResponse) -> None:
        etag = response.headers.get("ETag")
        if self._etag and etag and etag != self._etag:
            self._drop()
            raise OSError(f"{self._url} changed while it was read: ETag {etag}, was {self._etag}")
        self._etag = self._etag or etag

    def _skip(self, response: urllib3.BaseHTTPResponse) -> None:
        """Read up to the position in an answer that begins at the start of the file."""
        left = self._position
        try:
            while left and (data := response.read(min(left, 1 << 20))):
                left -= len(data)
        except urllib3.exceptions.HTTPError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Wait before the next try, longer each time; the first goes without."""
        self._drop()
        if self._failures == ATTEMPTS:
            raise OSError(f"{self._url}: at byte {self._position}, {ATTEMPTS} times in a row: {error}") from error
        time.sleep(BACKOFF_SECONDS * (2**self._failures - 1))
        self._failures += 1

    def _drop(self) -> None:
        if self._response is not None:
            # Bytes may be left in it, so the connection cannot be used again.
            self._response.close()
            self._response = None


def _s3(location: str) -> "tuple[pyarrow.fs.S3FileSystem, str]":
    path = location.partition("://")[2]
    return _s3_filesystem(path.partition("/")[0]), path


@lru_cache(maxsize=16)
def _s3_filesystem(bucket: str) -> pyarrow.fs.S3FileSystem:
    """S3 with the credentials of this machine; without any, as an anonymous reader."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and not endpoint:
        region = pyarrow.fs.resolve_s3_region(bucket)
    return pyarrow.fs.S3FileSystem(
        anonymous=not _has_credentials(),
        region=region,
        endpoint_override=endpoint,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def _has_credentials() -> bool:
    """Whether the places that the AWS SDK looks at hold anything. It tries the network last, for many seconds."""
    if any(name in os.environ for name in _CREDENTIAL_VARIABLES):
        return True
    files = [os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config"]
    if any(os.path.exists(os.path.expanduser(file)) for file in files):
        return True
    try:
        return Path("/sys/class/dmi/id/sys_vendor").read_text().startswith("Amazon EC2")
    except OSError:
        return False
