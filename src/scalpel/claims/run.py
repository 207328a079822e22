"""Tests a claim: runs its recipe, judges the outcome and writes the result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalpel.claims.claim import Claim
from scalpel.claims.judge import judged
from scalpel.claims.origin import counted, origin
from scalpel.config.recipe import write
from scalpel.evaluation import load
from scalpel.experiments.compare import compare
from scalpel.runs.atomic import write_json
from scalpel.runs.json_files import read_json, read_text
from scalpel.runs.progress import Progress

FORMAT = 1
COMPARED = {"failed": {...: str}, "failures?": [{"arm": str, "seed": (int, type(None)), "why": str}], "arms": [dict]}
SHOWN = ("name", "gain", "forgetting", "learning_rate", "steps", "cost")  # of an arm's row in comparison.json


def run_claim(claim: Claim, folder: Path, *, anew: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Runs what is not finished yet in that folder, and returns the result. It is written there, and beside the claim
    unless overrides have made another experiment of it."""
    if anew and folder.exists():
        shutil.rmtree(folder)
    begun = folder / "recipe.toml"
    if begun.exists() and read_text(begun) != write(claim.recipe):
        raise ValueError(f"{folder} holds runs of another recipe than the claim's now: start over with --anew")
    if not finished(folder):
        with counted(folder):
            compare(claim.recipe, folder, resume=begun.exists(), progress=progress)
    found = result(claim, folder)
    write_json(folder / "result.json", found)
    if not claim.overrides:
        write_json(claim.folder / "result.json", found)
    return found


def finished(folder: Path) -> bool:
    """Whether the comparison in that folder ran to its end, with a result of every run: what failed is tried again."""
    path = folder / "comparison.json"
    compared = read_json(path, dict) if path.is_file() else {}
    return "verdict" in compared and not compared.get("failures")


def broken(compared: Mapping[str, Any]) -> dict[str, str]:
    """The arms that failed in a seed, and why. A claim is not judged by the seeds that went well alone."""
    found = dict(compared["failed"])
    for failure in compared.get("failures", []):
        found.setdefault(failure["arm"], f"seed {failure['seed']} failed: {failure['why']}")
    return found


def result(claim: Claim, folder: Path) -> dict[str, Any]:
    """What a finished comparison says of the claim."""
    compared, made = read_json(folder / "comparison.json", COMPARED), origin(folder)
    failed = broken(compared)
    arms = {arm.name: arm for arm in load(folder) if arm.name not in failed}
    spec = claim.recipe.compare
    assert spec is not None, "a claim is read only if its recipe compares something"
    return {
        "format": FORMAT,
        "claim": claim.id,
        "digest": claim.digest,
        **judged(claim, arms, failed),
        "failed": failed,
        "arms": [{key: arm[key] for key in SHOWN} for arm in compared["arms"]],
        "seeds": spec.seeds,
        "command": " ".join(["scalpel claim", claim.id, *claim.overrides]),
        "commits": made["commits"],
        "minutes": made["seconds"] / 60,
        "environment": read_json(folder / "environment.json"),
    }


def result_of(claim: Claim) -> dict[str, Any] | None:
    """The committed result; None where there is none, or where the claim has changed since."""
    path = claim.folder / "result.json"
    if not path.is_file():
        return None
    found = read_json(path, dict)
    return found if found.get("format") == FORMAT and found.get("digest") == claim.digest else None
