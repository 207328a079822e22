"""Verifiers: is a completion right, given the example's answer? Each gives a number in [0, 1], or `UNREAD`, which
counts as 0, where it finds nothing that could be read as an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any

from scalpel.binding.patterns import SECONDS, compiled, found, search
from scalpel.data.example import Example, named
from scalpel.registry import unknown
from scalpel.rewards import values
from scalpel.rewards.equations import true_share
from scalpel.rewards.mathematics import BOXES, judge
from scalpel.rewards.scored import UNREAD
from scalpel.rewards.user import Verifier, verifier

# Thai to Khmer, kana, Han and Hangul: no space, or no space of its own, marks where a word of these begins and ends
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"


def exact(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 where the completion is the answer, but for white space around it; unread where it is empty."""
    said, right = completion.strip(), answer_of(example).strip()
    if not said:
        return UNREAD if right else 1.0
    return float(said.casefold() == right.casefold() if ignore_case else said == right)


def contains(completion: str, example: Example, *, ignore_case: bool = False) -> float:
    """1 where the answer stands in the completion as words of its own: "7" is not in "17", "-7" or "7.5". In scripts
    that put no space between words it may stand anywhere. Unread where the completion is empty."""
    answer = answer_of(example).strip()
    if not answer:
        raise ValueError(
            f"{named(example)} has an empty answer, which is in every text: give it words, or take verifier 'exact'"
        )
    if not completion.strip():
        return UNREAD
    letter = rf"[^\W{UNSPACED}]"
    before = rf"(?<!{letter})(?<!-)(?<!\d[.,])" if answer[:1].isdigit() else rf"(?<!{letter})"
    before = "" if re.match(f"[{UNSPACED}]", answer) else before
    after = "" if re.search(rf"[{UNSPACED}]\Z", answer) else rf"(?!{letter}|[.,]\d)"
    words = f"{before}{re.escape(answer)}{after}"
    return float(re.search(words, completion, re.IGNORECASE if ignore_case else 0) is not None)


def pattern(
    completion: str, example: Example, *, pattern: str, ignore_case: bool = False, timeout: float = SECONDS
) -> float:
    """1 where the expression matches; if it has a group, that group at the last match must be the answer, and where
    nothing matches, or not within `timeout` seconds, the completion is unread."""
    if not compiled(pattern).groups:
        return float(search(pattern, completion, timeout) is not None)
    said = found(pattern, completion, timeout)
    return UNREAD if said is None else exact(said, example, ignore_case=ignore_case)


def math_verify(completion: str, example: Example, *, seconds: int = 5, box: str = "last") -> float:
    """1 where the final mathematical expression of the completion equals the answer's; unread where there is none, or
    none that could be read in so many seconds. Of several boxes the "last" one counts, or the "first", or, with "only",
    none of them where they differ. docs/verifiers.md says what is read.

    Source   Math-Verify, Hugging Face, 2025 (package math-verify)
    """
    verdict = judge(completion, answer_of(example), seconds=seconds, box=box)
    return UNREAD if verdict is None else float(verdict)


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
    """1 where what stands between the first answer tags is the answer, whatever its case; unread without such tags.

    Source   Li et al. 2025 (arXiv 2503.16188), section 2.1, accuracy reward
    """
    tag = re.escape(answer)
    said = re.search(rf"<{tag}>(.*?)</{tag}>", completion, re.DOTALL)
    return UNREAD if said is None else exact(said[1], example, ignore_case=True)


def equations(completion: str, example: Example) -> float:
    """The share of the equations written in the completion, such as 3+4=7, that hold; unread where there is none."""
    share = true_share(completion)
    return UNREAD if share is None else share


VERIFIERS: dict[str, Callable[..., float]] = {
    "exact": exact, "contains": contains, "pattern": pattern, "math-verify": math_verify, "verbatim": verbatim,
    "think-format": think_format, "think-answer": think_answer, "equations": equations,
}  # fmt: skip


def make(spec: str | Mapping[str, Any]) -> Verifier:
    """A verifier by name, or from a table with options: {name = "pattern", pattern = "#### (.+)"}."""
    table = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = table.pop("name", None)
    if isinstance(name, str) and ".py:" in name:
        limit = values.seconds(table.pop("timeout"), name) if "timeout" in table else None
        if table:
            raise ValueError(
                f"{name} takes no options but timeout, but {', '.join(table)} came: set them inside the function"
            )
        return verifier(name, limit)
    if name not in VERIFIERS:
        raise ValueError(f"{unknown('verifier', str(name), VERIFIERS)}, or path.py:function")
    parameters = [p for p in signature(VERIFIERS[name]).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    for key in table:
        if key not in {p.name for p in parameters}:
            raise ValueError(f"verifier {name!r}: {unknown('key', key, [p.name for p in parameters])}")
    for p in parameters:
        if p.default is Parameter.empty and p.name not in table:
            raise ValueError(f"verifier {name!r} needs {p.name}: write {{name = {name!r}, {p.name} = …}}")
    for key, value in table.items():
        refuse_option(name, key, value)
    return partial(VERIFIERS[name], **table)


def refuse_option(name: str, key: str, value: Any) -> None:
    """Refuses the value of an option before any completion is judged."""
    words = {"ignore_case": "true or false", "timeout": "a number of seconds above 0", "seconds": "1 or more, whole"}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "ignore_case": isinstance(value, bool),
        "timeout": number and 0 < value < float("inf"),
        "seconds": number and isinstance(value, int) and value >= 1,
        "box": value in BOXES,
    }.get(key, isinstance(value, str))
    if not fits:
        wanted = f"one of {', '.join(BOXES)}" if key == "box" else words.get(key, "text")
        raise ValueError(f"verifier {name!r} has {key} = {value!r}: it must be {wanted}")
    if key == "pattern":
        compiled(value)


def answer_of(example: Example) -> str:
    if example.answer is None:
        raise ValueError(
            f"{named(example)} has no answer to compare with: add a column 'answer' (or map one: columns = "
            '{answer = "…"}), or take a verifier that needs none'
        )
    return example.answer
