"""The steps of an answer, and continuations that the policy samples from them."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

from regex import Match

from scalpel.binding.bounds import Pattern
from scalpel.binding.patterns import every
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import Trajectory, continued
from scalpel.rewards.scored import total
from scalpel.seeding import derive
from scalpel.sources.context import SourceContext
from scalpel.sources.sampled import Judged, paired

Boundary = Pattern  # where a step ends
T = TypeVar("T")
Start = tuple[int, Sequence[int]]  # an example's position, and the first tokens of an answer to it


def cuts(tokens: Tokens, ids: Sequence[int], boundary: str, key: str = "boundary") -> list[int]:
    """The numbers of tokens at the end of each step except the last: where the expression matches, or after every token
    if it is empty. A text on which the expression takes too long is a single step."""
    end = next((n for n, token in enumerate(ids) if token in tokens.stop_ids), len(ids))
    if not boundary:
        return list(range(1, end))
    # A token may end inside a multi-byte character, which decodes to U+FFFD; it counts once the character is complete.
    length = lambda n: len(tokens.text(ids[:n]).rstrip("\ufffd"))  # noqa: E731
    places = [match.end() for match in matches(boundary, tokens.text(ids), key) or ()]
    found = {bisect_left(range(end + 1), place, key=length) for place in places}
    return sorted(n for n in found if 0 < n < end)


def matches(boundary: str, text: str, key: str) -> list[Match[str]] | None:
    try:
        return every(boundary, text)
    except ValueError as error:
        raise ValueError(
            f"{key}: {error}; give one that matches where a step ends, such as '\\n', or an empty text for a step a "
            "token"
        ) from None


def spaced(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * k + 1) * len(items) // (2 * most)] for k in range(most)]


def gone_on(context: SourceContext, starts: Sequence[Start], n: int, what: str, trial: bool = False) -> list[Judged]:
    """n continuations of each start by the policy, as whole answers with their rewards. Start and continuation together
    stay within the token budget. With `trial` their rewards are not logged."""
    if not starts or not n:
        return [[] for _ in starts]
    longer = [[*context.tokens.prompt(context.examples[g].prompt), *ids] for g, ids in starts]
    limits = [context.max_tokens - len(ids) for _, ids in starts]
    ends = context.sample(longer, n, derive(context.seed, what) % 2**31, limits)
    whole = [[continued(ids, end) for end in group] for (_, ids), group in zip(starts, ends, strict=True)]
    # Rewards that shape others depend on all samples of a step, and keep state: trials must not reach them.
    judge = context.score if trial else context.reward
    rewards = judge([context.examples[g] for g, _ in starts], whole)
    return paired(whole, rewards)


def success(found: Judged, threshold: float) -> tuple[Trajectory, list[float]] | None:
    """The first answer that was not cut off and whose reward reaches the threshold."""
    return next(((s, r) for s, r in found if s.finished and total(r) >= threshold), None)
