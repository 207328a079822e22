"""Every value that a part's `limits` states, by hand arithmetic, is the value that it gives."""

import pytest
import torch

from material import AXES
from scalpel.part import Part, bind
from scalpel.worked_cases import value_of

ROWS = [
    pytest.param(part, row, id=f"{axis}-{name}-{k}")
    for axis in ("credit", "objective", "anchor")
    for name, part in sorted(AXES[axis].items())
    for k, row in enumerate(part.limits())
]


@pytest.mark.parametrize(("part", "row"), ROWS)
def test_a_stated_value_is_the_value(part: Part, row: tuple) -> None:
    first, second, hyper, expected = row
    found = value_of(bind(part.axis, part.name, **hyper), first, second)
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("axis", ["credit", "objective", "anchor"])
def test_every_part_states_its_limits(axis: str) -> None:
    assert all(part.limits is not None and list(part.limits()) for part in AXES[axis].values())
