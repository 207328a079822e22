"""Text that the base model samples from an empty prompt (pseudo-rehearsal)."""

from collections.abc import Mapping
from random import Random
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch, Row, pack
from scalpel.binding.bounds import Count, Temperature, Tokens
from scalpel.part import Rows, part
from scalpel.sources.context import SourceContext

Begin = Literal["auto", "document", "chat"]


def initial_state(*, documents: int, max_tokens: int, focus: float, **hyper: Any) -> dict[str, Tensor]:
    if min(documents, max_tokens) < 1 or not 0 <= focus <= 1:
        raise ValueError(
            f"source 'self-written' has documents {documents}, max_tokens {max_tokens}, focus {focus}: give 1 or more "
            "documents and tokens, and a focus in 0 … 1"
        )
    return {"moved": torch.zeros(documents)}


def updated_state(
    state: Mapping[str, Tensor], seen: Mapping[str, float], batch: Batch, *, rows: Rows, **hyper: Any
) -> dict[str, Tensor]:
    """The divergence on each text when it was last trained on; 0 for texts not yet drawn."""
    moved = state["moved"].clone()
    for columns, divergence in rows:
        moved[columns["text"]] = max(divergence, 0.0)
    return {"moved": moved}


@part("source", "self-written", state=initial_state, follow=updated_state)
def self_written(
    context: SourceContext,
    *,
    state: Mapping[str, Tensor],
    documents: Count = 1024,
    max_tokens: Tokens = 128,
    temperature: Temperature = 1.0,
    begin: Begin = "auto",
    focus: float = 0.0,
) -> Batch:
    """Draws as many texts as the step has prompts from `documents` that the base model sampled before training.

        p(text) = (1 − focus) / documents + focus · m(text) / Σ m,   m the sum over its tokens when it was last drawn

    It needs no data: a document is sampled after the beginning token, a conversation (half of the texts, if there is a
    chat template) after the header of a user turn, so that the base samples the question too. With an anchor on it, or
    the `distillation` objective, the policy is held near the base on the base's own text. m is then the divergence
    there, so texts on which the policy has drifted are drawn more often (prioritised replay).

    Reads    nothing of the examples but their number.
    Limits   temperature 0 samples one text repeatedly; focus 0 draws uniformly.
    Fails    abilities that the base rarely shows unprompted are hardly protected: set more documents, or replay the
             data itself. Focus near 1 draws only texts that were drawn before. Sampling costs `documents` ·
             `max_tokens` tokens before the first step.
    Source   Robins 1995 (Connection Science 7, 123-146), pseudorehearsal; conversations as in Xu et al. 2024
             (arXiv 2406.08464); drawing by the last loss as in Schaul et al. 2016 (arXiv 1511.05952), section 3.3.
    """
    pool = context.written(documents, max_tokens, temperature, begin)
    rng, n = Random(context.seed), len(context.examples)
    chosen = [rng.randrange(len(pool)) for _ in range(n)]
    moved = state["moved"][: len(pool)].tolist()
    if any(moved):
        focused = round(focus * n)
        chosen[:focused] = rng.choices(range(len(pool)), moved, k=focused)
    fitted = [(k, context.fit(pool[k])) for k in chosen]
    return pack(
        [
            Row(r.ids, r.train, [POLICY] * len(r.ids), r.turn, group, columns={"text": k})
            for group, (k, r) in enumerate(fitted)
            if r is not None
        ]
    )
