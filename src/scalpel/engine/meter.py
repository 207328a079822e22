"""What a run has cost so far: tokens and floating-point operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from transformers import PreTrainedModel


@dataclass
class Meter:
    """Necessary work, counted by formula (padding and recomputation are not counted).

    A forward pass over one token costs 2·P + 2·layers·D·L operations: P parameters in matrices, the head
    included, and L the sequence's length (half of it is attended to on average, keys and values both). A
    backward pass costs twice that where everything moves; the share for weight gradients scales with the
    share of P that moves. Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1.
    """

    flops: float = 0.0
    tokens_trained: int = 0
    tokens_processed: int = 0
    tokens_sampled: int = 0

    def forward(self, model: PreTrainedModel, lengths: list[int]) -> float:
        """Adds a forward pass over whole sequences and returns its operations."""
        spent = forward_flops(model, lengths)
        self.flops += spent
        self.tokens_processed += sum(lengths)
        return spent

    def backward(self, forward_flops: float, moving_share: float) -> None:
        """Adds the backward pass that belongs to a forward pass."""
        self.flops += forward_flops * (1.0 + moving_share)

    def sampled(self, model: PreTrainedModel, prompts: list[int], completions: list[int]) -> None:
        """Adds prompts that were prefilled once and completions that were decoded token by token."""
        self.flops += forward_flops(model, prompts) + forward_flops(model, completions)
        self.tokens_sampled += sum(completions)

    def state(self) -> dict[str, float]:
        return asdict(self)


def forward_flops(model: PreTrainedModel, lengths: list[int]) -> float:
    config = model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    return sum(2.0 * matrix_parameters(model) * n + 2.0 * layers * width * n * n for n in lengths)


def matrix_parameters(model: PreTrainedModel) -> int:
    """Parameters that a token is multiplied with: every matrix but the input embedding, and the head."""
    cached = getattr(model, "_scalpel_matrix_parameters", None)
    if cached is None:
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        inner = sum(p.numel() for p in model.parameters() if p.dim() >= 2) - embedding.weight.numel()
        tied = head is not None and head.weight is embedding.weight
        cached = model._scalpel_matrix_parameters = inner + (embedding.weight.numel() if tied else 0)
    return cached
