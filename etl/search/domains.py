"""Domains as streams of tokens, and the batches that a mixture draws from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etl.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Tokens = NDArray[np.uint32]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Domain:
    """One kind of text: a stream of tokens to learn from, and two that no model learns from: `validation` to choose a
    mixture by, `test` to judge the choice. `available` tokens are there in all, of which the streams may be a part."""

    name: str
    train: Tokens
    validation: Tokens
    test: Tokens
    available: int


@dataclass(frozen=True)
class Domains:
    """The domains of a search, and how many bytes of text each token of their vocabulary stands for: (vocabulary,)."""

    domains: tuple[Domain, ...]
    token_bytes: Ints

    @property
    def names(self) -> list[str]:
        return [domain.name for domain in self.domains]

    @property
    def vocab_size(self) -> int:
        return len(self.token_bytes)

    @property
    def natural(self) -> Floats:
        """Shares in proportion to the tokens that there are."""
        available = np.array([domain.available for domain in self.domains], dtype=np.float64)
        shares: Floats = available / available.sum()
        return shares

    @property
    def uniform(self) -> Floats:
        return np.full(len(self.domains), 1 / len(self.domains))

    def check(self, context: int) -> None:
        """Refuse domains that cannot fill one block of each part.

        Raises:
            InputError: all of them, with what they have.
        """
        short = [
            f"{domain.name!r} has {len(stream)} tokens of {part}"
            for domain in self.domains
            for part in PARTS
            if len(stream := getattr(domain, part)) < context
        ]
        if short:
            raise InputError(f"{'; '.join(short)}; wanted at least one block of {context}")

    @property
    def sha256(self) -> str:
        """SHA-256 over names, tokens and sizes, 64 hex digits."""
        hasher = hashlib.sha256()
        for name, values in self._arrays().items():
            hasher.update(f"{name} {values.dtype} {values.shape} ".encode())
            hasher.update(values.tobytes())
        return hasher.hexdigest()

    def save(self, path: Path) -> None:
        """Write the file that `load` reads, whole or not at all."""
        unfinished = path.with_name(f".{path.name}")
        with unfinished.open("wb") as file:
            np.savez(file, **self._arrays())  # type: ignore[arg-type]  # the stub takes names for the key allow_pickle
        unfinished.rename(path)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {
            f"{place}.{part}": getattr(domain, part) for place, domain in enumerate(self.domains) for part in PARTS
        }
        arrays["available"] = np.array([domain.available for domain in self.domains])
        arrays["names"] = np.array(self.names)
        arrays["token_bytes"] = self.token_bytes
        return arrays


def load(path: Path) -> Domains:
    """The domains that `Domains.save` wrote.

    Raises:
        InputError: there is no such file.
    """
    try:
        with np.load(path) as saved:
            names, available = saved["names"].tolist(), saved["available"].tolist()
            domains = [
                Domain(name, **{part: saved[f"{place}.{part}"] for part in PARTS}, available=available[place])
                for place, name in enumerate(names)
            ]
            return Domains(tuple(domains), saved["token_bytes"])
    except OSError as error:
        raise InputError(f"{path}: no domains can be read: {error}") from error


def blocks(stream: Tokens, context: int) -> Tokens:
    """The whole blocks of a stream: (n, context), each beginning with the last token of the one before, so that every
    token but the first of all is predicted once. What fills no block is left out."""
    whole: Tokens = np.lib.stride_tricks.sliding_window_view(stream, context)[:: context - 1]
    return whole


class Batch(NamedTuple):
    """The domain of each block and its tokens: (batch,), (batch, context)."""

    domains: Ints
    ids: Ints


def batches(
    domains: Domains, shares: Sequence[float] | Floats, *, context: int, batch: int, steps: int, seed: int
) -> Iterator[Batch]:
    """One batch per step, of blocks from domains in the given shares.

    How many blocks of a batch a domain gives is `batch` times its share, rounded up or down so that it is right on
    average (systematic sampling). The blocks of a domain are taken in an order drawn from the seed, each once before
    any twice.
    """
    streams = [blocks(domain.train, context) for domain in domains.domains]
    orders = [_order(len(stream), seed, place) for place, stream in enumerate(streams)]
    generator = np.random.default_rng([seed, 0])
    edges = np.cumsum(shares)
    edges /= edges[-1]
    for _ in range(steps):
        points = (np.arange(batch) + generator.random()) / batch
        chosen = np.searchsorted(edges, points, side="right")
        ids = np.stack([streams[place][next(orders[place])] for place in chosen]).astype(np.int64)
        yield Batch(chosen, ids)


def _order(count: int, seed: int, place: int) -> Iterator[int]:
    turn = 0
    while True:
        yield from np.random.default_rng([seed, 1, place, turn]).permutation(count).tolist()
        turn += 1
