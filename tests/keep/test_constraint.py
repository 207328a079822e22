"""The floor along a run: looks, the worst ability, checkpoints."""

from dataclasses import dataclass
from random import Random

import pytest

from scalpel.engine import CostMeter
from scalpel.keep import Ability, Dual, RetentionFloor


class Model(dict):
    """A model that says what it gets right: {name: items}."""

    def __init__(self, **right: set[int]) -> None:
        super().__init__(right)
        self.meter = CostMeter()


@dataclass
class Told(Ability):
    """An ability whose flags are what the model says."""

    name: str
    n: int = 40
    units: int = 1

    def __len__(self) -> int:
        return self.n

    def flags(self, engine, chosen):
        engine.meter.flops += 10 * len(chosen)
        return [[i in engine[self.name]] * self.units for i in chosen]


ALL = Model(a=set(range(40)), b=set(range(40)))


def look(floor: RetentionFloor, model: Model, step: int = 0) -> dict[str, float]:
    """One of 48 looks."""
    return floor.evaluate(model, step, floor.progress + 1 / 48)


def begun(base=ALL, **options) -> RetentionFloor:
    floor = RetentionFloor([Told("a"), Told("b")], Dual(0.9), **options)
    floor.begin(base)
    return floor


def test_the_base_itself_keeps_everything():
    floor = begun()
    seen = look(floor, ALL)
    assert seen["keep/a"] == seen["keep/b"] == seen["keep/worst"] == 1.0
    assert seen["keep/strength"] < Dual(0.9).strength


def test_only_what_the_base_gets_right_counts():
    floor = begun(Model(a=set(range(20)), b=set(range(40))))
    assert floor.whole(Model(a=set(range(10, 40)), b=set(range(40)))) == {"a": 0.5, "b": 1.0}


def test_the_ability_of_which_least_is_left_steers():
    floor = begun(items=40, memory=1.0)
    seen = look(floor, Model(a=set(range(40)), b=set(range(10))))
    assert seen["keep/worst"] == 0.25 and seen["keep/strength"] > Dual(0.9).strength


def test_a_few_items_below_the_floor_may_be_chance_and_move_nothing():
    """Of 40 items 34 are right: that is below 0.9, but 36 would be none too lucky."""
    floor = begun(items=40, memory=1.0)
    seen = look(floor, Model(a=set(range(34)), b=set(range(40))))
    assert seen["keep/a"] == 0.85 and floor.states[0].high > 0.9
    assert seen["keep/strength"] == Dual(0.9).strength


class Chance(Told):
    """An ability of which the model gets a share right, item by item by chance."""

    def flags(self, engine, chosen):
        return [[engine.rng.random() < engine.share] for _ in chosen]


def followed(share: float, abilities: int = 14, looks: int = 60) -> tuple[float, float]:
    """The strength after many looks at so many abilities of which a share is left, and how often the worst was seen
    below the floor."""
    model = Model()
    model.rng, model.share = Random(0), 1.0
    floor = RetentionFloor([Chance(str(k)) for k in range(abilities)], Dual(0.98, strength=20.0), items=40)
    floor.begin(model)
    model.share = share
    for _ in range(looks):
        look(floor, model)
    return floor.dual.strength, floor.below / looks


def test_of_many_abilities_one_is_seen_below_the_floor_by_chance_but_what_holds_is_let_go_of():
    holding, seen_below = followed(0.99)
    assert seen_below > 0.5 and holding < 15
    broken, _ = followed(0.95)
    assert broken > 60


def test_a_single_ability_is_taken_for_what_it_is_seen_to_be():
    floor = RetentionFloor([Told("a")], Dual(0.9), items=40, memory=1.0)
    floor.begin(ALL)
    look(floor, Model(a=set(range(37))))
    assert floor.likely == floor.worst == 37 / 40


def test_many_looks_tell_what_one_cannot():
    floor = begun(items=40, memory=0.05)
    worse = Model(a=set(range(33)), b=set(range(40)))
    strengths = [look(floor, worse)["keep/strength"] for _ in range(80)]
    assert floor.states[0].retention == pytest.approx(33 / 40, abs=0.01)
    assert strengths[-1] > min(strengths)


def test_looks_go_round_the_whole_set():
    floor = begun(items=16)
    seen = [i for _ in range(5) for i in floor.states[0].next(16, floor.seed)]
    assert sorted(seen[:40]) == list(range(40)) and seen[40:] == seen[:40]


def test_the_average_over_looks_forgets_at_its_rate():
    floor = begun(items=40, memory=0.25)
    nothing = Model(a=set(), b=set(range(40)))
    assert [look(floor, nothing)["keep/a"] for _ in range(2)] == pytest.approx([0.75, 0.5625])


def test_an_ability_that_the_base_hardly_has_is_refused():
    with pytest.raises(ValueError, match=r"keep set 'a': the base gets 7 of 40 right, too few"):
        begun(Model(a=set(range(7)), b=set(range(40))))


def test_it_has_held_since_the_last_look_that_was_sure_of_the_contrary_was_over():
    floor = begun(items=40, memory=1.0)
    nothing = Model(a=set(), b=set(range(40)))
    since = []
    for step, model in ((5, ALL), (10, nothing), (15, nothing), (20, ALL), (25, ALL)):
        look(floor, model, step)
        since.append(floor.since)
    assert since == [0, None, None, 20, 20]


def test_a_restored_floor_goes_on_as_if_never_stopped():
    first, second = begun(items=7), RetentionFloor([Told("a"), Told("b")], Dual(0.9), items=7)
    half = Model(a=set(range(0, 40, 2)), b=set(range(40)))
    look(first, half)
    second.restore(first.state())
    assert [look(first, half) for _ in range(4)] == [look(second, half) for _ in range(4)]
    assert first.whole(half) == second.whole(half)


def test_the_account_counts_looks_and_scores_the_whole_set():
    floor = begun(items=10, memory=1.0)
    worse = Model(a=set(range(30)), b=set(range(40)))
    for _ in range(4):
        look(floor, worse)
    account = floor.account(worse)
    assert account["left"] == {"a": 0.75, "b": 1.0} and not account["held"]
    assert account["units"] == {"a": 40, "b": 40}
    assert account["looks"] == 4 and 1 <= account["below"] <= 4 and account["flops"] == 4 * 2 * 10 * 10
    assert floor.account(ALL)["held"]
