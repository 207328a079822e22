"""Sampling beside transformers' generate: 32 and 64 rows, of fixed and of uneven lengths, in bfloat16 and float32.

Uneven lengths have a mean of 40% of the longest. They are forced by a model of the same shape that counts down from
the last token of its prompt; for fixed lengths it is the real model, with a stop token that it never draws. `--group 8`
draws 8 completions of each prompt, as training does. Takes about 30 minutes on two cores with SmolLM2-135M.
"""

from __future__ import annotations

import argparse
from itertools import product
from random import Random
from typing import Any

from bench.common.flops import Group, Shape, forward
from bench.common.options import alone, concluded, data_file, options, parsed, run
from bench.common.result import run_of
from bench.common.turns import Ran, Side, in_turns

MADE, OURS, GENERATE = ("bench.sides.sampling:" + name for name in ("made", "ours", "generate"))


def main() -> None:
    args = arguments()
    source = data_file(args.data, "gsm8k/train.jsonl", "gsm8k/test.jsonl")
    asked = {"model": args.model, "source": str(source), "folder": args.scratch.name, "prompt": args.prompt}
    plan = alone(MADE, args.threads, {**asked, "rows": max(args.rows), "steps": 0}).end
    runs = []
    for precision, lengths, group, rows in product(args.precision, args.lengths, args.group, args.rows):
        if lengths == "uneven" and group > 1:
            continue  # a row's length is written in its own prompt
        case = f"{rows} rows, {lengths}, {precision}" + (f", {group} of each prompt" if group > 1 else "")
        print(case)
        runs += one(args, plan, case, rows=rows, lengths=lengths, group=group, precision=precision)
    concluded("sample", args, runs)


def arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--lengths", nargs="+", default=["fixed", "uneven"], choices=["fixed", "uneven"])
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"], choices=["bfloat16", "float32"])
    parser.add_argument("--group", type=int, nargs="+", default=[1], help="completions of each prompt")
    parser.add_argument("--prompt", type=int, default=96, help="tokens of a prompt (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of a completion of fixed length (%(default)s)")
    parser.add_argument("--longest", type=int, default=128, help="of uneven lengths (%(default)s)")
    return parsed(parser)


def uneven(rows: int, longest: int, seed: int) -> list[int]:
    """Lengths from 1 to `longest`, one of each end, whose mean is 40% of the longest: u^1.5 for even steps of u in
    [0, 1] has the mean 1/2.5. Their order is the seed's."""
    lengths = [max(1, round(longest * (k / (rows - 1)) ** 1.5)) for k in range(rows)]
    return Random(seed).sample(lengths, rows)


def one(
    args: argparse.Namespace, plan: dict[str, Any], case: str, *, rows: int, lengths: str, group: int, precision: str
) -> list[dict[str, Any]]:
    prompts = plan["prompts"][: rows // group]
    longest = args.longest if lengths == "uneven" else args.tokens
    wanted = uneven(rows, longest, args.seed) if lengths == "uneven" else [longest] * rows
    if lengths == "uneven":
        prompts = [[*p[:-1], plan["stop"] + n] for p, n in zip(prompts, wanted, strict=True)]
    asked = {
        "model": plan["models"][lengths], "prompts": prompts, "group": group, "longest": longest, "seed": args.seed,
        "precision": precision, "device": args.device, "steps": args.steps + 1, "threads": args.threads,
    }  # fmt: skip
    sides = [Side("scalpel", OURS, asked, ours=True, case=case), Side("generate", GENERATE, asked, case=case)]
    pair = in_turns(sides, args.steps + 1, args.threads)
    groups: list[Group] = [(args.prompt, wanted[k : k + group]) for k in range(0, rows, group)]
    return [run_of(account(ran, wanted, groups, Shape(**plan["shape"])), True, lengths=wanted) for ran in pair]


def account(ran: Ran, wanted: list[int], groups: list[Group], shape: Shape) -> Ran:
    """Tokens and necessary operations of each step. Raises ValueError where lengths aren't those that were forced."""
    for step in ran.steps:
        if step.pop("lengths") != wanted:
            raise ValueError(f"{ran.side.name} drew completions of other lengths than {wanted}, so times don't compare")
        step |= {"tokens": sum(wanted), "flops": forward(shape, groups)}
    ran.side.options["prompts"].clear()  # type: ignore[index]  # they would fill the result
    return ran


if __name__ == "__main__":
    run(main)
