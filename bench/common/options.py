"""The options that all benches share, and where data is looked for."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.common.machine import ROOT, cores, described, product, rate
from bench.common.result import RESULTS, file_of, result, save
from bench.common.table import memory, plain
from bench.common.turns import Ran, Side, in_turns

SMOLLM2 = "smollm2-135m-instruct"
DATA = ROOT.parent / "shared" / "data"
PRODUCT = f"{product.__module__}:{product.__name__}"


def options(doc: str | None, model: str = SMOLLM2, steps: int = 5) -> argparse.ArgumentParser:
    about = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=f"bench {Path(sys.argv[0]).stem}", description=doc, formatter_class=about)
    made.add_argument("--model", default=model, help="a model folder or name (%(default)s)")
    made.add_argument("--data", type=Path, default=DATA, help="the folder that holds gsm8k, hh-rlhf and blimp")
    made.add_argument("--steps", type=int, default=steps, help="measured steps of each side (%(default)s)")
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    made.add_argument("--threads", type=int, default=cores(), help="of every side (%(default)s)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, default=RESULTS, help="where the result goes (bench/results)")
    return made


def parsed(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
    args = parser.parse_args(arguments)
    if args.steps < 1:
        parser.error("--steps must be 1 or more: a result needs a measured step")
    args.place = described(args.threads)
    args.scratch = tempfile.TemporaryDirectory(prefix="bench-")
    return args


def data_file(data: Path, *names: str) -> Path:
    """The first of these files in the data folder. Raises ValueError that says where it was looked for."""
    for name in names:
        if (data / name).is_file():
            return data / name
    raise ValueError(
        f"no data: looked for {' or '.join(names)} in {data}. Give the folder that holds it with --data; the files "
        "are those of openai/grade-school-math (gsm8k), anthropics/hh-rlhf (hh-rlhf) and alexwarstadt/blimp (blimp)"
    )


def alone(call: str, threads: int, chosen: dict[str, Any]) -> Ran:
    """A side that nobody is compared with."""
    return in_turns([Side(call.partition(":")[2], call, chosen)], chosen["steps"], threads, say=lambda words: None)[0]


def peaks(args: argparse.Namespace, size: int = 2048) -> tuple[dict[str, float], str]:
    """The machine's matrix-product peak by precision, in operations a second, and the device's name."""
    found, name = {}, ""
    for dtype in ("bfloat16", "float32"):
        ran = alone(PRODUCT, args.threads, {"device": args.device, "dtype": dtype, "size": size, "steps": 6})
        found[dtype] = rate([step["seconds"] for step in ran.steps[1:]], size)
        name = ran.end["device"]
    return found, name


def concluded(bench: str, args: argparse.Namespace, runs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Measures the machine, writes the result, and shows it."""
    peak, name = peaks(args)
    command = [f"scripts/bench {bench}", *sys.argv[1:]]
    told = {k: v for k, v in vars(args).items() if k not in ("scratch", "out", "place")}
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in told.items()}
    found = result(bench, command, {**args.place, "device": name}, settings, runs, peak=peak, **more)
    path = file_of(bench, name, args.out)
    save(found, path)
    print(f"\n{bench} on {name}, {args.threads} threads; peak " + shown(peak))
    print("\n".join([plain(found), *memory(found), *found.get("notes", [])]))
    print(f"written to {path}")
    return found


def shown(peak: dict[str, float]) -> str:
    return ", ".join(f"{value / 1e9:.0f} GFLOP/s in {dtype}" for dtype, value in peak.items())


def run(main: Any) -> None:
    """Runs a bench; a user's error is said in words."""
    try:
        main()
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f"bench: {error}") from error
