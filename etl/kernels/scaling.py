"""What a language model of some size learns from so many tokens, new and repeated, by published laws of its loss.

A law knows how much text there is and not how good it is: what it predicts is to be compared within one law, and says
nothing of benchmarks. Parameters and tokens are counted as in the papers, a training step as 6 operations for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from scipy.optimize import minimize_scalar

TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022: 1.4 trillion tokens for 70 billion parameters
FLOPS = 6  # for each parameter and token, forward and backward: Kaplan et al. 2020, section 2.1
GOOD_EPOCHS = 4  # "up to 4 epochs of repeated data yields negligible changes to loss", Muennighoff et al. 2023
# Muennighoff et al. 2023, appendix A: how fast repetitions, and parameters in excess of the data, lose their worth.
REPETITION_DECAY = 15.387756
EXCESS_DECAY = 5.309743


@dataclass(frozen=True)
class Law:
    """Loss in nats a token, of N parameters after D tokens: ``floor + a / N**alpha + b / D**beta``."""

    name: str
    floor: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """The loss after tokens that are all new."""
        return float(self.floor + self.a / parameters**self.alpha + self.b / tokens**self.beta)

    @property
    def _balance(self) -> float:
        return float((self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta)))

    def parameters_for(self, tokens: float) -> float:
        """The size whose best number of tokens `tokens` are."""
        return float(self._balance * (self._balance * tokens) ** (self.beta / self.alpha))

    def tokens_for(self, parameters: float) -> float:
        """The tokens for which `parameters` is the best size."""
        return float((parameters / self._balance) ** (self.alpha / self.beta) / self._balance)

    def optimum(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens, all new, of the lowest loss for this many operations: equation 4 of Hoffmann et al."""
        work = flops / FLOPS
        parameters = self._balance * work ** (self.beta / (self.alpha + self.beta))
        return parameters, work / parameters

    def repeated_loss(self, parameters: float, tokens: float, unique: float) -> float:
        """The loss after `tokens`, of which `unique` are new and the rest repetitions: Muennighoff et al., equation 5.

        Parameters above the best size for the unique tokens count for less, too.
        """
        useful = effective_parameters(parameters, self.parameters_for(min(unique, tokens)))
        return self.loss(useful, effective_tokens(tokens, unique))

    def repeated_optimum(self, flops: float, unique: float) -> tuple[float, float]:
        """Parameters and tokens of the lowest loss for this many operations where only `unique` tokens are new."""
        work = flops / FLOPS
        best = math.log(self.optimum(flops)[0])

        def loss(size: float) -> float:
            parameters = math.exp(size)
            return self.repeated_loss(parameters, work / parameters, unique)

        # Scarce data moves the best size by far less than the four orders of magnitude looked at on either side.
        found = minimize_scalar(loss, bounds=(best - 9.2, best + 9.2), method="bounded", options={"xatol": 1e-6})
        parameters = math.exp(float(found.x))
        return parameters, work / parameters


# The fit of approach 3 as published, and as it comes out of the published data: Besiroglu et al. 2024, table 1.
HOFFMANN = Law("hoffmann", 1.69, 406.4, 410.7, 0.34, 0.28)
BESIROGLU = Law("besiroglu", 1.8172, 482.01, 2085.43, 0.3478, 0.3658)
# Of C4, the one that the decay of repetitions was fitted with: Muennighoff et al. 2023, appendix A.
MUENNIGHOFF = Law("muennighoff", math.exp(0.6254804), math.exp(6.255414), math.exp(7.3049974), 0.3526596, 0.3526596)
LAWS = {law.name: law for law in (BESIROGLU, MUENNIGHOFF, HOFFMANN)}


class Allocation(NamedTuple):
    """A model size and the tokens it is trained on."""

    parameters: float
    tokens: float

    @property
    def flops(self) -> float:
        return FLOPS * self.parameters * self.tokens


def by_rule(*, parameters: float | None = None, tokens: float | None = None, flops: float | None = None) -> Allocation:
    """Size and tokens by the rule of 20 tokens a parameter, from any one of the three; from two, these.

    Raises:
        ValueError: nothing is given, or three are, or one is not above 0.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    if not 1 <= len(given) <= 2 or min(given.values()) <= 0:
        raise ValueError(f"wanted one or two of parameters, tokens and flops, each above 0, found {given or 'none'}")
    if parameters is not None:
        more = tokens if flops is None else flops / (FLOPS * parameters)
        return Allocation(parameters, TOKENS_PER_PARAMETER * parameters if more is None else more)
    if tokens is not None:
        return Allocation(tokens / TOKENS_PER_PARAMETER if flops is None else flops / (FLOPS * tokens), tokens)
    size = math.sqrt((flops or 0.0) / (FLOPS * TOKENS_PER_PARAMETER))
    return Allocation(size, TOKENS_PER_PARAMETER * size)


def effective_tokens(tokens: float, unique: float) -> float:
    """How many new tokens are worth as much as `tokens` of which `unique` are new, by `REPETITION_DECAY`.

    However often they are repeated, at most 16.4 times the unique ones.
    """
    fresh = min(unique, tokens)
    return _decayed(fresh, tokens / fresh - 1, REPETITION_DECAY) if fresh else 0.0


def effective_parameters(parameters: float, best: float) -> float:
    """How many parameters are worth as much as `parameters` where the data is enough for `best`."""
    fed = min(best, parameters)
    return _decayed(fed, parameters / fed - 1, EXCESS_DECAY) if fed else 0.0


def _decayed(base: float, repetitions: float, decay: float) -> float:
    return base + base * decay * -math.expm1(-max(0.0, repetitions) / decay)


def worth_to_reach(law: Law, loss: float, parameters: float, tokens: float, unique: float) -> float:
    """How much more a token of these must be worth than the law thinks for the loss to come down to `loss`.

    Infinite where no data brings a model of this size there.
    """
    useful = effective_parameters(parameters, law.parameters_for(min(unique, tokens)))
    rest = loss - law.floor - law.a / useful**law.alpha
    return float((law.b / rest) ** (1 / law.beta) / effective_tokens(tokens, unique)) if rest > 0 else math.inf
