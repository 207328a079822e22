"""The contract of an environment, and how a recipe's table becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from scalpel.binding.table import bind_table
from scalpel.data.example import Example, Message
from scalpel.extensions import find


class Step(NamedTuple):
    """What an environment makes of a turn: its state from then on, the messages that it answers, None where the
    episode ends, and a reward for the turn."""

    state: Any
    messages: Sequence[Message] | None = None
    reward: float = 0.0


class Environment(Protocol):
    """What answers a policy. Its methods are pure, so that many episodes may run at once: what an episode has to
    remember is its state, which `step` gets and gives back. An environment is registered under the axis "environment";
    its keyword-only arguments are the keys of its table."""

    @property
    def max_turns(self) -> int:
        """How often the policy may speak; an episode that would go on is ended there."""
        ...

    @property
    def role(self) -> str:
        """Of the messages that it answers with."""
        ...

    def reset(self, example: Example) -> Any:
        """The state at the beginning of an episode."""
        ...

    def step(self, state: Any, said: str) -> Step:
        """Its answer to what the policy said in a turn."""
        ...


def make(table: Mapping[str, Any], place: str = "environment") -> Environment:
    """An environment from its table, {name = "calculator", max_turns = 2}."""
    made: Environment = bind_table("environment", place, table, named="name", find=find)()
    return made
