"""A parameter's place: which component, in which layer. One naming for Llama, Qwen, Gemma and GPT-2."""

from __future__ import annotations

import re

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")
# Names at which the general rule (the module's own name) would mislead.
ALIASES = {
    "embed_tokens": "embeddings",
    "wte": "embeddings",
    "wpe": "positions",
    "lm_head": "head",
    "c_attn": "attention c_attn",
    "c_fc": "mlp c_fc",
}
ORDER = (
    "embeddings", "positions",
    "q", "k", "v", "attention c_attn", "o", "attention c_proj",
    "gate", "up", "mlp c_fc", "down", "mlp c_proj",
    "biases", "norms", "head",
)  # fmt: skip


def component(name: str) -> tuple[str, int | None]:
    """`model.layers.3.self_attn.q_proj.weight` → ("q", 3); what lies outside the layers has layer None."""
    found = LAYER.search(name)
    layer = int(found.group(1)) if found else None
    *path, kind = name.split(".")
    module = path[-1] if path else kind
    if "norm" in module or re.fullmatch(r"ln_\w+", module):
        return "norms", layer
    if kind == "bias":
        return "biases", layer
    if module == "c_proj":  # GPT-2 calls the last matrix of attention and that of the MLP alike
        return ("attention c_proj" if "attn" in path else "mlp c_proj"), layer
    return ALIASES.get(module, module.removesuffix("_proj")), layer


def place(name: str) -> tuple[int, str]:
    """Sorting key of a component: from input to output, unknown ones after the known by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
