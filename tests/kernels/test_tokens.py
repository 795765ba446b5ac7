"""Tokenizers agree with what is known of them, for every text."""

import gzip
import hashlib
import importlib.util
import json
import time

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import models
from etl.kernels import tokens

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("hello world", [31373, 995]),
        ("Hello, world!", [15496, 11, 995, 0]),
        # The first sentence of the sample that GPT-2's makers show: "Alan Turing theorized ..."
        (
            "Alan Turing theorized that computers would one day become",
            [36235, 39141, 18765, 1143, 326, 9061, 561, 530, 1110, 1716],
        ),
        ("<|endoftext|>", [27, 91, 437, 1659, 5239, 91, 29]),
    ],
)
def test_gpt2_gives_the_known_ids(text, ids):
    assert tokens.encoder("gpt2")([text]) == [ids]
    assert tokens.counter()([text]) == [len(ids)]


def test_the_packaged_merges_are_the_released_ones():
    """The hash that tiktoken expects of the file it downloads."""
    merges = gzip.decompress(models.read("gpt2.vocab.bpe.gz"))
    assert hashlib.sha256(merges).hexdigest() == "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"


@settings(deadline=None)
@given(ANY_TEXT)
def test_gpt2_tokens_hold_the_whole_text(text):
    (ids,) = tokens.encoder("gpt2")([text])
    decoded = tokens._gpt2().decode_bytes(ids)
    assert decoded.decode() == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=5), st.sampled_from(["gpt2", "bytes"]))
def test_a_count_is_the_number_of_ids(texts, name):
    assert tokens.counter(name)(texts) == [len(ids) for ids in tokens.encoder(name)(texts)]


@given(st.text())
def test_bytes_are_those_of_utf_8(text):
    assert tokens.encoder("bytes")([text]) == [list(text.encode())]


@pytest.mark.parametrize("text", ["a" * 300_000, " " * 300_000, "\n" * 300_000, "\u6f22" * 100_000, "?!" * 150_000])
def test_a_long_run_of_one_kind_is_counted_in_seconds(text):
    """A byte-pair encoder that scans a piece again for each merge would take minutes."""
    start = time.process_time()
    (count,) = tokens.counter("gpt2")([text])
    assert 0 < count <= len(text.encode())
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", ["gtp2", "tiktoken:gtp2", "", "meta-llama/Llama-2-7b"])
def test_an_unknown_name_is_answered_with_those_there_are(name):
    with pytest.raises(
        ValueError, match=rf"no tokenizer '{name}'; there are gpt2, bytes, tiktoken:cl100k_base, .*json"
    ):
        tokens.counter(name)


def test_a_tiktoken_encoding_is_taken_from_its_registry(monkeypatch):
    """With an encoding that is registered already, so that nothing is fetched."""
    encoding = tiktoken.Encoding(
        "cl100k_base", pat_str=".", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={"<end>": 256}
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)
    tokens._encoder.cache_clear()
    try:
        assert tokens.encoder("tiktoken:cl100k_base")(["<end>"]) == [list(b"<end>")]
    finally:
        tokens._encoder.cache_clear()


def test_ranks_that_cannot_be_fetched_are_an_error_that_says_so(monkeypatch, tmp_path):
    """An empty cache and a proxy that does not answer stand for a machine without network."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(models.ModelError, match=r"tiktoken:p50k_base: its ranks are not in tiktoken's cache"):
        tokens.counter("tiktoken:p50k_base")


def test_a_tokenizer_json_that_is_not_there_is_named():
    with pytest.raises(models.ModelError, match=r"nowhere/tokenizer\.json: there is no such file"):
        tokens.counter("nowhere/tokenizer.json")


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is not None, reason="the package is there")
def test_a_tokenizer_json_without_its_package_names_the_extra(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(models.ModelError, match=r"install goldenlake\[align\]"):
        tokens.counter(str(path))


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="needs the extra align")
def test_a_tokenizer_json_counts_special_tokens_as_text(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [
                    {
                        "id": 3,
                        "content": "<s>",
                        "special": True,
                        "single_word": False,
                        "lstrip": False,
                        "rstrip": False,
                        "normalized": False,
                    }
                ],
                "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
                "pre_tokenizer": {"type": "Whitespace"},
                "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2, "s": 4}, "unk_token": "?"},
            }
        )
    )
    assert tokens.encoder(str(path))(["a b <s> a", "\ud800"]) == [[0, 1, 2, 4, 2, 0], [2]]
    path.write_text("{")
    tokens._encoder.cache_clear()
    with pytest.raises(models.ModelError, match="is not a tokenizer"):
        tokens.counter(str(path))
