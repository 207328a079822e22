"""A prompt with its answer to the very end, as a reward model reads it."""

from __future__ import annotations

from scalpel.data.example import Prompt, with_arguments_of
from scalpel.data.tokenized import Tokenized, joined
from scalpel.data.tokenizer import Tokens


def closed(tokens: Tokens, prompt: Prompt, completion: str) -> Tokenized:
    """A conversation as the chat template renders it whole, with what it writes behind the last stop token, so that the
    ids are those of `apply_chat_template`; text with the end token behind it. The last token alone is trained: a score
    is read from the state there."""
    if isinstance(prompt, str):
        ids = [*tokens.prompt(prompt), *tokens.completion(completion, prompt)]
    else:
        ids = tokens.encode(
            tokens.render(with_arguments_of(prompt, (*prompt, {"role": "assistant", "content": completion})))
        )
    return joined([(ids[:-1], False), (ids[-1:], True)])


def last_ids(tokens: Tokens) -> set[int]:
    """The tokens with which a text and a conversation end."""
    found = {tokens.end_id}
    if tokens.chat:
        found.add(closed(tokens, ({"role": "user", "content": "1"},), "2").ids[-1])
    return found
