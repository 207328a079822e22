"""Arms of a comparison: one alone in the training loop, or several as `scalpel compare` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scalpel
from bench.sides.ours import follow
from scalpel.config.recipe import parse, read
from scalpel.experiments.compare import checked


def arm(turn: Any, *, recipe: str, index: int, model: str, steps: int, **place: Any) -> dict[str, Any]:
    """One arm of a recipe at the first of its learning rates."""
    whole = read(recipe, [f"model.path={model}", f"model.device={place['device']}"])
    chosen = checked(whole)[1][index]
    made = chosen.recipe.model_dump(mode="json", exclude_none=True, by_alias=True)
    made |= {"seed": place["seed"], "threads": place["threads"]}
    made["stages"][-1] |= {"steps": steps, "learning_rate": chosen.rates[0]}
    made["stages"][-1].pop("budget", None)
    return follow(turn, parse(made))


def comparison(
    turn: Any, *, arms: int, workers: int, train: int, steps: int, folder: str, **place: Any
) -> dict[str, Any]:
    """A comparison of so many equal arms, from its start to its report, a step a comparison."""
    keys = {"method": "sft", "steps": train, "batch": 32, "learning_rate": 1e-3}
    probe = {"name": "reverse", "task": {"name": "world/reverse"}, "n": 8, "max_tokens": 8}
    recipe = {
        "model": {"path": place["model"], "device": place["device"]},
        "task": {"name": "world/reverse-long"},
        "compare": {"seeds": [place["seed"]], "budget": "steps", "workers": workers,
                    "arms": [{"name": f"arm{k}", **keys} for k in range(arms)]},
        "measure": {"probes": [probe], "points": 0, "recovery_items": 0},
    }  # fmt: skip
    turn()
    for step in range(steps):
        scalpel.compare(recipe, out=Path(folder) / f"{arms}-{workers}-{step}")
        turn()
    return {"precision": "float32"}
