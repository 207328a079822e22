"""Drift: the KL divergence of the tuned model from the base, on neutral text.

value_i = mean over tokens t of KL(p(·|t) ‖ p_base(·|t)), exact over the vocabulary, in nats.
Zero for the base itself; there is no right and wrong.

The text is given, or the base itself samples it from neutral prompts. Then no data is needed, and the divergence is
measured on text that is likely under the base.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from scalpel.binding.bounds import Count, Seed, Tokens
from scalpel.data.example import Prompt, Split, Task, items_of
from scalpel.evaluation.probes.choose import row
from scalpel.evaluation.probes.item import (
    ItemResult,
    Role,
    distinct,
    prompt_text,
)
from scalpel.registry import register

if TYPE_CHECKING:
    from scalpel.engine import Engine

Row = tuple[list[int], list[int]]
# The base's texts, so that before and after are measured on the same ones. Weak keys: the cache must not keep a base
# in memory after its last user is gone.
_written: WeakKeyDictionary[Engine, dict[str, list[Row]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Drift:
    """KL divergence from the base on `texts`, or on what the base writes after `prompts`; exactly one of the two."""

    name: str
    texts: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    max_tokens: int = 64
    seed: int = 0
    role: Role = "keep"
    kept: frozenset[str] | None = None
    kind: str = field(default="drift", init=False)
    unit: str = field(default="KL to the base per token, nats", init=False)

    def __post_init__(self) -> None:
        if bool(self.texts) == bool(self.prompts):
            raise ValueError(
                f"probe {self.name!r} has {len(self.texts)} texts and {len(self.prompts)} prompts; "
                "give texts to measure on, or prompts from which the base writes them, but not both"
            )
        distinct(self.name, self.ids())

    def ids(self) -> list[str]:
        return [str(index) for index in range(len(self.texts or self.prompts))]

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, kept=frozenset(ids))

    def questions(self) -> Iterable[str]:
        return map(prompt_text, self.prompts)

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        if reference is None:
            raise ValueError(f"probe {self.name!r} measures the drift from a base: give the base as `reference`")
        chosen = [
            (id, prompt_text(prompt), prompt_completion)
            for id, prompt, prompt_completion in zip(
                self.ids(), self.prompts or self.texts, self.rows(reference), strict=True
            )
            if (self.kept is None or id in self.kept) and prompt_completion[1]
        ]
        drifts = divergences(engine, [rows for _, _, rows in chosen], reference)
        return [
            ItemResult(id, None, value, reference.tokens.text(completion), prompt)
            for (id, prompt, (_, completion)), value in zip(chosen, drifts, strict=True)
        ]

    def rows(self, reference: Engine) -> list[Row]:
        """Prompt and text of each item as token ids. The base writes its texts once, and they are cached."""
        if self.texts:
            return [row(reference, "", text) for text in self.texts]
        known = _written.setdefault(reference, {})
        key = repr((self.prompts, self.max_tokens, self.seed))
        if key not in known:
            known[key] = self.write(reference)
        return known[key]

    def write(self, reference: Engine) -> list[Row]:
        """One sample of the base per prompt, at temperature 1."""
        from scalpel.engine import Sampling

        tokens = reference.tokens
        prompts = [tokens.prompt(prompt) for prompt in self.prompts]
        groups = reference.sample(prompts, Sampling(max_tokens=self.max_tokens), n=1, seed=self.seed)
        return [(prompt, list(group[0].ids)) for prompt, group in zip(prompts, groups, strict=True)]


def divergences(engine: Engine, rows: list[Row], reference: Engine) -> list[float]:
    """Mean KL(engine ‖ reference) of each row, in nats per token; zero, without a forward pass, for the base itself."""
    if engine is reference or not rows:
        return [0.0] * len(rows)
    return engine.kl(rows, reference)


@register("probe", "drift")
def drift(
    name: str,
    role: Role,
    *,
    texts: tuple[str, ...] = (),
    prompts: tuple[Prompt, ...] = (),
    task: Task | None = None,
    n: Count | None = None,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens = 64,
) -> Drift:
    """The KL divergence from the base per token, on `texts` or on what the base writes after `prompts`, given or of a
    task."""
    if task is not None:
        prompts = (*prompts, *(example.prompt for example in items_of(task, split, n, seed, 64)))
    return Drift(name, texts, prompts, max_tokens, seed, role)
