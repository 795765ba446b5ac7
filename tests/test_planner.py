"""The planner on the finished lake."""

from __future__ import annotations

import argparse
import io

import pytest
from rich.console import Console

from etl import planner, tables
from etl.errors import InputError
from etl.kernels import scaling
from etl.kernels.scaling import Allocation
from etl.lake import Lake
from etl.planner import Plan


@pytest.fixture(scope="module")
def found(lake: Lake) -> Plan:
    """A model that the corpus of the sample feeds for some epochs."""
    return planner.plan(lake, scaling.by_rule(tokens=300_000), signal="words", at=100.0)


def test_the_supply_is_the_corpus_and_falls_with_the_threshold(lake: Lake, found: Plan) -> None:
    corpus = lake.read(tables.CORPUS).selectExpr("count(*)", "sum(tokens)").collect()[0]
    supplies = [each.supply for each in found.thresholds]
    assert (supplies[0].threshold, supplies[0].documents, supplies[0].tokens) == (None, *corpus)
    tokens = [supply.tokens for supply in supplies]
    assert tokens == sorted(tokens, reverse=True) and 0 < tokens[-1] < tokens[0]
    assert 100.0 in {supply.threshold for supply in supplies}


def test_quality_costs_quantity_and_says_what_it_must_be_worth(found: Plan) -> None:
    whole, good, more = found.comparison
    assert (whole.worth, good.supply.threshold) == (pytest.approx(1), 100.0)
    assert good.epochs >= whole.epochs and good.loss >= whole.loss and good.worth >= 1
    assert more.tokens == 2 * whole.tokens and more.loss < whole.loss and more.worth < 1
    assert all(each.effective <= each.tokens for each in found.thresholds)


def test_more_than_four_epochs_are_not_good(lake: Lake) -> None:
    tokens = planner.supplies(lake, "fineweb")[0].tokens
    good, bad = (planner.plan(lake, Allocation(1e6, epochs * tokens)).thresholds[0] for epochs in (4.0, 4.1))
    assert (good.is_good, bad.is_good) == (True, False)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"recipe": "none"}, "found none, known are \\['fineweb'\\]"),
        ({"signal": "wrds"}, "signal 'wrds' is in no table"),
        ({"signal": "words", "at": 1e9}, r"no tokens with words at least 1e\+09"),
    ],
)
def test_what_the_lake_lacks_is_said(lake: Lake, options: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        planner.plan(lake, Allocation(1e6, 2e7), **options)  # type: ignore[arg-type]


def test_a_plan_can_be_read(found: Plan) -> None:
    console = Console(file=io.StringIO(), width=140)
    planner.show(console, found)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "15K parameters, 300K tokens (20 a parameter" in text
    assert all(name in text for name in planner.CLAIMED)


def test_counts_are_read_as_people_write_them() -> None:
    assert [planner.number(text) for text in ("7B", "1.4t", "5.9e21", "12")] == [7e9, 1.4e12, 5.9e21, 12.0]
    assert [planner.short(value) for value in (7e9, 1.4e12, 5.9e21, 12.0)] == ["7B", "1.4T", "5.90e+21", "12"]
    for text in ("7 billion", "-1", "0", "1.2.3"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no count above 0"):
            planner.number(text)
