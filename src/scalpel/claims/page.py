"""docs/claims.md, made from the claims and their committed results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalpel.claims.claim import PARTS, Check, Claim, Number, every
from scalpel.claims.judge import named
from scalpel.claims.quantities import PERCENT, POINTS, UNITS
from scalpel.claims.run import result_of
from scalpel.evaluation.number_words import (
    duration,
    listed,
    points,
    quantity,
    with_range,
)
from scalpel.evaluation.statistics import Interval
from scalpel.reporting.catalogue import markdown
from scalpel.runs.atomic import write_text

NOT_RUN = "not run yet"
TITLES = {"given": "given", "tests": "test", "besides": "besides"}
HEAD = """# Claims

What papers say, put to the test at a scale that a laptop can take. A claim is a folder of
[claims](../claims): `claim.toml` says what the paper says and what must be seen, `recipe.toml` is the
experiment, `result.json` what came out; `scalpel claim ID` runs it. This page is made from them:
`scalpel claim --page docs/claims.md`.

A claim **replicates** if all its tests hold, **doesn't** if one of them fails, and is **not testable here** if what
must be given is not, or if a test stays open. A test compares two numbers by the 95% interval of their difference
(unless the claim says otherwise), paired by seed and by item: it holds where the whole interval is on the claimed side,
fails where it is on the other, and is open in between. What stands under "besides" decides nothing. Results from before
2026-11-28 were judged by percentiles of resampled seeds and items, which are too narrow with three seeds.
A small model on a small world can show a mechanism, or its absence; it can't refute a paper about large ones.
"""


def page(claims: Sequence[Claim]) -> str:
    rows = [
        (f"[{claim.id}](#{claim.id})", claim.statement.paper, verdict_of(found), minutes_of(found))
        for claim in claims
        for found in [result_of(claim)]
    ]
    return "\n".join([HEAD, markdown(("claim", "paper", "verdict", "time"), rows), *map(section, claims)])


def fill(path: Path, claims: Path, check: bool = False) -> bool:
    """Whether the page was up to date; unless `check`, it is now."""
    text = page(every(claims))
    fresh = path.is_file() and path.read_text(encoding="utf-8") == text
    if not fresh and not check:
        write_text(path, text)
    return fresh


def verdict_of(found: Mapping[str, Any] | None) -> str:
    return found["verdict"] if found else NOT_RUN


def minutes_of(found: Mapping[str, Any] | None) -> str:
    return duration(60 * found["minutes"]) if found else "–"


def section(claim: Claim) -> str:
    """One claim: what the paper says, what is expected here, what came."""
    said, found = claim.statement, result_of(claim)
    lines = [f"## {claim.id}", "", f"**{said.title}** ({said.paper})", ""]
    lines += [f"The paper: {flowing(said.says)}", "", f"Here: {flowing(said.expect)}", ""]
    if found is None:
        return "\n".join([*lines, f"**{NOT_RUN.capitalize()}.** What will be looked at:", "", planned(claim)])
    verdict = f"**{found['verdict'].capitalize()}.** {' '.join(found['words'])}".strip()
    return "\n".join([*lines, verdict, "", seen(found), learnt(found), made(found), ""])


def flowing(text: str) -> str:
    return " ".join(text.split())


def planned(claim: Claim) -> str:
    rows = [(TITLES[part], check.says, asked(check)) for part, check in claim.checks()]
    return markdown(("", "", "if"), rows)


def asked(check: Check) -> str:
    """`gain of sft exceeds gain of grpo by 5 points`"""
    left, right = check.numbers
    unit = UNITS[left.what]
    other = named(right) if isinstance(right, Number) else amount(right, unit)
    if check.within is not None:
        return f"{named(left)} equals {other} within {amount(check.within, unit)}"
    return f"{named(left)} exceeds {other}" + (f" by {amount(check.by, unit)}" if check.by else "")


def seen(found: Mapping[str, Any]) -> str:
    rows = [check_row(r) for part in PARTS for r in found["checks"] if r["part"] == part]
    return markdown(("", "", "numbers", "difference", "asked", "outcome"), rows)


def check_row(r: Mapping[str, Any]) -> tuple[str, ...]:
    unit = r["unit"]
    wanted = f"within {amount(r['within'], unit)}" if "within" in r else f"above {amount(r['by'], unit)}"
    if "difference" not in r:
        return TITLES[r["part"]], r["says"], r["why"], "–", wanted, r["outcome"]
    numbers = " and ".join(amount(value, unit) for value in r["values"])
    return TITLES[r["part"]], r["says"], numbers, ranged(Interval(**r["difference"]), unit), wanted, r["outcome"]


def learnt(found: Mapping[str, Any]) -> str:
    """What each arm gained and forgot, in points, and what it took."""
    rows = []
    for arm in found["arms"]:
        gain, lost = (with_range(Interval(**arm[key])) if arm[key] else "–" for key in ("gain", "forgetting"))
        rows.append((arm["name"], gain, lost, quantity(arm["steps"]), duration(arm["cost"]["seconds"])))
    return markdown(("arm", "gain", "forgotten", "steps", "training"), rows)


def amount(number: float, unit: str) -> str:
    if unit == POINTS:
        return f"{points(number)} points"
    return f"{100 * number:.3g}%" if unit == PERCENT else f"{number:.3g}"


def ranged(difference: Interval, unit: str) -> str:
    """`12 (9 to 15)`"""
    if unit == POINTS:
        return with_range(difference)
    mean, low, high = (amount(number, unit) for number in difference)
    return f"{mean} ({low} to {high})"


def made(found: Mapping[str, Any]) -> str:
    """What was run, and where."""
    around = found["environment"]
    seeds = listed([str(seed) for seed in found["seeds"]])
    return (
        f"`{found['command']}`, commit {listed(found['commits'])}, seeds {seeds}, {duration(60 * found['minutes'])}, "
        f"Python {around['python']}, torch {around['torch']}, transformers {around['transformers']}."
    )
