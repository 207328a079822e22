"""Rewards: verifiers, a user's functions called as TRL calls them, weights, and words for what goes wrong."""

import threading
from collections.abc import Callable
from math import isnan
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from scalpel.data.example import Example
from scalpel.rewards import Rewards, TrainerState, mathematics
from scalpel.rewards.mathematics import judge
from scalpel.rewards.verifiers import make

USER = ({"role": "user", "content": "hi"},)
EXAMPLES = [
    Example(prompt="1+1", answer="2", id="d:1", columns={"level": 1}),
    Example(prompt="2+2", answer="4", id="d:2", columns={"level": 2, "rare": "x"}),
    Example(prompt="3+3", answer="6", id="d:3", columns={"level": 3}),
]
SAID = ["2", "5", "6"]
IDS = [[1], [2], [3]]

Write = Callable[[str], str]


@pytest.fixture
def user(tmp_path: Path) -> Write:
    def write(code: str) -> str:
        (tmp_path / "mine.py").write_text(dedent(code))
        return f"{tmp_path}/mine.py:f"

    return write


def values(*specs: Any, **options: Any) -> list[list[float]]:
    return Rewards(specs, **options)(EXAMPLES, SAID, IDS).reward_SK.tolist()


@pytest.mark.parametrize(
    ("spec", "completion", "answer", "score"),
    [
        ("exact", " 42\n", "42", 1.0),
        ("exact", "Yes", "yes", 0.0),
        ({"name": "exact", "ignore_case": True}, "Yes", "yes", 1.0),
        ("contains", "it is 7, I think", "7", 1.0),
        ("contains", "it is 17", "7", 0.0),
        ("contains", "it is -7", "7", 0.0),
        ("contains", "it is 7.5", "7", 0.0),
        ("contains", "it is 7.", "7", 1.0),
        ("contains", "well-known", "known", 1.0),
        ({"name": "contains", "ignore_case": True}, "In PARIS!", "Paris", 1.0),
        ({"name": "pattern", "pattern": r"#### (-?\d+)"}, "3 #### 1 no #### 2", "2", 1.0),
        ({"name": "pattern", "pattern": r"#### (-?\d+)"}, "2", "2", 0.0),
        ({"name": "pattern", "pattern": r"^<think>"}, "<think>", "anything", 1.0),
        ("math-verify", "so the result is $\\frac{1}{2}$.", "0.5", 1.0),
        ("math-verify", "The answer is 1,000", "1000", 1.0),
        ("math-verify", "\\boxed{x+1}", "1+x", 1.0),
        ("math-verify", "0.5", "\\frac{1}{2}", 1.0),
        ("math-verify", "so 72", "the total is 72", 1.0),
        ("math-verify", "The answer is 41", "42", 0.0),
        ("math-verify", "no idea", "42", 0.0),
        ("math-verify", "", "42", 0.0),
    ],
)
def test_verifiers_judge_as_they_say(spec: Any, completion: str, answer: str, score: float) -> None:
    assert make(spec)(completion, Example(answer=answer)) == score


def test_math_is_judged_alike_in_the_main_thread_and_in_others() -> None:
    found: list[Any] = []

    def ask() -> None:
        found.extend([judge("$\\frac{2}{4}$", "0.5"), judge("3", "4"), judge("well", "4")])
        try:
            judge("3", "a cat sat")
        except ValueError as error:
            found.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    ask()
    assert (
        found[:3] == [True, False, None] and "can't parse the reference answer" in found[3] and found[:4] == found[4:]
    )


def test_a_process_that_hangs_or_dies_has_read_nothing_and_is_started_anew(tmp_path: Path) -> None:
    fake = "import json, sys, time\nfor line in sys.stdin:\n    said = (json.loads(line)['said'] or [[], ''])[1]\n"
    fake += "    if said == 'hang': time.sleep(1e6)\n    if said == 'die': sys.exit()\n    print('true', flush=True)\n"
    (tmp_path / "fake.py").write_text(fake)
    worker = mathematics.Worker(tmp_path / "fake.py")
    right = (["1"], "1")
    asked = (("hang", 0.2), ("a", 30), ("die", 30), ("b", 30))
    found = [worker.compare(right, ([said], said), limit) for said, limit in asked]
    worker.end()
    assert found == [None, True, None, True]


def test_a_busy_machine_is_waited_for_where_the_right_answer_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    told = mathematics.Worker.told
    worker = mathematics.Worker()
    monkeypatch.setattr(mathematics, "WORKER", worker)
    monkeypatch.setattr(mathematics.Worker, "told", lambda self, q: limits.append(q["seconds"]) or told(self, q))
    assert judge("42", "42", seconds=30) and judge("43", "42", seconds=29) is False
    worker.end()
    assert limits == [120, 60, 30, 29]


def test_an_answer_that_is_no_mathematics_is_refused() -> None:
    with pytest.raises(ValueError, match="can't parse the reference answer 'a cat sat'.*'exact'.*answer_pattern"):
        judge("3", "a cat sat")
    with pytest.raises(ValueError, match="seconds is 0"):
        judge("3", "3", seconds=0)
    with pytest.raises(ValueError, match="box is 'all'"):
        judge("3", "3", box="all")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("exat", "unknown verifier 'exat': did you mean 'exact'.*or path.py:function"),
        ({"name": "exact", "ignore_cas": True}, "unknown key 'ignore_cas': did you mean 'ignore_case'"),
        ("pattern", "has no 'pattern': it must be text"),
        ({"name": "pattern", "pattern": "("}, r"'\(' is no regular expression"),
        ("nowhere.py:f", "no file nowhere.py"),
        ({"name": "x.py:f", "deep": 1}, "has the options deep, but only timeout"),
    ],
)
def test_verifiers_that_cannot_be_are_refused(spec: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(spec)


def test_an_example_without_answer_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'d:9' has no reference answer"):
        make("exact")("a", Example(id="d:9"))


def test_rewards_are_weighted_and_summed_and_none_does_not_apply(user: Write) -> None:
    mine = user("def f(completions, **rest): return [None if c == '6' else 10 for c in completions]")
    scored = Rewards(["exact", {"name": mine, "weight": 0.5}])(EXAMPLES, SAID, IDS)
    assert scored.names == ("exact", "f")
    assert scored.reward_SK[:2].tolist() == [[1, 10], [0, 10]] and isnan(scored.reward_SK[2, 1])
    assert scored.reward_S.tolist() == [1 + 5, 0 + 5, 1]
    assert torch.equal(scored.weighted_SK[:2, 1], torch.tensor([5.0, 5.0]))
    assert scored.metrics["rewards/f/mean"] == 10 and scored.metrics["rewards/exact/std"] == pytest.approx(0.4714, 1e-3)


def test_the_function_gets_what_trl_hands_over(user: Write) -> None:
    mine = user(
        """
        def f(prompts, completions, completion_ids, answer, level, rare, trainer_state, log_extra, log_metric):
            assert prompts == ["1+1", "2+2", "3+3"] and completions == ["2", "5", "6"]
            assert completion_ids == [[1], [2], [3]]
            assert answer == ["2", "4", "6"] and level == [1, 2, 3] and rare == [None, "x", None]
            log_extra("seen", completions)
            log_metric("steps", trainer_state.global_step)
            return [1, 0.5, True]
        """
    )
    scored = Rewards([mine])(EXAMPLES, SAID, IDS, TrainerState(global_step=7))
    assert scored.reward_SK.tolist() == [[1], [0.5], [1]]
    assert scored.extra == {"seen": SAID} and scored.metrics["steps"] == 7


def test_a_chat_completion_is_a_list_of_one_message(user: Write) -> None:
    mine = user("def f(prompts, completions): return [float(p[-1]['role'] == 'user' and c == "
                "[{'role': 'assistant', 'content': 'ho'}]) for p, c in zip(prompts, completions)]")  # fmt: skip
    assert Rewards([mine])([Example(prompt=USER)], ["ho"], [[1]]).reward_S.tolist() == [1]


def test_a_function_may_be_async_and_may_give_a_tensor(user: Write) -> None:
    assert values(user("import torch\nasync def f(completions): return torch.ones(len(completions))")) == [[1]] * 3


def test_a_function_may_define_dataclasses(user: Write) -> None:
    code = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class V:
            x: float
        def f(completions): return [V(1.0).x for _ in completions]
    """
    assert values(user(code)) == [[1]] * 3


def test_the_tasks_own_verifier_is_the_reward_unless_said() -> None:
    class Half:
        name = "half"

        def score(self, completion: str, example: Example) -> float:
            return 0.5

    assert values(task=Half()) == [[0.5]] * 3
    with pytest.raises(ValueError, match="there is no task here"):
        Rewards(["task"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "def f(completions):\n    x = 1\n    return 1 / 0",
            r"raised ZeroDivisionError: .* at mine\.py:3, on rows d:1, d:2, d:3",
        ),
        ("def f(completions): return [1.0]", "returned 1 values for 3 completions"),
        ("def f(completions): return 1.0", r"returned float 1\.0: it must return a list"),
        ("def f(completions): return [1, float('nan'), 1]", "returned nan on example 'd:2': a reward must be finite"),
        ("def f(completions): return [1, 1, float('inf')]", "returned inf on example 'd:3'"),
        ("def f(completions): return [1, 'good', 1]", r"returned 'good' \(str\) on example 'd:2': it must be a number"),
        ("def f(completions, levle): return []", "unknown argument 'levle': did you mean 'level'"),
        ("def f(completions, /): return []", "positional-only"),
        ("def g(completions): return []", "unknown function 'f'.*known are g"),
        ("f = 3", "unknown function 'f'"),
        ("def f(:", r"can't be imported: it raised SyntaxError: .* at mine\.py:1"),
        ("import nonsense_module", r"can't be imported: it raised ModuleNotFoundError.* at mine\.py:1"),
        ("async def f(completions):\n    raise KeyError('a')", r"raised KeyError: 'a' at mine\.py:2"),
    ],
)
def test_functions_that_fail_are_reported_with_place_and_rows(code: str, words: str, user: Write) -> None:
    with pytest.raises(ValueError, match=words):
        values(user(code))


def test_a_function_as_verifier_judges_single_completions_within_bounds(user: Write) -> None:
    verify = make(user("def f(completions, answer): return [2.0 * (c == a) for c, a in zip(completions, answer)]"))
    assert verify("3", EXAMPLES[0]) == 0.0
    with pytest.raises(ValueError, match=r"returned 2\.0 on example 'd:1': .*from 0 .wrong. to 1"):
        verify("2", EXAMPLES[0])


def test_a_weight_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="reward 'exact' has weight 'high'"):
        Rewards([{"name": "exact", "weight": "high"}])


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 examples, 2 completions, 3 id lists"):
        Rewards(["exact"])(EXAMPLES, SAID[:2], IDS)


def test_functions_of_one_name_are_told_apart() -> None:
    assert Rewards(["exact", "exact"]).names == ("exact", "exact-2")
