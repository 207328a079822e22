"""A conversation about one problem, in which the model answers until it is right."""

from dataclasses import dataclass, field
from typing import Literal

from scalpel.data.example import Example, Prompt
from scalpel.data.prompts import asked_again

Keep = Literal["all", "better", "best", "success"]


@dataclass
class Conversation:
    """A conversation about one problem: its present prompt, and the answers so far with their rewards."""

    group: int
    example: Example
    prompt: Prompt
    answers: list[str] = field(default_factory=list)
    earned: list[float] = field(default_factory=list)
    over: bool = False

    def keeps(self, keep: Keep, reward: float, threshold: float) -> bool:
        """Whether an answer with that reward is trained."""
        if keep == "success" or keep == "all" or not self.earned:
            return keep != "success" or reward >= threshold
        return reward > self.earned[-1] if keep == "better" else reward >= max(self.earned)

    def go_on(self, answer: str, reward: float, words: str, over: bool) -> None:
        self.prompt = asked_again(self.prompt, answer, words)
        self.answers.append(answer)
        self.earned.append(reward)
        self.over = over
