"""The steps of an answer, and what becomes of it when the policy goes on from one of them."""

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
Start = tuple[int, Sequence[int]]  # an example's place, and the tokens of an answer to it so far


def cuts(tokens: Tokens, ids: Sequence[int], boundary: str, key: str = "boundary") -> list[int]:
    """How many tokens have been said after each step but the last: where the expression matches, or after every token
    if it is empty. A text on which the expression takes too long is a single step."""
    end = next((n for n, token in enumerate(ids) if token in tokens.stop_ids), len(ids))
    if not boundary:
        return list(range(1, end))
    length = lambda n: len(tokens.text(ids[:n]).rstrip("\ufffd"))  # noqa: E731  # but for half a character
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
    """At most so many of them, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * k + 1) * len(items) // (2 * most)] for k in range(most)]


def gone_on(context: SourceContext, starts: Sequence[Start], n: int, what: str, trial: bool = False) -> list[Judged]:
    """n continuations by the policy from each start, as whole answers with their rewards. Start and continuation
    together keep to the budget of tokens. On a trial nothing is noted of them."""
    if not starts or not n:
        return [[] for _ in starts]
    longer = [[*context.tokens.prompt(context.examples[g].prompt), *ids] for g, ids in starts]
    limits = [context.max_tokens - len(ids) for _, ids in starts]
    ends = context.sample(longer, n, derive(context.seed, what) % 2**31, limits)
    whole = [[continued(ids, end) for end in group] for (_, ids), group in zip(starts, ends, strict=True)]
    judge = context.score if trial else context.reward
    rewards = judge([context.examples[g] for g, _ in starts], whole)
    return paired(whole, rewards)


def success(found: Judged, threshold: float) -> tuple[Trajectory, list[float]] | None:
    """The first that ended by itself and earned enough."""
    return next(((s, r) for s, r in found if s.finished and total(r) >= threshold), None)
