"""What a model writes unasked."""

from dataclasses import replace

import pytest
import torch

import material
import tiny
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sample
from scalpel.keep import write_documents
from scalpel.keep.self_generated import user_opening
from scalpel.part import bind


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


def saying(chatty: Engine, monkeypatch, *said: str) -> None:
    """From now on the model says one of these after the other, whatever it is asked."""
    lines = iter(said)

    def sample(prompts, sampling, n=1, seed=0):
        if not prompts:
            return []
        ids = chatty.tokens.tokenizer(next(lines), add_special_tokens=False)["input_ids"]
        cut = ids[: sampling.max_tokens]
        return [[Sample(cut, [0.0] * len(cut), finished=cut[-1] in chatty.tokens.stop_ids)] for _ in prompts]

    monkeypatch.setattr(chatty, "sample", sample)


def test_a_conversation_is_asked_and_answered_by_the_model_over_two_turns(chatty, monkeypatch):
    saying(chatty, monkeypatch, "why?<|end|>", "so.<|end|>", "oh?<|end|>", "yes.<|end|>")
    (text,) = write_documents(chatty, 1, max_tokens=40, begin="chat")
    turns = [("why?", "so."), ("oh?", "yes.")]
    said = [m for q, a in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})]
    assert text.ids == chatty.tokens.conversation(said).ids
    assert "".join(trained_words(chatty, text)) == "".join(f"{q}<|end|>{a}<|end|>" for q, a in turns)


def trained_words(policy: Engine, text) -> list[str]:
    return [policy.tokens.tokenizer.decode([i]) for i, t in zip(text.ids, text.train, strict=True) if t]


def test_a_question_that_never_ends_is_kept_as_it_stands_and_not_answered(chatty, monkeypatch):
    saying(chatty, monkeypatch, "what is it that " * 3)
    (text,) = write_documents(chatty, 1, max_tokens=40, begin="chat")
    assert chatty.tokens.tokenizer.decode(text.ids).endswith("<|start|>user\nwhat is it that what")
    assert sum(text.train) == 20


def test_a_user_who_goes_on_into_the_answer_is_cut_where_the_template_would_close_the_question(chatty, monkeypatch):
    """In templates without a stop token after users the model writes on through the marker of the answer."""
    monkeypatch.setattr(chatty.tokens, "stop_ids", frozenset())
    saying(chatty, monkeypatch, "why?<|end|>\n<|start|>assistant\nso.<|end|>", "no.<|end|>")
    (text,) = write_documents(chatty, 1, max_tokens=120, begin="chat", turns=1)
    said = chatty.tokens.tokenizer.decode(text.ids)
    assert said.endswith("why?<|end|>\n<|start|>assistant\nno.<|end|>")
    assert "".join(trained_words(chatty, text)) == "why?<|end|>\n<|start|>assistant\nno.<|end|>"


def test_a_talk_that_would_leave_the_context_ends_where_it_is(monkeypatch):
    small = Engine(tiny.model("llama", max_position_embeddings=64), Tokens(tiny.tokenizer()))
    saying(small, monkeypatch, "a" * 20 + "<|end|>")
    (text,) = write_documents(small, 1, max_tokens=60, begin="chat")
    assert len(text.ids) <= 64 and trained_words(small, text)[-1] == "<|end|>"


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


def test_what_the_model_has_moved_on_is_drawn_more_often():
    """Half of the draws follow how far it has moved: of these, 9 of 10 where it has moved nine times as far."""
    drawing = bind("source", "self-written", documents=4, focus=0.5)
    drawing.memory.state = {"moved": torch.tensor([9.0, 1.0, 0.0, 0.0])}
    pool = [Tokenized([1, 2 + k], [False, True], [0, 0]) for k in range(4)]
    hand = replace(material.context(material.engine(), [Example("")] * 4000, 0), written=lambda *asked: pool)
    drawn = [columns["text"] for columns in drawing(hand).columns]
    shares = [drawn.count(k) / 4000 for k in range(4)]
    assert shares == pytest.approx([0.125 + 0.45, 0.125 + 0.05, 0.125, 0.125], abs=0.02)


def test_a_text_counts_by_where_it_was_last_seen():
    drawing = bind("source", "self-written", documents=3)
    for came in (5.0, 2.0, -1e-9):
        drawing.follow({}, None, 0.0, rows=[({"text": 1}, came)])
        assert drawing.memory.state["moved"].tolist() == [0.0, max(came, 0.0), 0.0]
