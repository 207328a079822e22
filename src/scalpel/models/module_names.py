"""The position of a parameter, read from its name: its component (q, k, v, o, gate, up, down, norms, embeddings, head,
…) and its layer, for models that are named like Llama, Qwen, Gemma, Mistral, Phi, OPT, GPT-NeoX or GPT-2.

A fused matrix has several components: GPT-2's `c_attn` holds q, k and v side by side. The layer that chooses among
experts is called router here, although many families name it `gate`.
"""

from __future__ import annotations

import re

MODULES: dict[str, tuple[str, ...]] = {
    "q_proj": ("q",), "k_proj": ("k",), "v_proj": ("v",), "o_proj": ("o",), "out_proj": ("o",),
    "c_attn": ("q", "k", "v"), "qkv_proj": ("q", "k", "v"), "query_key_value": ("qkv",),
    "gate_proj": ("gate",), "up_proj": ("up",), "down_proj": ("down",), "gate_up_proj": ("gate", "up"),
    "c_fc": ("up",), "fc1": ("up",), "fc2": ("down",), "dense_h_to_4h": ("up",), "dense_4h_to_h": ("down",),
    "embed_tokens": ("embeddings",), "wte": ("embeddings",), "embed_in": ("embeddings",),
    "word_embeddings": ("embeddings",), "embeddings": ("embeddings",), "head": ("head",),
    "input_linear": ("gate", "up"), "output_linear": ("down",),
    "fc_in": ("up",), "fc_out": ("down",), "w1": ("gate",), "w2": ("down",), "w3": ("up",), "Wqkv": ("qkv",),
    "q_a_proj": ("q",), "q_b_proj": ("q",), "kv_a_proj_with_mqa": ("kv",), "kv_b_proj": ("kv",),
    "gate": ("router",), "router": ("router",), "shared_expert_gate": ("router",),
    "wpe": ("positions",), "embed_positions": ("positions",),
    "lm_head": ("head",), "embed_out": ("head",),
}  # fmt: skip
BY_PARENT = {"c_proj", "dense"}  # output of attention or of the MLP, depending on the enclosing module
OUTSIDE_ATTENTION = {"mixer", "mamba", "conv"}  # their out_proj does not belong to attention
ATTENTION = ("q", "k", "v", "qkv", "kv", "o")
MLP = ("gate", "up", "down")

LAYER = re.compile(r"\.(?:layers|h|blocks|layer)\.(\d+)\.")
NORM = re.compile(r"norm|^ln_|^ln\d?$")


def layer_of(name: str) -> int | None:
    """The layer's index, or None for a parameter outside the layers."""
    found = LAYER.search(f".{name}.")
    return int(found[1]) if found else None


def components_of(name: str) -> tuple[str, ...]:
    """The components of the parameter (or module) of that name; for an unknown one, the name of its module.

    Reads from the end, so that wrappers inside a matrix (`q_proj.base_layer`, `q_proj.lora_A`) don't matter.
    """
    steps = name.split(".")
    for k in range(len(steps) - 1, -1, -1):
        step = steps[k]
        if step == "out_proj" and k and steps[k - 1] in OUTSIDE_ATTENTION:
            return (step,)
        if step in MODULES:
            return MODULES[step]
        if step in BY_PARENT and k:
            return ("o",) if "attn" in steps[k - 1] or "attention" in steps[k - 1] else ("down",)
        if NORM.search(step):
            return ("norms",)
    return (steps[-2] if len(steps) > 1 else steps[0],)
