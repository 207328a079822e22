"""Keep sets: what they ask, and what they refuse."""

import json
from math import exp

import pytest

import material
from scalpel.data.example import Example
from scalpel.engine import Engine
from scalpel.evaluation.probes import make_probes
from scalpel.keep import make_sets
from scalpel.keep.sets import Answers

EXAMPLES = [Example("ab", " cd", "cd", id="0"), Example("x", None, " y", id="1"), Example("12+", " 34", "34", id="2")]


class Given:
    name = "given"

    def __init__(self, **by_split: list[Example]) -> None:
        self.by_split = by_split

    def examples(self, split: str, n: int, seed: int = 0) -> list[Example]:
        return self.by_split.get(split, [])[:n]


@pytest.fixture(scope="module")
def policy() -> Engine:
    return material.engine()


def made(policy, *specs, probes=(), **splits):
    return make_sets(specs, policy.tokens, lambda task: Given(**(splits or {"keep": EXAMPLES})), probes)


def test_an_answer_is_one_unit_or_one_a_token(policy):
    whole, parts = made(policy, {"name": "a", "task": {}}, {"name": "b", "task": {}, "kind": "tokens"})
    one, many = whole.flags(policy, [0, 2]), parts.flags(policy, [0, 2])
    assert [len(units) for units in one] == [1, 1]
    assert [len(units) for units in many] == [len(row[1]) for row in (parts.rows[0], parts.rows[2])]
    assert one == [[all(units)] for units in many]


def test_of_a_conversation_the_last_turn_of_the_assistant_is_kept(policy):
    turns = tuple({"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "b"), ("user", "c")))
    talk = Example(messages=(*turns, {"role": "assistant", "content": "d"}), id="0")
    (ability,) = made(policy, {"name": "a", "task": {}}, keep=[talk])
    assert ability.rows == ((policy.tokens.prompt(turns), policy.tokens.completion("d", turns)),)
    with pytest.raises(ValueError, match="example '0' has no completion, answer or assistant's turn"):
        made(policy, {"name": "a", "task": {}}, keep=[Example(messages=turns[:1], id="0")])


def test_flags_are_those_of_greedy_decoding(policy):
    (ability,) = made(policy, {"name": "a", "task": {}, "kind": "tokens"})
    for (prompt, answer), units in zip(ability.rows, ability.flags(policy, range(3)), strict=True):
        for t, right in enumerate(units):
            (sample,) = policy.sample([[*prompt, *answer[:t]]], material.Sampling(1, temperature=0.0))[0]
            assert right == (sample.ids[0] == answer[t])


def test_of_the_tokens_those_are_known_of_which_the_base_is_sure(policy):
    prompts = [policy.tokens.prompt(example.prompt) for example in EXAMPLES]
    greedy = policy.sample(prompts, material.Sampling(6, temperature=0.0))
    rows = [(prompt, [*group[0].ids[:-1], 0]) for prompt, group in zip(prompts, greedy, strict=True)]
    firsts, logps = policy.first_choices(rows), policy.logps(rows)
    each = [list(zip(first, map(exp, logp), strict=True)) for first, logp in zip(firsts, logps, strict=True)]
    chances = sorted(p for item in each for first, p in item if first)
    sure = (chances[0] + chances[-1]) / 2
    assert chances[0] < sure < chances[-1]
    ability = Answers("a", tuple(rows), by_token=True, sure=sure)
    assert ability.known(policy) == [[first and p >= sure for first, p in item] for item in each]
    assert Answers("a", tuple(rows), by_token=True).known(policy) == firsts


def test_a_base_is_sure_of_a_token_from_one_half_on(policy):
    half, all_of_them = made(
        policy,
        {"name": "a", "task": {}, "kind": "tokens"},
        {"name": "b", "task": {}, "kind": "tokens", "sure": 0.0},
    )
    assert (half.sure, all_of_them.sure) == (0.5, 0.0)


def test_an_item_without_a_completion_is_held_by_its_answer(policy):
    (ability,) = made(policy, {"name": "a", "task": {}})
    assert ability.rows[1] == (policy.tokens.prompt("x"), policy.tokens.completion(" y", "x"))


def test_what_is_solved_is_what_the_model_writes_right_by_the_tasks_measure(policy):
    """Any text that the task takes for right counts, whatever its demonstration says."""

    class Taken(Given):
        def score(self, completion, example):
            return float(completion == taken[example.id])

    prompts = [policy.tokens.prompt(example.prompt) for example in EXAMPLES]
    greedy = policy.sample(prompts, material.Sampling(5, temperature=0.0))
    taken = {example.id: policy.tokens.text(group[0].ids) for example, group in zip(EXAMPLES, greedy, strict=True)}
    taken["1"] += "x"
    table = {"name": "a", "task": {}, "kind": "solved", "max_tokens": 5}
    (ability,) = make_sets([table], policy.tokens, lambda task: Taken(keep=EXAMPLES))
    assert len(ability) == 3 and ability.flags(policy, [2, 0, 1]) == [[True], [True], [False]]


def test_choices_that_the_ledger_asks_are_left_out(policy, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"good": f"he sings {i}", "bad": f"he sing {i}"}) + "\n" for i in range(10)))
    probes = make_probes([{"name": "p", "kind": "choose", "path": str(path), "n": 6}], "p", lambda task: Given())
    (ability,) = made(policy, {"name": "g", "kind": "choose", "path": str(path)}, probes=probes)
    asked = {item.choices for item in probes[0].items}
    assert len(ability) == 4 and not asked & {item.choices for item in ability.probe.items}
    assert [len(units) for units in ability.flags(policy, [3, 1])] == [1, 1]


def test_choices_that_are_alike_are_told_apart_by_what_they_answer(policy, tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"prompt": f"is {i} even?", "choices": ["yes", "no"], "answer": i % 2} for i in range(10)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    probes = make_probes([{"name": "p", "kind": "choose", "path": str(path), "n": 6}], "p", lambda task: Given())
    (ability,) = made(policy, {"name": "g", "kind": "choose", "path": str(path)}, probes=probes)
    assert not {item.prompt for item in probes[0].items} & {item.prompt for item in ability.probe.items}
    assert len(ability) == 4


@pytest.mark.parametrize("kind", ["generate", "given", "sampled"])
def test_questions_that_the_ledger_asks_are_left_out(policy, kind):
    """Two files, or one that is divided in two ways, may hold the same."""
    task = Given(test=EXAMPLES[:1])
    probes = make_probes([{"name": "p", "kind": kind, "task": {}}], "p", lambda _: task)
    for set_kind, rows in (("answers", "rows"), ("solved", "examples")):
        (ability,) = made(policy, {"name": "a", "task": {}, "kind": set_kind}, probes=probes)
        assert len(getattr(ability, rows)) == 2
    with pytest.raises(ValueError, match="no items but those that the ledger measures"):
        made(policy, {"name": "a", "task": {}}, probes=probes, keep=EXAMPLES[:1])


def test_flags_come_in_the_order_that_is_asked(policy, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"good": f"{i} a", "bad": f"{i} b"}) + "\n" for i in range(8)))
    (ability,) = made(policy, {"name": "g", "kind": "choose", "path": str(path)})
    forth, back = ability.flags(policy, range(8)), ability.flags(policy, range(7, -1, -1))
    assert forth == back[::-1]


@pytest.mark.parametrize(
    "specs, words",
    [
        ([], "a floor needs a keep set: add"),
        ([{"task": {}}], "keep.sets.0 has no name"),
        ([{"name": "a", "task": {}}, {"name": "a", "task": {}}], "give each a name of its own"),
        ([{"name": "a", "kind": "answer", "task": {}}], "did you mean 'answers'"),
        ([{"name": "a", "task": {}, "split": "test"}], "unknown key 'split'"),
        ([{"name": "a", "task": {}, "kind": "tokens", "sure": 2}], "sure is 2, but must be a number from 0 to 1"),
        ([{"name": "a", "task": {}, "sure": 0.5}], "unknown key 'sure'"),
        ([{"name": "a"}], "has no 'task'"),
        ([{"name": "a", "kind": "choose"}], "has no 'path'"),
    ],
)
def test_a_keep_set_that_cannot_be_is_refused(policy, specs, words):
    with pytest.raises(ValueError, match=words):
        made(policy, *specs)


def test_a_task_without_items_to_keep_is_refused(policy):
    with pytest.raises(ValueError, match="no items in the split 'keep'"):
        made(policy, {"name": "a", "task": {}}, test=EXAMPLES)


def test_a_file_of_which_the_ledger_asks_everything_is_refused(policy, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"good": "a b", "bad": "a c"}\n')
    probes = make_probes([{"name": "p", "kind": "choose", "path": str(path)}], "p", lambda task: Given())
    with pytest.raises(ValueError, match="no items but those that the ledger measures"):
        made(policy, {"name": "g", "kind": "choose", "path": str(path)}, probes=probes)


def test_nothing_is_solved_without_a_token(policy):
    with pytest.raises(ValueError, match="max_tokens is 0, but must be an integer from 1"):
        made(policy, {"name": "a", "task": {}, "kind": "solved", "max_tokens": 0})
