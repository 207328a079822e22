"""The dual variable follows what is left."""

from math import exp

import pytest

from scalpel.keep import Dual


def test_the_strength_grows_below_the_floor_and_shrinks_above_it():
    dual = Dual(0.98, integral_gain=0.5, proportional_gain=0.0, strength=1.0)
    assert dual.follow(0.96) == pytest.approx(exp(0.5))  # short by as much as is allowed
    assert dual.follow(0.98) == pytest.approx(exp(0.5))
    assert dual.follow(1.0) == pytest.approx(1.0)


def test_what_may_be_chance_leaves_the_strength_alone():
    """Below the floor it grows by the upper bound of what is left; between the two it stays."""
    dual = Dual(0.98, integral_gain=0.5, proportional_gain=0.0, strength=1.0)
    assert dual.follow(0.95, high=0.99) == 1.0
    assert dual.follow(0.90, high=0.97) == pytest.approx(exp(0.25))
    assert dual.follow(0.99, high=1.0) == pytest.approx(1.0)


def test_a_great_shortfall_counts_as_much_as_keeping_everything_at_most():
    """Else a dip at the start, where the rate is highest, would weigh on the whole run."""
    short, shorter, all_left = (
        Dual(0.98, integral_gain=0.5, proportional_gain=0.0, strength=1.0).follow(left) for left in (0.96, 0.0, 1.0)
    )
    assert short == pytest.approx(shorter) == pytest.approx(exp(0.5)) == pytest.approx(1 / all_left)


def test_what_is_answered_at_once_is_taken_back_at_once():
    """A dip that is over weighs no more; what it taught the level stays, with the sign of the sum of all errors."""
    dual = Dual(0.98, integral_gain=0.1, proportional_gain=0.5, strength=1.0)
    assert dual.follow(0.96) == pytest.approx(exp(0.1 + 0.5))
    assert dual.follow(0.98) == pytest.approx(dual.level) == pytest.approx(exp(0.1))
    assert dual.follow(1.0) == pytest.approx(exp(0.1 - 0.1 - 0.5))


def test_the_level_learns_by_the_share_of_the_run_that_has_gone_by_however_many_looks_there_are():
    few, many = (Dual(0.98, integral_gain=2.0, strength=1.0) for _ in range(2))
    for dual, looks in ((few, 2), (many, 50)):
        for _ in range(looks):
            dual.follow(0.96, share=1 / looks)
    assert few.level == pytest.approx(many.level) == pytest.approx(exp(2.0))


def test_the_strength_stays_within_its_bounds():
    dual = Dual(0.9, integral_gain=5.0, min_strength=0.1, max_strength=10.0, strength=1.0)
    assert dual.follow(0.0) == 10.0
    assert [dual.follow(1.0), dual.follow(1.0)] == pytest.approx([0.1, 0.1])


def test_gain_and_pull_share_the_step():
    dual = Dual(0.98, strength=3.0)
    assert (dual.gain, dual.keep) == (0.25, 0.75)


def test_a_floor_of_one_still_has_a_unit_for_errors():
    assert Dual(1.0, integral_gain=1.0, proportional_gain=0.0, strength=1.0).follow(0.995) == pytest.approx(exp(1))
