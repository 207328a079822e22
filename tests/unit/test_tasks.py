"""Tasks from recipe tables: the world's, reasoning-gym's generators, and instructions around them."""

import os
import random
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from scalpel import tasks
from scalpel.data.example import SPLITS, Example
from scalpel.registry import AXES
from scalpel.tasks.instruct import Instruction
from scalpel.tasks.reasoning_gym import HASHED, ReasoningGym, generators

SUMS = {"name": "reasoning-gym/chain_sum", "max_terms": 3, "max_digits": 2}
TRICKY = {  # generators whose answers are checked by properties, or whose items depend on more than their seed
    "acre", "countdown", "sudoku", "list_functions", "zebra_puzzles", "rubiks_cube", "propositional_logic",
    "family_relationships",
}  # fmt: skip


def test_a_generators_splits_never_meet_whatever_the_seeds() -> None:
    task = tasks.make(SUMS)
    found = [{e.columns["question"] for seed in range(3) for e in task.examples(s, 60, seed)} for s in SPLITS]
    assert all(len(f) > 60 for f in found)
    assert sum(map(len, found)) == len(set().union(*found))


def test_item_i_of_a_generator_depends_on_split_seed_and_i_only() -> None:
    task, other = tasks.make(SUMS), tasks.make(SUMS)
    assert other.examples("test", 3, seed=5) == task.examples("test", 8, seed=5)[:3]
    assert task.examples("test", 3, seed=6) != task.examples("test", 3, seed=5)
    assert len({e.id for e in task.examples("train", 100)}) == 100


def test_generators_that_use_the_global_random_numbers_neither_depend_on_them_nor_move_them() -> None:
    random.seed(1)
    first = ReasoningGym("list_functions").examples("train", 10)
    after = random.random()
    random.seed(1)
    assert random.random() == after
    assert ReasoningGym("list_functions").examples("train", 10) == first


def test_a_small_space_gives_fewer_items_and_no_duplicates() -> None:
    task = tasks.make({"name": "reasoning-gym/basic_arithmetic", "min_terms": 2, "max_terms": 2, "max_digits": 1,
                       "operators": ["+"], "allow_parentheses": False, "allow_negation": False})  # fmt: skip
    items = task.examples("test", 1000)
    assert 0 < len(items) < 200 and len({e.columns["question"] for e in items}) == len(items)


@pytest.mark.parametrize("name", sorted(TRICKY | {"chain_sum", "leg_counting", "spell_backward", "caesar_cipher"}))
def test_a_generators_own_answer_scores_one(name: str) -> None:
    task = ReasoningGym(name)
    for e in task.examples("train", 2):
        right = (
            e.answer if e.answer is not None else next(v for k, v in e.columns["metadata"].items() if "example" in k)
        )
        assert right is not None and task.score(right, e) == 1.0
        assert task.score("nonsense", e) < 1.0


def test_generators_that_differ_between_processes_are_refused_unless_that_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.flags", SimpleNamespace(hash_randomization=1))
    for name in HASHED:
        with pytest.raises(ValueError, match=f"{name} differ from one Python process.*PYTHONHASHSEED=0"):
            ReasoningGym(name)
    monkeypatch.setattr("sys.flags", SimpleNamespace(hash_randomization=0))
    with pytest.raises(ValueError, match="even under the same seed.*save items of it as JSONL"):
        ReasoningGym("codeio")
    assert len(ReasoningGym("ransom_note").examples("train", 2)) == 2


def test_every_generator_is_known_by_name() -> None:
    assert len(generators()) > 100 and {"chain_sum", "gsm_symbolic"} <= generators().keys()


def test_items_are_the_same_in_another_process() -> None:
    show = (
        "from scalpel.tasks import ReasoningGym as R\n"
        f"print([[e.id for e in R(n).examples('train', 3)] for n in {sorted(TRICKY)}])"
    )
    there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", show],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout
    here = [[e.id for e in ReasoningGym(name).examples("train", 3)] for name in sorted(TRICKY)]
    assert there.strip() == str(here)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "a task needs a name"),
        ({"name": "reasoning-gym/chain_sums"}, "did you mean 'chain_sum'"),
        ({"name": "reasoning-gym/chain_sum", "max_term": 3}, "unknown key 'max_term': did you mean 'max_terms'"),
        ({"name": "reasoning-gym/chain_sum", "seed": 3}, "unknown key 'seed'"),
        ({"name": "reasoning-gym/chain_sum", "max_terms": 1}, "refuses the config .*max_terms"),
        ({"name": "reasoning-gym/composite"}, "refuses the config"),
        (
            {"name": "world/revers"},
            "did you mean 'world/reverse'.*106 generators|did you mean 'world/reverse'.*generators",
        ),
        ({"name": "world/reverse", "mots": 5}, "unknown key 'mots': did you mean 'most'"),
        ({"name": "jsonl"}, "a jsonl task needs a path"),
        ({"name": "jsonl", "path": "nowhere.jsonl"}, "no file nowhere.jsonl"),
        ({**SUMS, "template": "no place"}, "has no {prompt} in it"),
        ({**SUMS, "after": "A:", "extract": "(a)"}, "exclude each other"),
        ({**SUMS, "extract": "a"}, "exactly one group"),
        ({**SUMS, "extract": "(a"}, "no regular expression"),
    ],
)
def test_tables_that_make_no_task_are_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tasks.make(spec)


def test_the_worlds_tasks_are_found_with_their_difficulty() -> None:
    task = tasks.make({"name": "world/reverse", "most": 3})
    assert all(len(e.answer or "") <= 3 for e in task.examples("train", 20))
    assert tasks.make({"name": "world/reverse"}) is AXES["task"]["world/reverse"]


def test_questions_are_put_as_chat_with_instructions_and_answers_found_again() -> None:
    spec = {**SUMS, "system": "Be brief.", "template": "{prompt}\nGive the answer after 'Answer:'.", "after": "Answer:"}
    task = tasks.make(spec)
    e = task.examples("test", 1)[0]
    assert isinstance(e.prompt, tuple) and [m["role"] for m in e.prompt] == ["system", "user"]
    assert e.prompt[1]["content"] == f"{e.columns['question']}\nGive the answer after 'Answer:'."
    assert e.completion == f"Answer: {e.answer}"
    for said, score in [
        (e.completion, 1.0),
        (f"I think so. Answer: 1. No!\nAnswer: **{e.answer}**.\nBye", 1.0),
        (e.answer, 0.0),
        ("Answer: 123456", 0.0),
        ("", 0.0),
    ]:
        assert task.score(said or "", e) == score, said


def test_questions_stay_plain_text_where_chat_is_off() -> None:
    e = tasks.make({**SUMS, "chat": False}).examples("test", 1)[0]
    assert e.prompt == e.columns["question"]


def test_an_answer_of_several_lines_is_taken_whole() -> None:
    put = Instruction(after="Answer:")
    assert put.answer("Answer:\n1 2\n3 4\n", "1 2\n3 4") == "1 2\n3 4"
    assert put.answer("Answer: yes.\n3 4\n", "yes") == "yes"
    assert put.answer("Answer: Yes, it is.", "Yes, it is.") == "Yes, it is."


def test_an_expression_takes_its_last_match() -> None:
    assert Instruction(extract=r"= (\d+)").answer("2 = 2, 4 = 4 so", "4") == "4"
    assert Instruction(extract=r"= (\d+)").answer("none", "4") == ""


def test_a_demonstration_gets_the_mark_once() -> None:
    put = Instruction(after="Answer:")
    assert put.completion("6 * 7 is 42", "42") == "6 * 7 is 42\nAnswer: 42"
    assert put.completion("So.\nAnswer: 42", "42") == "So.\nAnswer: 42"


def test_an_instruction_reaches_the_last_user_message_and_leaves_a_system_message_alone() -> None:
    prompt = tuple(
        {"role": r, "content": c} for r, c in zip(("system", "user", "assistant", "user"), "sabc", strict=True)
    )
    put = Instruction(system="other", template="<{prompt}>").prompt(prompt)
    assert isinstance(put, tuple) and [m["content"] for m in put] == ["s", "a", "b", "<c>"]


def test_conversations_and_texts_are_left_as_they_are() -> None:
    class Two:
        name = "two"

        def examples(self, split: str, n: int, seed: int = 0) -> list[Example]:
            return [Example(completion="text"), Example(messages=({"role": "user", "content": "a"},))]

        def score(self, completion: str, example: Example) -> float:
            return 1.0

    put = tasks.Instructed(Two(), Instruction(chat=True, template="<{prompt}>"))
    assert put.examples("train", 2) == Two().examples("train", 2)
