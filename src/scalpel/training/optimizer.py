"""The optimiser over trainable parameters, its learning rate schedule, and the mapping of its states when the scope
selects other parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from scalpel.config.recipe import StageSpec
from scalpel.scope import IndexMap, Trainable


def make_optimiser(spec: StageSpec, trainables: Iterable[Trainable], owned: nn.ModuleDict) -> torch.optim.Optimizer:
    """The optimiser of a stage. Weight decay acts on matrices only, not on norms and biases; modules that parts own
    have `head_lr_multiplier` times the learning rate. Raises ValueError if nothing is trainable.

    On the CPU the fused AdamW is used, which makes one pass over each parameter: the same step up to rounding, in a
    sixth of the time.
    """
    decayed = [m.value for m in trainables if m.weight.dim() >= 2]
    plain = [m.value for m in trainables if m.weight.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": spec.weight_decay, "scale": 1.0},
        {"params": plain, "weight_decay": 0.0, "scale": 1.0},
        {"params": list(owned.parameters()), "weight_decay": 0.0, "scale": spec.head_lr_multiplier},
    ]
    groups = [g for g in groups if g["params"]]
    if not groups:
        raise ValueError("the scope has no trainable parameter, so there is nothing to train: widen it")
    if spec.optimizer == "adamw":
        on_cpu = all(p.device.type == "cpu" for p in [*decayed, *plain, *owned.parameters()])
        fused = {"fused": True} if on_cpu else {}  # elsewhere its counters would have to move to the device
        return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=spec.betas, eps=spec.eps, **fused)
    if spec.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=spec.learning_rate, eps=spec.eps)
    return torch.optim.SGD(groups, lr=spec.learning_rate, momentum=spec.betas[0])


def rate(spec: StageSpec, progress: float) -> float:
    """The factor of the learning rate at `progress` in [0, 1): linear warm-up, then the full rate, then decay to zero
    over the last share `decay` of the steps after the warm-up."""
    first = 1.0 / spec.steps
    if progress < spec.warmup:
        return min(1.0, (progress + first) / (ceil(spec.warmup * spec.steps) * first))
    done = max(0.0, 1.0 - (1.0 - progress) / (1.0 - spec.warmup) / spec.decay)
    if spec.schedule == "constant":
        return 1.0
    return max(0.0, 1.0 - done) if spec.schedule == "linear" else 0.5 * (1.0 + cos(pi * min(done, 1.0)))


def set_rate(optimiser: torch.optim.Optimizer, spec: StageSpec, progress: float) -> float:
    learning_rate = spec.learning_rate * rate(spec, progress)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["scale"]
    return learning_rate


def states(optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """The optimiser's states by parameter name."""
    return {name: dict(optimiser.state[p]) for name, p in named.items() if p in optimiser.state}


def restore_states(
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    saved: Mapping[str, Mapping[str, Any]],
    index_map: IndexMap | None = None,
) -> None:
    """Restores saved states by name. Where `index_map` maps a name to old positions, entry k takes the state of old
    position index_map[name][k], and −1 starts from zero; step counters are kept. Names that `index_map` leaves out
    start from zero.

    States are keyed by name, since torch's own state_dict numbers the parameters: after a scope has selected others, or
    in another order, the numbers would give a parameter the state of another one. A step counter is shared by all
    entries of a parameter, so Adam's bias correction doesn't fit entries that start from zero: their first steps are up
    to three times too large with the default betas.
    """
    for name, parameter in named.items():
        if name not in saved or (index_map is not None and name not in index_map and not name.startswith("owned.")):
            continue
        positions = None if index_map is None else index_map.get(name)
        optimiser.state[parameter] = {k: carried(v, parameter, positions) for k, v in saved[name].items()}


def carried(value: Any, parameter: nn.Parameter, positions: Tensor | None) -> Any:
    """One number or tensor of a state, mapped to the present entries of the parameter. Step counters stay on the CPU,
    where the optimisers keep them."""
    if not isinstance(value, Tensor):
        return value
    if value.dim() == 0:
        return value.clone()
    value = value.to(parameter.device)
    if positions is None:
        return value.clone()
    positions = positions.to(parameter.device)
    kept = value.reshape(-1)[positions.clamp(min=0)]
    return torch.where(positions >= 0, kept, torch.zeros_like(kept)).view(parameter.shape)
