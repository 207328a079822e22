"""A user's own reward function: `path.py:name`, called as TRL calls it.

It is called with the keyword arguments `prompts`, `completions`, `completion_ids`, every other column of the data as a
list, `trainer_state`, `log_extra(column, values)` and `log_metric(name, value)`. It returns one number per completion,
or None where it does not apply. If prompts are chat messages, a completion is a list of messages: one, or those of all
turns of an episode, including the environment's. A function without **kwargs gets only the arguments that it names; one
that names `trajectories` gets the trajectories with ids, log-probs and stop reasons. The function may be async, a
generator, a callable object or a partial.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalpel.data.example import Example
from scalpel.data.example import named as place
from scalpel.data.trajectory import Trajectory
from scalpel.extensions import modules
from scalpel.extensions.files import file_of, function_at
from scalpel.extensions.guarded import guarded, settled
from scalpel.registry import unknown
from scalpel.rewards import values
from scalpel.rewards.scored import UNREAD
from scalpel.rewards.waiting import Asked

Function = Callable[..., Any]
Verifier = Callable[[str, Example], float]
HANDED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
NAMED = "trajectories"  # passed only to functions that name it, so that data may have such a column
NOTHING = Trajectory((), ())
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Users:
    """A user's function as a judging reward; `spec` is its `path.py:name`."""

    spec: str
    function: Function

    def __call__(
        self, examples: Sequence[Example], completions: Sequence[str], handed: Mapping[str, Any]
    ) -> list[float | None]:
        return call(self.function, self.spec, examples, completions, handed)

    def suits(self, examples: Sequence[Example]) -> None:
        """Raises ValueError if the function has a required argument that these examples can't fill."""
        accepted(self.function, self.spec, {**dict.fromkeys((*HANDED, NAMED)), **columns(examples)})


def call(
    fn: Function, spec: str, examples: Sequence[Example], completions: Sequence[str], handed: Mapping[str, Any]
) -> list[float | None]:
    """One checked value per completion. `handed` are the keyword arguments that are not columns."""
    played: Sequence[Trajectory] = handed.get(NAMED) or [NOTHING] * len(examples)
    said = [spoken(*one) for one in zip(completions, examples, played, strict=True)]
    prompts = [e.prompt if isinstance(e.prompt, str) else [dict(m) for m in e.prompt] for e in examples]
    known = {
        **columns(examples),
        "prompts": prompts,
        "completions": said,
        **{k: v for k, v in handed.items() if k in HANDED or (k == NAMED and names(fn, k))},
    }
    taken = accepted(fn, spec, known)
    count, file = len(examples), file_of(spec)
    modules.asked(file)
    given = guarded(f"reward {spec}", f", on {named(examples)}", file, lambda: settled(fn(**taken), count))
    return checked(given, spec, examples)


def accepted(fn: Function, spec: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments that the function accepts. ValueError if a required one is missing."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have no signature
        return dict(known)
    for p in parameters:
        if p.kind is p.POSITIONAL_ONLY:
            raise ValueError(
                f"reward {spec}: {p.name} is positional-only, but rewards are called by keyword: remove the '/'"
            )
        if p.default is p.empty and p.kind not in VARIADIC and p.name not in known:
            raise ValueError(f"reward {spec}: {unknown('argument', p.name, known)} (columns of the data are arguments)")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(known)
    names = {p.name for p in parameters}
    return {k: v for k, v in known.items() if k in names}


def checked(given: Any, spec: str, examples: Sequence[Example]) -> list[float | None]:
    """The values as floats and None. The ValueError names the function and the row."""
    if hasattr(given, "tolist"):
        given = given.tolist()  # arrays and tensors
    if not isinstance(given, list | tuple):
        raise ValueError(
            f"reward {spec} returned {type(given).__name__} {values.shown(given)}: it must return a list with one "
            f"number per completion, here {len(examples)}"
        )
    if len(given) != len(examples):
        many = f"{len(given)} values" if len(given) <= len(examples) else "too many values"
        raise ValueError(
            f"reward {spec} returned {many} for {len(examples)} completions: return one value per completion, None "
            "where the reward does not apply"
        )
    return values.checked(given, spec, examples)


def verifier(spec: str, timeout: float | None = None) -> Verifier:
    """The function as a verifier of single completions, with a time limit per completion. Its values must be in [0, 1];
    None means unread."""
    ask = Asked(spec, Users(spec, function_at(spec)), timeout, "verifier")

    def verify(completion: str, example: Example) -> float:
        value = ask([example], [completion], {})[0]
        if value is None:
            return UNREAD
        if not 0 <= value <= 1:
            raise ValueError(
                f"verifier {spec} returned {value} on {place(example)}: a verifier must return a number from 0 (wrong) "
                "to 1 (right), or None if it finds no answer; list a function with other values under rewards"
            )
        return value

    return verify


def columns(examples: Sequence[Example]) -> dict[str, list[Any]]:
    """Every column that any of the rows has, as a list with None for rows that lack it."""
    names = dict.fromkeys(name for e in examples for name in e.columns)
    table = {name: [e.columns.get(name) for e in examples] for name in names}
    for name in ("answer", "label", "chosen", "rejected"):
        if name not in table and any(getattr(e, name) is not None for e in examples):
            table[name] = [getattr(e, name) for e in examples]
    return table


def names(fn: Function, keyword: str) -> bool:
    """Whether the function has an argument of that name."""
    try:
        return keyword in inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return False


def spoken(text: str, example: Example, played: Trajectory) -> Any:
    """A completion in TRL's format: text, or for prompts as messages a list of messages (usually a single one of the
    assistant)."""
    if isinstance(example.prompt, str):
        return "\n".join(str(m["content"]) for m in played.messages) if len(played.messages) > 1 else text
    return [dict(m) for m in played.messages] or [{"role": "assistant", "content": text}]


def named(examples: Sequence[Example], most: int = 3) -> str:
    """Names rows by file and line if known, else by id."""
    ids = list(dict.fromkeys(e.where or e.id for e in examples))
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"rows {', '.join(ids[:most])}{more}"
