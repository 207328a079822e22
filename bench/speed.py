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

How long a training step, sampling and evaluation take, and how much memory they need, beside TRL, transformers and
lm-eval on the same machine. To measure yours, run one of the benches, then write this page anew from `bench/results`,
whose files hold every measured step:

```
scripts/bench sft
scripts/bench speed
```

The two sides of a bench run in separate processes and alternate, step by step, on the same machine with the same model,
data, batch, optimiser and precision; the first step of each is a warm-up. A bench fails unless both do the same work:
loss and gradient norm of the first step, the trained tokens of every step, the lengths of all samples or the verdict on
every item must agree. The tables show medians, and the fastest and the slowest step. The ratio is the peer's median
time over scalpel's. "Of peak" is the throughput of the necessary operations (without padding and recomputation, a
shared prompt counted once, the head only where a token is trained or drawn) as a share of what the machine reaches in
products of 2048² bfloat16 matrices. Each setting of a peer was first measured alone; the fastest one was then
alternated with scalpel and gives the ratio.
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
