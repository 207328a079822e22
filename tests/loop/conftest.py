"""The material of all loop tests, made once."""

import pytest

from running import prepare


@pytest.fixture(scope="session")
def at(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("material"))
