"""Prompts with added text or added turns, for sources and probes that ask about an earlier answer."""

from scalpel.data.example import Prompt, with_arguments_of


def with_prefix(words: str, prompt: Prompt) -> Prompt:
    """The prompt with `words` before its text, or before the text of its last user message."""
    if isinstance(prompt, str):
        return words + prompt
    last = max((i for i, message in enumerate(prompt) if message["role"] == "user"), default=0)
    return with_arguments_of(
        prompt, ({**m, "content": words + m["content"]} if i == last else m for i, m in enumerate(prompt))
    )


def asked_again(prompt: Prompt, answer: str, words: str) -> Prompt:
    """The prompt with one more exchange: the assistant's answer, and the user's reply `words` to it."""
    if isinstance(prompt, str):
        return f"{prompt}{answer}\n{words}\n"
    return with_arguments_of(
        prompt, (*prompt, {"role": "assistant", "content": answer}, {"role": "user", "content": words})
    )


def seen_before(prompt: Prompt, answer: str) -> Prompt:
    """The prompt asked a second time, after an answer to it."""
    if isinstance(prompt, str):
        return f"{prompt}{answer}\n{prompt}"
    return with_arguments_of(prompt, (*prompt, {"role": "assistant", "content": answer}, prompt[-1]))
