"""Sides take turns: each lives in a process of its own, and only one of them computes at a time.

A side is a function `side(turn, **options)`. It sets itself up, then calls `turn(…)` once before its first step and
once after each; the call returns when the side may go on. What happens between is what is measured. Since every side
has its own process, the peak memory of one holds nothing of another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHOWN = 25  # lines of a failed side's log


@dataclass(frozen=True)
class Side:
    """Who runs what: `call` is "module:function", `options` are its keywords. `peer` None is the project itself."""

    name: str
    call: str
    options: Mapping[str, Any]
    setting: str = ""
    ours: bool = False
    case: str = ""


@dataclass
class Ran:
    """What a side did: each step's seconds, processor time and whatever it reported; its peak memory in bytes."""

    side: Side
    steps: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)


class Child:
    """A side's process. `step()` lets it take one step and returns what it reports; `finish()` waits for its end."""

    def __init__(self, side: Side, threads: int) -> None:
        self.side = side
        log, self.log = tempfile.mkstemp(prefix="bench-", suffix=".log")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.common.child", side.call],
            cwd=ROOT, env=surroundings(threads), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        os.close(log)
        self.tell(json.dumps(dict(side.options)))

    def setup(self) -> Child:
        """Waits until the side has set itself up."""
        self.ready = self.heard()
        return self

    def tell(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{label(self.side)} {self.died()}")
        return json.loads(line)

    def died(self) -> str:
        code = self.process.wait()
        lines = Path(self.log).read_text(errors="replace").splitlines()
        return f"ended with {code}; the last lines of {self.log}:\n" + "\n".join(lines[-SHOWN:])

    def step(self) -> dict[str, Any]:
        self.tell("go")
        return self.heard()

    def finish(self) -> dict[str, Any]:
        end = self.heard()
        if self.process.wait():
            raise RuntimeError(f"{label(self.side)} {self.died()}")
        Path(self.log).unlink()
        return end


def surroundings(threads: int) -> dict[str, str]:
    """The environment of every side: the same threads, no tokenizer threads beside them, no telemetry."""
    around = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **around, **quiet, "PYTHONPATH": path}


@contextmanager
def opened(side: Side, threads: int) -> Iterator[Child]:
    """A side that is ready to take steps, and is gone afterwards whatever happens."""
    child = Child(side, threads)
    try:
        yield child.setup()
    finally:
        if child.process.poll() is None:
            child.process.kill()
        with child.process:  # closes its pipes and waits
            pass


def in_turns(sides: Sequence[Side], steps: int, threads: int, say: Any = None) -> list[Ran]:
    """All sides are set up, then each takes a step in turn until all have taken `steps`; the first is the warm-up."""
    say = say or aloud
    with ExitStack() as stack:
        children = [stack.enter_context(opened(side, threads)) for side in sides]
        ran = [Ran(side) for side in sides]
        for k in range(steps):
            for child, record in zip(children, ran, strict=True):
                record.steps.append(child.step())
                say(f"  {label(child.side):<34} {'warm-up' if not k else f'step {k}':<8} {spoken(record.steps[-1])}")
        for child, record in zip(children, ran, strict=True):
            record.end = child.ready | child.finish()
    return ran


def aloud(words: str) -> None:
    print(words, flush=True)


def label(side: Side) -> str:
    return " ".join(part for part in (side.case, side.name, side.setting) if part)


def spoken(step: Mapping[str, Any]) -> str:
    loss = f"  loss {step['loss']:.4f}" if step.get("loss") is not None else ""
    return f"{step['seconds']:8.2f} s  {step['cpu']:8.2f} s of processor{loss}"
