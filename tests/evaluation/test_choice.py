"""Which arm to take, whether that is decided, and the looks at which it is asked."""

import numpy as np
import pytest

from scalpel.evaluation.choice import choose, together
from scalpel.evaluation.crossed import estimate
from scalpel.evaluation.looks import ended, in_words, planned, record

RNG = np.random.default_rng(0)


def nets(seeds=8, items=400, spread=0.01, **means):
    """Arms with nets of these means, seeds and items of this spread."""
    x_SI = {name: mean + spread * RNG.normal(size=(seeds, items)) for name, mean in means.items()}
    return {name: estimate((name,), "items", values) for name, values in x_SI.items()}


def test_an_arm_that_is_better_than_all_others_is_taken():
    found = choose(nets(sft=0.1, dft=0.3, grpo=0.0))
    assert (found.take, found.open) == ("dft", ()) and all(one.difference.low > 0 for one in found.duels)


def test_arms_that_are_alike_within_five_points_leave_nothing_open():
    found = choose(nets(sft=0.30, dft=0.301))
    assert found.take == "dft" or found.take == "sft"
    assert found.open == ()
    noisy = choose(nets(sft=0.30, dft=0.301, spread=1.0))
    assert noisy.open and not noisy.duels[0].settled


def test_that_none_is_worth_taking_is_decided_where_none_can_net_five_points():
    found = choose(nets(sft=0.0, dft=-0.01))
    assert (found.take, found.open) == (None, ())
    noisy = choose(nets(sft=0.0, dft=-0.5, spread=2.0))
    assert (noisy.take, noisy.open) == (None, ("sft",)), "only of sft it isn't known"
    assert choose({}).best is None


def test_a_smaller_level_takes_less():
    arms = nets(sft=0.12, spread=1.0)
    assert choose(arms, 0.05).take == "sft" and choose(arms, 1e-6).take is None
    assert together(4, 0.02) == pytest.approx(0.995) and together(0) == 0.95


def test_what_only_items_could_tell_is_given_up():
    """Items differ by much and seeds by nothing: another hundred seeds would give the same interval."""
    items_I = RNG.normal(size=30)
    same = {name: estimate((name,), name, items_I + 0.01 * RNG.normal(size=(8, 30))) for name in ("sft", "dft")}
    assert choose(same).stuck == ("sft", "dft")
    # one that seeds could tell of may be worth taking yet
    mixed = same | {"grpo": estimate(("grpo",), "other", 0.1 + RNG.normal(size=(3, 1)))}
    assert "grpo" in choose(mixed).open and choose(mixed).stuck == ()
    # one seed says nothing of others
    assert choose({name: estimate((name,), name, items_I[None]) for name in ("sft", "dft")}).stuck == ()


# --- looks ------------------------------------------------------------------------------------------------------


def test_looks_double_up_to_the_most():
    plan = planned([0, 1, 2], [], 16, 1000)
    assert plan.counts == [3, 6, 12, 16] and plan.seeds[1] == (0, 1, 2, 3, 4, 5)
    assert sum(plan.level(look) for look in range(4)) == pytest.approx(0.05)
    assert planned([0, 1, 2], [4, 8, 16, 32], 16, 1000).counts == [4, 8, 16]
    assert planned([0, 1, 2], [], 3, 1000).counts == [3]
    assert planned([0, 1, 2, 3], [], 16, 1000).counts == [4, 8, 16]


def test_added_seeds_are_none_that_were_used():
    assert planned([999], [], 3, 1000).seeds == ((999, 1001), (999, 1001, 1002))
    with pytest.raises(ValueError, match="one seed says nothing of others"):
        planned([0, 1, 2], [1, 4], 16, 1000)
    with pytest.raises(ValueError, match=r"after 3 seeds, but at most 2 may be run.*--most"):
        planned([0, 1, 2], [], 2, 1000)


def verdict(decided, take=None, still=(), stuck=()):
    return {"decided": decided, "take": take, "open": list(still), "stuck": list(stuck)}


def test_at_which_look_it_was_decided_is_said():
    plan = planned([0, 1, 2], [], 6, 1000)
    first = record(plan, 0, verdict(False, "sft", ["dft"]))
    assert not ended(first) and (first["look"], first["seeds"], first["level"]) == (1, 3, pytest.approx(0.05 / 3))
    second = record(plan, 1, verdict(True, "sft"))
    assert ended(second)
    assert in_words(plan, [first, second]) == [
        "Decided at look 2 of 2, with 6 seeds an arm.",
        "At 3 seeds an arm it was open: "
        "dft can be neither told apart from sft nor shown to be as good within 5 points.",
    ]
    (words,) = in_words(plan, [record(plan, 1, verdict(False, None, ["sft"]))])
    assert words.startswith("Not decided at look 2 of 2, with 6 seeds an arm, the most that were to be run: sft may")
    given_up = record(plan, 0, verdict(False, None, ["sft"], ["sft"]))
    assert ended(given_up) and "for sft the items are too few" in in_words(plan, [given_up])[0]
    unmeasured = record(plan, 0, verdict(False))
    assert ended(unmeasured) and "gain or forgetting was not measured" in in_words(plan, [unmeasured])[0]


def test_a_second_plan_in_the_same_folder_is_said_to_cost():
    plan = planned([0, 1, 2], [], 6, 1000)
    assert "in 10%" in in_words(plan, [record(plan, 0, verdict(True, "sft"))], plans=2)[-1]
