"""Rows from sampled completions and episodes, for the sources that sample."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from scalpel.batch import DEMONSTRATION, ENVIRONMENT, NEITHER, Row
from scalpel.data.example import Example, named
from scalpel.data.tokenized import Tokenized
from scalpel.data.trajectory import SPOKEN, Sequenced, Trajectory
from scalpel.sources.context import SourceContext

Judged = list[tuple[Trajectory, list[float]]]  # the samples of one prompt with their rewards


def within(source: str, least: float, most: float = inf, **numbers: float) -> None:
    """Raises ValueError for the first of a source's hyper-parameters that is out of this range."""
    for name, number in numbers.items():
        if not least <= number <= most:
            wanted = f"{least} or more" if most == inf else f"{least} to {most}"
            raise ValueError(f"{name} of source {source!r} is {number}: set {wanted}")


def writers(default: str = "policy") -> Callable[..., set[str]]:
    """The `asks` of a source whose key `writer` names the role that samples."""
    return lambda writer=default, **other: {writer}


def at_most(completions: Callable[..., int]) -> Callable[..., int]:
    """The `samples` of a source: the most tokens that it samples in a step, given the completions a prompt as a
    function of its hyper-parameters."""
    return lambda context, **hyper: len(context.examples) * completions(**hyper) * context.max_tokens * context.turns


def paired(samples: Sequence[Sequence[Trajectory]], rewards: Sequence[Sequence[list[float]]]) -> list[Judged]:
    return [list(zip(*pair, strict=True)) for pair in zip(samples, rewards, strict=True)]


def judged(context: SourceContext, size: int, writer: str = "policy") -> tuple[list[list[int]], list[Judged]]:
    """The prompts' ids, and `size` samples of each with their rewards."""
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    return prompts, paired(*context.rewarded(prompts, size, writer))


def demonstrated(context: SourceContext, source: str) -> list[Tokenized | None]:
    """The examples' demonstrations, truncated to the maximum length; None for one that was dropped for its length."""
    for i, example in enumerate(context.examples):
        if example.completion is None:
            raise ValueError(
                f"source {source!r} needs demonstrations, but {named(example, i)} has no completion: add a "
                "column 'completion', or take source 'accepted-samples', which needs none"
            )
    return [fitted(context, example, context.tokens.demonstration(example)) for example in context.examples]


def fitted(context: SourceContext, example: Example, row: Tokenized) -> Tokenized | None:
    """The sequence truncated to the maximum length, or None if it was dropped."""
    return context.fit(row, example)


def trajectory_rows(
    trajectory: Trajectory, example: Example, group: int, rewards: Sequence[float] | None = None, label: int = NEITHER
) -> list[Row]:
    """The sequences of a trajectory, each after the prompt with which its turns were sampled; all of them have the
    trajectory's rewards, and are one episode. It is one sequence if the chat template has the prefix property."""
    rows = [sequence_row(s.prompt_ids, s, example, group, rewards, label) for s in trajectory.sequences()]
    return [replace(row, continues=k > 0) for k, row in enumerate(rows)]


def sample_row(
    prompt: Sequence[int],
    sample: Trajectory,
    example: Example,
    group: int,
    rewards: Sequence[float] | None = None,
    label: int = NEITHER,
) -> Row:
    """The row of a completion after a prompt, which may differ from the prompt that it was sampled with."""
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
    """The row of a sequence: tokens of assistant turns are trained, those of the environment or the chat template are
    not."""
    before, authors, temperatures = len(prompt), sequence.authors, sequence.temperatures
    return Row(
        [*prompt, *sequence.ids],
        [False] * before + [author in SPOKEN for author in authors],
        [ENVIRONMENT] * before + authors,
        [sequence.turn] * before + sequence.turns,
        group,
        label,
        rewards,
        behaviour=[0.0] * before + sequence.behaviour,
        temperature=None if temperatures is None else [1.0] * before + temperatures,
        columns=example.columns,
    )


def rendered_row(rendered: Tokenized, example: Example, group: int, label: int = NEITHER) -> Row:
    """The row of a tokenised example from the data."""
    author = [DEMONSTRATION if trained else ENVIRONMENT for trained in rendered.train]
    return Row(rendered.ids, rendered.train, author, rendered.turn, group, label, columns=example.columns)
