"""A conversation with a pretend engine that answers by how often it was asked."""

import pytest

from folders import FakeEngine, WordTask
from scalpel.evaluation.probes import Generate, Revised, make_probes
from scalpel.registry import AXES

# w0 is right at once and then changes its mind, w1 at the second turn, w2 at the third
TURNS = {"w0": ["W0", "no", "no"], "w1": ["no", "W1", "W1"], "w2": ["no", "nay", "W2"]}


def speak(prompt: str) -> str:
    return TURNS[prompt[:2]][prompt.count("again")]


def right(turns: int, **more) -> list[bool | None]:
    return [r.right for r in Revised("r", WordTask(), n=3, turns=turns, again="again", **more).run(FakeEngine(speak))]


def test_it_is_right_once_an_answer_was_within_so_many_turns():
    assert right(1) == [True, False, False]
    assert right(2) == [True, True, False]
    assert right(3) == [True, True, True]


def test_without_an_oracle_the_last_answer_counts():
    assert right(2, oracle=False) == [False, True, False]
    assert right(3, oracle=False) == [False, True, True]


def test_each_turn_sees_the_answers_before_it_and_only_open_ones_are_asked():
    asked: list[str] = []
    engine = FakeEngine(lambda prompt: asked.append(prompt) or speak(prompt))
    Revised("r", WordTask(), n=3, turns=3, again="again").answers(engine, WordTask().examples("test", 3))
    assert asked[3:] == ["w1no\nagain\n", "w2no\nagain\n", "w2no\nagain\nnay\nagain\n"]


def test_one_turn_is_generate():
    task, engine = WordTask(), FakeEngine(speak)
    assert Revised("r", task, n=3, turns=1).run(engine) == Generate("r", task, n=3).run(engine)


def test_no_turn_is_refused():
    with pytest.raises(ValueError, match="probe 'r': turns = 0; it needs at least 1"):
        Revised("r", WordTask(), turns=0)


def test_a_recipe_makes_one():
    spec = {"name": "r", "kind": "revised", "task": "upper", "turns": 4, "oracle": False, "stop": ["#"]}
    made = make_probes([spec], "", lambda name: WordTask())[0]
    assert isinstance(made, Revised) and (made.turns, made.oracle, made.stop) == (4, False, ("#",))
    assert isinstance(made, Revised) and "revised" in AXES["probe"]
    with pytest.raises(ValueError, match="did you mean 'turns'"):
        make_probes([{**spec, "turn": 3}], "", lambda name: WordTask())
