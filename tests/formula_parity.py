"""What tests beside a formula in plain torch have in common: the same weights and tokens on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from scalpel.batch import Batch
from scalpel.config.plan import Stream, assemble
from scalpel.config.recipe import parse
from scalpel.engine import Engine
from scalpel.training.step import StepMetrics, backward, prepare


def stream_of(stage: int = 0, **train: Any) -> Stream:
    models = {role: {"path": role} for role in ("weak", "teacher")}
    recipe = parse({"model": "m", "models": models, "task": {"name": "t"}, "train": train})
    return assemble(recipe.stages[stage], recipe).streams[0]


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def agree(engine: Engine, stream: Stream, batch: Batch, pieces: int, theirs: Tensor, model: PreTrainedModel) -> None:
    """Our loss and gradients, in so many micro-batches, are those of `theirs`, a loss on the same weights."""
    mine = backward(engine, stream, prepare(engine, stream, batch, 1.0), 1.0, pieces, StepMetrics())
    theirs.backward()
    assert mine == pytest.approx(float(theirs.detach()), rel=1e-5, abs=1e-7)
    found, expected = gradients(engine.model), gradients(model)
    assert found.keys() == expected.keys() and any(float(g.abs().max()) > 1e-4 for g in found.values())
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def rows(batch: Batch) -> Iterator[tuple[list[int], list[int]]]:
    """Prompt and completion ids of each sequence."""
    for s in range(batch.S):
        ids, train = batch.ids_N[batch.seq_N == s].tolist(), batch.train_N[batch.seq_N == s].tolist()
        at = train.index(True)
        yield ids[:at], ids[at:]


def logits_of(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """The model's logits for every trained token, one sequence at a time as it is shown, and these tokens."""
    logits, targets = [], []
    for s, (prompt, completion) in enumerate(rows(batch)):
        out = model(batch.input_N[batch.seq_N == s][None]).logits[0]
        logits.append(out[len(prompt) - 1 : -1].double())
        targets += completion
    return torch.cat(logits), torch.tensor(targets)
