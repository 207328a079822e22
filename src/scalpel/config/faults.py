"""Validation errors of a recipe: the key, its value and the allowed values, in the recipe's terms, not pydantic's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from scalpel.binding.bind import described, has, inside
from scalpel.binding.plain import short, shown

MOST = 8  # errors in one message


def validated(schema: type[BaseModel], tables: Mapping[str, Any]) -> Any:
    """Validates with pydantic, and raises its errors as one ValueError with the keys of the recipe."""
    try:
        return schema.model_validate(tables)
    except ValidationError as error:
        found = list(dict.fromkeys(fault(schema, tables, e) for e in error.errors()))
        more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
        raise ValueError("\n".join([*found[:MOST], *more])) from None


def fault(schema: type[BaseModel], tables: Any, error: Any) -> str:
    place = short(".".join(str(p) for p in error["loc"]))
    if error["type"] == "extra_forbidden":
        known = known_keys(schema, error["loc"][:-1])
        near = get_close_matches(str(error["loc"][-1])[:100], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {place!r}: {hint}known here are {', '.join(sorted(known))}"
    if error["type"] == "missing":
        return f"missing key {place!r}"
    if error["type"] == "value_error":
        return f"{place}: {error['msg'].removeprefix('Value error, ')} (got {shown(error['input'])})"
    steps, value, wanted = reached(schema, tables, error["loc"])
    return f"{short('.'.join(map(str, steps)) or 'the recipe')} is {shown(value)}, but must be {described(wanted)}"


def reached(schema: type[BaseModel], tables: Any, place: Sequence[int | str]) -> tuple[list[int | str], Any, Any]:
    """The part of a pydantic location that exists in the recipe, with its value and expected type. Pydantic's locations
    go further, into the members of a union."""
    taken: list[int | str] = []
    value, wanted = tables, schema
    for step in place:
        inner = entry(wanted, step)
        if inner is None or not has(value, step):
            break
        taken, value, wanted = [*taken, step], value[step], inner
    return taken, value, wanted


def entry(wanted: Any, step: int | str) -> Any:
    """The expected type of an entry of a table or a list."""
    tables = nested(wanted)
    if isinstance(step, str) and tables:
        field = next((f for n, f in tables[0].model_fields.items() if step in (n, f.alias)), None)
        if field is not None:
            kind = field.annotation
            return Annotated[kind, *field.metadata] if field.metadata else kind
    return inside(wanted, step)


def known_keys(schema: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that are allowed in the table at this location."""
    here: Any = schema
    for step in place:
        if isinstance(step, int):
            continue
        found = next((f for n, f in here.model_fields.items() if step in (n, f.alias)), None)
        if found is None:
            break
        here = next(iter(nested(found.annotation)), here)
    return [f.alias or n for n, f in here.model_fields.items()]


def nested(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside a type such as `list[SignalSpec] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in nested(inner)]
