"""Tiny models and a byte-level tokenizer, made from configs: nothing is downloaded, a test takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<|start|>", "<|end|>", "<mask>"]

CHAT = (
    "{% if messages[0]['role'] != 'system' %}<|start|>system\nBe kind.<|end|>\n{% endif %}"
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{{ '\n' }}"
    "{% else %}{{ message['content'] }}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)

COMMON: dict[str, Any] = dict(
    hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    head_dim=8, max_position_embeddings=256, tie_word_embeddings=True,
)  # fmt: skip

SHAPES: dict[str, dict[str, Any]] = {
    "llama": COMMON,
    "qwen2": {k: v for k, v in COMMON.items() if k != "head_dim"},
    "qwen3": COMMON,
    "gemma2": {**COMMON, "query_pre_attn_scalar": 8, "sliding_window": 16},
    "gemma3_text": {**COMMON, "query_pre_attn_scalar": 8, "sliding_window": 16},
    "gpt2": dict(n_embd=16, n_layer=2, n_head=2, n_inner=32, n_positions=256),
}


def tokenizer(chat_template: str | None = CHAT, **specials: Any) -> PreTrainedTokenizerFast:
    """Bytes as tokens, so every text round-trips; chat turns end with <|end|>, documents with </s>."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    core = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    named = dict(
        bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        additional_special_tokens=["<|start|>", "<|end|>"],
    )  # fmt: skip
    made = PreTrainedTokenizerFast(tokenizer_object=core, **{**named, **specials})
    made.chat_template = chat_template
    return made


def model(kind: str = "llama", seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model of a few thousand parameters over that tokenizer's vocabulary."""
    ends = dict(vocab_size=len(SPECIAL) + 256, bos_token_id=2, eos_token_id=3, pad_token_id=0)
    config = AutoConfig.for_model(kind, **{**SHAPES[kind], **ends, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()


def folder(at: Path, kind: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """The same as an ordinary model folder."""
    model(kind, seed, **changes).save_pretrained(at)
    tokenizer().save_pretrained(at)
    return at
