"""The preview before step 1: how many tokens are trained, and two examples with the trained tokens marked. A run that
would train on nothing, or on the prompt, is refused.

All functions are pure: they return text for the terminal, or raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

from scalpel.batch import ENVIRONMENT, TEMPLATE, Batch
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens


def preview(tokens: Tokens, rows: Sequence[Tokenized], shown: int = 2, most: int = 1200) -> str:
    """The number of trained tokens, and the first `shown` examples with the trained tokens marked, at most `most`
    tokens of each. The rows of a batch are those of `rows_of`."""
    refuse(tokens, rows)
    trained, total = sum(row.trained for row in rows), sum(len(row) for row in rows)
    lines = [
        f"{trained:,} of {total:,} tokens are trained ({trained / total:.0%}), in {len(rows):,} sequences of "
        f"{total / len(rows):.0f} tokens on average, the longest {max(map(len, rows)):,}"
    ]
    for i, row in enumerate(rows[:shown], 1):
        lines += [f"example {i} (trained: ⟦…⟧):", clipped(tokens, row, most)]
    return "\n".join(lines)


def rows_of(tokens: Tokens, batch: Batch) -> list[Tokenized]:
    """The sequences of a batch. Raises ValueError if tokens of the environment or of the chat template are trained."""
    context_N = (batch.author_N == ENVIRONMENT) | (batch.author_N == TEMPLATE)
    wrong_N = batch.train_N & context_N
    rows = []
    for s in range(batch.S):
        own_N = batch.seq_N == s
        row = Tokenized(batch.ids_N[own_N].tolist(), batch.train_N[own_N].tolist(), batch.turn_N[own_N].tolist())
        if wrong := int((wrong_N & own_N).sum()):
            raise ValueError(
                f"{wrong} tokens of the prompt of sequence {s} would be trained:\n{tokens.marked(row)}\n"
                "only what the model says may be: the source must mark prompts as untrained"
            )
        rows.append(row)
    return rows


def refuse(tokens: Tokens, rows: Sequence[Tokenized]) -> None:
    """Raises ValueError if there is no sequence, or one without a trained token."""
    if not rows:
        raise ValueError("there is no sequence to train on")
    if silent := [i for i, row in enumerate(rows) if not row.trained]:
        raise ValueError(
            f"{len(silent)} of {len(rows)} sequences have no trained token, first:\n{tokens.marked(rows[silent[0]])}\n"
            "give each a completion or an assistant turn"
        )


def clipped(tokens: Tokens, row: Tokenized, most: int) -> str:
    """The marked text; of a long one the middle is left out, since the end shows where the answer stops."""
    if len(row) <= most:
        return tokens.marked(row)
    half = most // 2
    parts = [slice(half), slice(-half, None)]
    head, tail = (tokens.marked(Tokenized(row.ids[p], row.train[p], row.turn[p])) for p in parts)
    return f"{head}\n… {len(row) - 2 * half:,} tokens …\n{tail}"
