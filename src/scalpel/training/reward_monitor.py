"""Whether a run has anything to learn from: whether its source ever gives a token to train, whether the rewards ever
differ, and whether samples can be judged at all: read, and ended by themselves. Where not, the log says so early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from scalpel.rewards.scored import SampleRewards, total

log = logging.getLogger("scalpel")
ENOUGH = 5  # steps after which it is said
MANY = 0.1  # share of samples from which it is said that they are unread or cut off
Judge = Callable[[Sequence[Any], Sequence[Sequence[Any]]], list[list[list[float]]]]  # of examples and their samples


@dataclass
class RewardMonitor:
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
    judged: int = 0  # samples that were judged, rewarded or not
    unread: int = 0  # in which a verifier found nothing to read
    cut_off: int = 0  # that the limit on tokens ended
    unrewarded: int = 0  # to which no reward applied
    told: list[str] = field(default_factory=list)  # of what the log has spoken

    def watching(self, judge: Judge) -> Judge:
        """The same rewards, of which is noted whether they differ."""

        def judged(examples: Sequence[Any], samples: Sequence[Sequence[Any]]) -> list[list[list[float]]]:
            rewards = judge(examples, samples)
            self.note(rewards)
            self.cut_off += sum(not sample.finished for group in samples for sample in group)
            return rewards

        return judged

    def note(self, rewards: Sequence[Sequence[Sequence[float]]]) -> None:
        """A step's rewards: of each group, of each sample, of each function; NaN where one does not apply."""
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
        """Says once, after a few steps, that there was nothing to train, or that no rewards have differed; and at once
        what keeps samples from being judged."""
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
        """What keeps samples from being judged, in words."""
        found: dict[str, str] = {}
        if not self.judged:
            return found
        of = f"of {self.judged} samples from source {self.source!r}"
        if self.unrewarded == self.judged:
            found["unrewarded"] = (
                f"no reward applied to any {of}: nothing was rewarded, so nothing moves; have a reward function give "
                "numbers, not None"
            )
        elif self.unrewarded:
            found["some unrewarded"] = (
                f"no reward applied to {self.unrewarded} {of} ({self.unrewarded / self.judged:.0%}): they are left out "
                "of their groups, and of what is learnt"
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
