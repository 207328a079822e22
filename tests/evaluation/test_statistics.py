"""Intervals and tests against closed forms, and against how often they hold."""

import numpy as np
import pytest

from scalpel.evaluation.statistics import (
    Interval,
    bootstrap,
    fisher,
    interval,
    mcnemar,
    paired_change,
    replicates,
    wilson,
)


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


def test_fisher_sees_an_excess_over_the_control_only():
    # C(3,3)·C(3,0)/C(6,3) = 1/20
    assert fisher(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert fisher(0, 3, 3, 3) == 1.0
    assert fisher(3, 3, 0, 0) == 1.0


def test_bootstrap_of_one_seed_agrees_with_the_normal_interval():
    values = np.random.default_rng(0).normal(size=(1, 400))
    found = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_seeds_that_differ_widen_the_interval():
    items = np.random.default_rng(1).normal(size=200)
    alike, apart = np.stack([items, items, items]), np.stack([items - 1, items, items + 1])

    def width(found: Interval) -> float:
        return found.high - found.low

    assert width(bootstrap(apart)) > 2 * width(bootstrap(alike))
    assert width(bootstrap(alike)) == pytest.approx(width(bootstrap(items[None])), rel=0.05)


def test_variance_between_seeds_is_unbiased():
    # Items all alike: only seeds vary. The variance of a mean of S values is s²/S with s² over S − 1.
    values = np.repeat(np.array([[0.0], [1.0], [5.0]]), 50, axis=1)
    found = replicates(values, seeds_of="a", items_of="b").var()
    assert found == pytest.approx(np.var([0, 1, 5], ddof=1) / 3, rel=0.1)


def test_all_of_fifty_keeps_a_width():
    assert bootstrap(np.ones((1, 50))).low == pytest.approx(1.0)
    padded = bootstrap(np.ones((1, 50)), ends=(0.0, 1.0))
    assert padded.mean == padded.high == 1.0
    assert 0.90 < padded.low < 0.97  # Wilson's bound is 0.929


def test_same_items_make_a_difference_paired():
    items = np.random.default_rng(2).normal(size=(1, 100))
    one = replicates(items, seeds_of="x", items_of="facts")
    other = replicates(items + 0.5, seeds_of="y", items_of="facts")
    assert np.allclose(other - one, 0.5)
    strange = replicates(items + 0.5, seeds_of="y", items_of="sort")
    assert (strange - one).std() > 0.05


def test_interval_holds_the_mean_and_narrows_with_less_confidence():
    draws = np.linspace(0, 1, 1001)
    assert interval(0.5, draws) == pytest.approx((0.5, 0.025, 0.975))
    assert interval(0.5, draws, confidence=0.5) == pytest.approx((0.5, 0.25, 0.75))
    assert interval(1.2, draws).high == 1.2


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Share of right answers over 3 seeds × 60 items, both drawn: truth 0.7, 200 worlds."""
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        seed, item = generator.normal(size=(3, 1)) * 0.3, generator.normal(size=(1, 60))
        # P(z_seed + z_item + z_noise < c) = 0.7, where the sum has variance 0.09 + 1 + 1
        right = seed + item + generator.normal(size=(3, 60)) < 0.5244 * np.sqrt(2.09)
        low, high = bootstrap(right, ends=(0.0, 1.0))[1:]
        hits += low <= 0.7 <= high
    assert 0.90 <= hits / 200 <= 1.0
