"""What kernels that run a transformers model share: its files, how it is loaded, and batches that change no result.

A model is a folder, or an id on the Hugging Face hub, ``owner/name`` or ``owner/name@revision``, which is fetched once
into the hub's own cache and not looked up again: a cluster of a thousand workers then asks the hub nothing. Weights are
safetensors only, and code that comes with a model is never run.

The same text has the same result whatever it is batched with. Windows are padded to a multiple of `PAD_TO` that
depends on their own length alone, and on one thread of a CPU a row of a matrix product does not depend on the rows
beside it, as long as there are several: results are then equal bit by bit, elsewhere to the rounding of the precision.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl import models
from etl.kernels import devices
from etl.models import ModelError

PRECISIONS = ("float32", "bfloat16", "float16")
PAD_TO = 16  # tokens, of which 0.2 to 1.6 % are then padding; the width of a vector register: less would save nothing
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # of a batch, padding included: more is not faster
SCAN_CHARACTERS = 16
"""Characters of a text that are looked at, for each token of its windows: English has 4 to 5 a token, and a page of
base64 far fewer tokens than that, which must not cost the time of all its characters."""

NO_LENGTH = 1 << 20  # tokens; a longest input above it is a tokenizer's word for "not said"
_INSTALL = "pip install 'goldenlake[embed]'"
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # of a repository, what is fetched
_HUB_SECONDS = 10  # until a hub that gives no answer is taken for one that cannot be reached


@functools.cache
def libraries() -> tuple[Any, Any]:
    """PyTorch and transformers, which take seconds to import and are an extra.

    Raises:
        ModelError: they are not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ModelError(f"models of transformers need the extra `embed`: {error}; {_INSTALL}") from error
    libraries: tuple[Any, Any] = torch, transformers
    libraries[1].utils.logging.disable_progress_bar()
    return libraries


def folder(model: str, wanted: str) -> Path:
    """Where the files of a model are on this machine; those of a hub id are fetched into the hub's cache.

    `wanted` names the model and what could stand for it, such as "there is no model 'x': wanted a folder".

    Raises:
        ModelError: there are none.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if model.startswith(("/", ".", "~")) or path.exists():
        raise ModelError(wanted)
    return _fetched(model, wanted)


@functools.cache
def _fetched(model: str, wanted: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(f"{model} is on a hub: {_INSTALL} to fetch it") from error
    repository, _, revision = model.partition("@")
    fetch = functools.partial(snapshot_download, repository, revision=revision or None, allow_patterns=list(_HUB_FILES))
    with suppress(OSError, ValueError):  # nothing is kept, or a part: the hub's own errors are of these kinds
        kept = Path(fetch(local_files_only=True))
        # Releases of the hub's client before 2 take a fetch that was broken off for a whole one.
        if any(kept.rglob("*.safetensors")):
            return kept
    _reach(repository, wanted)
    try:
        return Path(fetch())
    except Exception as error:  # its errors are of a dozen kinds: names, rights, disk, a network that fails meanwhile
        raise ModelError(f"{wanted}, which said: {type(error).__name__}: {_short(error)}") from error


def _reach(repository: str, wanted: str) -> None:
    """See that the hub answers, whatever it says: its client asks again for many minutes where it does not."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(f"{constants.ENDPOINT}/api/models/{repository}", timeout=_HUB_SECONDS)
    except Exception as error:  # of the client's own library, which differs by its release
        raise ModelError(
            f"{wanted}, and {constants.ENDPOINT} cannot be reached ({type(error).__name__}: {_short(error)}); where it "
            f"can, type: hf download {repository} --local-dir FOLDER, then name the folder here as the model"
        ) from error


def weights(folder: Path, model: str) -> list[Path]:
    """The files of weights, which are safetensors.

    Raises:
        ModelError: there are none.
    """
    found = sorted(folder.rglob("*.safetensors"))
    if not found:
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.onnx") for path in folder.glob(pattern))
        beside = f", only {', '.join(others)}" if others else ""
        raise ModelError(f"{model} has no weights in safetensors{beside}: other forms can run code and are not read")
    return found


def files(folder: Path) -> list[Path]:
    """The files that decide results: weights, tokenizer and configuration."""
    configs = {*folder.rglob("*.json"), *folder.rglob("*.txt"), *folder.rglob("*.model")}
    is_of_other_engine = {"onnx", "openvino"}
    found = configs | set(folder.rglob("*.safetensors"))
    return sorted(path for path in found if not is_of_other_engine & set(path.relative_to(folder).parts))


def digest(folder: Path, how: Sequence[Any]) -> str:
    """SHA-256 of the files that decide results and of `how` they are used: values that JSON can write."""
    found = {path.relative_to(folder).as_posix(): models.sha256(path) for path in files(folder)}
    return hashlib.sha256(json.dumps([found, how], sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Any:
    """The content of a JSON file, or an empty mapping where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is no JSON that can be read: {error}") from error


def load(kind: str, folder: Path, model: str, precision: str) -> tuple[Any, Any]:
    """Model and tokenizer, by the class of transformers that `kind` names, on the device of this process.

    Raises:
        ModelError: transformers cannot load it, it lacks weights that this kind has, or its tokenizer is a slow one.
    """
    weights(folder, model)
    torch, transformers = libraries()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded, info = getattr(transformers, kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=getattr(torch, precision),
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(f"{model}: transformers cannot load it: {_short(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"{model} has no tokenizer.json: wanted a fast tokenizer, whose cuts are known")
    # Sentence encoders have no pooler, which nothing reads.
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        # transformers would go on with random numbers in their place.
        raise ModelError(f"{model} is no {kind.removeprefix('AutoModelFor')}: it has no weights {', '.join(missing)}")
    return loaded.to(devices.device()).eval(), tokenizer


def longest(model: Any, tokenizer: Any) -> int | None:
    """Tokens that the model takes at once, special tokens included; None where its files do not say."""
    torch, _ = libraries()
    said = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa and its kin count positions from the one after that of padding.
            said.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    lengths = [int(length) for length in said if length and 0 < length < NO_LENGTH]
    return min(lengths, default=None)


def plain(text: str) -> str:
    """`text` as tokenizers take it: a lone surrogate, which has no UTF-8, is a question mark."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def batches(
    lengths: NDArray[np.int64], most: int, budget: int, pad_to: int = PAD_TO
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Rows that are put to the model together, and the length that they are padded to: never above `most`."""
    padded = np.minimum(-(-lengths // pad_to) * pad_to, most)
    order = np.argsort(padded, kind="stable")
    for length in np.unique(padded):
        rows = order[np.searchsorted(padded[order], length) : np.searchsorted(padded[order], length, side="right")]
        step = max(1, budget // int(length))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], int(length)


def tensors(windows: Sequence[Sequence[int]], padded: int, pad: int) -> tuple[Any, Any]:
    """Token ids and attention mask of windows, padded on the right, on the device of this process: (n, padded) each."""
    torch, _ = libraries()
    ids = np.full((len(windows), padded), pad, dtype=np.int64)
    mask = np.zeros((len(windows), padded), dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return torch.from_numpy(ids).to(devices.device()), torch.from_numpy(mask).to(devices.device())


def by_halves(run: Callable[[Sequence[Sequence[int]]], Any], windows: Sequence[Sequence[int]]) -> list[Any]:
    """What `run` gives for windows, in order, by halves where the memory of a GPU is too small for all at once.

    `run` gives a tensor with one row a window. A window that is too large alone is a None among the tensors.
    """
    torch, _ = libraries()
    try:
        return [run(windows)]
    except torch.cuda.OutOfMemoryError:
        pass  # goes on outside of the handler, whose traceback holds the tensors of the run that failed
    torch.cuda.empty_cache()
    if len(windows) == 1:
        return [None]
    half = len(windows) // 2
    return [*by_halves(run, windows[:half]), *by_halves(run, windows[half:])]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
