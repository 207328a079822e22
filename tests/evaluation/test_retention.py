"""Retention against a floor: values by hand, coverage by simulation, and decisions."""

import math

import numpy as np
import pytest

from scalpel.evaluation.check import check_verdict
from scalpel.evaluation.ledger import Entry, Ledger
from scalpel.evaluation.retention import decide, retention


def test_the_interval_is_bonett_and_price_s_of_an_example_by_hand():
    # kept 43, lost 16, gained 4: 47/59, worked out step by step from the formula
    before, after, n, z = 59, 47, 63, 1.959963985
    a = math.sqrt((16 + 4 + 2) / (60 * 48))
    b = math.sqrt((1 - 60 / 65) / 60) + math.sqrt((1 - 48 / 65) / 48)
    k = z * a / b

    def wilson(x):
        p = x / n
        centre = (p + k * k / (2 * n)) / (1 + k * k / n)
        half = k * math.sqrt(p * (1 - p) / n + k * k / (4 * n * n)) / (1 + k * k / n)
        return centre - half, centre + half

    found = retention(kept=43, lost=16, gained=4)
    assert found.mean == pytest.approx(after / before)
    assert found.low == pytest.approx(wilson(after)[0] / wilson(before)[1])
    assert found.high == pytest.approx(wilson(after)[1] / wilson(before)[0])


@pytest.mark.parametrize("base", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.02), (0.1, 0.02), (0.3, 0.05)])
def test_intervals_cover_the_true_ratio(base, lost, gained):
    random, n, draws = np.random.default_rng(0), 150, 600
    regained = min(1.0, gained * base / (1 - base))
    true = (base * (1 - lost) + (1 - base) * regained) / base
    known = random.binomial(n, base, draws)
    lost_D, gained_D = random.binomial(known, lost), random.binomial(n - known, regained)
    found = [retention(int(r - l), int(l), int(g)) for r, l, g in zip(known, lost_D, gained_D, strict=True)]
    assert np.mean([f.low <= true <= f.high for f in found]) >= 0.93
    assert np.mean([f.high < true for f in found]) <= 0.04  # a false alarm, were the floor the truth


def ledger(name, kept, lost, gained, never=0):
    verdicts = ["kept"] * kept + ["lost"] * lost + ["gained"] * gained + ["never"] * never
    entries = tuple(
        Entry(id=str(k), prompt="", answer="", verdict=v, output_before="", output_after="", before=None, after=None,
              logp_before=None, logp_after=None)
        for k, v in enumerate(verdicts)
    )  # fmt: skip
    return Ledger(name, "keep", "generate", "", entries)


def test_a_surely_lost_ability_fails_and_flips_in_both_directions_do_not():
    broken = check_verdict([ledger("sums", 50, 50, 0), ledger("copy", 100, 0, 0)], 0.97)
    assert broken.status == "failed" and [a.name for a in broken.named("lost")] == ["sums"]
    churned = check_verdict([ledger("sums", 94, 6, 6)], 0.97)
    assert churned.status == "undecided"
    assert check_verdict([ledger("sums", 300, 0, 0)], 0.97).status == "passed"


def test_what_the_base_can_not_do_decides_nothing():
    found = check_verdict([ledger("sums", 300, 0, 0), ledger("poetry", 1, 1, 0, 98)], 0.97)
    assert found.status == "passed"
    assert found.abilities[1].decision == "the base has too little of it"


def test_more_abilities_ask_for_more_evidence():
    alone = check_verdict([ledger("a", 85, 9, 0)], 0.97)
    among = check_verdict([ledger("a", 85, 9, 0), *(ledger(f"b{k}", 40, 1, 1) for k in range(20))], 0.97)
    assert alone.status == "failed" and among.status == "undecided"


@pytest.mark.parametrize("floor", [0, -1, 1.2, float("nan")])
def test_a_floor_that_is_no_share_is_refused(floor):
    with pytest.raises(ValueError, match="floor"):
        check_verdict([], floor)


def test_nothing_right_before_can_not_be_told():
    assert decide(retention(0, 0, 5), 0.9) == "too few items to tell"
