"""Probes by a pretend engine whose answers and log-probabilities are known."""

import pytest

from folders import FakeEngine, WordTask
from scalpel.data.example import Example
from scalpel.evaluation.probes import (
    Choice,
    Choose,
    Drift,
    Generate,
    Given,
    choices,
    make_probes,
    read_choices,
)
from scalpel.evaluation.probes.item import prompt_text
from scalpel.registry import AXES


def test_the_four_kinds_are_registered():
    assert {"generate", "choose", "given", "drift"} <= set(AXES["probe"])


def test_generate_judges_by_the_task_and_scores_the_demonstration():
    engine = FakeEngine(lambda prompt: prompt.upper() if prompt != "w1" else "no")
    first, second = Generate("upper", WordTask(), n=2).run(engine)
    assert (first.id, first.right, first.output, first.answer) == ("upper:w0", True, "W0", "W0")
    assert (second.right, second.output) == (False, "no")
    assert first.value == -3.0  # two letters and the stop token at −1 each


def test_generate_has_no_value_where_there_is_no_answer_to_score():
    class Open(WordTask):
        def examples(self, split, n, seed=0):
            return [Example(prompt="say", id="a"), Example(prompt="w0", completion="W0", answer="W0", id="b")]

    found = Generate("open", Open()).run(FakeEngine(str.upper))
    assert [result.value for result in found] == [None, -3.0]


def test_within_k_asks_whether_any_sample_is_right():
    engine = FakeEngine(lambda p: "no", samples=lambda p, i: p.upper() if p == "w0" and i == 2 else "no")
    probe = Generate("upper", WordTask(), n=2)
    assert probe.tries(engine, k=3) == {"upper:w0": True, "upper:w1": False}
    assert probe.tries(engine, k=2) == {"upper:w0": False, "upper:w1": False}


def test_only_keeps_the_named_items():
    probe = Generate("upper", WordTask(), n=5).only({"upper:w3"})
    assert [result.id for result in probe.run(FakeEngine(str.upper))] == ["upper:w3"]


def test_choose_takes_the_likelier_and_a_draw_is_wrong():
    likely = {"good": -1.0, "bad.": -2.0, "same": -1.0}
    engine = FakeEngine(str, logp=lambda prompt, text: likely[text])
    pair = Choose("blimp", (Choice("1", "", ("good", "bad."), 0), Choice("2", "", ("good", "same"), 0)))
    first, second = pair.run(engine)
    assert first.right and first.output == "good" and first.value == -4.0
    assert not second.right


def test_length_normalised_choice_divides_by_characters():
    # sum: "ab" −3 > "abcdef" −6; per character: −1.5 < −1
    engine = FakeEngine(str, logp=lambda prompt, text: -1.5 if text == "ab" else -1.0)
    item = (Choice("1", "q", ("ab", "abcdef"), 1),)
    assert not Choose("mc", item).run(engine)[0].right
    assert Choose("mc", item, normalise=True).run(engine)[0].right


def test_a_choice_is_scored_without_the_stop_token():
    rows = []

    class Recorder(FakeEngine):
        def logps(self, given):
            rows.extend(given)
            return super().logps(given)

    Choose("x", (Choice("1", "", ("a", "b"), 0),)).run(Recorder(str))
    assert rows == [([0], [97]), ([0], [98])]


def test_choices_come_from_pairs_and_from_questions():
    found = choices([{"good": "a", "bad": "b"}, {"prompt": "q", "choices": ["x", "y"], "answer": "y", "id": "z"}])
    assert found == (Choice("1", "", ("a", "b"), 0), Choice("z", "q", ("x", "y"), 1))


@pytest.mark.parametrize(
    "row, words",
    [
        ({"god": "a", "bad": "b"}, "needs `good` and `bad`"),
        ({"choices": ["a"], "answer": 0}, "nothing to choose"),
        ({"choices": ["a", "b"], "answer": 2}, "neither an index below 2"),
        ({"choices": ["a", "b"], "answer": "c"}, "nor one of the choices"),
        ({"choices": ["a", "b"], "answer": True}, "neither an index"),
    ],
)
def test_bad_choices_are_refused_with_their_place(row, words):
    with pytest.raises(ValueError, match=f"pairs:1.*{words}"):
        choices([row], "pairs")


def test_choices_are_drawn_from_a_file_by_the_seed(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f'{{"good": "g{i}", "bad": "b{i}"}}\n' for i in range(50)))
    some = read_choices(path, n=10, seed=1)
    assert len(some) == 10 and some == read_choices(path, n=10, seed=1) != read_choices(path, n=10, seed=2)
    assert [int(item.id) for item in some] == sorted(int(item.id) for item in some)
    with pytest.raises(ValueError, match="no file"):
        read_choices(tmp_path / "absent.jsonl")
    path.write_text('{"good": "g", "bad": "b"}\n{"good": \n')
    with pytest.raises(ValueError, match=r"pairs\.jsonl:2 is not JSON"):
        read_choices(path)


def test_given_is_the_mean_over_tokens():
    engine = FakeEngine(str, logp=lambda prompt, text: -0.25 if text == "long answer" else -2.0)
    examples = (Example(prompt="q", completion="long answer", id="a"), Example(prompt="q", answer="no", id="b"))
    assert [result.value for result in Given("gsm", examples).run(engine)] == [-0.25, -2.0]
    with pytest.raises(ValueError, match="neither completion nor answer"):
        Given("gsm", (Example(prompt="q", id="a"),))


def test_drift_is_zero_at_home_and_positive_away():
    base, tuned = FakeEngine(lambda p: "text"), FakeEngine(str, logp=lambda p, t: -1.5)
    probe = Drift("drift", prompts=("a", "b"))
    assert [result.value for result in probe.run(base, base)] == [0.0, 0.0]
    assert [result.value for result in probe.run(tuned, base)] == [0.5, 0.5]
    assert [result.output for result in probe.run(tuned, base)] == ["text", "text"]


def test_the_base_writes_its_text_once():
    base, tuned = FakeEngine(lambda p: "text"), FakeEngine(str)
    probe = Drift("drift", prompts=("a", "b"))
    for _ in range(3):
        probe.run(tuned, base)
        probe.only({"1"}).run(tuned, base)
    assert base.written == 2 and tuned.written == 0


def test_drift_on_given_texts_and_on_some_of_them():
    base, tuned = FakeEngine(str), FakeEngine(str, logp=lambda p, t: -3.0)
    probe = Drift("drift", texts=("one", "two")).only({"1"})
    assert [(r.id, r.value, r.output) for r in probe.run(tuned, base)] == [("1", 2.0, "two")]


def test_drift_needs_texts_or_prompts_and_a_base():
    with pytest.raises(ValueError, match="not both"):
        Drift("drift")
    with pytest.raises(ValueError, match="not both"):
        Drift("drift", texts=("a",), prompts=("b",))
    with pytest.raises(ValueError, match="from a base"):
        Drift("drift", texts=("a",)).run(FakeEngine(str))


def test_items_that_share_an_id_are_refused():
    with pytest.raises(ValueError, match="two items with id '1'"):
        Choose("x", (Choice("1", "", ("a", "b"), 0), Choice("1", "", ("c", "d"), 0)))
    with pytest.raises(ValueError, match="no items"):
        Choose("x", ())


def test_messages_are_shown_by_role():
    assert (
        prompt_text(({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}))
        == "user: hi\nassistant: ho"
    )


def test_probes_are_made_from_tables(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"good": "a", "bad": "b"}\n' * 3)
    specs = [
        {"name": "new", "task": "upper", "n": 3, "stop": ["."]},
        {"name": "blimp", "kind": "choose", "path": str(tmp_path / "pairs.jsonl"), "n": 2},
        {"name": "answers", "kind": "given", "task": "upper", "n": 4},
        {"name": "neutral", "kind": "drift", "prompts": ["a"], "task": "upper", "n": 2},
    ]
    new, blimp, answers, neutral = make_probes(specs, "", WordTask)
    assert isinstance(new, Generate) and (new.role, new.n, new.stop, new.task.name) == ("target", 3, (".",), "upper")
    assert isinstance(blimp, Choose) and (blimp.role, len(blimp.items)) == ("keep", 2)
    assert isinstance(answers, Given) and len(answers.examples) == 4
    assert isinstance(neutral, Drift) and neutral.prompts == ("a", "w0", "w1")
    assert [probe.role for probe in make_probes(specs, "answers", WordTask)] == ["keep", "keep", "target", "keep"]


@pytest.mark.parametrize(
    "specs, target, words",
    [
        ([], "", "no probe"),
        ([{"name": "a", "task": "t"}], "b", "unknown probe 'b'"),
        ([{"name": "a", "task": "t"}, {"name": "a", "task": "t"}], "", "share a name"),
        ([{"kind": "generate", "task": "t"}], "", "has no name"),
        ([{"name": "a", "kind": "chose"}], "", "did you mean 'choose'"),
        ([{"name": "a", "task": "t", "splt": "test"}], "", "did you mean 'split'"),
        ([{"name": "a"}], "", "no 'task'"),
        ([{"name": "a", "kind": "choose"}], "", "no 'path'"),
        ([{"name": "a", "task": "t", "n": 0}], "", "probes.0.n is 0, but must be an integer from 1"),
        ([{"name": "a", "task": "t", "max_tokens": 0}], "", "max_tokens is 0, but must be an integer from 1"),
    ],
)
def test_bad_tables_are_refused(specs, target, words):
    with pytest.raises(ValueError, match=words):
        make_probes(specs, target, WordTask)
