"""The verdict: what the numbers of each seed allow to be said."""

import numpy as np
import pytest

from scalpel.claims.judge import agreeing, judged
from scalpel.claims.statement import Sampling

SAMPLING = Sampling(looks=[4, 8], alpha=[0.02, 0.03])
AROUND = [0.01, -0.01, 0.02, -0.02, 0.01, -0.01, 0.02, -0.02]


def row(differences, table="primary", **more):
    numbers = {str(k): [None if d is None else 0.5 + d, 0.5] for k, d in enumerate(differences, start=1)}
    made = {"table": table, "says": "", "that": "a", "other": "b", "unit": "points", "asks": "exceeds", "by": 0.0}
    return made | ({} if table == "regime_checks" else {"matters": 0.05}) | {"numbers": numbers} | more


def around(mean, spread=1.0, n=4):
    return [mean + spread * d for d in AROUND[:n]]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        (around(0.2), "replicates"),
        (around(-0.2), "contradicts"),
        (around(0.0, 0.5), "absent"),
        (around(0.0, 9.0), "inconclusive"),
        ([0.0] * 4, "absent"),  # a tie of 0 and 0 is no failure
        (around(0.02, 0.1), "absent"),  # above zero, but shown to be less than what matters
    ],
)
def test_the_primary_comparison_decides(differences, verdict):
    found = judged([row(differences)], SAMPLING)
    assert found["verdict"] == verdict and found["seeds"] == 4 and found["level"] == 0.02
    assert found["rows"][0]["smallest_seen"] >= 0


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [(around(0.0, 0.5), "replicates"), (around(0.2), "contradicts"), (around(-0.2), "contradicts")],
)
def test_what_should_be_equal_agrees_where_no_difference_matters(differences, verdict):
    assert judged([row(differences, asks="equals")], SAMPLING)["verdict"] == verdict


def test_no_worse_by_five_points_is_a_difference_that_counts_from_there():
    assert judged([row(around(0.0), by=-0.05)], SAMPLING)["verdict"] == "replicates"
    assert judged([row(around(-0.2), by=-0.05)], SAMPLING)["verdict"] == "contradicts"


def test_the_first_look_that_decides_counts_and_later_seeds_do_not_change_it():
    early = around(0.2) + around(-0.9)
    assert judged([row(early)], SAMPLING)["verdict"] == "replicates" and judged([row(early)], SAMPLING)["seeds"] == 4
    late = judged([row(around(0.05, 3.0) + [0.05, 0.06, 0.04, 0.05])], SAMPLING)
    assert late["verdict"] == "replicates" and late["seeds"] == 8 and late["level"] == 0.03


def test_seeds_between_two_looks_are_not_looked_at():
    open_then_clear = around(0.0, 9.0) + [0.5, 0.5, 0.5]
    assert judged([row(open_then_clear)], SAMPLING)["seeds"] == 4
    assert judged([row(around(0.2, n=3))], SAMPLING) == judged([row(around(0.2, n=3))], SAMPLING) | {
        "verdict": "inconclusive",
        "seeds": 0,
    }


def test_parts_share_the_level_and_decide_nothing():
    one = row([0.05, 0.055, 0.045, 0.05], "parts")
    alone = judged([row(around(0.2)), one], SAMPLING)
    assert agreeing(alone) == "1 of 1 agree" and alone["rows"][1]["level"] == 0.02
    many = judged([row(around(0.2)), *[row(around(0.0, 9.0), "parts")] * 3, one], SAMPLING)
    assert many["rows"][4]["level"] == 0.005 and many["verdict"] == "replicates"
    against = judged([row(around(0.2)), row(around(-0.2), "parts")], SAMPLING)
    assert against["verdict"] == "replicates" and agreeing(against) == "0 of 1 agree"


def test_a_regime_check_fails_by_its_mean_on_pilot_or_test_seeds():
    holds = row([0.1] * 4, "regime_checks")
    assert judged([row(around(0.2)), holds], SAMPLING)["verdict"] == "replicates"
    fails = row([-0.1] * 4, "regime_checks")
    assert judged([row(around(0.2)), holds, fails], SAMPLING)["verdict"] == "not in its regime"
    assert judged([row([])], SAMPLING, pilot_holds=False)["verdict"] == "not in its regime"
    near = row([0.1, -0.1, 0.2, -0.2], "regime_checks", asks="equals", within=0.05)
    assert judged([row(around(0.2)), near], SAMPLING)["rows"][1]["holds"]
    never = row([None] * 4, "regime_checks")
    assert judged([row(around(0.2)), never], SAMPLING)["verdict"] == "not in its regime"


def test_seeds_without_a_number_are_left_out_unless_they_are_many():
    one_lacks = [0.2, 0.21, 0.19, None, 0.2, 0.21, 0.19, 0.2]
    found = judged([row(around(0.0, 9.0)[:3] + [None] + one_lacks[4:])], SAMPLING)
    assert found["rows"][0]["seeds"] == 7
    most_lack = judged([row([0.2, 0.2, None, None])], SAMPLING)
    assert most_lack["verdict"] == "inconclusive"
    assert most_lack["rows"][0]["why"] == "only 2 of 4 seeds have both numbers"


def simulated(mean: float, claims: int, sampling: Sampling, spread: float = 0.05) -> list[dict]:
    """Verdicts on claims whose true difference is known, with a normal spread between seeds."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(mean, spread, (claims, sampling.looks[-1]))
    return [judged([row(differences)], sampling) for differences in drawn.tolist()]


@pytest.mark.parametrize(("mean", "right"), [(0.0, "absent"), (0.05, "replicates"), (-0.05, "contradicts")])
def test_over_all_looks_verdicts_are_right_and_rarely_false(mean, right):
    found = [one["verdict"] for one in simulated(mean, 400, Sampling())]
    assert found.count(right) / 400 >= 0.93, "spread of δ between seeds"
    false = {"absent", "replicates", "contradicts"} - {right}
    assert sum(found.count(verdict) for verdict in false) / 400 <= 0.05
