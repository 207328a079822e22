"""What keeps answers to a probe from being judged: said once a probe, where it concerns more than a tenth of them."""

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
MANY = 0.1  # share of the answers from which it is said


def heed(probe: Probe, before: Sequence[ItemResult], after: Sequence[ItemResult] | None = None) -> None:
    """Warns of what was cut off and what couldn't be read: of the base's answers, or, where those were all right in
    this respect, of the tuned model's."""
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
        f"probe {probe.name!r}: {of:.0%} of {n} answers of {who} were cut off at {probe.max_tokens} tokens, and what "
        "was cut off before its end is seldom right: raise max_tokens of the probe, or sampling.max_tokens of the "
        "stage, which it follows where it has none"
    )


def unread(probe: Generate | Sampled, n: int, of: float, who: str) -> str:
    return (
        f"probe {probe.name!r}: in {of:.0%} of {n} answers of {who} the verifier found nothing to read as an answer, "
        "which is not the same as wrong: say in the prompt what form the answer must have, or take another verifier "
        "(docs/verifiers.md); the ledger's lines have them as unread"
    )
