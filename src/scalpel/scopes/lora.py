"""Low-rank adapters."""

from typing import Literal

from torch import nn

from scalpel.bounds import BelowOne, Rank
from scalpel.names import ATTENTION, MLP
from scalpel.part import part
from scalpel.pieces import matrices, present, select
from scalpel.registry import unknown
from scalpel.scope import Hands, Moving, Scope

LINEAR = [*ATTENTION, *MLP]
KNOWN = (*LINEAR, "head")


@part("scope", "lora")
def lora(
    model: nn.Module,
    hands: Hands,
    *,
    rank: Rank = 8,
    alpha: float = 16.0,
    dropout: BelowOne = 0.0,
    targets: list[str] = LINEAR,
    init: Literal["kaiming", "gaussian"] = "kaiming",
    rank_stabilised: bool = False,
    magnitude: bool = False,
) -> Scope:
    """A low-rank change beside each matrix moves, the weights themselves stay: W x + s·B A x, s = alpha / rank.

    A is drawn (`init`), B is zero. `targets` are components, "head" among them where it has a weight of its own; a
    fused matrix is adapted whole if one of its components is named. `rank_stabilised`: s = alpha / √rank (rsLoRA);
    `magnitude`: the norm of each output is learnt apart from its direction (DoRA).

    Reads    matrices inside the layers, and the head.
    Limits   at attach the output is unchanged; rank = the smaller side can be any change of that matrix.
    Fails    rank or learning rate too low (it wants about ten times that of full tuning): the loss hardly falls.
    Source   Hu et al. 2022 (arXiv 2106.09685), eq. 3; rsLoRA arXiv 2312.03732; DoRA arXiv 2402.09353; PEFT.
    """
    for target in targets:
        if target not in KNOWN:
            raise ValueError(unknown("target of scope 'lora'", target, KNOWN))
    heads = select(model, lambda p: p.component == "head" and p.parameter.dim() == 2)
    if "head" in targets and not heads:
        raise ValueError(
            "the head of this model shares its weight with the embedding, so adapters on it would change both: leave "
            "'head' out of `targets`, or train the embedding with scope 'components'"
        )
    found = [*matrices(model), *heads]
    named = {p.name.removesuffix(".weight") for p in found if p.component in targets}
    if not named:
        raise ValueError(f"no matrix is {'/'.join(targets)}: this model has {', '.join(present(found)[0])}")
    options = {
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": sorted({".".join(name.split(".")[-2:]) for name in named}),
        "init_lora_weights": True if init == "kaiming" else init,
        "use_rslora": rank_stabilised,
        "use_dora": magnitude,
    }
    adapters = hands.adapt("lora", options, hands.seed)
    moving = [Moving(name, parameter) for name, parameter in adapters.parameters.items()]
    return Scope(moving, fold=adapters.fold, export=adapters.export, off=adapters.off)
