"""Tokens: which tokens are trained, and that training sees what generation sees."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

import tiny
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized, truncate
from scalpel.data.tokenizer import Tokens

USER = ({"role": "user", "content": "hi"},)
TALK = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "  two\n\nlines "},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "three"},
)
BARE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
UNLIKE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>bot\n{% endif %}"
)
FORGETS = (  # drops what stands before a # in all answers but the last, as some templates drop earlier thoughts
    "{% for m in messages %}<|start|>{{ m['role'] }}\n"
    "{{ m['content'] if loop.last else m['content'].split('#')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + tiny.CHAT


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(tiny.tokenizer())


def trained_text(tokens: Tokens, rendered: Tokenized) -> str:
    return tokens.tokenizer.decode([i for i, t in zip(rendered.ids, rendered.train, strict=True) if t])


def test_masks_agree_with_the_templates_own_generation_markers(tokens: Tokens) -> None:
    own = tokens.tokenizer.apply_chat_template(
        [dict(m) for m in TALK], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    rendered = tokens.demonstration(Example(messages=TALK))
    assert rendered.ids == own["input_ids"][: len(rendered)]
    assert [int(t) for t in rendered.train] == own["assistant_masks"][: len(rendered)]
    assert not any(own["assistant_masks"][len(rendered) :])
    assert sum(rendered.train) == sum(own["assistant_masks"]) > 0


@settings(max_examples=40, deadline=None)
@given(question=st.text(max_size=20), answer=st.text(max_size=20))
def test_any_text_survives_as_an_answer(question: str, answer: str) -> None:
    tokens = Tokens(tiny.tokenizer())
    if any(special in question + answer for special in tiny.SPECIAL):
        return
    for prompt in ({"role": "user", "content": question},), question:
        rendered = tokens.demonstration(Example(prompt=prompt, completion=answer))
        asked = tokens.prompt(prompt)
        assert rendered.ids[: len(asked)] == asked
        assert rendered.train == [False] * len(asked) + [True] * (len(rendered) - len(asked))
        assert tokens.text(rendered.ids[len(asked) :]) == answer
        assert rendered.ids[-1] in tokens.stop_ids


def test_every_assistant_turn_and_its_stop_token_is_trained_and_nothing_else(tokens: Tokens) -> None:
    rendered = tokens.demonstration(Example(messages=TALK))
    assert tokens.marked(rendered) == (
        "<|start|>system\nBe brief.<|end|>\n<|start|>user\none?<|end|>\n<|start|>assistant\n"
        "⟦  two\n\nlines <|end|>⟧\n<|start|>user\nand?<|end|>\n<|start|>assistant\n⟦three<|end|>⟧"
    )


def test_turns_are_numbered_by_the_answer_they_lead_to(tokens: Tokens) -> None:
    rendered = tokens.demonstration(Example(messages=TALK))
    last = len(tokens.completion("three", TALK[:-1]))
    assert rendered.turn[0] == 0 and rendered.turn[-last:] == [1] * last
    assert rendered.turn == sorted(rendered.turn)
    assert [t for t, on in zip(rendered.turn, rendered.train, strict=True) if on].count(0) == len("  two\n\nlines ") + 1


def test_a_default_system_prompt_of_the_template_is_there_and_untrained(tokens: Tokens) -> None:
    rendered = tokens.demonstration(Example(prompt=USER, completion="ho"))
    assert tokens.marked(rendered).startswith("<|start|>system\nBe kind.<|end|>\n<|start|>user\nhi")
    assert trained_text(tokens, rendered) == "ho<|end|>"


def test_a_single_turn_conversation_is_the_same_as_prompt_and_completion(tokens: Tokens) -> None:
    talk = (*USER, {"role": "assistant", "content": "ho"})
    one, other = Example(messages=talk), Example(prompt=USER, completion="ho")
    assert tokens.demonstration(one) == tokens.demonstration(other)


def test_the_stop_token_of_the_turn_is_found_in_the_template(tokens: Tokens) -> None:
    end = tokens.tokenizer.convert_tokens_to_ids("<|end|>")
    assert tokens.stop_ids == {tokens.tokenizer.eos_token_id, end}
    assert tokens.completion("ho", USER)[-1] == end
    assert tokens.completion("ho", "hi")[-1] == tokens.tokenizer.eos_token_id


def test_stop_ids_of_the_generation_config_count() -> None:
    assert 9 in Tokens(tiny.tokenizer(), [9]).stop_ids


def test_a_beginning_token_that_the_tokenizer_adds_is_there_once() -> None:
    made = tiny.tokenizer(None)
    made._tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    tokens = Tokens(made)
    rendered = tokens.demonstration(Example(prompt="ab", completion="cd"))
    assert made.decode(rendered.ids) == "<s>abcd</s>"
    assert rendered.train == [False] * 3 + [True] * 3


def test_plain_text_is_trained_from_its_first_word_behind_a_beginning_token() -> None:
    tokens = Tokens(tiny.tokenizer(None))
    rendered = tokens.demonstration(Example(completion="abc"))
    assert tokens.marked(rendered) == "<s>⟦abc</s>⟧" and rendered.trained == 4


def test_without_a_beginning_token_the_end_token_opens_a_text() -> None:
    assert Tokens(tiny.tokenizer(None, bos_token=None)).prompt("") == [3]


def test_padding_and_truncation_in_the_tokenizers_file_have_no_effect() -> None:
    made = tiny.tokenizer()
    made._tokenizer.enable_truncation(4)
    made._tokenizer.enable_padding(length=50)
    example = Example(prompt=USER, completion="a longer answer")
    assert Tokens(made).demonstration(example) == Tokens(tiny.tokenizer()).demonstration(example)


def test_a_pair_shares_its_prompt_and_trains_only_the_answers(tokens: Tokens) -> None:
    chosen, rejected = tokens.pair(Example(prompt=USER, chosen="yes", rejected="no"))
    n = len(tokens.prompt(USER))
    assert chosen.ids[:n] == rejected.ids[:n] and not any(chosen.train[:n] + rejected.train[:n])
    assert (trained_text(tokens, chosen), trained_text(tokens, rejected)) == ("yes<|end|>", "no<|end|>")


def test_text_ends_at_the_stop_token_and_drops_specials(tokens: Tokens) -> None:
    assert tokens.text([*tokens.completion("ho", USER), *tokens.prompt("later")]) == "ho"


def test_no_other_special_token_stands_for_a_mask() -> None:
    masked = Tokens(tiny.tokenizer(None)).mask_id
    assert masked is not None and tiny.SPECIAL[masked] == "<mask>"
    assert Tokens(tiny.tokenizer(None, mask_token=None)).mask_id is None
    assert Tokens(tiny.tokenizer(None, mask_token="</s>")).mask_id is None  # the stop token isn't a mask either


def test_answers_that_a_tokenizer_changes_are_named(caplog: pytest.LogCaptureFixture) -> None:
    made = tiny.tokenizer(None)
    made._tokenizer.normalizer = __import__("tokenizers").normalizers.Replace("two", "2")
    with caplog.at_level("INFO", "scalpel"):
        Tokens(made).survey([Example(prompt="one", completion=said, where=f"a:{said}") for said in ("two", "three")])
    assert "1 answers differ from their text after encoding and decoding (first: a:two)" in caplog.text


def test_templates_that_render_training_otherwise_are_refused_with_both_texts() -> None:
    with pytest.raises(ValueError, match=r"(?s)d.csv:7: .*differently for training.*generation: .*bot.*training:"):
        Tokens(tiny.tokenizer(UNLIKE), [5]).demonstration(Example(prompt=USER, completion="ho", where="d.csv:7"))


def test_a_template_that_rewrites_earlier_answers_gives_a_sequence_a_turn() -> None:
    tokens = Tokens(tiny.tokenizer(FORGETS))
    talk = (*USER, {"role": "assistant", "content": "thought#ho"}, *USER, {"role": "assistant", "content": "x#ha"})
    with pytest.raises(ValueError, match=r"(?s)is 2 sequences.*Train on single turns"):
        tokens.demonstration(Example(messages=talk))
    first, second = tokens.demonstrations(Example(messages=talk))
    assert (trained_text(tokens, first), trained_text(tokens, second)) == ("thought#ho<|end|>", "x#ha<|end|>")
    assert second.ids[: len(tokens.prompt(talk[:3]))] == tokens.prompt(talk[:3])
    assert trained_text(tokens, tokens.demonstration(Example(messages=talk[:2]))) == "thought#ho<|end|>"


def test_a_template_without_stop_token_gets_the_end_token() -> None:
    tokens = Tokens(tiny.tokenizer(BARE))
    assert trained_text(tokens, tokens.demonstration(Example(prompt=USER, completion="ho"))) == "ho</s>"


def test_a_tokenizer_without_any_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        Tokens(tiny.tokenizer(None, eos_token=None))


@pytest.mark.parametrize(
    ("template", "messages", "words"),
    [
        (None, USER, "no chat template"),
        (tiny.CHAT, (), "must begin with a user or system"),
        (tiny.CHAT, TALK[2:3], "must begin with a user or system"),
        (tiny.CHAT, TALK, "ends with an assistant message"),
        (tiny.CHAT, ({"role": "user"},), "'role' and 'content'"),
        (tiny.CHAT, ({"role": "user", "content": None},), "content of type NoneType"),
        (NO_SYSTEM, TALK[:2], "refuses a conversation of roles system, user: no system role"),
    ],
)
def test_prompts_that_cannot_be_rendered_are_refused(template: str | None, messages: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Tokens(tiny.tokenizer(template)).prompt(messages)


def test_examples_without_what_is_needed_are_refused(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="neither completion nor messages"):
        tokens.demonstration(Example(prompt="a"))
    with pytest.raises(ValueError, match="no preference pair"):
        tokens.pair(Example(prompt="a", chosen="b"))
    with pytest.raises(ValueError, match="without an assistant turn"):
        tokens.demonstration(Example(messages=USER))


ROW = Tokenized([1, 2, 3, 4, 5], [False, False, True, True, True], [0] * 5)


@pytest.mark.parametrize(
    ("policy", "length", "ids"),
    [
        ("keep_start", 3, [1, 2, 3]),
        ("keep_end", 2, [4, 5]),
        ("drop", 4, None),
        ("keep_start", 2, None),
        ("error", 5, ROW.ids),
    ],
)
def test_truncation_keeps_what_its_policy_says(policy: str, length: int, ids: list[int] | None) -> None:
    short = truncate(ROW, length, policy)  # type: ignore[arg-type]
    assert (short and short.ids) == ids


def test_a_trained_token_that_has_become_the_first_does_not_count() -> None:
    only_last = Tokenized([1, 2, 3], [False, True, False], [0, 0, 0])
    assert truncate(only_last, 2, "keep_end") is None


def test_truncation_raises_where_it_must() -> None:
    with pytest.raises(ValueError, match="5 tokens and max_length is 4"):
        truncate(ROW, 4)
    with pytest.raises(ValueError, match="unknown truncation 'left'"):
        truncate(ROW, 4, "left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leaves no token to train"):
        truncate(ROW, 1, "drop")
