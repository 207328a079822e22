"""The verdict, the table and the page say nothing that was not measured: each claim over a grid of results."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from folders import Plain, Truth, ledgers
from scalpel.evaluation import (
    Ledger,
    comparison,
    recovered,
    side_by_side,
)
from scalpel.evaluation.probes import ItemResult
from scalpel.evaluation.results import ArmResults, RunResults
from scalpel.reporting.console import arms_table
from scalpel.reporting.page import page
from scalpel.reporting.view import View
from scalpel.runs.terminal import Terminal


def run(truth: Truth, seed: int = 0, items: int = 40, keep: Callable[[Ledger], bool] = lambda book: True) -> RunResults:
    """A finished run in memory: the ledgers that `keep` chooses, three steps, three looks."""
    books = {book.probe: book for book in ledgers(truth, seed, items) if keep(book)}
    train = [{"kind": "train", "step": s, "loss": 1.0 / s, "learning_rate": 1e-3} for s in (1, 2, 3)]
    looks = []
    for step in (0, 2, 3):
        look: dict[str, Any] = {"kind": "probe", "step": step, "flops": 1e9 * step, "items": items}
        if "reverse-long" in books:
            look["probe/reverse-long/accuracy"] = truth.gain * step / 3
        for name in set(truth.abilities) & set(books):
            look[f"probe/{name}/kept"] = 1 - truth.lost * step / 3
        looks.append(look)
    recovery = {name: recovered(book) for name, book in books.items()}
    return RunResults(Path("run"), seed, books, {"cost": {}}, looks, train, recovery)


def role(*roles: str) -> Callable[[Ledger], bool]:
    return lambda book: book.role in roles


def unjudged(book: Ledger) -> bool:
    return book.role == "target" or book.kind == "drift"


def ignorant(one: RunResults) -> RunResults:
    """The base got no item of the old abilities right."""
    books = dict(one.ledgers)
    for name in ("facts", "sort"):
        rows = [ItemResult(str(i), False, None, "?", "?") for i in range(5)]
        books[name] = side_by_side(Plain(name, "keep"), rows, rows)  # type: ignore[arg-type]
    return replace(one, ledgers=books)


def broken_numbers(one: RunResults) -> RunResults:
    nothing = {"components": ["q"], "layers": ["0"], "relative": [[float("nan")]]}
    train = [{"kind": "train", "step": 1, "loss": float("nan"), "reward": None, "learning_rate": float("inf")}]
    looks = [line | {"probe/reverse-long/accuracy": float("nan")} for line in one.probes]
    return replace(one, summary={"weights": nothing}, train=train, probes=looks)


def reading(one: RunResults) -> RunResults:
    return replace(one, about={"reverse-long": {"unread": {"before": 0.5, "after": 0.02}, "cut_off": {"after": 0.2}}})


GOOD, BAD, FLAT, SAFE = Truth(0.71, 0.1), Truth(0.05, 0.9), Truth(0.0, 0.0), Truth(0.71, 0.0)
ARMS: dict[str, list[list[RunResults]]] = {
    "one run": [[run(GOOD)]],
    "one run that lost more": [[run(BAD)]],
    "one run, nothing lost": [[run(SAFE)]],
    "one run, no old abilities": [[run(GOOD, keep=role("target"))]],
    "one run, no gain, no old abilities": [[run(FLAT, keep=role("target"))]],
    "one run, drift only": [[run(GOOD, keep=unjudged)]],
    "one run, the base knew nothing": [[ignorant(run(GOOD))]],
    "one run, no target": [[run(GOOD, keep=role("keep"))]],
    "one run, no probes": [[run(GOOD, keep=lambda book: False)]],
    "one run, one item": [[run(Truth(1.0, 0.0, abilities={"facts": 1.0}), items=1)]],
    "one run, no steps": [[replace(run(FLAT), train=[], probes=[], summary={})]],
    "one run, no numbers": [[broken_numbers(run(GOOD))]],
    "one run, unread": [[reading(run(GOOD))]],
    "one arm, two seeds": [[run(GOOD, 0), run(GOOD, 1)]],
    "two arms": [[run(GOOD, 0), run(GOOD, 1)], [run(BAD, 0), run(BAD, 1)]],
    "two equal arms": [[run(GOOD)], [run(GOOD)]],
    "two arms, nothing gained": [[run(FLAT)], [run(FLAT)]],
    "two arms, no old abilities": [[run(GOOD, keep=role("target"))], [run(FLAT, keep=role("target"))]],
    "two arms, no gain, no old abilities": [[run(FLAT, keep=role("target"))], [run(FLAT, keep=role("target"))]],
    "two arms, no looks": [[replace(run(GOOD), probes=[])], [replace(run(BAD), probes=[])]],
    "two arms, no target": [[run(GOOD, keep=role("keep"))], [run(BAD, keep=role("keep"))]],
    "one seed and two": [[run(GOOD, 0), run(GOOD, 1)], [run(BAD)]],
    "one arm left": [[run(GOOD)]],
    "one arm left, no old abilities": [[run(GOOD, keep=role("target"))]],
}
FAILED = {name: {"ppo": "the loss was NaN"} for name in ARMS if "left" in name}


@dataclass
class Case:
    """What is true of a case, and all that is said of it."""

    view: View
    said: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.view.rows

    @property
    def gain(self) -> bool:
        return all(row["gain"] for row in self.rows)

    @property
    def forgetting(self) -> bool:
        return all(row["forgetting"] for row in self.rows)

    @property
    def both(self) -> bool:
        return self.gain and self.forgetting

    @property
    def seeds(self) -> int:
        return max(len(row["seeds"]) for row in self.rows)

    @property
    def worth(self) -> bool:
        return self.both and any(row["net"]["low"] > 0 for row in self.rows)

    @property
    def risen(self) -> bool:
        lines = [line for arm in self.view.arms for one in arm.runs for line in one.probes]
        return any(line.get("probe/reverse-long/accuracy", 0) > 0 for line in lines)


def case(name: str) -> Case:
    arms = [ArmResults(f"x{k}", tuple(runs)) for k, runs in enumerate(ARMS[name])]
    found = comparison(arms, failed=FAILED.get(name))
    view = View(Path("mine"), tuple(arms), found, "", {})
    console = Terminal(file=io.StringIO(), width=200)
    console.print(arms_table(view))
    assert isinstance(console.file, io.StringIO)
    html = page(view)
    body = html[html.index("<main>") : html.index("</main>")]
    words = unescape(re.sub(r"<[^>]+>", " ", body))
    verdict = [found["verdict"]["headline"], *found["verdict"]["words"], found["rule"]]
    return Case(view, re.sub(r"\s+", " ", " ".join([console.file.getvalue(), words, *verdict])))


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: case(name) for name in ARMS}


CLAIMS: dict[str, Callable[[Case], bool]] = {  # what may only be said where it is true
    r"Worth taking|Take x": lambda c: c.worth,
    r"Keep the base": lambda c: c.both and not c.worth,
    r"outweighs": lambda c: c.worth,
    r"worth taking where": lambda c: c.both,
    r"lost [\d.]+% of what the base knew": lambda c: c.forgetting,
    r"\bnets\b|[Nn]et is|its net": lambda c: c.both,
    r"\barms?\b": lambda c: not c.view.alone,
    r"At the same skill|told apart": lambda c: len(c.rows) > 1,
    r"No evaluation during training found": lambda c: c.gain and not c.risen,
    r"dotted line": lambda c: len(c.rows) > 1 and c.both,
    r"cover the choice of items and of seeds": lambda c: c.seeds > 1,
    r"came back": lambda c: any(row["recovery"] and row["recovery"]["lost"]["tested"] for row in c.rows),
    r"worst hit is": lambda c: any(row["worst"] and row["worst"]["lost"] for row in c.rows),
    r"\bnan\b|\bNone\b|\binf\b|null": lambda c: False,
}
ALWAYS: dict[str, Callable[[Case], bool]] = {  # what must be said exactly where it is true
    r"[Ff]orgetting was not measured|Neither gain nor forgetting": lambda c: not c.forgetting,
    r"To measure it, add": lambda c: not c.forgetting,
    r"Gain was not measured|Neither gain": lambda c: not c.gain,
    r"One seed: the intervals cover the choice of items": lambda c: c.seeds == 1 and (c.gain or c.forgetting),
    r"ppo gave no result": lambda c: bool(c.view.comparison["failed"]),
    r"Unread, and counted as wrong: of reverse-long 50% by the base\.": lambda c: "unread" in c.rows[0]["probes"][0]
    if c.rows[0]["probes"] else False,
}  # fmt: skip


@pytest.mark.parametrize("name", ARMS)
def test_no_claim_stands_without_its_measurement(cases, name):
    found = cases[name]
    for words, holds in CLAIMS.items():
        said = re.search(words, found.said)
        assert said is None or holds(found), f"{name}: {found.said[max(0, said.start() - 60) : said.end() + 60]!r}"


@pytest.mark.parametrize("name", ARMS)
def test_what_is_missing_is_said(cases, name):
    found = cases[name]
    for words, holds in ALWAYS.items():
        assert bool(re.search(words, found.said)) == holds(found), f"{name}: {words}"


def test_every_claim_is_made_somewhere(cases):
    for words in list(CLAIMS)[:-1] + list(ALWAYS):
        assert any(re.search(words, found.said) for found in cases.values()), words


@pytest.mark.parametrize(
    "name, headline",
    [
        ("one run", "Worth taking: what it gained outweighs what it forgot."),
        ("one run that lost more", "Keep the base: this run is not shown to be worth taking."),
        ("one run, no old abilities", "Gained 70 points on the target; forgetting was not measured."),
        ("one run, drift only", "Gained 70 points on the target; forgetting was not measured."),
        ("one run, the base knew nothing", "Gained 70 points on the target; forgetting was not measured."),
        ("one run, no gain, no old abilities", "No gain is shown, and forgetting was not measured."),
        ("one run, no target", "Gain was not measured."),
        ("one run, no probes", "Neither gain nor forgetting was measured."),
        ("two arms", "Take x0."),
        ("two equal arms", "Take x0, but no other arm can be told apart from it."),
        ("two arms, no old abilities", "x0 gained the most; forgetting was not measured."),
        ("two arms, no gain, no old abilities", "No arm is shown to have gained, and forgetting was not measured."),
        ("one arm left", "Take x0: what it gained outweighs what it forgot."),
    ],
)
def test_headlines(cases, name, headline):
    assert cases[name].view.comparison["verdict"]["headline"] == headline


def test_answers_that_told_nothing_are_shown_where_they_count(cases):
    found = cases["one run, unread"]
    assert "50% unread" in found.said and "2% unread, 20% cut off" in found.said
    assert "Cut off by max_tokens, where few can be right: of reverse-long 20% by x0. Raise max_tokens" in found.said
    assert "unread" not in cases["one run"].said and "cut off" not in cases["one run"].said


def test_kept_answers_and_the_curves_of_training_are_on_the_page(cases):
    found = cases["one run"]
    assert re.search(r"kept\W+before", found.said) and re.search(r"facts item \d+\?", found.said)
    for title in ("loss", "learning rate"):
        assert f" {title} " in found.said
    assert "No step was recorded" in cases["one run, no steps"].said


def test_a_page_stays_one_whose_texts_hold_controls_and_half_characters():
    nasty = "\x1b[2J\x00\ud800\u202e"
    one = run(GOOD)
    rows = [ItemResult("1", True, None, nasty, nasty)]
    books = {**one.ledgers, "odd": side_by_side(Plain("odd" + nasty, "keep"), rows, rows)}  # type: ignore[arg-type]
    arm = ArmResults("x" + nasty, (replace(one, ledgers=books),))
    html = page(View(Path("mine"), (arm,), comparison([arm]), nasty, {"python": nasty}))
    body = html[: html.index("<script>", html.index('id="figures"'))].encode("utf-8")
    assert "␛[2J␀\\ud800\\u202e" in html and b"\x1b" not in body and b"\x00" not in body
