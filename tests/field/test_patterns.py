"""Expressions of a recipe have a time limit wherever they are used: on what models write, and on modules' names."""

from types import SimpleNamespace

import pytest

import tiny
from scalpel.binding.patterns import time_limit
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import completion
from scalpel.models.adapter_targets import Targets, chosen
from scalpel.sources.acceptance import marks
from scalpel.sources.proposals import Attempt, asked
from scalpel.sources.steps import cuts

SLOW = "(?:a|aa)+$"  # takes years on a few dozen letters
TEXT = "a" * 40 + "!"


@pytest.fixture(autouse=True)
def soon():
    """A limit that a test can wait for."""
    with time_limit(0.02):
        yield


@pytest.fixture(scope="module")
def tokens():
    return Tokens(tiny.tokenizer())


def test_samples_whose_key_takes_too_long_are_told_apart_by_their_texts(caplog):
    texts = {1: TEXT, 2: TEXT + "?", 3: "aa"}
    found, key = [(completion((), [n]), [1.0]) for n in texts], f"{SLOW}(?#of samples)"  # logged once for each key
    assert marks(key, lambda ids: texts[ids[0]], found) == [TEXT, TEXT + "?", (("aa",),)]
    assert caplog.text.count("was given up after 0.02 s") == 1


def test_the_matches_of_a_key_are_its_groups_or_all_of_it():
    found = [(completion((), [0]), [1.0])]
    for key, mark in ((r"\d", (("1",), ("2",))), (r"(\d)(b)?", (("1", ""), ("2", "b"))), ("", "1a2b")):
        assert marks(key, lambda ids: "1a2b", found) == [mark]


def test_a_text_whose_steps_take_too_long_to_find_is_one_step(tokens):
    ids = tokens.completion(TEXT, "")
    assert cuts(tokens, ids, SLOW) == []
    assert cuts(tokens, tokens.completion("a\nb\nc", ""), r"\n") == [2, 4]


def test_a_reply_that_takes_too_long_to_read_proposes_nothing(tokens, caplog):
    said = [completion((), tokens.completion(TEXT, ""))]
    context = SimpleNamespace(
        examples=[SimpleNamespace(prompt="1+1=", completion="2", answer="2")],
        tokens=tokens,
        seed=0,
        sample=lambda prompts, n, seed: [said],
    )
    attempt = Attempt(0, tuple(tokens.completion("3", "")[:-1]), (0,))
    assert asked(context, [attempt], 1, "{reference} {attempt}", r"((?:a|aa)+)()$") == []
    assert "given up" in caplog.text


def test_a_pattern_of_targets_that_takes_too_long_names_none(caplog):
    there = Targets(["a" * 40 + ".q_proj"], [])
    with pytest.raises(ValueError, match="no target module is named"):
        chosen(there, "(?:a|aa)+")
    assert "given up" in caplog.text
    assert chosen(there, r"a+\.q_proj") == there
