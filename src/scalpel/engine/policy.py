"""Policy: one module around the transformer, its head and the modules that parts own.

Every number that the engine computes for a batch goes through `Policy.__call__`, so this is the one place where a model
is wrapped. DDP and FSDP2 attach their collectives to module calls, and under FSDP2 a parameter is a whole tensor only
within the forward pass of the module that was sharded. That is why the head runs in here and reads its weight anew:
a caller that kept hidden states and ran the head later would find a DTensor.

The module is part of `engine`, not of `models`, because its forward pass calls the packed pass and the head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from scalpel.batch import Batch
from scalpel.engine.head import HIDDEN, Others, head, of_the_head
from scalpel.engine.head_sizes import HeadSizes
from scalpel.engine.packed_forward import hidden
from scalpel.engine.prefix_tree import PrefixTree
from scalpel.part import Need, OwnedHead

Numbers = dict[Need, Tensor]  # by name, one row for each token that is asked for


@dataclass(frozen=True)
class Packed:
    """Whole sequences end to end, and which of their tokens are asked for."""

    batch: Batch
    at_n: Tensor
    layout: PrefixTree  # what is computed, common beginnings once
    pad: int  # fills the rows of a model that can't run packed
    after: bool = False  # whether the states of the asked tokens themselves are read, too: the layout says where

    @property
    def target_n(self) -> Tensor:
        return self.batch.ids_N[self.at_n]

    @property
    def temperature_n(self) -> Tensor | None:
        """At which the tokens were sampled, for their log-probs and entropies."""
        return None if self.batch.temperature_N is None else self.batch.temperature_N[self.at_n]


@dataclass(frozen=True)
class Requests:
    """What is asked about each token. Head terms that compare two models need `others`: by role, the other model and
    its hidden states at the same tokens. `slope_n` is ∂L/∂log p where the caller knows it."""

    needs: frozenset[Need]
    others: Others = field(default_factory=dict)
    slope_n: Tensor | None = None
    sizes: HeadSizes = HeadSizes()


class Policy(nn.Module):
    """`transformer` is a causal language model with its head, adapters and quantised weights included; `owned` are the
    modules of parts, such as a value head, which read the same hidden states as the head.

    The engine's caches know a model by its transformer, which keeps its names: a wrapped policy has the parameters of
    `transformer` under that prefix, the folder of a saved model hasn't.
    """

    def __init__(self, transformer: PreTrainedModel, owned: nn.ModuleDict | None = None) -> None:
        super().__init__()
        self.transformer = transformer
        self.owned = nn.ModuleDict() if owned is None else owned

    def forward(self, packed: Packed, requests: Requests) -> Numbers:
        """The requested numbers [n, …]: a dict of tensors, in which DDP and FSDP2 find what takes a gradient."""
        read = hidden(self.transformer, packed.batch, packed.at_n, packed.layout, packed.pad, packed.after)
        n = len(packed.at_n)
        h_nD, after_nD = read[:n], read[n:]
        found: Numbers = {HIDDEN: h_nD} if HIDDEN in requests.needs else {}
        if of_the_head(requests.needs):
            asked = (packed.target_n, requests.needs, requests.others, requests.slope_n, packed.temperature_n)
            found |= head(self.transformer, h_nD, *asked, requests.sizes)
        return found | self.of_owned(requests.needs, h_nD, after_nD)

    def of_owned(self, needs: Iterable[Need], h_nD: Tensor, after_nD: Tensor) -> Numbers:
        """`h_nD` are the states before the asked tokens, `after_nD` those at them."""
        found: Numbers = {}
        for need in needs:
            if isinstance(need, OwnedHead):
                found[need] = self.owned[need.name]((after_nD if need.after else h_nD).float())[:, 0]
        return found | ({"value": self.owned["value"](h_nD.float())} if "value" in needs else {})

    @torch.no_grad()
    def hidden_states(self, packed: Packed) -> Tensor:
        """Hidden states [n, D] of the asked tokens, without gradients."""
        return self(packed, Requests(frozenset({HIDDEN})))[HIDDEN]
