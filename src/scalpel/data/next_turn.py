"""The next turn of an episode: the tokens between a sampled answer and the next generation prompt.

Sampled ids are never changed. The conversation is rendered with the answer, and again with the environment's reply and
the next generation prompt; what the second text has after the end of the answer is encoded separately and appended.
This needs the prefix property of the chat template: the rendering of a conversation is a prefix of the rendering of a
longer one. Without it (Qwen3 removes the reasoning of earlier turns once a user speaks), the prompt of the next turn is
rendered completely, and starts a new sequence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby

from scalpel.batch import ENVIRONMENT, TEMPLATE
from scalpel.data.example import Message, Prompt, with_arguments_of
from scalpel.data.reasoning import gist
from scalpel.data.special_tokens import MARK
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Segment
from scalpel.data.turn_ends import bare, found_end

log = logging.getLogger("scalpel")
PROBES = {"an answer": "two", "an answer with a thought": "<think>\none\n</think>\n\ntwo"}


def next_turn(
    tokens: Tokens, prompt: Prompt, said: Message, ids: Sequence[int], replies: Sequence[Message]
) -> list[Segment]:
    """The segments after an answer that was sampled as these ids: the text of template and environment up to the next
    generation prompt. Without the prefix property, a single segment with the complete prompt of a new sequence."""
    if isinstance(prompt, str):
        text = "".join(f"\n{reply['content']}" for reply in replies) + "\n"
        return authored(tokens, list(ids), text, replies)
    between = text_between(tokens, prompt, said, ids, replies)
    if between is None:
        return [Segment(TEMPLATE, tuple(tokens.prompt(grown(prompt, said, replies))), anew=True)]
    return authored(tokens, list(ids), between, replies)


def grown(prompt: Prompt, said: Message, replies: Sequence[Message]) -> Prompt:
    """The prompt of the next turn."""
    if isinstance(prompt, str):
        return f"{prompt}{said['content']}" + "".join(f"\n{reply['content']}" for reply in replies) + "\n"
    return with_arguments_of(prompt, (*prompt, said, *replies))


def text_between(
    tokens: Tokens, prompt: Sequence[Message], said: Message, ids: Sequence[int], replies: Sequence[Message]
) -> str | None:
    """The template's text from the end of the answer to the next generation prompt. None if the text so far is not a
    prefix of the longer one, or doesn't contain the whole answer."""
    asked, content = tokens.render(prompt, generate=True), str(said["content"])
    whole, after = (
        tokens.render(with_arguments_of(prompt, (*prompt, said))),
        with_arguments_of(prompt, (*prompt, said, *replies)),
    )
    longer = tokens.render(after, generate=True)
    if not whole.startswith(asked):
        return None
    answer = whole[len(asked) :]
    end = found_end(answer, said, tokens.stop_texts)
    end = len(bare(answer, content)) if end is None else end
    if not longer.startswith(asked + answer[:end]) or gist(content) not in gist(answer[:end]):
        return None
    stopped = bool(ids) and ids[-1] in tokens.stop_ids
    # If sampling ended at a stop string and not at a stop token, the template's stop token is still missing.
    close = "" if stopped else next((s for s in tokens.stop_texts if answer[:end].endswith(s)), "")
    return close + longer[len(asked) + end :]


def authored(tokens: Tokens, before: list[int], text: str, replies: Sequence[Message]) -> list[Segment]:
    """The text as segments: the contents of messages have the author environment, the rest has the author template."""
    ids, spans = encoded(tokens, [i for i in before[-1:] if i in tokens.stop_ids], text)
    inside = places(text, [tokens.spelt.text(str(reply.get("content") or "")) for reply in replies])
    if spans is None:  # a tokenizer without offsets
        return [Segment(ENVIRONMENT, tuple(ids))]
    authors = [ENVIRONMENT if any(a < d and c < b for c, d in inside) else TEMPLATE for a, b in spans]
    runs = groupby(zip(authors, ids, strict=True), key=lambda pair: pair[0])
    return [Segment(author, tuple(i for _, i in run)) for author, run in runs]


def encoded(tokens: Tokens, stop: list[int], text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
    """The ids of a text, and the span of each in the text. The text is encoded together with the preceding stop token,
    if there is one, because a tokenizer may treat the start of a text specially, and a control token may strip the
    white space after it."""
    if tokens.core is None:
        return tokens.encode(text), None
    anchor = str(tokens.tokenizer.decode(stop)) if stop else ""
    found = tokens.core.encode(anchor + text, add_special_tokens=False)
    if list(found.ids[: len(stop)]) != stop:
        anchor, stop = "", []
        found = tokens.core.encode(text, add_special_tokens=False)
    spans = [(a - len(anchor), b - len(anchor)) for a, b in found.offsets[len(stop) :]]
    pairs = [
        (i, (a, b))
        for i, (a, b) in zip(found.ids[len(stop) :], spans, strict=True)
        if a == b or text[max(a, 0) : b].strip(MARK)
    ]
    return [i for i, _ in pairs], [span for _, span in pairs]


def places(text: str, contents: Sequence[str]) -> list[tuple[int, int]]:
    """The spans of the contents in a text, in order; contents that don't occur are skipped."""
    found, at = [], 0
    for content in (c.strip() for c in contents):
        start = text.find(content, at) if content else -1
        if start >= 0:
            at = start + len(content)
            found.append((start, at))
    return found


def prefix_faults(tokens: Tokens, role: str) -> dict[str, str]:
    """The cases in which the chat template lacks the prefix property, each with a description of the difference.
    ValueError if the template doesn't accept a message of that role after an answer."""
    prompt: tuple[Message, ...] = ({"role": "user", "content": "one"},)
    reply: Message = {"role": role, "content": "three"}
    faults = {}
    for what, content in PROBES.items():
        said: Message = {"role": "assistant", "content": content}
        try:
            shorter, longer = tokens.render((*prompt, said)), tokens.render((*prompt, said, reply), generate=True)
        except ValueError as error:
            raise ValueError(
                f"the environment answers with messages of role {role!r}, which the chat template refuses: {error}; "
                'set `role` of the environment to another one, such as "user"'
            ) from error
        if text_between(tokens, prompt, said, [tokens.end_id], [reply]) is None:
            faults[what] = f"at its end: {shorter!r}; within a longer conversation: {longer!r}"
    return faults


def say_prefix_faults(tokens: Tokens, role: str) -> None:
    """Warns of episodes that will be split because the template lacks the prefix property."""
    if not tokens.chat:
        return
    for what, words in prefix_faults(tokens, role).items():
        log.warning(
            "the chat template renders %s differently once a message of role %r follows, so it lacks the prefix "
            "property: such an episode is split into one sequence per turn, each after its own prompt and with the "
            "rewards of the whole episode. %s", what, role, words
        )  # fmt: skip
