"""Common words are counted in the language of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import language, stop_words
from etl.kernels.stop_words import LISTS


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("Der Hund und die Katze in dem Haus, und der Garten", "de", 5),
        ("l\u2019eau et l'air, à Paris", "fr", 3),
        ("L'acqua e la terra", "it", 2),
        ("Он был в Москве", "rus_Cyrl", 2),
        ("Der Hund und die Katze", "fr", 0),
        ("undine inder", "de", 0),
        ("", "de", 0),
        ("the cat", "en", None),
        ("the cat", None, None),
    ],
)
def test_words_are_those_of_the_language_as_they_are_written(text: str, name: str | None, count: int | None) -> None:
    assert stop_words.counts([text], [name]).to_pylist() == [count]


@given(st.lists(st.tuples(st.text(), st.sampled_from([*LISTS, "en", None]))))
def test_any_text_is_counted_alone(rows: list[tuple[str, str | None]]) -> None:
    texts, names = [row[0] for row in rows], [row[1] for row in rows]
    found = stop_words.counts(texts, names).to_pylist()
    assert found == [stop_words.counts([text], [name])[0].as_py() for text, name in rows]
    assert all((count is None) == (name not in LISTS) for count, name in zip(found, names, strict=True))
    assert all(
        count is None or count <= len(LISTS[name or ""].split()) for count, name in zip(found, names, strict=True)
    )


def test_the_lists_are_of_languages_that_the_packaged_model_knows() -> None:
    assert not set(LISTS).difference(language.languages())
    assert all(stop_words.counts([words], [name])[0].as_py() == len(words.split()) for name, words in LISTS.items())
