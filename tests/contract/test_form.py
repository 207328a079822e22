"""How a part is written: what its docstring says, how long its file is, and that its keys have defaults."""

import inspect
from pathlib import Path

import pytest

import material
from scalpel.part import Part

PARTS = [
    pytest.param(part, id=f"{axis}-{name}")
    for axis in ("selection", "source", "corruption", "credit", "objective", "scope", "anchor")
    for name, part in sorted(material.AXES[axis].items())
]


@pytest.mark.parametrize("part", PARTS)
def test_it_says_effect_reads_limits_fails_and_source(part: Part) -> None:
    lines = [line.strip() for line in (inspect.getdoc(part.fn) or "").splitlines()]
    assert len(lines[0]) > 20 and lines[0].endswith("."), "the first line is a sentence"
    for heading in ("Reads", "Limits", "Fails", "Source"):
        assert any(line.startswith(heading + "  ") for line in lines), heading


@pytest.mark.parametrize("part", PARTS)
def test_its_file_is_short_and_named_like_it(part: Part) -> None:
    path = Path(inspect.getfile(part.fn))
    assert path.stem == part.name.replace("-", "_")
    assert len(path.read_text().splitlines()) <= 100


@pytest.mark.parametrize("part", PARTS)
def test_every_hyper_parameter_has_a_vetted_default(part: Part) -> None:
    for name, parameter in part.schema.items():
        assert parameter.default is not inspect.Parameter.empty, name
