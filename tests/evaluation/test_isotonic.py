"""The monotone fit of a learning curve, and where it reaches a level."""

import numpy as np
import pytest

from scalpel.evaluation.isotonic import crossing, interpolated, isotonic


def test_neighbours_in_the_wrong_order_are_pooled():
    assert isotonic([1, 3, 2, 4]) == [1, 2.5, 2.5, 4]
    assert isotonic([3, 2, 1]) == [2, 2, 2]
    assert isotonic([]) == [] and isotonic([1, 1, 2]) == [1, 1, 2]


def test_no_other_non_decreasing_sequence_is_nearer():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(size=6)
        fitted = np.array(isotonic(values))
        assert (np.diff(fitted) >= 0).all()
        others = np.sort(fitted + rng.normal(scale=0.3, size=(200, 6)), axis=1)
        assert ((others - values) ** 2).sum(axis=1).min() >= ((fitted - values) ** 2).sum() - 1e-12


def test_a_level_is_reached_between_two_evaluations():
    assert crossing([0.0, 0.2, 0.6], 0.4) == pytest.approx(1.5)
    # 0.5 and 0.3 are pooled: 0.4 in their middle, at 1.5
    assert crossing([0.0, 0.5, 0.3, 0.8], 0.4) == pytest.approx(1.5)
    assert crossing([0.0, 0.5, 0.3, 0.8], 0.6) == pytest.approx(1.5 + 1.5 * 0.5)


def test_a_dip_is_passed_before_the_level_is_reached():
    # 0.4, 0.0 and 0.2 are pooled: 0.2 in their middle, at 1
    assert crossing([0.4, 0.0, 0.2, 0.6], 0.4) is None, "the base is there already"
    assert crossing([0.4, 0.0, 0.2, 0.6], 0.5) == pytest.approx(1 + 2 * 0.3 / 0.4)


@pytest.mark.parametrize("values", [[0.0, 0.2, 0.3], [0.5, 0.6], [0.6, 0.0, 0.7], [0.0, 0.6, 0.2, 0.2], []])
def test_a_level_that_is_not_reached_from_below_has_no_place(values):
    assert crossing(values, 0.5) is None


def test_the_first_evaluation_at_the_level_is_too_early_and_the_fit_is_not():
    # the true accuracy rises from 0.2 to 0.8 over 31 evaluations of 60 items each: it is 0.5 at 15
    rng = np.random.default_rng(0)
    curves = [rng.binomial(60, np.linspace(0.2, 0.8, 31)) / 60 for _ in range(400)]
    first = np.mean([np.argmax(curve >= 0.5) for curve in curves])
    fitted = np.mean([crossing(curve, 0.5) for curve in curves])
    assert abs(fitted - 15) < 0.3 and first < 15 - 1, (fitted, first)


def test_values_are_interpolated_between_positions():
    assert interpolated([1.0, 3.0, 4.0], 0.25) == pytest.approx(1.5)
    assert interpolated([1.0, 3.0, 4.0], 2.0) == 4.0
