"""The committed result of a claim, and the proof that it follows from its own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalpel.claims.by_seed import rows_of
from scalpel.claims.claim import Claim
from scalpel.claims.judge import judged
from scalpel.runs.json_files import read_json

FORMAT = 2


def result_of(claim: Claim) -> dict[str, Any] | None:
    """The committed result; None where there is none, or where the claim has changed since."""
    path = claim.folder / "result.json"
    if not path.is_file():
        return None
    found = read_json(path, dict)
    return found if found.get("format") == FORMAT and found.get("digest") == claim.digest else None


def faults(claim: Claim) -> list[str]:
    """What is wrong with the committed result of a claim: that it is of another claim, or that its verdict doesn't
    follow from its numbers. Empty where there is none, or nothing wrong with it."""
    path = claim.folder / "result.json"
    if not path.is_file():
        return []
    if claim.statement.out_of_regime:
        return [f"{path}: the claim is declared out of its regime, so it has no result: remove the file"]
    found = result_of(claim)
    if found is None:
        return [f"{path} is of another version of the claim (by its digest): run `scalpel claim {claim.id}` again"]
    return [f"{path}: {words}" for words in [*looks_taken(claim, found), *judged_anew(claim, found)]]


def looks_taken(claim: Claim, found: Mapping[str, Any]) -> list[str]:
    """Looks may be added, but those that were taken must stay as they were announced."""
    sampling, n = claim.statement.sampling, found["seeds"]
    then = [(look, a) for look, a in zip(found["looks"], found["alpha"], strict=True) if look <= n]
    now = [(look, a) for look, a in zip(sampling.looks, sampling.alpha, strict=True) if look <= n]
    return [] if then == now else ["looks that were taken have been changed in claim.toml: restore them"]


def judged_anew(claim: Claim, found: Mapping[str, Any]) -> list[str]:
    """The differences between the result and what its numbers give."""
    pilot = found["pilot"]
    rows = rows_of(claim, pilot["chosen"])
    for row, old in zip(rows, found["rows"], strict=True):
        if (row["that"], row["other"]) != (old["that"], old["other"]):
            return [f"it has numbers of {old['that']} and {old['other']}, not of {row['that']} and {row['other']}"]
        row["numbers"] = old["numbers"]
    anew = judged(rows, claim.statement.sampling, all(check["holds"] for check in pilot["checks"]))
    wrong = [key for key in ("verdict", "seeds", "level") if anew[key] != found[key]]
    return [f"its {key} is {found[key]!r}, but its numbers give {anew[key]!r}" for key in wrong]
