"""Laws of grouping: nothing is lost, what is shared is the same, and no more is read than without."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from etl.evaluate.prefixes import KEPT, LEAST_SHARED, Group, Ids, batches, fits, groups

# Few beginnings of several lengths, so that many inputs share much.
BEGINNINGS = st.sampled_from([(1,) * 10, (1,) * 20, (1,) * 20 + (2,) * 30, (3,) * 25])
RESTS = st.lists(st.integers(1, 4), min_size=1, max_size=12).map(tuple)
INPUTS = st.builds(lambda beginning, rest: beginning + rest, BEGINNINGS, RESTS)
LATEST = st.dictionaries(INPUTS, st.floats(0, 1), max_size=40).map(
    lambda share: {ids: int(part * len(ids)) for ids, part in share.items()}
)


@settings(deadline=None)
@given(LATEST, st.integers(1, 400))
def test_every_input_is_in_one_group_that_shares_what_it_says(latest: dict[Ids, int], most_tokens: int) -> None:
    found = groups(latest, most_tokens)
    assert sorted(ids for group in found for ids in group.inputs) == sorted(latest)
    for group in found:
        assert len({ids[: group.shared] for ids in group.inputs}) == 1
        if group.shared:
            assert group.shared >= LEAST_SHARED
            assert all(group.shared <= latest[ids] for ids in group.inputs)
            assert fits([group], most_tokens)
        else:
            assert len(group.inputs) == 1


@settings(deadline=None)
@given(LATEST, st.integers(1, 400))
def test_sharing_never_reads_more_tokens(latest: dict[Ids, int], most_tokens: int) -> None:
    read = sum(
        group.shared + sum(len(ids) - group.shared for ids in group.inputs) for group in groups(latest, most_tokens)
    )
    assert read <= sum(map(len, latest))


@settings(deadline=None)
@given(LATEST, st.integers(1, 400))
def test_batches_hold_every_group_once_and_fit(latest: dict[Ids, int], most_tokens: int) -> None:
    found = groups(latest, most_tokens)
    together = list(batches(found, most_tokens))
    assert sorted((group for batch in together for group in batch), key=str) == sorted(found, key=str)
    for batch in together:
        rows = sum(len(group.inputs) for group in batch)
        longest = max(group.shared for group in batch) + max(group.longest for group in batch)
        assert len(batch) == 1 or rows * longest <= KEPT * most_tokens


def test_choices_share_their_question_and_questions_the_examples_before_them() -> None:
    question = tuple(range(100, 140))
    choices = {(*question, *rest): 40 for rest in ((1, 2), (3,), (4, 5, 6))}
    (found,) = groups(choices, 1000)
    assert (found.shared, len(found.inputs)) == (40, 3)

    examples = tuple(range(1000, 1300))
    asked = {(*examples, number, *range(20)): 321 for number in range(5)}
    (found,) = groups(asked, 1000)
    assert (found.shared, len(found.inputs)) == (300, 5)


def test_a_word_in_common_does_not_pull_two_questions_together() -> None:
    first, second = (9, *range(100, 140)), (9, *range(200, 240))
    latest = {(*question, choice): 41 for question in (first, second) for choice in (1, 2)}
    assert groups(latest, 1000) == [
        Group(41, ((*first, 1), (*first, 2))),
        Group(41, ((*second, 1), (*second, 2))),
    ]


def test_no_inputs_are_no_groups() -> None:
    assert groups({}, 10) == []
    assert list(batches([], 10)) == []
