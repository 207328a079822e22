"""The vocabulary: text comes back exactly, and a demonstration begins with its prompt."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.world.corpus import Documents
from scalpel.world.vocabulary import CHARACTERS, IDS, encode, render, tokenizer

TOKENIZER = tokenizer()
TOKENS = Tokens(TOKENIZER, control_tokens="read")


@given(st.text(CHARACTERS, max_size=60).filter(lambda text: "<" not in text))
def test_text_of_known_characters_comes_back_exactly(text):
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    assert len(ids) == len(text)
    assert TOKENIZER.decode(ids) == text
    assert encode(text) == ids


def test_every_letter_digit_and_mark_has_its_own_token():
    assert len(encode(string.printable[:95])) == len(set(encode(string.printable[:95]))) == 95


def test_a_character_from_elsewhere_is_unknown():
    assert encode("é") == [IDS["<unk>"]] == TOKENIZER("é", add_special_tokens=False).input_ids


def test_the_saved_tokenizer_is_the_same(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert again("city of mara?").input_ids == TOKENIZER("city of mara?").input_ids
    assert again.chat_template == TOKENIZER.chat_template
    assert again.eos_token == "<end>" and again.mask_token == "<mask>" and again.pad_token == "<pad>"


def test_a_conversation_renders_as_stated():
    turns = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello."},
        {"role": "user", "content": "city of mara?"},
    ]
    text = TOKENIZER.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<bos><system>be kind<user>hi<bot>hello.<end><user>city of mara?<bot>"


def test_answers_survive_training_and_generation():
    talk = ({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"})
    assert "two<end>" in TOKENS.marked(TOKENS.conversation(talk))


def test_the_fast_rendering_is_that_of_the_template():
    for example in Documents(300):
        assert render(example) == TOKENS.demonstration(example), example


def test_a_demonstration_begins_with_its_prompt_and_ends_with_the_stop_token():
    for example in (e for e in Documents(100) if e.messages is None):
        rendered, prompt = render(example), TOKENS.prompt(example.prompt)
        assert rendered.ids[: len(prompt)] == prompt
        assert not any(rendered.train[: len(prompt)]) and all(rendered.train[len(prompt) :])
        assert rendered.ids[-1] in TOKENS.stop_ids


def test_every_answer_of_a_conversation_is_trained_and_nothing_else():
    turns = tuple({"role": r, "content": t} for r, t in (("user", "a"), ("assistant", "b"), ("user", "c")))
    rendered = render(Example(messages=(*turns, {"role": "assistant", "content": "d"})))
    assert "".join(TOKENIZER.convert_ids_to_tokens(rendered.ids)) == "<bos><user>a<bot>b<end><user>c<bot>d<end>"
    trained = [i for i, t in zip(rendered.ids, rendered.train, strict=True) if t]
    assert trained == [IDS["b"], IDS["<end>"], IDS["d"], IDS["<end>"]]


@pytest.mark.parametrize("special", ["<pad>", "<end>", "<user>", "<bot>", "<mask>"])
def test_specials_are_single_tokens(special):
    assert TOKENIZER(special, add_special_tokens=False).input_ids == [IDS[special]] == encode(special)
