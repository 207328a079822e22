"""Any row with any scope and any anchor: two steps each on a seeded sample of the product."""

from collections import Counter

import pytest

from points import completed, pairs, rows_scopes_anchors, taken
from scalpel.draw import permutation
from scalpel.methods import ROWS
from scalpel.registry import AXES

SPACE = list(rows_scopes_anchors())
SAMPLE = [SPACE[k] for k in permutation(len(SPACE), 2026, 0)[:60]]


def name(stage: dict) -> str:
    anchor = stage["anchors"][0]["name"] if stage["anchors"] else "none"
    return f"{stage['method']}×{stage['scope']['name']}×{anchor}"


def test_the_sample_meets_every_point_of_the_three_axes():
    met = Counter(part for stage in SAMPLE for part in name(stage).split("×"))
    assert set(met) >= {*ROWS, *AXES["scope"], *AXES["anchor"], "none"}


@pytest.mark.parametrize("stage", SAMPLE, ids=name)
def test_two_steps_of(at, stage):
    records = taken(at, stage)
    if stage["method"] not in ("rejection-sampling", "grpo", "dr-grpo", "prefix-rft"):  # may find nothing in two steps
        assert any(record["gradient_norm"] > 0 for record in records)


def test_a_pair_of_points_is_refused_with_a_way_out_or_can_be_completed(at):
    refused = 0
    for one, a, other, b in pairs():
        stage, why = completed(at, {one: a, other: b})
        refused += stage is None
        assert stage is not None or "take" in why or "add" in why, (one, a, other, b, why)
    assert 0 < refused < len(list(pairs())) / 2
