"""Another model on the same items: the accuracy that a trained model is compared with, such as its teacher's.

value_i = 1 where the greedy answer of the other model to item i is right, else 0

It is the same before and after training, and is no ability of the trained model, so there is no right and wrong to
lose. The items are those of a probe of kind `generate` with the same task, split and seed, so the two can be paired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from scalpel import models
from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import Split, Task
from scalpel.evaluation.probes.generate import Generate, generate
from scalpel.evaluation.probes.item import ItemResult, Role
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine


@dataclass(frozen=True)
class AnotherModel:
    """The items of `asked`, answered by the model of that folder or name."""

    asked: Generate
    model: str
    kind: str = field(default="another-model", init=False)
    unit: str = field(default="share right", init=False)

    @property
    def name(self) -> str:
        return self.asked.name

    @property
    def role(self) -> Role:
        return self.asked.role

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, asked=self.asked.only(ids))

    def questions(self) -> Iterable[str]:
        return self.asked.questions()

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        found = self.asked.run(loaded(self.model, str(engine.model.device)))
        return [replace(result, right=None, value=float(result.right or 0)) for result in found]


@lru_cache(maxsize=1)  # it is asked at every evaluation along a run
def loaded(model: str, device: str) -> Engine:
    from scalpel.engine import Engine

    return Engine(*models.load(model, device=device))


@register("probe", "another-model")
def another_model(
    name: str,
    role: Role,
    answer_tokens: int,
    *,
    model: str,
    task: Task,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
    stop: tuple[str, ...] = (),
) -> AnotherModel:
    """Greedy answers of another model, such as a teacher, on the same items: 1 where right, 0 where wrong."""
    asked = generate(
        name, role, answer_tokens, task=task, n=n, split=split, seed=seed, max_tokens=max_tokens, stop=stop
    )
    return AnotherModel(asked, model)
