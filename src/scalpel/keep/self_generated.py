"""Text that a model writes by itself, without a prompt from anywhere: what it knows, in its own words.

A document goes on from where documents start. A conversation is begun by the model too: the chat template is
rendered up to where a user speaks, the model writes the question, and then the answer to it; a conversation whose
answer came to an end goes on for another turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from scalpel.data.example import Message
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sample, Sampling
from scalpel.engine.padded_forward import context
from scalpel.seeding import derive

Begin = Literal["auto", "document", "chat"]
HOLE = "\u2402"  # stands where a user would speak
TURNS = 2  # of a conversation, at most


def write_documents(
    engine: Engine,
    n: int,
    *,
    max_tokens: int = 128,
    temperature: float = 1.0,
    begin: Begin = "auto",
    seed: int = 0,
) -> list[Tokenized]:
    """At most n texts, every token that the model wrote trained: `max_tokens` of a document, half as many of a
    question and of an answer. "auto" writes conversations too where there is a chat template, half of each. What
    is empty or would not fit the context is left out.

    Source: for conversations, Xu et al. 2024 (arXiv 2406.08464), Magpie; for rehearsal on a network's own output,
    Robins 1995 (Connection Science 7, 123-146).
    """
    sampling = Sampling(max_tokens=min(max_tokens, context(engine.model) - 1), temperature=temperature)
    chats = 0 if begin == "document" else n if begin == "chat" else n // 2
    if chats and not user_opening(engine.tokens):
        if begin == "chat":
            raise ValueError(
                "this model's tokenizer has no chat template, so no conversation can be begun: begin documents"
            )
        chats = 0
    start = engine.tokens.prompt("")
    groups = engine.sample([start] * (n - chats), sampling, seed=derive(seed, "document") % 2**31)
    found = [continued(Tokenized([], [], []), start, group[0].ids) for group in groups]
    if chats:
        half = replace(sampling, max_tokens=max(1, sampling.max_tokens // 2))
        found += conversations(engine, chats, half, seed)
    return [text for text in found if sum(text.train) > 1]


@dataclass
class Talk:
    """A conversation under way: what was said, its text so far, and whether it may go on."""

    said: list[Message] = field(default_factory=list)
    text: Tokenized = field(default_factory=lambda: Tokenized([], [], []))
    open: bool = True


def conversations(engine: Engine, n: int, sampling: Sampling, seed: int) -> list[Tokenized]:
    """Questions that the model asks itself, with its answers; both are trained, the template is not."""
    talks = [Talk() for _ in range(n)]
    for turn in range(TURNS):
        going = [talk for talk in talks if talk.open]
        ask(engine, going, sampling, derive(seed, "question", turn))
        answer(engine, [talk for talk in going if talk.open], sampling, derive(seed, "answer", turn))
    return [talk.text for talk in talks]


def ask(engine: Engine, talks: Sequence[Talk], sampling: Sampling, seed: int) -> None:
    """The model says what a user would. A question without words or without an end ends the talk."""
    closing = user_closing(engine.tokens)
    openings = [user_opening(engine.tokens, talk.said) for talk in talks]
    for talk, opening, sample in spoken(engine, talks, openings, sampling, seed):
        end = end_of(sample.ids, closing)
        question = engine.tokens.text(sample.ids[:end]).strip()
        talk.text = continued(talk.text, opening, sample.ids[: end + len(closing)])
        talk.open = bool(question) and (sample.finished or end < len(sample.ids))
        talk.said.append({"role": "user", "content": question})


def answer(engine: Engine, talks: Sequence[Talk], sampling: Sampling, seed: int) -> None:
    """The model answers. An answer without an end ends the talk."""
    prompts = [engine.tokens.prompt(tuple(talk.said)) for talk in talks]
    for talk, prompt, sample in spoken(engine, talks, prompts, sampling, seed):
        talk.text = continued(talk.text, prompt, sample.ids)
        talk.open = sample.finished
        talk.said.append({"role": "assistant", "content": engine.tokens.text(sample.ids)})


def spoken(
    engine: Engine, talks: Sequence[Talk], prompts: Sequence[list[int]], sampling: Sampling, seed: int
) -> Iterator[tuple[Talk, list[int], Sample]]:
    """What the model says after each prompt; a talk that would leave the context ends where it is."""
    room = context(engine.model) - sampling.max_tokens
    for talk, prompt in zip(talks, prompts, strict=True):
        talk.open = len(prompt) <= room
    fitting = [(talk, prompt) for talk, prompt in zip(talks, prompts, strict=True) if talk.open]
    groups = engine.sample([prompt for _, prompt in fitting], sampling, seed=seed % 2**31)
    for (talk, prompt), group in zip(fitting, groups, strict=True):
        yield talk, prompt, group[0]


def continued(text: Tokenized, prompt: Sequence[int], ids: Sequence[int]) -> Tokenized:
    """The prompt with what the model wrote behind it. What it had written before stays trained as far as the prompt
    repeats it; the template may have changed what comes after."""
    alike = [a == b for a, b in zip(text.ids, prompt, strict=False)]
    same = alike.index(False) if False in alike else len(alike)
    train = [*text.train[:same], *[False] * (len(prompt) - same), *[True] * len(ids)]
    return Tokenized([*prompt, *ids], train, [0] * len(train))


def end_of(ids: Sequence[int], closing: Sequence[int]) -> int:
    """Where the template's words after a user begin in what the model wrote, whole or cut short; else where it ends."""
    tails = (k for k in range(len(ids)) if list(ids[k : k + len(closing)]) == list(closing[: len(ids) - k]))
    return next(tails, len(ids)) if closing else len(ids)


def user_opening(tokens: Tokens, said: Sequence[Message] = ()) -> list[int]:
    """The ids after which a user would speak, behind what was said; empty without a chat template."""
    before = around_a_user(tokens, said)[0]
    return tokens.encode(before) if before else []


def user_closing(tokens: Tokens) -> list[int]:
    """The ids that follow a user who has spoken, up to where the assistant is asked to."""
    after = around_a_user(tokens, ())[1]
    return tokens.encode(after) if after else []


def around_a_user(tokens: Tokens, said: Sequence[Message]) -> tuple[str, str]:
    """What the template writes before and after what a user says next; nothing without a chat template."""
    if not tokens.chat:
        return "", ""
    before, hole, after = tokens.render([*said, {"role": "user", "content": HOLE}], generate=True).partition(HOLE)
    assert hole, "a chat template that swallows what the user says"
    return before, after
