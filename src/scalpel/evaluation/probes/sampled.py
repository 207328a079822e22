"""Sample several answers to each question, and compute one statistic of them.

k samples y_1 … y_k ~ π(· | x) at a temperature, and of them, by `of`:

  solved     share of right samples                pass@1 at that temperature
  any        1 if one of them is right             pass@k
  distinct   distinct texts / k                    diversity of the answers to one question
  ways       distinct right texts / k              diversity of the right answers
  length     mean number of characters             length of the answers
  equations  mean share of the written equations that hold; 0 without any
  entropy    mean entropy of the next token, nats  how open the model still is along its own answers
  pattern    share in which a pattern is found     frequency of a style
  edge       mean of (found − its share) · right   covariance of style and success

There is no right and wrong for an item: these are means over samples. A positive edge says that samples in the style
are right more often than others; a policy gradient raises the style's log-probability in proportion to it.

Source   pass@k: Chen et al. 2021 (arXiv 2107.03374), for n = k; diversity of the answers to one input: Kirk et al.
         2023 (arXiv 2310.06452), section 4, with distinct texts as the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from scalpel.binding.bounds import Count as Items
from scalpel.binding.bounds import Few, Seed, Temperature, Tokens
from scalpel.binding.patterns import compiled, search
from scalpel.data.example import (
    Example,
    Split,
    Task,
    items_of,
)
from scalpel.evaluation.probes.generate import right_answer
from scalpel.evaluation.probes.given import mean
from scalpel.evaluation.probes.item import (
    Answer,
    ItemResult,
    Role,
    answer_of,
    chosen,
    prompt_text,
    question,
)
from scalpel.registry import register, unknown
from scalpel.rewards.equations import true_share
from scalpel.rewards.scored import unread

if TYPE_CHECKING:
    from scalpel.engine import Engine


def edge(right: Sequence[bool], found: Sequence[bool]) -> float:
    share = sum(found) / len(found)
    return sum((f - share) * r for f, r in zip(found, right, strict=True)) / len(found)


def majority(told: Sequence[bool]) -> bool:
    return 2 * sum(told) >= len(told)


class Drawn(NamedTuple):
    """The k samples of one item: their texts, whether each is right and holds the pattern, and the mean entropy of the
    distributions from which its tokens were drawn."""

    texts: Sequence[str]
    right: Sequence[bool]
    found: Sequence[bool]
    entropy: Sequence[float]


Count = Callable[[Drawn], float]
COUNTS: dict[str, Count] = {
    "solved": lambda drawn: mean(drawn.right),
    "any": lambda drawn: float(any(drawn.right)),
    "distinct": lambda drawn: len(set(drawn.texts)) / len(drawn.texts),
    "ways": lambda drawn: len({t for t, r in zip(drawn.texts, drawn.right, strict=True) if r}) / len(drawn.texts),
    "length": lambda drawn: mean(map(len, drawn.texts)),
    "equations": lambda drawn: mean(true_share(text) or 0.0 for text in drawn.texts),
    "entropy": lambda drawn: mean(drawn.entropy),
    "pattern": lambda drawn: mean(drawn.found),
    "edge": lambda drawn: edge(drawn.right, drawn.found),
}
STYLES = ("pattern", "edge")  # the statistics that need a pattern
UNITS = {
    "solved": "share of samples that are right",
    "any": "share solved within k samples",
    "distinct": "distinct texts / k",
    "ways": "distinct right texts / k",
    "length": "characters",
    "equations": "share of written equations that hold",
    "entropy": "entropy per token, nats",
    "pattern": "share of samples with the pattern",
    "edge": "covariance of pattern and success",
}


@dataclass(frozen=True)
class Sampled:
    """`k` samples for each of `n` items, and the statistic `of` them. `pattern` is the regular expression that the
    statistics "pattern" and "edge" search for."""

    name: str
    task: Task
    of: str = "solved"
    n: int | None = None  # unset: all rows of a data set, or 100 items of a task that generates them
    k: int = 16
    split: Split = "test"
    seed: int = 0
    max_tokens: int = 64
    temperature: float = 1.0
    stop: tuple[str, ...] = ()
    pattern: str = ""
    role: Role = "keep"
    ids: frozenset[str] | None = None
    kind: str = field(default="sampled", init=False)

    def __post_init__(self) -> None:
        if self.of not in UNITS:
            raise ValueError(f"probe {self.name!r}: {unknown('of', self.of, UNITS)}")
        if bool(self.pattern) != (self.of in STYLES):
            raise ValueError(
                f'probe {self.name!r}: pattern = {self.pattern!r} with of = "{self.of}"; give a pattern where, and '
                f"only where, of is {' or '.join(STYLES)}"
            )
        for key in ("n", "k", "max_tokens"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ValueError(f"probe {self.name!r}: {key} = {getattr(self, key)}; it needs at least 1")
        if not self.temperature > 0:
            raise ValueError(
                f"probe {self.name!r}: at temperature {self.temperature} all samples of a prompt are equal; give a "
                "temperature above 0"
            )
        try:
            compiled(self.pattern)
        except ValueError as error:
            raise ValueError(f"probe {self.name!r}: {error}") from None

    @property
    def unit(self) -> str:
        return UNITS[self.of]

    def items(self) -> list[Example]:
        return chosen(self.name, items_of(self.task, self.split, self.n, self.seed, 100), self.ids)

    def only(self, ids: Collection[str]) -> Self:
        return replace(self, ids=frozenset(ids))

    def questions(self) -> Iterable[str]:
        return map(question, self.items())

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        from scalpel.engine import Sampling

        items = self.items()
        if not items:
            return []
        asked = self.of == "entropy"
        sampling = Sampling(max_tokens=self.max_tokens, temperature=self.temperature, stop=self.stop, entropy=asked)
        prompts = [engine.tokens.prompt(example.prompt) for example in items]
        groups = engine.sample(prompts, sampling, n=self.k, seed=self.seed)
        return [
            self.result(example, [answer_of(engine, s) for s in group], [s.entropy / len(s.ids) for s in group])
            for example, group in zip(items, groups, strict=True)
        ]

    def result(self, example: Example, answers: list[Answer], entropy: Sequence[float] = ()) -> ItemResult:
        """The statistic of one item's samples. An item counts as unread or cut off if at least half of its samples
        are."""
        texts = [answer.text for answer in answers]
        scores = [self.task.score(text, example) for text in texts]
        found = [bool(self.pattern) and search(self.pattern, text) is not None for text in texts]
        value = COUNTS[self.of](Drawn(texts, [score >= 1.0 for score in scores], found, entropy))
        not_read, cut = [unread(score) for score in scores], [answer.cut_off for answer in answers]
        prompt, right = prompt_text(example.prompt), right_answer(example)
        return ItemResult(
            example.id, None, value, texts[0], prompt, right, unread=majority(not_read), cut_off=majority(cut)
        )


@register("probe", "sampled")
def sampled(
    name: str,
    role: Role,
    answer_tokens: int,
    *,
    task: Task,
    of: str = "solved",
    n: Items | None = None,
    k: Few = 16,
    split: Split = "test",
    seed: Seed = 0,
    max_tokens: Tokens | None = None,
    temperature: Temperature = 1.0,
    stop: tuple[str, ...] = (),
    pattern: str = "",
) -> Sampled:
    """k samples per item and one statistic of them: pass@1, pass@k, diversity, length, entropy, style."""
    limit = max_tokens or answer_tokens
    return Sampled(name, task, of, n, k, split, seed, limit, temperature, stop, pattern, role)
