"""Prompts that were changed or have grown by a turn: for sources and probes that go back to an answer."""

from scalpel.data.example import Prompt, like


def behind(words: str, prompt: Prompt) -> Prompt:
    """The prompt with words before what is asked: before its text, or before the last user message's."""
    if isinstance(prompt, str):
        return words + prompt
    last = max((i for i, message in enumerate(prompt) if message["role"] == "user"), default=0)
    return like(prompt, ({**m, "content": words + m["content"]} if i == last else m for i, m in enumerate(prompt)))


def asked_again(prompt: Prompt, answer: str, words: str) -> Prompt:
    """The prompt after one more turn: what was answered, and what is said to that."""
    if isinstance(prompt, str):
        return f"{prompt}{answer}\n{words}\n"
    return like(prompt, (*prompt, {"role": "assistant", "content": answer}, {"role": "user", "content": words}))


def seen_before(prompt: Prompt, answer: str) -> Prompt:
    """The prompt asked a second time, after an answer to it."""
    if isinstance(prompt, str):
        return f"{prompt}{answer}\n{prompt}"
    return like(prompt, (*prompt, {"role": "assistant", "content": answer}, prompt[-1]))
