"""Choice by log-probability beside lm-eval: the same minimal pairs of BLiMP, the same verdict on every item.

lm-eval's batch sizes are tried first, each alone; the fastest takes turns with scalpel. In float32 every verdict and
log-probability must agree; in bfloat16 rounding decides close pairs, and what differs is said.
Takes about 15 minutes on two cores with SmolLM2-135M.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from bench.common.flops import Shape, forward
from bench.common.numbers import middle
from bench.common.options import concluded, data_file, options, parsed, run
from bench.common.result import run_of
from bench.common.turns import Ran, Side, in_turns

OURS, HARNESS = "bench.sides.choosing:ours", "bench.sides.choosing:harness"
CLOSE = 1e-3  # nats, between log-probabilities of a sentence in float32


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=400, help="minimal pairs, drawn by the seed (%(default)s)")
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"], choices=["bfloat16", "float32"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32, 128], help="lm-eval's batch sizes")
    args = parsed(parser)
    source = data_file(args.data, "blimp/blimp.jsonl")
    runs: list[dict[str, Any]] = []
    notes: list[str] = []
    for precision in args.precision:
        pair, others = one(args, str(source), precision)
        notes.append(agree(precision, pair))
        account([*pair, *others], pair[0])
        runs += [run_of(ran, True) for ran in pair] + [run_of(ran) for ran in others]
    concluded("choose", args, runs, notes=notes)


def one(args: argparse.Namespace, source: str, precision: str) -> tuple[list[Ran], list[Ran]]:
    """Both sides in turns, and the other batch sizes that were tried."""
    asked = {
        "model": args.model, "source": source, "items": args.items, "seed": args.seed, "precision": precision,
        "device": args.device, "threads": args.threads,
    }  # fmt: skip
    sides = [
        Side("lm-eval", HARNESS, {**asked, "size": n, "steps": 2}, f"batch {n}", case=precision) for n in args.sizes
    ]
    tries = [in_turns([side], 2, args.threads)[0] for side in sides]
    best = min(tries, key=lambda ran: middle([s["seconds"] for s in ran.steps[1:]]).median)
    steps = args.steps + 1
    mine = Side("scalpel", OURS, {**asked, "steps": steps}, "default", ours=True, case=precision)
    theirs = Side("lm-eval", HARNESS, {**best.side.options, "steps": steps}, best.side.setting, case=precision)
    return in_turns([mine, theirs], steps, args.threads), [t for t in tries if t is not best]


def agree(precision: str, pair: Sequence[Ran]) -> str:
    """The words on how far both agree. Raises ValueError where they must and don't."""
    mine, theirs = (ran.steps[0] for ran in pair)
    apart = max(abs(a - b) for a, b in zip(mine["logp"], theirs["logp"], strict=True))
    unlike = sum(a != b for a, b in zip(mine["right"], theirs["right"], strict=True))
    if precision == "float32" and (unlike or apart > CLOSE):
        raise ValueError(f"{unlike} verdicts differ, log-probabilities by up to {apart:.2g} nats: not the same items")
    n = len(mine["right"])
    return (
        f"{precision}: {sum(mine['right'])} and {sum(theirs['right'])} of {n} right, {unlike} verdicts differ; "
        f"log-probabilities differ by {apart:.2g} nats at most"
    )


def account(all_ran: Sequence[Ran], ours: Ran) -> None:
    """Tokens scored, and the operations that these need."""
    lengths, alike, shape = ours.end.pop("lengths"), ours.end.pop("alike"), Shape(**ours.end.pop("shape"))
    flops = sum(necessary(shape, pair, n) for pair, n in zip(lengths, alike, strict=True))
    for ran in all_ran:
        for step in ran.steps:
            step.pop("right"), step.pop("logp")
            step |= {"tokens": sum(map(sum, lengths)), "flops": flops}


def necessary(shape: Shape, lengths: Sequence[int], alike: int) -> float:
    """Two sentences behind a start token that begin with `alike` common tokens: these once, in the layers and in the
    head; and nothing for the last token, behind which nothing is asked."""
    first, second = lengths
    alike = min(alike, first - 1, second - 1)
    layers = forward(shape, [(1 + alike, [first - alike - 1, second - alike - 1])], heads=False)
    return layers + 2.0 * shape.head_parameters * (first + second - alike)


if __name__ == "__main__":
    run(main)
