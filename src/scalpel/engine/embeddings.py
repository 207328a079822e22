"""Embeddings of texts: the mean of a model's last hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scalpel.engine.engine import Engine
from scalpel.engine.outputs import completions
from scalpel.engine.policy import Packed


@torch.no_grad()
def embed(engine: Engine, rows: Sequence[Sequence[int]]) -> Tensor:
    """One vector of unit length for each text of ids, [S, D], on the CPU in float32."""
    if not rows:
        return torch.zeros(0, engine.model.config.get_text_config().hidden_size)
    # a hidden state is asked for by the token after it, so each text gets one more at its end
    batch = completions([(ids[:1], [*ids[1:], engine.tokens.end_id]) for ids in rows])
    found_S: list[Tensor | None] = [None] * len(rows)
    pieces = engine.micro(batch, "sequence")
    with engine.without_dropout(), engine.autocast():
        for index_s in pieces:
            piece = batch.pick(index_s).to(engine.device)
            at_n, layout = piece.train_N.nonzero()[:, 0], engine.layout(piece)
            h_nD = engine.policy.hidden_states(Packed(piece, at_n, layout, engine.tokens.pad_id)).float()
            engine.meter.forward(engine.model, layout.spans)
            sum_sD = h_nD.new_zeros(len(index_s), h_nD.shape[1]).index_add(0, piece.seq_N[at_n], h_nD)
            for s, x_D in zip(index_s.tolist(), torch.nn.functional.normalize(sum_sD, dim=1).cpu(), strict=True):
                found_S[s] = x_D
    return torch.stack([x for x in found_S if x is not None])
