"""Scores lie in [0, 1], depend on a text alone, and tell mild insults from prose in several languages."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import models
from etl.errors import InputError
from etl.kernels import toxicity
from etl.kernels.toxicity import Settings
from etl.models import ModelError

PROSE = {
    "en": "The lake is deep and cold in winter. Fishermen wait on the shore until the ice is thick enough to walk on.",
    "de": "Der See ist tief und im Winter kalt. Die Fischer warten am Ufer, bis das Eis sie trägt.",
    "es": "El lago es profundo y frío en invierno. Los pescadores esperan en la orilla hasta que el hielo aguante.",
    "fr": "Le lac est profond et froid en hiver. Les pêcheurs attendent sur la rive que la glace soit assez épaisse.",
    "it": "Il lago è profondo e freddo d'inverno. I pescatori aspettano sulla riva che il ghiaccio sia spesso.",
    "nl": "Het meer is diep en koud in de winter. De vissers wachten aan de oever tot het ijs dik genoeg is.",
    "pl": "Jezioro jest głębokie i zimne zimą. Rybacy czekają na brzegu, aż lód będzie wystarczająco gruby.",
    "pt": "O lago é profundo e frio no inverno. Os pescadores esperam na margem até o gelo ficar espesso.",
    "ru": "Озеро глубокое и зимой холодное. Рыбаки ждут на берегу, пока лёд не станет достаточно толстым.",  # noqa: RUF001  Cyrillic is meant
    "zh": "湖水很深，冬天很冷。渔民们在岸边等待冰层变厚。",  # noqa: RUF001  its own comma
}
INSULTS = (
    "You are a stupid idiot and everyone hates you.",
    "Shut up, you pathetic loser.",
    "What a bunch of disgusting morons, they should all die.",
    "Du bist ein dummer Idiot, halt die Fresse.",
)
texts = st.text(max_size=400) | st.lists(
    st.sampled_from(["you", "idiot", "lake", ".", "!", "\n", '"', "s t u p i d", "!!!", "@a", "http://a.b", "湖", "é"]),
    max_size=200,
).map(" ".join)


def scores(*given_texts: str) -> list[toxicity.Score]:
    return toxicity.score(given_texts, Settings())


@given(texts)
def test_any_text_has_a_score_between_0_and_1_or_says_why_not(text: str) -> None:
    (found,) = scores(text)
    assert found.read == len(text)
    if found.score is None:
        assert found.error is not None and found.error.startswith("empty:")
        assert found.worst is None and found.spans == ()
    else:
        assert found.worst is not None and found.error is None
        assert 0 <= found.score <= found.worst <= 1


@given(texts)
def test_spans_lie_in_the_text_in_order_and_reach_the_threshold(text: str) -> None:
    (found,) = toxicity.score([text], Settings(span_threshold=0.05))
    end = 0
    for span in found.spans:
        assert end <= span.start < span.end <= len(text)
        assert found.worst is not None and 0.05 <= span.score <= found.worst
        end = span.end
    assert bool(found.spans) == (found.worst is not None and found.worst >= 0.05)


@given(st.lists(texts, min_size=1, max_size=6))
def test_a_score_does_not_depend_on_the_texts_beside_it(batch: list[str]) -> None:
    alone = [scores(text)[0] for text in reversed(batch)][::-1]
    assert scores(*batch) == alone


def test_a_scorer_that_forgot_its_words_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scores(*PROSE.values(), *INSULTS)
    monkeypatch.setattr(toxicity, "MAX_CACHED", 3)
    assert scores(*PROSE.values(), *INSULTS) == before


@pytest.mark.parametrize("language", PROSE)
def test_clean_prose_is_below_the_threshold(language: str) -> None:
    (found,) = scores(PROSE[language])
    assert found.worst is not None and found.worst < 0.5


@pytest.mark.parametrize("text", INSULTS)
def test_plain_insults_are_above_the_threshold(text: str) -> None:
    (found,) = scores(text)
    assert found.score is not None and found.score >= 0.5


def test_an_insult_in_a_page_is_a_span_and_hardly_moves_the_page() -> None:
    page = "\n".join([PROSE["en"]] * 100)
    middle = page.index("\n", len(page) // 2) + 1
    planted = page[:middle] + INSULTS[0] + "\n" + page[middle:]
    clean, found = scores(page, planted)
    assert [planted[span.start : span.end].strip() for span in found.spans] == [INSULTS[0]]
    assert clean.score is not None and found.score is not None and found.worst is not None
    assert clean.score < found.score < 0.5 <= found.worst


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("s t u p i d", "stupid"),
        ("s.t.u.p.i.d", "stupid"),
        ("1d10t", "idiot"),
        ("STUPIIIIID", "stupid"),
        ("stu\u200bpid", "stupid"),
        ("\uff49\uff44\uff49\uff4f\uff54", "idiot"),
    ],
)
def test_disguised_words_are_spelt_as_plain_ones(disguised: str, plain: str) -> None:
    assert [toxicity.spelling(token) for token in toxicity.tokens(disguised)] == [plain]


def test_text_without_marks_is_read_in_windows() -> None:
    words = "lake " * (3 * toxicity.MAX_WORDS)
    starts, ends = toxicity.bounds(np.array([toxicity.is_end(token) for token in toxicity.tokens(words)]))
    assert (ends - starts).tolist() == [toxicity.MAX_WORDS] * 3


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_pooled_score_lies_between_the_mean_and_the_highest(found: list[float]) -> None:
    probabilities = np.array(found, np.float32)
    lengths = np.ones(len(found), np.int64)
    value = toxicity.pooled(probabilities, lengths)
    assert probabilities.mean() - 1e-6 <= value <= probabilities.max() + 1e-6


def test_text_beyond_the_limit_is_not_read() -> None:
    text = PROSE["en"] + " " + INSULTS[0]
    (found,) = toxicity.score([text], Settings(max_characters=len(PROSE["en"])))
    assert found == scores(PROSE["en"])[0]
    assert found.read == len(PROSE["en"])


def test_digest_names_settings_and_weights(tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    copy.write_bytes(models.read(toxicity.PACKAGED))
    assert toxicity.digest(Settings()) == toxicity.digest(Settings(model=str(copy)))
    assert toxicity.digest(Settings()) != toxicity.digest(Settings(span_threshold=0.9))


def test_settings_name_every_problem() -> None:
    with pytest.raises(InputError, match=r"span_threshold is 0, wanted .*; max_characters is 0, wanted at least 1"):
        Settings(span_threshold=0, max_characters=0)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="no file of NumPy arrays"):
        toxicity.check(Settings(model=str(bad)))
    with pytest.raises(ModelError, match=r"no model of toxicity '.*missing\.npz': No such file"):
        toxicity.check(Settings(model=str(tmp_path / "missing.npz")))


def test_arrays_that_do_not_fit_are_named() -> None:
    with np.load(BytesIO(models.read(toxicity.PACKAGED))) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept["words"], kept["last"] = kept["words"][:3], kept["last"][:-1]
    stream = BytesIO()
    np.savez(stream, **kept)
    with pytest.raises(ModelError, match=r"'last' is .* wanted .*; 'words' has 3 rows, wanted a power of two"):
        toxicity.parse(stream.getvalue())
