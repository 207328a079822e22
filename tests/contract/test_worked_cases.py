"""Every value that a part's `limits` states, by hand arithmetic, is the value that it gives."""

from typing import Any

import pytest
import torch

from material import AXES
from scalpel.part import Bound, Part, bind

ROWS = [
    pytest.param(part, row, id=f"{axis}-{name}-{k}")
    for axis in ("credit", "objective", "anchor")
    for name, part in sorted(AXES[axis].items())
    for k, row in enumerate(part.limits())
]


def value(bound: Bound, first: Any, second: Any) -> torch.Tensor:
    if bound.part.over == "parameters":
        return bound(first, second)[0]
    handed = {"stat": bound.part.statistic(first, second, **bound.hyper)} if bound.part.statistic else {}
    if bound.part.axis == "credit":
        return bound(first, second, **handed)[second.train_N]
    return bound(first, second, **handed)[0] / bound.count(second, 0.0)


@pytest.mark.parametrize(("part", "row"), ROWS)
def test_a_stated_value_is_the_value(part: Part, row: tuple) -> None:
    first, second, hyper, expected = row
    found = value(bind(part.axis, part.name, **hyper), first, second)
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("axis", ["credit", "objective", "anchor"])
def test_every_part_states_its_limits(axis: str) -> None:
    assert all(part.limits is not None and list(part.limits()) for part in AXES[axis].values())
