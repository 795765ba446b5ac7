"""The packaged model of quality: laws of a score, and texts that any reader would tell apart."""

# ruff: noqa: RUF001  the letters of Russian and the commas of Chinese are meant
import io
import random
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl import models
from etl.kernels import quality_model as kernel
from etl.models import ModelError

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)  # lone surrogates too
PIECES = st.sampled_from(
    [
        *(
            "The",
            "the",
            "Haus",
            "\u6c34",
            "\u3002",
            "\u0e01\u0e33",
            "\u0939\u093f",
            "\ud55c",
            "\ud800",
            "\x00",
            "\ufffd",
        ),
        *(" ", "\n", "\n\n", "\t", "\x1c", "\u2028", ".", ". a", "!", "?", ",", '"', "...", "$5", "3.4", "www.", "| "),
        *(
            "Sentence one is here. Sentence two follows it, as it should.",
            "CLICK HERE",
            "\u0645\u0631\u062d\u0628\u0627",
        ),
    ]
)
PAGES = st.lists(PIECES, max_size=60).map("".join) | st.lists(PIECES, max_size=60).map(" ".join)

PROSE = {
    "en": (
        "When the river froze in the winter of 1895, the people of the town walked across it to the market on the "
        "other bank. The ice was thick enough to carry a horse, and within a week there were stalls "
        "on it, where bread "
        "and hot chestnuts were sold. Older residents remembered that the same had happened forty years before.\n"
        "The engineers who later built the bridge used what had been learned in those weeks. They "
        "measured how the ice "
        "pressed against the posts, how far it moved when the water below it rose, and at which "
        "places it broke first. "
        "Their notes are kept in the archive of the county, and they explain why the pillars are as "
        "wide as they are.\n"
        "Today the river rarely freezes, because the water that comes from the power station is "
        "warm. What is left of "
        "those winters is a painting in the town hall and a handful of photographs, in which "
        "children stand on the ice "
        "and look into the camera as if they did not trust it."
    ),
    "de": (
        "Als der Fluss im Winter 1895 zufror, gingen die Leute aus der Stadt zu Fuß hinüber zum "
        "Markt auf dem anderen "
        "Ufer. Das Eis war so dick, dass es ein Pferd tragen konnte, und nach einer Woche standen "
        "Stände darauf, an denen "
        "Brot und heiße Kastanien verkauft wurden. Die Älteren erinnerten sich, dass es vierzig Jahre zuvor genauso "
        "gewesen war.\nDie Ingenieure, die später die Brücke bauten, nutzten, was man in jenen "
        "Wochen gelernt hatte. Sie "
        "maßen, wie das Eis gegen die Pfähle drückte, wie weit es sich bewegte, wenn das Wasser "
        "darunter stieg, und an "
        "welchen Stellen es zuerst brach. Ihre Aufzeichnungen liegen im Archiv des Landkreises und "
        "erklären, warum die "
        "Pfeiler so breit sind.\nHeute friert der Fluss selten zu, weil das Wasser aus dem Kraftwerk "
        "warm ist. Geblieben "
        "sind ein Gemälde im Rathaus und einige Fotografien, auf denen Kinder auf dem Eis stehen."
    ),
    "fr": (
        "Quand la rivière gela pendant l'hiver 1895, les gens de la ville la traversèrent à pied "
        "pour aller au marché de "
        "l'autre rive. La glace était assez épaisse pour porter un cheval, et au bout d'une semaine "
        "on y avait dressé "
        "des étals où l'on vendait du pain et des marrons chauds. Les anciens se souvenaient que la même chose était "
        "arrivée quarante ans plus tôt.\nLes ingénieurs qui construisirent plus tard le pont se servirent de ce que "
        "l'on avait appris pendant ces semaines. Ils mesurèrent comment la glace pressait les pieux, de combien elle "
        "bougeait quand l'eau montait, et où elle cédait d'abord. Leurs notes sont gardées aux "
        "archives du département "
        "et expliquent pourquoi les piles sont si larges."
    ),
    "ru": (
        "Когда зимой река замерзла, жители города пешком ходили по льду на рынок, который стоял на другом берегу. "
        "Лёд был так крепок, что выдерживал лошадь, и через неделю на нём появились лавки, где "
        "продавали хлеб и горячие "
        "каштаны. Старики вспоминали, что сорок лет назад было то же самое.\n"
        "Инженеры, которые позже строили мост, воспользовались тем, что узнали в те недели. Они измеряли, как лёд "
        "давит на сваи, насколько он сдвигается, когда поднимается вода, и где он ломается раньше всего."
    ),
    "zh": (
        "那年冬天河面结了厚厚的冰，城里的人们走过冰面去对岸的集市。冰很结实，可以承受一匹马的重量，一个星期之后，冰面上就出现了卖面包和热栗子的摊位。"
        "老人们记得，四十年前也发生过同样的事情。\n后来建桥的工程师们利用了那几个星期里学到的东西。他们测量冰对木桩的压力，水位上升时冰移动多远，以及冰"
        "最先在哪些地方断裂。他们的记录保存在档案馆里，说明了桥墩为什么那么宽。如今这条河很少结冰，因为从电厂流出来的水是温的。"
    ),
}
BAD = {
    "menu": "Home\nAbout us\nProducts\nContact\nLogin\nMy account\nCart (0)\nImprint\nPrivacy\n"
    "Site map\nFollow us\n" * 2,
    "menu de": "Startseite\nÜber uns\nProdukte\nKontakt\nAnmelden\nMein Konto\nWarenkorb (0)\n"
    "Impressum\nDatenschutz\n"
    "Newsletter\nFolgen Sie uns\nAGB\nVersand\n",
    "menu zh": "首页\n关于我们\n产品\n联系我们\n登录\n注册\n购物车\n网站地图\n隐私政策\n关注我们\n",
    "menu ru": "Главная\nО нас\nТовары\nКонтакты\nВойти\nКорзина (0)\nКарта сайта\n",
    "shop": "Blue Widget 3000\n$19.99 $14.99\nAdd to cart\nIn stock - ships in 24h\nRed Widget 2000\n"
    "$9.99\nAdd to cart\n"
    "Sold out\nGreen Widget\n$29.99\nAdd to cart\n4.5 (120 reviews)\nFree shipping over $50\n",
    "keywords": "cheap flights, cheap hotels, best cheap flights, hotels deals, flights deals, last "
    "minute flights, " * 20,
    "keywords de": "günstige Flüge, Hotel buchen, billige Flüge, Urlaub günstig, Last Minute Urlaub, "
    "Hotel billig, " * 20,
    "one sentence": "Buy the best product today and save money. " * 40,
    "shouting": "AMAZING OFFER!!! CLICK HERE NOW!!! LIMITED TIME ONLY!!! WIN A FREE PRIZE $$$ 100% GUARANTEED!!! " * 4,
    "comments": "3 likes\nReply\nShare\nanna92 wrote:\nlol\nReply\n2 days ago\nmike wrote:\n+1\nReply\n"
    "Load more comments\n",
    "calendar": "Mo Tu We Th Fr Sa Su\n1 2 3 4 5 6 7\n8 9 10 11 12 13 14\n15 16 17 18 19 20 21\n22 23 24 25 26 27 28\n",
    "bytes": "\ufffd\ufffdPK\x03\x04\x14\x00\x08\ufffd\x00\x1a\ufffdqz8\ufffd$#@~^\x7f\x02\ufffdh\x00\x00" * 20,
}


def value(text: str) -> float:
    (found,) = kernel.score([text])
    assert found.error is None
    return found.score


def salad(text: str) -> str:
    words = text.split()
    random.Random(1).shuffle(words)
    return " ".join(words)


@given(st.lists(ANY_TEXT | PAGES, max_size=6))
@example(["\ud800", "\x00", "\x1c", "\u2028", "\ufffd", "", " \n\t", "\u0301", "\U000f0000", "."])
@settings(max_examples=150, deadline=None)
def test_any_text_has_a_probability_or_a_reason_alone_as_in_company(texts):
    found = kernel.score(texts)
    assert found == [one for text in texts for one in kernel.score([text])]
    for text, one in zip(texts, found, strict=True):
        if text.strip():
            assert 0 <= one.score <= 1
            assert one.read == len(text)
            assert one.error is None
        else:
            assert one.score is None
            assert one.read == 0
            assert one.error.startswith("empty: ")


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("language", PROSE)
def test_prose_of_any_language_scores_above_menus_shops_and_spam(language, bad):
    assert value(PROSE[language]) > value(BAD[bad])


@pytest.mark.parametrize("language", PROSE)
def test_prose_is_rather_good(language):
    assert value(PROSE[language]) > 0.5


@pytest.mark.parametrize("bad", BAD)
def test_menus_shops_and_spam_are_rather_bad(bad):
    assert value(BAD[bad]) < 0.35


@pytest.mark.parametrize("language", ["en", "de", "fr", "ru"])
def test_word_salad_scores_below_the_prose_that_it_is_made_of(language):
    assert value(salad(PROSE[language])) < value(PROSE[language]) - 0.1


@pytest.mark.parametrize("language", PROSE)
def test_repetition_of_a_passage_scores_below_it(language):
    passage = PROSE[language][:80]
    assert value("\n".join([passage] * 60)) < value(PROSE[language])


@pytest.mark.parametrize("run", ["a" * 5_000, "abcd" * 5_000, "".join(PROSE["en"].split()) * 5])
def test_a_run_of_characters_without_a_space_is_rather_bad(run):
    assert value(run) < 0.5 < value(PROSE["en"])


def test_words_of_a_language_that_the_model_cannot_read_say_nothing():
    model = kernel.parse(models.read(kernel.PACKAGED), kernel.PACKAGED)
    measured = kernel.measure(PROSE["ru"], len(PROSE["ru"]), model.words, model.word_weights)
    columns = kernel.columns(measured[None], model.low, model.high, model.mean)[0]
    assert dict(zip(kernel.FEATURES, columns, strict=True))["kind_words"] == 0


def test_a_text_of_two_hundred_megabytes_is_read_in_parts():
    text = (PROSE["en"] + "\n") * (200_000_000 // len(PROSE["en"]))
    started = time.process_time()
    (found,) = kernel.score([text])
    assert time.process_time() - started < 2
    assert found.read == kernel.Settings().characters
    assert 0 <= found.score <= 1


@given(st.text(min_size=1_001, max_size=3_000))
@settings(max_examples=50, deadline=None)
def test_a_sample_is_the_start_the_middle_and_the_end(text):
    parts = kernel.sample(text, 1_000)
    assert len(parts) == 1_002
    assert parts.startswith(text[:500])
    assert parts.endswith(text[-250:])
    assert kernel.sample(text, len(text)) == text


def test_less_may_be_read():
    text = PROSE["en"] * 3
    (found,) = kernel.score([text], kernel.Settings(characters=1_000))
    assert found.read == 1_000
    assert kernel.digest(kernel.Settings(characters=1_000)) != kernel.digest()
    with pytest.raises(ValueError, match="characters is 10, wanted at least 1000"):
        kernel.Settings(characters=10)


def test_the_digest_is_that_of_the_content_wherever_the_file_is(tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(models.read(kernel.PACKAGED))
    assert kernel.digest(kernel.Settings(str(other))) == kernel.digest()
    assert kernel.score(["One."], kernel.Settings(str(other))) == kernel.score(["One."])
    other.write_bytes(b"no model any more")
    with pytest.raises(ModelError, match="is damaged, or no file of NumPy arrays"):
        kernel.score(["One."], kernel.Settings(str(other)))


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no model of quality '.*none.npz': No such file"):
        kernel.check(kernel.Settings(str(tmp_path / "none.npz")))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_model_is_an_error_and_no_score(data):
    content = bytearray(models.read(kernel.PACKAGED))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    try:
        model = kernel.parse(bytes(content), "it")
    except ModelError as error:
        assert str(error).startswith("it is ")
    else:  # a byte of the archive's own bookkeeping, such as a date
        whole = kernel.parse(models.read(kernel.PACKAGED), "it")
        assert all(np.array_equal(left, right) for left, right in zip(model[:4], whole[:4], strict=True))
        assert model.words == whole.words
        assert np.array_equal(model.word_weights, whole.word_weights)


def test_a_model_of_another_version_or_shape_says_so(tmp_path):
    path = tmp_path / "old.npz"
    with np.load(io.BytesIO(models.read(kernel.PACKAGED))) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(path, **arrays | {"version": np.int64(0)})
    with pytest.raises(ModelError, match="trained for version 0 of the measures"):
        kernel.parse(path.read_bytes(), "old.npz")
    np.savez(path, **arrays | {"weights": arrays["weights"][:3], "bias": np.zeros(2)})
    with pytest.raises(ModelError, match=r"weights has shape \(3,\), wanted .*; bias has shape \(2,\), wanted \(\)"):
        kernel.parse(path.read_bytes(), "old.npz")
    del arrays["low"], arrays["bias"]
    np.savez(path, **arrays)
    with pytest.raises(ModelError, match="low is missing; bias is missing"):
        kernel.parse(path.read_bytes(), "old.npz")
