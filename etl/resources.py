"""Where the files that travel with the code are: ``schemas/`` and ``conf/``."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """A folder of the repository's top level, which a wheel carries inside the package."""
    packaged = _PACKAGE / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
