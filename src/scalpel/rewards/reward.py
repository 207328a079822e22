"""Rewards: the weighted sum of several reward functions for each completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import scalpel.rewards.model  # noqa: F401  (registers the reward)
from scalpel.binding.table import Maker, bind_table, table_keys
from scalpel.data.example import Example, Task
from scalpel.data.trajectory import Trajectory, completion
from scalpel.extensions.files import function_at
from scalpel.registry import AXES
from scalpel.rewards import judge, shaping, user, values
from scalpel.rewards.declared import Ask, Scoring, concurrent, function_of, refuse_shaping, table_of
from scalpel.rewards.early import Answers, Early, Heard, hear
from scalpel.rewards.logged import beside, fits
from scalpel.rewards.scored import SampleRewards, unread
from scalpel.rewards.seen import Embed, ShapingContext
from scalpel.rewards.verifiers import make as make_verifier
from scalpel.rewards.waiting import Asked


@dataclass(frozen=True)
class TrainerState:
    """The state of the run that a reward function gets, with TRL's names."""

    global_step: int = 0
    max_steps: int = 0
    epoch: float = 0.0


@dataclass(frozen=True)
class Scored:
    """Rewards of S completions by K functions; NaN where a function does not apply.

    `extra` and `metrics` are what user functions logged, and the mean and standard deviation of each function; `unread`
    marks completions in which a verifier found no answer.
    """

    names: tuple[str, ...]
    reward_SK: Tensor
    weight_K: Tensor
    extra: dict[str, list[Any]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    unread: Sequence[bool] = ()

    @property
    def weighted_SK(self) -> Tensor:
        """Each reward times its weight; NaN where it does not apply. A reward of weight 0 counts as one that doesn't
        apply if there are others, so that a function that is only monitored doesn't make a completion count as
        rewarded."""
        silent_K = (self.weight_K == 0) & bool((self.weight_K != 0).any())
        return torch.where(silent_K, float("nan"), self.reward_SK * self.weight_K)

    @property
    def marks(self) -> list[SampleRewards]:
        """The weighted rewards of each completion, with the textual feedback that functions logged."""
        words = self.extra.get("feedback") or [None] * len(self.reward_SK)
        unread = self.unread or [False] * len(self.reward_SK)
        rows = zip(self.weighted_SK.tolist(), words, unread, strict=True)
        return [SampleRewards(rewards, "" if said is None else str(said), silent) for rewards, said, silent in rows]

    @property
    def reward_S(self) -> Tensor:
        """Σ_k w_k r_k over the functions that apply; NaN where none does."""
        none_S = self.weighted_SK.isnan().all(1)
        return torch.where(none_S, float("nan"), self.weighted_SK.nansum(1))


class Rewards:
    """Several reward functions; `specs` are names or tables {name, weight = 1.0, early = false, timeout, …options}.

    Names: "task" (the task's own verifier), a verifier ("exact", "math-verify", "think-format", "equations", …),
    "environment" (the rewards of an episode's environment), "judge" (a model, called through `ask`), "model" (a reward
    model), "agreement" (majority vote of a prompt's completions), "given" (a reward that counts only if another one is
    reached), shaping rewards ("brevity", "cosine-length", "episodic", which compares texts by `embed`), or
    "path.py:function". `memory` holds the state of shaping rewards by name, for checkpoints.

    With `early` the task's verifier, a verifier or a user's function is called prompt by prompt while other prompts are
    still being sampled, in threads, for up to eight prompts at once. So the function must be thread-safe, and must not
    compare completions of different prompts.
    """

    def __init__(
        self,
        specs: Sequence[str | Mapping[str, Any]],
        task: Task | None = None,
        ask: Ask | None = None,
        embed: Embed | None = None,
        memory: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        tables, weights, early, timeouts = read(specs)
        self.names = unique([label(table) for table in tables])
        self.weight_K = torch.tensor(weights, dtype=torch.float32)
        made = zip(self.names, [function(table, task, ask) for table in tables], timeouts, strict=True)
        self.functions: list[Any] = [
            fn if isinstance(fn, shaping.Shape) else Asked(name, fn, limit) for name, fn, limit in made
        ]
        self.early = [k for k, asked in enumerate(early) if asked]
        self.embed, self.memory = embed, {} if memory is None else memory

    @property
    def users(self) -> list[str]:
        """The names of functions that are users' own."""
        return [fn.name for fn in self.functions if isinstance(fn, Asked) and isinstance(fn.function, user.Users)]

    def suits(self, examples: Sequence[Example]) -> None:
        """Raises ValueError if a user's function has a required argument that these examples can't fill."""
        for fn in self.functions:
            if isinstance(fn, Asked) and isinstance(fn.function, user.Users):
                fn.function.suits(examples)

    def while_sampling(self, state: TrainerState) -> Early:
        """The functions that are called early, for one batch of samples."""
        return Early({k: self.functions[k] for k in self.early}, state)

    def __call__(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        state: TrainerState | None = None,
        trial: bool = False,
        early: Early | None = None,
        groups: Sequence[int] | None = None,
        trajectories: Sequence[Trajectory] | None = None,
    ) -> Scored:
        """Scores completion i as an answer to example i, in group `groups[i]`. Without group numbers, adjacent
        completions of the same example form a group. Shaping rewards don't apply to a `trial`; results that `early` has
        already are not computed again."""
        if not len(examples) == len(completions) == len(completion_ids):
            raise ValueError(
                f"{len(examples)} examples, {len(completions)} completions, {len(completion_ids)} id lists"
            )
        state, count = state or TrainerState(), len(examples)
        if trajectories is None:
            trajectories = [completion((), ids) for ids in completion_ids]
        groups = neighbours(examples) if groups is None else groups
        answers = Answers(examples, completions, completion_ids, groups, trajectories)
        heard = early.hear(answers) if early else {}
        judging = [k for k, fn in enumerate(self.functions) if not isinstance(fn, shaping.Shape)]
        heard |= {k: hear(self.functions[k], answers, state) for k in judging if k not in heard}
        extra, metrics = self.logged({k: heard[k] for k in judging}, count)
        judged = {k: values.checked(heard[k].rewards, self.names[k], examples) for k in judging}
        silent = [any(map(unread, row)) for row in zip(*judged.values(), strict=True)]
        columns = self.shaped(judged, answers, state, trial)
        nan = float("nan")
        rows = [[nan if r is None else float(r) for r in row] for row in zip(*columns, strict=True)]
        reward_SK = torch.tensor(rows, dtype=torch.float32).reshape(count, len(self.functions))
        shown = {**spread(self.names, reward_SK), **metrics}
        return Scored(self.names, reward_SK, self.weight_K, extra, shown, silent)

    def logged(self, heard: Mapping[int, Heard], count: int) -> tuple[dict[str, list[Any]], dict[str, float]]:
        """The columns and the numbers that the judging functions logged."""
        extra: dict[str, list[Any]] = {}
        metrics: dict[str, float] = {}
        for k, one in heard.items():
            fits(one.extra, count)
            beside(extra, self.names[k], one.extra)
            metrics |= one.metrics
        return extra, metrics

    def shaped(
        self, judged: Mapping[int, Sequence[float | None]], answers: Answers, state: TrainerState, trial: bool
    ) -> list[Sequence[float | None]]:
        """The values of all functions; shaping rewards get those of the judging ones. Shaping rewards don't apply to a
        trial, nor, if there are judging rewards, to completions to which none of these applied."""
        count = len(answers.examples)
        earned = [[r for r in row if r is not None] for row in zip(*judged.values(), strict=True)] or [[0.0]] * count
        rated = [i for i in range(count) if earned[i]]
        some = answers.at(rated)
        lengths, totals = [len(t.spoken_ids) for t in some.trajectories], [float(sum(earned[i])) for i in rated]
        columns: list[Sequence[float | None]] = []
        for k, fn in enumerate(self.functions):
            if k in judged or trial or not rated:
                columns.append(judged.get(k, [None] * count))
                continue
            memory = self.memory.setdefault(self.names[k], {})
            seen = ShapingContext(
                some.examples, some.completions, some.groups, lengths, totals, memory, state.global_step, self.embed
            )
            column: list[float | None] = [None] * count
            for i, value in zip(rated, values.checked(fn(seen), self.names[k], some.examples), strict=True):
                column[i] = value
            columns.append(column)
        return columns


Tables = tuple[list[dict[str, Any]], list[float], list[bool], list[float | None]]


def read(specs: Sequence[str | Mapping[str, Any]]) -> Tables:
    """The tables of rewards without the common keys, and the values of these: weights, whether they are early, and time
    limits. ValueError for invalid values."""
    tables = [{"name": s} if isinstance(s, str) else dict(s) for s in specs or ["task"]]
    weights = [values.weight(table.pop("weight", 1.0), table.get("name")) for table in tables]
    return tables, weights, [asked_early(table) for table in tables], [limit(table) for table in tables]


def limit(table: dict[str, Any]) -> float | None:
    """Removes the key `timeout` from a table and returns its value. A verifier with a time limit of its own keeps
    it."""
    name = table.get("name")
    verifier = AXES["verifier"].get(str(name))
    if "timeout" not in table or (verifier is not None and "timeout" in table_keys(verifier)):
        return None
    if not concurrent(name):
        raise ValueError(
            f"reward {name!r} can't have a timeout, since it asks a model or only counts: leave it out; it is for "
            "'task', verifiers and path.py:function"
        )
    return values.seconds(table.pop("timeout"), name)


def asked_early(table: dict[str, Any]) -> bool:
    """Removes the key `early` from a table and returns its value. ValueError if the reward can't be computed during
    sampling."""
    early, name = table.pop("early", False), table.get("name")
    if not isinstance(early, bool):
        raise ValueError(f"reward {name!r} has early = {early!r}: it must be true or false")
    if early and not concurrent(name):
        raise ValueError(
            f"reward {name!r} can't be computed early, since it may call the model that samples or need other rewards: "
            "leave out `early`, which is for 'task', verifiers and path.py:function"
        )
    return early


def function(table: Mapping[str, Any], task: Task | None, ask: Ask | None = None) -> Any:
    """A table as a function of (examples, completions, handed) → one value each, or as a shaping reward."""
    name = table.get("name")
    if name in AXES["shaping"]:
        return shaping.make(table)
    if name in AXES["judge"]:
        inside = {Scoring: Maker(lambda spec: judging(spec, task, ask), str | dict[str, Any])}
        bound = bind_table("judge", "reward", table, named="name", makers=inside, find=function_of)
        return bound(task=task, ask=ask)
    if isinstance(name, str) and ".py:" in name and len(table) == 1:
        return user.Users(name, function_at(name))
    return judge.by_row(make_verifier(table))


def judging(spec: str | Mapping[str, Any], task: Task | None, ask: Ask | None) -> Scoring:
    """A reward inside another."""
    refuse_shaping(spec)
    made: Scoring = function(table_of(spec), task, ask)
    return made


def spread(names: Sequence[str], reward_SK: Tensor) -> dict[str, float]:
    """Mean and standard deviation of each function over the rows to which it applies."""
    shown: dict[str, float] = {}
    for name, reward_S in zip(names, reward_SK.T, strict=True):
        reward_s = reward_S[~reward_S.isnan()]
        if len(reward_s):
            shown[f"rewards/{name}/mean"] = float(reward_s.mean())
            shown[f"rewards/{name}/std"] = float(reward_s.std(correction=0))
    return shown


def neighbours(examples: Sequence[Example]) -> list[int]:
    """A number for each run of the same example."""
    groups: list[int] = []
    for i, example in enumerate(examples):
        groups.append(groups[-1] + (example is not examples[i - 1]) if groups else 0)
    return groups


def label(table: Mapping[str, Any]) -> str:
    return str(table.get("name")).rpartition(":")[2]


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with the suffix -2, -3 … for duplicates."""
    counts: dict[str, int] = {}
    out = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        out.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return tuple(out)
