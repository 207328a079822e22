"""Ten steps of a method give the numbers that they gave before; where they don't, the change has to be meant."""

import importlib.util
from pathlib import Path

import pytest

from running import prepare

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("curves", HERE / "curves.py")
assert spec is not None and spec.loader is not None
curves = importlib.util.module_from_spec(spec)
spec.loader.exec_module(curves)


@pytest.mark.parametrize("name", sorted(curves.STAGES))
def test_the_curve_is_the_golden_one(tmp_path, name):
    golden = (HERE / f"{name}.txt").read_text()
    found = curves.curve(prepare(tmp_path), name)
    for step, (line, expected) in enumerate(zip(found, curves.read(golden), strict=True), 1):
        assert line == pytest.approx(expected, rel=1e-5, abs=1e-6), f"step {step} of {name}"


@pytest.mark.parametrize("name", sorted(curves.STAGES))
def test_the_golden_curve_names_the_command_that_made_it_and_learns(name):
    golden = (HERE / f"{name}.txt").read_text()
    assert golden.startswith(f"# python tests/golden/curves.py {name} > tests/golden/{name}.txt\n")
    assert len(curves.read(golden)) == 10 and all(norm > 0 for _, norm, _ in curves.read(golden))
