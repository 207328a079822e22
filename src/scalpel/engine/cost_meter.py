"""The cost of a run so far: tokens and floating-point operations (FLOPs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import nn
from transformers import PreTrainedModel

from scalpel.engine.backward_cost import BackwardCost


@dataclass
class CostMeter:
    """The necessary work, by formula; padding and recomputation are not counted, so that arms on the same budget aren't
    charged for how the engine computes.

    A forward pass over one token costs 2·P + 2·layers·D·L operations: P parameters in matrices, the head
    included, and L the sequence's length (half of it is attended to on average, keys and values both). A
    backward pass costs twice that where everything moves: once for the gradients of activations, down to the lowest
    weight that moves, and once for those of the weights that do (`reach`).
    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1.
    """

    flops: float = 0.0
    tokens_trained: int = 0
    tokens_processed: int = 0
    tokens_sampled: int = 0

    def forward(self, model: PreTrainedModel, spans: Sequence[tuple[int, int]]) -> float:
        """Adds a forward pass over spans of sequences, (first position, one past the last), and returns its
        operations. What comes before a span is attended to, but paid for elsewhere."""
        spent = span_flops(model, spans)
        self.flops += spent
        self.tokens_processed += sum(stop - start for start, stop in spans)
        return spent

    def backward(self, model: PreTrainedModel, forward_flops: float, tokens: int, reach: BackwardCost) -> None:
        """Adds the backward pass that belongs to a forward pass over so many tokens."""
        linear = 2.0 * matrix_parameters(model) * tokens
        self.flops += reach.linear * linear + reach.attention * (forward_flops - linear)

    def sampled(self, model: PreTrainedModel, prompts: list[int], completions: list[int]) -> None:
        """Adds prompts that were prefilled once, and the completions that were decoded after them, the same number for
        each prompt. A completion costs the whole sequence minus its prompt."""
        each = len(completions) // max(len(prompts), 1)
        behind = [p for p in prompts for _ in range(each)]
        ends = [p + c for p, c in zip(behind, completions, strict=True)]
        self.flops += forward_flops(model, prompts)
        self.flops += forward_flops(model, ends) - forward_flops(model, behind)
        self.tokens_sampled += sum(completions)

    def spent(self, unit: str, seconds: float) -> float:
        """What was spent so far, in the unit of a budget. `seconds` is the training time, which only the run knows."""
        tokens = float(self.tokens_processed + self.tokens_sampled)
        return {"flops": self.flops, "tokens": tokens, "seconds": seconds}[unit]

    def state(self) -> dict[str, float]:
        return asdict(self)


def forward_flops(model: PreTrainedModel, lengths: list[int]) -> float:
    """FLOPs of a forward pass over sequences of these lengths."""
    config = model.config.get_text_config()
    linear, attention = 2.0 * matrix_parameters(model), 2.0 * config.num_hidden_layers * config.hidden_size
    return sum(linear * n + attention * n * n for n in lengths)


def span_flops(model: PreTrainedModel, spans: Sequence[tuple[int, int]]) -> float:
    """FLOPs of a forward pass over spans of sequences. A span costs everything up to its end minus what is before
    it."""
    return forward_flops(model, [stop for _, stop in spans]) - forward_flops(model, [start for start, _ in spans])


def matrix_parameters(model: PreTrainedModel) -> int:
    """Parameters that a token is multiplied with: every matrix except the embeddings, and the head. Counted at each
    call, since adapters are added and removed."""
    head = model.get_output_embeddings()
    looked_up = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices = {id(p): p for p in model.parameters() if p.dim() >= 2 and id(p) not in looked_up}
    if head is not None:
        matrices[id(head.weight)] = head.weight
    return sum(p.numel() for p in matrices.values())
