"""Play and verify: the model answers greedily in an environment, turn after turn, and the task judges the last answer.

right_i = [score(last answer of episode i) ≥ 1]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import Example, Split, Task
from scalpel.data.trajectory import Trajectory
from scalpel.engine.padded_forward import context
from scalpel.environments import Environment, play
from scalpel.evaluation.probes.generate import Generate
from scalpel.evaluation.probes.item import Answer, ItemResult, Role
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Episodes(Generate):
    """As `generate`, over the turns of an episode. There is no log-probability: which calls lead to the answer is the
    model's own choice."""

    environment: Environment
    kind: str = field(default="episodes", init=False)
    unit: str = field(default="", init=False)

    def played(
        self, engine: Engine, items: list[Example], k: int, seed: int, temperature: float
    ) -> list[list[Trajectory]]:
        """k episodes of each item."""
        sampling = self.sampling(temperature)
        context_length = context(engine.model)

        def sample(prompts: Sequence[Sequence[int]], n: int, seed: int) -> list[list[Trajectory]]:
            limits = [min(sampling.max_tokens, context_length - len(prompt)) for prompt in prompts]
            groups = engine.sample(prompts, sampling, n, seed, limits)
            return [[s.behind(p) for s in group] for p, group in zip(prompts, groups, strict=True)]

        return play(self.environment, engine.tokens, sample, items, k, seed, context_length)

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        items = self.items()
        return [
            self.result(item, answer, None) for item, answer in zip(items, self.answers(engine, items), strict=True)
        ]

    def answers(self, engine: Engine, items: list[Example]) -> list[Answer]:
        """The last answer of each episode."""
        episodes = self.played(engine, items, 1, 0, 0.0)
        return [Answer(engine.tokens.text(one.answer_ids), not one.finished) for (one,) in episodes]

    def tries(self, engine: Engine, *, k: int, seed: int = 0) -> dict[str, bool]:
        """Whether any of k episodes at temperature 1 is right, by item id (pass@k)."""
        items = self.items()
        groups = self.played(engine, items, k, seed, 1.0)
        said = [[engine.tokens.text(one.answer_ids) for one in group] for group in groups]
        return {
            item.id: any(self.task.score(text, item) >= 1.0 for text in texts)
            for item, texts in zip(items, said, strict=True)
        }


@register("probe", "episodes")
def episodes(
    name: str,
    role: Role,
    answer_tokens: int,
    *,
    task: Task,
    environment: Environment,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
    stop: tuple[str, ...] = (),
) -> Episodes:
    """Plays greedily in an environment; the task judges what was said last. `max_tokens` is the limit of a turn."""
    limit = max_tokens or answer_tokens
    return Episodes(name, task, n, split, seed, limit, stop, role, environment=environment)
