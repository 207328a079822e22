"""Labels without a verifier: a model judges completions, or they vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalpel.binding.bounds import Few, Pattern
from scalpel.binding.patterns import found
from scalpel.data.example import Example, Prompt, with_arguments_of
from scalpel.registry import register

# (role, prompts, answers) → for each prompt how likely the model of that role holds each answer, of them all
Ask = Callable[[str, Sequence[Prompt], Sequence[str]], list[list[float]]]
Scoring = Callable[[Sequence[Example], Sequence[str], Any], list[float]]


def asking(prompt: Prompt, completion: str, question: str) -> Prompt:
    """The prompt with the completion and the question after it; in a conversation the question is a user turn."""
    if isinstance(prompt, str):
        return f"{prompt}{completion}\n{question}\n"
    return with_arguments_of(
        prompt, (*prompt, {"role": "assistant", "content": completion}, {"role": "user", "content": question})
    )


@register("judge", "judge")
def judge(
    ask: Ask | None,
    *,
    role: str = "policy",
    question: str = "Is that right? Answer yes or no.",
    yes: str = "yes",
    no: str = "no",
) -> Scoring:
    """How likely a model says that a completion is right: p(yes) / (p(yes) + p(no)), asked behind it.

    `role` is the policy itself, "reference", or one of [models]: a frozen judge.

    Source   Kadavath et al. 2022 (arXiv 2207.05221), section 4.1, P(True); for training Yuan et al. 2024 (arXiv
             2401.10020)
    """

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        assert ask is not None, "rewards were made without a model to ask"
        prompts = [asking(e.prompt, text, question) for e, text in zip(examples, completions, strict=True)]
        return [chances[0] for chances in ask(role, prompts, (yes, no))]

    return score


@register("judge", "agreement")
def agreement(ask: Ask | None, *, pattern: Pattern = "", votes: Few = 2) -> Scoring:
    """1 where a completion says what most of the completions to its prompt say: the whole text, or the group of the
    last match of `pattern`. Of equally many the first one wins; where nothing matches, it has no vote. An answer with
    fewer than `votes` is no majority, and 0: where all completions differ, nothing is agreed upon.

    Source   Huang et al. 2022 (arXiv 2210.11610), section 3.1; as a reward Zuo et al. 2025 (arXiv 2504.16084)
    """

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        said = [found(pattern, text) if pattern else text.strip() for text in completions]
        cast: dict[int, Counter[str | None]] = {}
        for group, answer in zip(handed["groups"], said, strict=True):
            cast.setdefault(group, Counter())[answer] += answer is not None
        leading = {group: count.most_common(1)[0] for group, count in cast.items()}
        most = {group: answer for group, (answer, number) in leading.items() if number >= votes}
        return [float(a is not None and a == most.get(group)) for group, a in zip(handed["groups"], said, strict=True)]

    return score


def roles(specs: Sequence[str | Mapping[str, Any]]) -> frozenset[str]:
    """The models that these rewards ask, besides the policy."""
    tables = [{"name": s} if isinstance(s, str) else s for s in specs if isinstance(s, str | Mapping)]
    inside = [table[key] for table in tables for key in ("of", "where") if key in table]
    own = frozenset(str(table.get("role", "policy")) for table in tables if table.get("name") == "judge")
    return (own - {"policy"}) | (roles(inside) if inside else frozenset())
