"""Text that the base wrote by itself."""

from collections.abc import Mapping
from random import Random
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch, Row, lay
from scalpel.binding.bounds import Count, Temperature, Tokens
from scalpel.part import Rows, part
from scalpel.sources.context import SourceContext

Begin = Literal["auto", "document", "chat"]


def nowhere(*, documents: int, max_tokens: int, focus: float, **hyper: Any) -> dict[str, Tensor]:
    if min(documents, max_tokens) < 1 or not 0 <= focus <= 1:
        raise ValueError(
            f"source 'self-written' has documents {documents}, max_tokens {max_tokens}, focus {focus}: give 1 or more "
            "documents and tokens, and a focus in 0 … 1"
        )
    return {"moved": torch.zeros(documents)}


def told(
    state: Mapping[str, Tensor], seen: Mapping[str, float], batch: Batch, *, rows: Rows, **hyper: Any
) -> dict[str, Tensor]:
    """How far the model has moved on each text, when it last saw it; 0 where it hasn't yet."""
    moved = state["moved"].clone()
    for columns, came in rows:
        moved[columns["text"]] = max(came, 0.0)
    return {"moved": moved}


@part("source", "self-written", state=nowhere, follow=told)
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
    """As many texts as the step has prompts, drawn from `documents` that the base wrote before it learnt anything.

        p(text) = (1 − focus) / documents + focus · m(text) / Σ m,   m what its tokens came to when it was last drawn

    Nothing is needed from the data: a document goes on from where documents start, a conversation (half of them,
    where there is a chat template) from where a user would speak, and the base writes the question too. With an
    anchor on it, or the `distillation` objective, the model stays what it was on its own text; m is then how far it
    has moved there, so what is being lost comes back more often than the base happens to speak of it.

    Reads    nothing of the examples but their number.
    Limits   temperature 0 writes one text again and again; focus 0 draws evenly.
    Fails    what the base seldom says unasked is held little: take more documents, or replay the data itself. Focus
             near 1 sees only what it has seen. The writing costs `documents` · `max_tokens` sampled tokens before the
             first step.
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
    return lay(
        [
            Row(r.ids, r.train, [POLICY] * len(r.ids), r.turn, group, columns={"text": k})
            for group, (k, r) in enumerate(fitted)
            if r is not None
        ]
    )
