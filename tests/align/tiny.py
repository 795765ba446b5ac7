"""Trainings of a few steps, and a model to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl.align import models
from etl.align.config import Architecture, Optimizer, Preference, Training

ARCHITECTURE = Architecture(hidden_size=32, intermediate_size=64, layers=2, heads=2, context=128)
TEXTS = [
    "The lake is deep and the water is cold in winter.",
    "A table of rows is read in the order of its key.",
    "What is two plus three? It is five.",
] * 4

BASE = Training(
    model="base",
    method="pretrain",
    training_set="pretrain",
    architecture=ARCHITECTURE,
    vocab_size=512,
    context=128,
    batch=8,
    epochs=1.0,
    max_steps=8,
    optimizer=Optimizer(lr=3e-3),
    threads=1,
    checkpoint_steps=3,
)
SFT = Training(
    model="answers",
    method="sft",
    parent="base",
    training_set="sft",
    context=128,
    batch=8,
    epochs=1.0,
    max_steps=8,
    optimizer=Optimizer(lr=3e-3),
    threads=1,
    checkpoint_steps=3,
)
DPO = Training(
    model="preferences",
    method="dpo",
    parent="answers",
    training_set="preference",
    context=128,
    batch=8,
    epochs=1.0,
    max_steps=6,
    optimizer=Optimizer(lr=1e-3),
    preference=Preference(beta=0.5),
    threads=1,
    checkpoint_steps=2,
)
TRAININGS = (BASE, SFT, DPO)


@dataclass(frozen=True)
class Saved:
    """A model in memory and where it was saved."""

    folder: Path
    model: Any
    tokenizer: Any


def save(folder: Path) -> Saved:
    tokenizer = models.train_tokenizer(TEXTS, 400, "chatml")
    model = models.build(ARCHITECTURE, tokenizer, seed=1).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Saved(folder, model, tokenizer)
