"""Rows made of the policy's own samples; shared by the sources that sample."""

from collections.abc import Callable, Sequence
from math import inf

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, NEITHER, POLICY, Row
from scalpel.data.example import Example, named
from scalpel.data.tokenized import Tokenized
from scalpel.engine.sampling_request import Sample
from scalpel.sources.context import SourceContext

Judged = list[tuple[Sample, list[float]]]  # the samples of one prompt with their rewards


def within(source: str, least: float, most: float = inf, **numbers: float) -> None:
    """Raises ValueError for the first of a source's numbers that is out of this range."""
    for name, number in numbers.items():
        if not least <= number <= most:
            wanted = f"{least} or more" if most == inf else f"{least} to {most}"
            raise ValueError(f"{name} of source {source!r} is {number}: set {wanted}")


def writers(default: str = "policy") -> Callable[..., set[str]]:
    """What a source asks whose key `writer` names the one that samples."""
    return lambda writer=default, **other: {writer}


def at_most(completions: Callable[..., int]) -> Callable[..., int]:
    """How many tokens a source samples a step at most, by how many completions a prompt its keys come to."""
    return lambda context, **hyper: len(context.examples) * completions(**hyper) * context.max_tokens


def paired(samples: Sequence[Sequence[Sample]], rewards: Sequence[Sequence[list[float]]]) -> list[Judged]:
    return [list(zip(*pair, strict=True)) for pair in zip(samples, rewards, strict=True)]


def judged(context: SourceContext, size: int, writer: str = "policy") -> tuple[list[list[int]], list[Judged]]:
    """The prompts' ids, and `size` samples of each with their rewards."""
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    return prompts, paired(*context.rewarded(prompts, size, writer))


def demonstrated(context: SourceContext, source: str) -> list[Tokenized | None]:
    """The examples' demonstrations, fitted; None where one was dropped for its length."""
    for i, example in enumerate(context.examples):
        if example.completion is None:
            raise ValueError(
                f"source {source!r} needs demonstrations, but {named(example, i)} has no completion: add a "
                "column 'completion', or take source 'accepted-samples', which needs none"
            )
    return [fitted(context, example, context.tokens.demonstration(example)) for example in context.examples]


def fitted(context: SourceContext, example: Example, row: Tokenized) -> Tokenized | None:
    """The sequence at its greatest length, or None where it was dropped; what is refused says where its row stands."""
    return context.fit(row, example)


def sample_row(
    prompt: Sequence[int],
    sample: Sample,
    example: Example,
    group: int,
    rewards: Sequence[float] | None = None,
    label: int = NEITHER,
    shown: int = 0,
) -> Row:
    """Prompt and completion, the completion trained; its first `shown` tokens were given as a demonstration."""
    before, own = len(prompt), len(sample.ids) - shown
    return Row(
        [*prompt, *sample.ids],
        [False] * before + [True] * len(sample.ids),
        [ENVIRONMENT] * before + [DEMONSTRATION] * shown + [POLICY] * own,
        group=group,
        label=label,
        rewards=rewards,
        behaviour=[0.0] * before + list(sample.logp),
        columns=example.columns,
    )


def rendered_row(rendered: Tokenized, example: Example, group: int, label: int = NEITHER) -> Row:
    """A row as it was rendered from data."""
    author = [DEMONSTRATION if trained else ENVIRONMENT for trained in rendered.train]
    return Row(rendered.ids, rendered.train, author, rendered.turn, group, label, columns=example.columns)
