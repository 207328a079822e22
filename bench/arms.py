"""K arms of a comparison on one machine cost no more than K times one.

The one alone may have all cores, or one like each of the K: the faster counts. Every side is a whole `scalpel compare`,
from loading to report. Takes about 15 minutes on two cores.
"""

from __future__ import annotations

from bench.common.numbers import middle
from bench.common.options import concluded, options, parsed, run
from bench.common.result import run_of
from bench.common.turns import Side, in_turns

CALL = "bench.sides.arms:comparison"


def main() -> None:
    parser = options(__doc__, model="world-1m")
    parser.add_argument("--arms", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--train", type=int, default=80, help="optimiser steps of each arm (%(default)s)")
    args = parsed(parser)
    asked = {"model": args.model, "device": args.device, "seed": args.seed, "train": args.train}
    asked |= {"steps": args.steps + 1, "folder": args.scratch.name}
    plans = [(1, 1, "all cores"), (1, 0, "one core")] + [(k, 0, "a core each") for k in args.arms]
    sides = [
        Side(
            "scalpel", CALL, {**asked, "arms": k, "workers": w}, how, ours=True, case=f"{k} arms" if k > 1 else "1 arm"
        )
        for k, w, how in plans
    ]
    ran = in_turns(sides, args.steps + 1, args.threads)
    times = [middle([step["seconds"] for step in r.steps[1:]]).median for r in ran]
    single = min(times[:2])
    notes = [
        f"{k} arms take {time / single:.2f} times as long as one"
        for (k, _, _), time in zip(plans[2:], times[2:], strict=True)
    ]
    notes.append("peak memory is that of the process that leads; workers have theirs beside it")
    concluded("arms", args, [run_of(r) for r in ran], notes=notes)


if __name__ == "__main__":
    run(main)
