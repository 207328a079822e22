"""Text that the base wrote by itself."""

from random import Random
from typing import Literal

from scalpel.batch import POLICY, Batch, Row, lay
from scalpel.draw import Draw
from scalpel.part import part

Begin = Literal["auto", "document", "chat"]


@part("source", "self-written")
def self_written(
    draw: Draw, *, documents: int = 1024, max_tokens: int = 128, temperature: float = 1.0, begin: Begin = "auto"
) -> Batch:
    """As many texts as the step has prompts, drawn from `documents` that the base wrote before it learnt anything.

    Nothing is needed from the data: a document goes on from where documents start, a conversation (half of them,
    where there is a chat template) from where a user would speak, and the base writes the question too. With an
    anchor on it, or the `distillation` objective, the model stays what it was on its own text.

    Reads    nothing of the examples but their number.
    Limits   temperature 0 writes one text again and again.
    Fails    what the base seldom says unasked is held little: take more documents, or replay the data itself. The
             writing costs `documents` · `max_tokens` sampled tokens before the first step.
    Source   Robins 1995 (Connection Science 7, 123-146), pseudorehearsal; conversations as in Xu et al. 2024
             (arXiv 2406.08464).
    """
    pool = draw.written(documents, max_tokens, temperature, begin)
    rng = Random(draw.seed)
    rows = [draw.fit(pool[rng.randrange(len(pool))]) for _ in draw.examples]
    return lay(
        [Row(r.ids, r.train, [POLICY] * len(r.ids), r.turn, group) for group, r in enumerate(rows) if r is not None]
    )
