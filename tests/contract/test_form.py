"""How a part is written: what its docstring says, how long its file is, and that its keys are explained."""

import dis
import inspect
from pathlib import Path
from types import CodeType

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


def loaded(code: CodeType) -> set[str]:
    """The variables that a function's code, or a function within it, takes the value of."""
    mine = {str(i.argval) for i in dis.get_instructions(code) if i.opname.startswith("LOAD_")}
    pairs = {n for i in dis.get_instructions(code) if isinstance(i.argval, tuple) for n in map(str, i.argval)}
    return (mine | pairs).union(*(loaded(c) for c in code.co_consts if isinstance(c, CodeType)))


@pytest.mark.parametrize("part", PARTS)
def test_every_hyper_parameter_has_a_vetted_default_and_is_read(part: Part) -> None:
    callables = (part.fn, part.statistic, part.count, part.needs, part.reads, part.state, part.follow, part.weigh)
    readers = [f for f in callables if inspect.isfunction(f)]
    read = set().union(*(loaded(f.__code__) for f in readers))
    for name, parameter in part.schema.items():
        assert parameter.default is not inspect.Parameter.empty, name
        assert name in read, f"nothing reads {name}"
