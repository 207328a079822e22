"""The first wrong step of an answer, and proposals to replace it, for the source `interventions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from scalpel.binding.bounds import Pattern
from scalpel.binding.patterns import compiled, search
from scalpel.data.example import named
from scalpel.data.prompts import asked_again, seen_before
from scalpel.data.trajectory import Trajectory
from scalpel.rewards.scored import total
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.steps import Start, cuts, gone_on

Reply = Pattern  # extracts the step's number and text from the policy's reply
Locate = Literal["asked", "tried"]


@dataclass(frozen=True)
class Attempt:
    """A failed answer to the example at position `group`; `begins` are the numbers of tokens before each of its
    steps."""

    group: int
    ids: tuple[int, ...]
    begins: tuple[int, ...]


@dataclass(frozen=True)
class Proposal:
    """The part of an answer that is kept, and the step proposed to follow it."""

    group: int
    kept: tuple[int, ...]
    step: tuple[int, ...]


def samples(
    context: SourceContext, *, size: int, locate: Locate, proposals: int, tries: int, boundary: str, **other: Any
) -> int:
    """An upper bound on sampled tokens for the cost estimate: answers, proposals, the tries after each proposal, and
    the tries after each step to locate the error, assuming that attempts have as many steps as the reference."""
    completions = len(context.examples) * (size + proposals * (1 + tries))
    if locate == "tried":
        completions += tries * sum(steps_of(context, group, boundary) for group in range(len(context.examples)))
    return completions * context.max_tokens


def steps_of(context: SourceContext, group: int, boundary: str) -> int:
    """The number of steps of the reference without the last; if each token is a step, the largest possible number."""
    if not boundary:
        return context.max_tokens - 1
    ids = context.tokens.completion(reference_of(context, group), context.examples[group].prompt)
    return len(cuts(context.tokens, ids, boundary))


def attempt_of(context: SourceContext, group: int, sample: Trajectory, boundary: str) -> Attempt:
    ids = tuple(i for i in sample.ids if i not in context.tokens.stop_ids)
    return Attempt(group, ids, (0, *cuts(context.tokens, ids, boundary)))


def reference_of(context: SourceContext, group: int) -> str:
    """The example's solution, or its answer if it has no solution."""
    example = context.examples[group]
    found = example.completion if example.completion is not None else example.answer
    if found is None:
        raise ValueError(
            f"source 'interventions' shows a reference solution, but {named(example, group)} has neither "
            "completion nor answer: add a column 'completion', or take source 'accepted-samples', which needs none"
        )
    return found


def refuse_unreadable(ask: str, reply: str) -> None:
    """Raises ValueError unless `ask` has both fields and `reply` has groups for the step's number and text."""
    for place in ("{reference}", "{attempt}"):
        if place not in ask:
            raise ValueError(f"ask {ask!r} of source 'interventions' has no place for {place}: write that into it")
    try:
        groups = compiled(reply).groups
    except ValueError as error:
        raise ValueError(f"reply of source 'interventions': {error}") from None
    if groups < 2:
        raise ValueError(
            f"reply {reply!r} of source 'interventions' has fewer than two groups: put the step's number and its text "
            "in parentheses, as in '(\\d+): (.+)'"
        )


def asked(context: SourceContext, attempts: Sequence[Attempt], n: int, ask: str, reply: str) -> list[Proposal]:
    """Proposals by instruction: the policy gets its attempt step by step with the reference, and names and rewrites the
    first wrong step."""
    refuse_unreadable(ask, reply)
    prompts = []
    for attempt in attempts:
        shown = "\n".join(f"{k}: {step.strip()}" for k, step in enumerate(texts_of(context, attempt), 1))
        words = ask.replace("{reference}", reference_of(context, attempt.group)).replace("{attempt}", shown)
        own = context.examples[attempt.group].prompt
        prompts.append(context.tokens.prompt(asked_again(own, context.tokens.text(attempt.ids), words)))
    replies = context.sample(prompts, n, derive(context.seed, "proposals") % 2**31) if prompts else []
    made = []
    for attempt, group in zip(attempts, replies, strict=True):
        read = [found.groups("") for s in group if (found := search(reply, context.tokens.text(s.ids)))]
        made += [written(context, attempt, int(k), text.strip()) for k, text, *_ in read if k.isdecimal()]
    return [proposal for proposal in made if proposal is not None]


def texts_of(context: SourceContext, attempt: Attempt) -> list[str]:
    """The texts of its steps."""
    until = [context.tokens.text(attempt.ids[:n]) for n in (*attempt.begins, len(attempt.ids))]
    return [longer[len(shorter) :] for shorter, longer in pairwise(until)]


def written(context: SourceContext, attempt: Attempt, number: int, text: str) -> Proposal | None:
    """A text as step `number`, with the white space around the step that it replaces; None if it changes nothing."""
    steps = texts_of(context, attempt)
    if not 1 <= number <= len(steps) or text in ("", steps[number - 1].strip()):
        return None
    old, kept = steps[number - 1], attempt.ids[: attempt.begins[number - 1]]
    new = old[: len(old) - len(old.lstrip())] + text + old[len(old.rstrip()) :]
    # Kept text and new step are tokenised together, since a token may span their boundary; so the first ids can differ
    # from `kept`, and the proposal takes them from here.
    ids = context.tokens.completion(context.tokens.text(kept) + new, context.examples[attempt.group].prompt)
    ids = [i for i in ids if i not in context.tokens.stop_ids]
    return Proposal(attempt.group, tuple(ids[: len(kept)]), tuple(ids[len(kept) :]))


def tried(
    context: SourceContext, attempts: Sequence[Attempt], n: int, tries: int, threshold: float, boundary: str
) -> list[Proposal]:
    """Proposals by trial: the first step after which no continuation succeeds is sampled again, from the policy with
    the reference in its context."""
    starts: list[Start] = [(a.group, a.ids[:begin]) for a in attempts for begin in a.begins[1:]]
    found = iter(gone_on(context, starts, tries, "located", trial=True))
    wrong: list[tuple[Attempt, int]] = []
    for a in attempts:
        lost = [not any(total(rewards) >= threshold for _, rewards in next(found)) for _ in a.begins[1:]]
        wrong.append((a, [*lost, True].index(True)))
    kept = [a.ids[: a.begins[k]] for a, k in wrong]
    prompts = [
        [*context.tokens.prompt(seen_before(context.examples[a.group].prompt, reference_of(context, a.group))), *ids]
        for (a, _), ids in zip(wrong, kept, strict=True)
    ]
    limits = [context.max_tokens - len(ids) for ids in kept]
    samples = context.sample(prompts, n, derive(context.seed, "proposals") % 2**31, limits) if prompts else []
    made = []
    for (a, k), ids, group in zip(wrong, kept, samples, strict=True):
        old = a.ids[a.begins[k] : [*a.begins, len(a.ids)][k + 1]]
        steps = [first_step(context, sample, boundary) for sample in group]
        made += [Proposal(a.group, ids, step) for step in steps if step not in ((), old)]
    return made


def first_step(context: SourceContext, sample: Trajectory, boundary: str) -> tuple[int, ...]:
    """The first step of a continuation; empty if the continuation was cut off before the step ended."""
    ids = tuple(i for i in sample.ids if i not in context.tokens.stop_ids)
    ends = cuts(context.tokens, ids, boundary)
    return ids[: ends[0]] if ends else ids if sample.finished else ()
