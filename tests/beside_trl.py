"""What tests beside TRL's trainers have in common: both sides' loss and gradients on the same weights and tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formula_parity import rows, stream_of
from scalpel.batch import Batch
from scalpel.config.plan import Stream
from scalpel.engine import Engine
from scalpel.training.step import StepMetrics, backward, prepare

__all__ = ["QUIET", "advantages", "agree", "as_trl", "stream_of", "laid", "nothing", "ours", "rows"]
QUIET: dict[str, Any] = dict(report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True)


def ours(engine: Engine, stream: Stream, batch: Batch, pieces: int = 1) -> tuple[float, dict[str, torch.Tensor]]:
    """Our loss and gradients; in two micro-batches or more if asked, which must change nothing."""
    batch = prepare(engine, stream, batch, 0.0) if batch.reference_N is None else batch
    loss = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    return loss, {n: p.grad for n, p in engine.model.named_parameters() if p.grad is not None}


def agree(trainer: Any, theirs: torch.Tensor, mine: tuple[float, dict[str, torch.Tensor]]) -> None:
    loss, gradients = mine
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-5, abs=3e-6)  # sums of terms that cancel
    found = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys() and any(float(g.abs().max()) > 1e-4 for g in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, found[name], rtol=1e-4, atol=1e-6)


def nothing(completions: list[str], **columns: Any) -> list[float]:
    """A reward function that TRL wants to be given."""
    return [0.0] * len(completions)


def advantages(batch: Batch, size: int, scaled: bool) -> torch.Tensor:
    """Rewards against the mean of their group by TRL's formula, over its deviation if scaled."""
    reward_GK = batch.reward_S.view(-1, size)
    advantage_GK = reward_GK - reward_GK.mean(1, keepdim=True)
    if scaled:
        advantage_GK = advantage_GK / (reward_GK.std(1, keepdim=True) + 1e-4)
    return advantage_GK.reshape(-1)


def as_trl(batch: Batch, advantage_S: torch.Tensor) -> dict[str, torch.Tensor]:
    """The batch as TRL lays it: prompts padded left, completions right; the advantages as given."""
    found = list(rows(batch))
    P, T = (max(len(pair[side]) for pair in found) for side in (0, 1))
    made: dict[str, list[list[int]]] = {
        k: [] for k in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    }
    for prompt, completion in found:
        before, after = P - len(prompt), T - len(completion)
        made["prompt_ids"].append([0] * before + prompt)
        made["prompt_mask"].append([0] * before + [1] * len(prompt))
        made["completion_ids"].append(completion + [0] * after)
        made["completion_mask"].append([1] * len(completion) + [0] * after)
    inputs = {k: torch.tensor(v) for k, v in made.items()} | {"advantages": advantage_S}

    assert batch.old_N is not None
    inputs["old_per_token_logps"] = laid(batch, batch.old_N)
    if batch.reference_N is not None:
        inputs["ref_per_token_logps"] = laid(batch, batch.reference_N)
    return inputs


def laid(batch: Batch, x_N: torch.Tensor) -> torch.Tensor:
    """The numbers of the trained tokens in right-padded rows [S, T], 0 in the padding."""
    length_S = batch.sum_S(torch.ones(batch.N)).long()
    x_ST = torch.zeros(batch.S, int(length_S.max()))
    for s, length in enumerate(length_S.tolist()):
        x_ST[s, :length] = x_N[(batch.seq_N == s) & batch.train_N]
    return x_ST
