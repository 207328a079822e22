"""The product of parts: points of the space as recipes, and a few steps on each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers.utils import logging

from running import prepare, tables
from scalpel.config.plan import assemble
from scalpel.config.recipe import Recipe
from scalpel.config.schema import StageSpec
from scalpel.methods import ROWS
from scalpel.registry import AXES
from scalpel.training.checkpoint import RunState
from scalpel.training.loop import train
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

# what a part needs beyond its defaults to have something to do within a few steps of a tiny model
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("anchor", "elastic"): {"texts": 2},
    ("scope", "hft"): {"round": 1},
    ("scope", "lift"): {"interval": 1},
    ("source", "accepted-samples"): {"threshold": 0.5},
    ("source", "groups"): {"size": 3},
    ("source", "prefix-groups"): {"size": 3},
    ("source", "probed-groups"): {"size": 3, "provers": 2, "cut": "e", "force": "#", "room": 2},
    ("source", "replayed-groups"): {"size": 3, "capacity": 1, "chance": 1.0},
    ("source", "buffered-groups"): {"size": 3, "replays": 1},
    ("source", "guided-groups"): {"size": 3},
    ("source", "feedback-samples"): {"size": 3},
    ("source", "revisions"): {"sizes": [1, 3]},
    ("source", "beneficial-steps"): {"size": 8, "threshold": 0.5, "imitate": False},
    ("source", "interventions"): {
        "locate": "tried",
        "hard": 1.0,
        "size": 16,
        "tries": 2,
        "boundary": "",
        "threshold": 0.5,
    },
}
CHOSEN = ("source", "corruption", "credit", "objective", "scope", "anchor")


def spec(axis: str, name: str) -> dict[str, Any]:
    return {"name": name, **SETTINGS.get((axis, name), {})}


def points(axis: str) -> list[str]:
    return sorted(AXES[axis])


def rows_scopes_anchors() -> Iterator[dict[str, Any]]:
    """Every row with every scope and anchor, and with none."""
    for method, scope, anchor in product(sorted(ROWS), points("scope"), [None, *points("anchor")]):
        yield {
            "method": method,
            "scope": spec("scope", scope),
            "anchors": [] if anchor is None else [spec("anchor", anchor)],
        }


def pairs() -> Iterator[tuple[str, str, str, str]]:
    """Every pair of points on two axes."""
    for one, other in combinations(CHOSEN, 2):
        for a, b in product(points(one), points(other)):
            yield one, a, other, b


def stage_of(picked: dict[str, str], bare: dict[str, str]) -> dict[str, Any]:
    """A stage of one signal (and a value head's, where a credit reads values) at these points."""
    at = {**bare, **picked}
    signal = {
        "source": spec("source", at["source"]),
        "corrupt": [spec("corruption", at["corruption"])] if "corruption" in at else [],
        "credit": [spec("credit", at["credit"])],
        "objective": spec("objective", at["objective"]),
    }
    value = [{"objective": "value"}] if at["credit"] == "gae" and at["objective"] != "value" else []
    anchors = [spec("anchor", at["anchor"])] if "anchor" in at else []
    return {"signals": [signal, *value], "scope": spec("scope", at["scope"]), "anchors": anchors}


@cache
def plain_recipe(at: Path) -> Recipe:
    """What is around a stage; read once, since thousands of stages are tried."""
    return tables(at, {"method": "sft"})


def completed(at: Path, picked: dict[str, str]) -> tuple[dict[str, Any] | None, str]:
    """A stage with these points that assembles, the other axes filled as plainly as can be; or why there is none."""
    free = {axis: points(axis) for axis in ("source", "credit", "objective") if axis not in picked}
    free = {axis: sorted(names, key=lambda n: n not in ("constant", "nll", "groups")) for axis, names in free.items()}
    why, recipe = "", plain_recipe(at)
    for choice in product(*free.values()):
        stage = stage_of(picked, {"scope": "all", **dict(zip(free, choice, strict=True))})
        try:
            assemble(StageSpec.model_validate(stage), recipe)
        except ValueError as error:
            why = why or str(error)
            continue
        return stage, ""
    return None, why


STEPS = 3


def recipe_of(at: Path, stage: dict[str, Any], seed: int = 0, **over: Any) -> Recipe:
    """A few small steps on a point."""
    return tables(at, {**stage, "steps": STEPS, "batch": 3, "sampling": {"max_tokens": 4}}, seed=seed, **over)


def taken(recipe: Recipe) -> tuple[TrainingRun, list[dict[str, Any]]]:
    """A run of these steps with its records, by the loop alone. Raises AssertionError if a number is none, or if
    something moved that the scope never let move."""
    records: list[dict[str, Any]] = []
    before: dict[str, torch.Tensor] = {}
    allowed: set[str] = set()

    def watch(run: TrainingRun, stage: StageRun, state: RunState) -> bool:
        now = dict(run.engine.model.named_parameters())
        if state.step == 0:  # of a stage: the one before has folded what it learnt
            before.update({name: p.detach().clone() for name, p in now.items()})
            allowed.clear()
        changed = {name for name, p in now.items() if not torch.equal(p, before[name])}
        assert changed <= allowed, f"{sorted(changed - allowed)} moved, but are frozen"
        allowed.update(m.name for m in stage.scope.trainables)
        return False

    run = train(recipe, watch=watch, tell=lambda record: records.append(dict(record)))
    assert len(records) == STEPS * sum(stage.repeat for stage in recipe.stages)
    assert all(isinstance(v, str) or abs(v) < float("inf") for r in records for v in r.values()), records
    return run, records


def outcome(at: Path, picked: dict[str, str]) -> str:
    """What became of a pair: the steps it took, a refusal, or the fault."""
    stage, why = completed(at, picked)
    if stage is None:
        return f"refused: {why.splitlines()[0]}"
    try:
        taken(recipe_of(at, stage))
    except Exception as fault:  # any fault is a finding here: it goes into the table
        return f"FAILED: {type(fault).__name__}: {str(fault).splitlines()[0]}"
    return "runs"


def main(axes: Sequence[str]) -> int:
    """Prints a line a pair and a summary; the number of failures decides the exit status."""
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        at = prepare(Path(folder))
        for one, a, other, b in pairs():
            if axes and not {one, other} <= set(axes):
                continue
            found = outcome(at, {one: a, other: b})
            counts[found.partition(":")[0]] += 1
            print(f"{one:10} {a:20} {other:10} {b:20} {found[:150]}", flush=True)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    logging.disable_progress_bar()
    sys.exit(main(sys.argv[1:]))
