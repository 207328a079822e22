"""The claims of this repository: they can be read and run, and their page and results are up to date."""

from pathlib import Path

import pytest

from scalpel.claims import every, page
from scalpel.claims.run import FORMAT, result_of
from scalpel.experiments.compare import checked

ROOT = Path(__file__).parents[2]
CLAIMS = every(ROOT / "claims")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_experiment_of(claim):
    spec, arms = checked(claim.recipe)
    assert len(arms) >= 2 and len(spec.seeds) >= 3
    assert not set(spec.seeds) & {spec.tuning_seed}, "the tuning seed is one of its own"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_result_if_any_is_of_the_claim_as_it_stands(claim):
    if (claim.folder / "result.json").exists():
        found = result_of(claim)
        assert found and found["format"] == FORMAT, f"run it again: scalpel claim {claim.id}"
        assert found["command"] == f"scalpel claim {claim.id}"


def test_the_page_is_fresh():
    fresh = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == page(CLAIMS)
    assert fresh, "bring it up to date: scalpel claim --page docs/claims.md"
