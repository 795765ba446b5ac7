"""Small trained defaults that travel with the package; README.md is their card."""

import functools
import hashlib
import io
import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.errors import GoldenlakeError

SHA256 = {
    "content.npz": "ee937167e2a584f19dcbaba3595351489cf2218daaf5a2a7ea2fa805027e8d75",
    "gpt2.vocab.bpe.gz": "86730d562e6f911376bb0898183ffd8af823d08b1bee94875b34d5a85e874f3a",
    "lid.176.ftz": "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
    "quality.npz": "1cb5201875cc146841460e0f7624755a3ab8f7fb5280bfe62bb351bd3a7254ef",
    "toxicity.npz": "e5f30e5a10696acca2234fefd729845c340da8189c7bc942dcad66c675af2b04",
}


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex; it is read again only when its size or time has changed."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, _size: int, _time: int) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


class ModelError(GoldenlakeError):
    """A packaged model is missing, or is not the file that its card describes."""


def read(name: str) -> bytes:
    """The bytes of a packaged model.

    Raises:
        ModelError: the file is not there, or its SHA-256 is not the one it was released with.
    """
    try:
        content = resources.files(__name__).joinpath(name).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"etl/models/{name} is missing from this installation; install the package again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ModelError(
            f"etl/models/{name} is damaged: its SHA-256 is {found}, the card says {SHA256[name]}; "
            "install the package again"
        )
    return content


def arrays(content: bytes, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file in NumPy's form ``.npz``, by name; objects, which could run code, are not read.

    Raises:
        ModelError: the bytes are no such file.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ModelError(f"{name} is damaged, or no file of NumPy arrays (.npz)")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{name} is damaged, or no file of NumPy arrays (.npz): {error}") from error
