"""A classifier is trained on what a lake says at versions that its card names, and a recipe can name it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from etl import config, tables, views
from etl.errors import ConfigError, InputError
from etl.kernels import fasttext_classifier as kernel
from etl.lake import Lake
from etl.learn import fasttext_classifier as learning
from etl.learn.fasttext_classifier import Cut, Texts, Training
from etl.stages.rules import Rule
from etl.stages.score import Scorer
from jobs import train_classifier

TRAINING = Training(dimensions=4, buckets=1024, epochs=10)
TEXTS = Texts(
    positives="SELECT d.text FROM documents d JOIN document_quality q USING (doc_id) WHERE q.words >= 150",
    negatives="SELECT text, url_host_name FROM documents WHERE text IS NOT NULL",
    population="SELECT text FROM corpus WHERE recipe = 'fineweb'",
    keep_share=0.25,
    held_out=0.2,
)


@pytest.fixture(scope="module")
def trained(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cut]:
    output = tmp_path_factory.mktemp("models")
    return output / "wordy", learning.train(lake, "wordy", TEXTS, TRAINING, output)


@pytest.fixture
def at_home(lake: Lake) -> Iterator[None]:
    """Names without a namespace are those of the lake."""
    with views.using(lake.spark, lake.namespace):
        yield


def test_a_recipe_can_name_what_was_trained(trained: tuple[Path, Cut]) -> None:
    folder, found = trained
    scorer = config.load(config.find("scorers", str(folder / "scorer.yaml")), Scorer).pinned()
    assert scorer.name == "wordy"
    assert scorer.engine is kernel
    assert kernel.score(["the lake " * 80, ""], scorer.settings)[1].error == "empty: no word"
    assert found.kept / found.n == pytest.approx(0.25, abs=1 / found.n)


def test_the_card_says_what_was_read_at_which_versions(lake: Lake, trained: tuple[Path, Cut]) -> None:
    folder, found = trained
    card = (folder / "card.md").read_text()
    read = [line for line in card.splitlines() if ": version " in line]
    wanted = (tables.CORPUS, tables.DOCUMENT_QUALITY, tables.DOCUMENTS)
    assert read == [f"- {table.name}: version {lake.version(table)}" for table in wanted]
    assert all(query in card for query in TEXTS.queries.values())
    assert f"`{found.threshold!r}` keeps" in card
    assert "| AUC | 0." in card or "| AUC | 1." in card


def test_a_model_does_not_depend_on_partitions(lake: Lake, trained: tuple[Path, Cut], tmp_path: Path) -> None:
    option = "spark.sql.shuffle.partitions"
    before = lake.spark.conf.get(option)
    lake.spark.conf.set(option, "7")
    try:
        again = learning.train(lake, "wordy", TEXTS, TRAINING, tmp_path)
    finally:
        lake.spark.conf.set(option, before or "4")
    folder, found = trained
    assert again == found
    assert (tmp_path / "wordy" / "model.bin").read_bytes() == (folder / "model.bin").read_bytes()
    assert (tmp_path / "wordy" / "card.md").read_text() == (folder / "card.md").read_text()
    assert sorted(path.name for path in (tmp_path / "wordy").iterdir()) == ["card.md", "model.bin", "scorer.yaml"]


def test_sides_are_cut_to_size_by_hash_and_no_text_is_of_both(lake: Lake, at_home: None) -> None:
    few = Texts(TEXTS.positives, TEXTS.negatives, max_per_side=20)
    rows = list(learning.read_examples(lake, few, 1000))
    everything = list(learning.read_examples(lake, Texts(TEXTS.positives, TEXTS.negatives, balance=False), 1000))
    assert [sum(row.is_positive is kind for row in rows) for kind in (True, False)] == [20, 20]
    assert set(rows) <= set(everything)
    texts = {row["text"] for row in lake.read(tables.DOCUMENTS).select("text").collect() if row["text"]}
    assert len(everything) == len(texts)


def test_tables_are_read_at_one_version_whatever_is_written_meanwhile(lake: Lake, at_home: None) -> None:
    version = lake.version(tables.DOCUMENTS)
    queries = {"positives": "SELECT text FROM documents"}
    with learning.pinned(lake, queries, {"documents": 0}) as versions:
        assert versions == {"documents": 0}
        assert lake.spark.sql(queries["positives"]).isEmpty()  # version 0 made the table
    with learning.pinned(lake, queries, {}) as versions:
        assert versions == {"documents": version}
    assert not lake.spark.sql(queries["positives"]).isEmpty()


def test_views_of_a_lake_are_read_at_these_versions_too(lake: Lake, at_home: None) -> None:
    queries = {"positives": "SELECT url_host_name AS text FROM host_shares"}
    with learning.pinned(lake, queries, {"dispositions": 0}) as versions:
        assert versions == {"dispositions": 0}
        assert lake.spark.sql(queries["positives"]).isEmpty()
    assert not lake.spark.sql(queries["positives"]).isEmpty()


def test_the_command_prints_what_goes_into_a_recipe(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--warehouse", str(lake.warehouse), "--namespace", lake.namespace]
    sides = ["--positives", TEXTS.positives, "--negatives", TEXTS.negatives, "--no-balance", "--held-out", "0.2"]
    small = ["--set", "buckets=1024", "--set", "dimensions=4", "--set", "quantize=true"]
    train_classifier.main([*place, *sides, *small, "--name", "small", "--output", str(tmp_path), "--keep-share", "0.5"])
    written, kept, _, *lines = capsys.readouterr().out.splitlines()
    assert written == f"{tmp_path}/small: card.md and scorer.yaml"
    assert kept.startswith("keeps 0.5")
    recipe = yaml.safe_load("\n".join(lines))
    assert recipe["scorers"] == {"small": str(tmp_path / "small" / "scorer.yaml")}
    (rule,) = recipe["rules"]
    assert Rule(**rule).signal == "small.score"
    scorer = config.load(Path(recipe["scorers"]["small"]), Scorer).pinned()
    assert Path(scorer.settings.model) == tmp_path / "small" / "model.ftz"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT text FROM nowhere", "--positives cannot be run: [TABLE_OR_VIEW_NOT_FOUND]"),
        ("SELECT text FRM documents", "--positives cannot be run: [PARSE_SYNTAX_ERROR]"),
        ("DROP TABLE documents", "--positives cannot be run: [PARSE_SYNTAX_ERROR]"),
        ("SELECT doc_id, text_length FROM documents", "--positives has the columns doc_id string, text_length bigint"),
        ("SELECT text_length AS text FROM documents", "wanted one called text, of type string"),
        ("SELECT text FROM documents WHERE false", "--positives gives no text with a word in it"),
        ("SELECT text FROM finished.documents", "name tables of the lake without a namespace"),
        ("SELECT CAST(raise_error('odd') AS STRING) AS text FROM documents", "--positives cannot be run: "),
    ],
)
def test_a_query_that_gives_no_side_is_named(lake: Lake, tmp_path: Path, query: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        learning.train(lake, "wrong", Texts(query, TEXTS.negatives), TRAINING, tmp_path)
    assert said in str(raised.value)
    assert "JVM" not in str(raised.value)
    assert not list((tmp_path / "wrong").iterdir())


def test_two_sides_of_the_same_texts_are_one_class(lake: Lake, tmp_path: Path) -> None:
    same = Texts(TEXTS.negatives, TEXTS.negatives)
    with pytest.raises(InputError, match=r"--negatives gives no text .* that is not one of --positives too"):
        learning.train(lake, "same", same, TRAINING, tmp_path)


def test_a_name_that_no_scorer_can_have_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--name: scorer 'Of Mine': name is 'Of Mine'"):
        learning.train(lake, "Of Mine", TEXTS, TRAINING, tmp_path)


def test_a_table_that_no_query_reads_has_no_version(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--at names captures, which no query reads"):
        learning.train(lake, "wrong", TEXTS, TRAINING, tmp_path, at={"captures": 1})
