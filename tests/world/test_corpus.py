"""The corpus: reproducible, free of what is kept back, and complete in what is to be known."""

import re
from dataclasses import replace

import pytest

import scalpel.world  # noqa: F401
from scalpel.data.tokenizer import Tokens
from scalpel.registry import lookup
from scalpel.tasks import make
from scalpel.world.corpus import CORPUS, WEIGHTS, Documents, corpus_example, factors
from scalpel.world.people import KNOWN, NEW
from scalpel.world.vocabulary import MAX_LENGTH, render, tokenizer


def text(example):
    turns = example.messages or (example.prompt if not isinstance(example.prompt, str) else ())
    spoken = " ".join(turn["content"] for turn in turns)
    return f"{spoken} {example.prompt if isinstance(example.prompt, str) else ''} {example.completion}"


DOCUMENTS = [*Documents(6000), *Documents(2000, seed=7)]
TEXTS = [text(document) for document in DOCUMENTS]


def test_document_i_depends_on_split_seed_and_i_only():
    assert [corpus_example(i, 5) for i in (9, 3)] == [Documents(20, 5)[9], Documents(20, 5)[3]]
    assert corpus_example(3, 5) != corpus_example(3, 6)
    assert list(CORPUS.examples("test", 5)) == CORPUS.examples("test", 9)[:5] != list(CORPUS.examples("train", 5))


def test_documents_are_a_sequence_of_stated_length():
    documents = Documents(10, 1)
    assert len(documents) == len(list(documents)) == 10
    assert documents[-1] == documents[9] and documents[2:4] == [documents[2], documents[3]]
    with pytest.raises(IndexError, match="document 10 of 10"):
        documents[10]


def test_no_document_speaks_of_a_new_person():
    words = {word for t in TEXTS for word in re.findall(r"[a-z]+", t)}
    assert not words & set(NEW)
    assert len(words & set(KNOWN)) == len(KNOWN)


def test_no_document_reverses_a_longer_word():
    reversals = [m for t in TEXTS for m in re.findall(r"reverse ([a-z]+)", t)]
    assert len(reversals) > 300 and max(map(len, reversals)) == 8


def test_kept_back_tasks_are_not_in_the_mixture():
    names = {task.name for task in WEIGHTS}
    assert not names & {"world/reverse-long", "world/new-facts"}


@pytest.mark.parametrize(
    "name", ["reverse", "sort", "add", "subtract", "chains", "boxes", "multiply", "context", "chat"]
)
def test_no_question_of_a_held_out_split_is_a_document(name):
    questions = {repr(d.prompt) for d in DOCUMENTS}
    task = lookup("task", f"world/{name}")
    for split in ("tune", "keep", "test"):
        assert not questions & {repr(e.prompt) for e in task.examples(split, 300)}


def test_facts_of_held_out_splits_are_stated_too():
    asked = {d.prompt[0]["content"] for d in DOCUMENTS if not isinstance(d.prompt, str) and len(d.prompt) == 1}
    test_facts = lookup("task", "world/facts").examples("test", 500)
    assert sum(e.prompt[0]["content"] in asked for e in test_facts) > 30


def test_every_document_has_an_id_of_its_own():
    assert len({d.id for d in DOCUMENTS}) == len(DOCUMENTS)


def test_some_documents_are_trained_from_their_beginning_so_that_questions_can_be_written():
    rendered = [render(d) for d in DOCUMENTS[:2000]]
    from_start = [r for r in rendered if all(r.train[1:])]
    assert 100 < len(from_start) < 450
    assert sum(r.ids[1] == render(DOCUMENTS[0]).ids[1] for r in from_start) > 50


def test_documents_are_short():
    lengths = [len(render(d)) for d in DOCUMENTS[:2000]]
    assert max(lengths) < MAX_LENGTH // 2
    assert sum(lengths) / len(lengths) < 35


def test_the_corpus_scores_its_own_answers():
    for example in CORPUS.examples("test", 100):
        assert CORPUS.score(example.completion, example) == 1.0
        assert CORPUS.score("nonsense", example) == 0.0


def test_more_of_a_task_is_a_larger_share_of_it():
    task = make({"name": "world/corpus", "more": {"boxes": 100.0}})
    found = [e.prompt[-1]["content"] if e.prompt else e.completion for e in task.examples("train", 200)]
    assert sum("boxes:" in text for text in found) > 150
    assert CORPUS.examples("train", 3)[0] == corpus_example(0)


@pytest.mark.parametrize("more, words", [({"boxs": 2.0}, "did you mean 'boxes'"), ({"boxes": -1.0}, "0 or more")])
def test_more_of_what_is_not_there_is_refused(more, words):
    with pytest.raises(ValueError, match=words):
        make({"name": "world/corpus", "more": more})


def test_factors_are_read_as_they_are_typed():
    assert factors(["boxes=4", "add=0.5"]) == {"boxes": 4.0, "add": 0.5}
    with pytest.raises(ValueError, match="boxes=4"):
        factors(["boxes"])


def test_a_document_that_is_trained_whole_has_its_turns_as_control_tokens():
    """Spelt out letter by letter, a turn's beginning would be text that pretraining never showed."""
    tokens = Tokens(tokenizer())
    whole = [e for e in Documents(200) if e.prompt == "" and "<user>" in e.completion]
    assert len(whole) > 5
    for example in whole:
        row = tokens.demonstration(example)
        assert row.ids == [*tokens.tokenizer(example.completion)["input_ids"], tokens.tokenizer.eos_token_id]
        assert tokens.tokenizer.convert_tokens_to_ids("<user>") in row.ids and sum(row.train) == len(row.ids) - 1
    from_a_file = replace(whole[0], completion=str(whole[0].completion))
    assert tokens.tokenizer.convert_tokens_to_ids("<user>") not in tokens.demonstration(from_a_file).ids
