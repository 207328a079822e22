"""The verdict: what differences allow to be said, and what a claim makes of them."""

import pytest

from folders import Truth, write_comparison
from scalpel.claims.claim import Check, Claim, Statement
from scalpel.claims.judge import equalling, exceeding, judged, verdict
from scalpel.evaluation import load
from scalpel.evaluation.statistics import Interval

TRUTHS = {"sft": Truth(gain=0.9, lost=0.5), "grpo": Truth(gain=0.3, lost=0.1), "twin": Truth(gain=0.9, lost=0.5)}


@pytest.mark.parametrize(
    ("low", "high", "by", "outcome"),
    [
        (0.01, 0.2, 0.0, "holds"),
        (0.0, 0.2, 0.0, "open"),
        (-0.1, 0.2, 0.0, "open"),
        (-0.2, -0.1, 0.0, "fails"),
        (0.0, 0.0, 0.0, "fails"),  # the same is not more
        (0.06, 0.2, 0.05, "holds"),
        (0.01, 0.05, 0.05, "fails"),  # more, but less than what is claimed
        (-0.04, 0.2, -0.05, "holds"),  # not worse by more than five points
    ],
)
def test_a_number_exceeds_another_where_the_whole_interval_does(low, high, by, outcome):
    assert exceeding(Interval((low + high) / 2, low, high), by) == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(-0.04, 0.05, "holds"), (-0.06, 0.05, "open"), (0.06, 0.2, "fails"), (-0.2, -0.06, "fails"), (-1, 1, "open")],
)
def test_numbers_are_equal_where_the_whole_interval_is_small(low, high, outcome):
    assert equalling(Interval((low + high) / 2, low, high), 0.05) == outcome


@pytest.mark.parametrize(
    ("given", "tests", "expected"),
    [
        ([], ["holds", "holds"], "replicates"),
        (["holds"], ["holds", "fails"], "doesn't"),
        (["holds"], ["open", "fails"], "doesn't"),
        (["holds"], ["open", "holds"], "not testable here"),
        (["holds"], ["missing"], "not testable here"),
        (["open"], ["holds"], "not testable here"),
        (["fails"], ["fails"], "not testable here"),  # what should be given is not: the failure says nothing
    ],
)
def test_the_verdict_needs_what_is_given_and_all_tests(given, tests, expected):
    assert verdict({"given": given, "tests": tests, "besides": ["fails"]}) == expected


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_comparison(folder, TRUTHS)
    return {arm.name: arm for arm in load(folder)}


def check(that, **other) -> Check:
    return Check(says="it is so", that=that, **other)


def outcome(arms, one: Check, failed=None) -> dict:
    statement = Statement(title="t", paper="p", says="s", expect="e", tests=[one])
    claim = Claim("c", None, statement, None, "")  # type: ignore[arg-type]  # neither folder nor recipe is looked at
    return judged(claim, arms, failed or {})


def test_known_differences_come_out_as_they_are(arms):
    found = outcome(arms, check({"what": "gain", "arm": "sft"}, exceeds={"arm": "grpo"}, by=0.3))
    (row,) = found["checks"]
    assert found["verdict"] == "replicates" and found["words"] == []
    assert row["values"] == pytest.approx([0.9, 0.3]) and row["difference"]["mean"] == pytest.approx(0.6)
    assert row["unit"] == "points" and row["that"] == "gain of sft" and row["other"] == "gain of grpo"
    backwards = outcome(arms, check({"what": "gain", "arm": "grpo"}, exceeds={"arm": "sft"}))
    assert backwards["verdict"] == "doesn't" and "otherwise" in backwards["words"][0]


def test_a_constant_will_do_for_the_other_side(arms):
    assert outcome(arms, check({"what": "gain", "arm": "sft"}, exceeds=0.5))["verdict"] == "replicates"
    assert outcome(arms, check({"what": "gain", "arm": "sft"}, equals=0.5, within=0.1))["verdict"] == "doesn't"


def test_twins_are_equal_and_neither_exceeds_the_other(arms):
    that = {"what": "forgetting", "arm": "sft"}
    assert outcome(arms, check(that, equals={"arm": "twin"}, within=0.1))["verdict"] == "replicates"
    assert outcome(arms, check(that, exceeds={"arm": "twin"}, by=0.1))["verdict"] == "doesn't"
    assert outcome(arms, check(that, equals={"arm": "twin"}, within=0.001))["checks"][0]["outcome"] == "open"


def test_the_best_arm_is_chosen_on_its_own_seeds(arms):
    best = {"what": "gain", "best": ["grpo", "sft"], "chosen_on": [0], "seeds": [0, 1]}
    found = outcome(arms, check(best, equals={"arm": "sft"}, within=0.1))
    assert found["verdict"] == "replicates"
    assert found["checks"][0]["that"] == "gain of the best of grpo and sft on seed 0, seeds 0 and 1"


def test_one_seed_says_nothing_of_others(arms):
    found = outcome(arms, check({"what": "gain", "arm": "sft", "seeds": [1]}, exceeds={"arm": "grpo"}))
    assert found["checks"][0]["outcome"] == "open" and found["verdict"] == "not testable here"
    assert "one seed can't tell" in found["words"][0]


def test_an_arm_without_a_result_and_a_level_never_reached_are_missing_with_the_reason(arms):
    rest = {name: arm for name, arm in arms.items() if name != "grpo"}
    that = {"what": "gain", "arm": "sft"}
    found = outcome(rest, check(that, exceeds={"arm": "grpo"}), {"grpo": "memory ran out"})
    assert found["checks"][0]["outcome"] == "missing" and "memory ran out" in found["words"][0]
    never = outcome(arms, check({"what": "forgetting-at", "accuracy": 0.99, "arm": "sft"}, exceeds={"arm": "grpo"}))
    assert never["verdict"] == "not testable here" and "reached 99%" in never["words"][0]


def test_what_stands_besides_is_reported_and_decides_nothing(arms):
    one = check({"what": "gain", "arm": "sft"}, exceeds={"arm": "grpo"})
    other = check({"what": "gain", "arm": "grpo"}, exceeds={"arm": "sft"})
    statement = Statement(title="t", paper="p", says="s", expect="e", tests=[one], besides=[other])
    found = judged(Claim("c", None, statement, None, ""), arms, {})  # type: ignore[arg-type]
    assert found["verdict"] == "replicates" and [r["outcome"] for r in found["checks"]] == ["holds", "fails"]


def test_a_number_may_be_what_one_arm_has_beyond_another(arms):
    beyond = {"what": "gain", "arm": "sft", "less": {"arm": "grpo"}}
    found = outcome(arms, check(beyond, exceeds={"arm": "grpo", "less": {"arm": "twin"}}))["checks"][0]
    assert found["values"] == [pytest.approx(0.6), pytest.approx(-0.6)] and found["outcome"] == "holds"
    assert found["that"] == "(gain of sft, less gain of grpo)"
    itself = outcome(arms, check({**beyond, "less": {"what": "gain", "arm": "twin"}}, exceeds=0.2))["checks"][0]
    assert itself["values"][0] == 0 and itself["outcome"] == "fails"
