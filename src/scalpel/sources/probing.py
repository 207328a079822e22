"""How likely an answer is to end well, measured along the way; shared by the sources that probe."""

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
    """A point of an answer at which the policy is made to stop and say its answer."""

    prompt: int  # its place among the step's examples
    ids: tuple[int, ...]  # what was thought until then


@dataclass(frozen=True)
class Answer:
    """A sample behind what it was begun with; `at` says how many of its tokens there are at the end of each episode
    but the last one."""

    prompt: int
    start: tuple[int, ...]
    sample: Trajectory
    at: list[int]

    @property
    def whole(self) -> Trajectory:
        return continued(self.start, self.sample)

    @property
    def points(self) -> list[ProbedPoint]:
        """Where it is probed: before its first token, and at the end of each episode but the last one."""
        return [ProbedPoint(self.prompt, (*self.start, *self.sample.ids[:n])) for n in [0, *self.at]]

    def row(
        self, shown: Sequence[int], example: Example, rewards: Sequence[float], J: Mapping[ProbedPoint, float]
    ) -> Row:
        """Behind what was shown, with its episodes as turns and the progress of each at its last token."""
        row, before, n = sample_row(shown, self.sample, example, self.prompt, rewards), len(shown), len(self.sample.ids)
        worth = [*(J[point] for point in self.points), total(rewards)]
        inside = [0.0] * n
        for end, earlier, later in zip([*self.at, n], worth, worth[1:], strict=False):
            step = later - earlier
            inside[end - 1] = step if step == step else 0.0  # what nothing rewards makes no progress
        turn = [sum(t >= end for end in self.at) for t in range(n)]
        return replace(row, turn=[0] * before + turn, inside=[0.0] * before + inside)


def ends(tokens: Tokens, ids: Sequence[int], cut: str, most: int) -> list[int]:
    """How many tokens there are at the end of each episode but the last one; of many, `most` − 1 spread evenly."""
    found = cuts(tokens, ids, cut, "cut")
    if len(found) < most:
        return found
    return [found[round(k * len(found) / most) - 1] for k in range(1, most)]


def chances(
    context: SourceContext, probes: Sequence[ProbedPoint], force: str, provers: int, room: int
) -> dict[ProbedPoint, float]:
    """J of each probe: the mean reward of `provers` answers that go on from there behind the words `force`."""
    asked = list(dict.fromkeys(probes))
    if not asked:
        return {}
    prompts = [context.tokens.prompt(example.prompt) for example in context.examples]
    stop = context.tokens.completion(force, "")[:-1]
    forced = [[*prompts[p.prompt], *p.ids, *stop] for p in asked]
    limits = [min(room, context.max_tokens)] * len(forced)
    answers = context.sample(forced, provers, derive(context.seed, "prover") % 2**31, limits)
    whole = [[continued([*p.ids, *stop], answer) for answer in said] for p, said in zip(asked, answers, strict=True)]
    rewards = context.score([context.examples[p.prompt] for p in asked], whole)
    worth = [[r for rewards_of in found if (r := total(rewards_of)) == r] for found in rewards]
    return {p: sum(known) / len(known) if known else nan for p, known in zip(asked, worth, strict=True)}
