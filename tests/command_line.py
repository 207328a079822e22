"""A folder with a little data, and a way to run commands there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scalpel.cli.app import app, err, out

ROWS = [{"prompt": f"Say {n}", "completion": f" {n}", "answer": str(n)} for n in range(60)]
OPENED = """
[model]
path = "model"
[task]
name = "jsonl"
path = "data.jsonl"
verify = "exact"
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


def widen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A terminal so wide, in place of that in which the tests run."""
    for console in (out, err):
        monkeypatch.setattr(console, "width", columns)


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
    """A folder to work in, with the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

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
