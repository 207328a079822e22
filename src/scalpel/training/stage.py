"""A running stage: its plan, its streams, its trainable parameters, and their optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scalpel.config.plan import Plan
from scalpel.config.recipe import StageSpec
from scalpel.keep import RetentionFloor
from scalpel.models.parameter_blocks import index_map_of
from scalpel.part import Bound
from scalpel.scope import IndexMap, Scope, Trainable
from scalpel.training.logprob_cache import LogprobCache
from scalpel.training.optimizer import make_optimiser, restore_states, states
from scalpel.training.stream import StreamRun
from scalpel.training.temperature import TemperatureController
from scalpel.training.validation import Validation


@dataclass
class StageRun:
    """The state of a running stage."""

    index: int  # among all stages of the run, repeats counted
    name: str
    plan: Plan
    streams: list[StreamRun]
    scope: Scope
    owned: nn.ModuleDict
    spent_at_start: float  # in the unit of the stage's budget
    validation: Validation
    floor: RetentionFloor | None = None
    optimiser: torch.optim.Optimizer = field(init=False)
    temperature_controller: TemperatureController | None = field(init=False)  # of the sampling temperature
    reference: LogprobCache = field(default_factory=LogprobCache)  # the reference's log-probs on fixed data
    home: dict[str, Tensor] = field(default_factory=dict)  # whole weights before they were trained, for anchors

    def __post_init__(self) -> None:
        self.optimiser = make_optimiser(self.spec, self.scope.trainables, self.owned)
        warm = self.spec.sampling
        self.temperature_controller = (
            TemperatureController(warm.target_entropy, warm.temperature_rate, warm.temperature)
            if warm.target_entropy
            else None
        )
        self.settle()

    @property
    def spec(self) -> StageSpec:
        return self.plan.spec

    def named(self) -> dict[str, nn.Parameter]:
        """All trainable parameters, by name; those of owned modules begin with `owned.`."""
        trainables = {m.name: m.value for m in self.scope.trainables}
        return trainables | self.owned_parameters()

    def owned_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters of the modules that parts own; their names begin with `owned.`."""
        return {f"owned.{name}": p for name, p in self.owned.named_parameters()}

    def factor(self, p: Bound, signal: str) -> float:
        """The factor of a part's loss on that signal ("" for anchors on parameters). With a retention floor, steered
        losses are weighted with λ / (1 + λ) and all others with 1 / (1 + λ)."""
        if self.floor is None:
            return 1.0
        return self.floor.dual.keep if (signal, p) in self.plan.steered else self.floor.dual.gain

    def settle(self) -> None:
        """Copies weights that become trainable now, for anchors on parameters and for the best weights of validation.
        Weights that were not trainable before still have their values from the beginning of the stage."""
        for m in self.scope.trainables:
            if self.plan.on_parameters and m.name not in self.home:
                self.home[m.name] = m.weight.detach().clone()
            self.validation.also(m.name, m.weight)

    def at(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The trainable entries of whole weights, such as those in `home`."""
        return {
            m.name: whole[m.name] if m.index is None else whole[m.name].view(-1)[m.index] for m in self.scope.trainables
        }

    def finite(self) -> bool:
        """Whether all trainable parameters are finite."""
        return all(bool(torch.isfinite(p).all()) for p in self.named().values())

    # --- the optimiser's states -------------------------------------------------------------------------

    def refresh(self, step: int) -> bool:
        """Lets the scope select other trainable entries, and maps the optimiser's states to them. Returns whether it
        did."""
        before = states(self.optimiser, self.named())
        index_map: IndexMap | None = self.scope.refresh(step)
        if index_map is None:
            return False
        self.optimiser = make_optimiser(self.spec, self.scope.trainables, self.owned)
        restore_states(self.optimiser, self.named(), before, index_map)
        self.settle()
        return True

    def inherit(self, earlier: StageRun) -> None:
        """Takes over the optimiser's states of an earlier stage, for tensors of the same name and shape."""
        shapes = {m.name: m.weight.shape for m in earlier.scope.trainables}
        same: list[Trainable] = [m for m in self.scope.trainables if shapes.get(m.name) == m.weight.shape]
        index_map = index_map_of(earlier.scope.trainables, same)
        known = self.named()
        named = {name: p for name, p in known.items() if name in index_map or name.startswith("owned.")}
        restore_states(self.optimiser, named, states(earlier.optimiser, earlier.named()), index_map)

    # --- checkpoints ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "optimiser": states(self.optimiser, self.named()),
            "owned": self.owned.state_dict(),
            "scope": self.scope.state(),
            "home": self.home,
            "reference": self.reference.state(),
            "spent_at_start": self.spent_at_start,
            "validation": self.validation.state(),
            "floor": self.floor.state() if self.floor else None,
            "remembered": [p.memory.state for p in self.plan.remembering],
            "streams": [stream.state() for stream in self.streams],
            "temperature": self.temperature_controller.temperature if self.temperature_controller else None,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restores a checkpoint's masks, modules and optimiser states; the model's weights have been restored
        before."""
        self.scope.restore(saved["scope"])
        for m in self.scope.trainables:
            m.read()
        self.owned.load_state_dict(saved["owned"])
        device = next(iter(self.named().values())).device
        self.home = {name: x.to(device) for name, x in saved["home"].items()}
        self.reference.restore(saved["reference"])
        self.spent_at_start = saved["spent_at_start"]
        self.validation.restore(saved["validation"], device)
        if self.floor:
            self.floor.restore(saved["floor"])
        for stream, state in zip(self.streams, saved["streams"], strict=True):
            stream.restore(state)
        if self.temperature_controller:
            self.temperature_controller.temperature = saved["temperature"]
        for p, state in zip(self.plan.remembering, saved["remembered"], strict=True):
            p.memory.state = moved(state, device)
        self.optimiser = make_optimiser(self.spec, self.scope.trainables, self.owned)
        restore_states(self.optimiser, self.named(), saved["optimiser"])


def moved(tree: Any, device: torch.device) -> Any:
    """Nested tables with their tensors on a device."""
    if isinstance(tree, Mapping):
        return {key: moved(value, device) for key, value in tree.items()}
    return tree.to(device) if isinstance(tree, Tensor) else tree
