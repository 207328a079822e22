"""Restores PyTorch's global state after a call of users' code: a reward function that switched gradients off or changed
the default dtype would otherwise change the training without any message."""

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
    """Restores the gradient mode, the default dtype and the number of threads at the end of the context."""
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
    """Every call that ends restores the state that the first one found. Not only the last one: a call that ran past
    its time limit may never end."""
    global _inside
    with _lock:
        _inside -= 1
        if torch.get_default_dtype() != _before["dtype"]:
            torch.set_default_dtype(_before["dtype"])
        if torch.get_num_threads() != _before["threads"]:
            torch.set_num_threads(_before["threads"])
