"""Several samples and one number of them, by a pretend engine whose samples are known."""

import pytest

import scalpel.world  # noqa: F401
from folders import FakeEngine, WordTask
from scalpel import models
from scalpel.engine import Engine
from scalpel.evaluation.probes import Sampled, make_probes
from scalpel.registry import AXES, lookup

# of "w0" the samples are W0, W0, no, no; of "w1" no, nay, W1, never
SAMPLES = {"w0": ["W0", "W0", "no", "no"], "w1": ["no", "nay", "W1", "never"]}
ENGINE = FakeEngine(str.upper, samples=lambda prompt, index: SAMPLES[prompt][index])


def seen(of: str, **more) -> list[float]:
    return [result.value for result in Sampled("s", WordTask(), of, n=2, k=4, **more).run(ENGINE)]


def test_what_is_counted():
    assert seen("solved") == [2 / 4, 1 / 4]
    assert seen("any") == [1.0, 1.0]
    assert seen("distinct") == [2 / 4, 4 / 4]
    assert seen("ways") == [1 / 4, 1 / 4]
    assert seen("length") == [2.0, (2 + 3 + 2 + 5) / 4]
    assert seen("pattern", pattern="^n") == [2 / 4, 3 / 4]
    worked = FakeEngine(str.upper, samples=lambda prompt, index: ["1+1=2;2+2=5#5", "3#3"][index % 2])
    assert [r.value for r in Sampled("s", WordTask(), "equations", n=1, k=4).run(worked)] == [1 / 4]


def test_entropy_is_that_of_the_distributions_along_the_samples():
    engine = Engine(*models.load("world-300k"))
    task = lookup("task", "world/chains").at(largest=30)
    values = [Sampled("s", task, "entropy", n=4, k=2, temperature=t, max_tokens=30).run(engine) for t in (0.5, 1.0)]
    cold, warm = (sum(result.value for result in found) / 4 for found in values)
    assert 0 < cold < warm < 1, "nats a character, of which most are certain"


def test_the_edge_is_the_covariance_of_a_style_with_success():
    # of the first, half is written with W and right, half neither; of the second, one in four has both
    assert seen("edge", pattern="W") == [1 / 2 - 1 / 4, 1 / 4 - 1 / 16]
    assert seen("edge", pattern="^n") == [-1 / 4, -3 / 16]
    assert seen("edge", pattern=".") == [0.0, 0.0], "what is always so wins nothing"


def test_it_is_within_reach_only_if_a_sample_is_right():
    no = FakeEngine(str.upper, samples=lambda prompt, index: "no")
    assert [r.value for r in Sampled("s", WordTask(), "any", n=2, k=4).run(no)] == [0.0, 0.0]


def test_it_knows_no_right_and_wrong_of_an_item_and_keeps_a_sample_to_look_at():
    (result, _) = Sampled("s", WordTask(), n=2, k=4).run(ENGINE)
    assert (result.right, result.output, result.answer, result.prompt) == (None, "W0", "W0", "w0")


def test_only_keeps_the_named_items():
    probe = Sampled("s", WordTask(), n=2, k=4).only({"upper:w1"})
    assert [result.id for result in probe.run(ENGINE)] == ["upper:w1"]
    assert probe.only(set()).run(ENGINE) == []


def test_a_recipe_makes_one():
    made = make_probes(
        [{"name": "s", "kind": "sampled", "task": "upper", "of": "pattern", "pattern": "W", "k": 3, "stop": ["#"]}],
        "",
        lambda name: WordTask(),
    )[0]
    assert isinstance(made, Sampled) and (made.k, made.stop, made.role) == (3, ("#",), "target")
    assert "sampled" in AXES["probe"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"of": "solve"}, "did you mean 'solved'?"),
        ({"of": "pattern"}, "give a pattern"),
        ({"of": "edge"}, "give a pattern"),
        ({"pattern": "a"}, "give a pattern"),
        ({"of": "pattern", "pattern": "("}, "no regular expression"),
        ({"k": 0}, "k = 0"),
        ({"temperature": 0.0}, "all samples of a prompt are equal"),
    ],
)
def test_what_makes_no_sense_is_refused(keys, words):
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        Sampled("s", WordTask(), **keys)
