"""A tiny model, a little data and a recipe on disk, to run commands on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from command_line import OPENED, PROBES, Place, widen

RECIPE = f"""
name = "lesson"{OPENED}[train]
method = "sft"
steps = 3
batch = 2
sampling = {{max_tokens = 4}}
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.folder(folder / "model", seed=0)
    tiny.folder(folder / "tuned", seed=1)
    return folder


@pytest.fixture
def scalpel(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("model", "tuned"):
        shutil.copytree(models / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    widen(monkeypatch, 120)
    place = Place(tmp_path)
    place.write("recipe.toml", RECIPE)
    place.write("probes.toml", PROBES)
    return place


Change = Callable[[str, str], Path]


@pytest.fixture
def edited(scalpel: Place) -> Change:
    """The recipe with some text replaced."""

    def edit(old: str, new: str) -> Path:
        assert old in RECIPE
        return scalpel.write("edited.toml", RECIPE.replace(old, new))

    return edit


COMPARISON = f"""
name = "arms"{OPENED}[compare]
seeds = [0, 1]
workers = 1
tuning_items = 4
shared = {{batch = 2, sampling = {{max_tokens = 2}}}}
arms = [{{name = "sft", method = "sft", steps = 2}}, {{name = "half", method = "sft", scope = "hft", steps = 2}}]
"""


@pytest.fixture
def comparison(scalpel: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("scalpel.experiments.workers.cores", lambda: 1)
    return scalpel.write("compare.toml", COMPARISON + PROBES)
