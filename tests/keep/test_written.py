"""What a model writes unasked."""

import pytest
import torch

import material
import tiny
from scalpel.engine import Engine
from scalpel.keep import write_documents
from scalpel.keep.written import user_opening
from scalpel.tokens import Tokens


@pytest.fixture(scope="module")
def chatty() -> Engine:
    return Engine(tiny.model("llama", max_position_embeddings=512), Tokens(tiny.tokenizer()))


def test_a_document_begins_where_documents_begin_and_its_words_are_trained():
    policy = material.engine()
    texts = write_documents(policy, 6, max_tokens=8, begin="document")
    start = policy.tokens.prompt("")
    assert len(texts) == 6
    for text in texts:
        assert text.ids[: len(start)] == start
        assert text.train == [False] * len(start) + [True] * (len(text.ids) - len(start))


def test_the_same_seed_writes_the_same():
    policy = material.engine()
    ids = [[t.ids for t in write_documents(policy, 4, max_tokens=8, seed=s)] for s in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_a_conversation_is_asked_and_answered_by_the_model(chatty):
    texts = write_documents(chatty, 12, max_tokens=6, begin="chat")
    opening = user_opening(chatty.tokens)
    assert texts and chatty.tokens.tokenizer.decode(opening).endswith("<|start|>user\n")
    for text in texts:
        assert text.ids[: len(opening)] == opening and not any(text.train[: len(opening)])
        said = "".join(chatty.tokens.tokenizer.decode([i]) for i, t in zip(text.ids, text.train, strict=True) if not t)
        assert "<|start|>assistant" in said  # the template is never trained


def test_auto_writes_both_kinds_where_there_is_a_template(chatty):
    texts = write_documents(chatty, 8, max_tokens=6)
    opening = user_opening(chatty.tokens)
    chats = sum(text.ids[: len(opening)] == opening for text in texts)
    assert 0 < chats < len(texts)


def test_without_a_template_conversations_are_refused():
    with pytest.raises(ValueError, match="no chat template"):
        write_documents(Engine(tiny.model("llama"), Tokens(tiny.tokenizer(None))), 2, begin="chat")


def test_the_model_is_what_it_was_after_writing(chatty):
    before = [p.clone() for p in chatty.model.parameters()]
    write_documents(chatty, 2, max_tokens=4)
    assert all(torch.equal(a, b) for a, b in zip(before, chatty.model.parameters(), strict=True))
