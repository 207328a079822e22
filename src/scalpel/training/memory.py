"""The estimate of training memory: weights, gradients, optimiser states and activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from scalpel.device import free_bytes
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

STATES = {"adamw": 2, "rmsprop": 1, "sgd": 1}  # optimiser states per trainable entry
MARGIN = 1.2  # factor for what is not counted here, such as fragmentation and temporary buffers


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by use. `free` is what the device has left once the models are loaded."""

    weights: float
    others: float  # reference, teacher, …
    gradients: float
    states: float
    copies: float  # home of anchors, best weights
    activations: float
    free: float
    trainables: float = 1.0  # trainable share of the weights
    micro_tokens: int = 16384

    @property
    def total(self) -> float:
        return self.weights + self.others + self.needed

    @property
    def needed(self) -> float:
        """Bytes that training adds to the loaded models."""
        return self.gradients + self.states + self.copies + self.activations

    @property
    def fits(self) -> bool:
        return MARGIN * self.needed <= self.free

    @property
    def advice(self) -> list[str]:
        """Changes that would reduce memory, the most effective first; none if it fits."""
        if self.fits:
            return []
        ways = {
            f"lower micro_tokens from {self.micro_tokens} to {max(256, self.micro_tokens // 4)}": self.activations,
            'train fewer weights, as with scope = "lora"': self.gradients + self.states
            if self.trainables > 0.1
            else 0.0,
            'hold the weights in bfloat16 (model.dtype = "bfloat16")': (self.weights + self.others) / 2,
        }
        return sorted((way for way in ways if ways[way] > 0), key=lambda way: -ways[way])

    @property
    def words(self) -> str:
        said = (
            f"{size(self.total)} of memory (weights {size(self.weights + self.others)}, gradients and optimiser "
            f"{size(self.gradients + self.states + self.copies)}, activations {size(self.activations)})"
        )
        if self.fits:
            return said
        return f"{said}, but only {size(self.free)} is free for the latter two: {', or '.join(self.advice)}"


def estimate_memory(run: TrainingRun, stage: StageRun, activations: float) -> MemoryEstimate:
    """Counts the bytes of loaded tensors and of what an update of the trainable ones needs."""
    model, trainables = run.engine.model, stage.named().values()
    weights = bytes_of([*model.parameters(), *stage.owned.parameters()])
    gradients = bytes_of(p for p in model.parameters() if p.requires_grad)
    gradients += bytes_of([m.value for m in stage.scope.trainables if m.index is not None])
    gradients += bytes_of(stage.owned.parameters())
    momentum = stage.spec.optimizer != "sgd" or stage.spec.betas[0] > 0
    whole = bytes_of(m.weight for m in stage.scope.trainables)
    anchors = stage.plan.on_parameters
    copies = whole * (bool(anchors) + sum(p.part.weigh is not None for p in anchors) + stage.validation.keeps)
    return MemoryEstimate(
        weights=weights,
        others=bytes_of(dict.fromkeys(p for other in run.engine.others.values() for p in other.parameters())),
        gradients=gradients,
        states=bytes_of(trainables) * STATES[stage.spec.optimizer] * momentum,
        copies=copies,
        activations=activations,
        free=free_bytes(run.device),
        trainables=whole / weights,
        micro_tokens=run.engine.micro_tokens,
    )


def activation_budget(run: TrainingRun, stage: StageRun) -> float:
    """The bytes that activations may take before gradient checkpointing recomputes layers. Unless the recipe sets
    `gradient_checkpointing`, it is the free memory minus gradients, optimiser states and copies."""
    how = stage.spec.gradient_checkpointing
    if how != "auto":
        return 0.0 if how else float("inf")
    return free_bytes(run.device) / MARGIN - estimate_memory(run, stage, 0.0).needed


def bytes_of(tensors: Iterable[Tensor]) -> float:
    return float(sum(x.numel() * x.element_size() for x in tensors))


def ran_out(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error, of CUDA or of the CPU's allocator (a RuntimeError)."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in words


def size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
