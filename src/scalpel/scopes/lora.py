"""Low-rank adapters."""

import logging
from typing import Literal

from torch import nn

from scalpel.binding.bounds import BelowOne, Rank
from scalpel.models.adapter_targets import (
    ALL,
    apart,
    find,
    short,
)
from scalpel.models.adapter_targets import DEFAULT as LINEAR
from scalpel.part import part
from scalpel.scope import Scope, ScopeContext, Trainable

log = logging.getLogger("scalpel")


@part("scope", "lora")
def lora(
    model: nn.Module,
    context: ScopeContext,
    *,
    rank: Rank = 8,
    alpha: float = 16.0,
    dropout: BelowOne = 0.0,
    targets: list[str] | str = LINEAR,
    init: Literal["kaiming", "gaussian"] = "kaiming",
    rank_stabilised: bool = False,
    magnitude: bool = False,
) -> Scope:
    """Trains a low-rank adapter beside each frozen matrix (LoRA): W x + s·B A x, s = alpha / rank.

    A is initialised at random (`init`), B with zeros. `targets` are components ("q", "head" where it has a weight of
    its own), names as PEFT takes them ("q_proj"), "all-linear", or a pattern for whole names; the default is all linear
    layers that the architecture has. A fused matrix gets one adapter for the whole of it if one of its components is
    named, and each expert has its own; `gate_proj` means the experts as well as the dense layers and shared experts of
    that name, and never the router. `rank_stabilised`: s = alpha / √rank (rsLoRA); `magnitude`: the norm of each output
    is learnt apart from its direction (DoRA).

    Reads    matrices inside the layers, and the head.
    Limits   at attach the output is unchanged; with rank = the smaller side it can express any change of that matrix.
    Fails    rank or learning rate too low (it needs about ten times that of full fine-tuning): the loss hardly falls.
    Source   Hu et al. 2022 (arXiv 2106.09685), eq. 3; rsLoRA arXiv 2312.03732; DoRA arXiv 2402.09353; PEFT.
    """
    found = apart(model, find(model, targets))
    # Experts are stacked in one 3-D parameter, which PEFT adapts as a parameter (`target_parameters`) and not as a
    # module. There it refuses dropout and DoRA.
    parameters = found.parameters
    if parameters and (dropout or magnitude):
        what = "dropout" if dropout else "magnitude"
        if targets not in (LINEAR, ALL) or not found.modules:
            raise ValueError(
                f"adapters on experts don't support {what}: leave it out, or name `targets` without gate, up and down"
            )
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        left = sum(sizes[name] for name in parameters)
        log.warning(
            "adapters on experts don't support %s, so the experts of this model stay frozen, and with them dense "
            "layers of the same names: %s of its parameters (%.0f%%)",
            what,
            f"{left:,}",
            100 * left / sum(sizes.values()),
        )
        parameters = []
    options = {
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": short(found.modules, [name for name, _ in model.named_modules()]),
        "init_lora_weights": True if init == "kaiming" else init,
        "use_rslora": rank_stabilised,
        "use_dora": magnitude,
    }
    if parameters:
        options["target_parameters"] = short(parameters, [name for name, _ in model.named_parameters()])
    adapters = context.adapt("lora", options, context.seed)
    trainables = [Trainable(name, parameter) for name, parameter in adapters.parameters.items()]
    return Scope(trainables, fold=adapters.fold, export=adapters.export, off=adapters.off)
