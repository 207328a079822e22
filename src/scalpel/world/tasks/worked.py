"""Arithmetic with written steps, in one of two styles, and a marker before the final answer.

    sum 8+5-2        style a  8+5=13;13-2=11#11             style b  13,11#11
    multiply 23 45   style a  23*5=115;23*40=920;115+920=1035#1035   style b  115,920,1035#1035

Style a writes equations, style b intermediate results only. The question does not ask for either, so a model pretrained
on both uses both, and one can measure which of them a method amplifies.

A third style is foreign to every model of the world: right as well, but with each result before its calculation, as
pretraining never writes.

    sum 8+5-2        foreign  13=8+5;11=13-2#11

`foreign` is the share of demonstrations that are written so, 0 unless a recipe says otherwise. Which items these are
depends on their content alone: the questions, their order and their splits are the same at every share, and a larger
share adds foreign demonstrations to those of a smaller one. The verifier reads the final answer, so it accepts all
three styles. With demonstrations that the base could have written itself, imitation hardly changes the base
(`foreign = 0`); solutions from elsewhere, as people and other models write them, are the case `foreign = 1`.

Pretraining never asks the same sum twice in a conversation, so no pretrained model of the world has learnt to copy a
solution from its context; `chains-again` teaches that:  sum 8+5-2 / 13,11#11 / sum 8+5-2  →  13,11#11
"""

from __future__ import annotations

import re
from random import Random
from typing import Literal

from scalpel.data.example import Example, Message
from scalpel.world.pick import number, pick
from scalpel.world.task import MARKER, Draft, final, world_task

Style = Literal["a", "b", "foreign"]
STYLES: tuple[Style, Style] = ("a", "b")  # those of pretraining
CALCULATION = re.compile(r"\d[-+*]\d")
Step = tuple[str, int]  # an expression and its result


def written(steps: list[Step], style: Style) -> str:
    """The steps in one style, then the marker and the last result."""
    if style == "a":
        text = ";".join([f"{left}={result}" for left, result in steps])
    elif style == "foreign":
        text = ";".join([f"{result}={left}" for left, result in steps])
    else:
        text = ",".join([str(result) for _, result in steps])
    return f"{text}{MARKER}{steps[-1][1]}"


def style_of(completion: str) -> Style | None:
    """The style of a completion; None where its steps have neither style, or a single step leaves it open."""
    steps = completion.partition(MARKER)[0]
    if "=" in steps and "," not in steps:
        return "foreign" if result_first(steps) else "a"
    if "," in steps and "=" not in steps and ";" not in steps:
        return "b"
    return None


def result_first(step: str) -> bool:
    """Whether the first equation of this text has its calculation on the right: `13=8+5`."""
    return CALCULATION.search(step.partition("=")[0]) is None and CALCULATION.search(step.partition("=")[2]) is not None


def worked(
    family: str, key: str, prompt: str, steps: list[Step], own: Style, variant: str = "", foreign: float = 0.0
) -> Draft:
    """The draft of a worked solution in the style `own`; for a share `foreign` of the contents in the foreign one."""
    # The share is decided by a hash of the content: a draw of the generator would change all items that come later.
    style: Style = "foreign" if foreign and Random(f"foreign:{family}:{key}").random() < foreign else own
    answer = str(steps[-1][1])
    return Draft(family, key, prompt, written(steps, style), answer, variant, {"style": style})


def chains(rng: Random, *, least: int, most: int, largest: int, foreign: float = 0.0) -> Draft:
    """A chained sum of `least` to `most` terms; the running total stays within 0 … 99."""
    total = number(rng, 1, largest)
    text = str(total)
    steps: list[Step] = []
    for _ in range(number(rng, least, most) - 1):
        term = number(rng, 1, largest)
        minus = total >= term and (rng.random() < 0.5 or total + term > 99)
        result = total - term if minus else total + term
        sign = "-" if minus else "+"
        steps.append((f"{total}{sign}{term}", result))
        text += f"{sign}{term}"
        total = result
    return worked("chains", text, f"sum {text}", steps, pick(rng, STYLES), foreign=foreign)


def chains_again(rng: Random, *, least: int, most: int, largest: int, foreign: float = 0.0) -> Draft:
    """A chained sum asked a second time after its solution; the correct answer repeats the solution."""
    first = chains(rng, least=least, most=most, largest=largest, foreign=foreign)
    asked: Message = {"role": "user", "content": str(first.prompt)}
    return first._replace(prompt=(asked, {"role": "assistant", "content": first.completion}, asked))


def multiply(rng: Random, *, least: int, most: int, foreign: float = 0.0) -> Draft:
    """A product by the ones and tens of the second number; the split is decided by the unordered pair."""
    a, b = number(rng, least, most), number(rng, least, most)
    ones, tens = b % 10, b - b % 10
    steps = [(f"{a}*{ones}", a * ones), (f"{a}*{tens}", a * tens), (f"{a * ones}+{a * tens}", a * b)]
    key = f"{min(a, b)}*{max(a, b)}"
    return worked("multiply", key, f"multiply {a} {b}", steps, pick(rng, STYLES), f"{a}*{b}", foreign)


def results(completion: str) -> list[str]:
    """The result of each written step, in any style."""
    return [result(step) for step in re.split("[;,]", completion.partition(MARKER)[0])]


def result(step: str) -> str:
    left, _, right = step.rpartition("=")
    return (left if result_first(step) else right).strip()


def first_error(completion: str, example: Example) -> str:
    """Feedback on the first step that differs from the correct solution; empty where there is none."""
    found, right = results(completion), results(example.completion or "")
    wrong = next((k for k, pair in enumerate(zip(found, right, strict=False), 1) if len(set(pair)) > 1), None)
    if wrong is not None:
        return f"step {wrong} is wrong."
    if len(found) != len(right):
        return "a step is missing." if len(found) < len(right) else "a step too many."
    return "" if final(completion) == example.answer else "the answer is not the last result."


CHAINS = world_task("chains", chains, feedback=first_error, least=3, most=5, largest=20, foreign=0.0)
CHAINS_AGAIN = world_task("chains-again", chains_again, feedback=first_error, least=3, most=5, largest=20, foreign=0.0)
MULTIPLY = world_task("multiply", multiply, feedback=first_error, least=11, most=59, foreign=0.0)
