"""Verifiers: is a completion right, given the example's answer? Each gives a number in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from inspect import Parameter, signature
from typing import Any

from scalpel.example import Example, named
from scalpel.registry import unknown
from scalpel.rewards.equations import true_share
from scalpel.rewards.mathematics import equal
from scalpel.rewards.user import Verifier, verifier


def exact(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 where the completion is the answer, but for white space around it."""
    said, right = completion.strip(), answer_of(example).strip()
    return float(said.casefold() == right.casefold() if ignore_case else said == right)


def contains(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 where the answer stands in the completion as words of its own: "7" is not in "17", "-7" or "7.5"."""
    answer = answer_of(example).strip()
    before = r"(?<![\w-])(?<!\d[.,])" if answer[:1].isdigit() else r"(?<!\w)"
    words = rf"{before}{re.escape(answer)}(?!\w|[.,]\d)"
    return float(re.search(words, completion, re.IGNORECASE if ignore_case else 0) is not None)


def pattern(completion: str, example: Example, *, pattern: str, ignore_case: bool = False) -> float:
    """1 where the expression matches; if it has a group, that group at the last match must be the answer."""
    if not compiled(pattern).groups:
        return float(compiled(pattern).search(completion) is not None)
    said = found(pattern, completion)
    return 0.0 if said is None else exact(said, example, ignore_case=ignore_case)


def math_verify(completion: str, example: Example, *, seconds: int = 5) -> float:
    """1 where the last mathematical expression of the completion equals the answer's; 0 after so many seconds.

    Source   Math-Verify, Hugging Face, 2025 (package math-verify)
    """
    return float(equal(completion, answer_of(example), seconds=seconds))


def verbatim(completion: str, example: Example) -> float:
    """1 where the completion is the answer and nothing else, to the letter: for answers without a thought before them.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.2, reward without thinking
    """
    return float(completion == answer_of(example).strip())


def think_format(completion: str, example: Example, *, thought: str = "think", answer: str = "answer") -> float:
    """1 where the completion is a thought and an answer in their tags, `<think>…</think><answer>…</answer>`, whole.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.1, format reward
    """
    thought, answer = re.escape(thought), re.escape(answer)
    form = rf"<{thought}>.*?</{thought}>\s*<{answer}>.*?</{answer}>"
    return float(re.fullmatch(form, completion, re.DOTALL) is not None)


def think_answer(completion: str, example: Example, *, answer: str = "answer") -> float:
    """1 where what stands between the first answer tags is the answer, whatever its case.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.1, accuracy reward
    """
    tag = re.escape(answer)
    said = re.search(rf"<{tag}>(.*?)</{tag}>", completion, re.DOTALL)
    return 0.0 if said is None else exact(said[1], example, ignore_case=True)


def equations(completion: str, example: Example) -> float:
    """The share of the equations written in the completion, such as 3+4=7, that hold; 0 where there is none."""
    return true_share(completion)


VERIFIERS: dict[str, Callable[..., float]] = {
    "exact": exact, "contains": contains, "pattern": pattern, "math-verify": math_verify, "verbatim": verbatim,
    "think-format": think_format, "think-answer": think_answer, "equations": equations,
}  # fmt: skip


def make(spec: str | Mapping[str, Any]) -> Verifier:
    """A verifier by name, or from a table with options: {name = "pattern", pattern = "#### (.+)"}."""
    table = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = table.pop("name", None)
    if isinstance(name, str) and ".py:" in name:
        if table:
            raise ValueError(f"{name} takes no options, but {', '.join(table)} came: set them inside the function")
        return verifier(name)
    if name not in VERIFIERS:
        raise ValueError(f"{unknown('verifier', str(name), VERIFIERS)}, or path.py:function")
    parameters = [p for p in signature(VERIFIERS[name]).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    for key in table:
        if key not in {p.name for p in parameters}:
            raise ValueError(f"verifier {name!r}: {unknown('key', key, [p.name for p in parameters])}")
    for p in parameters:
        if p.default is Parameter.empty and p.name not in table:
            raise ValueError(f"verifier {name!r} needs {p.name}: write {{name = {name!r}, {p.name} = …}}")
    if "pattern" in table:
        compiled(table["pattern"])
    return partial(VERIFIERS[name], **table)


def answer_of(example: Example) -> str:
    if example.answer is None:
        raise ValueError(
            f"{named(example)} has no answer to compare with: add a column 'answer' (or map one: columns = "
            '{answer = "…"}), or take a verifier that needs none'
        )
    return example.answer


def found(expression: str, text: str) -> str | None:
    """The first group of the last match, without white space around it; None if nothing matches."""
    matches = list(compiled(expression).finditer(text))
    return (matches[-1].group(1) or "").strip() if matches else None


@cache
def compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, TypeError) as error:
        raise ValueError(f"{expression!r} is no regular expression: {error}") from None
