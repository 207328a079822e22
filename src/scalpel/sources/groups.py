"""On-policy samples in groups, one group for each prompt."""

from dataclasses import replace
from math import nan

from scalpel.batch import Batch, Row, pack
from scalpel.binding.bounds import Few
from scalpel.data.example import Example
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import Judged, at_most, judged, trajectory_rows

Group = tuple[Example, list[int], Judged]  # an example, its prompt's ids, samples with their rewards


def sampled(context: SourceContext, size: int) -> list[Group]:
    return list(zip(context.examples, *judged(context, size), strict=True))


def informative(group: Group) -> bool:
    """Whether its rewards differ, so that it has an advantage; samples that no reward applies to (NaN) don't count."""
    return len({r for _, rewards in group[2] if (r := total(rewards)) == r}) > 1


def filled(context: SourceContext, found: list[Group], size: int, rounds: int) -> list[Group]:
    """As many informative groups as the step has prompts, with other prompts sampled in place of uninformative groups.
    Fewer if the prompts or rounds run out; all groups found at first if none is informative."""
    kept, wanted = [group for group in found if informative(group)], len(context.examples)
    for k in range(rounds):
        examples = context.more(k * wanted, wanted) if len(kept) < wanted else ()
        if not examples:
            break
        again = replace(context, examples=examples, seed=derive(context.seed, "round", k) % 2**31)
        kept += [group for group in sampled(again, size) if informative(group)]
    # Without any informative group the step keeps the first ones, rather than an empty batch: their advantages are 0,
    # but the metrics of the step still show the rewards.
    return kept[:wanted] or found


def overlong_penalty(sample: Trajectory, most: int, share: float) -> float:
    """DAPO's soft overlong punishment: 0 up to (1 − share)·most tokens of a turn, then linearly to −1 at `most`."""
    longest = max(len(segment.ids) for segment in sample.policy)
    return -min(max((longest - (1 - share) * most) / (share * most), 0.0), 1.0)


def rows_of(context: SourceContext, group: Group, number: int, k: int, overlong: float, train_cut: bool) -> list[Row]:
    example, _, samples = group
    sample, rewards = samples[k]
    late = overlong_penalty(sample, context.max_tokens, overlong) if overlong else 0.0
    # A sample that no reward applies to gets no penalty either, so that it still leaves the batch.
    earned = [*rewards, late if total(rewards) == total(rewards) else nan] if overlong else rewards
    rows = trajectory_rows(sample, example, number, earned)
    return rows if train_cut or sample.finished else [replace(row, train=[False] * len(row.ids)) for row in rows]


@part(
    "source",
    "groups",
    gives=frozenset({"reward", "behaviour"}),
    plays=True,
    samples=at_most(lambda size, rounds, **other: size * (1 + rounds)),
)
def groups(
    context: SourceContext, *, size: Few = 8, rounds: int = 0, overlong: float = 0.0, train_cut: bool = True
) -> Batch:
    """Samples `size` completions of the policy for each prompt, with their rewards.

    `rounds` > 0 is dynamic sampling: groups whose rewards are all equal are dropped, and other prompts are sampled, at
    most so many times, until there are as many groups as the step has prompts. `overlong` > 0 adds a reward that falls
    from 0 to −1 over that last share of the length limit. Without `train_cut`, samples that were cut off at the limit
    are not trained (overlong filtering).

    Reads    prompts; the reward functions.
    Limits   size 1 is policy gradient on single samples: credits with a group baseline refuse it.
    Fails    all rewards of a group equal: no advantage; `reward/equal_groups` is the share of such groups. With
             `rounds` the mean reward is over the kept groups only, and up to 1 + `rounds` times as many completions
             are sampled.
    Source   Shao et al. 2024 (arXiv 2402.03300), section 4.1; the other three from Yu et al. 2025 (arXiv 2503.14476),
             eq. 11 and eq. 13, and its overlong filtering.
    """
    if not 0 <= overlong <= 1 or rounds < 0 or size < 1:
        raise ValueError(
            f"source 'groups' has size {size}, rounds {rounds}, overlong {overlong}: set size to 1 or more, rounds to "
            "0 or more, and overlong to a share of the length limit in 0 … 1"
        )
    if rounds and size < 2:
        raise ValueError(
            f"source 'groups' has rounds {rounds} and size 1: rewards of one sample never differ, so every group would "
            "be dropped; set size to 2 or more, or rounds to 0"
        )
    found = sampled(context, size)
    if rounds:
        found = filled(context, found, size, rounds)
        # without informative groups only the length penalty would be trained
        overlong = overlong if any(map(informative, found)) else 0.0
    places = [(group, number, k) for number, group in enumerate(found) for k in range(size)]
    return pack([row for place in places for row in rows_of(context, *place, overlong, train_cut)])
