"""The table of methods: each published one is a row, a point on the axes with its vetted settings.

A row is data in the recipe's own language. Keys that a user sets go over it, so every other point of the space
is one override away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    title: str
    cite: str
    stage: Mapping[str, Any]


def one(source: Any, credit: list[Any], objective: Any, **more: Any) -> list[dict[str, Any]]:
    """The usual case: a single signal."""
    return [{"source": source, "credit": credit, "objective": objective, **more}]


ROWS: dict[str, Row] = {
    "sft": Row(
        "Supervised fine-tuning",
        "Wei et al. 2021, arXiv 2109.01652",
        {"signals": one("demonstrations", ["constant"], "nll"), "learning_rate": 2e-5},
    ),
    "dft": Row(
        "Dynamic fine-tuning",
        "Wu et al. 2025, arXiv 2508.05629",
        {"signals": one("demonstrations", ["own-probability"], "nll"), "learning_rate": 5e-5},
    ),
    "masked-thought": Row(
        "Masked thought fine-tuning",
        "Chen et al. 2024, arXiv 2403.02178",
        {
            "signals": one(
                "demonstrations",
                ["constant"],
                "nll",
                corrupt=[{"name": "masked-thought", "rate": {"from": 0.0, "to": 0.4}}],
            ),
            "learning_rate": 1e-5,
        },
    ),  # fmt: skip
    "distill": Row(
        "Distillation from a teacher's whole distribution",
        "Hinton et al. 2015, arXiv 1503.02531",
        {"signals": one("demonstrations", ["constant"], "distillation"), "learning_rate": 2e-5},
    ),
    "rejection-sampling": Row(
        "Rejection-sampling fine-tuning",
        "Yuan et al. 2023, arXiv 2308.01825",
        {"signals": one("accepted-samples", ["constant"], "nll"), "learning_rate": 1e-5},
    ),
    "grpo": Row(
        "Group relative policy optimisation",
        "Shao et al. 2024, arXiv 2402.03300",
        {"signals": one("groups", ["group-zscore"], "clipped-pg"), "learning_rate": 1e-6},
    ),
    "dr-grpo": Row(
        "GRPO done right",
        "Liu et al. 2025, arXiv 2503.20783",
        {
            "signals": one("groups", ["group-mean"], {"name": "clipped-pg", "average": "constant"}),
            "learning_rate": 1e-6,
        },
    ),
    "ppo": Row(
        "Proximal policy optimisation",
        "Schulman et al. 2017, arXiv 1707.06347",
        {
            "signals": [
                {
                    "name": "policy",
                    "source": "groups",
                    "credit": ["gae"],
                    "objective": {"name": "clipped-pg", "average": "token"},
                    "reuse": 2,
                },
                {"name": "value", "objective": "value", "weight": 0.1},
            ],
            "learning_rate": 1e-6,
        },
    ),  # fmt: skip
    "prefix-rft": Row(
        "Prefix-RFT",
        "Huang et al. 2025, arXiv 2507.01679",
        {
            "signals": one(
                "prefix-groups",
                ["group-mean", "top-entropy-prefix"],
                {"name": "clipped-pg", "average": "constant"},
            ),
            "learning_rate": 1e-6,
        },
    ),  # fmt: skip
    "dpo": Row(
        "Direct preference optimisation",
        "Rafailov et al. 2023, arXiv 2305.18290",
        {"signals": one("preference-pairs", ["constant"], "dpo"), "learning_rate": 5e-7},
    ),
    "kto": Row(
        "Kahneman-Tversky optimisation",
        "Ethayarajh et al. 2024, arXiv 2402.01306",
        {"signals": one("labelled", ["constant"], "kto"), "learning_rate": 5e-7},
    ),
}

# What a floor adds to a stage that names nothing to steer: text that the base wrote, held by the divergence on it.
FLOOR: dict[str, Mapping[str, Any]] = {
    "signal": {"name": "keep", "source": {"name": "self-written"}},
    "anchor": {"name": "kl", "estimator": "exact-forward", "beta": 1.0, "on": "keep"},
}
