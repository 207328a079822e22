"""The state of PyTorch that a run computes with, put back after users' code has been called: a reward that switches
gradients off or changes the default type would else change what is learnt, and nothing would say so."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_inside = 0  # calls that go on, in several threads at once where rewards are asked early
_before: dict[str, Any] = {}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Afterwards gradients, default type and number of threads are as they were before."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    gradients = torch.is_grad_enabled()  # each thread has its own
    begin(torch)
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        end(torch)


def begin(torch: Any) -> None:
    global _inside
    with _lock:
        if not _inside:
            _before.update(dtype=torch.get_default_dtype(), threads=torch.get_num_threads())
        _inside += 1


def end(torch: Any) -> None:
    """The last call that ends puts back what the first one found."""
    global _inside
    with _lock:
        _inside -= 1
        if _inside:
            return
        if torch.get_default_dtype() != _before["dtype"]:
            torch.set_default_dtype(_before["dtype"])
        if torch.get_num_threads() != _before["threads"]:
            torch.set_num_threads(_before["threads"])
