import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from etl import files
from etl.errors import InputError
from etl.files import WarcFile

BYTES = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(20_000))


class Site(ThreadingHTTPServer):
    """A web server with a few files in memory, that fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.files: dict[str, bytes] = {}
        self.knows_ranges = True
        self.failures: list[str] = []  # what happens to the next requests: "503", "drop" or "change"
        self.ranges: list[str | None] = []  # asked for, one each request
        self.version = "1"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class SiteHandler(BaseHTTPRequestHandler):
    server: Site

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        failure = self.server.failures.pop(0) if self.server.failures else ""
        content = self.server.files.get(self.path.partition("?")[0])
        if failure == "503":
            self.send_response(503, "Slow Down")
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if content is None:
            self.send_error(404)
            return
        if failure == "change":
            self.server.version += "0"
        first, last = 0, len(content) - 1
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if match and self.server.knows_ranges:
            first, last = int(match[1]), min(int(match[2] or last), last)
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            self.send_response(200)
        body = content[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Encoding", "gzip" if self.path.endswith(".gz") else "identity")
        self.send_header("ETag", f'"{self.server.version}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 3] if failure == "drop" else body)

    def log_message(self, *_args: object) -> None:
        """Tests look at `Site.ranges` instead."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(files, "BACKOFF_SECONDS", 0.001)
    files._pool.cache_clear()
    yield
    files._pool.cache_clear()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def read_all(location: str, size: int = 100_000) -> bytes:
    with files.open_stream(location) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(inputs: list[str], **options: object) -> list[str]:
    return [file.warc_filename for file in files.resolve(inputs, **options)]  # type: ignore[arg-type]


def test_a_file_of_any_name_is_an_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "some.bad", b"12345")
    assert files.resolve([str(path)]) == [WarcFile("local/some.bad", "local", str(path), 5)]
    assert files.resolve([f"file://{path}"]) == files.resolve([str(path)])
    assert files.resolve([str(path)], crawl="mine") == [WarcFile("mine/some.bad", "mine", str(path), 5)]


def test_a_directory_gives_the_archives_in_it_at_any_depth(tmp_path: Path) -> None:
    suffixes = ["warc", "warc.gz", "warc.lz4", "warc.zst", "arc", "arc.gz", "warc.wet.gz", "wat.gz", "WARC.GZ"]
    for number, suffix in enumerate(suffixes):
        write(tmp_path / f"{number % 3}" / f"{number}.{suffix}")
    for other in ("notes.txt", "1/page.gz", "warc.paths.gz", "2/awarc"):
        write(tmp_path / other)
    expected = sorted(f"local/{number % 3}/{number}.{suffix}" for number, suffix in enumerate(suffixes))
    assert names([str(tmp_path)]) == expected
    assert names([f"{tmp_path}/"], limit=2) == expected[:2]


def test_a_glob_gives_every_file_it_matches(tmp_path: Path) -> None:
    for name in ("a/1.gz", "a/2.txt", "b/1.gz"):
        write(tmp_path / name)
    (tmp_path / "a" / "folder.gz").mkdir()
    assert names([f"{tmp_path}/*/*.gz"]) == ["local/a/1.gz", "local/b/1.gz"]
    assert names([f"{tmp_path}/a/*"]) == ["local/1.gz", "local/2.txt"]
    assert names([f"{tmp_path}/**/2.*"]) == ["local/a/2.txt"]


def test_a_file_may_be_named_like_a_glob(tmp_path: Path) -> None:
    path = write(tmp_path / "page[1].warc")
    write(tmp_path / "page1.warc")
    assert names([str(path)]) == ["local/page[1].warc"]


def test_a_common_crawl_path_is_its_own_name(tmp_path: Path) -> None:
    name = "crawl-data/CC-MAIN-2024-10/segments/1/warc/a.warc.gz"
    path = write(tmp_path / name)
    expected = [WarcFile(name, "CC-MAIN-2024-10", str(path), 1)]
    assert files.resolve([str(path)]) == files.resolve([str(tmp_path)]) == expected
    for location in (f"https://example.org/{name}", f"s3://commoncrawl/{name}"):
        assert files.resolve([location]) == [WarcFile(name, "CC-MAIN-2024-10", location, None)]


def test_an_address_is_named_by_the_end_of_its_path() -> None:
    location = "https://example.org/files/a.warc.gz?token=1"
    assert files.resolve([location]) == [WarcFile("local/a.warc.gz", "local", location, None)]


@pytest.mark.parametrize("list_name", ["warc.paths", "warc.paths.gz", "@files.txt"])
def test_a_list_gives_its_lines(tmp_path: Path, list_name: str) -> None:
    write(tmp_path / "here.warc")
    name = "crawl-data/CC-MAIN-2024-10/segments/1/warc/a.warc.gz"
    lines = f"# a comment\n{name}\n\n  here.warc\r\nhttps://example.org/b.warc\n{tmp_path}/sub/c.warc\n".encode()
    write(tmp_path / "sub" / "c.warc")
    write(tmp_path / list_name.removeprefix("@"), gzip.compress(lines) if list_name.endswith(".gz") else lines)
    list_input = f"@{tmp_path}/files.txt" if list_name.startswith("@") else f"{tmp_path}/{list_name}"
    assert {file.warc_filename: file.location for file in files.resolve([list_input], base="s3://bucket/")} == {
        name: f"s3://bucket/{name}",
        "local/here.warc": f"{tmp_path}/here.warc",
        "local/b.warc": "https://example.org/b.warc",
        "local/c.warc": f"{tmp_path}/sub/c.warc",
    }


@pytest.mark.parametrize("kind", ["directory", "address"])
def test_a_crawl_is_the_list_of_its_files(tmp_path: Path, site: Site, kind: str) -> None:
    paths = [f"crawl-data/CC-MAIN-2024-10/segments/1/warc/{number}.warc.gz" for number in (2, 1, 3)]
    listed = gzip.compress("\n".join(paths).encode() + b"\n")
    for path in paths:
        write(tmp_path / path)
    write(tmp_path / "crawl-data" / "CC-MAIN-2024-10" / "warc.paths.gz", listed)
    site.files["/base/crawl-data/CC-MAIN-2024-10/warc.paths.gz"] = listed
    base = str(tmp_path) if kind == "directory" else f"{site.address}/base"
    found = files.resolve(["crawl=CC-MAIN-2024-10"], base=base, limit=2)
    assert [file.warc_filename for file in found] == sorted(paths)[:2]
    assert [file.location for file in found] == [f"{base}/{path}" for path in sorted(paths)[:2]]
    assert {file.crawl for file in found} == {"CC-MAIN-2024-10"}


def test_all_problems_are_named_at_once(tmp_path: Path, site: Site) -> None:
    first, second = write(tmp_path / "a" / "x.warc"), write(tmp_path / "b" / "x.warc")
    write(tmp_path / "empty.paths", b"\n")
    write(tmp_path / "broken.paths.gz", gzip.compress(b"a.warc\n" * 100)[:-9])
    write(tmp_path / "list.txt", b"gone-1.warc\na/x.warc\ngone-2.warc\n")
    write(tmp_path / "texts" / "a.txt")
    with pytest.raises(InputError) as raised:
        files.resolve(
            [
                str(first),
                str(second),
                str(first),
                str(tmp_path / "missing.warc"),
                f"{tmp_path}/*.nothing",
                "gs://bucket/a.warc",
                str(tmp_path / "texts"),
                str(tmp_path / "empty.paths"),
                str(tmp_path / "broken.paths.gz"),
                f"@{tmp_path}/list.txt",
                f"@{tmp_path}/no-list.txt",
                "crawl=CC-MAIN-1999-01",
            ],
            base=site.address,
            limit=0,
        )
    message = str(raised.value)
    for problem in (
        "limit is 0, and must be at least 1",
        f"{first} and {second} would both be 'local/x.warc'",
        f"{first} is named twice",
        f"{tmp_path}/missing.warc: there is no such file or directory",
        f"{tmp_path}/*.nothing: no file matches",
        "gs://bucket/a.warc: an address begins with http://, https:// or s3://",
        f"{tmp_path}/texts: no archive (.warc",
        f"{tmp_path}/empty.paths: the list is empty",
        f"{tmp_path}/broken.paths.gz: cannot read: ",
        f"@{tmp_path}/list.txt: 2 of 3 listed files do not exist: {tmp_path}/gone-1.warc, {tmp_path}/gone-2.warc",
        f"@{tmp_path}/no-list.txt: cannot read: ",
        f"crawl=CC-MAIN-1999-01: cannot read: {site.address}/crawl-data/CC-MAIN-1999-01/warc.paths.gz: HTTP status 404",
    ):
        assert problem in message
    with pytest.raises(InputError, match="no input was named"):
        files.resolve([])


def test_the_order_of_inputs_changes_nothing(tmp_path: Path) -> None:
    paths = [str(write(tmp_path / f"{number}.warc")) for number in range(5)]
    assert files.resolve(paths) == files.resolve(paths[::-1])


def test_a_local_file_is_read_whole_and_by_range(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a", BYTES))
    assert read_all(path) == BYTES
    assert files.read_range(path, 1000, 50) == BYTES[1000:1050]
    assert files.read_range(path, len(BYTES) - 10, 50) == BYTES[-10:]
    with pytest.raises(FileNotFoundError):
        files.open_stream(str(tmp_path / "b"))


def test_a_remote_file_is_read_in_ranges(site: Site) -> None:
    site.files["/a"] = BYTES
    with files.HttpStream(f"{site.address}/a", block_bytes=250_000) as stream:
        assert stream.read(100) == BYTES[:100]
        assert stream.read() == BYTES[100:]
        assert stream.read(1) == b""
    assert site.ranges == ["bytes=0-249999", "bytes=250000-499999", "bytes=500000-749999"]
    assert read_all(f"{site.address}/a") == BYTES


def test_a_remote_range_is_one_request(site: Site) -> None:
    site.files["/a"] = BYTES
    assert files.read_range(f"{site.address}/a", 1000, 50) == BYTES[1000:1050]
    assert site.ranges == ["bytes=1000-1049"]
    assert files.read_range(f"{site.address}/a", len(BYTES) - 10, 50) == BYTES[-10:]
    assert files.read_range(f"{site.address}/a", len(BYTES) + 10, 50) == b""


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("failures", [["503", "503"], ["drop"], ["drop", "503", "drop"], ["", "drop", "", "drop"]])
def test_reading_goes_on_after_failures(site: Site, knows_ranges: bool, failures: list[str]) -> None:
    site.files["/a"] = BYTES
    site.knows_ranges = knows_ranges
    site.failures = list(failures)
    with files.HttpStream(f"{site.address}/a", block_bytes=200_000) as stream:
        assert stream.read() == BYTES
    site.failures = list(failures)
    assert files.read_range(f"{site.address}/a", 300_000, 20_000) == BYTES[300_000:320_000]


def test_a_server_without_ranges_is_read_as_a_stream(site: Site) -> None:
    site.files["/a"] = BYTES
    site.knows_ranges = False
    assert read_all(f"{site.address}/a") == BYTES
    assert len(site.ranges) == 1


def test_a_gz_file_comes_as_it_is_stored(site: Site) -> None:
    site.files["/a.gz"] = gzip.compress(BYTES)
    assert read_all(f"{site.address}/a.gz") == site.files["/a.gz"]


def test_an_empty_remote_file_is_empty(site: Site) -> None:
    site.files["/a"] = b""
    assert read_all(f"{site.address}/a") == b""


def test_a_missing_remote_file_is_not_found(site: Site) -> None:
    with pytest.raises(FileNotFoundError, match="/gone: HTTP status 404"):
        read_all(f"{site.address}/gone")
    assert len(site.ranges) == 1


def test_a_file_that_changes_while_it_is_read_is_an_error(site: Site) -> None:
    site.files["/a"] = BYTES
    site.failures = ["", "change"]
    with files.HttpStream(f"{site.address}/a", block_bytes=200_000) as stream, pytest.raises(OSError, match="changed"):
        stream.read()


def test_a_server_that_is_gone_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ATTEMPTS", 2)
    site.files["/a"] = BYTES
    site.failures = ["drop"] * 9
    with pytest.raises(OSError, match=r"/a: at byte \d+, 2 times in a row: "):
        files.read_range(f"{site.address}/a", 0, 2)


def test_a_bucket_is_read_whole_and_by_range(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The S3 client of Arrow talks to a server that knows as much of the protocol as reading needs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    site.files["/bucket/folder/a.warc.gz"] = BYTES
    for scheme in ("s3", "s3a"):
        location = f"{scheme}://bucket/folder/a.warc.gz"
        assert read_all(location) == BYTES
        assert files.read_range(location, 1000, 50) == BYTES[1000:1050]
        assert files.read_range(location, len(BYTES) - 10, 50) == BYTES[-10:]
    with pytest.raises(FileNotFoundError):
        files.open_stream("s3://bucket/gone")
