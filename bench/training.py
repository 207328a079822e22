"""The training benches beside TRL: the same rows, batches, optimiser and precision on both sides.

TRL's settings of micro-batch × accumulation are tried first, each alone; the fastest then takes turns with scalpel,
step by step. The first step of both sides must agree in loss and gradient norm, and every step in trained tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bench.common.flops import Group, Shape, forward, trained
from bench.common.numbers import middle
from bench.common.options import alone, concluded, data_file, options, parsed
from bench.common.result import run_of
from bench.common.turns import Ran, Side, in_turns

PREPARE, OURS, TRL = ("bench.sides." + call for call in ("prepare:training", "ours:training", "with_trl:training"))
FILES = {"dpo": ("hh-rlhf/harmless-base-test.jsonl",)}
GSM8K = ("gsm8k/train.jsonl", "gsm8k/test.jsonl")
LOSS, NORM = {"float32": 1e-3, "bfloat16": 2e-2}, {"float32": 1e-2, "bfloat16": 8e-2}  # relative, in step 1


def bench(kind: str, doc: str | None, *, batch: int, dtype: str = "float32", group: int = 1) -> dict[str, Any]:
    args = parsed(arguments(doc, batch, dtype))
    asked = asked_of(args, kind, group)
    plan = prepared(args, kind, asked)
    sequences = args.batch * {"grpo": group, "dpo": 2}.get(kind, 1)
    given = {"model": plan["model"], "rows": f"{args.scratch.name}/rows.jsonl", "steps_planned": planned(args)}
    common = asked | given
    mine = Side("scalpel", OURS, common, "default", ours=True)
    theirs = wanted(args, [peer(common, args, *s) for s in settings(sequences // (2 if kind == "dpo" else 1))])
    tries = [tried(side, args, plan, kind) for side in theirs + [lean(mine, args.batch, group)]]
    best = min(tries[:-1], key=lambda ran: middle([s["seconds"] for s in ran.steps[1:]]).median)
    print(f"{best.side.name} is fastest at {best.side.setting}; now in turns:")
    pair = in_turns([with_steps(mine, args.steps), with_steps(best.side, args.steps)], args.steps + 1, args.threads)
    for ran in pair:
        account(ran, plan, kind)
    agree(kind, args.precision, pair)
    runs = [run_of(pair[0], True), run_of(pair[1], True)] + [run_of(t) for t in tries if t is not best]
    return concluded(kind, args, runs)


def arguments(doc: str | None, batch: int, dtype: str) -> argparse.ArgumentParser:
    parser = options(doc)
    parser.add_argument("--batch", type=int, default=batch, help="examples, pairs or prompts a step (%(default)s)")
    parser.add_argument("--trials", type=int, default=2, help="measured steps of each setting tried (%(default)s)")
    parser.add_argument("--settings", nargs="+", help="TRL's to try, such as 4x4; all unless said")
    parser.add_argument("--max-length", type=int, default=512, help="rows with more tokens are not used (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of a sampled completion (%(default)s)")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"], help="of the arithmetic")
    parser.add_argument("--dtype", default=dtype, choices=["bfloat16", "float32"], help="of the weights (%(default)s)")
    return parser


def asked_of(args: argparse.Namespace, kind: str, group: int) -> dict[str, Any]:
    names = ("batch", "device", "dtype", "precision", "seed", "threads", "tokens", "max_length")
    return {"kind": kind, "group": group} | {name: getattr(args, name) for name in names}


def prepared(args: argparse.Namespace, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
    source = data_file(args.data, *FILES.get(kind, GSM8K))
    given = {"model": args.model, "source": str(source), "folder": args.scratch.name, "steps_planned": planned(args)}
    return alone(PREPARE, args.threads, {**asked, **given, "steps": 0}).end


def planned(args: argparse.Namespace) -> int:
    """Steps for which there are rows: the longest run's, with its warm-up."""
    return 1 + max(args.steps, args.trials)


def settings(n: int) -> list[tuple[int, int, bool]]:
    """Micro-batch, accumulation and checkpointing of n sequences: whole, in 4, in 16, and the leanest of all."""
    sizes = sorted({max(1, n // k) for k in (1, 4, 16)}, reverse=True)
    return [(size, n // size, False) for size in sizes] + [(sizes[-1], n // sizes[-1], True)]


def peer(common: dict[str, Any], args: argparse.Namespace, micro: int, pieces: int, checkpointing: bool) -> Side:
    own = {"micro": micro, "pieces": pieces, "checkpointing": checkpointing, "scratch": args.scratch.name}
    setting = f"{micro}×{pieces}" + (" checkpointed" if checkpointing else "")
    return Side("TRL", TRL, {**common, **own, "met": str(Path(args.scratch.name) / "met.jsonl")}, setting)


def wanted(args: argparse.Namespace, sides: list[Side]) -> list[Side]:
    """The settings that --settings names, or all."""
    if not args.settings:
        return sides
    known = {side.setting.replace("×", "x").replace(" ", "-"): side for side in sides}
    if strange := sorted(set(args.settings) - set(known)):
        raise ValueError(f"--settings {' '.join(strange)}: for this batch there are {', '.join(known)}")
    return [known[name] for name in args.settings]


def lean(side: Side, batch: int, group: int) -> Side:
    """Ours at its smallest micro-batches, for the memory: an example, a pair or a group."""
    return replace(side, options={**side.options, "accumulation": batch}, setting=f"{group}×{batch}")


def with_steps(side: Side, measured: int) -> Side:
    return replace(side, options={**side.options, "steps": measured + 1})


def tried(side: Side, args: argparse.Namespace, plan: dict[str, Any], kind: str) -> Ran:
    ran = in_turns([with_steps(side, args.trials)], args.trials + 1, args.threads)[0]
    return account(ran, plan, kind)


def account(ran: Ran, plan: dict[str, Any], kind: str) -> Ran:
    """Writes tokens and necessary operations beside each step. Raises ValueError unless just those were trained."""
    shape = Shape(**plan["shape"])
    for k, (step, groups) in enumerate(zip(ran.steps, plan["groups"], strict=False)):
        wanted = sum(sum(completions) for _, completions in groups)
        if step["trained"] != wanted:
            raise ValueError(
                f"step {k + 1} of {ran.side.name} {ran.side.setting} trained {step['trained']} tokens instead of "
                f"{wanted}: the sides would do different work"
            )
        step["tokens"] = sum(p * shown(kind, len(c)) + sum(c) for p, c in groups)
        step["flops"] = necessary(kind, shape, groups)
    return ran


def shown(kind: str, completions: int) -> int:
    """How often a prompt counts as tokens of the step: with each row that a user gives."""
    return completions if kind == "dpo" else 1


def necessary(kind: str, shape: Shape, groups: Sequence[Group]) -> float:
    """DPO needs the reference's forward pass, too, GRPO the sampling."""
    beside = forward(shape, groups) if kind in ("dpo", "grpo") else 0.0
    return trained(shape, groups, frozen=kind == "lora") + beside


def agree(kind: str, precision: str, pair: Sequence[Ran]) -> None:
    """Raises ValueError unless both sides did the same. Samples differ, so GRPO compares the rewards' means."""
    first = [ran.steps[0] for ran in pair]
    if kind == "grpo":
        means = [[step["reward"] for step in ran.steps] for ran in pair]
        spread = max(stdev(m) for m in means) / len(means[0]) ** 0.5
        if abs(fmean(means[0]) - fmean(means[1])) > 6 * spread:
            raise ValueError(f"the mean rewards {means[0]} and {means[1]} are those of different policies")
        return
    checked = [("loss", LOSS)] + ([("gradient_norm", NORM)] if kind != "lora" else [])  # adapters start at random
    for name, limits in checked:
        mine, theirs = (step[name] for step in first)
        if abs(mine - theirs) > limits[precision] * abs(theirs):
            raise ValueError(
                f"the {name.replace('_', ' ')} of step 1 is {mine} and {theirs}: the sides do different work"
            )
