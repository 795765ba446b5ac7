"""A whole search on languages of which the answer is known, with models that are really trained."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import config
from etl.align import launch
from etl.align.job import JOB
from etl.errors import ConfigError, InputError
from etl.search import compare, job, run, train
from etl.search import domains as streams
from etl.search.domains import Domain, Domains
from etl.search.job import DOMAINS, Measured, Result, Run
from etl.stages.mix import Mixture, Source
from tests.search import languages, small
from tests.search.small import PROXY, SEARCH

THREE = Mixture(
    "three",
    tuple(
        Source(name, f"language = '{name}'", share=share)
        for name, share in zip(small.three().names, (0.5, 0.3, 0.2), strict=True)
    ),
    held_out=0.1,
)
SHORT = dataclasses.replace(SEARCH, proxy=dataclasses.replace(PROXY, steps=12))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> run.Outcome:
    """The small search, done once for all tests that only look at it."""
    place = run.prepared(tmp_path_factory.mktemp("found"), small.three(), train.train)
    return run.search(place, SEARCH, [0.5, 0.3, 0.2])


def test_group_dro_finds_the_language_with_much_to_learn_and_leaves_the_noise(found: run.Outcome):
    cycle, noise, second_order = found.answers[0].values
    assert second_order > 0.6
    assert noise < cycle < 1 / 3


def test_every_seed_of_group_dro_agrees(found: run.Outcome):
    assert [np.argmax(shares) for shares in found.answers[0].evidence["shares_by_seed"]] == [2, 2]


def test_regression_gives_most_to_the_language_that_is_the_objective(found: run.Outcome):
    assert found.answers[1].values[2] > 0.6


def test_found_mixtures_beat_the_natural_one_which_starves_that_language(found: run.Outcome):
    verdicts = {(each.found, each.other): each for each in found.differences}
    for method in ("doremi", "regmix"):
        assert verdicts[method, "natural"].verdict == "better"


def test_models_are_not_better_than_their_language_allows(found: run.Outcome):
    generator = np.random.default_rng(5)
    floor = languages.floor(languages.noise(generator)) / math.log(2)
    assert all(row.domains[1].value > floor - 0.01 for row in found.rows)
    assert found.rows[0].domains[1].value == pytest.approx(floor, abs=0.1)


def test_shares_of_every_answer_add_up_to_one(found: run.Outcome):
    for answer in found.answers:
        assert answer.values.sum() == pytest.approx(1)
        assert all(share.low <= share.value <= share.high or answer.method == "regmix" for share in answer.shares)


def test_all_mixtures_were_trained_alike(found: run.Outcome):
    assert [row.mixture for row in found.rows] == ["uniform", "natural", "given", "doremi", "regmix"]
    assert len({(result.tokens, result.parameters) for result in found.results}) == 1
    assert {result.tokens for result in found.results} == {PROXY.tokens}


def test_written_mixtures_can_be_read_and_the_report_names_what_was_spent(found: run.Outcome, tmp_path: Path):
    place = run.prepared(tmp_path, small.three(), train.train)
    report, *mixtures = run.write(place, found, SEARCH, THREE, {"version": 3})
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["origin"] == {"version": 3, "tokens_sha256": small.three().sha256}
    assert said["found"]["doremi"]["spent"]["models"] == 4
    assert said["found"]["regmix"]["spent"]["models"] == 10
    assert said["comparison"]["spent"]["tokens"] == 5 * 3 * PROXY.tokens
    assert len(said["comparison"]["differences"]) == 2 * 4
    for path, answer in zip(mixtures, found.answers, strict=True):
        read = config.load(path, Mixture)
        assert (read.name, read.held_out) == (f"small-{answer.method}", 0.1)
        asked = {source.name: source.share for source in read.sources}
        for name, share in zip(small.three().names, answer.values, strict=True):
            assert asked.get(name, 0.0) == pytest.approx(share, abs=2e-4)


def test_a_source_of_no_share_is_left_out_and_named(found: run.Outcome):
    shares = tuple(compare.Estimate(value, value, value) for value in (0.00001, 0.49999, 0.5))
    answer = dataclasses.replace(found.answers[0], shares=shares)
    made = run.mixture(THREE, answer, "less")
    assert [(source.name, source.share) for source in made.sources] == [("noise", 0.5), ("second order", 0.5)]
    assert "Left out, as their shares round to nothing: cycle." in run.as_yaml(made, answer, THREE)


def doremi_runs() -> list[Run]:
    return [Run("reference", (1, 1, 1), 1), Run("proxy", (1, 1, 1), 1, "reference"), Run("fixed", (0.2, 0, 0.8), 2)]


def untimed(results: list[Result]) -> list[Result]:
    return [dataclasses.replace(result, seconds=0.0) for result in results]


def test_a_job_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path):
    whole = run.prepared(tmp_path / "whole", small.three(), train.train)
    wanted = untimed(whole.results("all", SHORT, doremi_runs()))
    (place,) = (tmp_path / "whole").glob("all-*")
    for name in ("proxy", "fixed"):
        (place / f"{name}.json").unlink()
    kept = (place / "reference.json").read_bytes()
    assert untimed(whole.results("all", SHORT, doremi_runs())) == wanted
    assert (place / "reference.json").read_bytes() == kept


@pytest.mark.slow  # Accelerate starts a process, which loads PyTorch
def test_accelerate_launch_gives_the_bits_of_this_process(tmp_path: Path):
    lines = []

    def launched(place: Path) -> None:
        launch.run(launch.read("cpu", run.TRAIN), place, lines.append)

    here, there = (
        run.prepared(tmp_path / name, small.three(), how).results("all", SHORT, doremi_runs())
        for name, how in (("here", train.train), ("there", launched))
    )
    assert untimed(here) == untimed(there)
    assert [line["run"] for line in lines] == ["reference"] * 2 + ["proxy"] * 2 + ["fixed"] * 2


@pytest.mark.slow  # torchrun starts two processes, each of which loads PyTorch
def test_two_processes_change_the_result_by_rounding_alone(tmp_path: Path):
    def launched(place: Path) -> None:
        launch.run(launch.read("cpu-two", run.TRAIN), place, lambda line: None)

    one = run.prepared(tmp_path / "one", small.three(), train.train).results("all", SHORT, doremi_runs())
    two = run.prepared(tmp_path / "two", small.three(), launched, world_size=2).results("all", SHORT, doremi_runs())
    for alone, shared in zip(one, two, strict=True):
        assert shared.shares == pytest.approx(alone.shares, abs=1e-4)
        assert shared.domain_tokens == alone.domain_tokens
        for left, right in zip(alone.test, shared.test, strict=True):
            assert right.nats == pytest.approx(left.nats, rel=1e-3)


def test_other_settings_are_another_job(tmp_path: Path):
    place = run.prepared(tmp_path, small.three(), train.train)
    place.results("one", SHORT, doremi_runs()[:1])
    other = dataclasses.replace(SHORT, proxy=dataclasses.replace(SHORT.proxy, steps=13))
    assert place.results("one", other, doremi_runs()[:1])[0].tokens == other.proxy.tokens
    assert len([*tmp_path.glob("one-*")]) == 2


def test_a_share_of_nothing_trains_on_none_of_a_domain(tmp_path: Path):
    place = run.prepared(tmp_path, small.three(), train.train)
    (result,) = place.results("one", SHORT, [Run("fixed", (0.25, 0, 0.75), 1)])
    assert result.domain_tokens == (12 * 3 * 31, 0, 12 * 9 * 31)
    assert result.passes == pytest.approx((12 * 3 * 31 / 20_000, 0, 12 * 9 * 31 / 20_000))


def test_a_loss_that_is_no_number_names_the_run(tmp_path: Path):
    wild = dataclasses.replace(PROXY, optimizer=dataclasses.replace(PROXY.optimizer, lr=1e30))
    place = run.prepared(tmp_path, small.three(), train.train)
    with pytest.raises(InputError, match=r"fixed: the loss of step \d+ is (nan|inf): set a smaller optimizer.lr"):
        place.results("one", dataclasses.replace(SHORT, proxy=wild), [Run("fixed", (1, 1, 1), 1)])


def test_a_domain_too_short_for_a_block_is_named(tmp_path: Path):
    short = dataclasses.replace(small.three().domains[0], validation=np.arange(3, dtype=np.uint32))
    domains = Domains((short, *small.three().domains[1:]), small.three().token_bytes)
    with pytest.raises(InputError, match="'cycle' has 3 tokens of validation; wanted at least one block of 32"):
        run.search(run.prepared(tmp_path, domains, train.train), SEARCH)


@pytest.mark.parametrize("changes", [{"objective": {"books": 1.0}}, {"against": {"brief": {"books": 1.0}}}])
def test_names_of_no_domain_are_refused_before_anything_is_trained(changes, tmp_path: Path):
    place = run.prepared(tmp_path, small.three(), train.train)
    with pytest.raises(ConfigError, match=r"names \['books'\], wanted some of the domains \['cycle'"):
        run.search(place, dataclasses.replace(SEARCH, **changes))
    assert not [*tmp_path.glob(f"*/{JOB}")]


def test_domains_are_read_as_they_were_written(tmp_path: Path):
    written = small.three()
    written.save(tmp_path / DOMAINS)
    read = streams.load(tmp_path / DOMAINS)
    assert read.names == written.names
    assert all((a.train == b.train).all() for a, b in zip(read.domains, written.domains, strict=True))
    assert read.sha256 == written.sha256
    with pytest.raises(InputError, match="no domains can be read"):
        streams.load(tmp_path / "none.npz")


@given(st.integers(2, 9), st.integers(0, 60))
def test_blocks_predict_every_token_but_the_first_once(context: int, length: int):
    length += context
    found = streams.blocks(np.arange(length, dtype=np.uint32), context)
    predicted = found[:, 1:].flatten().tolist()
    assert predicted == list(range(1, 1 + len(found) * (context - 1)))
    assert length - 1 - len(predicted) < context - 1


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda shares: sum(shares) > 0.01),
    st.integers(1, 16),
    st.integers(0, 5),
)
def test_batches_have_the_shares_rounded_and_no_block_twice_before_all_were_there(shares, batch, seed):
    made = [
        Domain(str(place), np.arange(place * 100, place * 100 + 21, dtype=np.uint32), *[np.zeros(2, np.uint32)] * 2, 1)
        for place in range(len(shares))
    ]
    domains = Domains(tuple(made), np.ones(500, np.int64))
    wanted = batch * np.array(shares) / sum(shares)
    taken: dict[int, list[int]] = {place: [] for place in range(len(shares))}
    for drawn in streams.batches(domains, shares, context=5, batch=batch, steps=6, seed=seed):
        counts = np.bincount(drawn.domains, minlength=len(shares))
        assert (np.abs(counts - wanted) < 1 + 1e-6).all()
        assert (drawn.ids[:, 0] // 100 == drawn.domains).all()
        for place, first in zip(drawn.domains.tolist(), drawn.ids[:, 0].tolist(), strict=True):
            taken[place].append(first)
    for firsts in taken.values():
        for start in range(0, len(firsts), 5):
            assert len({*firsts[start : start + 5]}) == len(firsts[start : start + 5])


def test_a_difference_is_a_verdict_only_where_its_interval_leaves_zero():
    def results(values: list[float], steps: int = 1) -> list[Result]:
        return [
            Result(
                Run(str(seed), (1.0,), seed),
                (1.0,),
                0.0,
                (),
                (Measured(value * math.log(2), 1, 1),),
                (steps,),
                (1.0,),
                parameters=1,
                flops=1.0,
                seconds=1.0,
            )
            for seed, value in enumerate(values)
        ]

    whole = np.ones(1)
    of = {"found": results([1.0, 1.1, 1.2]), "worse": results([1.1, 1.21, 1.3]), "same": results([1.2, 1.1, 1.0])}
    found = {each.other: each for each in compare.differences(of, ["found"], whole)}
    assert found["worse"].verdict == "better"
    assert found["worse"].objective.value == pytest.approx(-0.1 - 0.01 / 3)
    assert found["same"].verdict == "no difference"
    assert compare.differences({"worse": of["worse"], "found": of["found"]}, ["worse"], whole)[0].verdict == "worse"
    with pytest.raises(ValueError, match="were not trained alike"):
        compare.differences({"found": of["found"], "longer": results([1, 1, 1], steps=2)}, ["found"], whole)


def test_a_job_is_not_done_on_the_domains_of_another(tmp_path: Path):
    place = run.prepared(tmp_path, small.three(), train.train)
    other = small.three().domains[::-1]
    Domains(other, small.three().token_bytes).save(tmp_path / DOMAINS)
    with pytest.raises(InputError, match="another search has been started in the same folder"):
        place.results("one", SHORT, doremi_runs())


def test_a_job_needs_its_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"there is no job\.json"):
        train.train(tmp_path)
    with pytest.raises(InputError, match=r"runs \['reference'\] are not done"):
        job.results(tmp_path, doremi_runs()[:1])
