"""A pretend engine, and run folders made from known truth: what a report must say about them is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalpel.data.example import Example, answered
from scalpel.engine import Sample
from scalpel.evaluation import ledger as books
from scalpel.evaluation.probes import ItemResult
from scalpel.evaluation.run import save


class LetterTokens:
    """One character, one id; 0 stops and starts."""

    stop_ids = frozenset({0})

    def prompt(self, prompt: Any) -> list[int]:
        text = prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
        return [ord(c) for c in text] or [0]

    def completion(self, text: str, prompt: Any) -> list[int]:
        return [*map(ord, text), 0]

    def last(self, example: Example) -> tuple[list[int], list[int]]:
        asked, text = answered(example)
        return self.prompt(asked), self.completion(text, asked)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(chr(i) for i in ids if i)


class FakeEngine:
    """Answers by a function of the prompt; every token has log-probability `logp(prompt, completion)`."""

    def __init__(
        self,
        answer: Callable[[str], str],
        samples: Callable[[str, int], str] | None = None,
        logp: Callable[[str, str], float] = lambda prompt, text: -1.0,
    ) -> None:
        self.tokens = LetterTokens()
        self.answer = answer
        self.samples = samples or (lambda prompt, index: answer(prompt))
        self.logp = logp
        self.written = 0

    def sample(self, prompts: list[list[int]], sampling: Any, n: int = 1, seed: int = 0) -> list[list[Sample]]:
        self.written += len(prompts) * n
        texts = [self.tokens.text(ids) for ids in prompts]
        if sampling.temperature == 0:
            return [[self._sample(self.answer(text))] for text in texts]
        return [[self._sample(self.samples(text, index)) for index in range(n)] for text in texts]

    def _sample(self, text: str) -> Sample:
        ids = [*map(ord, text), 0]
        return Sample(ids, [-1.0] * len(ids), True)

    def logps(self, rows: list[tuple[list[int], list[int]]]) -> list[list[float]]:
        return [[self.logp(self.tokens.text(p), self.tokens.text(c))] * len(c) for p, c in rows]

    def kl(self, rows: list[tuple[list[int], list[int]]], reference: FakeEngine) -> list[float]:
        return [abs(a[0] - b[0]) for a, b in zip(self.logps(rows), reference.logps(rows), strict=True)]


@dataclass
class WordTask:
    """`w7` asks for `W7`. The conjugate form is `conj w7`, answered backwards."""

    name: str = "upper"
    n: int = 1000
    names: Sequence[str] = ()

    def examples(self, split: str, n: int, seed: int = 0) -> list[Example]:
        words = self.names or [f"w{i}" for i in range(min(n, self.n))]
        return [Example(prompt=w, completion=w.upper(), answer=w.upper(), id=f"{self.name}:{w}") for w in words]

    def score(self, completion: str, example: Example) -> float:
        return float(completion == example.answer)

    def conjugate(self, example: Example) -> tuple[Example, Callable[[str], str]] | None:
        assert isinstance(example.prompt, str)
        return Example(prompt=f"conj {example.prompt}", id=example.id), lambda text: text[::-1]


@dataclass
class Truth:
    """One arm: target items solved, and of each old ability the share of known items that it loses."""

    gain: float
    lost: float
    cost: float = 1.0
    recovered: float = 0.5
    seeds: tuple[int, ...] = (0, 1)
    abilities: dict[str, float] = field(default_factory=lambda: {"facts": 1.0, "sort": 1.0})  # factor on `lost`


SPICE = "<script>alert('ü')</script> & “x”\n  two"


def results(probe: str, rights: list[bool], value: float, words: str) -> list[ItemResult]:
    return [
        ItemResult(f"{probe}:{i}", right, value, f"{words} {i} {'' if i else SPICE}", f"{probe} item {i}?", f"{i:02}")
        for i, right in enumerate(rights)
    ]


@dataclass(frozen=True)
class Plain:
    """As much of a probe as a ledger needs."""

    name: str
    role: str
    kind: str = "generate"
    unit: str = "log p of the right answer, nats"


def shifted(n: int, share: float, offset: int) -> list[bool]:
    """n flags of which a share is set, starting at the offset."""
    marks = [False] * n
    for step in range(round(n * share)):
        marks[(offset + step) % n] = True
    return marks


def ledgers(truth: Truth, seed: int, items: int) -> list[books.Ledger]:
    """The target, which the base never solves, and the old abilities, of which it knows 80%."""
    found = [
        books.side_by_side(
            Plain("reverse-long", "target"),  # type: ignore[arg-type]
            results("reverse-long", [False] * items, -9.0, "before"),
            results("reverse-long", shifted(items, truth.gain, seed), -1.0, "after"),
        )
    ]
    known = round(0.8 * items)
    for name, factor in truth.abilities.items():
        lost = [*shifted(known, truth.lost * factor, 3 * seed), *[False] * (items - known)]
        before = [i < known for i in range(items)]
        after = [was and not gone for was, gone in zip(before, lost, strict=True)]
        book = books.side_by_side(
            Plain(name, "keep"),  # type: ignore[arg-type]
            results(name, before, -1.0, "before"),
            results(name, after, -2.0, "after"),
        )
        found.append(with_recovery(book, truth.recovered))
    drift = [ItemResult(str(i), None, 0.0, "", f"prompt {i}") for i in range(20)]
    moved = [ItemResult(str(i), None, truth.lost + 0.01 * i, "", f"prompt {i}") for i in range(20)]
    found.append(books.side_by_side(Plain("drift", "keep", "drift", "KL, nats"), drift, moved))  # type: ignore[arg-type]
    return found


def with_recovery(book: books.Ledger, share: float) -> books.Ledger:
    """A share of the lost comes back within k samples, and a tenth of those never known."""
    from dataclasses import replace

    lost, never = book.of("lost"), book.of("never")
    back = {e.id for e in lost[: round(share * len(lost))]} | {e.id for e in never[: round(0.1 * len(never))]}
    tested = {e.id for e in (*lost, *never)}
    entries = tuple(
        replace(e, recovered_within_k=e.id in back, recovered_halfway=False) if e.id in tested else e
        for e in book.entries
    )
    return replace(book, entries=entries, k=8)


def write_run(folder: Path, truth: Truth, seed: int = 0, items: int = 60) -> Path:
    """One training run's folder. Along the way target and forgetting grow in proportion."""
    save(folder, ledgers(truth, seed, items))
    lines: list[dict[str, Any]] = [{"kind": "train", "step": s, "loss": 1 / s} for s in range(1, 11)]
    for point in range(6):
        part = point / 5
        line = {"kind": "probe", "step": 2 * point, "flops": 1e9 * truth.cost * point, "seconds": point}
        line |= {"probe/reverse-long/accuracy": truth.gain * part, "probe/drift/value": truth.lost * part}
        for name, factor in truth.abilities.items():
            kept = 1 - truth.lost * factor * part
            line |= {f"probe/{name}/kept": kept, f"probe/{name}/accuracy": 0.8 * kept}
        lines.append(line)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cost = {"tokens_trained": 1e4, "tokens_sampled": 0, "flops": 5e9 * truth.cost, "seconds": 75.0}
    weights = {
        "components": ["embeddings", "q", "down", "head"],
        "layers": ["0", "1", ""],
        "relative": [[None, None, truth.lost / 9], [0.02, 0.03, None], [0.01, truth.gain / 9, None], [None, None, 0.0]],
    }
    summary = {"cost": cost | {"peak_memory_bytes": 3e8}, "weights": weights, "learning_rate": 1e-3}
    grid = [{"learning_rate": 3e-4, "accuracy": 0.4}, {"learning_rate": 1e-3, "accuracy": 0.6}]
    tuning = {"grid": grid, "tuning_cost": {"flops": 7e9}, "steps": 10, "stopped": "budget"}
    (folder / "summary.json").write_text(json.dumps(summary | tuning))
    (folder / "recipe.toml").write_text(f'name = "first"\nseed = {seed}\n')
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "torch": "2.13.0"}))
    return folder


def write_comparison(folder: Path, truths: dict[str, Truth], items: int = 60) -> Path:
    """A comparison's folder, as far as its arms go; `comparison.json` is the caller's to make."""
    for name, truth in truths.items():
        for seed in truth.seeds:
            write_run(folder / "arms" / name / f"seed-{seed}", truth, seed, items)
    (folder / "recipe.toml").write_text('name = "first"\n\n[compare]\nseeds = [0, 1]\n')
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "torch": "2.13.0"}))
    return folder
