"""What a threshold would keep is counted from scores that are there; nothing is scored or written."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from etl import labelled, tables, threshold
from etl.errors import InputError
from etl.lake import Lake


def test_steps_keep_ever_fewer_documents_and_tokens(lake: Lake) -> None:
    found = threshold.kept(threshold.values(lake, "quality.score"), at=0.5)
    documents = lake.read(tables.DOCUMENT_TOKENS).count()
    assert found[0].documents == documents and 0.5 in [each.threshold for each in found]
    for one, next_one in pairwise(found):
        assert one.threshold < next_one.threshold
        assert one.documents >= next_one.documents and one.tokens >= next_one.tokens


def test_a_signal_of_a_table_is_counted_like_a_score(lake: Lake) -> None:
    found = {each.threshold: each for each in threshold.kept(threshold.values(lake, "words"), at=50)}
    quality = lake.read(tables.DOCUMENT_QUALITY)
    assert found[50].documents == quality.where("words >= 50").count()


def test_documents_around_a_threshold_are_the_nearest(lake: Lake) -> None:
    rows = threshold.values(lake, "words")
    found = [row["value"] for row in threshold.around(lake, rows, 200, count=2)]
    values = sorted(row["value"] for row in rows.collect())
    below, above = [value for value in values if value < 200], [value for value in values if value >= 200]
    assert found == [*below[-2:], *above[:2]]


def test_labels_give_precision_and_recall(lake: Lake, tmp_path: Path) -> None:
    """Labels that follow the signal are told apart without error."""
    rows = threshold.values(lake, "words")
    few = {row["doc_id"]: row["value"] for row in rows.orderBy("doc_id").limit(40).collect()}
    path = tmp_path / "labels.jsonl"
    lines = [{"doc_id": doc_id, "label": "good" if words >= 200 else "bad"} for doc_id, words in few.items()]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = threshold.judged(lake, rows, 200, labelled.labelled(path, "doc_id", "label"), "doc_id")
    assert (found.n, found.precision[0], found.recall[0], found.auc.value) == (40, 1.0, 1.0, 1.0)
    strict = threshold.judged(lake, rows, 1e9, labelled.labelled(path, "doc_id", "label"), "doc_id")
    assert (strict.kept, strict.recall[0]) == (0, 0.0)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ("wordz", "signal 'wordz' is in no table, wanted a number such as words, or a score: quality.score"),
        ("language", "signal 'language' is string, wanted a number"),
        ("edu.score", "no scores by edu in this lake, found of this scorer: none"),
    ],
)
def test_a_signal_that_has_no_numbers_is_refused(lake: Lake, signal: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        threshold.values(lake, signal)


def test_labels_of_other_documents_are_refused(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"url": "https://no.example/a", "label": 1}\n{"url": "https://no.example/b", "label": 0}\n')
    with pytest.raises(InputError, match="of 2 labels 0 are of documents with a value, wanted both kinds"):
        threshold.judged(lake, threshold.values(lake, "words"), 5, labelled.labelled(path, "url", "label"))
