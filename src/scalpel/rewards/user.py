"""A user's own reward function: `path.py:name`, called as TRL calls it.

It is called with keywords: `prompts`, `completions`, `completion_ids`, every other column of the data as a list,
`trainer_state`, `log_extra(column, values)` and `log_metric(name, value)`, and gives one number for each
completion; None means that it does not apply to that row. For prompts as chat messages a completion is a list of
messages: one, or those of all turns of an episode, the environment's among them. A function without **kwargs gets only
the keywords that it names; one that names `trajectories` gets these, with ids, log-probs and stop reasons. It may be
async, a generator, an object that can be called, or a partial.
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
NAMED = "trajectories"  # is handed to functions that name it only, so that a column may be called so
NOTHING = Trajectory((), ())
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Users:
    """A user's function by its place, as what judges completions."""

    spec: str
    function: Function

    def __call__(
        self, examples: Sequence[Example], completions: Sequence[str], handed: Mapping[str, Any]
    ) -> list[float | None]:
        return call(self.function, self.spec, examples, completions, handed)

    def suits(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where it asks for what these examples don't have, before any is asked."""
        accepted(self.function, self.spec, {**dict.fromkeys((*HANDED, NAMED)), **columns(examples)})


def call(
    fn: Function, spec: str, examples: Sequence[Example], completions: Sequence[str], handed: Mapping[str, Any]
) -> list[float | None]:
    """One value for each completion, checked. `handed` are the keywords besides the columns."""
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
    """The keywords that the function takes. ValueError if it asks for one that isn't there."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some that are written in C don't say what they take
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
    """The values as floats and None, or ValueError that says what is wrong with which."""
    if hasattr(given, "tolist"):
        given = given.tolist()  # arrays and tensors
    if not isinstance(given, list | tuple):
        raise ValueError(
            f"reward {spec} returned {type(given).__name__} {values.shown(given)}: it must return a list of one "
            f"number for each completion, here {len(examples)}"
        )
    if len(given) != len(examples):
        many = f"{len(given)} values" if len(given) <= len(examples) else "more values than that"
        raise ValueError(
            f"reward {spec} returned {many} for {len(examples)} completions: return one for each, None where it does "
            "not apply"
        )
    return values.checked(given, spec, examples)


def verifier(spec: str, timeout: float | None = None) -> Verifier:
    """The function as a verifier of single completions, each within its time: its values must lie in [0, 1], None is
    unread."""
    ask = Asked(spec, Users(spec, function_at(spec)), timeout, "verifier")

    def verify(completion: str, example: Example) -> float:
        value = ask([example], [completion], {})[0]
        if value is None:
            return UNREAD
        if not 0 <= value <= 1:
            raise ValueError(
                f"verifier {spec} gave {value} on {place(example)}: a verifier says how right a completion is, from 0 "
                "to 1, or None where it can't be read; for other values list it under rewards"
            )
        return value

    return verify


def columns(examples: Sequence[Example]) -> dict[str, list[Any]]:
    """Every column that any of the rows has, as a list; None where a row lacks it."""
    names = dict.fromkeys(name for e in examples for name in e.columns)
    table = {name: [e.columns.get(name) for e in examples] for name in names}
    for name in ("answer", "label", "chosen", "rejected"):
        if name not in table and any(getattr(e, name) is not None for e in examples):
            table[name] = [getattr(e, name) for e in examples]
    return table


def names(fn: Function, keyword: str) -> bool:
    """Whether a function has an argument of that name."""
    try:
        return keyword in inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return False


def spoken(text: str, example: Example, played: Trajectory) -> Any:
    """A completion as TRL hands it over: text, or for prompts as messages the messages of all turns, nearly always one
    of the assistant."""
    if isinstance(example.prompt, str):
        return "\n".join(str(m["content"]) for m in played.messages) if len(played.messages) > 1 else text
    return [dict(m) for m in played.messages] or [{"role": "assistant", "content": text}]


def named(examples: Sequence[Example], most: int = 3) -> str:
    """Rows by where they stand, else by their ids."""
    ids = list(dict.fromkeys(e.where or e.id for e in examples))
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"rows {', '.join(ids[:most])}{more}"
