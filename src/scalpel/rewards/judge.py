"""Rewards that need more than a completion and its reference answer: a model, a vote, the task, or another reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from scalpel.binding.bounds import Few, Pattern, Weight
from scalpel.binding.patterns import found
from scalpel.data.example import Example, Prompt, Task, with_arguments_of
from scalpel.rewards.declared import Ask, Scoring, declared


def asking(prompt: Prompt, completion: str, question: str) -> Prompt:
    """The prompt with the completion and the question after it; in a conversation the question is a user turn."""
    if isinstance(prompt, str):
        return f"{prompt}{completion}\n{question}\n"
    return with_arguments_of(
        prompt, (*prompt, {"role": "assistant", "content": completion}, {"role": "user", "content": question})
    )


@declared("judge", asks=lambda keys: keys["role"])
def judge(
    ask: Ask | None,
    *,
    role: str = "policy",
    question: str = "Is that right? Answer yes or no.",
    yes: str = "yes",
    no: str = "no",
) -> Scoring:
    """A model's probability that a completion is right: p(yes) / (p(yes) + p(no)) as the reply to a question after it.

    `role` is "policy" (the model judges itself), "reference", or a frozen model named under [models].

    Source   Kadavath et al. 2022 (arXiv 2207.05221), section 4.1, P(True); for training Yuan et al. 2024 (arXiv
             2401.10020)
    """

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        assert ask is not None, "the judge needs a function that asks a model"
        prompts = [asking(e.prompt, text, question) for e, text in zip(examples, completions, strict=True)]
        return [chances[0] for chances in ask(role, prompts, (yes, no))]

    return score


@declared("agreement")
def agreement(*, pattern: Pattern = "", votes: Few = 2) -> Scoring:
    """Majority vote: 1 for a completion whose answer is the most frequent one among the completions of its prompt.

    The answer is the whole text, or the group of the last match of `pattern`; a completion without a match has no vote.
    In a tie the answer that came first wins. An answer with fewer than `votes` votes earns 0: if all completions
    differ, there is no majority.

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


@declared("given")
def given(*, of: Scoring, where: Scoring, least: Weight = 1.0) -> Scoring:
    """The reward `of` where the reward `where` is at least `least`, else 0. For example an outcome reward that counts
    only if a process reward accepts the steps, or a process reward that counts only if the outcome is right."""

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float | None]:
        holds = where(examples, completions, handed)
        earned = of(examples, completions, handed)
        pairs = zip(earned, holds, strict=True)
        return [None if h is None else r if h >= least else 0.0 for r, h in pairs]

    return score


@declared("task", concurrent=True)
def by_task(task: Task | None) -> Scoring:
    """The task's own verifier. If the task has textual feedback on an answer, it is logged as "feedback"."""
    if task is None:
        raise ValueError("reward 'task' stands for the task's own verifier, but there is no task here")
    judged, say = by_row(task.score), getattr(task, "feedback", None)

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> Sequence[float | None]:
        words = [say(text, e) or None for text, e in zip(completions, examples, strict=True)] if say else []
        if any(words):
            handed["log_extra"]("feedback", words)
        return judged(examples, completions, handed)

    return score


@declared("environment", concurrent=True)
def by_environment() -> Scoring:
    """The sum of the environment's rewards over all turns of an episode."""

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        return [trajectory.reward for trajectory in handed["trajectories"]]

    return score


def by_row(verify: Callable[[str, Example], float]) -> Scoring:
    """A verifier as a reward."""

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        return [verify(text, example) for text, example in zip(completions, examples, strict=True)]

    return score
