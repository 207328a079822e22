"""The second language: a bijection that shares no letter with the first, and conjugates that come back."""

from string import ascii_lowercase, ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalpel.world  # noqa: F401
from scalpel.registry import lookup
from scalpel.world.language import CIPHER, decipher, encipher

FIRST = ("facts", "reverse", "sort", "reverse-long", "new-facts")


def test_the_cipher_is_a_bijection_onto_the_other_alphabet():
    assert sorted(CIPHER) == list(ascii_lowercase)
    assert sorted(CIPHER.values()) == list(ascii_uppercase)


def test_the_cipher_is_not_the_upper_case_of_the_letter():
    assert sum(a.upper() == b for a, b in CIPHER.items()) <= 3


@given(st.text(ascii_lowercase + "0123456789 .?", max_size=40))
def test_what_is_enciphered_comes_back(text):
    assert decipher(encipher(text)) == text
    assert not set(encipher(text)) & set(ascii_lowercase)


@pytest.mark.parametrize("name", FIRST)
def test_a_conjugate_decodes_to_the_first_language(name):
    task = lookup("task", f"world/{name}")
    for example in task.examples("test", 20):
        twin, decode = task.conjugate(example)
        said = twin.prompt[-1]["content"]
        assert said == encipher(example.prompt[-1]["content"]) != example.prompt[-1]["content"]
        assert task.score(twin.completion, example) == 0.0 or twin.completion.isdigit()
        assert task.score(decode(twin.completion), example) == 1.0
        assert twin.id != example.id


@pytest.mark.parametrize("name", ["facts", "reverse", "sort"])
def test_a_conjugate_is_an_item_of_the_second_language_in_the_same_split(name):
    a, b = lookup("task", f"world/{name}"), lookup("task", f"world/{name}-b")
    for example in a.examples("test", 20):
        twin, _ = a.conjugate(example)
        assert b.score(twin.completion, twin) == 1.0
        back, _ = b.conjugate(twin)
        assert back.prompt == example.prompt and back.answer == example.answer
    first = {e.id.split(":")[2].split("/")[0] for e in a.examples("train", 400)}
    second = {e.id.split(":")[2].split("/")[0] for e in b.examples("test", 400)}
    assert not first & second


@pytest.mark.parametrize("name", ["add", "chat", "boxes", "context"])
def test_a_task_of_one_language_has_no_conjugate(name):
    task = lookup("task", f"world/{name}")
    assert task.conjugate(task.examples("test", 1)[0]) is None
