"""Where turns end and thoughts stand under templates that are unlike most, checked to the letter."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

import tiny
from families import FAMILIES, ML, chatml
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens

ASKED = {"role": "user", "content": "Capital of Peru?"}
THOUGHT = "<think>\nthe coast\n</think>\n\nLima."
NAMES = ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>", "<|endoftext|>")


def tokens_of(template: str, specials: tuple[str, ...], eos: str = "<|endoftext|>") -> Tokens:
    return Tokens(tiny.tokenizer(template, eos_token=eos, additional_special_tokens=list(specials)))


def trained(tokens: Tokens, *messages: dict) -> str:
    (row,) = tokens.demonstrations(Example(messages=messages, where="f:1"))
    return tokens.tokenizer.decode([i for i, t in zip(row.ids, row.train, strict=True) if t])


def said(text: str, **more: object) -> dict:
    return {"role": "assistant", "content": text, **more}


def stops(tokens: Tokens) -> list[str]:
    return [tokens.tokenizer.decode([i]) for i in sorted(tokens.stop_ids)]


def test_of_several_tokens_behind_an_answer_the_one_that_is_known_stops() -> None:
    family = FAMILIES["Command-R7B"]
    assert stops(tokens_of(family.template, family.specials, family.eos)) == ["<|END_OF_TURN_TOKEN|>"]


def test_marks_inside_a_turn_are_no_stops_and_neither_is_what_opens_the_next() -> None:
    part = "<|open|>message {{ m.role }}<|sep|>{{ m.content }}"
    calls = "{% for c in m.tool_calls or [] %}<|open|>call {{ c.function.name }}<|sep|>x<|close|>{% endfor %}"
    every = "{% for m in messages %}" + part + calls + "<|close|>message<|sep|><|end_of_msg|>{% endfor %}"
    tokens = tokens_of(every + "{% if add_generation_prompt %}<|open|>message assistant<|sep|>{% endif %}", NAMES)
    assert sorted(stops(tokens)) == ["<|end_of_msg|>", "<|endoftext|>"]
    assert trained(tokens, ASKED, said("Lima.")) == "Lima.<|close|>message<|sep|><|end_of_msg|>"
    closed = FAMILIES["Phi-3"]  # the end of all is written behind the last turn's own
    assert stops(tokens_of(closed.template, closed.specials)) == ["<|end|>", "<|endoftext|>"]


@pytest.mark.parametrize(
    ("answer", "opening", "right"),
    [
        ("{{ m.content }}", "<think>\n", "the coast\n</think>\n\nLima."),
        ("</think>{{ m.content }}", "<think>", "\nthe coast\n</think>\n\nLima."),
        ("<think>\n\n</think>\n\n{{ m.content }}", "<think>\n", "the coast\n</think>\n\nLima."),
        ("<think></think>{{ m.content }}", "", THOUGHT),
        ("<think>\n</think>\n{{ m.content.split('</think>')[-1].strip() }}", "", "<think>\nthe coast\n</think>\nLima."),
    ],
)
def test_a_thought_of_the_content_stands_once_where_the_model_thinks(answer: str, opening: str, right: str) -> None:
    tokens = tokens_of(chatml(answer, "<|im_start|>assistant\n" + opening), ML, "<|im_end|>")
    assert trained(tokens, ASKED, said(THOUGHT)) == right + "<|im_end|>"


def test_an_empty_thought_of_the_generation_prompt_is_not_closed_twice() -> None:
    tokens = tokens_of(chatml("</think>{{ m.content }}", "<|im_start|>assistant\n<think></think>"), ML, "<|im_end|>")
    (row,) = tokens.demonstrations(Example(messages=(ASKED, said("Lima."))))
    assert tokens.tokenizer.decode(row.ids).endswith("assistant\n<think></think>Lima.<|im_end|>")


def test_thoughts_in_marks_of_the_templates_own_are_control_tokens() -> None:
    marks = ("<|channel>", "<channel|>")
    dropping = chatml("{{ m.content.split('<channel|>')[-1] }}{# <|channel>thought #}")
    tokens = tokens_of(dropping, (*ML, *marks), "<|im_end|>")
    thought = "<|channel>thought\nthe coast\n<channel|>Lima."
    assert trained(tokens, ASKED, said(thought)) == thought + "<|im_end|>"
    (row,) = tokens.demonstrations(Example(messages=(ASKED, said(thought))))
    assert set(tokens.tokenizer.convert_tokens_to_ids(list(marks))) <= set(row.ids)
    with pytest.raises(ValueError, match=r"<\|channel>thought…<channel\|> before the answer"):
        trained(tokens, ASKED, said("Lima.", reasoning_content="the coast"))


def test_a_thought_of_a_field_takes_the_place_of_an_empty_one() -> None:
    tokens = tokens_of(chatml("<think>\n\n</think>\n\n{{ m.content }}"), ML, "<|im_end|>")
    assert trained(tokens, ASKED, said("Lima.", reasoning_content="the coast")) == THOUGHT + "<|im_end|>"
    assert trained(tokens, ASKED, said("Lima.")) == "<think>\n\n</think>\n\nLima.<|im_end|>"


def test_a_context_that_moves_is_that_of_generation_and_said(caplog: pytest.LogCaptureFixture) -> None:
    family = FAMILIES["Mistral NeMo"]
    tokens = tokens_of(family.template, family.specials, "</s>")
    talk = ({"role": "system", "content": "Be brief."}, ASKED, said("Lima."))
    with caplog.at_level("INFO", "scalpel"):
        (row,) = tokens.demonstrations(Example(messages=talk))
    whole = "<s>[INST]Be brief.\n\nCapital of Peru?[/INST]Lima.</s>"
    assert tokens.tokenizer.decode(row.ids) == whole and row.trained == 6
    assert "1 answers have another context" in caplog.text


def test_stops_inside_an_answer_and_foreign_thoughts_are_said(caplog: pytest.LogCaptureFixture) -> None:
    doubled = "{{ m.content }}{% if m.tool_calls %}<|im_end|>\ncall {{ m.tool_calls[0].function.name }}{% endif %}"
    call = {"function": {"name": "find", "arguments": {}}}
    with caplog.at_level("INFO", "scalpel"):
        trained(tokens_of(chatml(doubled), ML, "<|im_end|>"), ASKED, said("I look.", tool_calls=[call]))
        marked = chatml(
            "{% if m.reasoning_content %}[THINK]{{ m.reasoning_content }}[/THINK]{% endif %}{{ m.content }}"
        )
        trained(tokens_of(marked, ML, "<|im_end|>"), ASKED, said(THOUGHT))
    assert "1 answers have the stop token '<|im_end|>' in their middle" in caplog.text
    assert "1 answers have reasoning that ends with </think>" in caplog.text


def test_a_generation_prompt_that_is_always_written_is_no_stop_and_one_that_never_is_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    always = tokens_of(turns + "<|im_start|>assistant\n", ML)
    assert sorted(stops(always)) == ["<|endoftext|>", "<|im_end|>"]
    assert trained(always, ASKED, said("Lima.")) == "\nLima.<|im_end|>"
    with caplog.at_level("INFO", "scalpel"):
        assert trained(tokens_of(turns, ML), ASKED, said("Lima.")) == "<|im_start|>assistant\nLima.<|im_end|>"
    assert caplog.text.count("begin with the header of a turn") == 1


def test_of_several_named_templates_the_default_is_taken_or_one_asked_for() -> None:
    one, other = chatml("{{ m.content }}"), chatml("{{ m.content | upper }}")
    alone = Tokens(tiny.tokenizer({"chat": one}, additional_special_tokens=list(ML)))  # type: ignore[arg-type]
    assert alone.render((ASKED,)) == "<|im_start|>user\nCapital of Peru?<|im_end|>\n"
    two = Tokens(tiny.tokenizer({"a": one, "b": other}, additional_special_tokens=list(ML)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="templates a, b and none with the name default"):
        two.prompt((ASKED,))
    assert two.completion("x", "y")


def test_white_space_that_control_tokens_take_is_kept_or_said(caplog: pytest.LogCaptureFixture) -> None:
    made = tiny.tokenizer(None)
    made.add_tokens(
        [AddedToken("<|bot|>", special=True, rstrip=True), AddedToken("<|fin|>", special=True, lstrip=True)]
    )
    plain = "{% for m in messages %}{{ '<|bot|>\n' if m.role == 'assistant' }}{{ m.content }}<|fin|>\n{% endfor %}"
    made.chat_template = plain + "{% if add_generation_prompt %}<|bot|>\n{% endif %}"
    tokens = Tokens(made)
    assert trained(tokens, ASKED, said("    x = 1")) == "    x = 1<|fin|>"
    with caplog.at_level("INFO", "scalpel"):
        tokens.survey([Example(messages=(ASKED, said("x\n")), where="f:1")])
    assert "1 answers lose white space in the tokenizer (first: f:1)" in caplog.text


def test_characters_that_a_tokenizer_changes_or_does_not_know_are_said(caplog: pytest.LogCaptureFixture) -> None:
    lower = tiny.tokenizer()
    lower.backend_tokenizer.normalizer = normalizers.Lowercase()
    known = {token: i for i, token in enumerate(["<unk>", "</s>", *"abc "])}
    letters = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(known, [], unk_token="<unk>")), unk_token="<unk>", eos_token="</s>"
    )
    with caplog.at_level("INFO", "scalpel"):
        Tokens(lower).survey([Example(messages=(ASKED, said("Lima")), where="f:1")])
        Tokens(letters).survey([Example(prompt="axb", completion="c", where="g:1")])
    assert "1 answers differ from their text after encoding and decoding (first: f:1)" in caplog.text
    assert "1 prompts have characters that the tokenizer lacks (first: g:1)" in caplog.text


def spoken(tokens: Tokens, text: str) -> str:
    return tokens.text(tokens.encode(text))


def test_what_is_said_in_channels_is_read_as_thought_and_answer() -> None:
    family = FAMILIES["gpt-oss"]
    tokens = tokens_of(family.template, family.specials, family.eos or family.stop)
    final = "<|channel|>final<|message|>Lima.<|return|>"
    thinking = "<|channel|>analysis<|message|>the coast"
    assert spoken(tokens, final) == "Lima."
    assert spoken(tokens, f"{thinking}<|end|><|start|>assistant{final}") == THOUGHT
    assert spoken(tokens, thinking) == "<think>\nthe coast"
    call = " to=functions.find<|channel|>commentary json<|message|>{}<|call|>"
    assert "functions.find" in spoken(tokens, call) and spoken(tokens, call).endswith("{}")
    row = tokens.demonstration(Example(messages=(ASKED, said("Lima.", reasoning_content="the coast"))))
    assert tokens.text(row.ids[len(tokens.prompt((ASKED,))) :]) == THOUGHT


def test_marks_of_thinking_that_are_control_tokens_stay_in_what_is_said() -> None:
    marks = ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>")
    tokens = tokens_of(chatml("{{ m.content }}"), (*ML, *marks), "<|im_end|>")
    text = "the coast<|END_THINKING|><|START_RESPONSE|>Lima.<|im_end|>"
    assert spoken(tokens, text) == "the coast<|END_THINKING|>Lima."
    assert spoken(tokens, "<|START_RESPONSE|>Lima.<|im_end|>") == "Lima."


def test_rendered_text_has_one_beginning_and_one_end(caplog: pytest.LogCaptureFixture) -> None:
    made = tiny.tokenizer(None)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    tokens = Tokens(made, control_tokens="read")
    with caplog.at_level("INFO", "scalpel"):
        for asked, answer in (("<s>ab", "c</s>"), ("", "<s>abc</s>"), ("ab", "c")):
            row = tokens.demonstration(Example(prompt=asked, completion=answer))
            assert tokens.tokenizer.decode(row.ids) == "<s>abc</s>" and row.train[-1]
    assert caplog.text.count("which the tokenizer adds as well") == 1
