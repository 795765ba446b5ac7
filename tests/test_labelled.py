"""Labels that people gave are read in the forms that people write them, and what is no label is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from etl import labelled
from etl.errors import InputError

YES, NO = "yes it is", "no it is not"


def written(path: Path, yes: Any, no: Any) -> Path:
    path.write_text("".join(json.dumps({"t": text, "l": label}) + "\n" for text, label in ((YES, yes), (NO, no))))
    return path


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("good", "bad"), (" High Quality", "low_quality"), (1, 0), (True, False), ("True", "FALSE"), ("1.0", "0.0"),
        (1.0, 0.0), (1, -1), (2, 1), ("0.83", "0.21"), (5, 0),
    ],
)  # fmt: skip
def test_labels_of_two_kinds_mean_yes_and_no(yes: Any, no: Any, tmp_path: Path) -> None:
    found = labelled.labelled(written(tmp_path / "rows.jsonl", yes, no), "t", "l")
    assert found.texts == [YES, NO] and found.labels.tolist() == [True, False]


def test_more_than_two_numbers_need_a_threshold(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"t": str(level), "l": level}) + "\n" for level in range(6)))
    with pytest.raises(InputError, match=r"labels are not understood; found .* or numbers and a threshold"):
        labelled.labelled(path, "t", "l")
    assert labelled.labelled(path, "t", "l", threshold=3).labels.tolist() == [False] * 3 + [True] * 3


def test_words_of_a_files_own_can_be_said_to_mean_yes(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", "Tasty", "bad")
    assert labelled.labelled(path, "t", "l", yes=["Tasty", "fine"]).labels.tolist() == [True, False]
    with pytest.raises(InputError, match="all 2 labels mean no"):
        labelled.labelled(path, "t", "l", yes=["fine"])


def test_a_file_may_be_compressed_whatever_its_name_and_begin_with_a_mark(tmp_path: Path) -> None:
    plain = written(tmp_path / "rows.jsonl", 1, 0).read_bytes()
    for name, content in (("rows", gzip.compress(plain)), ("rows.jsonl.gz", plain), ("mark", b"\xef\xbb\xbf" + plain)):
        (tmp_path / name).write_bytes(content)
        assert labelled.labelled(tmp_path / name, "t", "l").texts == [YES, NO]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"t": "a", "l": 1}\nt,l\n', r"rows.jsonl, line 2: is no JSON \(Expecting value\), wanted an object in each"),
        (b'[{"t": "a", "l": 1}]', "line 1: is a list, wanted a JSON object"),
        (b'{"t": "a", "l": 1}\n{"t": "\xe9"}', "cannot be read as JSON lines after line"),
        (gzip.compress(b'{"t": "a", "l": 1}\n' * 99, mtime=0)[:-9], "cannot be read as JSON lines after line"),
        (b'{"t": "a", "l": 1}\n{"t": 3}\n', r"no string in 't' .* lines 2; no single value in 'l' .* found: t, l"),
        (b'{"t": "a", "l": "good"}\n', "all 1 labels mean yes, wanted both kinds; found 'good' 1"),
        (b'{"t": "a", "l": NaN}\n{"t": "a", "l": 1}\n', "1 labels are not understood; found 'nan' 1"),
        (b"\n", "no rows"),
    ],
)
def test_what_cannot_be_understood_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=said):
        labelled.labelled(tmp_path / "rows.jsonl", "t", "l")
