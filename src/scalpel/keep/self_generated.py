"""Text that a model samples without any prompt: self-generated rehearsal data that needs no data set.

A document is sampled from the start token. In a conversation the model writes both sides: the chat template is rendered
up to the user's message, the model samples the question and then the answer to it, and a conversation whose answer
ended by itself continues for another turn.
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
HOLE = "\u2402"  # placeholder for the user's message, assumed not to occur in any template


def write_documents(
    engine: Engine,
    n: int,
    *,
    max_tokens: int = 128,
    temperature: float = 1.0,
    begin: Begin = "auto",
    seed: int = 0,
    turns: int = 2,
) -> list[Tokenized]:
    """At most n texts, in which every token that the model sampled is trained: at most `max_tokens` in a document, half
    as many in a question and in an answer. With "auto", half of the texts are conversations if there is a chat
    template. Texts that are empty or would not fit the context are left out, so there may be fewer than n. Raises
    ValueError for "chat" without a chat template.

    Source: for conversations, Xu et al. 2024 (arXiv 2406.08464), Magpie; for rehearsal on a network's own output,
    Robins 1995 (Connection Science 7, 123-146).
    """
    sampling = Sampling(max_tokens=min(max_tokens, context(engine.model) - 1), temperature=temperature)
    chats = 0 if begin == "document" else n if begin == "chat" else n // 2
    if chats and not user_opening(engine.tokens):
        if begin == "chat":
            raise ValueError(
                "this model's tokenizer has no chat template, so it can't write conversations: set begin = \"document\""
            )
        chats = 0
    start = engine.tokens.prompt("")
    groups = engine.sample([start] * (n - chats), sampling, seed=derive(seed, "document") % 2**31)
    found = [continued(Tokenized([], [], []), start, group[0].ids) for group in groups]
    if chats:
        half = replace(sampling, max_tokens=max(1, sampling.max_tokens // 2))
        found += conversations(engine, chats, half, seed, turns)
    return [text for text in found if sum(text.train) > 1]


@dataclass
class Talk:
    """A conversation that is being sampled: its messages, its tokens so far, and whether it may continue."""

    said: list[Message] = field(default_factory=list)
    text: Tokenized = field(default_factory=lambda: Tokenized([], [], []))
    open: bool = True


def conversations(engine: Engine, n: int, sampling: Sampling, seed: int, turns: int) -> list[Tokenized]:
    """n conversations in which the model writes both sides. Questions and answers are trained, the template is not."""
    talks = [Talk() for _ in range(n)]
    for turn in range(turns):
        going = [talk for talk in talks if talk.open]
        ask(engine, going, sampling, derive(seed, "question", turn))
        answer(engine, [talk for talk in going if talk.open], sampling, derive(seed, "answer", turn))
    return [talk.text for talk in talks]


def ask(engine: Engine, talks: Sequence[Talk], sampling: Sampling, seed: int) -> None:
    """Samples the user's next message. An empty question, or one that was cut off, ends the conversation."""
    # a user's turn has no stop token of its own, so its end is found by the text that the template writes after it
    closing = user_closing(engine.tokens)
    openings = [user_opening(engine.tokens, talk.said) for talk in talks]
    for talk, opening, sample in spoken(engine, talks, openings, sampling, seed):
        end = end_of(sample.ids, closing)
        question = engine.tokens.text(sample.ids[:end]).strip()
        talk.text = continued(talk.text, opening, sample.ids[: end + len(closing)])
        talk.open = bool(question) and (sample.finished or end < len(sample.ids))
        talk.said.append({"role": "user", "content": question})


def answer(engine: Engine, talks: Sequence[Talk], sampling: Sampling, seed: int) -> None:
    """Samples the assistant's answer. An answer that was cut off ends the conversation."""
    prompts = [engine.tokens.prompt(tuple(talk.said)) for talk in talks]
    for talk, prompt, sample in spoken(engine, talks, prompts, sampling, seed):
        talk.text = continued(talk.text, prompt, sample.ids)
        talk.open = sample.finished
        talk.said.append({"role": "assistant", "content": engine.tokens.text(sample.ids)})


def spoken(
    engine: Engine, talks: Sequence[Talk], prompts: Sequence[list[int]], sampling: Sampling, seed: int
) -> Iterator[tuple[Talk, list[int], Sample]]:
    """A sample after each prompt. A conversation that would exceed the context length ends without it."""
    max_prompt = context(engine.model) - sampling.max_tokens
    for talk, prompt in zip(talks, prompts, strict=True):
        talk.open = len(prompt) <= max_prompt
    fitting = [(talk, prompt) for talk, prompt in zip(talks, prompts, strict=True) if talk.open]
    groups = engine.sample([prompt for _, prompt in fitting], sampling, seed=seed % 2**31)
    for (talk, prompt), group in zip(fitting, groups, strict=True):
        yield talk, prompt, group[0]


def continued(text: Tokenized, prompt: Sequence[int], ids: Sequence[int]) -> Tokenized:
    """The prompt followed by the sampled ids, which are trained. Tokens that were sampled earlier stay trained as far
    as the prompt repeats them: a template may render earlier turns differently (it may drop reasoning), and what the
    model didn't write must not be trained."""
    alike = [a == b for a, b in zip(text.ids, prompt, strict=False)]
    same = alike.index(False) if False in alike else len(alike)
    train = [*text.train[:same], *[False] * (len(prompt) - same), *[True] * len(ids)]
    return Tokenized([*prompt, *ids], train, [0] * len(train))


def end_of(ids: Sequence[int], closing: Sequence[int]) -> int:
    """The index at which the template's text after a user's message begins in the sampled ids, in full or cut off at
    the end; the length of the ids if it doesn't occur."""
    tails = (k for k in range(len(ids)) if list(ids[k : k + len(closing)]) == list(closing[: len(ids) - k]))
    return next(tails, len(ids)) if closing else len(ids)


def user_opening(tokens: Tokens, said: Sequence[Message] = ()) -> list[int]:
    """The ids of the messages so far, up to where a user's message begins; empty without a chat template."""
    before = around_a_user(tokens, said)[0]
    return tokens.encode(before) if before else []


def user_closing(tokens: Tokens) -> list[int]:
    """The ids between a user's message and the assistant's answer; empty without a chat template."""
    after = around_a_user(tokens, ())[1]
    return tokens.encode(after) if after else []


def around_a_user(tokens: Tokens, said: Sequence[Message]) -> tuple[str, str]:
    """The template's text before and after the user's next message; two empty texts without a chat template."""
    if not tokens.chat:
        return "", ""
    before, hole, after = tokens.render([*said, {"role": "user", "content": HOLE}], generate=True).partition(HOLE)
    assert hole, "the chat template drops the user's message"
    return before, after
