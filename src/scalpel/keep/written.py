"""Text that a model writes by itself, without a prompt from anywhere: what it knows, in its own words.

A document goes on from where documents start. A conversation is begun by the model too: the chat template is
rendered up to where a user speaks, the model writes the question, and then the answer to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from scalpel.draw import derive
from scalpel.engine import Engine, Sampling
from scalpel.engine.forward import context
from scalpel.example import Message
from scalpel.rendered import Rendered
from scalpel.tokens import Tokens

Begin = Literal["auto", "document", "chat"]
HOLE = "\u2402"  # stands where a user would speak


def write_documents(
    engine: Engine,
    n: int,
    *,
    max_tokens: int = 128,
    temperature: float = 1.0,
    begin: Begin = "auto",
    seed: int = 0,
) -> list[Rendered]:
    """At most n texts, every token that the model wrote trained: `max_tokens` of a document, half as many of a
    question and of its answer. "auto" writes conversations too where there is a chat template, half of each. What
    is empty or would not fit the context is left out.

    Source: for conversations, Xu et al. 2024 (arXiv 2406.08464), Magpie; for rehearsal on a network's own output,
    Robins 1995 (Connection Science 7, 123-146).
    """
    sampling = Sampling(max_tokens=min(max_tokens, context(engine.model) - 1), temperature=temperature)
    chats = 0 if begin == "document" else n if begin == "chat" else n // 2
    opening = user_opening(engine.tokens) if chats else []
    if begin == "chat" and not opening:
        raise ValueError(
            "this model's tokenizer has no chat template, so no conversation can be begun: begin documents"
        )
    if not opening:
        chats = 0
    found = continued(engine, [engine.tokens.prompt("")] * (n - chats), sampling, derive(seed, "document"))
    if chats:
        half = replace(sampling, max_tokens=max(1, sampling.max_tokens // 2))
        found += conversations(engine, opening, chats, half, seed)
    return [text for text in found if sum(text.train) > 1]


def continued(engine: Engine, prompts: Sequence[list[int]], sampling: Sampling, seed: int) -> list[Rendered]:
    """Each prompt with what the model writes behind it."""
    groups = engine.sample(prompts, sampling, seed=seed % 2**31)
    return [written(prompt, group[0].ids) for prompt, group in zip(prompts, groups, strict=True)]


def conversations(engine: Engine, opening: list[int], n: int, sampling: Sampling, seed: int) -> list[Rendered]:
    """Questions that the model asks itself, with its answers; both are trained, the template is not."""
    asked = continued(engine, [opening] * n, sampling, derive(seed, "question"))
    questions = [engine.tokens.text(text.ids[len(opening) :]).strip() for text in asked]
    messages: list[tuple[Message, ...]] = [({"role": "user", "content": q},) for q in questions if q]
    prompts = [engine.tokens.prompt(message) for message in messages]
    kept = [k for k, prompt in enumerate(prompts) if len(prompt) + sampling.max_tokens <= context(engine.model)]
    answered = continued(engine, [prompts[k] for k in kept], sampling, derive(seed, "answer"))
    spoken = [text for text, question in zip(asked, questions, strict=True) if question]
    return [with_question(spoken[k], answer) for k, answer in zip(kept, answered, strict=True)]


def with_question(question: Rendered, answer: Rendered) -> Rendered:
    """The answer's sequence, where what the model wrote as the question is trained too."""
    same = question.ids[:-1] == answer.ids[: len(question.ids) - 1]  # else the template changed the words
    train = [(same and i < len(question.ids) - 1 and question.train[i]) or t for i, t in enumerate(answer.train)]
    return Rendered(answer.ids, train, answer.turn)


def written(prompt: Sequence[int], ids: Sequence[int]) -> Rendered:
    return Rendered([*prompt, *ids], [False] * len(prompt) + [True] * len(ids), [0] * (len(prompt) + len(ids)))


def user_opening(tokens: Tokens) -> list[int]:
    """The ids after which a user would speak; empty without a chat template."""
    if tokens.tokenizer.chat_template is None:
        return []
    before, hole, _ = tokens.render([{"role": "user", "content": HOLE}]).partition(HOLE)
    assert hole, "a chat template that swallows what the user says"
    return list(tokens.tokenizer(before, add_special_tokens=False)["input_ids"]) if before else []
