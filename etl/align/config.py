"""What a training is: one YAML file of ``conf/align`` as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field

from etl.config import STRICT

# Table of the rows that a method learns from: training_<kind>.
KINDS = {"pretrain": "documents", "sft": "examples", "dpo": "pairs", "simpo": "pairs", "orpo": "pairs"}


@dataclass(frozen=True)
class Architecture:
    """A Llama model (Touvron et al. 2023) with tied embeddings, made from scratch."""

    __pydantic_config__ = STRICT

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    context: int

    def __post_init__(self) -> None:
        if self.heads < 1 or self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not an even multiple of heads {self.heads}")


@dataclass(frozen=True)
class Optimizer:
    """AdamW (Loshchilov and Hutter 2019). The rate rises over `warmup` of the steps and then falls on a cosine to
    `final` of its height; gradients are cut to the norm `clip`. No weight decay for vectors, such as norms."""

    __pydantic_config__ = STRICT

    lr: float
    warmup: float = 0.05
    final: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class Preference:
    """Parameters of the preference losses; each method reads its own.

    DPO (Rafailov et al. 2023): `beta`, `label_smoothing`. SimPO (Meng et al. 2024): `beta`, and the margin `gamma`,
    which is absolute. ORPO (Hong et al. 2024): `weight` of the odds ratio, lambda in the paper.
    """

    __pydantic_config__ = STRICT

    beta: float = 0.1
    label_smoothing: float = 0.0
    gamma: float = 0.5
    weight: float = 0.1


@dataclass(frozen=True)
class Training:
    """Everything that decides the weights besides the rows of the set, the weights of the parent, and the machine.

    `parent` is a model of the lake, or an id or path that transformers loads; without one, `architecture` makes a new
    model, with a tokenizer of `vocab_size` learned from the set, or with that of `packing`. `batch` counts rows (blocks
    of `context` tokens, examples, pairs) of one step over all processes, of which each process takes `micro_batch` at a
    time. `epochs` may be a fraction.

    With `packing`, a row of `training_packings`, pretraining reads its blocks from disk as it goes, in their order in
    every epoch, and an epoch has every token once: its last step may be smaller. Without, rows are held in memory and
    read by their position, in later epochs in an order drawn from `seed`.

    `threads` of one process are part of the result, since they decide the order of sums. Of the checkpoints, which are
    made every `checkpoint_steps`, the last `checkpoints` are kept.
    """

    __pydantic_config__ = STRICT

    model: str
    method: str
    training_set: str
    context: int
    batch: int
    epochs: float
    optimizer: Optimizer
    parent: str | None = None
    architecture: Architecture | None = None
    vocab_size: int | None = None
    packing: str | None = None
    chat_template: str | None = None
    preference: Preference = field(default_factory=Preference)
    micro_batch: int | None = None
    max_steps: int | None = None
    dtype: str = "float32"
    seed: int = 1
    threads: int = 2
    checkpoint_steps: int = 100
    checkpoints: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.method not in KINDS:
            problems.append(f"method is {self.method!r}, wanted one of {', '.join(KINDS)}")
        if self.dtype not in ("float32", "bfloat16"):
            problems.append(f"dtype is {self.dtype!r}, wanted float32 or bfloat16")
        new = [name for name in ("architecture", "vocab_size") if getattr(self, name) is not None]
        wanted = [] if self.parent else ["architecture"] if self.packing else ["architecture", "vocab_size"]
        if new != wanted:
            problems.append("wanted either parent, or architecture and one of vocab_size and packing")
        if self.packing is not None and self.method != "pretrain":
            problems.append(f"packing is {self.packing!r}, which {self.method} does not read")
        if self.parent is None and self.method != "pretrain":
            problems.append(f"{self.method} needs a parent")
        if self.architecture is not None and self.context > self.architecture.context:
            problems.append(f"context is {self.context}, the architecture has {self.architecture.context}")
        problems += [
            f"{name} is {getattr(self, name)}, wanted at least 1"
            for name in ("context", "batch", "threads", "checkpoint_steps", "checkpoints")
            if getattr(self, name) < 1
        ]
        if self.epochs <= 0:
            problems.append(f"epochs is {self.epochs:g}, wanted more than 0")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def kind(self) -> str:
        return KINDS[self.method]
