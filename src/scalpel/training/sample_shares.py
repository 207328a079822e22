"""The shares of a step's samples that could not be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalpel.rewards import Scored


@dataclass
class SampleShares:
    """The number of judged samples, and of those that were unread by a verifier, cut off by max_tokens, or without any
    reward."""

    judged: int = 0
    unread: int = 0
    cut_off: int = 0
    unrewarded: int = 0

    def note(self, scored: Scored, cut_off: Sequence[bool]) -> None:
        self.judged += len(cut_off)
        self.unread += sum(scored.unread)
        self.cut_off += sum(cut_off)
        self.unrewarded += int(scored.reward_S.isnan().sum())

    @property
    def shares(self) -> dict[str, float]:
        """The shares of judged samples, for the record of the step."""
        counts = {"unread": self.unread, "cut_off": self.cut_off, "unrewarded": self.unrewarded}
        return {f"samples/{name}": count / self.judged for name, count in counts.items()} if self.judged else {}

    def words(self, max_tokens: int) -> str:
        """A sentence for the preview; empty if nothing was sampled."""
        if not self.judged:
            return ""
        parts = [
            f"{self.unread / self.judged:.0%} unread (nothing that the verifier can read as an answer)",
            f"{self.cut_off / self.judged:.0%} cut off at {max_tokens} tokens",
        ]
        parts += [f"{self.unrewarded / self.judged:.0%} not rewarded"] * bool(self.unrewarded)
        return f"of the first {self.judged} samples {', '.join(parts)}"

    def clear(self) -> None:
        self.judged = self.unread = self.cut_off = self.unrewarded = 0
