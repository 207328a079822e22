"""Estimates over crossed seeds and items: by hand, and as differences."""

import numpy as np
import pytest
from scipy.stats import t as student

from scalpel.evaluation.crossed import Estimate, average, estimate, seeds_to_tell, starts
from scalpel.evaluation.lacking import lacking

RNG = np.random.default_rng(0)


def width(found: Estimate, confidence: float = 0.95) -> float:
    interval = found.interval(confidence)
    return interval.high - interval.low


def test_one_number_a_seed_has_student_s_interval():
    # s of 1, 2, 6 is √7; t(2) at 97.5% is 4.3027
    found = estimate((0, 1, 2), "one", np.array([[1.0], [2.0], [6.0]])).interval()
    half = 4.302653 * (7 / 3) ** 0.5
    assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_one_seed_has_the_interval_of_its_items():
    x_SI = RNG.normal(size=(1, 40))
    half = float(student.ppf(0.975, 39)) * x_SI.std(ddof=1) / 40**0.5
    assert estimate((0,), "items", x_SI).interval().high == pytest.approx(x_SI.mean() + half)


def test_components_by_hand():
    # rows 0 0 1 1 and 0 2 1 3: seed means 0.5 and 1.5, item means 0 1 1 2; MS_items = 2·(2/3) = 4/3.
    # Residuals x − seed − item + mean: ±0.5 but for items that fit: (0.5, −0.5, 0.5, −0.5) and the opposite: MS = 2/3
    found = estimate((0, 1), "items", np.array([[0.0, 0, 1, 1], [0, 2, 1, 3]]))
    seeds, (items,) = found.seed_component(), found.item_components()
    assert seeds is not None and (seeds.variance, seeds.freedom) == (pytest.approx(0.5 / 2), 1)
    assert (items.variance, items.freedom) == (pytest.approx((4 / 3 - 2 / 3) / 8), 3)
    half = ((student.ppf(0.975, 1) ** 2) * 0.25 + (student.ppf(0.975, 3) ** 2) / 12) ** 0.5
    assert found.interval() == pytest.approx((1.0, 1.0 - half, 1.0 + half))


def test_all_right_keeps_a_width_within_what_is_possible():
    found = estimate((0, 1, 2), "items", np.ones((3, 50)), (0.0, 1.0)).interval()
    assert found.mean == found.high == 1.0 and 0.90 < found.low < 0.99


def test_what_two_arms_share_cancels_item_by_item_and_seed_by_seed():
    items, seeds = RNG.normal(size=200), RNG.normal(size=(3, 1))
    a = estimate((0, 1, 2), "items", items + seeds)
    b = estimate((0, 1, 2), "items", items + seeds + 0.5)
    assert a.minus(b).interval() == pytest.approx((-0.5, -0.5, -0.5), abs=1e-12)
    others = a.minus(estimate((3, 4, 5), "items", items + seeds))
    assert others.item_components()[0].variance < 1e-12, "items cancel, whatever the seeds"
    assert others.seed_component().variance == pytest.approx(2 * a.seed_component().variance), "other seeds don't"
    assert others.seed_component().freedom == pytest.approx(4), "Welch: of equal variances both count"
    assert width(a.minus(estimate((0, 1, 2), "others", items + seeds + 0.5))) > 0.1, "so are other items"


def test_the_difference_of_two_changes_lies_within_one():
    change = RNG.choice([0.0, 1.0], size=(3, 50))
    difference = estimate((0,), "p", change[:1], (-1.0, 1.0)).minus(estimate((0,), "p", 1 - change[:1], (-1.0, 1.0)))
    (values,) = difference.tables.values()
    assert (values.low, values.high, values.width) == (-1.0, 1.0, 2.0)


def test_an_average_of_probes_keeps_their_common_seeds_together():
    seeds = np.array([[0.0], [1.0], [2.0]])
    one = estimate((0, 1, 2), "a", seeds + np.zeros((3, 30)))
    other = estimate((0, 1, 2), "b", 3 * seeds + np.zeros((3, 20)))
    assert width(average([one, other])) == pytest.approx((width(one) + width(other)) / 2)
    opposite = estimate((0, 1, 2), "b", -seeds + np.zeros((3, 20)))
    assert width(average([one, opposite])) == pytest.approx(0.0, abs=1e-9)


def test_a_constant_shifts_and_has_no_spread():
    found = estimate((0, 1), "one", np.array([[1.0], [2.0]])).minus(Estimate(constant=1.0))
    assert found.mean == 0.5 and found.seeds == 2 and Estimate(constant=1.0).seeds == float("inf")


def test_seeds_that_would_tell():
    found = estimate((0, 1, 2), "one", np.array([[1.0], [2.0], [6.0]]))
    n = seeds_to_tell(found)
    assert n is not None and n > 3
    apart = lambda n: student.ppf(0.975, n - 1) * (7 / n) ** 0.5  # noqa: E731
    assert apart(n) < 3.0 <= apart(n - 1)
    few_items = estimate((0, 1, 2), "items", np.tile([[0.0, 1.0, -1.0, 0.1]], (3, 1)))
    assert seeds_to_tell(few_items) is None


def test_a_group_of_one_seed_leaves_the_other_group_s_seeds_to_tell():
    two = estimate(("a", 0, 1), "items", RNG.normal(size=(2, 30)) + np.array([[0.0], [2.0]]))
    one = estimate(("b", 0), "items", RNG.normal(size=(1, 30)) + 0.5)
    assert two.minus(one).seed_component().freedom == 1
    n = seeds_to_tell(two.minus(one))
    assert n is None or n > 2


def test_a_skill_that_some_seeds_learn_is_told_from_one_that_all_learn_more_or_less():
    def of(*gains):
        return estimate((0, 1, 2), "items", np.array(gains)[:, None] + np.zeros((3, 40)))

    found = starts(of(0.0, 0.02, 0.6))
    assert found is not None and (found.started, found.by_seed) == (1, pytest.approx((0.0, 0.02, 0.6)))
    assert 15 <= found.needed <= 30
    assert starts(of(0.4, 0.5, 0.6)) is None and starts(of(0.0, 0.01, 0.05)) is None


def test_what_there_is_too_little_of_is_named():
    seeds, items = np.array([[-0.3], [0.0], [0.6]]), np.array([-1.0, 1.0] * 20)
    between_seeds = estimate((0, 1, 2), "items", seeds + np.zeros((3, 40)))
    between_items = estimate((0, 1, 2), "items", 0.1 + items + np.zeros((3, 1)))
    both = estimate((0, 1, 2), "items", seeds + items)
    assert lacking(between_seeds) == "seeds" and lacking(between_items) == "items"
    assert lacking(both) == "seeds and items"
    # the mean of 0.1 is told apart from zero by either, and there is less variance between items
    assert lacking(estimate((0, 1, 2), "items", seeds + 0.1 * items)) == "seeds"
    assert lacking(estimate((0,), "items", 0.1 + items[None])) == "items", "one seed says nothing of others"
