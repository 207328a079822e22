"""Whether a run has anything to learn from: whether its source ever gives a token to train, and whether the rewards
ever differ. Where they don't, the log says so early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

log = logging.getLogger("scalpel")
ENOUGH = 5  # steps after which it is said
Judge = Callable[[Sequence[Any], Sequence[Sequence[Any]]], list[list[list[float]]]]  # of examples and their samples


@dataclass
class Spread:
    """The rewards of one source's samples so far. They have to differ within a `group` of samples, or somewhere in the
    `run`; None where no part compares them."""

    source: str
    among: Literal["group", "run"] | None
    steps: int = 0
    samples: int = 0
    solved: int = 0  # samples with more than no reward
    least: float = inf
    most: float = -inf
    differed: bool = False
    trained: bool = False  # whether a batch had anything to train

    def watching(self, judge: Judge) -> Judge:
        """The same rewards, of which is noted whether they differ."""

        def judged(examples: Sequence[Any], samples: Sequence[Sequence[Any]]) -> list[list[list[float]]]:
            rewards = judge(examples, samples)
            self.note(rewards)
            return rewards

        return judged

    def note(self, rewards: Sequence[Sequence[Sequence[float]]]) -> None:
        """A step's rewards: of each group, of each sample, of each function; NaN where one does not apply."""
        totals = [[sum(r for r in sample if r == r) for sample in group] for group in rewards]
        every = [r for group in totals for r in group]
        if not every:
            return
        self.samples, self.solved = self.samples + len(every), self.solved + sum(r > 0 for r in every)
        self.least, self.most = min(self.least, *every), max(self.most, *every)
        within = any(max(group) > min(group) for group in totals if group)
        self.differed = self.differed or (within if self.among == "group" else self.most > self.least)

    def after_step(self, temperature: float, trains: bool) -> None:
        """Says once, after a few steps, that there was nothing to train, or that no rewards have differed."""
        self.steps, self.trained = self.steps + 1, self.trained or trains
        if self.steps != ENOUGH:
            return
        if not self.trained:
            log.warning("%s", self.words_of_nothing(temperature))
        elif self.among and self.samples and not self.differed:
            log.warning("%s", self.words(temperature))

    def words_of_nothing(self, temperature: float) -> str:
        judged = f"of {self.samples} samples (pass rate {self.solved / self.samples:.0%}) " if self.samples else ""
        return (
            f"after {self.steps} steps source {self.source!r} has kept nothing {judged}to train on: if samples are cut "
            "off, raise sampling.max_tokens; if none is right, take easier items, a lower threshold, a higher "
            f"temperature (now {temperature:g}), or method 'prefix-rft', which begins from demonstrations; if rows are "
            "too long, raise max_length"
        )

    def words(self, temperature: float) -> str:
        rate = self.solved / self.samples
        where = " within any group" if self.least < self.most else ""
        easy = (
            f"harder items, or a higher temperature (now {temperature:g})"
            if rate > 0.5
            else f"method 'prefix-rft', which begins from demonstrations, easier items, or a higher temperature (now "
            f"{temperature:g})"
        )
        return (
            f"after {self.steps} steps the rewards of {self.samples} samples from source {self.source!r} have never "
            f"differed{where} (pass rate {rate:.0%}), so they have taught nothing: take {easy}"
        )

    def state(self) -> dict[str, Any]:
        return {**vars(self), "least": str(self.least), "most": str(self.most)}  # JSON knows no infinity

    def restore(self, saved: dict[str, Any]) -> None:
        vars(self).update({**saved, "least": float(saved["least"]), "most": float(saved["most"])})
