"""A folder of claims to work in."""

from pathlib import Path

import pytest

import tiny
from claim_folder import Place
from command_line import widen


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
