"""Training of selected components in selected layers."""

from torch import nn

from scalpel.models.parameter_blocks import (
    Layers,
    Piece,
    layer_numbers,
    pieces,
    present,
    trainables_of,
)
from scalpel.part import part
from scalpel.registry import unknown
from scalpel.scope import Scope, ScopeContext

QUERIES_AND_KEYS = ["q", "k"]


def chosen(found: list[Piece], components: list[str], layers: Layers) -> list[Piece]:
    """The pieces of these components in these layers. With layers "all", also those outside the layers."""
    known, n = present(found)
    for component in components:
        if component not in known:
            raise ValueError(unknown("component of this model", component, known))
    numbers = layer_numbers(layers, n)
    outside = layers == "all"
    return [p for p in found if p.component in components and (p.layer in numbers or (outside and p.layer is None))]


@part("scope", "components")
def components(
    model: nn.Module,
    context: ScopeContext,
    *,
    components: list[str] = QUERIES_AND_KEYS,
    layers: Layers = "all",
    freeze: bool = False,
) -> Scope:
    """Makes only the named components of the named layers trainable, or with `freeze` all others.

        M = {θ : component(θ) ∈ components, layer(θ) ∈ layers};  trainable: M, or its complement

    Components are q, k, v, o, gate, up, down, norms, embeddings, head and any other that the model has; a bias belongs
    to its matrix. q, k and v are separated inside a fused matrix, too. A tied head counts as embeddings.

    Reads    parameter names.
    Limits   all components of all layers is `all`.
    Fails    too few components to learn the skill: the loss doesn't fall.
    Source   Rajani et al. 2025 (arXiv 2507.10616), figure 7: q and k only; MLPs of the middle layers frozen.
    """
    found = pieces(model)
    picked = chosen(found, components, layers)
    if not picked:
        known, n = present(found)
        raise ValueError(
            f"no parameter is {'/'.join(components) or 'component'} in layers {layers!r}: this model has "
            f"{', '.join(known)}, and layers 0-{n - 1}"
        )
    trainable = [p for p in found if p not in picked] if freeze else picked
    if not trainable:
        raise ValueError("all parameters are frozen, so none can be trained: freeze fewer components or layers")
    return Scope(trainables_of(trainable, model))
