"""Losses as pure functions of log-probabilities. Sums are over what a step has, so that a mean over all processes and
micro-batches can be taken exactly: the trainer divides by the counts of the whole step."""

from __future__ import annotations

import torch
import torch.nn.functional as nn

IGNORED = -100  # label of a token that has no loss, as in PyTorch's cross_entropy


def token_logps(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each next token: (rows, length, vocabulary), (rows, length) -> (rows, length - 1).

    Place t is of label t + 1, given all before it; 0 where that label is ignored. Computed in float32.
    """
    wanted = labels[:, 1:]
    flat = nn.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return -flat.view(wanted.shape)


def sequence_logps(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of `token_logps` of each row, and the number of its tokens that have a label: (rows,), (rows,)."""
    return token_logps(logits, labels).sum(-1), (labels[:, 1:] != IGNORED).sum(-1)


def dpo(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Loss of each pair from the log-probabilities of its answers, all (pairs,): Rafailov et al. 2023, equation 7.

    With `label_smoothing` e the pair counts as turned round with probability e (conservative DPO, Mitchell 2023).
    """
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    return -(1 - label_smoothing) * nn.logsigmoid(margin) - label_smoothing * nn.logsigmoid(-margin)


def simpo(chosen: torch.Tensor, rejected: torch.Tensor, *, beta: float, gamma: float) -> torch.Tensor:
    """Loss of each pair from the mean log-probabilities per token of its answers: Meng et al. 2024, equation 6.

    `gamma` is the margin itself, not its ratio to `beta`.
    """
    return -nn.logsigmoid(beta * (chosen - rejected) - gamma)


def orpo(chosen: torch.Tensor, rejected: torch.Tensor, *, weight: float) -> torch.Tensor:
    """Odds-ratio term of each pair from the mean log-probabilities per token of its answers: Hong et al. 2024,
    equation 7, with `weight` for lambda. The whole loss adds the negative log-likelihood of the chosen answer.
    """
    return -weight * nn.logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def _log_odds(logp: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) for log p; finite also where rounding makes p one."""
    return logp - torch.log(-torch.expm1(logp.clamp(max=-1e-7)))
