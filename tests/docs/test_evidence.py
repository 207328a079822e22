"""What the table of methods says of its evidence holds: the tests that a row names are there and are about that row."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scalpel.config.recipe import StageSpec
from scalpel.methods import FAMILIES, ROWS, Row
from scalpel.reporting import catalogue

TESTS = Path(__file__).parents[1]


@cache
def definitions(name: str) -> dict[str, ast.stmt]:
    """The functions and constants of a file of tests, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse((TESTS / name).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def words_of(test: str) -> set[str]:
    """The strings in a test, its parameters included, and in what it uses of its file."""
    name, _, function = test.partition("::")
    known = definitions(name)
    used = [n.id for n in ast.walk(known[function]) if isinstance(n, ast.Name) and n.id in known]
    nodes = [node for key in (function, *used) for node in ast.walk(known[key])]
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def parts_of(row: Row) -> set[str]:
    """The names of all that a row is made of, its rewards and its selection included."""
    stage = StageSpec.model_validate(row.stage)
    rewards: list[Any] = [r for signal in stage.signals for r in signal.rewards or ()]
    return {spec.name for spec in stage.parts} | {r if isinstance(r, str) else r["name"] for r in rewards}


SHARED = Counter(part for row in ROWS.values() for part in parts_of(row))


@pytest.mark.parametrize("name", ROWS)
def test_the_evidence_of_a_row_is_a_test_about_it(name: str) -> None:
    evidence = ROWS[name].evidence
    assert evidence.tests or evidence.words.startswith("paper only"), "no test: say that it is the paper only"
    assert evidence.words.startswith(tuple(catalogue.EVIDENCE))
    its_own = {name} | {part for part in parts_of(ROWS[name]) if SHARED[part] <= 3}
    for test in evidence.tests:
        assert test.partition("::")[2].startswith("test_") and words_of(test) & its_own, f"{test} is not about {name}"


def test_no_cell_of_the_table_s_evidence_is_empty() -> None:
    where = catalogue.HEADINGS.index("evidence")
    assert all(len(row[where]) >= len("paper only") for row in catalogue.rows())


def test_a_family_counts_the_evidence_of_all_its_rows() -> None:
    for found in FAMILIES.values():
        counted = [int(part.split()[0]) for part in catalogue.kinds_of_evidence(found.values()).split(", ")]
        assert sum(counted) == len(found)
