"""Outcomes of paired comparisons at planned looks: by hand, and how often they are right."""

from collections import Counter
from math import inf

import numpy as np
import pytest
from scipy.stats import t as student

from scalpel.evaluation.sequential import (
    ALPHAS,
    LOOKS,
    decided_at,
    holm,
    outcome,
    seeds_needed,
    smallest_seen,
    spending,
    spent,
    t_interval,
)


def test_the_interval_by_hand():
    # 1, 2, 6: mean 3, variance 7; t(2) at 97.5% is 4.3027
    half = 4.302653 * (7 / 3) ** 0.5
    assert t_interval([1, 2, 6], 0.05) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert t_interval([2.0], 0.05) == (2.0, -inf, inf)


@pytest.mark.parametrize(
    "differences, expected",
    [
        ([5.0, 6.0, 7.0, 6.0], "agrees"),
        ([-5.0, -6.0, -7.0, -6.0], "contradicts"),
        ([0.5, -0.5, 0.2, -0.1], "absent"),
        ([1.0, 1.2, 0.9, 1.1], "absent"),  # above zero, and too small to matter
        ([-1.0, -1.2, -0.9, -1.1], "absent"),
        ([4.9, 5.1, 4.9, 5.0], "agrees"),  # u is above 5
        ([9.0, -3.0, 4.0, 2.0], "open"),
        ([8.0], "open"),  # a single seed says nothing of others
        ([0.0, 0.0, 0.0], "absent"),  # a tie in every seed
        ([0.1 + 0.2, 0.3, 0.3], "absent"),  # equal but for rounding
        ([5.0, 5.0, 5.0], "agrees"),
    ],
)
def test_the_outcome_is_where_the_interval_lies(differences, expected):
    assert outcome(differences, 5.0).outcome == expected


def test_a_smaller_level_decides_less():
    # mean 6, standard error √(2/3)/2 = 0.408; t(3) at 97.5% is 3.18, at 99.975% it is 13.4 or more
    assert outcome([5.0, 6.0, 7.0, 6.0], 5.0, 0.05).outcome == "agrees"
    assert outcome([5.0, 6.0, 7.0, 6.0], 5.0, 0.0001).outcome == "open"


def test_the_level_of_a_decision_is_where_it_is_just_made():
    for differences in ([5.0, 6.0, 7.0, 6.0], [-3.0, -8.0, -4.0, -6.0], [0.5, -0.5, 2.0, -1.0], [9.0, -3.0, 4.0, 2.0]):
        p = decided_at(differences, 5.0)
        assert outcome(differences, 5.0, 1.001 * p).outcome != "open" == outcome(differences, 5.0, 0.999 * p).outcome
    assert decided_at([1.0], 5.0) == 1.0 and decided_at([0.0, 0.0], 5.0) == 0.0


def test_the_level_is_spent_over_looks():
    assert spending(4) == pytest.approx(ALPHAS) and sum(ALPHAS) == pytest.approx(0.05)
    assert spending(1) == (0.05,)
    assert [spent(ALPHAS, look) for look in range(4)] == list(ALPHAS)
    with pytest.raises(ValueError, match="look 4 is none of the 4"):
        spent(ALPHAS, 4)
    with pytest.raises(ValueError, match="add up to less than 1"):
        spent((0.5, 0.5), 0)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="a seed without a result"):
        outcome([1.0, float("nan")], 5.0)
    with pytest.raises(ValueError, match="one number for each seed"):
        outcome([], 5.0)
    with pytest.raises(ValueError, match="above 0"):
        outcome([1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match="level = 5"):
        outcome([1.0, 2.0], 5.0, 5)


def test_what_would_have_been_seen_is_seen_in_four_of_five():
    rng, n, level = np.random.default_rng(0), 6, 0.01
    effect = smallest_seen(2.0, n, level)
    d_RS = rng.normal(effect, 2.0, size=(20_000, n))
    low_R = d_RS.mean(1) - student.ppf(1 - level / 2, n - 1) * d_RS.std(1, ddof=1) / n**0.5
    assert (low_R > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_the_seeds_that_an_effect_takes():
    n = seeds_needed(5.0, 5.0, 0.02)
    assert n is not None and smallest_seen(5.0, n, 0.02) <= 5.0 < smallest_seen(5.0, n - 1, 0.02)
    assert seeds_needed(0.0, 5.0, 0.02) == 2 and seeds_needed(1e6, 5.0, 0.02) is None
    row = outcome([9.0, -3.0, 4.0, 2.0], 5.0).as_dict()
    assert row["outcome"] == "open" and row["smallest_seen"] > 5.0 and row["seeds_needed"] > 4
    alone = outcome([3.0], 5.0).as_dict()
    assert (alone["difference"]["low"], alone["smallest_seen"], alone["seeds_needed"]) == (None, None, None)


def test_holm_by_hand():
    clear, near, none = [5.0, 6.0, 7.0, 6.0], [3.0, 6.0, 9.0, 6.0], [9.0, -3.0, 4.0, 2.0]
    # the levels at which they are decided are 0.0007, 0.016 and 0.30: beside 0.05/3, 0.05/2 and 0.05
    found = holm([(near, 5.0), (none, 5.0), (clear, 5.0)])
    assert [one.outcome for one in found] == ["agrees", "open", "agrees"]
    assert [one.level for one in found] == pytest.approx([0.05 / 2, 0.05, 0.05 / 3])
    # beside two that are open the same one has to be decided at 0.05/3 or less; after an open one no level grows
    crowded = holm([(near, 5.0), (none, 5.0), (none, 5.0), (none, 5.0)])
    assert [one.outcome for one in crowded] == ["open"] * 4 and {one.level for one in crowded} == {0.05 / 4}
    assert holm([]) == []


def at_looks(d_S: np.ndarray, delta: float) -> tuple[str, int]:
    for look, seeds in enumerate(LOOKS):
        found = outcome(d_S[:seeds], delta, spent(ALPHAS, look))
        if found.outcome != "open":
            break
    return found.outcome, seeds


@pytest.mark.parametrize(
    "true, least, mean_seeds",
    [(0.0, {"absent": 0.95}, 18), (5.0, {"agrees": 0.95}, 15), (-5.0, {"contradicts": 0.95}, 15)],
)
def test_decisions_over_four_looks_are_right(true, least, mean_seeds):
    """δ = 5 points and a spread of 5 points between seeds."""
    rng = np.random.default_rng(0)
    found = [at_looks(rng.normal(true, 5.0, size=32), 5.0) for _ in range(1000)]
    share = {name: count / len(found) for name, count in Counter(name for name, _ in found).items()}
    assert all(share[name] >= at_least for name, at_least in least.items())
    if true == 0:
        assert share.get("agrees", 0.0) <= 0.025 and share.get("contradicts", 0.0) <= 0.025
    assert np.mean([seeds for _, seeds in found]) == pytest.approx(mean_seeds, abs=1)


def test_of_several_parts_without_an_effect_few_give_any_false_decision():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(500):
        parts = [(rng.normal(0.0, 5.0, size=8), 5.0) for _ in range(5)]
        wrong += any(one.outcome in ("agrees", "contradicts") for one in holm(parts))
    assert wrong / 500 <= 0.05 + 0.02  # two standard errors of 500
