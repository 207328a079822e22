"""A stream of a running stage: a source's examples and rewards, and the batches that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalpel.batch import Batch
from scalpel.config.plan import Stream
from scalpel.data.example import Example, Task
from scalpel.rewards import Rewards
from scalpel.runs.folder import storable
from scalpel.tasks.spool import Rows
from scalpel.training.lengths import Lengths
from scalpel.training.reward_monitor import RewardMonitor


@dataclass
class StreamRun:
    """The state of a stream while its stage runs. `number` is its index among the stage's streams; seeds depend on
    it."""

    number: int
    plan: Stream
    task: Task
    examples: Sequence[Example]
    rewards: Rewards
    monitor: RewardMonitor
    lengths: Lengths | None = None  # counts of rows by length, from the survey before the first step
    selected: list[int] | None = None  # the items that its selection kept
    held: Batch | None = None  # the batch that is used for several steps
    waiting: list[Batch] = field(default_factory=list)  # batches drawn ahead, under a lag

    def narrow(self, kept: list[int]) -> None:
        """Restricts the stream to these items."""
        rows = self.examples
        self.selected, self.examples = kept, rows.taken(kept) if isinstance(rows, Rows) else [rows[i] for i in kept]

    def batches(self) -> tuple[Batch | None, list[Batch]]:
        """The batches that `put_back` restores if a step fails."""
        return self.held, list(self.waiting)

    def put_back(self, batches: tuple[Batch | None, list[Batch]]) -> None:
        self.held, self.waiting = batches

    def state(self) -> dict[str, Any]:
        return {
            "monitor": self.monitor.state(),
            "selected": self.selected,
            "held": None if self.held is None else fields(self.held),
            "waiting": [fields(batch) for batch in self.waiting],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.monitor.restore(saved["monitor"])
        if saved["selected"] is not None:
            self.narrow(saved["selected"])
        self.held = None if saved["held"] is None else batch_of(saved["held"])
        self.waiting = [batch_of(batch) for batch in saved["waiting"]]


def fields(batch: Batch) -> dict[str, Any]:
    return {**vars(batch), "columns": storable_part(batch.columns)}


def batch_of(saved: Mapping[str, Any]) -> Batch:
    return Batch(**{**saved, "columns": tuple(saved["columns"])})


def storable_part(value: Any) -> Any:
    """A row's columns as far as JSON can hold them; other values become null."""
    if isinstance(value, Mapping):
        return {str(k): storable_part(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [storable_part(v) for v in value]
    return value if storable(value) else None
