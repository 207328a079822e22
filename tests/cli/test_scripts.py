"""The scripts: sound shell, an environment that is kept while it is whole, clear words where Python is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    "scripts/environment",
    "scripts/demo",
    "scripts/bench",
    "scripts/test",
    "scripts/check",
    "scripts/walk",
    ".ci/run",
]

FAKE = """#!/bin/sh
# Stands for Python: makes a folder as venv does, writes down what pip is asked, and fails where told to.
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "$*" >> pip.txt; exit ${PIP_FAILS:-0} ;;
  *hexdigest*) cksum pyproject.toml | cut -d' ' -f1 ;;
  *version_info*) exit ${TOO_OLD:-0} ;;
  *) echo "Python 3.12.0" ;;
esac
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound_shell_and_may_be_run(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert script.endswith("environment") or os.access(ROOT / script, os.X_OK)


@pytest.fixture
def clone(tmp_path):
    """A checkout with a Python of its own that installs nothing."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text("one\n")
    fake = tmp_path / "fake-python"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    return tmp_path


def environment(clone, extra="", **variables):
    command = f"set -e; . scripts/environment; environment {extra}; command -v python"
    around = {"PATH": "/usr/bin:/bin", "PYTHON": "./fake-python", **variables}
    ran = subprocess.run(["bash", "-c", command], cwd=clone, capture_output=True, text=True, env=around)
    asked = clone / "pip.txt"
    return ran, asked.read_text().splitlines() if asked.exists() else []


def test_the_environment_is_made_once_and_comes_first_on_the_path(clone):
    ran, asked = environment(clone)
    assert ran.returncode == 0, ran.stderr
    assert len(asked) == 1 and asked[0].endswith("--editable .")
    assert ran.stdout.splitlines()[-1] == f"{clone}/.venv/bin/python"
    assert len(environment(clone)[1]) == 1, "it was complete, and was installed again"


def test_the_environment_is_brought_up_to_date_with_the_requirements_and_with_what_is_asked(clone):
    environment(clone)
    assert environment(clone, "dev")[1][-1].endswith("--editable .[dev]")
    assert len(environment(clone)[1]) == 2, "with dev it holds all that is needed to run"
    (clone / "pyproject.toml").write_text("two\n")
    assert len(environment(clone)[1]) == 3


def test_a_broken_off_installation_is_done_again(clone):
    ran, _ = environment(clone, PIP_FAILS="1")
    assert ran.returncode != 0
    assert len(environment(clone)[1]) == 2


def test_without_a_python_that_will_do_it_says_what_to_install(clone):
    for name in ("bash", "env", "cksum", "cut"):
        (clone / "bin").mkdir(exist_ok=True)
        (clone / "bin" / name).symlink_to(shutil.which(name))
    ran, asked = environment(clone, PATH=str(clone / "bin"), TOO_OLD="1")
    assert ran.returncode != 0 and asked == []
    assert "No Python 3.11 or newer" in ran.stderr and "PYTHON=" in ran.stderr
    assert not (clone / ".venv").exists()
