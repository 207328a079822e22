"""Every generator of reasoning-gym as a task, checked by the generator's own verifier."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache, partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from scalpel.binding.bind import Key, bounded, keys_of
from scalpel.binding.table import Keyed
from scalpel.data.example import Example, Split
from scalpel.registry import unknown
from scalpel.rewards.scored import UNREAD
from scalpel.tasks.split import digest, split_of

PREFIX = "reasoning-gym/"
ANY = {int: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]}  # a generator checks tighter bounds itself
CHUNK = 64  # items from one seed of the generator; fixed, since the items of some generators depend on the size
HASHED = frozenset({  # generators that iterate over sets of strings, whose order differs between Python processes
    "isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder",
})  # fmt: skip
UNSTEADY = frozenset({"codeio"})  # runs programs whose results differ even with the same seed
PATIENCE = 512  # consecutive items without a new one after which a split counts as exhausted


class ReasoningGym:
    """Items of one generator. Its config keys are ours: `ReasoningGym("chain_sum", max_terms=3)`.

    Item i of a split depends only on (generator, config, split, seed, i): a stream of generator seeds is drawn from
    the split and the seed, and from it those items are taken whose question hashes into the split, each once. So no
    question is ever in two splits, whatever the seeds.
    """

    default_instruction: Mapping[str, Any] = {
        "chat": True
    }  # how its prompts are presented unless the table says otherwise

    def __init__(self, generator: str, **config: Any) -> None:
        self.name = PREFIX + generator
        self.generator = generator
        self.config = checked(generator, config)
        self._verifier = self._dataset(seed=0)

    def examples(self, split: Split, n: int, seed: int = 0) -> list[Example]:
        """The first n items of the split, or all of them where the generator has fewer."""
        return [example for _, example in zip(range(n), self.stream(split, seed), strict=False)]

    def stream(self, split: Split, seed: int = 0) -> Iterator[Example]:
        seen: set[str] = set()
        idle = chunk = 0
        while idle < PATIENCE:
            dataset = self._dataset(int(digest(f"{self.name}:{split}:{seed}:{chunk}"), 16) % 2**31)
            chunk += 1
            for i in range(CHUNK):
                with steady(i):
                    entry = dataset[i]
                name = digest(entry["question"])
                if name in seen or split_of(entry["question"]) != split:
                    idle += 1
                    continue
                seen.add(name)
                idle = 0
                yield self._example(entry, f"{self.name}:{split}:{name}")

    def score(self, completion: str, example: Example) -> float:
        """The generator's own score, clipped to [0, 1]; some generators give partial credit. An empty completion is
        UNREAD."""
        if not completion.strip():
            return UNREAD
        c = example.columns
        entry = {"question": c["question"], "answer": c["oracle"], "metadata": c["metadata"]}
        return min(max(float(self._verifier.score_answer(completion.strip(), entry)), 0.0), 1.0)

    def _dataset(self, seed: int) -> Any:
        from reasoning_gym.factory import create_dataset

        try:
            return create_dataset(self.generator, seed=seed, size=CHUNK, **self.config)
        except Exception as error:  # the generator's own validation may raise anything
            raise ValueError(f"{self.name} refuses the config {self.config}: {error!r}") from error

    def _example(self, entry: dict[str, Any], name: str) -> Example:
        answer = entry["answer"]
        columns = {"question": entry["question"], "oracle": answer, "metadata": entry["metadata"]}
        return Example(prompt=entry["question"], completion=answer, answer=answer, id=name, columns=columns)

    def __repr__(self) -> str:
        return f"ReasoningGym({self.generator!r})"


@contextmanager
def steady(seed: int) -> Iterator[None]:
    """Seeds the global random number generators of Python and NumPy, since a few reasoning-gym generators draw from
    them (list_functions, for example), and restores their states afterwards."""
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


@cache
def generators() -> dict[str, frozenset[str]]:
    """Each generator's name with its config keys, without those that scalpel sets itself."""
    import reasoning_gym  # noqa: F401  # fills the registry below
    from reasoning_gym.factory import DATASETS

    return {
        name: frozenset(f.name for f in fields(config)) - {"seed", "size"} for name, (_, config) in DATASETS.items()
    }


def generated(name: str) -> Keyed:
    """What makes the task of that name, "reasoning-gym/…"."""
    generator = name.removeprefix(PREFIX)
    keys = {k: Key(bounded(key.wanted, ANY), None) for k, key in configured(generator).items()}
    return Keyed(partial(ReasoningGym, generator), keys)


def configured(generator: str) -> dict[str, Key]:
    """The config keys of a generator, without those that scalpel sets itself. ValueError with the nearest name for an
    unknown generator."""
    from reasoning_gym.factory import DATASETS

    if generator not in generators():
        raise ValueError(unknown("reasoning-gym generator", generator, generators()))
    return keys_of(DATASETS[generator][1], without=("seed", "size"))


def checked(generator: str, config: dict[str, Any]) -> dict[str, Any]:
    """The config, or ValueError that names the nearest generator or key."""
    if generator not in generators():
        raise ValueError(unknown("reasoning-gym generator", generator, generators()))
    if generator in UNSTEADY:
        raise ValueError(
            f"the items of {PREFIX}{generator} differ from run to run even under the same seed, so nothing could be "
            "compared item by item: take another generator, or save items of it as JSONL and use those"
        )
    if generator in HASHED and sys.flags.hash_randomization:
        raise ValueError(
            f"the items of {PREFIX}{generator} differ from one Python process to the next, so nothing could be "
            "compared item by item: set PYTHONHASHSEED=0 in the environment, or take another generator"
        )
    for key in config:
        if key not in generators()[generator]:
            raise ValueError(f"{PREFIX}{generator}: {unknown('key', key, generators()[generator])}")
    return config
