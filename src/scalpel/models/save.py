"""Saving a model so that what is on disk is what was trained."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import PreTrainedModel

from scalpel.data.tokenizer import Tokens
from scalpel.models.classifier import write_classifier
from scalpel.models.load import load
from scalpel.models.owned import Owned, verify_owned, write_owned
from scalpel.models.quiet import log_level, quiet
from scalpel.runs.files import put


def save(model: PreTrainedModel, tokens: Tokens, folder: str | Path, owned: Owned | None = None) -> Path:
    """Writes a Hugging Face model folder with the modules that parts own, reads it back, compares, and only then moves
    it into place. If one of these modules is the model's head, the folder is that of a sequence classifier."""
    beside = owned or Owned({})

    def write(at: Path) -> None:
        held = beside
        with quiet():
            if beside.scores:
                held = write_classifier(model, tokens, beside, at)
            else:
                model.save_pretrained(at)
                tokens.tokenizer.save_pretrained(at)
        write_owned(held, at)
        verify_saved(model, tokens, at)
        verify_owned(held, at)

    return put(Path(folder), write)


def verify_saved(model: PreTrainedModel, tokens: Tokens, folder: str | Path) -> None:
    """Loads the folder and raises RuntimeError unless every weight is bitwise equal and the tokenizer encodes equally.
    A wrong `tie_word_embeddings`, for example, is found only by loading."""
    with log_level("scalpel", logging.WARNING):  # the folder is loaded only to be compared
        again, read = load(Path(folder), dtype=model.dtype)
    mine, theirs = model.state_dict(), again.state_dict()
    wrong = sorted(mine.keys() ^ theirs.keys())
    wrong += [k for k in mine.keys() & theirs.keys() if not torch.equal(mine[k].cpu(), theirs[k])]
    if wrong:
        raise RuntimeError(
            f"{folder} does not hold the model that was saved: {len(wrong)} tensors differ, first {wrong[0]}"
        )
    probe = "Aa 12.\n"
    if tokens.prompt(probe) != read.prompt(probe) or tokens.stop_ids != read.stop_ids:
        raise RuntimeError(f"{folder} does not hold the tokenizer that was saved: it encodes {probe!r} differently")
