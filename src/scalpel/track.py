"""Trackers: where the record goes beside metrics.jsonl, for those who watch runs there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Tracker = Callable[[Mapping[str, Any]], None]


def tracker(name: str, folder: Path, first: int = 1) -> Tracker:
    """What is called with each record. Records of step `first` and later that an earlier, interrupted run wrote are
    hidden, since they come again."""
    return {"": lambda folder, first: lambda record: None, "tensorboard": tensorboard}[name](folder, first)


def tensorboard(folder: Path, first: int) -> Tracker:
    """Scalars under <run>/tensorboard, by kind of record: `train/loss`, `probe/facts/kept`, …"""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            'track = "tensorboard" needs TensorBoard, which is not installed: pip install "scalpel-lm[track]", or '
            "leave `track` out; metrics.jsonl holds the same numbers"
        ) from None
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first)

    def write(record: Mapping[str, Any]) -> None:
        kind = str(record["kind"])
        for key, value in record.items():
            if isinstance(value, int | float) and key not in ("kind", "step"):
                tag = key if key.startswith(f"{kind}/") else f"{kind}/{key}"
                writer.add_scalar(tag, value, record["step"])
        writer.flush()

    return write
