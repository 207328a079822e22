"""Any row with any scope and any anchor: two steps each on a seeded sample of the product."""

from collections import Counter

import pytest

from points import completed, pairs, rows_scopes_anchors, taken
from scalpel.methods import ROWS
from scalpel.registry import AXES, lookup
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


@pytest.mark.parametrize("stage", SAMPLE, ids=name)
def test_two_steps_of(at, stage):
    records = taken(at, stage)
    if not sampled(stage["method"]):
        assert any(record["gradient_norm"] > 0 for record in records)


def test_a_pair_of_points_is_refused_with_a_way_out_or_can_be_completed(at):
    refused = 0
    for one, a, other, b in pairs():
        stage, why = completed(at, {one: a, other: b})
        refused += stage is None
        assert stage is not None or "take" in why or "add" in why, (one, a, other, b, why)
    assert 0 < refused < len(list(pairs())) / 2
