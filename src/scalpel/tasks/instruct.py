"""Instructions: how a task's prompts are presented, as chat or plain text, and how the final answer is extracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scalpel.binding.patterns import compiled, found
from scalpel.data.example import (
    Example,
    Message,
    Prompt,
    Split,
    Task,
    with_arguments_of,
)
from scalpel.rewards.scored import UNREAD
from scalpel.tasks.spool import Rows


@dataclass(frozen=True)
class Instruction:
    """The presentation of a prompt and the extraction of the answer.

    chat      a prompt as text becomes a user message
    system    a system message before the conversation; implies chat
    template  text with {prompt} in it, which replaces the prompt (in a chat, the last user message)
    after     the mark before the final answer, such as "Answer:"; demonstrations get it if they lack it
    extract   or a regular expression whose first group is the answer, at its last match
    """

    chat: bool = False
    system: str | None = None
    template: str | None = None
    after: str | None = None
    extract: str | None = None

    def __post_init__(self) -> None:
        if self.template is not None and "{prompt}" not in self.template:
            raise ValueError(f"template {self.template!r} has no {{prompt}} in it: the prompt would be lost")
        if self.after is not None and self.extract is not None:
            raise ValueError("after and extract exclude each other: both say where the answer is")
        if self.extract is not None and compiled(self.extract).groups != 1:
            raise ValueError(f"extract {self.extract!r} must have exactly one group: the answer")

    def prompt(self, prompt: Prompt) -> Prompt:
        if isinstance(prompt, str):
            prompt = self._filled(prompt)
            if not (self.chat or self.system):
                return prompt
            messages: tuple[Message, ...] = ({"role": "user", "content": prompt},)
        else:
            last = max((i for i, m in enumerate(prompt) if m["role"] == "user"), default=None)
            messages = tuple(
                {**m, "content": self._filled(m["content"])} if i == last else m for i, m in enumerate(prompt)
            )
        if self.system and messages[0]["role"] != "system":
            messages = ({"role": "system", "content": self.system}, *messages)
        return with_arguments_of(prompt, messages)

    def completion(self, completion: str, answer: str | None) -> str:
        """The demonstration with its final answer after the mark, unless it has the mark already."""
        if self.after is None or answer is None or self.after in completion:
            return completion
        return f"{self.after} {answer}" if completion == answer else f"{completion}\n{self.after} {answer}"

    def answer(self, completion: str, expected: str | None) -> str:
        """The answer in a completion, empty if there is none. If the reference answer is one line, the first line is
        taken, without the full stop and the emphasis that chat models put around it."""
        if self.extract is not None:
            return found(self.extract, completion) or ""
        if self.after is None:
            return completion
        _, mark, said = completion.rpartition(self.after)
        said = said.strip() if mark else ""
        if expected is not None and "\n" in expected:
            return said
        said = said.partition("\n")[0].strip(" *`")
        return said if expected is not None and expected.endswith(".") else said.removesuffix(".").rstrip(" *`")

    def _filled(self, prompt: str) -> str:
        return prompt if self.template is None else self.template.replace("{prompt}", prompt)


class Instructed:
    """A task with an instruction: its prompts are presented by it, and only the extracted answer is scored."""

    def __init__(self, task: Task, instruction: Instruction) -> None:
        self.task = task
        self.name = task.name
        self.instruction = instruction
        if size := getattr(task, "size", None):
            self.size = size

    def examples(self, split: Split, n: int, seed: int = 0) -> Sequence[Example]:
        found = self.task.examples(split, n, seed)
        return found.mapped(self.put) if isinstance(found, Rows) else [self.put(example) for example in found]

    def score(self, completion: str, example: Example) -> float:
        """The task's score of the extracted answer; UNREAD if there is none, such as where the mark is missing."""
        said = self.instruction.answer(completion, example.answer)
        score = self.task.score(said, example)
        return score if said.strip() or score >= 1.0 else UNREAD

    def feedback(self, completion: str, example: Example) -> str:
        """The task's textual feedback on the extracted answer."""
        say = getattr(self.task, "feedback", None)
        return say(self.instruction.answer(completion, example.answer), example) if say else ""

    def put(self, example: Example) -> Example:
        if example.messages is not None or (not example.prompt and example.completion is not None):
            return example  # whole conversations and plain texts have no prompt to present
        said = example.completion
        if said is not None:
            said = self.instruction.completion(said, example.answer)
        return replace(example, prompt=self.instruction.prompt(example.prompt), completion=said)

    def __repr__(self) -> str:
        return f"Instructed({self.task!r})"
