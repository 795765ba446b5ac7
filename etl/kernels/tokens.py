"""The tokens of a text, by a tokenizer that has a name.

===================  =====================================================================
``gpt2``             byte-level BPE of GPT-2, 50,257 entries, packaged; the default
``bytes``            bytes of the text in UTF-8
``tiktoken:<name>``  an encoding of tiktoken, such as ``tiktoken:cl100k_base``; its ranks
                     come from tiktoken's cache, else from the network
``<path>.json``      a ``tokenizer.json``, read by the package `tokenizers` (extra ``align``)
===================  =====================================================================

No special token is added, and the text of one inside a document is ordinary text: a
document cannot end itself. A lone surrogate, which has no UTF-8, becomes U+FFFD.

Tokenizers are cached per process and cannot be pickled: ask for one where it is used.
"""

import functools
import gzip
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import tiktoken

from etl import models

GPT2 = "gpt2"
BYTES = "bytes"
TIKTOKEN_PREFIX = "tiktoken:"

# GPT-2's pieces, Radford et al. 2019. Its pattern written with possessive repeats, which cut a text
# at the same places and never try a piece twice.
_GPT2_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

Encoder = Callable[[str], list[int]]


def counter(name: str = GPT2) -> Callable[[Sequence[str]], list[int]]:
    """A function from texts to their numbers of tokens.

    Raises:
        ValueError: there is no tokenizer of that name; the message lists what there is.
        ModelError: there is one, but its file cannot be read or fetched.
    """
    if name == BYTES:
        return lambda texts: [len(_valid(text).encode()) for text in texts]
    encode = _encoder(name)
    return lambda texts: [len(encode(text)) for text in texts]


def encoder(name: str = GPT2) -> Callable[[Sequence[str]], list[list[int]]]:
    """A function from texts to their token ids; `counter` says what it raises."""
    encode = _encoder(name)
    return lambda texts: [encode(text) for text in texts]


def encoding(name: str) -> tiktoken.Encoding:
    """The encoding that is called ``gpt2`` or ``tiktoken:<name>``; `counter` says what it raises."""
    if name == GPT2:
        return _gpt2()
    if not name.startswith(TIKTOKEN_PREFIX):
        raise ValueError(_unknown(name))
    return _tiktoken(name.removeprefix(TIKTOKEN_PREFIX))


@functools.cache
def _encoder(name: str) -> Encoder:
    if name == BYTES:
        return lambda text: list(_valid(text).encode())
    if name == GPT2 or name.startswith(TIKTOKEN_PREFIX):
        return encoding(name).encode_ordinary
    if name.endswith(".json"):
        return _tokenizer_json(name)
    raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    encodings = ", ".join(TIKTOKEN_PREFIX + encoding for encoding in sorted(tiktoken.list_encoding_names()))
    return f"no tokenizer {name!r}; there are {GPT2}, {BYTES}, {encodings}, and the path of a tokenizer.json"


@functools.cache
def _gpt2() -> tiktoken.Encoding:
    # The released file writes bytes as characters: printable ones as themselves, the rest from U+0100 on.
    printable = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    rest = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(rest)}

    ranks = {bytes([byte]): rank for rank, byte in enumerate(byte_of.values())}
    _version, *merges = gzip.decompress(models.read("gpt2.vocab.bpe.gz")).decode().splitlines()
    for merge in merges:
        ranks[bytes(byte_of[symbol] for symbol in merge.replace(" ", ""))] = len(ranks)
    return tiktoken.Encoding(
        GPT2,
        pat_str=_GPT2_PIECES,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": len(ranks)},
        explicit_n_vocab=50257,
    )


def _tiktoken(name: str) -> tiktoken.Encoding:
    if name not in tiktoken.list_encoding_names():
        raise ValueError(_unknown(TIKTOKEN_PREFIX + name))
    try:
        return tiktoken.get_encoding(name)
    except OSError as error:  # all errors of the HTTP client are OSErrors
        raise models.ModelError(
            f"tiktoken:{name}: its ranks are not in tiktoken's cache (TIKTOKEN_CACHE_DIR) and cannot be fetched: "
            f"{error}"
        ) from error


def _tokenizer_json(path: str) -> Encoder:
    if not Path(path).is_file():
        raise models.ModelError(f"{path}: there is no such file")
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError as error:
        raise models.ModelError(
            f"{path}: a tokenizer.json needs the package tokenizers; install goldenlake[align]"
        ) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the package raises plain Exception
        raise models.ModelError(f"{path} is not a tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # as ordinary text

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(_valid(text), add_special_tokens=False).ids
        return ids

    return encode


def _valid(text: str) -> str:
    """`text` with each lone surrogate as U+FFFD, and each pair of them as the character it stands for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
