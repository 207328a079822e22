"""A folder of claims to work in."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from claim_folder import Place
from command_line import widen
from folders import Truth, write_run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("models") / "model", seed=0)


@pytest.fixture
def place(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "model").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    widen(monkeypatch, 160)
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    return Place(tmp_path)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Callable[[int], float]]], list[tuple[str, int]]]:
    """Runs are not made but written, with the gain that each arm is said to have in a seed. Gives the list of the runs
    that were asked for."""

    def pretend(gains: dict[str, Callable[[int], float]]) -> list[tuple[str, int]]:
        asked: list[tuple[str, int]] = []

        def run(recipe, folder, before, tuning, report):
            arm = folder.parent.name
            asked.append((arm, recipe.seed))
            write_run(folder, Truth(gain=gains[arm](recipe.seed), lost=0.1), recipe.seed)

        monkeypatch.setattr("scalpel.claims.seeds.run_arm", run)
        monkeypatch.setattr("scalpel.claims.seeds.evaluate_base", lambda recipe, report: {})
        return asked

    return pretend
