"""Rewards that are computed during sampling: prompt by prompt, in threads, as soon as a prompt's completions are done.

A reward function that waits for a server or an interpreter then overlaps with sampling. Whatever was not computed early
is computed after sampling; the values and the records are the same in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from scalpel.data.example import Example
from scalpel.data.trajectory import Trajectory
from scalpel.rewards.logged import Logged, fits

AT_ONCE = 8  # the most prompts for which a function runs concurrently
Function = Callable[[Sequence[Example], Sequence[str], Mapping[str, Any]], Sequence[float | None]]


@dataclass(frozen=True)
class Answers:
    """Completions, each with its example, its token ids, its trajectory and the number of its group.

    A group holds the completions of one prompt of the batch; a row that occurs in a batch twice has two groups. For an
    episode the completion is the text of the last turn, while the ids are those of the whole trajectory.
    """

    examples: Sequence[Example]
    completions: Sequence[str]
    ids: Sequence[Sequence[int]]
    groups: Sequence[int]
    trajectories: Sequence[Trajectory]

    def at(self, places: Sequence[int]) -> Answers:
        held = (self.examples, self.completions, self.ids, self.groups, self.trajectories)
        return Answers(*([column[i] for i in places] for column in held))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Heard:
    """The rewards that a function returned for some completions, and what it logged about them."""

    rewards: Sequence[float | None]
    extra: dict[str, list[Any]]
    metrics: Mapping[str, float]


def hear(function: Function, answers: Answers, state: Any) -> Heard:
    """Calls a reward function on these completions."""
    logged = Logged()
    handed = {
        "completion_ids": [list(ids) for ids in answers.ids],
        "trainer_state": state,
        "log_extra": logged.log_extra,
        "log_metric": logged.log_metric,
        "groups": answers.groups,
        "trajectories": list(answers.trajectories),
    }
    return Heard(function(answers.examples, answers.completions, handed), logged.extra, logged.metrics)


def joined(calls: Sequence[tuple[Sequence[int], Heard]], count: int) -> Heard:
    """Merges calls on parts of a batch into the result of one call. A metric is the mean over the calls; a column has
    None for rows on which it was not logged."""
    rewards: list[float | None] = [None] * count
    extra: dict[str, list[Any]] = {}
    metrics: dict[str, list[float]] = {}
    for places, heard in calls:
        fits(heard.extra, len(places))
        columns = [extra.setdefault(column, [None] * count) for column in heard.extra]
        for column, values in zip([rewards, *columns], [heard.rewards, *heard.extra.values()], strict=True):
            for place, value in zip(places, values, strict=True):
                column[place] = value
        for name, value in heard.metrics.items():
            metrics.setdefault(name, []).append(value)
    return Heard(rewards, extra, {name: sum(values) / len(values) for name, values in metrics.items()})


@dataclass(frozen=True)
class Call:
    """The early calls of all functions on the completions of one prompt."""

    example: Example
    ids: list[list[int]]
    heard: Mapping[int, Future[Heard]]  # by the function's index in the list of rewards


class Early:
    """The functions that are called early, by their index in the list of rewards, and their calls. It is a context
    manager around the sampling of a batch: on exit it waits until every thread has finished."""

    def __init__(self, functions: Mapping[int, Function], state: Any) -> None:
        self.functions, self.state = functions, state
        self.calls: dict[int, list[Call]] = {}  # by group number
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scalpel-reward")

    def __enter__(self) -> Early:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def ask(self, group: int, example: Example, completions: Sequence[str], trajectories: Sequence[Trajectory]) -> None:
        """Starts the calls of all functions on the completions of one prompt, and returns at once."""
        assert trajectories, "early rewards are computed only for prompts that have completions"
        rows = [trajectory.ids for trajectory in trajectories]
        answers = Answers([example] * len(rows), completions, rows, [group] * len(rows), trajectories)
        heard = {k: self.pool.submit(hear, fn, answers, self.state) for k, fn in self.functions.items()}
        self.calls.setdefault(group, []).append(Call(example, rows, heard))

    def hear(self, answers: Answers) -> dict[int, Heard]:
        """The result of each function: waits for the early calls, and computes the rest now."""
        early = list(self.taken(answers))
        count, known = len(answers.examples), {i for places, _ in early for i in places}
        rest = [i for i in range(count) if i not in known]
        found = {}
        for k, fn in self.functions.items():
            calls = [(places, call.heard[k].result()) for places, call in early]
            late = [(rest, hear(fn, answers.at(rest), self.state))] if rest or not early else []
            found[k] = joined([*calls, *late], count)
        return found

    def taken(self, answers: Answers) -> Iterator[tuple[range, Call]]:
        """The early calls on exactly these completions, each with the range of rows that it covers. A call is used
        once. The comparison is by token ids, because a source may drop or replace completions after sampling."""
        start = 0
        while start < len(answers.examples):
            waiting, example = self.calls.get(answers.groups[start], []), answers.examples[start]
            asked = (c for c in waiting if c.example is example)
            same = (c for c in asked if c.ids == [list(x) for x in answers.ids[start : start + len(c.ids)]])
            call = next(same, None)
            size = len(call.ids) if call else 1
            if call is not None:
                waiting.remove(call)
                yield range(start, start + size), call
            start += size
