"""Every hyper-parameter of a part does something: a key that a recipe may set, and nothing reads, misleads its user."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

import material
from scalpel.part import Bound, Part, bind
from scalpel.registry import AXES

NUMBERS = (0, 1, 2, 3, 10, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.1, 2.0, 5.0, 100.0)
COLUMN = "extra"  # of the data: what a text without a list of choices may name
SEEN = {"reward": 0.7, "kl": 0.3, "loss": 1.2}  # the means of a step, for parts that remember them
BY_EFFECT = [
    pytest.param(part, key, id=f"{part.name}-{key}")
    for axis in ("credit", "objective", "anchor")
    for _, part in sorted(AXES[axis].items())
    for key in part.schema
    if part.over == "output"
]
OTHERS = [
    pytest.param(part, id=f"{axis}-{name}")
    for axis in ("selection", "source", "corruption", "scope", "anchor")
    for name, part in sorted(AXES[axis].items())
    if axis != "anchor" or part.over == "parameters"
]


def values_for(parameter: inspect.Parameter) -> list[Any]:
    """Values that this hyper-parameter may have, other than its default; some may be refused."""
    literals = [x for a in annotations(parameter.annotation) if get_origin(a) is Literal for x in get_args(a)]
    if isinstance(parameter.default, bool):
        return [not parameter.default]
    if isinstance(parameter.default, str) and not literals:
        return [COLUMN]
    return [value for value in (literals or NUMBERS) if value != parameter.default]


def annotations(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from annotations(inner)


def plain(x: Any) -> Any:
    """The same without tensors, to be compared and printed."""
    if isinstance(x, torch.Tensor):
        return x.detach().tolist()
    if isinstance(x, Mapping):
        return {key: plain(value) for key, value in x.items()}
    return [plain(y) for y in x] if isinstance(x, tuple | list) else x


def outcome(bound: Bound) -> Any:
    """All that the loop takes from a part on one batch: what it declares, what it gives, what it remembers after. The
    policy has moved far in places, so that clipping at either side happens, a turn has three tokens, and the data a
    column of numbers."""
    batch = material.batch()
    columns = tuple({COLUMN: 0.5 + s} for s in range(batch.S))
    batch = replace(batch, turn_N=torch.arange(batch.N) // 3, columns=columns)
    x = material.numbers(batch, bound)
    with torch.no_grad():
        x["logp"] *= torch.where(torch.arange(batch.N) % 3 == 0, 0.01, 1.0)
    given = material.call(bound, x, batch)
    bound.follow(SEEN, batch, 0.0)
    declared = [sorted(map(str, bound.declared(what))) for what in ("needs", "reads")]
    count = None if bound.part.axis == "credit" else bound.count(batch, 0.0)
    return plain([declared, given, count, bound.memory.state])


def differs(part: Part, base: Mapping[str, Any], key: str) -> bool:
    """Whether some value of the key gives another outcome than the base."""
    before = outcome(bind(part.axis, part.name, **base))
    for value in values_for(part.schema[key]):
        try:
            if outcome(bind(part.axis, part.name, **{**base, key: value})) != before:
                return True
        except (ValueError, ZeroDivisionError, RuntimeError):
            continue  # a value that this part can't have
    return False


@pytest.mark.parametrize(("part", "key"), BY_EFFECT)
def test_another_value_of_a_hyper_parameter_changes_what_a_pure_part_gives(part: Part, key: str) -> None:
    bases = [bound.hyper for bound in material.parts(part.axis) if bound.part is part]
    assert any(differs(part, base, key) for base in bases), f"no value of {key} changes anything"


def named(function: Callable[..., Any]) -> set[str]:
    """The names that the body of a function takes the value of."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


@pytest.mark.parametrize("part", OTHERS)
def test_a_part_that_samples_or_moves_weights_names_each_of_its_hyper_parameters(part: Part) -> None:
    declared = (part.fn, part.statistic, part.needs, part.reads, part.state, part.follow, part.weigh, part.asks)
    read = set().union(*(named(f) for f in declared if inspect.isfunction(f)))
    assert part.schema.keys() <= read, f"nothing reads {sorted(part.schema.keys() - read)}"
