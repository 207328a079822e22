"""The targets of adapters: matrices by component, by PEFT's names, by pattern, or all of them.

Experts that are stacked in one three-dimensional parameter are adapted as parameters, other matrices as modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from peft.utils import transformers_weight_conversion as conversion
from torch import nn

from scalpel.binding.patterns import whole
from scalpel.models.module_names import (
    ATTENTION,
    MLP,
    MODULES,
    components_of,
    layer_of,
)

DEFAULT = [*ATTENTION, *MLP]
ALL = "all-linear"
# Mamba's mixer passes the weights of these modules to its kernel without calling the modules, so an adapter on them
# would have no effect and no gradient.
READ_PAST = {"out_proj", "dt_proj", "conv1d"}


@dataclass(frozen=True)
class Targets:
    """Full names of the modules and parameters that get adapters."""

    modules: list[str]
    parameters: list[str]


def candidates(model: nn.Module) -> Targets:
    """All possible targets: linear layers inside the transformer layers, the head, and experts."""
    modules = [
        name
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
        and (layer_of(name) is not None or "head" in components_of(name))
        and not read_past(name)
        and "router" not in components_of(name)
    ]
    parameters = [
        name
        for name, p in model.named_parameters()
        if p.dim() == 3 and "experts" in name.split(".") and layer_of(name) is not None
    ]
    tied = {name for name in modules if "head" in components_of(name) and shares_embedding(model)}
    return Targets([name for name in modules if name not in tied], parameters)


def read_past(name: str) -> bool:
    steps = name.split(".")
    return steps[-1] in READ_PAST and len(steps) > 1 and steps[-2] in ("mixer", "mamba")


def shares_embedding(model: nn.Module) -> bool:
    head, embedding = (getattr(model, f"get_{end}_embeddings", lambda: None)() for end in ("output", "input"))
    return head is not None and embedding is not None and head.weight is embedding.weight


def find(model: nn.Module, targets: Sequence[str] | str) -> Targets:
    """The matrices that `targets` name. Raises ValueError, with the available names, for a name that fits none."""
    there = candidates(model)
    inside = Targets([n for n in there.modules if layer_of(n) is not None], there.parameters)
    if targets == ALL:
        return inside
    if isinstance(targets, str):
        return chosen(there, targets)
    if list(targets) == DEFAULT:  # the default leaves out what the architecture lacks
        found = [named(inside, target) for target in targets]
        fitted = union(inside, found)
        return fitted if fitted.modules or fitted.parameters else inside
    found = [named(there, target) for target in targets]
    for target, one in zip(targets, found, strict=True):
        if not one.modules and not one.parameters:
            raise ValueError(nothing(there, target))
    return union(there, found)


def chosen(there: Targets, pattern: str) -> Targets:
    """The targets of a single string: a component, a module's name, or else a regular expression that must match the
    full name, as in PEFT."""
    found = named(there, pattern)
    if not found.modules and not found.parameters:
        try:
            found = Targets(*([n for n in names if whole(pattern, n)] for names in (there.modules, there.parameters)))
        except ValueError as error:
            raise ValueError(f"{nothing(there, pattern)}; it is no regular expression either ({error})") from None
    if not found.modules and not found.parameters:
        raise ValueError(nothing(there, pattern))
    return found


def named(there: Targets, target: str) -> Targets:
    """The targets of a component, or of the end of a module's name. Fused experts match the name of each part."""

    def fits(name: str) -> bool:
        return target in components_of(name) or f".{name}".endswith(f".{target}")

    parts = set(MODULES.get(target, ())) & set(MLP)
    experts = [n for n in there.parameters if fits(n) or parts & set(components_of(n))]
    return Targets([n for n in there.modules if fits(n)], experts)


def apart(model: nn.Module, found: Targets) -> Targets:
    """The same targets, with some modules given as parameters: for some families PEFT maps names such as `gate_proj` to
    the experts alone, and would skip dense layers and shared experts of that name."""
    kind = conversion._MODEL_TO_CONVERSION_PATTERN.get(str(getattr(model.config, "model_type", "")))
    read = set(conversion._MOE_TARGET_MODULE_MAPPING.get(str(kind), {}))
    taken = [name for name in found.modules if name.split(".")[-1] in read]
    rest = [name for name in found.modules if name not in set(taken)]
    return Targets(rest, [*found.parameters, *(f"{name}.weight" for name in taken)])


def union(there: Targets, found: Sequence[Targets]) -> Targets:
    """All of them, each once, in the model's order."""
    modules, parameters = ({name for one in found for name in part(one)} for part in (_modules, _parameters))
    return Targets([n for n in there.modules if n in modules], [n for n in there.parameters if n in parameters])


def _modules(one: Targets) -> list[str]:
    return one.modules


def _parameters(one: Targets) -> list[str]:
    return one.parameters


def nothing(there: Targets, target: str) -> str:
    names = [*there.modules, *there.parameters]
    components = sorted({c for name in names for c in components_of(name)})
    ends = sorted({name.split(".")[-1] for name in names})
    shared = (
        " (the head of this model is tied to the embedding, so an adapter on it would change both: leave it out, or "
        "train the embedding with scope 'components')"
    )
    close = get_close_matches(target, [*components, *ends], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"no target module is named {target!r}{shared if target in ('head', 'lm_head') else ''}: this model has the "
        f"components {', '.join(components)}, which PEFT calls {', '.join(ends)}; "
        f'"{ALL}" or a regular expression is allowed too{hint}'
    )


def short(names: Sequence[str], there: Sequence[str]) -> list[str]:
    """The last two components of each name if they match no other module, else the full names. They are sorted, so that
    adapter_config.json is the same in every run."""
    ends = sorted({".".join(name.split(".")[-2:]) for name in names})
    met = {name for name in there if any(f".{name}".endswith(f".{end}") for end in ends)}
    return ends if met == set(names) else sorted(names)
