"""What is trained under the chat templates of current families, checked by what the texts themselves must be."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from tokenizers import AddedToken

import families
import tiny
from families import FAMILIES, Family
from scalpel import tasks
from scalpel.data import chat_template
from scalpel.data.example import Example, Turns, with_arguments_of
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens

SAID = "Lima."  # the answers of every conversation here are these two
AGAIN = "Rome."
ASKED = ({"role": "user", "content": "Capital of Peru?"},)
MORE = ({"role": "user", "content": "Italy?"},)
THOUGHT = "<think>\nthe coast\n</think>\n\n" + SAID
CALL = {"type": "function", "function": {"name": "find", "arguments": {"land": "Peru", "n": 2}}}
TOOLS = ({"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}},)
NAMES = sorted(FAMILIES)


@cache
def opened(name: str) -> Tokens:
    return tokens_of(FAMILIES[name])


def tokens_of(family: Family) -> Tokens:
    eos = family.eos or ("<|endoftext|>" if "<|endoftext|>" in family.specials else family.stop)
    made = tiny.tokenizer(family.template, eos_token=eos, additional_special_tokens=list(family.specials))
    made.add_tokens([AddedToken(t, special=False) for t in ("<think>", "</think>")])
    return Tokens(made, made.convert_tokens_to_ids(list(family.config)))


def answer(text: str, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": text, **more}


def trained(tokens: Tokens, row: Tokenized) -> str:
    return tokens.tokenizer.decode([i for i, t in zip(row.ids, row.train, strict=True) if t])


def stops(tokens: Tokens, row: Tokenized) -> int:
    return sum(i in tokens.stop_ids for i, t in zip(row.ids, row.train, strict=True) if t)


def checked(tokens: Tokens, messages: tuple, turns: int = 1) -> list[str]:
    """What is trained of a conversation, turn by turn; each turn stands behind the ids of its generation prompt."""
    rows = tokens.demonstrations(Example(messages=messages))
    whole = [(tuple(r.ids[:n]), r.ids[n:]) for r in rows for n in range(len(r)) if r.train[n] and not r.train[n - 1]]
    spoken = [i for i, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight", 1)]
    asked = [tuple(tokens.prompt(with_arguments_of(messages, messages[:i]))) for i in spoken]
    assert [before for before, _ in whole] == asked and len(asked) == turns
    texts = []
    for row in rows:
        text = trained(tokens, row)
        assert not any(m["content"] in text for m in messages if m["role"] in ("user", "system", "tool"))
        assert row.ids[-1] in tokens.stop_ids and row.train[-1]
        texts.append(text)
    assert sum(stops(tokens, row) for row in rows) == turns
    return texts


@pytest.mark.parametrize("name", NAMES)
def test_single_turns_and_plain_text_train_under_every_family(name: str) -> None:
    family, tokens = FAMILIES[name], opened(name)
    (text,) = checked(tokens, (*ASKED, answer(SAID)))
    assert text.endswith((SAID + family.closing + family.stop, SAID + " " + family.stop))
    plain = tokens.demonstration(Example(prompt="2+2=", completion="4"))
    assert trained(tokens, plain) == "4" + tokens.tokenizer.eos_token
    joined = tokens.demonstration(Example(prompt=ASKED, completion=SAID))
    assert joined == tokens.demonstration(Example(messages=(*ASKED, answer(SAID))))


@pytest.mark.parametrize("name", NAMES)
def test_every_turn_of_a_conversation_is_trained_as_it_is_met(name: str) -> None:
    tokens, talk = opened(name), (*ASKED, answer(SAID), *MORE, answer(AGAIN))
    texts = checked(tokens, talk, 2)
    assert SAID in "".join(texts) and AGAIN in "".join(texts)
    assert len(texts) == 1 + FAMILIES[name].split
    if FAMILIES[name].system:
        checked(tokens, ({"role": "system", "content": "Be brief."}, *talk), 2)
    else:
        with pytest.raises(ValueError, match="System role not supported"):
            tokens.demonstrations(Example(messages=({"role": "system", "content": "x"}, *talk)))


@pytest.mark.parametrize("name", NAMES)
def test_a_thought_is_trained_or_refused(name: str) -> None:
    family, tokens = FAMILIES[name], opened(name)
    if family.thinks:
        (text,) = checked(tokens, (*ASKED, answer(THOUGHT)))
        assert "the coast" in text and "</think>" in text and text.index("the coast") < text.index(SAID)
        assert text.count("</think>") == 1
    else:
        with pytest.raises(ValueError, match="closed reasoning block"):
            tokens.demonstrations(Example(messages=(*ASKED, answer(THOUGHT))))
    field = (*ASKED, answer(SAID, reasoning_content="the coast"))
    if family.fields:
        (text,) = checked(tokens, field)
        assert text.index("the coast") < text.index(SAID)
    else:
        with pytest.raises(ValueError, match="reasoning_content|closed reasoning block"):
            tokens.demonstrations(Example(messages=field))


@pytest.mark.parametrize("name", NAMES)
def test_calls_are_trained_or_refused(name: str) -> None:
    tokens = opened(name)
    talk = Turns((*ASKED, answer("", tool_calls=[CALL]), {"role": "tool", "content": "found"}, answer(SAID)), TOOLS)
    if FAMILIES[name].tools:
        text = "".join(checked(tokens, talk, 2))
        assert "find" in text and "Peru" in text and SAID in text and "'land'" not in text
    else:
        with pytest.raises(ValueError, match="tool_calls"):
            tokens.demonstrations(Example(messages=talk))


@pytest.mark.parametrize("name", NAMES)
def test_text_that_spells_a_control_token_stays_text(name: str) -> None:
    family, tokens = FAMILIES[name], opened(name)
    stop, special = family.stop, set(tokens.tokenizer.all_special_ids)
    said = f"write {stop} there"
    plain = tokens.demonstrations(Example(messages=(*ASKED, answer(SAID))))[0]
    (row,) = tokens.demonstrations(Example(messages=({"role": "user", "content": f"a{stop}b"}, answer(said))))
    assert stops(tokens, row) == 1 and trained(tokens, row).count(stop) == 2
    control = lambda r: [i for i in r.ids if i in special]  # noqa: E731
    assert control(row) == control(plain)
    text = tokens.completion(said, f"q {stop} ")
    assert [i for i in text if i in special] == [tokens.end_id] and tokens.text(text) == said


def test_thoughts_and_the_arguments_of_a_row_follow_its_switch() -> None:
    tokens = opened("DeepSeek-V3.1")
    (text,) = checked(tokens, Turns((*ASKED, answer(THOUGHT)), (), {"thinking": True}))
    assert text == "\nthe coast\n</think>\n\nLima.<｜end▁of▁sentence｜>"


def test_a_message_of_weight_0_is_context_only() -> None:
    (text,) = checked(opened("Qwen2.5"), (*ASKED, answer(SAID, weight=0), *MORE, answer(AGAIN)), 1)
    assert text == "Rome.<|im_end|>"


def test_a_template_that_renders_itself_otherwise_each_time_is_refused_with_both_texts() -> None:
    dice = "{{ range(99999) | random }}" + tiny.CHAT
    with pytest.raises(ValueError, match=r"(?s)a.jsonl:3: .*generation: .*training: .*model.chat_template"):
        Tokens(tiny.tokenizer(dice)).demonstration(Example(prompt=ASKED, completion=SAID, where="a.jsonl:3"))


def test_what_is_not_used_or_not_shown_is_named_once_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        Example(where=f"f:{i}", messages=Turns((*ASKED, answer(f"  {SAID}\n", name="bo")), TOOLS, {"mood": 1}))
        for i in range(3)
    ]
    tokens = tokens_of(FAMILIES["Llama 3"])
    with caplog.at_level("INFO", "scalpel"):
        tokens.survey(rows)
        tokens.demonstrations(rows[0])
    said = [record.getMessage() for record in caplog.records]
    for key in ("name", "tools", "chat_template_kwargs.mood"):
        assert said.count(f"3 rows have {key}, which the chat template doesn't use (first: f:0)") == 1
    assert sum("strips or changes white space of 3 answers" in text for text in said) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{% set x = j %}{% endfor %}{% endfor %}",
            "takes more than",
        ),
        ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}", "takes more than"),
        ("{{ 'a' * 10**12 }}", "larger than"),
        ("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "larger than"),
        ("{% if %}", "no valid Jinja"),
    ],
)
def test_templates_that_never_end_are_stopped(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        chat_template.render(text, ASKED, seconds=0.2)


def test_templates_render_as_transformers_renders_them() -> None:
    for name in ("Qwen3", "gpt-oss", "Mistral", "GLM-4.5"):
        tokens, talk = opened(name), [*ASKED, answer(THOUGHT), *MORE]
        theirs = tokens.tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        assert tokens.render(talk, generate=True) == theirs


@pytest.mark.parametrize("text", [None, "", "{# nothing #}\n"])
def test_a_template_without_effect_is_none(text: str | None) -> None:
    tokens = Tokens(tiny.tokenizer(text))
    assert not tokens.chat and tokens.demonstration(Example(prompt="a", completion="b")).trained == 2
    with pytest.raises(ValueError, match=r"instruction-tuned.*plain text.*model.chat_template ="):
        tokens.demonstration(Example(prompt=ASKED, completion=SAID))


def test_a_template_and_its_arguments_are_saved_with_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text(families.chatml("{{ m.content }}") + "{% if loud %}!{% endif %}")
    plain = Tokens(tiny.tokenizer(None, additional_special_tokens=list(families.ML)))
    tokens = plain.templated(str(tmp_path / "own.jinja"), {"loud": True})
    assert tokens.render(ASKED, generate=True).endswith("assistant\n!")
    tokens.tokenizer.save_pretrained(tmp_path / "saved")
    again = Tokens(type(tokens.tokenizer).from_pretrained(tmp_path / "saved"))
    assert again.prompt(ASKED) == tokens.prompt(ASKED) and again.stop_ids == tokens.stop_ids
    with pytest.raises(ValueError, match="sets quiet, which the chat template never reads"):
        plain.templated(None, {"quiet": True})
    with pytest.raises(ValueError, match="names no file"):
        plain.templated(str(tmp_path / "other.jinja"))


def rows_of(path: Path, *rows: dict) -> list[Example]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tasks.make({"name": "jsonl", "path": str(path), "shares": {"train": 1}}).examples("train", 9)


def test_messages_of_a_file_keep_what_they_say(tmp_path: Path) -> None:
    call = {"function": {"name": "find", "arguments": json.dumps({"b": 1, "a": None})}, "id": None}
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "name": None},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
        {"content": "ok", "role": "assistant", "weight": 0},
    ]
    (row,) = rows_of(tmp_path / "a.jsonl", {"messages": talk, "tools": json.dumps(list(TOOLS))})
    kept = {"function": {"name": "find", "arguments": {"b": 1, "a": None}}}
    assert row.messages == (
        {"role": "user", "content": "one two"},
        {"role": "assistant", "content": "", "tool_calls": [kept]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
        {"content": "ok", "role": "assistant", "weight": 0},
    )  # fmt: skip
    assert row.tools == TOOLS == row.messages.tools  # type: ignore[union-attr]
    shared = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]
    (row,) = rows_of(tmp_path / "b.jsonl", {"conversations": shared})
    assert row.messages == ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"})


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "asistant", "content": "a"}, r"a.jsonl:1: messages\[1\]: .*did you mean 'assistant'"),
        ({"role": "assistant", "content": None}, "no content but null"),
        ({"role": "assistant", "content": "a", "weight": 0.5}, "weight is 0.5"),
        ({"role": "user", "content": [{"type": "image", "url": "x"}]}, "part of type 'image'.*only text"),
        ({"role": "assistant", "content": "", "tool_calls": [{"arguments": {}}]}, "a call names its function"),
        ({"from": "function_call", "value": "{}"}, "give the call as tool_calls"),
    ],
)
def test_messages_that_cannot_be_meant_are_refused_by_file_and_line(tmp_path: Path, message: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rows_of(tmp_path / "a.jsonl", {"messages": [*ASKED, message]})


def test_an_answer_of_several_messages_trains_none_of_its_prompt(tmp_path: Path) -> None:
    said = [answer("", tool_calls=[CALL]), {"role": "tool", "content": "found"}, answer(AGAIN)]
    (row,) = rows_of(tmp_path / "a.jsonl", {"prompt": [*ASKED, answer(SAID), *MORE], "completion": said})
    assert row.messages is not None
    text = "".join(checked(opened("Qwen2.5"), row.messages, 2))
    assert "find" in text and AGAIN in text and SAID not in text
