"""Forms of rows that people have: whole conversations as preference pairs, a system column, messages as JSON text."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.extensions.undisturbed import undisturbed
from scalpel.rewards.user import call
from scalpel.tasks import make
from scalpel.tasks.columns import example

ASKED = {"role": "user", "content": "a"}
GOOD, BAD = {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}
BOTH = {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(tiny.tokenizer())


@pytest.mark.parametrize("prompt", [{}, {"prompt": "a"}, {"prompt": [ASKED]}, {"messages": [ASKED, GOOD]}])
def test_a_pair_of_whole_conversations_repeats_its_prompt(prompt: dict[str, Any]) -> None:
    one = example({**prompt, **BOTH}, "x:1")
    assert (one.prompt, one.chosen, one.rejected) == ((ASKED,), "b", "c")


def test_a_pair_that_is_no_answer_to_its_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="x:1: chosen has messages of roles user, assistant"):
        example({"prompt": "something else", **BOTH}, "x:1")


def test_the_column_system_stands_before_its_conversation() -> None:
    row = {"system": "Be terse", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    system = {"role": "system", "content": "Be terse"}
    assert example(row, "x:1").messages == (system, ASKED, GOOD)
    assert example({"system": "", "messages": [ASKED, GOOD]}, "x:1").messages == (ASKED, GOOD)
    assert example({"system": "Be terse", "messages": [system, ASKED, GOOD]}, "x:1").messages == (system, ASKED, GOOD)
    with pytest.raises(ValueError, match="x:1: messages has a system message, and its row another one"):
        example({"system": "Be long", "messages": [system, ASKED, GOOD]}, "x:1")


def test_a_conversation_that_a_pair_goes_on_with_is_its_prompt() -> None:
    row = {"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}}
    one = example({**row, "rejected": {"from": "gpt", "value": "c"}}, "x:1")
    assert (one.prompt, one.chosen, one.rejected, one.messages) == ((ASKED,), "b", "c", None)


def test_null_leaves_its_place_empty_in_a_text_of_several_columns() -> None:
    columns = {"prompt": "{instruction}{input}", "completion": "output"}
    assert example({"instruction": "Hi", "input": None, "output": "b"}, "x:1", columns).prompt == "Hi"


@pytest.mark.parametrize("turns", [[GOOD, ASKED, GOOD], [ASKED, GOOD, BAD]])
def test_an_assistant_that_was_not_asked_is_refused_where_rows_can_be_left_out(turns: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x:1: messages(\[2\] follows another| begins with)"):
        example({"messages": turns}, "x:1")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": m}) + "\n" for m in (turns, [ASKED, GOOD])))
    task = make({"name": "jsonl", "path": str(path), "shares": {"train": 1}, "faulty": "drop"})
    assert [one.messages for one in task.examples("train", 9)] == [(ASKED, GOOD)]


def test_messages_as_json_text_are_messages() -> None:
    assert example({"messages": json.dumps([ASKED, GOOD])}, "x:1").messages == (ASKED, GOOD)


@pytest.mark.parametrize("flag", ["train", "training", "loss"])
def test_a_turn_that_is_marked_as_untrained_is_not_trained(flag: str, tokens: Tokens) -> None:
    row = {"messages": [ASKED, {**BAD, flag: False}, ASKED, {**GOOD, flag: True}]}
    assert "⟦b" in tokens.marked(tokens.demonstration(example(row, "x:1")))
    assert "⟦c" not in tokens.marked(tokens.demonstration(example(row, "x:1")))
    with pytest.raises(ValueError, match=r"in which no assistant turn is trained \(weight 0\)"):
        tokens.demonstration(example({"messages": [ASKED, {**BAD, flag: False}]}, "x:1"))


@pytest.mark.parametrize("column", ["prompt", "completion"])
@pytest.mark.parametrize("value", [1, 1.5, True, {"x": 1}])
def test_what_is_no_text_is_refused_as_that(column: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"x:1: {column} is .*: it must be text, or a list of messages"):
        example({"prompt": "a", "completion": "b", column: value}, "x:1")


def test_empty_answers_and_pairs_of_one_text_are_said(caplog: pytest.LogCaptureFixture) -> None:
    fresh = Tokens(tiny.tokenizer())
    rows = [{"prompt": "a", "completion": ""}, {"prompt": "b", "completion": ""}]
    rows += [{"prompt": "c", "chosen": "x", "rejected": "x"}]
    with caplog.at_level(logging.INFO, "scalpel"):
        fresh.survey([Example(**row, where=f"x:{i}") for i, row in enumerate(rows, 1)])  # type: ignore[arg-type]
    assert "2 rows have an empty answer, of which only the stop token is trained (first: x:1)" in caplog.text
    assert "1 pairs have equal chosen and rejected texts" in caplog.text and "x:3" in caplog.text


@pytest.mark.parametrize("label", [3, "spam", 0, 0.5, [1, 2]])
def test_a_label_without_a_completion_is_for_reward_functions(label: Any) -> None:
    one = example({"prompt": "a", "label": label}, "x:1")
    seen: list[Any] = []

    def reward(completions: list[str], label: list[Any]) -> list[float]:
        seen.extend(label)
        return [1.0 for _ in completions]

    assert call(reward, f"{__file__}:reward", [one], ["b"], {}) == [1.0] and seen == [label]
    assert example({"messages": [ASKED, GOOD], "label": "spam"}, "x:1").label is None


def test_the_answers_of_a_pair_reach_reward_functions() -> None:
    def reward(completions: list[str], chosen: list[str], label: list[bool]) -> list[float]:
        return [float(text == c) + 2 * verdict for text, c, verdict in zip(completions, chosen, label, strict=True)]

    one = Example("a", chosen="b", rejected="c", label=True)
    assert call(reward, f"{__file__}:reward", [one], ["b"], {}) == [3.0]


def test_a_reward_leaves_gradients_and_types_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "r.py").touch()

    def reward(completions: list[str]) -> list[float]:
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return [1.0 for _ in completions]

    before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    try:
        call(reward, f"{tmp_path / 'r.py'}:reward", [Example("a")], ["b"], {})
        assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()) == before
    finally:
        torch.set_grad_enabled(before[0])
        torch.set_default_dtype(before[1])


def test_types_are_restored_beside_a_call_that_never_ends() -> None:
    before = torch.get_default_dtype()
    hanging = undisturbed()
    hanging.__enter__()  # as a reward does that ran past its time limit
    try:
        with undisturbed():
            torch.set_default_dtype(torch.float64)
        assert torch.get_default_dtype() == before
    finally:
        torch.set_default_dtype(before)
        hanging.__exit__(None, None, None)
