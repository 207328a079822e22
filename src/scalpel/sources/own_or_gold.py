"""Own answers where they are correct, demonstrations where they are not."""

import re

from scalpel.batch import Batch, Row, pack
from scalpel.data.example import Example, Prompt, with_arguments_of
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import at_most, demonstrated, rendered_row, sample_row, writers

TEMPLATE = "{prompt}\nThe right answer: {completion}\nThe same answer in your own words:\n"


def retold(template: str, example: Example) -> Prompt:
    """The prompt that asks for a paraphrase of the demonstration; in a conversation the last message asks."""

    def filled(prompt: str) -> str:
        given = {"prompt": prompt, "completion": example.completion or ""}
        return re.sub(r"\{(prompt|completion)\}", lambda place: given[place[1]], template)

    if isinstance(example.prompt, str):
        return filled(example.prompt)
    *before, last = example.prompt
    return with_arguments_of(example.prompt, (*before, {**last, "content": filled(last["content"])}))


def right(places: list[int], found: list[list[Trajectory]], rewards: list[list[list[float]]], least: float) -> dict:
    """The samples that are correct, by the positions of their examples."""
    judged = zip(places, found, rewards, strict=True)
    return {i: s for i, (s,), (r,) in judged if s.finished and total(r) >= least}


@part(
    "source",
    "own-or-gold",
    gives=frozenset({"demonstration"}),
    asks=writers("reference"),
    samples=at_most(lambda paraphrase, **other: 2 if paraphrase else 1),
)
def own_or_gold(
    context: SourceContext, *, writer: str = "reference", threshold: float = 1.0, paraphrase: str = TEMPLATE
) -> Batch:
    """The model's own answer if it is correct, else its paraphrase of the demonstration, else the demonstration.

        y = ŷ if r(ŷ) ≥ threshold;   else ỹ if r(ỹ) ≥ threshold;   else y*
        ŷ ~ π_writer(· | x),   ỹ ~ π_writer(· | template(x, y*))

    So the targets are as close to the model's own distribution as the task allows. `paraphrase` is the template, with
    {prompt} and {completion}; "" leaves that step out.

    Reads    prompts and `completion`; the reward functions.
    Limits   a writer that is never correct: `demonstrations`; one that always is: self-imitation.
    Fails    a reward that accepts wrong answers. `rewards/…/mean` is how often the model's own answer was correct.
    Source   Gupta et al. 2025 (arXiv 2502.08130), section 3.
    """
    if paraphrase and "{completion}" not in paraphrase:
        raise ValueError(f"the template {paraphrase!r} has no place for the answer: write {{completion}} into it")
    golden = demonstrated(context, "own-or-gold")
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    own = right(list(range(len(prompts))), *context.rewarded(prompts, 1, writer), threshold)
    left = [i for i in range(len(prompts)) if i not in own and paraphrase]
    if left:
        asking = [context.tokens.prompt(retold(paraphrase, context.examples[i])) for i in left]
        found = context.by(writer)(asking, 1, derive(context.seed, "paraphrase") % 2**31)
        own |= right(left, found, context.score([context.examples[i] for i in left], found), threshold)
    rows: list[Row] = []
    for group, (example, gold) in enumerate(zip(context.examples, golden, strict=True)):
        if group in own:
            rows.append(sample_row(prompts[group], own[group], example, group))
        elif gold is not None:
            rows.append(rendered_row(gold, example, group))
    return pack(rows)
