"""Rewards: what each completion earns, from several functions with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scalpel.example import Example, Task
from scalpel.rewards import user
from scalpel.rewards.verifiers import make as make_verifier


@dataclass(frozen=True)
class TrainerState:
    """What a reward function may know of the run, under TRL's names."""

    global_step: int = 0
    max_steps: int = 0
    epoch: float = 0.0


@dataclass(frozen=True)
class Scored:
    """Rewards of S completions by K functions; NaN where a function does not apply.

    `extra` and `metrics` are what user functions logged, beside mean and spread of each function.
    """

    names: tuple[str, ...]
    reward_SK: Tensor
    weight_K: Tensor
    extra: dict[str, list[Any]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def weighted_SK(self) -> Tensor:
        """Each reward times its weight; still NaN where it does not apply."""
        return self.reward_SK * self.weight_K

    @property
    def reward_S(self) -> Tensor:
        """Σ_k w_k r_k over the functions that apply; 0 where none does."""
        return self.weighted_SK.nan_to_num(0.0).sum(1)


class Rewards:
    """Several reward functions; `specs` are names or tables {name, weight = 1.0, …options}.

    Names: "task" (the task's own verifier), "exact", "contains", "pattern", "math-verify", or "path.py:function".
    """

    def __init__(self, specs: Sequence[str | Mapping[str, Any]], task: Task | None = None) -> None:
        tables = [{"name": s} if isinstance(s, str) else dict(s) for s in specs or ["task"]]
        weights = [table.pop("weight", 1.0) for table in tables]
        for table, weight in zip(tables, weights, strict=True):
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f"reward {table.get('name')!r} has weight {weight!r}: it must be a number")
        self.names = unique([label(table) for table in tables])
        self.weight_K = torch.tensor(weights, dtype=torch.float32)
        self.functions = [function(table, task) for table in tables]

    def __call__(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        state: TrainerState | None = None,
    ) -> Scored:
        """Scores completion i as an answer to example i."""
        if not len(examples) == len(completions) == len(completion_ids):
            raise ValueError(
                f"{len(examples)} examples, {len(completions)} completions, {len(completion_ids)} id lists"
            )
        extra: dict[str, list[Any]] = {}
        metrics: dict[str, float] = {}
        handed = {
            "completion_ids": [list(ids) for ids in completion_ids],
            "trainer_state": state or TrainerState(),
            "log_extra": lambda column, values: extra.setdefault(str(column), []).extend(values),
            "log_metric": lambda name, value: metrics.__setitem__(str(name), float(value)),
        }
        columns = [fn(examples, completions, handed) for fn in self.functions]
        for column, values in extra.items():
            if len(values) != len(examples):
                raise ValueError(
                    f"log_extra({column!r}, …) was given {len(values)} values for {len(examples)} completions: give "
                    "one for each, or log a number with log_metric"
                )
        nan = float("nan")
        rows = [[nan if r is None else r for r in row] for row in zip(*columns, strict=True)]
        reward_SK = torch.tensor(rows, dtype=torch.float32).reshape(len(examples), len(self.functions))
        return Scored(self.names, reward_SK, self.weight_K, extra, {**spread(self.names, reward_SK), **metrics})


def function(table: Mapping[str, Any], task: Task | None) -> Any:
    """A table as a function of (examples, completions, handed) → one value each."""
    name = table.get("name")
    if name == "task":
        if task is None:
            raise ValueError("reward 'task' stands for the task's own verifier, but there is no task here")
        return by_row(task.score)
    if isinstance(name, str) and ".py:" in name and len(table) == 1:
        return partial(_by_user, user.imported(name), name)
    return by_row(make_verifier(table))


def by_row(verify: Any) -> Any:
    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        return [verify(text, example) for text, example in zip(completions, examples, strict=True)]

    return score


def _by_user(fn: Any, name: str, examples: Any, completions: Any, handed: Any) -> list[float | None]:
    return user.call(fn, name, examples, completions, handed)


def spread(names: Sequence[str], reward_SK: Tensor) -> dict[str, float]:
    """Mean and standard deviation of each function over the rows to which it applies."""
    shown: dict[str, float] = {}
    for name, reward_S in zip(names, reward_SK.T, strict=True):
        reward_s = reward_S[~reward_S.isnan()]
        if len(reward_s):
            shown[f"rewards/{name}/mean"] = float(reward_s.mean())
            shown[f"rewards/{name}/std"] = float(reward_s.std(correction=0))
    return shown


def label(table: Mapping[str, Any]) -> str:
    return str(table.get("name")).rpartition(":")[2]


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names with -2, -3 … behind those that were there before."""
    counts: dict[str, int] = {}
    out = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        out.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return tuple(out)
