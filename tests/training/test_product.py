"""Any row with any scope and any anchor: a few steps each on a seeded sample of the product, by the bare loop and as a
user runs it. Both must give the same weights and records, bit for bit: nothing that is shown, estimated or measured
around a run may change it."""

from collections import Counter
from io import StringIO

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from points import completed, pairs, recipe_of, rows_scopes_anchors, taken
from running import records
from scalpel.experiments.single import run_recipe
from scalpel.methods import ROWS
from scalpel.registry import AXES, lookup
from scalpel.runs.progress import Progress
from scalpel.seeding import permutation

SPACE = list(rows_scopes_anchors())
ORDER = [SPACE[k] for k in permutation(len(SPACE), 2026, 0)]
SAMPLE = list({stage["method"]: stage for stage in ORDER}.values())  # each row once


def name(stage: dict) -> str:
    anchor = stage["anchors"][0]["name"] if stage["anchors"] else "none"
    return f"{stage['method']}×{stage['scope']['name']}×{anchor}"


def test_the_sample_meets_every_point_of_the_three_axes():
    met = Counter(part for stage in SAMPLE for part in name(stage).split("×"))
    assert set(met) >= {*ROWS, *AXES["scope"], *AXES["anchor"], "none"}


def sampled(method: str) -> bool:
    """Whether its sources sample: they may find nothing in two steps."""
    specs = [signal.get("source") for signal in ROWS[method].stage["signals"]]
    parts = [lookup("source", s if isinstance(s, str) else s["name"]) for s in specs if s]
    return any("reward" in part.gives or part.asks for part in parts)


PROBES = [{"name": "say", "task": {"name": "world/reverse"}, "n": 3}]


@pytest.mark.parametrize("stage", SAMPLE, ids=name)
def test_a_run_as_a_user_starts_it_is_the_bare_loop(at, tmp_path, stage):
    recipe = recipe_of(at, stage, measure={"probes": PROBES, "points": 1, "recovery_samples": 1})
    bare, steps = taken(recipe)
    if not sampled(stage["method"]):
        assert any(record["gradient_norm"] > 0 for record in steps)
    with Progress(Console(file=StringIO())) as shown:  # not quiet, so that the cost is estimated as well
        try:
            run_recipe(recipe, tmp_path / "run", progress=shown)
        except ValueError as error:
            pytest.skip(f"refused: {error}")
    logged = [record for record in records(tmp_path / "run") if record["kind"] == "train"]
    assert logged == [{k: v for k, v in step.items() if k != "seconds"} for step in steps]
    saved = load_file(tmp_path / "run" / "model" / "model.safetensors")
    named = bare.engine.model.state_dict() | bare.owned.named()
    assert saved and all(torch.equal(value, named[key]) for key, value in saved.items())


def test_a_pair_of_points_is_refused_with_a_way_out_or_can_be_completed(at):
    refused = 0
    for one, a, other, b in pairs():
        stage, why = completed(at, {one: a, other: b})
        refused += stage is None
        assert stage is not None or "take" in why or "add" in why, (one, a, other, b, why)
    assert 0 < refused < len(list(pairs())) / 2
