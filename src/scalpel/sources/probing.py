"""Estimates of the probability of success along an answer, for the sources that probe it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

from scalpel.batch import Row
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Trajectory, continued
from scalpel.rewards.scored import total
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import sample_row
from scalpel.sources.steps import cuts


@dataclass(frozen=True)
class ProbedPoint:
    """A point of an answer at which the policy is forced to stop reasoning and to give its final answer."""

    prompt: int  # the position of its example in the step
    ids: tuple[int, ...]  # the tokens of the answer before it


@dataclass(frozen=True)
class Answer:
    """A sample and the given beginning `start` that it continues; `at` are the numbers of its tokens at the end of each
    episode except the last one."""

    prompt: int
    start: tuple[int, ...]
    sample: Trajectory
    at: list[int]

    @property
    def whole(self) -> Trajectory:
        return continued(self.start, self.sample)

    @property
    def points(self) -> list[ProbedPoint]:
        """The points at which it is probed: before its first token, and at the end of each episode except the last."""
        return [ProbedPoint(self.prompt, (*self.start, *self.sample.ids[:n])) for n in [0, *self.at]]

    def row(
        self, shown: Sequence[int], example: Example, rewards: Sequence[float], J: Mapping[ProbedPoint, float]
    ) -> Row:
        """The row of the answer, with episodes as turns and the progress of each episode as a reward of its last
        token."""
        row, before, n = sample_row(shown, self.sample, example, self.prompt, rewards), len(shown), len(self.sample.ids)
        worth = [*(J[point] for point in self.points), total(rewards)]
        inside = [0.0] * n
        for end, earlier, later in zip([*self.at, n], worth, worth[1:], strict=False):
            step = later - earlier
            inside[end - 1] = step if step == step else 0.0  # NaN, since no reward applied: no progress
        turn = [sum(t >= end for end in self.at) for t in range(n)]
        return replace(row, turn=[0] * before + turn, inside=[0.0] * before + inside)


def ends(tokens: Tokens, ids: Sequence[int], cut: str, most: int) -> list[int]:
    """The numbers of tokens at the end of each episode except the last; at most `most` − 1 of them, evenly spaced."""
    found = cuts(tokens, ids, cut, "cut")
    if len(found) < most:
        return found
    return [found[round(k * len(found) / most) - 1] for k in range(1, most)]


def chances(
    context: SourceContext, probes: Sequence[ProbedPoint], force: str, provers: int, room: int
) -> dict[ProbedPoint, float]:
    """J of each point: the mean reward of `provers` answers that continue it after the text `force`. Equal points of
    several samples, such as the beginning of a prompt, are probed once."""
    points = list(dict.fromkeys(probes))
    if not points:
        return {}
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    stop = context.tokens.completion(force, "")[:-1]  # without the stop token, since the answer follows
    forced = [[*prompts[p.prompt], *p.ids, *stop] for p in points]
    limits = [min(room, context.max_tokens)] * len(forced)
    answers = context.sample(forced, provers, derive(context.seed, "prover") % 2**31, limits)
    whole = [[continued([*p.ids, *stop], one) for one in group] for p, group in zip(points, answers, strict=True)]
    rewards = context.score([context.examples[p.prompt] for p in points], whole)
    worth = [[r for rewards_of in found if (r := total(rewards_of)) == r] for found in rewards]
    return {p: sum(known) / len(known) if known else nan for p, known in zip(points, worth, strict=True)}
