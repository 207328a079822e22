"""A snapshot of a run before a step, so that a step which fails changes nothing, and can be repeated bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun


@dataclass(frozen=True)
class BeforeStep:
    """The state that drawing a step's batches changes: held batches, the reward monitor, the state of reward functions,
    the controlled sampling temperature, and the cost meter."""

    streams: list[tuple[Any, dict[str, Any]]]
    remembered: dict[str, dict[str, Any]]
    paid: set[str]
    meter: dict[str, Any]
    temperature: dict[str, Any]

    @classmethod
    def of(cls, run: TrainingRun, stage: StageRun) -> Self:
        controller = stage.temperature_controller
        return cls(
            [(stream.batches(), copied(stream.monitor.state())) for stream in stage.streams],
            copied(run.rollout.remembered),
            set(run.rollout.paid),
            run.engine.meter.state(),
            dict(vars(controller)) if controller else {},
        )

    def put_back(self, run: TrainingRun, stage: StageRun) -> None:
        for stream, (batches, monitor) in zip(stage.streams, self.streams, strict=True):
            stream.put_back(batches)
            stream.monitor.restore(monitor)
        run.rollout.remembered, run.rollout.paid = self.remembered, self.paid
        vars(run.engine.meter).update(self.meter)
        if stage.temperature_controller:
            vars(stage.temperature_controller).update(self.temperature)


def copied(value: Any) -> Any:
    """A copy of nested tables and lists. Tensors in them aren't copied, since they are replaced and never written
    to."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value
