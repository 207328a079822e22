"""A prompt with its answer, rendered completely, as a reward model reads it."""

from __future__ import annotations

from scalpel.data.example import Prompt, with_arguments_of
from scalpel.data.tokenized import Tokenized, joined
from scalpel.data.tokenizer import Tokens


def closed(tokens: Tokens, prompt: Prompt, completion: str) -> Tokenized:
    """The ids of a prompt with its answer. A conversation is rendered completely, including what the chat template
    writes after the last stop token, as by `apply_chat_template`; plain text ends with the end token. Only the last
    token is trained, since the score is read there."""
    if isinstance(prompt, str):
        ids = [*tokens.prompt(prompt), *tokens.completion(completion, prompt)]
    else:
        ids = tokens.encode(
            tokens.render(with_arguments_of(prompt, (*prompt, {"role": "assistant", "content": completion})))
        )
    return joined([(ids[:-1], False), (ids[-1:], True)])


def last_ids(tokens: Tokens) -> set[int]:
    """The last tokens of a text and of a conversation."""
    found = {tokens.end_id}
    if tokens.chat:
        found.add(closed(tokens, ({"role": "user", "content": "1"},), "2").ids[-1])
    return found
