"""Two small real models with a tokenizer learned from a few sentences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from etl.align import models
from etl.align.config import Architecture
from etl.align.models import Loaded

SENTENCES = (
    "The river carries sand to the sea, and the sea carries it back.",
    "A clock that stands still is right twice a day.",
    "Two and two are four; four and four are eight.",
    "Question: what grows in the dark? Answer: mushrooms do.",
    "She wrote the numbers 12, 345 and 6789 on the board.",
)
CONTEXT = 64


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are slower on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(seed: int) -> Loaded:
    tokenizer = models.train_tokenizer(SENTENCES, 400, "chatml")
    shape = Architecture(hidden_size=64, intermediate_size=128, layers=2, heads=4, context=CONTEXT)
    model = models.build(shape, tokenizer, seed)
    for weight in model.parameters():  # random weights of the usual size say nearly the same of every token
        weight.data *= 4 if weight.dim() > 1 else 1
    return Loaded(model.eval(), tokenizer)


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    return model_of(seed=1)


@pytest.fixture(scope="session")
def other() -> Loaded:
    return model_of(seed=2)


@pytest.fixture
def uniform() -> Loaded:
    """A model that holds every next token for equally likely."""
    loaded = model_of(seed=3)
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight.zero_()
    return loaded
