"""Intervals and tests against closed forms, and against how often they hold."""

import pytest

from scalpel.evaluation.statistics import excess, mcnemar, paired_change, wilson


def test_mcnemar_is_the_exact_binomial_tail():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 * 0.5**5)  # 0.0625: five flips one way prove nothing
    assert mcnemar(0, 6) == pytest.approx(2 * 0.5**6)  # 0.03125
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) * 0.5**8)
    assert mcnemar(4, 4) == 1.0


def test_wilson_has_width_at_the_ends():
    # p = 0, n = 10: high = z²/(n + z²) = 3.8415/13.8415
    none = wilson(0, 10)
    assert (none.mean, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.27753, abs=1e-5)
    every = wilson(10, 10)
    assert every.high == pytest.approx(1.0) and every.low == pytest.approx(1 - none.high)
    half = wilson(50, 100)
    assert half.low == pytest.approx(1 - half.high) and half.low == pytest.approx(0.40383, abs=1e-5)


def test_an_interval_over_no_items_claims_nothing():
    assert wilson(0, 0)[1:] == (0.0, 1.0)
    assert paired_change(0, 0, 0)[1:] == (-1.0, 1.0)


def test_paired_change_by_hand():
    # n = 98, gained 9, lost 4: g = 0.10, l = 0.05; half = 1.95996 · √((0.15 − 0.0025)/100) = 0.07527
    change = paired_change(9, 4, 98)
    assert change.mean == pytest.approx(5 / 98)
    assert change.low == pytest.approx(0.05 - 0.07527, abs=1e-4)
    assert change.high == pytest.approx(0.05 + 0.07527, abs=1e-4)


def test_a_permutation_test_by_hand():
    # of the C(6, 3) = 20 ways to choose three of six items, one has the three that came back
    assert excess([([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])]) == pytest.approx(1 / 20, abs=0.01)
    assert excess([([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])]) == 1.0
    assert excess([([1.0], [])]) == excess([]) == 1.0


def test_items_are_exchanged_within_their_stratum_only():
    # one probe can be guessed and has more lost items, the other can't: 8 of 10 beside 2 of 6, but no excess in either
    assert excess([([1.0] * 8, [1.0] * 2), ([0.0] * 2, [0.0] * 4)]) == 1.0
    assert excess([([1.0] * 8 + [0.0] * 2, [1.0] * 2 + [0.0] * 4)]) == pytest.approx(0.092, abs=0.01)
    # two strata: 1/20 of the arrangements of each have all that came back on one side
    both = ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert excess([both, both]) == pytest.approx(1 / 400, abs=0.002)
