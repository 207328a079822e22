"""Necessary operations: what any exact implementation must compute, nothing else.

Not counted: padding, recomputation, a prompt more than once in a group, and the head where no token is trained or
drawn. Per token and forward pass: 2 operations for each parameter in the layers' matrices, 2 for each in the head
where it is needed, and 4·layers·D for every earlier token that is looked at (queries · keys, and weights · values).
The backward pass costs twice the forward pass, once where nothing but small adapters moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Group = tuple[int, Sequence[int]]  # tokens of a prompt, and of each completion that follows it


@dataclass(frozen=True)
class Shape:
    """What of a model decides its cost."""

    layer_parameters: int  # in the matrices of all layers
    head_parameters: int
    layers: int
    attended: int  # heads · head size: the width of queries


def shape_of(config: Any) -> Shape:
    """From a transformers config of the Llama kind, with its usual fields."""
    D, layers = config.hidden_size, config.num_hidden_layers
    head_size = getattr(config, "head_dim", None) or D // config.num_attention_heads
    q, kv = config.num_attention_heads * head_size, config.num_key_value_heads * head_size
    each = 2 * D * q + 2 * D * kv + 3 * D * config.intermediate_size
    return Shape(layers * each, D * config.vocab_size, layers, q)


def forward(shape: Shape, groups: Iterable[Group], heads: bool = True) -> float:
    """One forward pass; the head for completions only, since no token of a prompt is trained."""
    total = 0.0
    for prompt, completions in groups:
        tokens = prompt + sum(completions)
        seen = pairs(0, prompt) + sum(pairs(prompt, c) for c in completions)
        total += 2.0 * shape.layer_parameters * tokens + 4.0 * shape.layers * shape.attended * seen
        total += 2.0 * shape.head_parameters * sum(completions) * heads
    return total


def pairs(before: int, n: int) -> float:
    """(Token, token looked at) pairs of n tokens behind `before` others: Σ_{i=1..n} (before + i)."""
    return n * before + n * (n + 1) / 2


def trained(shape: Shape, groups: Sequence[Group], frozen: bool = False) -> float:
    """Forward and backward pass; `frozen` is for adapters, which need no gradient of the weights beneath."""
    return forward(shape, groups) * (2.0 if frozen else 3.0)
