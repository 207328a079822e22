"""Warnings, at most one of each kind per probe, where more than a tenth of the answers can't be judged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from scalpel.evaluation.probes import (
    Generate,
    ItemResult,
    Probe,
    Sampled,
)

log = logging.getLogger("scalpel")
MANY = 0.1  # a share of the answers above this is warned of


def warn_of_unread(probe: Probe, before: Sequence[ItemResult], after: Sequence[ItemResult] | None = None) -> None:
    """Warns of truncated and of unread answers of the base, and of the tuned model's where the base had few: a format
    that training changed looks like forgetting."""
    if not isinstance(probe, Generate | Sampled):
        return
    for what, words in (("cut_off", cut_off), ("unread", unread)):
        base, now = share(before, what), share(after or (), what)
        if after is None and base > MANY:
            log.warning("%s", words(probe, len(before), base, "the base"))
        elif after is not None and base <= MANY < now:
            log.warning("%s", words(probe, len(after), now, "the tuned model"))


def share(results: Sequence[ItemResult], what: str) -> float:
    return sum(getattr(result, what) for result in results) / max(1, len(results))


def cut_off(probe: Generate | Sampled, n: int, of: float, who: str) -> str:
    return (
        f"probe {probe.name!r}: {of:.0%} of {n} answers of {who} were cut off at {probe.max_tokens} tokens, and a "
        "truncated answer is seldom right: raise max_tokens of the probe, or sampling.max_tokens of the stage, which "
        "is its default"
    )


def unread(probe: Generate | Sampled, n: int, of: float, who: str) -> str:
    return (
        f"probe {probe.name!r}: in {of:.0%} of {n} outputs of {who} the verifier found no answer, which is not the "
        "same as a wrong one: state the format of the answer in the prompt, or take another verifier "
        "(docs/verifiers.md); the ledger marks these items as unread"
    )
