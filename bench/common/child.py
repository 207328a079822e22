"""The process of a side: python -m bench.common.child module:function, its options as the first line of input."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

from bench.common.machine import peak_bytes


class Turn:
    """Called once before the first step and once after each: reports, then waits until this side may go on."""

    def __init__(self, steps: int, say: TextIO, device: str) -> None:
        self.left, self.say, self.device = steps, say, device
        self.started: tuple[float, float] | None = None

    def __call__(self, **seen: Any) -> None:
        if self.started is not None:
            wait_for(self.device)
            wall, cpu = self.started
            seen = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **seen}
        print(json.dumps(seen), file=self.say, flush=True)
        if self.left == 0:
            return
        if sys.stdin.readline().strip() != "go":
            raise SystemExit("the bench is gone")
        self.left -= 1
        wait_for(self.device)
        self.started = time.perf_counter(), time.process_time()


def wait_for(device: str) -> None:
    """Lets a GPU finish what it was given, so that time is counted where it is spent."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def main() -> None:
    call, options = sys.argv[1], json.loads(sys.stdin.readline())
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between our lines
    module, _, name = call.partition(":")
    device = options.get("device", "cpu")
    end = getattr(importlib.import_module(module), name)(Turn(options["steps"], say, device), **options)
    print(json.dumps({**(end or {}), "peak_bytes": peak_bytes(device)}), file=say, flush=True)


if __name__ == "__main__":
    main()
