"""Values of hyper-parameters: a value of the annotated type, or a schedule of a number along the run."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field

from scalpel.binding.bind import bare, bounded, checked_value
from scalpel.binding.plain import shown
from scalpel.part import SHAPES
from scalpel.registry import unknown

ENDS = ("from", "to", "over", "until")
SOBER: dict[Any, Any] = {  # of numbers whose annotation gives no bounds of its own
    int: Annotated[int, Field(ge=0, le=1_000_000)],
    float: Annotated[float, Field(ge=-1e12, le=1e12)],
}
UNTIL = Annotated[float, Field(gt=0, le=1)]  # the share of the run


def hyper_value(what: str, value: Any, wanted: Any) -> Any:
    """The value, checked against the annotation. A real number may also be a schedule, if both its ends are valid."""
    if isinstance(value, Mapping) and {"from", "to"} & set(value):
        return checked_schedule(what, value, wanted)
    return checked_value(what, value, bounded(wanted, SOBER))


def checked_schedule(what: str, value: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """A schedule {from, to, over, until} whose two ends are numbers of the annotated type."""
    for key in sorted(set(value) - set(ENDS)):
        raise ValueError(f"{what} is a schedule: {unknown('key', key, ENDS)}")
    if not {"from", "to"} <= set(value):
        raise ValueError(f"{what} is a schedule with only one end: it needs both 'from' and 'to'")
    over = value.get("over", "linear")
    if not isinstance(over, str):
        raise ValueError(f"{what} is a schedule whose 'over' is {shown(over)}, but must be one of {', '.join(SHAPES)}")
    if over not in SHAPES:
        raise ValueError(f"{what} is a schedule: {unknown('shape', over, SHAPES)}")
    number = next((kind for kind in kinds(wanted) if bare(kind) is float), None)
    if number is None:
        raise ValueError(f"{what} is a schedule, but only a real number can change along a run: give one value")
    ends = {end: checked_value(f"{what}, {end!r},", value[end], bounded(number, SOBER)) for end in ("from", "to")}
    if "until" in value:
        ends["until"] = checked_value(f"{what}, 'until',", value["until"], UNTIL)
    return {**value, **ends}


def kinds(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
