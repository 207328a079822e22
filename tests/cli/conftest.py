"""A tiny model, a little data and a recipe on disk, and a way to run commands on them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from scalpel.cli import app

ROWS = [{"prompt": f"Say {n}", "completion": f" {n}", "answer": str(n)} for n in range(40)]
RECIPE = """
name = "lesson"
[model]
path = "model"
[task]
name = "jsonl"
path = "data.jsonl"
verify = "exact"
[train]
method = "sft"
steps = 3
batch = 2
sampling = {max_tokens = 4}
"""
PROBES = """
[[measure.probes]]
name = "say"
task = {name = "jsonl", path = "data.jsonl", verify = "exact"}
n = 4
max_tokens = 2
[[measure.probes]]
name = "text"
kind = "drift"
texts = ["hello world", "one two three"]
"""


@dataclass
class Ran:
    code: int
    out: str
    err: str
    error: BaseException | None

    @property
    def said(self) -> str:
        """What came on stderr, unwrapped."""
        return " ".join(self.err.split())


class Place:
    """A folder to work in, with the recipe, the data and the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
        self.write("recipe.toml", RECIPE)
        self.write("probes.toml", PROBES)

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def __call__(self, *arguments: object, typed: str | None = None) -> Ran:
        ran = CliRunner().invoke(app, [str(a) for a in arguments], input=typed)
        return Ran(ran.exit_code, ran.stdout, ran.stderr, ran.exception)

    def refused(self, *arguments: object) -> str:
        """Runs a command that must be refused calmly: exit code 2, a message, no traceback, nothing half-written."""
        before = self.listing()
        ran = self(*arguments)
        assert ran.code == 2, (ran.code, ran.out, ran.err, ran.error)
        assert isinstance(ran.error, SystemExit | None)
        assert "Traceback" not in ran.err and "Traceback" not in ran.out
        assert self.listing() == before, "something was left behind"
        return ran.said

    def listing(self) -> set[str]:
        return {
            str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if "__pycache__" not in path.parts
        }


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
    monkeypatch.setenv("COLUMNS", "120")
    return Place(tmp_path)


Change = Callable[[str, str], Path]


@pytest.fixture
def edited(scalpel: Place) -> Change:
    """The recipe with some text replaced."""

    def edit(old: str, new: str) -> Path:
        assert old in RECIPE
        return scalpel.write("edited.toml", RECIPE.replace(old, new))

    return edit


COMPARISON = """
name = "arms"
[model]
path = "model"
[task]
name = "jsonl"
path = "data.jsonl"
verify = "exact"
[compare]
seeds = [0, 1]
workers = 1
tuning_items = 4
shared = {batch = 2, sampling = {max_tokens = 2}}
arms = [{name = "sft", method = "sft", steps = 2}, {name = "half", method = "sft", scope = "hft", steps = 2}]
"""


@pytest.fixture
def comparison(scalpel: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("scalpel.crew.cores", lambda: 1)
    return scalpel.write("compare.toml", COMPARISON + PROBES)
