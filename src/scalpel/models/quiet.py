"""Suppression of libraries' log messages and progress bars while models are loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as hf_logging


@contextmanager
def log_level(logger: str, level: int) -> Iterator[None]:
    """Context manager: sets the level of a logger, and restores it afterwards."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(level)
    try:
        yield
    finally:
        found.setLevel(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Turns off the progress bars of transformers, which would interfere with scalpel's own, and the hub's warnings
    about retries: if all retries fail, the error says so."""
    were_on = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with log_level("huggingface_hub", logging.ERROR):
            yield
    finally:
        if were_on:
            hf_logging.enable_progress_bar()
