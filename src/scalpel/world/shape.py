"""The two sizes of the world's model: Llama decoders of four layers with tied embeddings and one vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from scalpel.registry import unknown
from scalpel.world.vocabulary import IDS, MAX_LENGTH

SIZES: dict[str, dict[str, Any]] = {
    "world-1m": {"hidden_size": 128, "intermediate_size": 448, "num_attention_heads": 4},
    "world-300k": {"hidden_size": 80, "intermediate_size": 208, "num_attention_heads": 5},
}
LAYERS = 4


def shape(size: str) -> LlamaConfig:
    """The configuration of a size."""
    if size not in SIZES:
        raise ValueError(unknown("size", size, SIZES))
    return LlamaConfig(
        vocab_size=len(IDS),
        num_hidden_layers=LAYERS,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=IDS["<pad>"],
        bos_token_id=IDS["<bos>"],
        eos_token_id=IDS["<end>"],
        **SIZES[size],
    )


def untrained(size: str, seed: int = 0) -> LlamaForCausalLM:
    """A model of this size with random initial weights, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape(size))
