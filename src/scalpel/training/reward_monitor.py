"""Warns early of a run that can't learn: its source never gives a trained token, its rewards never differ, or its
samples can't be judged, since they are unread or cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from scalpel.rewards.scored import SampleRewards, total

log = logging.getLogger("scalpel")
ENOUGH = 5  # steps after which constant rewards are warned of
MANY = 0.1  # a share of unread or cut-off samples above this is warned of
Judge = Callable[[Sequence[Any], Sequence[Sequence[Any]]], list[list[list[float]]]]  # of examples and their samples


@dataclass
class RewardMonitor:
    """Statistics of the rewards of one source's samples so far. To learn from them, they have to differ within a
    `group` of samples, or anywhere in the `run`; `among` is None if no part compares them."""

    source: str
    among: Literal["group", "run"] | None
    steps: int = 0
    samples: int = 0
    solved: int = 0  # samples with a reward above zero
    least: float = inf
    most: float = -inf
    differed: bool = False
    trained: bool = False  # whether some batch had a trained token
    judged: int = 0  # samples that were judged, rewarded or not
    unread: int = 0  # samples in which a verifier found no answer
    cut_off: int = 0  # samples that max_tokens ended
    unrewarded: int = 0  # samples to which no reward applied
    told: list[str] = field(default_factory=list)  # warnings that were given

    def watching(self, judge: Judge) -> Judge:
        """The reward function, wrapped to record statistics of its results."""

        def judged(examples: Sequence[Any], samples: Sequence[Sequence[Any]]) -> list[list[list[float]]]:
            rewards = judge(examples, samples)
            self.note(rewards)
            self.cut_off += sum(not sample.finished for group in samples for sample in group)
            return rewards

        return judged

    def note(self, rewards: Sequence[Sequence[Sequence[float]]]) -> None:
        """Records a step's rewards: [group][sample][function], NaN where a function doesn't apply."""
        flat = [sample for group in rewards for sample in group]
        self.judged += len(flat)
        self.unread += sum(isinstance(sample, SampleRewards) and sample.unread for sample in flat)
        totals = [[r for sample in group if (r := total(sample)) == r] for group in rewards]
        every = [r for group in totals for r in group]
        self.unrewarded += len(flat) - len(every)
        if not every:
            return
        self.samples, self.solved = self.samples + len(every), self.solved + sum(r > 0 for r in every)
        self.least, self.most = min(self.least, *every), max(self.most, *every)
        within = any(max(group) > min(group) for group in totals if group)
        self.differed = self.differed or (within if self.among == "group" else self.most > self.least)

    def after_step(self, temperature: float, trains: bool, max_tokens: int) -> None:
        """Warns once, after a few steps, of batches without a trained token or of rewards that never differed; and at
        once of samples that can't be judged."""
        self.steps, self.trained = self.steps + 1, self.trained or trains
        for what, words in self.faults(max_tokens).items():
            if what not in self.told:
                self.told.append(what)
                log.warning("%s", words)
        if self.steps != ENOUGH:
            return
        if not self.trained:
            log.warning("%s", self.words_of_nothing(temperature))
        elif self.among and self.samples and not self.differed:
            log.warning("%s", self.words(temperature))

    def faults(self, max_tokens: int) -> dict[str, str]:
        """Warnings about samples that can't be judged, by kind."""
        found: dict[str, str] = {}
        if not self.judged:
            return found
        of = f"of {self.judged} samples from source {self.source!r}"
        if self.unrewarded == self.judged:
            found["unrewarded"] = (
                f"no reward applied to any {of}, so nothing is trained; have a reward function return numbers, not None"
            )
        elif self.unrewarded:
            found["some unrewarded"] = (
                f"no reward applied to {self.unrewarded} {of} ({self.unrewarded / self.judged:.0%}): they are left out "
                "of their groups, and not trained on"
            )
        if self.cut_off > MANY * self.judged:
            found["cut off"] = (
                f"{self.cut_off} {of} ({self.cut_off / self.judged:.0%}) were cut off at {max_tokens} tokens, most of "
                "them before an answer: raise sampling.max_tokens, or ask for shorter answers"
            )
        if self.unread > MANY * self.judged:
            found["unread"] = (
                f"{self.unread} {of} ({self.unread / self.judged:.0%}) hold nothing that the verifier can read as an "
                "answer, which pays as little as a wrong one: say in the prompt what form the answer must have, or "
                "take another verifier (docs/verifiers.md); completions.jsonl has them"
            )
        return found

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
