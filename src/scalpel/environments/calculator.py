"""A calculator that the policy may call."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from scalpel.binding.bounds import Few, Name, Pattern
from scalpel.binding.patterns import found
from scalpel.data.example import Example
from scalpel.environments.environment import Step
from scalpel.registry import register
from scalpel.rewards.equations import LONGEST, value


def result(expression: str) -> str:
    """What a calculation comes to, in digits; "error" where it is none."""
    came = value(expression) if len(expression) <= LONGEST else None
    if came is None or not isfinite(came):
        return "error"
    return str(int(came)) if came == int(came) else f"{came:.10g}"


@register("environment", "calculator")
@dataclass(frozen=True, kw_only=True)
class Calculator:
    """Answers a call with its result; a turn without a call ends the episode.

    A call is what the first group of the expression `call` finds, by default what stands behind "=" at the beginning of
    a line, as in "=12*34"; of several the last. It holds numbers, + - * / and brackets. Results come as messages of
    `role`: take one that the model's chat template knows.

    Fails    a policy that never calls: show it how, by a stage that imitates a few episodes.
    Source   Schick et al. 2023 (arXiv 2302.04761), the calculator of section 3.
    """

    max_turns: Few = 4
    role: Name = "tool"
    call: Pattern = r"(?m)^=\s*(\S.*?)\s*$"

    def reset(self, example: Example) -> None:
        return None

    def step(self, state: None, said: str) -> Step:
        expression = found(self.call, said)
        if expression is None:
            return Step(state)
        return Step(state, [{"role": self.role, "content": result(expression)}])
