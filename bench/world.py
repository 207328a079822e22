"""Steps a second of the demo's arms (recipes/first.toml) on the miniature world, each arm's own step.

Threads are as in the demo: one a run, since runs go side by side. Takes about a minute on two cores.
"""

from __future__ import annotations

from bench.common.numbers import middle
from bench.common.options import concluded, options, parsed, run
from bench.common.result import run_of
from bench.common.turns import ROOT, Side, in_turns

CALL = "bench.sides.arms:arm"


def main() -> None:
    parser = options(__doc__, model="world-1m", steps=20)
    parser.add_argument("--recipe", default=str(ROOT / "recipes" / "first.toml"))
    parser.set_defaults(threads=1)
    args = parsed(parser)
    runs, notes = [], []
    for k, name in enumerate(arms(args.recipe)):
        asked = {
            "recipe": args.recipe, "index": k, "model": args.model, "steps": args.steps + 1, "device": args.device,
            "threads": args.threads, "seed": args.seed,
        }  # fmt: skip
        ran = in_turns([Side("scalpel", CALL, asked, ours=True, case=name)], args.steps + 1, args.threads)[0]
        runs.append(run_of(ran))
        pace = 1 / middle([step["seconds"] for step in ran.steps[1:]]).median
        notes.append(f"{name}: {pace:.2f} steps a second")
    concluded("world", args, runs, notes=notes)


def arms(recipe: str) -> list[str]:
    import tomllib

    with open(recipe, "rb") as file:
        return [arm["name"] for arm in tomllib.load(file)["compare"]["arms"]]


if __name__ == "__main__":
    run(main)
