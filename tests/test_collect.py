"""Files collected into archives, and these read as every archive is."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from etl import collect
from etl.collect import Collected
from etl.errors import InputError
from etl.kernels import pages, warc
from tests.kernels.test_texts import MIT

DATE = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture()
def tree(tmp_path: Path) -> Path:
    """A tree of code with two licences, hidden files and a binary."""
    files = {
        "LICENSE": MIT,
        "src/main.py": "    \n    print('ä')\n\n",
        "src/page.html": "<!doctype html>\n<meta name=robots content=noindex><p>x\n",
        "vendor/COPYING": "GNU GENERAL PUBLIC LICENSE Version 2, June 1991",
        "vendor/deep/x.c": "int x;\n",
        "vendor/y.c": "// SPDX-License-Identifier: ISC\nint y;\n",
        ".git/config": "[core]",
        "node_modules/z.js": "z",
    }
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "tree" / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    return tmp_path / "tree"


def rows(found: Collected, name: str) -> list[dict[str, Any]]:
    """The captures of the archives, as ingestion makes them."""
    result = []
    for path in found.archives:
        data = path.read_bytes()
        batches = warc.record_batches(
            io.BytesIO(data),
            size=len(data),
            warc_filename=path.name,
            crawl=name,
            keep_payload=True,
            max_payload_bytes=1 << 20,
        )
        result += [row for batch in batches for row in batch.to_pylist()]
    return result


def test_a_tree_of_code_is_read_like_a_crawl(tree: Path, tmp_path: Path) -> None:
    found = collect.collect([tree], "code:tree", tmp_path / "out", date=DATE)
    assert found.without == [("logo.png", "binary: the first bytes are no text")]
    captures = rows(found, "code:tree")
    assert [row["url"] for row in captures] == [
        f"code:tree/{name}"
        for name in ("LICENSE", "src/main.py", "src/page.html", "vendor/COPYING", "vendor/y.c", "vendor/deep/x.c")
    ]
    assert all(row["ingest_error"] is None and row["warc_record_type"] == "resource" for row in captures)
    assert all(row["crawl"] == "code:tree" and row["fetch_time"] == DATE for row in captures)
    read = pages.read([pages.Capture.of(row) for row in captures], engine="goldenlake")
    assert [page.text for page in read] == [(tree / row["url"][len("code:tree/") :]).read_text() for row in captures]
    assert [page.license for page in read] == ["mit", "mit", "mit", "gpl-2.0", "isc", "gpl-2.0"]
    assert dict(found.licenses) == {"MIT": 3, "GPL-2.0": 2, "ISC": 1}
    assert (found.languages["C"], found.languages["Python"]) == (2, 1)


def test_the_same_files_give_the_same_archives(tree: Path, tmp_path: Path) -> None:
    one, other = (collect.collect([tree], "code:tree", tmp_path / out, date=DATE).archives for out in ("a", "b"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_records_name_themselves_and_bad_ones_say_why(tmp_path: Path) -> None:
    lines = [
        {"text": "one plus one", "id": "a/1", "license": "cc-by-4.0"},
        {"txt": "?"},
        {"content": "two"},
        {"text": "one", "id": "a/1"},
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join([*map(json.dumps, lines), "{"]))
    found = collect.collect([path], "math:sums", tmp_path / "out")
    assert [row["url"] for row in rows(found, "math:sums")] == ["math:sums/sums.jsonl/a/1", "math:sums/sums.jsonl/2"]
    assert [(place, why.partition(":")[0]) for place, why in found.without] == [
        ("sums.jsonl/1", "no_text"),
        ("sums.jsonl/a/1", "named_twice"),
        ("sums.jsonl/4", "not_json"),
    ]


def test_archives_are_cut_at_a_size(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "ARCHIVE_BYTES", 60)
    found = collect.collect([tree], "code:tree", tmp_path / "out", date=DATE)
    assert len(found.archives) > 1 and found.texts == len(rows(found, "code:tree")) == 6
    assert not list((tmp_path / "out").glob("*.part"))


def test_html_is_a_page_where_it_is_not_code(tree: Path, tmp_path: Path) -> None:
    found = collect.collect([tree / "src" / "page.html"], "books:tree", tmp_path / "out")
    (capture,) = rows(found, "books:tree")
    assert capture["content_mime_detected"] == "text/html"


def test_a_record_that_an_address_names_is_text(tmp_path: Path) -> None:
    lines = [{"url": "https://example.org/a.html", "text": "One line\nand another"}, {"path": "b.html", "text": "<p>x"}]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = collect.collect([tmp_path / "pages.jsonl"], "web:pages", tmp_path / "out")
    mimes = [capture["content_mime_detected"] for capture in rows(found, "web:pages")]
    assert (mimes, found.languages) == (["text/plain", "text/html"], {"text": 1, "HTML": 1})


def test_a_licence_has_an_address() -> None:
    assert collect.license_address("MIT") == "https://spdx.org/licenses/MIT"
    assert collect.license_address("MIT OR Apache-2.0") == "https://spdx.org/licenses/MIT%20OR%20Apache-2.0"
    assert collect.license_address("free under CC BY 4.0") == "https://spdx.org/licenses/cc-by-4.0"
    assert collect.license_address("see https://creativecommons.org/licenses/by/4.0/ .") == (
        "https://creativecommons.org/licenses/by/4.0/"
    )
    assert "\n" not in collect.license_address("of\r\nmy own")


@pytest.mark.parametrize(
    ("places", "name", "problem"),
    [
        (["missing"], "code:x", "missing: no such file or folder"),
        (["tree"], "kernel", "name is 'kernel', wanted one of code, math, books, academic, web, a colon and a name"),
        (["tree/logo.png"], "code:x", "nothing gave a text: logo.png: binary"),
    ],
)
def test_what_cannot_be_collected_is_refused(
    tree: Path, tmp_path: Path, places: list[str], name: str, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        collect.collect([tmp_path / place for place in places], name, tmp_path / "out")


def test_the_command_says_what_it_collected(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect.main([str(tree), "--name", "code:tree", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "6 texts" in said and "no text in 1: binary 1" in said and "--crawl code:tree" in said
    with pytest.raises(SystemExit):
        collect.main([str(tree), "--name", "code:tree", "--out", str(tmp_path / "out")])
    assert "holds archives" in capsys.readouterr().err
