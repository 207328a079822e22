"""Choose by log-probability: minimal pairs and multiple choice, without generation.

score(c) = Σ_t log p(c_t | prompt, c_<t);  with `normalise`, score(c) / characters(c).
right = [argmax_c score(c) is the right choice]; a tie counts as wrong.

Source: BLiMP, Warstadt et al. 2020 (minimal pairs by whole-sentence log-probability); the
normalised form is `acc_norm` of the LM Evaluation Harness.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from scalpel.binding.bounds import Count, Seed
from scalpel.evaluation.probes.item import ItemResult, Role, distinct
from scalpel.registry import register
from scalpel.runs.json_files import read_jsonl

if TYPE_CHECKING:
    from scalpel.engine import Engine


@dataclass(frozen=True)
class Choice:
    """One question. The choices are continuations of the prompt: no space or template is added between the two."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    answer: int

    @property
    def question(self) -> Hashable:
        return self.prompt, self.choices


Choices = tuple[Choice, ...]


@dataclass(frozen=True)
class Choose:
    """Multiple choice by log-probability; a minimal pair is two choices without a prompt."""

    name: str
    items: tuple[Choice, ...]
    normalise: bool = False
    role: Role = "keep"
    kind: str = field(default="choose", init=False)
    unit: str = field(default="log p of the right choice, nats", init=False)

    def __post_init__(self) -> None:
        distinct(self.name, [item.id for item in self.items])

    def only(self, ids: Collection[str]) -> Self:
        """The same probe on the items with these ids. Raises ValueError if none of its items has one of them."""
        return replace(self, items=tuple(item for item in self.items if item.id in ids))

    def questions(self) -> Iterable[Hashable]:
        return [item.question for item in self.items]

    def run(self, engine: Engine, reference: Engine | None = None) -> list[ItemResult]:
        rows = [row(engine, item.prompt, choice) for item in self.items for choice in item.choices]
        sums = iter([sum(logps) for logps in engine.logps(rows)])
        return [self.result(item, [next(sums) for _ in item.choices]) for item in self.items]

    def result(self, item: Choice, logps: list[float]) -> ItemResult:
        scores = [
            logp / max(1, len(choice)) if self.normalise else logp
            for logp, choice in zip(logps, item.choices, strict=True)
        ]
        others = [score for index, score in enumerate(scores) if index != item.answer]
        return ItemResult(
            id=item.id,
            right=scores[item.answer] > max(others),
            value=logps[item.answer],
            output=item.choices[scores.index(max(scores))],
            prompt=item.prompt,
            answer=item.choices[item.answer],
        )


def row(engine: Engine, prompt: str, text: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the text, without stop tokens at its end: a choice need not end a document, and
    the log-probability of ending it would favour the choice that sounds complete.

    An empty prompt becomes the tokenizer's start token, so that the first word of a sentence is scored as well; the
    LM Evaluation Harness does the same.
    """
    tokens = engine.tokens
    ids = tokens.completion(text, prompt)
    while ids and ids[-1] in tokens.stop_ids:
        ids = ids[:-1]
    if not ids:
        raise ValueError(f"the text {text!r} has no tokens, so it has no log-probability; give it some words")
    return tokens.prompt(prompt), ids


def choices(rows: Iterable[Mapping[str, Any]], source: str = "row") -> tuple[Choice, ...]:
    """Items from rows: `{good, bad}` (BLiMP) or `{prompt, choices, answer}`.

    `answer` is an index, or the text of a choice. `id` is optional, the row's number otherwise.
    """
    return tuple(choice(row, f"{source}:{number}", str(number)) for number, row in enumerate(rows, start=1))


def choice(row: Mapping[str, Any], where: str, id: str) -> Choice:
    id = str(row.get("id", id))
    if "good" in row and "bad" in row:
        return Choice(id, str(row.get("prompt", "")), (str(row["good"]), str(row["bad"])), 0)
    if "choices" not in row or "answer" not in row:
        raise ValueError(
            f"{where} has the columns {', '.join(row)}; a choice needs `good` and `bad`, "
            "or `prompt`, `choices` and `answer`"
        )
    texts = tuple(str(text) for text in row["choices"])
    if len(texts) < 2:
        raise ValueError(f"{where} offers {len(texts)} choice(s); there is nothing to choose below 2")
    return Choice(id, str(row.get("prompt", "")), texts, answer_index(row["answer"], texts, where))


def answer_index(answer: Any, texts: tuple[str, ...], where: str) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(texts):
        return answer
    if isinstance(answer, str) and texts.count(answer) == 1:
        return texts.index(answer)
    raise ValueError(
        f"{where}: the answer {answer!r} is neither an index below {len(texts)} nor one of the choices {texts}"
    )


def read_choices(path: str | Path, n: int | None = None, seed: int = 0) -> tuple[Choice, ...]:
    """The items of a JSONL file; with `n`, so many of them drawn by the seed, in the file's order."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give a JSONL file with `good`/`bad` or `choices` rows")
    found = choices(read_jsonl(path, mend="mend the line or remove it"), str(path))
    return drawn(found, n, seed)


def drawn(items: Sequence[Choice], n: int | None, seed: int) -> Choices:
    """n of the items, drawn by the seed, in their order; all of them where n is not given."""
    if n is None or n >= len(items):
        return tuple(items)
    return tuple(items[index] for index in sorted(Random(seed).sample(range(len(items)), n)))


@register("probe", "choose")
def choose(
    name: str, role: Role, *, path: Choices, n: Count | None = None, seed: Seed = 0, normalise: bool = False
) -> Choose:
    """Multiple choices or minimal pairs of a JSONL file at `path`: right where the right choice is the likeliest."""
    return Choose(name, drawn(path, n, seed), normalise, role)
