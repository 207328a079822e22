"""The material of all loop tests, made once."""

import pytest

from running import prepare, tables
from scalpel.training.run import TrainingRun


@pytest.fixture(scope="session")
def at(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def run(at) -> TrainingRun:
    """A training run into which a test opens stages of its own (`running.opened`)."""
    made = TrainingRun(tables(at, {"method": "sft"}))
    made.at = at
    return made
