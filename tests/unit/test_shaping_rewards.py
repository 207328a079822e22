"""Rewards of form, process and length, and rewards that shape others."""

from typing import Any

import pytest
import torch

from scalpel.data.example import Example
from scalpel.rewards import Rewards, TrainerState
from scalpel.rewards.equations import true_share, value
from scalpel.rewards.verifiers import make

CAT = Example("what is it?", answer="cat")
WHOLE = "<think>has\nfur</think>\n<answer>Cat</answer>"


@pytest.mark.parametrize(
    ("spec", "completion", "score"),
    [
        ("think-format", WHOLE, 1.0),
        ("think-format", WHOLE + "!", 0.0),
        ("think-format", "<answer>cat</answer>", 0.0),
        ({"name": "think-format", "thought": "plan"}, WHOLE.replace("think", "plan"), 1.0),
        ("think-answer", WHOLE, 1.0),
        ("think-answer", "so: <answer> cat </answer> or <answer>dog</answer>", 1.0),
        ("think-answer", " Cat\n", 1.0),  # without tags the whole completion is compared
        ("think-answer", "it is a cat", 0.0),
        ({"name": "think-answer", "answer": "a"}, "<a>CAT</a>", 1.0),
        ("verbatim", "cat", 1.0),
        ("verbatim", "Cat", 0.0),
        ("verbatim", " cat", 0.0),
        ("equations", "8+5=13;13-2=11#11", 1.0),
        ("equations", "8+5=13;13-2=12#12", 0.5),
        ("equations", "13,11#11", 0.0),
    ],
)
def test_a_form_is_judged_as_it_says(spec: Any, completion: str, score: float) -> None:
    assert make(spec)(completion, CAT) == score


@pytest.mark.parametrize(
    ("text", "right"),
    [("(2+3)*4", 20.0), ("7/2", 3.5), ("-3 + 5", 2.0), ("1/0", None), ("2**9", None), ("a+1", None), ("((1", None)],
)
def test_a_calculation_is_worked_out_and_nothing_else_is(text: str, right: float | None) -> None:
    assert value(text) == right


def test_equations_are_found_among_words_and_a_power_is_none_of_them() -> None:
    assert true_share("He has 3 + 4 = 7 apples and 2*7=14 pears, so 7+14=20.") == pytest.approx(2 / 3)
    assert true_share("x = 7, and 7 = 7") is None
    assert true_share("9**9**9=1") == 0.0


def earned(specs: list[Any], said: list[str], examples: list[Example] | None = None, **more: Any) -> list[list[float]]:
    examples = examples or [CAT] * len(said)
    ids = [list(range(len(text))) for text in said]
    made = Rewards(specs, **{k: v for k, v in more.items() if k in ("embed", "memory")})
    state, trial = more.get("state"), more.get("trial", False)
    return made(examples, said, ids, state, trial).reward_SK.T.tolist()


def test_brevity_pays_the_shortest_of_a_prompt_most_and_never_pays_a_wrong_answer() -> None:
    exact = {"name": "contains"}
    said = ["cat", "a cat, I say", "dog", "no dog, I sa"]  # 3, 12, 3 and 12 tokens
    assert earned([exact, "brevity"], said)[1] == [0.5, -0.5, 0.0, -0.5]
    assert earned([exact, "brevity"], ["cat", "a cat x"], [CAT, Example("other", answer="cat")])[1] == [0.0, 0.0]
    assert earned(["brevity", exact], said)[0] == [0.5, -0.5, 0.0, -0.5]  # wherever it stands in the list


def test_the_cosine_of_length_falls_for_right_answers_and_rises_for_wrong_ones() -> None:
    half = {"name": "cosine-length", "most": 6}
    found = earned(["exact", half], ["cat", "dog", "no dog"])[1]
    assert found == pytest.approx([1.5, -5.0, -10.0])  # half way between 2 and 1, −10 and 0; and beyond


def test_an_outcome_counts_only_where_its_process_holds() -> None:
    spec = {"name": "given", "of": {"name": "pattern", "pattern": "#(.+)"}, "where": "equations"}
    eleven = Example("sum", answer="11")
    said = ["8+5=13;13-2=11#11", "8+5=12;13-2=11#11", "13,11#11", "8+5=13;13-2=11#12"]
    assert earned([spec], said, [eleven] * 4) == [[1.0, 0.0, 0.0, 0.0]]
    assert earned([{**spec, "least": 0.5}], said, [eleven] * 4) == [[1.0, 1.0, 0.0, 0.0]]


def test_on_a_trial_what_shapes_does_not_apply_and_remembers_nothing() -> None:
    memory: dict[str, Any] = {}
    embed = lambda texts: torch.ones(len(texts), 2)  # noqa: E731
    found = earned(["exact", "brevity", "episodic"], ["cat", "dog"], trial=True, embed=embed, memory=memory)
    assert found[0] == [1.0, 0.0] and all(r != r for row in found[1:] for r in row) and not memory
    earned(["exact", "episodic"], ["cat", "dog"], state=TrainerState(), embed=embed, memory=memory)
    assert memory["episodic"]["right"] and memory["episodic"]["wrong"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "brevity", "treshold": 1.0}, "unknown key 'treshold': did you mean 'threshold'"),
        ({"name": "cosine-length", "most": 1.5}, "most is 1.5, but must be an integer"),
        ({"name": "episodic", "capacity": 0}, "capacity is 0, but must be an integer from 1"),
        ({"name": "episodic", "warmup": -1}, "warmup is -1, but must be an integer from 0"),
        ({"name": "episodic", "explore": "no"}, "explore is 'no', but must be a number"),
        ({"name": "given", "of": "exact"}, "has no 'where'"),
        (
            {"name": "given", "of": "exact", "where": "brevity"},
            "where: 'brevity' is a shaping reward, which needs the values of other rewards",
        ),
        ({"name": "given", "of": "exact", "where": "exact", "when": 1}, "unknown key 'when'"),
    ],
)
def test_a_mistaken_table_is_refused_with_what_it_should_be(spec: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rewards([spec])


def test_a_memory_without_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="compares embeddings of texts"):
        earned(["exact", "episodic"], ["cat"])
