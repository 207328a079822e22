"""Worked examples: outputs and a batch made from a few numbers, for the `limits` of a part, and their check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import DEMONSTRATION, NEITHER, Batch, Row, pack
from scalpel.part import Bound, HeadTerm, Out, Part, bind

Nested = Sequence[Sequence[float]]  # a number for each trained token of each sequence


def case(
    logp: Nested,
    *,
    entropy: Nested | None = None,
    value: Nested | None = None,
    terms: Mapping[HeadTerm, Nested] | None = None,
    author: Sequence[Sequence[int]] | None = None,
    group: Sequence[int] | None = None,
    episode: Sequence[int] | None = None,
    label: Sequence[int] | None = None,
    reward: Sequence[float] | None = None,
    turn: Sequence[Sequence[int]] | None = None,
    inside: Nested | None = None,
    **per_token: Nested,
) -> tuple[Out, Batch]:
    """Sequences of which each begins with one untrained token; its trained ones have these numbers.

    `per_token` fills fields of the batch: credit, old, old_value, reference, behaviour; credit is 1 unless
    given; `inside` are rewards within a sequence.
    """
    rows = [
        Row(
            ids=range(len(sequence) + 1),
            train=[False] + [True] * len(sequence),
            author=[DEMONSTRATION, *(author[s] if author else [DEMONSTRATION] * len(sequence))],
            group=group[s] if group else s,
            continues=bool(episode and s and episode[s] == episode[s - 1]),
            label=label[s] if label else NEITHER,
            turn=[0, *turn[s]] if turn else None,
            rewards=[reward[s]] if reward else None,
            inside=[0.0, *inside[s]] if inside else None,
        )
        for s, sequence in enumerate(logp)
    ]
    filled: dict[str, Any] = {"credit_N": flat([[1.0] * len(sequence) for sequence in logp])}
    filled |= {f"{name}_N": flat(numbers) for name, numbers in per_token.items()}
    out = Out(
        flat(logp),
        entropy_N=None if entropy is None else flat(entropy),
        value_NK=None if value is None else flat(value)[:, None],
        terms={term: flat(numbers) for term, numbers in (terms or {}).items()},
    )
    batch = pack(rows)
    return out, Batch(**{**vars(batch), **filled})


def flat(numbers: Nested) -> Tensor:
    """One number per token, 0 for the untrained first ones; float64, so that worked arithmetic is exact."""
    return torch.tensor([x for sequence in numbers for x in (0.0, *sequence)], dtype=torch.float64)


def check_limits(part: Part) -> int:
    """Checks each value that the part's `limits` state, and returns how many there are. AssertionError where the part
    gives another value."""
    rows = list(part.limits()) if part.limits else []
    for first, second, hyper, expected in rows:
        found = value_of(bind(part.axis, part, **hyper), first, second).double()
        wanted = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    return len(rows)


def value_of(bound: Bound, first: Any, second: Any) -> Tensor:
    """What a part gives for a worked example: the credits of the trained tokens, a loss over its count, a penalty."""
    if bound.part.over == "parameters":
        return bound(first, second)[0]  # type: ignore[no-any-return]
    handed = {"stat": bound.part.statistic(first, second, **bound.hyper)} if bound.part.statistic else {}
    if bound.part.axis == "credit":
        return bound(first, second, **handed)[second.train_N]  # type: ignore[no-any-return]
    return bound(first, second, **handed)[0] / bound.count(second, 0.0)  # type: ignore[no-any-return]
