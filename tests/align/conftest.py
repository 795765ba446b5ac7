"""Small real models, and a lake whose sets they are trained on."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


import pytest

from tests.align import tiny


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tiny.Saved:
    """A model of 40,000 random weights in a folder, with a tokenizer that knows ChatML."""
    return tiny.save(tmp_path_factory.mktemp("tiny"))
