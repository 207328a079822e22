"""How time and memory grow with sequence length, batch, group size and parameter count, with fitted exponents.

Random models with a vocabulary of 8,192, trained by SFT (groups: GRPO with 16 tokens a completion); every point in a
process of its own. Memory is what training adds to the process at rest. Takes about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.common.numbers import growth, middle
from bench.common.options import concluded, options, parsed, run
from bench.common.result import run_of
from bench.common.turns import Ran, Side, in_turns

CALL = "bench.sides.growing:training"
BASE = {"kind": "sft", "width": 256, "layers": 4, "length": 256, "prompt": 16, "batch": 8}
AXES: dict[str, list[dict[str, Any]]] = {
    "sequence length": [{"length": n, "batch": 4} for n in (256, 512, 1024, 2048)],
    "batch": [{"batch": n} for n in (4, 8, 16, 32)],
    "group size": [{"kind": "grpo", "group": n, "prompt": 128, "tokens": 16, "batch": 2} for n in (4, 8, 16, 32)],
    "parameters": [{"width": n} for n in (128, 256, 384, 512)],
}
SIZE = {"sequence length": "length", "batch": "batch", "group size": "group", "parameters": "width"}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES))
    parser.add_argument("--precision", default="float32", choices=["bfloat16", "float32"])
    parser.add_argument("--smaller", type=int, default=1, help="divide lengths, batches and widths, for a quick look")
    args = parsed(parser)
    runs, notes = [], []
    for axis in args.axes:
        points = [point(args, axis, change) for change in AXES[axis]]
        runs += [run_of(ran, size=size, rise_bytes=rise(ran)) for ran, size in points]
        notes.append(fitted(axis, points))
    concluded("scale", args, runs, notes=notes)


def point(args: argparse.Namespace, axis: str, change: dict[str, Any]) -> tuple[Ran, float]:
    chosen = {**BASE, **change}
    name = SIZE[axis]
    chosen[name] = max(32 if name == "width" else 2, chosen[name] // args.smaller)
    folder = Path(args.scratch.name) / f"{name}-{chosen[name]}"
    folder.mkdir(exist_ok=True)
    place = {"device": args.device, "dtype": "float32", "seed": args.seed, "threads": args.threads}
    asked = {**chosen, **place, "precision": args.precision, "steps": args.steps + 1, "folder": str(folder)}
    side = Side("scalpel", CALL, asked, str(chosen[name]), ours=True, case=axis)
    ran = in_turns([side], args.steps + 1, args.threads)[0]
    return ran, float(ran.end["parameters"] if axis == "parameters" else chosen[name])


def rise(ran: Ran) -> int:
    return int(ran.end["peak_bytes"] - ran.end["at_rest"])


def fitted(axis: str, points: list[tuple[Ran, float]]) -> str:
    """The exponents of time and memory, in words."""
    sizes = [size for _, size in points]
    time = growth(sizes, [middle([s["seconds"] for s in ran.steps[1:]]).median for ran, _ in points])
    memory = growth(sizes, [rise(ran) for ran, _ in points])
    return (
        f"{axis}: seconds grow with the power {time.exponent:.2f} ± {time.error:.2f}, "
        f"memory with {memory.exponent:.2f} ± {memory.error:.2f}"
    )


if __name__ == "__main__":
    run(main)
