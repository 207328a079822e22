"""The product of the axes: what can't be combined is refused with a way out."""

from collections import Counter

from method_battery import SAMPLE, name_of
from points import completed, pairs
from scalpel.methods import ROWS
from scalpel.registry import AXES


def test_the_battery_s_methods_meet_every_point_of_the_three_axes():
    met = Counter(part for stage in SAMPLE for part in name_of(stage).split("×"))
    assert set(met) >= {*ROWS, *AXES["scope"], *AXES["anchor"], "none"}


def test_a_pair_of_points_is_refused_with_a_way_out_or_can_be_completed(at):
    refused = 0
    for one, a, other, b in pairs():
        stage, why = completed(at, {one: a, other: b})
        refused += stage is None
        assert stage is not None or any(word in why for word in ("use", "take", "add")), (one, a, other, b, why)
    assert 0 < refused < len(list(pairs())) / 2
