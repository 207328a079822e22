"""Ask again: the model answers greedily; after a wrong answer it is asked again, with its answer in the context.

right_i = [one of the answers y_1 … y_turns scores ≥ 1],   y_t the greedy answer to (x, y_1, again, …, y_{t−1}, again).

Without `oracle` it is always asked again, and the last answer counts: this measures whether it keeps to right answers.

Source   Qu et al. 2024 (arXiv 2407.18219), section 5: success within k turns, with and without an oracle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scalpel.binding.bounds import Count, Few, Seed, Tokens
from scalpel.data.example import Example, Split, Task
from scalpel.data.prompts import asked_again
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.probes.item import Answer, Role, answer_of
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine


@dataclass(frozen=True)
class Revised(Generate):
    """As `generate`, over at most `turns` turns with the user message `again` between them. One turn is `generate`."""

    turns: int = 2
    again: str = "That is not right. Please try again."
    oracle: bool = True
    kind: str = field(default="revised", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns < 1:
            raise ValueError(f"probe {self.name!r}: turns = {self.turns}; it needs at least 1")

    def answers(self, engine: Engine, items: list[Example]) -> list[Answer]:
        """The last answer of each conversation."""
        prompts = [example.prompt for example in items]
        answers = [Answer("", False)] * len(items)
        going = list(range(len(items)))
        for _ in range(self.turns):
            if not going:
                break
            asked = [engine.tokens.prompt(prompts[i]) for i in going]
            for i, group in zip(going, engine.sample(asked, self.sampling(0.0)), strict=True):
                answers[i] = answer_of(engine, group[0])
                prompts[i] = asked_again(prompts[i], answers[i].text, self.again)
            going = [i for i in going if not (self.oracle and self.task.score(answers[i].text, items[i]) >= 1.0)]
        return answers


@register("probe", "revised")
def revised(
    name: str,
    role: Role,
    answer_tokens: int,
    *,
    task: Task,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
    stop: tuple[str, ...] = (),
    turns: Few = Revised.turns,
    again: str = Revised.again,
    oracle: bool = True,
) -> Revised:
    """As generate, but asked again after a wrong answer: right or wrong, and log p of the right answer."""
    limit = max_tokens or answer_tokens
    return Revised(name, task, n, split, seed, limit, stop, role, turns=turns, again=again, oracle=oracle)
