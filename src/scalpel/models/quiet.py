"""Log levels and progress bars of libraries while models are opened."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as hf_logging


@contextmanager
def log_level(logger: str, level: int) -> Iterator[None]:
    """Within it, the logger of that name reports from this level on."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(level)
    try:
        yield
    finally:
        found.setLevel(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which would tear our own, and without the hub's tale of its retries:
    if all of them fail, the error says so."""
    were_on = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with log_level("huggingface_hub", logging.ERROR):
            yield
    finally:
        if were_on:
            hf_logging.enable_progress_bar()
