"""Interactive generation: a conversation if the tokenizer has a chat template, else continuation of a text."""

from __future__ import annotations

from pathlib import Path

from scalpel import models
from scalpel.data.example import Message, Prompt
from scalpel.device import choose_device, choose_precision
from scalpel.engine import Engine, Sampling


class Chat:
    """A conversation with a model and its history. Without a chat template there is no history."""

    def __init__(
        self,
        model: str | Path,
        *,
        system: str = "",
        plain: bool = False,
        max_tokens: int = 256,
        temperature: float = 0.0,
        device: str = "auto",
    ) -> None:
        at = choose_device(device)
        loaded, tokens = models.load(model, device=at)
        self.engine = Engine(loaded, tokens, precision=choose_precision("auto", loaded, at))
        self.turns = tokens.chat and not plain
        if system and not self.turns:
            raise ValueError("a system message needs chat turns: leave out --plain, or take a model with a template")
        self.system: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
        self.sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        self.history: tuple[Message, ...] = self.system

    def ask(self, words: str, seed: int = 0) -> str:
        """The model's answer. A turn that raises is not added to the history."""
        said: tuple[Message, ...] = (*self.history, {"role": "user", "content": words})
        prompt: Prompt = said if self.turns else words
        tokens = self.engine.tokens
        answer = tokens.text(self.engine.sample([tokens.prompt(prompt)], self.sampling, seed=seed)[0][0].ids)
        if self.turns:
            self.history = (*said, {"role": "assistant", "content": answer})
        return answer

    def forget(self) -> None:
        """Clears the history."""
        self.history = self.system
