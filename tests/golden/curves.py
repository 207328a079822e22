"""Golden loss curves: ten steps of a method on a tiny model. Run as a script it writes them anew.

python tests/golden/curves.py sft > tests/golden/sft.txt
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from running import prepare, tables
from scalpel.training.loop import train

# a large eps: else Adam turns the rounding of gradients near zero, which differs between processors, into full steps
COMMON = {"steps": 10, "anchors": ["kl"], "eps": 1e-3}
STAGES = {
    "sft": {"method": "sft", **COMMON},
    "grpo": {"method": "grpo", "signals": {"0": {"updates_per_batch": 2}}, **COMMON},
}
SHOWN = ("loss", "gradient_norm", "kl")


def curve(at: Path, name: str) -> list[list[float]]:
    """Loss, gradient norm and divergence of each step."""
    lines: list[list[float]] = []
    train(tables(at, STAGES[name]), tell=lambda record: lines.append([record[key] for key in SHOWN]))
    return lines


def written(name: str, lines: list[list[float]]) -> str:
    head = f"# python tests/golden/curves.py {name} > tests/golden/{name}.txt\n# {' '.join(SHOWN)}\n"
    return head + "".join(" ".join(f"{x:.9e}" for x in line) + "\n" for line in lines)


def read(text: str) -> list[list[float]]:
    return [[float(x) for x in line.split()] for line in text.splitlines() if not line.startswith("#")]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        sys.stdout.write(written(sys.argv[1], curve(prepare(Path(folder)), sys.argv[1])))
