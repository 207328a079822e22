"""Experiment trackers that get the records of metrics.jsonl as well. A tracker that fails is dropped, and the run
continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("scalpel")
Tracker = Callable[[Mapping[str, Any]], None]


def tracker(name: str, folder: Path, first: int = 1) -> Tracker:
    """A function that is called with each record. Records from step `first` on that an interrupted run wrote are
    hidden, since the resumed run writes them again."""
    return {"": lambda folder, first: lambda record: None, "tensorboard": tensorboard}[name](folder, first)


def unfailing(write: Tracker, name: str) -> Tracker:
    """The tracker, wrapped so that its first failure is logged and ends the tracking."""
    failed: list[Exception] = []

    def attempt(record: Mapping[str, Any]) -> None:
        if failed:
            return
        try:
            write(record)
        except Exception as error:
            failed.append(error)
            words = "%s failed at step %s and gets no more records (%s: %s); metrics.jsonl has them all"
            log.warning(words, name, record.get("step"), type(error).__name__, error)

    return attempt


def tensorboard(folder: Path, first: int) -> Tracker:
    """Scalars under <run>/tensorboard, by kind of record: `train/loss`, `probe/facts/kept`, …"""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            'track = "tensorboard" needs TensorBoard, which is not installed: pip install "scalpel-lm[track]", or '
            "leave `track` out; metrics.jsonl holds the same numbers"
        ) from None
    writers: list[SummaryWriter] = []  # opened with the first record, so that a folder it can't have stops nothing

    def write(record: Mapping[str, Any]) -> None:
        if not writers:
            writers.append(SummaryWriter(str(folder / "tensorboard"), purge_step=first))
        writer, kind = writers[0], str(record["kind"])
        for key, value in record.items():
            if isinstance(value, int | float) and key not in ("kind", "step"):
                tag = key if key.startswith(f"{kind}/") else f"{kind}/{key}"
                writer.add_scalar(tag, value, record["step"])
        writer.flush()

    return unfailing(write, "tensorboard")
