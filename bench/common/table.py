"""Tables from results: one line a run, and one line for each comparison with the peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.common.numbers import bytes_in_words, middle

Found = Mapping[str, Any]
HEAD = ("case", "side", "setting", "s a step", "least–most", "tokens/s", "of peak", "peak memory", "ratio")


def seconds(run: Found) -> list[float]:
    return [step["seconds"] for step in run["steps"]]


def rate(run: Found) -> float | None:
    """Median tokens a second, of what the bench counts: trained, sampled or scored ones."""
    rates = [step["tokens"] / step["seconds"] for step in run["steps"] if step.get("tokens")]
    return middle(rates).median if rates else None


def share(run: Found, peak: Mapping[str, float]) -> float | None:
    """Necessary operations over time over the machine's measured peak in bfloat16, the median of the steps'."""
    shares = [s["flops"] / s["seconds"] / peak["bfloat16"] for s in run["steps"] if s.get("flops")]
    return middle(shares).median if shares and peak else None


def ratio(ours: Found, peer: Found) -> float:
    """How many times as fast: the peer's median seconds over ours. Both did the same work."""
    return middle(seconds(peer)).median / middle(seconds(ours)).median


def rival(run: Found, runs: Sequence[Found]) -> Found | None:
    """The peer's headline run in the same case."""
    found = [other for other in runs if not other["ours"] and other["headline"] and other["case"] == run["case"]]
    return found[0] if run["ours"] and run["headline"] and found else None


def rows(found: Found) -> list[tuple[str, ...]]:
    """The table's lines as text; empty columns are left to the caller to drop."""
    made: list[tuple[str, ...]] = []
    for run in found["runs"]:
        m, r, s = middle(seconds(run)), rate(run), share(run, found.get("peak", {}))
        other = rival(run, found["runs"])
        made.append(
            (
                run["case"],
                run["side"],
                run["setting"],
                f"{m.median:.3g}",
                f"{m.least:.3g}–{m.most:.3g}",
                f"{r:.0f}" if r else "",
                f"{100 * s:.0f}%" if s else "",
                bytes_in_words(run["peak_bytes"]),
                f"{ratio(run, other):.2f}×" if other else "",
            )
        )
    return made


def used(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Head and lines without the columns in which every line is empty."""
    kept = [k for k in range(len(head)) if any(line[k] for line in lines)]
    return [[line[k] for k in kept] for line in (head, *lines)]


def plain(found: Found) -> str:
    """For a terminal: columns apart by two spaces."""
    table = used(HEAD, rows(found))
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    return "\n".join("  ".join(f"{x:<{w}}" for x, w in zip(line, widths, strict=True)).rstrip() for line in table)


def markdown(found: Found) -> str:
    head, *lines = used(HEAD, rows(found))
    rule = ["---" if name in ("case", "side", "setting") else "---:" for name in head]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def memory(found: Found) -> list[str]:
    """Our peak memory over the peer's, within each case: our headline over each of its settings, and equal settings."""
    said = []
    for run in (r for r in found["runs"] if r["ours"]):
        for other in (r for r in found["runs"] if not r["ours"] and r["case"] == run["case"]):
            if run["headline"] or run["setting"] == other["setting"]:
                share = run["peak_bytes"] / other["peak_bytes"]
                said.append(f"memory, {lead(run)}{named(run)} over {named(other)}: {share:.2f}×")
    return said


def named(run: Found) -> str:
    return f"{run['side']} at {run['setting']}" if run["setting"] else run["side"]


def lead(run: Found) -> str:
    return f"{run['case']}: " if run["case"] else ""
