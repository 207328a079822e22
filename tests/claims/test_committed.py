"""The claims of this repository: they can be read and run, their results follow from their numbers, and their page is
up to date."""

from pathlib import Path

import pytest

from scalpel.claims import every, faults, fill
from scalpel.experiments.compare import checked

ROOT = Path(__file__).parents[2]
CLAIMS = every(ROOT / "claims")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_experiment_of(claim):
    _, arms = checked(claim.recipe)
    assert len(arms) >= 2 and len(claim.statement.pilot.seeds) >= 1


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_result_if_any_follows_from_its_numbers(claim):
    assert faults(claim) == []


def test_the_page_is_fresh():
    fresh = fill(ROOT / "docs" / "claims.md", ROOT / "claims", check=True)
    assert fresh, "bring it up to date: scalpel claim --page docs/claims.md"
