"""Revisions: better answers after the model's own failed ones, in a conversation."""

from dataclasses import replace
from math import inf

from scalpel.batch import Batch, Row, pack
from scalpel.part import part
from scalpel.rewards.scored import said, worth
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.conversation import Conversation, Keep
from scalpel.sources.sampled import Judged, at_most, paired, sample_row, writers


@part(
    "source",
    "revisions",
    gives=frozenset({"reward"}),
    asks=writers(),
    samples=at_most(lambda sizes, **other: sum(sizes)),
)
def revisions(
    context: SourceContext,
    *,
    sizes: tuple[int, ...] = (1, 16),
    keep: Keep = "all",
    distinct: bool = True,
    again: str = "That is not right. Please try again.",
    feedback: bool = False,
    threshold: float = 1.0,
    writer: str = "policy",
) -> Batch:
    """Trains on the best of several answers in each turn of a conversation, after the failed answers before it.

        s_1 = x,   s_{t+1} = (s_t, y_t, again);   y_t = argmax r(y) of sizes[t] samples y ~ π(· | s_t)

    A conversation ends with the first answer whose reward reaches `threshold`. Only the last answer of a row is
    trained, the earlier ones are context. `keep` selects the answers to train: all; those better than the answer
    before; the best so far; or only correct ones (all of the first turn, except with "success"). An answer that was
    cut off ranks below all others, and is never trained: it would train the model not to stop. With `distinct` no
    answer is repeated; with `feedback` the verifier's textual feedback follows `again`. `writer` is the policy or the
    role that answers in its place: "reference", with the stage's reference "start", is the policy at the beginning of
    the stage, so that all conversations of a round are those of one model.

    Reads    prompts; the reward functions and their feedback.
    Limits   one turn with keep "success": `accepted-samples` with keep 1 and order "best".
    Fails    keep "all" where nothing is correct: it trains on its own errors; weigh by `exp-reward`. If only later
             turns are trained, first answers may become wrong on purpose: `reward` of the first turn falls.
    Source   Qu et al. 2024 (arXiv 2407.18219), section 4; the rules of `keep` as in the authors' code.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes is {list(sizes)}: give the number of samples for each turn, such as [1, 16]")
    talks = [Conversation(g, example, example.prompt) for g, example in enumerate(context.examples)]
    rows: list[Row] = []
    for turn, size in enumerate(sizes):
        for talk, prompt, found in answered_turns(
            context, writer, [talk for talk in talks if not talk.over], turn, size
        ):
            texts = [context.tokens.text(sample.ids) for sample, _ in found]
            fresh = [k for k, text in enumerate(texts) if not distinct or text not in talk.answers]
            talk.over = not fresh
            if talk.over:
                continue
            k = max(fresh, key=lambda k: (found[k][0].finished, worth(found[k][1])))
            (sample, rewards), earned = found[k], worth(found[k][1])
            if sample.finished and earned > -inf and talk.keeps(keep, earned, threshold):
                row = sample_row(prompt, sample, talk.example, talk.group, rewards)
                rows.append(replace(row, turn=[turn] * len(row.ids)))
            words = f"{again} {said(rewards)}" if feedback and said(rewards) else again
            talk.go_on(texts[k], earned, words, over=earned >= threshold)
    return pack(rows)


def answered_turns(
    context: SourceContext, writer: str, talks: list[Conversation], turn: int, size: int
) -> list[tuple[Conversation, list[int], Judged]]:
    """Each conversation with the ids of its present prompt, and `size` answers to it with their rewards."""
    if not talks:
        return []
    prompts = [context.tokens.prompt(talk.prompt) for talk in talks]
    samples = context.by(writer)(prompts, size, derive(context.seed, "turn", turn) % 2**31)
    return list(zip(talks, prompts, paired(samples, context.reward([t.example for t in talks], samples)), strict=True))
