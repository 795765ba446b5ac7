"""Packing: every token in one place, in both ways to pack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import packing
from etl.kernels.packing import BEST_FIT, CONCAT, MODES, Packed

END = -1  # no token of the documents below
# Some of a length around the context, which is where cuts and left out end-of-texts are.
lengths = st.lists(st.one_of(st.integers(0, 40), st.sampled_from([0, 1, 7, 8, 9, 15, 16, 17, 24])), max_size=30)
contexts = st.sampled_from([2, 3, 8, 16, 33])
modes = st.sampled_from(MODES)


def documents_of(sizes: list[int]) -> list[list[int]]:
    """Documents in which no token comes twice."""
    counter = iter(range(sum(sizes)))
    return [[next(counter) for _ in range(size)] for size in sizes]


def restored(packed: Packed, count: int) -> list[list[int]]:
    """The documents, put together again from where each piece says it belongs."""
    found: list[dict[int, int]] = [{} for _ in range(count)]
    for row in packed:
        edges = [*row.starts.tolist(), len(row.ids)]
        for n, document in enumerate(row.documents.tolist()):
            for place, token in enumerate(row.ids[edges[n] : edges[n + 1]].tolist(), int(row.begins[n])):
                assert place not in found[document], "no place of a document is in two rows"
                found[document][place] = token
    return [[tokens[place] for place in range(len(tokens))] for tokens in found]


@given(lengths, contexts, modes)
def test_every_token_is_in_one_place_and_no_other(sizes: list[int], context: int, mode: str) -> None:
    documents = documents_of(sizes)
    packed = packing.pack(documents, context, END, mode)
    assert sorted(packed.ids[packed.ids != END].tolist()) == list(range(sum(sizes)))
    for document, found in zip(documents, restored(packed, len(documents)), strict=True):
        assert found in (document, [*document, END])


@given(lengths, contexts, modes)
def test_the_account_adds_up(sizes: list[int], context: int, mode: str) -> None:
    packed = packing.pack(documents_of(sizes), context, END, mode)
    account, rows = packed.account(), list(packed)
    assert account.tokens == sum(sizes)
    assert account.separators == (packed.ids == END).sum() == sum(row.separators for row in rows)
    assert account.tokens + account.separators + account.padding == account.rows * context
    assert account.padding == sum(context - len(row.ids) for row in rows)
    assert all(0 < len(row.ids) <= context for row in rows)
    if mode == CONCAT:
        assert account.separators == len(sizes)
        assert account.rest == (sum(sizes) + len(sizes)) % context
    else:
        assert account.separators == sum(size % context > 0 for size in sizes)
        assert account.rest == 0


@given(lengths, contexts)
def test_a_stream_keeps_the_order_and_fills_all_rows_but_the_rest(sizes: list[int], context: int) -> None:
    documents = documents_of(sizes)
    packed = packing.pack(documents, context, END)
    assert packed.ids.tolist() == [token for document in documents for token in [*document, END]]
    full = len(packed) - packed.has_rest
    assert [len(row.ids) for row in packed][:full] == [context] * full


@given(lengths, contexts)
def test_best_fit_cuts_only_what_is_longer_than_the_context(sizes: list[int], context: int) -> None:
    packed = packing.pack(documents_of(sizes), context, END, BEST_FIT)
    pieces = np.bincount(packed.documents, minlength=len(sizes)).tolist()
    for size, count in zip(sizes, pieces, strict=True):
        assert count == -(-(size + (size % context > 0)) // context), "as few pieces as its length asks for"
        if 0 < size < context:
            assert count == 1


@given(lengths, contexts)
def test_best_fit_opens_no_row_for_what_another_has_room_for(sizes: list[int], context: int) -> None:
    packed = packing.pack(documents_of(sizes), context, END, BEST_FIT)
    shortest = [min(np.diff(row.starts, append=len(row.ids))) for row in packed]
    rooms = [context - len(row.ids) for row in packed]
    for row, piece in enumerate(shortest):
        if len(list(packed)[row].starts) == 1:
            assert all(piece > room for other, room in enumerate(rooms) if other != row), "it would have gone there"


def test_best_fit_leaves_the_least_room() -> None:
    packed = packing.pack(documents_of([4, 6, 2, 1, 9]), 10, END, BEST_FIT)
    assert [row.documents.tolist() for row in packed] == [[0, 3], [1, 2], [4]], "2 + end to 6 + end, not to 4 + end"
    assert [len(row.ids) for row in packed] == [5 + 2, 7 + 3, 10]


def test_rows_begin_in_the_order_of_documents() -> None:
    rows = list(packing.pack(documents_of([3, 25, 3, 12]), 10, END, BEST_FIT))
    begins = [(int(row.documents[0]), int(row.begins[0])) for row in rows]
    assert begins == sorted(begins)
    assert all(row.documents.tolist() == sorted(row.documents.tolist()) for row in rows)


@given(lengths, contexts, modes)
def test_positions_begin_anew_with_each_piece(sizes: list[int], context: int, mode: str) -> None:
    for row in packing.pack(documents_of(sizes), context, END, mode):
        places = packing.positions(row.starts, len(row.ids)).tolist()
        numbers = packing.segments(row.starts, len(row.ids)).tolist()
        assert [place for place, position in enumerate(places) if position == 0] == row.starts.tolist()
        assert numbers == (np.cumsum(np.array(places) == 0) - 1).tolist()


def test_an_empty_set_has_no_rows() -> None:
    for mode in MODES:
        packed = packing.pack([], 8, END, mode)
        assert (len(packed), list(packed), packed.account().padding) == (0, [], 0)


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mode is 'worst'.*; context is 1, wanted at least 2"):
        packing.pack([[1]], 1, END, "worst")


def test_the_end_of_text_is_that_of_the_tokenizer(tmp_path: Path) -> None:
    assert [packing.end_of_text(name) for name in ("gpt2", "bytes")] == [50256, 256]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"added_tokens": [{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}]}))
    assert packing.end_of_text(str(path)) == 2
    path.write_text(json.dumps({"added_tokens": [{"id": 1, "content": "<s>"}]}))
    with pytest.raises(ValueError, match="set end_of_text to the id"):
        packing.end_of_text(str(path))
