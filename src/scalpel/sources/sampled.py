"""Rows made of what a policy produced; shared by the sources that sample."""

from collections.abc import Callable, Sequence
from math import inf

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, NEITHER, Row
from scalpel.data.example import Example, named
from scalpel.data.tokenized import Tokenized
from scalpel.data.trajectory import SPOKEN, Sequenced, Trajectory
from scalpel.sources.context import SourceContext

Judged = list[tuple[Trajectory, list[float]]]  # the samples of one prompt with their rewards


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
    return lambda context, **hyper: len(context.examples) * completions(**hyper) * context.max_tokens * context.turns


def paired(samples: Sequence[Sequence[Trajectory]], rewards: Sequence[Sequence[list[float]]]) -> list[Judged]:
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


def trajectory_rows(
    trajectory: Trajectory, example: Example, group: int, rewards: Sequence[float] | None = None, label: int = NEITHER
) -> list[Row]:
    """The sequences of a trajectory, each behind the prompt that its turns were sampled behind; all of them have the
    trajectory's rewards. Nearly always that is one."""
    sequences = trajectory.sequences()
    return [sequence_row(s.prompt_ids, s, example, group, rewards, label) for s in sequences]


def sample_row(
    prompt: Sequence[int],
    sample: Trajectory,
    example: Example,
    group: int,
    rewards: Sequence[float] | None = None,
    label: int = NEITHER,
) -> Row:
    """A completion behind a prompt, which may be another one than it was sampled behind."""
    (sequence,) = sample.sequences()
    return sequence_row(prompt, sequence, example, group, rewards, label)


def sequence_row(
    prompt: Sequence[int],
    sequence: Sequenced,
    example: Example,
    group: int,
    rewards: Sequence[float] | None = None,
    label: int = NEITHER,
) -> Row:
    """What stands in the assistant's turns is trained; what the environment or the chat template wrote is not."""
    before, authors = len(prompt), sequence.authors
    return Row(
        [*prompt, *sequence.ids],
        [False] * before + [author in SPOKEN for author in authors],
        [ENVIRONMENT] * before + authors,
        [sequence.turn] * before + sequence.turns,
        group,
        label,
        rewards,
        behaviour=[0.0] * before + sequence.behaviour,
        columns=example.columns,
    )


def rendered_row(rendered: Tokenized, example: Example, group: int, label: int = NEITHER) -> Row:
    """A row as it was rendered from data."""
    author = [DEMONSTRATION if trained else ENVIRONMENT for trained in rendered.train]
    return Row(rendered.ids, rendered.train, author, rendered.turn, group, label, columns=example.columns)
