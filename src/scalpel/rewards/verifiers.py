"""Verifiers: whether a completion is correct, given the example's reference answer.

Each returns a number in [0, 1], or `UNREAD`, which counts as 0, if it finds no answer that it can parse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from scalpel.binding.bounds import Count, Pattern, Seconds
from scalpel.binding.patterns import SECONDS, compiled, found, search
from scalpel.binding.table import bind_table
from scalpel.data.example import Example, named
from scalpel.extensions import find, is_path
from scalpel.registry import register
from scalpel.rewards import values
from scalpel.rewards.equations import true_share
from scalpel.rewards.mathematics import judge
from scalpel.rewards.scored import UNREAD
from scalpel.rewards.user import Verifier, verifier

Box = Literal["last", "first", "only"]
# Scripts that don't separate every word by a space: Thai to Khmer, kana, Han, and Hangul, whose particles are attached.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"


@register("verifier", "exact")
def exact(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 if the completion equals the answer, ignoring white space around it; unread if the completion is empty."""
    said, right = completion.strip(), answer_of(example).strip()
    if not said:
        return UNREAD if right else 1.0
    return float(said.casefold() == right.casefold() if ignore_case else said == right)


@register("verifier", "contains")
def contains(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 if the answer occurs in the completion as whole words: "7" does not occur in "17", "-7" or "7.5". In scripts
    without spaces between words it may occur anywhere. Unread if the completion is empty."""
    answer = answer_of(example).strip()
    if not answer:
        raise ValueError(
            f"{named(example)} has an empty answer, which every text contains: give it an answer, or use the verifier "
            "'exact'"
        )
    if not completion.strip():
        return UNREAD
    letter = rf"[^\W{UNSPACED}]"
    before = rf"(?<!{letter})(?<!-)(?<!\d[.,])" if answer[:1].isdigit() else rf"(?<!{letter})"
    before = "" if re.match(f"[{UNSPACED}]", answer) else before
    after = "" if re.search(rf"[{UNSPACED}]\Z", answer) else rf"(?!{letter}|[.,]\d)"
    words = f"{before}{re.escape(answer)}{after}"
    return float(re.search(words, completion, re.IGNORECASE if ignore_case else 0) is not None)


@register("verifier", "pattern")
def pattern(
    completion: str, example: Example, *, pattern: Pattern, ignore_case: bool = False, timeout: Seconds = SECONDS
) -> float:
    """1 if the regular expression matches, and, where it has a group, the group of the last match equals the answer.

    With a group, a completion without a match is unread, as is one whose search takes longer than `timeout` seconds.
    """
    if not compiled(pattern).groups:
        return float(search(pattern, completion, timeout) is not None)
    said = found(pattern, completion, timeout)
    return UNREAD if said is None else exact(said, example, ignore_case=ignore_case)


@register("verifier", "math-verify")
def math_verify(completion: str, example: Example, *, seconds: Count = 5, box: Box = "last") -> float:
    """1 if the final mathematical expression of the completion equals the answer; unread if there is none, or if it
    can't be parsed within `seconds`. Of several boxes the "last" one counts, or the "first"; with "only" a completion
    whose boxes differ is wrong. docs/verifiers.md lists the accepted notations.

    Source   Math-Verify, Hugging Face, 2025 (package math-verify)
    """
    verdict = judge(completion, answer_of(example), seconds=seconds, box=box)
    return UNREAD if verdict is None else float(verdict)


@register("verifier", "verbatim")
def verbatim(completion: str, example: Example) -> float:
    """1 if the completion is exactly the answer, character by character: for answers without reasoning before them.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.2, reward without thinking
    """
    return float(completion == answer_of(example).strip())


@register("verifier", "think-format")
def think_format(completion: str, example: Example, *, thought: str = "think", answer: str = "answer") -> float:
    """1 if the whole completion has the form `<think>…</think><answer>…</answer>`; the tag names are keys.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.1, format reward
    """
    thought, answer = re.escape(thought), re.escape(answer)
    form = rf"<{thought}>.*?</{thought}>\s*<{answer}>.*?</{answer}>"
    return float(re.fullmatch(form, completion, re.DOTALL) is not None)


@register("verifier", "think-answer")
def think_answer(completion: str, example: Example, *, answer: str = "answer") -> float:
    """1 if the text inside the first answer tags equals the answer, ignoring case; without tags, if the whole
    completion does. Other completions without tags are unread.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.1, accuracy reward; without tags as in the authors' code,
             which tries math-verify before
    """
    tag = re.escape(answer)
    said = re.search(rf"<{tag}>(.*?)</{tag}>", completion, re.DOTALL)
    right = exact(completion if said is None else said[1], example, ignore_case=True)
    return UNREAD if said is None and not right else right


@register("verifier", "equations")
def equations(completion: str, example: Example) -> float:
    """The share of the equations in the completion, such as 3+4=7, that are true; unread if there is none."""
    share = true_share(completion)
    return UNREAD if share is None else share


def make(spec: str | Mapping[str, Any], place: str = "verify") -> Verifier:
    """A verifier by name, or from a table with options: {name = "pattern", pattern = "#### (.+)"}."""
    table = {"name": spec} if isinstance(spec, str) else spec
    name = table.get("name")
    if isinstance(name, str) and is_path(name):
        options = {key: value for key, value in table.items() if key != "name"}
        limit = values.seconds(options.pop("timeout"), name) if "timeout" in options else None
        if options:
            raise ValueError(
                f"the verifier {name} has the options {', '.join(options)}, but only timeout is allowed: set other "
                "options inside the function"
            )
        return verifier(name, limit)
    bound = bind_table("verifier", place, table, named="name", find=named_verifier)
    return partial(bound.function, **bound.arguments)


def named_verifier(axis: str, name: str, called: str) -> Callable[..., float]:
    try:
        return find(axis, name, called)  # type: ignore[no-any-return]
    except ValueError as error:
        raise ValueError(f"{error}, or path.py:function") from None


def answer_of(example: Example) -> str:
    if example.answer is None:
        raise ValueError(
            f"{named(example)} has no reference answer: add a column 'answer' (or map one: columns = "
            '{answer = "…"}), or use a verifier that needs none'
        )
    return example.answer
