"""The recipe of each training bench: what a user would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scalpel.config.recipe import Recipe, parse

REWARD = f"{Path(__file__).with_name('reward.py')}:length"
RATES = {"sft": 2e-5, "lora": 2e-4, "dpo": 5e-6, "grpo": 1e-6}
GROUP = [{"source": {"name": "groups", "size": 8}, "credit": ["group-zscore"], "objective": "clipped-pg"}]
STAGES: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "lora": {"method": "sft", "scope": {"name": "lora", "rank": 8, "alpha": 16.0}},
    "dpo": {"method": "dpo"},
    "grpo": {"method": "grpo", "signals": GROUP},
}


def recipe(
    *, kind: str, model: str, rows: str, batch: int, steps: int, max_length: int, device: str, dtype: str,
    precision: str, seed: int, threads: int, group: int = 8, tokens: int = 64, accumulation: int = 1,
    micro_tokens: int | None = None, steps_planned: int = 0, **other: Any,
) -> Recipe:  # fmt: skip
    """Plain AdamW at a constant rate, clipped at 1, on rows that are read once. `steps_planned` is for a run that ends
    before all rows are read: their order depends on how many there are."""
    how = {"learning_rate": RATES[kind], "schedule": "constant", "warmup": 0.0, "clip": 1.0, "weight_decay": 0.0}
    stage = {**STAGES[kind], **how, "steps": steps, "batch": batch, "accumulation": accumulation}
    stage |= {"max_length": max_length, "truncation": "error"} if kind != "grpo" else {}
    stage |= {"sampling": {"max_tokens": tokens, "temperature": 1.0}} if kind == "grpo" else {}
    stage |= {} if micro_tokens is None else {"micro_tokens": micro_tokens}
    made = parse(
        {
            "model": {"path": model, "device": device, "dtype": dtype, "precision": precision},
            "task": {"name": "jsonl", "files": {"train": rows}},
            "data": {
                "items": batch * max(steps, steps_planned),
                "seed": seed,
                "rewards": [REWARD] if kind == "grpo" else [],
            },
            "train": stage,
            "seed": seed,
            "threads": threads,
        },
        [f"train.signals.0.source.size={group}"] if kind == "grpo" else [],
    )
    return made
