"""What every method of the table must do, on runs that all checks share.

A method is taken with a scope and an anchor, so that together the methods meet every point of those axes, and is run
twice on the sums of `walk.py`: by the bare loop, and as a user runs it, with probes, preview, self-check and estimate
around it. `tests/training/test_methods_*.py` hold the checks, a part of the methods each, so that two workers share
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

import walk
from points import rows_scopes_anchors, taken
from running import documented_metrics, metric_names, records
from scalpel.config.recipe import Recipe
from scalpel.experiments.single import run_recipe
from scalpel.methods import ROWS
from scalpel.registry import lookup
from scalpel.runs.progress import Progress
from scalpel.seeding import permutation

MODEL, STEPS = "world-300k", 3
PROBES = [{"name": "say", "task": {"name": "world/reverse"}, "n": 3}]
SPACE = list(rows_scopes_anchors())
ORDER = [SPACE[k] for k in permutation(len(SPACE), 2026, 0)]
SAMPLE = list({stage["method"]: stage for stage in ORDER}.values())  # each method once


def name_of(stage: dict[str, Any]) -> str:
    anchor = stage["anchors"][0]["name"] if stage["anchors"] else "none"
    return f"{stage['method']}×{stage['scope']['name']}×{anchor}"


def samples(method: str) -> bool:
    """Whether its sources sample: they may find nothing to learn from in a few steps."""
    specs = [signal.get("source") for signal in ROWS[method].stage["signals"]]
    parts = [lookup("source", s if isinstance(s, str) else s["name"]) for s in specs if s]
    return any("reward" in part.gives or part.asks for part in parts)


def recipe_of(stage: dict[str, Any], at: Path, beside: str) -> Recipe:
    """The method with its own settings and anchors, on that scope and with that anchor beside its own."""
    chosen = stage["anchors"]
    own = ROWS[stage["method"]].stage.get("anchors", [])
    anchors = [*chosen, *(a for a in own if a["name"] not in [c["name"] for c in chosen])]
    small = {"learning_rate": 1e-3, "validate": {"every": STEPS, "items": 2}, "sampling": {"max_tokens": 16}}
    train = {"scope": stage["scope"], "anchors": anchors, **small}
    measure = {"probes": PROBES, "points": 1, "recovery_samples": 1}
    return walk.recipe(stage["method"], at, MODEL, STEPS, beside, train=train, measure=measure)


@dataclass
class Stepped:
    """A method's two runs: records and weights of the bare loop, and of the run folder that a user gets."""

    method: str
    recipe: Recipe
    bare: list[dict[str, Any]]
    bare_weights: dict[str, Tensor]
    logged: list[dict[str, Any]]
    saved_weights: dict[str, Tensor]


def stepped_of(stage: dict[str, Any], at: Path, beside: str, folder: Path) -> Stepped:
    recipe = recipe_of(stage, at, beside)
    run, bare = taken(recipe)
    with Progress(Console(file=StringIO())) as shown:  # not quiet, so that the cost is estimated as well
        run_recipe(recipe, folder, progress=shown)
    logged = [record for record in records(folder) if record["kind"] == "train"]
    saved = load_file(folder / "model" / "model.safetensors")
    weights = run.engine.model.state_dict() | run.owned.named()
    return Stepped(stage["method"], recipe, bare, weights, logged, saved)


class MethodBattery:
    """The checks. A test class derives from it and gives `stepped`, a fixture over its part of SAMPLE."""

    @pytest.fixture(scope="class")
    def sums(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
        """The material, and a model that plays the roles beside the policy."""
        at = walk.prepare(tmp_path_factory.mktemp("sums"))
        return at, walk.relative(at, MODEL)

    def test_the_loop_takes_every_step_with_finite_numbers_and_moves_what_is_trainable_alone(self, stepped: Stepped):
        # `points.taken` holds while the run goes on that what is frozen stays bitwise equal and all numbers are finite
        assert len(stepped.bare) == STEPS * sum(stage.repeat for stage in stepped.recipe.stages)
        if not samples(stepped.method):
            assert any(record["gradient_norm"] > 0 for record in stepped.bare)

    def test_a_run_as_a_user_starts_it_is_the_bare_loop_bit_for_bit(self, stepped: Stepped):
        assert stepped.logged == [{k: v for k, v in step.items() if k != "seconds"} for step in stepped.bare]
        assert stepped.saved_weights
        for name, value in stepped.saved_weights.items():
            assert torch.equal(value, stepped.bare_weights[name]), name

    def test_every_metric_that_it_logs_is_documented(self, stepped: Stepped):
        assert not metric_names(stepped.bare) - documented_metrics()
