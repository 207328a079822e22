"""Writes docs/speed.md from the committed results; with --check it only says whether the page is up to date."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common.machine import ROOT
from bench.common.options import shown
from bench.common.result import RESULTS, load
from bench.common.table import markdown, memory

PAGE = ROOT / "docs" / "speed.md"
QUIET = 0.5  # load average before a bench from which its times are in doubt
TITLES = {
    "sft": "Supervised fine-tuning beside TRL",
    "lora": "LoRA beside TRL and PEFT",
    "dpo": "Direct preference optimisation beside TRL",
    "grpo": "GRPO beside TRL",
    "sample": "Sampling beside transformers' generate",
    "choose": "Choice by log-probability beside lm-eval",
    "world": "The demo's arms",
    "scale": "How cost grows",
    "arms": "Several arms on one machine",
}
INTRODUCTION = """# Speed and memory

Made by `scripts/bench speed` from the files in `bench/results`; each holds every measured step.

Both sides of a bench live in processes of their own and take turns, step by step, on the same machine with the same
model, data, batch, optimiser and precision; the first step of each is a warm-up. A bench stops where the two don't do
the same work: loss and gradient norm of the first step, the trained tokens of every step, the lengths of all samples or
the verdict on every item must agree. Shown are medians, with the least and the greatest step. The ratio is the peer's
median time over ours. "Of peak" counts necessary operations only (no padding, no recomputation, a shared prompt once,
the head where a token is trained or drawn) over time, as a share of what the machine reaches on products of 2048²
bfloat16 matrices. A peer's settings were each tried alone; the fastest took turns with us and gives the ratio.
"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The whole document."""
    order = list(TITLES)
    known = sorted(results, key=lambda r: (order.index(r["bench"]), r["device"], r["threads"]))
    parts = [INTRODUCTION, *map(section, known)] if known else [INTRODUCTION, "No result is recorded yet.\n"]
    return "\n".join(parts)


def section(found: Mapping[str, Any]) -> str:
    said = [*memory(found), *found.get("notes", []), *precisions(found)]
    lines = "\n".join(f"- {line}" for line in said)
    return f"## {TITLES[found['bench']]}\n\n{place(found)}\n\n{markdown(found)}\n\n{lines}".rstrip() + "\n"


def place(found: Mapping[str, Any]) -> str:
    """Machine, versions, commit and command, as text."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    dirty = " with uncommitted changes" if found["dirty"] else ""
    steps = {len(run["steps"]) for run in found["runs"] if run["headline"]} or {
        len(run["steps"]) for run in found["runs"]
    }
    return (
        f"`{found['command']}` on {found['date']}, commit {found['commit']}{dirty}, seed {found['settings']['seed']}, "
        f"{' or '.join(map(str, sorted(steps)))} measured steps. {found['device']}, {found['cores']} cores, "
        f"{found['threads']} threads, {shown(found['peak'])}{busy(found)}; {versions}."
    )


def busy(found: Mapping[str, Any]) -> str:
    """A word of warning where something else ran when the bench began."""
    load = found.get("load_before") or 0.0
    return f", not quiet (load {load:.1f} before it began)" if load > QUIET else ""


def precisions(found: Mapping[str, Any]) -> list[str]:
    """How each side computed, said once."""
    said = {(run["side"], run["precision"]): None for run in found["runs"] if run.get("precision")}
    return [f"{side}: {precision}" for side, precision in said]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench speed", description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    text = page(load(args.results))
    if not args.check:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        raise SystemExit("docs/speed.md is not what the results say: scripts/bench speed")


if __name__ == "__main__":
    main()
