"""What a method of training is: a dataset made of the rows of a set, a way to batch it, and a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from etl.align import data, losses
from etl.align.config import Training

Batch = dict[str, torch.Tensor]
Loss = Callable[[Any, Batch, Training], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Method:
    """How a method makes its dataset, and its loss: sums over a batch, with the count to divide the first by."""

    dataset: Callable[[Any, Any, int], Any]
    collate: Callable[..., Batch]
    loss: Loss
    needs_reference: bool = False


def _collate_rows(items: Sequence[dict[str, list[int]]], filler: int) -> Batch:
    labels = data.pad([item["labels"] for item in items], losses.IGNORED)
    return {
        **_inputs([item["ids"] for item in items], filler),
        "labels": labels,
        "count": (labels[:, 1:] != losses.IGNORED).sum(),
    }


def _collate_blocks(items: Sequence[dict[str, torch.Tensor]], filler: int) -> Batch:
    """Blocks of one length, see `etl.align.stream.blocks`. No block at all is one that nothing is learned from, since
    a process that has none of a step takes part in it like the others."""
    if not items:
        nothing = torch.full((1, 2), filler)
        zero = torch.tensor(0)
        ignored = torch.full_like(nothing, losses.IGNORED)
        return {"ids": nothing, "attention": torch.ones_like(nothing), "labels": ignored, "count": zero, "tokens": zero}
    labels = torch.stack([item["labels"] for item in items])
    is_token = labels != losses.IGNORED
    return {
        "ids": torch.stack([item["ids"] for item in items]),
        "attention": is_token.long(),
        "labels": labels,
        "count": is_token[:, 1:].sum(),
        "tokens": is_token.sum(),
    }


def _collate_pairs(items: Sequence[dict[str, list[int]]], filler: int) -> Batch:
    """The chosen answers, then the rejected ones, as one batch."""
    sides = ("chosen", "rejected")
    batch = {
        **_inputs([item[f"{side}_ids"] for side in sides for item in items], filler),
        "labels": data.pad([item[f"{side}_labels"] for side in sides for item in items], losses.IGNORED),
        "count": torch.tensor(len(items)),
    }
    if "reference" in items[0]:
        batch["reference"] = torch.tensor([item["reference"] for item in items])
    return batch


def _inputs(sequences: Sequence[Sequence[int]], filler: int) -> Batch:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    ids = data.pad(sequences, filler)
    return {
        "ids": ids,
        "attention": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "tokens": lengths.sum(),
    }


def logits(model: Any, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=batch["ids"], attention_mask=batch["attention"], use_cache=False).logits
    return logits


def _language_model(model: Any, batch: Batch, _training: Training) -> dict[str, torch.Tensor]:
    return {"loss": -losses.token_logps(logits(model, batch), batch["labels"]).sum()}


def _preference(model: Any, batch: Batch, training: Training) -> dict[str, torch.Tensor]:
    """Sums over pairs: the loss; the margin that the method widens, and how often it is above zero."""
    settings = training.preference
    sums, counts = losses.sequence_logps(logits(model, batch), batch["labels"])
    chosen, rejected = sums.chunk(2)
    if training.method == "dpo":
        reference = batch["reference"].to(sums.device)
        loss = losses.dpo(
            chosen, rejected, *reference.unbind(1), beta=settings.beta, label_smoothing=settings.label_smoothing
        )
        margin = settings.beta * ((chosen - reference[:, 0]) - (rejected - reference[:, 1]))
    else:
        means = (sums / counts).chunk(2)
        margin = means[0] - means[1]
        if training.method == "simpo":
            loss = losses.simpo(*means, beta=settings.beta, gamma=settings.gamma)
        else:
            loss = losses.orpo(*means, weight=settings.weight) - means[0]
    return {"loss": loss.sum(), "margin": margin.sum(), "accuracy": (margin > 0).float().sum()}


METHODS = {
    "pretrain": Method(data.Blocks, _collate_rows, _language_model),
    "sft": Method(data.examples, _collate_rows, _language_model),
    "dpo": Method(data.pairs, _collate_pairs, _preference, needs_reference=True),
    "simpo": Method(data.pairs, _collate_pairs, _preference),
    "orpo": Method(data.pairs, _collate_pairs, _preference),
}
# Pretraining that reads a packed set.
PACKED = replace(METHODS["pretrain"], collate=_collate_blocks)
