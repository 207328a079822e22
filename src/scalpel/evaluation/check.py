"""The verdict of a check: of each ability whether a floor holds, and of the whole what follows for the exit status.

The intervals hold together (Bonferroni over the abilities that the base has at all), so that a model that broke nothing
is failed with a probability of at most 1 − confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scalpel.evaluation.ledger import Ledger
from scalpel.evaluation.retention import Decision, Retention, decide, retention

Status = Literal["passed", "failed", "undecided"]
STATUS: dict[Status, int] = {"passed": 0, "failed": 1, "undecided": 3}  # 2 is an error
CONFIDENCE = 0.95


@dataclass(frozen=True)
class AbilityVerdict:
    """One ability: its counts, its retention with the interval, and what that says of the floor."""

    name: str
    items: int
    before: int  # items that were right
    after: int
    kept: int
    lost: int
    gained: int
    retention: Retention
    decision: Decision | Literal["the base has too little of it"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has neither nan nor infinity."""
        interval = {key: value if abs(value) < 1e9 else None for key, value in self.retention._asdict().items()}
        return asdict(self) | {"retention": interval}


@dataclass(frozen=True)
class CheckVerdict:
    floor: float
    confidence: float
    abilities: tuple[AbilityVerdict, ...]

    def named(self, decision: str) -> list[AbilityVerdict]:
        return [ability for ability in self.abilities if ability.decision == decision]

    @property
    def status(self) -> Status:
        """Failed where some ability is surely below the floor, passed where every one that the base has is surely at
        or above it."""
        if self.named("lost"):
            return "failed"
        return "passed" if self.named("kept") and not self.named("too few items to tell") else "undecided"

    def as_dict(self) -> dict[str, Any]:
        return {
            "floor": self.floor,
            "confidence": self.confidence,
            "status": self.status,
            "abilities": [ability.as_dict() for ability in self.abilities],
        }


LEAST = 5  # right answers of the base, below which an ability is not one that it has


def check_verdict(ledgers: Sequence[Ledger], floor: float, confidence: float = CONFIDENCE) -> CheckVerdict:
    """The verdict on the ledgers that have right and wrong. ValueError for a floor that can't be one."""
    refuse_floor(floor)
    counts = {ledger.probe: Counter(entry.verdict for entry in ledger.entries) for ledger in ledgers}
    judged = {name: count for name, count in counts.items() if set(count) - {"measured"}}
    has = [name for name, count in judged.items() if count["kept"] + count["lost"] >= LEAST]
    each = 1 - (1 - confidence) / max(1, len(has))
    return CheckVerdict(
        floor, confidence, tuple(one(name, count, floor, each, name in has) for name, count in judged.items())
    )


def refuse_floor(floor: float) -> None:
    if not 0 < floor <= 1:
        raise ValueError(f"floor = {floor}: it is a share of what the base can do, such as 0.97")


def one(name: str, count: Counter[Any], floor: float, confidence: float, has: bool) -> AbilityVerdict:
    kept, lost, gained = count["kept"], count["lost"], count["gained"]
    found = retention(kept, lost, gained, confidence)
    decision = decide(found, floor) if has else "the base has too little of it"
    return AbilityVerdict(
        name,
        count.total(),
        kept + lost,
        kept + gained,
        kept,
        lost,
        gained,
        found,
        decision,  # type: ignore[arg-type]
    )
