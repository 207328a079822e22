"""Runs a function of a test in several processes that share a gloo process group on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def on_ranks(fn: Callable[..., Any], world: int, *args: Any) -> list[Any]:
    """What `fn(rank, *args)` returns on each rank. The processes are forked, since importing everything anew takes each
    of them longer than most tests; gloo's own threads begin only afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(run, (fn, world, folder, args), nprocs=world, start_method="fork")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]


def run(rank: int, fn: Callable[..., Any], world: int, folder: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    try:
        torch.save(fn(rank, *args), Path(folder) / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()
