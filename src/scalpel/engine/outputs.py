"""From the numbers of asked tokens to an `Out` over a whole batch, and from rows of ids to a batch and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch, Row, pack
from scalpel.part import HeadTerm, Need, Out

Rows = Sequence[tuple[Sequence[int], Sequence[int]]]  # (prompt ids, completion ids)


def terms_of(needs: Iterable[Need]) -> list[HeadTerm]:
    return [need for need in needs if isinstance(need, HeadTerm)]


def spread(numbers: Mapping[Need, Tensor], at_n: Tensor, N: int) -> Out:
    """The numbers of the asked tokens in their places among all N tokens; the others hold zero."""

    def full(x_n: Tensor) -> Tensor:
        return x_n.new_zeros(N, *x_n.shape[1:]).index_put((at_n,), x_n)

    terms = {need: full(x) for need, x in numbers.items() if isinstance(need, HeadTerm)}
    plain = {need: full(x) for need, x in numbers.items() if isinstance(need, str)}
    return Out(plain["logp"], plain.get("entropy"), plain.get("argmax"), plain.get("value"), terms)


def nothing(N: int, device: torch.device, needs: Iterable[Need]) -> Out:
    """The outputs of a batch in which no token is trained."""
    zero_N = torch.zeros(N, device=device)
    return Out(zero_N, zero_N, zero_N.long(), zero_N[:, None], {t: zero_N for t in terms_of(needs)})


def join(outs: Sequence[Out], batch: Batch, order_S: Tensor) -> Out:
    """The outputs of micro-batches in the order of the whole batch."""
    length_S = torch.bincount(batch.seq_N, minlength=batch.S)
    start_S = length_S.cumsum(0) - length_S
    places = [torch.arange(int(start_S[s]), int(start_S[s] + length_S[s])) for s in order_S]
    token_n = torch.cat(places) if places else torch.zeros(0, dtype=torch.long)

    def whole(parts: list[Any]) -> Any:
        if not parts or parts[0] is None:
            return None
        x = torch.cat(parts)
        return torch.empty_like(x).index_copy(0, token_n.to(x.device), x)

    terms = {term: whole([o.terms[term] for o in outs]) for term in (outs[0].terms if outs else {})}
    return Out(
        whole([o.logp_N for o in outs]),
        whole([o.entropy_N for o in outs]),
        whole([o.argmax_N for o in outs]),
        whole([o.value_NK for o in outs]),
        terms,
    )


def completions(rows: Rows) -> Batch:
    """Rows of (prompt, completion) as a batch whose completions are trained."""
    return pack(
        [
            Row(
                [*prompt, *completion],
                [False] * len(prompt) + [True] * len(completion),
                [POLICY] * (len(prompt) + len(completion)),
            )
            for prompt, completion in rows
        ]
    )


def per_row(x_N: Tensor, rows: Rows) -> list[list[float]]:
    """Cuts a number per token back into the completions of its rows."""
    values, found, at = x_N.tolist(), [], 0
    for prompt, completion in rows:
        found.append(values[at + len(prompt) : at + len(prompt) + len(completion)])
        at += len(prompt) + len(completion)
    return found
