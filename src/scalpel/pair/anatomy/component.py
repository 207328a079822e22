"""A parameter's place on the map of weight change: which component, in which layer."""

from __future__ import annotations

from scalpel.models.module_names import components_of, layer_of

ORDER = (
    "embeddings", "positions",
    "q", "k", "v", "q+k+v", "qkv", "kv", "o",
    "gate", "up", "gate+up", "down",
    "router", "experts gate", "experts up", "experts gate+up", "experts down",
    "biases", "norms", "head",
)  # fmt: skip


def component(name: str) -> tuple[str, int | None]:
    """`model.layers.3.self_attn.q_proj.weight` → ("q", 3); what lies outside the layers has layer None.

    A matrix that holds several components is one cell, `q+k+v`. Biases are apart from their matrices, since they
    are of another size; those of norms are norms. The matrices of all experts of a layer are one cell.
    """
    found = "+".join(components_of(name))
    if "experts" in name.split(".") and found != "experts":
        found = f"experts {found}"
    return ("biases" if name.endswith(".bias") and found != "norms" else found), layer_of(name)


def place(name: str) -> tuple[int, str]:
    """Sorting key of a component: from input to output, unknown ones after the known by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
