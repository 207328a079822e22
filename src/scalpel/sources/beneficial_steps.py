"""The beneficial steps of failed demonstrations."""

from dataclasses import replace

from scalpel.batch import Batch, Row, pack
from scalpel.binding.bounds import Few, Pattern
from scalpel.data.trajectory import Trajectory, demonstration
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import at_most, demonstrated, rendered_row, sample_row, within
from scalpel.sources.steps import Start, cuts, gone_on, spaced, success


@part(
    "source",
    "beneficial-steps",
    gives=frozenset({"reward", "demonstration"}),
    samples=at_most(lambda states, size, **other: states * size),
)
def beneficial_steps(
    context: SourceContext,
    *,
    states: int = 4,
    size: Few = 4,
    boundary: Pattern = "",
    imitate: bool = True,
    threshold: float = 1.0,
) -> Batch:
    """Trains on steps of a demonstration that turn the policy's failure into success, and on its own continuations.

        s_j = x ∘ y*_{<L_j},  L_0 = 0 < L_1 < …;   V_j = 1 if one of `size` continuations of s_j is right
        y*_{L_{j−1} … L_j} and the correct continuation are trained where V_{j−1} = 0 and V_j = 1

    The `states` are evenly spaced over the demonstration, at ends of steps (where the expression `boundary` matches;
    empty: after any token). All other steps are context only, so steps that lead to a failure are not trained. Where
    the policy succeeds from the beginning, its own answer is trained. A demonstration that is correct itself is trained
    entirely and has only the first state, unless `imitate` is false: then it is explored like the others.

    Reads    prompts and `completion`; the reward functions.
    Limits   states 0: imitation of the correct demonstrations; states 1: also of the first correct one of `size`
             samples.
    Fails    no state is solved: only correct demonstrations are left, `tokens_trained_share` falls or is missing.
    Source   Lan et al. 2025 (arXiv 2504.13145), figure 1 and section 4.
    """
    within("beneficial-steps", 0, states=states)
    within("beneficial-steps", 1, size=size)
    whole = demonstrated(context, "beneficial-steps")
    given = [context.tokens.completion(example.completion or "", example.prompt) for example in context.examples]
    earned = context.score(context.examples, [[demonstration(ids)] for ids in given])
    right = [imitate and total(rewards) >= threshold for (rewards,) in earned]
    rows = [
        replace(rendered_row(row, context.examples[g], g), rewards=earned[g][0])
        for g, row in enumerate(whole)
        if right[g] and row is not None
    ]
    # A correct demonstration still has the state at its beginning, where the policy's own success is trained as well.
    ends = {g: places(context, ids, min(states, 1) if right[g] else states, boundary) for g, ids in enumerate(given)}
    starts: list[Start] = [(g, given[g][:n]) for g in ends for n in ends[g]]
    found = iter(gone_on(context, starts, size, "states"))
    for g, at in ends.items():
        solved = [success(next(found), threshold) for _ in at]
        for j, one in enumerate(solved):
            if one is not None and (j == 0 or solved[j - 1] is None):
                rows.append(rescued(context, g, *one, helped=at[j - 1] if j else 0))
    return pack(rows)


def places(context: SourceContext, ids: list[int], states: int, boundary: str) -> list[int]:
    """The number of tokens of a demonstration before each of its states: 0, and further ones evenly spaced."""
    ends = [n for n in cuts(context.tokens, ids, boundary) if n < context.max_tokens]
    return [0, *spaced(ends, states - 1)] if states else []


def rescued(context: SourceContext, group: int, sample: Trajectory, rewards: list[float], helped: int) -> Row:
    """A correct answer that continues a demonstration; its first `helped` tokens are not trained."""
    example = context.examples[group]
    prompt = context.tokens.prompt(example.prompt)
    row = sample_row(prompt, sample, example, group, rewards)
    return replace(row, train=[False] * (len(prompt) + helped) + [True] * (len(sample.ids) - helped))
