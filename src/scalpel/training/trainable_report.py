"""Reports which parameters are trainable before the first step, and which have changed after it and at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from scalpel.models.module_names import layer_of
from scalpel.scope import Trainable

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
NOTHING = 1e-12  # a relative change below this counts as none: zeros that became 1e-30 don't matter
MOST = 12  # name patterns that are listed


def pattern(name: str) -> str:
    """A parameter's name with `*` for the layer number, and without the names of wrapping modules."""
    return NUMBER.sub("*", name.replace(".base_layer", "").removesuffix(".weight").replace(".default", ""))


def plan(trainables: Sequence[Trainable], model: nn.Module) -> str:
    """The trainable parameters by name pattern with counts, their share, and the frozen ones."""
    named = dict(model.named_parameters())
    entries = {m.name: m.value.numel() for m in trainables}
    every = sum(p.numel() for p in named.values())
    own = sum(p.numel() for name, p in named.items() if ".lora_" not in name)
    moves = sum(entries.values())
    still = {name: p.numel() - entries.get(name, 0) for name, p in named.items() if name not in entries}
    words = f"trainable: {moves:,} of {every:,} parameters ({moves / every:.3%}), in {listed(entries)}"
    if still:
        words += f"\nfrozen: {sum(still.values()):,} parameters, in {listed(still)}"
    words += beneath(trainables, named)
    experts = sum(n for name, n in still.items() if "experts" in name.split("."))
    beside = any("experts" in name.split(".") for name in entries)
    if experts and not beside:
        words += f"\nno expert is trainable: their {experts:,} parameters, {experts / own:.0%} of the model, are frozen"
    return words


def beneath(trainables: Sequence[Trainable], named: Mapping[str, nn.Parameter]) -> str:
    """For adapters on experts: the share of the model's own weights that they change, among experts and others."""
    places = {re.sub(r"(\.base_layer)*\.lora_.*", "", m.name) for m in trainables if ".lora_" in m.name}
    if not any("experts" in place.split(".") for place in places):
        return ""
    own = {name.replace(".base_layer", ""): p.numel() for name, p in named.items() if ".lora_" not in name}
    changed = {name: n for name, n in own.items() if name.rpartition(".")[0] in places and not name.endswith("bias")}
    experts, every = sum(n for name, n in changed.items() if "experts" in name.split(".")), sum(own.values())
    return (
        f"\nadapters lie beside {sum(changed.values()) / every:.0%} of the model's own parameters: experts "
        f"{experts / every:.0%}, others {(sum(changed.values()) - experts) / every:.0%}"
    )


def listed(entries: Mapping[str, int]) -> str:
    """Name patterns, those with the most entries first."""
    sizes: Counter[str] = Counter()
    layers: dict[str, set[int | None]] = {}
    for name, n in entries.items():
        sizes[pattern(name)] += n
        layers.setdefault(pattern(name), set()).add(layer_of(name))
    found = [
        f"{name} ({len(layers[name])} layers, {n:,})" if len(layers[name]) > 1 else f"{name} ({n:,})"
        for name, n in sizes.most_common(MOST)
    ]
    return ", ".join(found) + (f" and {len(sizes) - MOST} more" if len(sizes) > MOST else "")


@torch.no_grad()
def fingerprints(trainables: Iterable[Trainable]) -> dict[str, int]:
    """A checksum of each trainable tensor: the sum of its bits as integers, which is cheap and needs no copy."""
    kinds = {8: torch.int64, 4: torch.int32, 2: torch.int16}
    found = {}
    for m in trainables:
        bits = m.value.detach().contiguous().view(kinds.get(m.value.element_size(), torch.uint8))
        found[m.name] = int(bits.sum(dtype=torch.int64))
    return found


def after_first_step(before: Mapping[str, int], now: Mapping[str, int], record: Mapping[str, Any]) -> str:
    """The number of tensors that the first step changed; if none, why."""
    moved = sum(now.get(name) != value for name, value in before.items())
    if moved:
        return f"step 1 changed {moved} of {len(before)} tensors"
    return f"step 1 changed nothing: {reason(record.get('gradient_norm', 0.0), record.get('learning_rate', 0.0))}"


def reason(norm: float, rate: float) -> str:
    if not norm:
        return "there was no gradient, as when no token had any credit (rewards without a difference give none)"
    if not rate:
        return "its learning rate was 0"
    return f"the learning rate, {rate:g}, is too small to change any number, though the gradient was {norm:.3g}"


def at_the_end(table: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """The changed share of the weights. Raises ValueError if nothing changed though there were gradients, since an
    optimiser that changes no number is misconfigured. Without gradients, as when rewards never differed, the sentence
    says so."""
    share, size = table["total"]["moved"], table["total"]["relative"]
    if share and (size is None or size > NOTHING):
        return f"in all {share:.3%} of the model's weights changed"
    norm = max((r.get("gradient_norm", 0.0) for r in records), default=0.0)
    rate = max((r.get("learning_rate", 0.0) for r in records), default=0.0)
    words = f"nothing changed in {len(records)} steps: {reason(norm, rate)}"
    if norm and rate:
        raise ValueError(f"{words}; raise the learning rate, or keep the weights in float32")
    return words
