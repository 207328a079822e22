"""How long the rows of a stage are, before its first step: which are shortened or dropped, and whether anything is left
to train on.

Each source is run over all rows with a `fit` that counts; a source that samples can't be, and there the prompts alone
are looked at. Nothing of the run is changed but what the tokens remember.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from scalpel.data.example import Example, named
from scalpel.data.tokenized import Policy, Tokenized, truncate
from scalpel.sources.context import SourceContext

if TYPE_CHECKING:
    from scalpel.training.run import TrainingRun
    from scalpel.training.stage import StageRun

log = logging.getLogger("scalpel")
MOST = 50_000  # rows that are looked at beforehand; of more, the first ones
CHUNK = 64  # rows at once
Fit = Callable[..., Tokenized | None]


class NeedsSampling(Exception):
    """Raised where a source wants to sample: its sequences aren't there before the run."""


class Writes(NeedsSampling):
    """Raised where it wants texts that the base wrote: it doesn't look at the data at all."""


@dataclass(frozen=True)
class Limit:
    """How long a sequence may be, by which word of the recipe, and what is done with a longer one."""

    room: int
    name: str  # "max_length is 512"
    policy: Policy

    def cut(self, rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
        """The row within the limit, or None if it is dropped. ValueError that names it where no row may be longer."""
        if self.policy == "error" and len(rendered) > self.room:
            raise ValueError(
                f"{named(example) if example else 'a sequence'} has {len(rendered):,} tokens, and {self.name}: raise "
                "max_length (up to the model's context), shorten or remove the row, or set truncation to 'drop', "
                "'keep_start' or 'keep_end'"
            )
        return truncate(rendered, self.room, self.policy)


@dataclass
class Some:
    """A number of rows, and where the first of them stands."""

    count: int = 0
    first: str = ""

    def note(self, where: str) -> None:
        self.count, self.first = self.count + 1, self.first or where


@dataclass
class Lengths:
    """What the rows of one stream come to under the stage's limit."""

    limit: Limit
    rows: int = 0  # sequences looked at
    of: int = 0  # examples that the stream has
    seen: int = 0  # examples looked at
    trained: int = 0  # tokens
    longest: int = 0
    shortened: Some = field(default_factory=Some)
    dropped: Some = field(default_factory=Some)  # too long, or cut so that nothing to train was left
    silent: Some = field(default_factory=Some)  # nothing to train in the row as it was given
    _known: set[int] = field(default_factory=set)

    def fit(self, rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
        """Cuts a row as the run will, and counts it."""
        found = self.limit.cut(rendered, example)
        where = named(example) if example else f"sequence {self.rows + 1}"
        self.rows, self.longest = self.rows + 1, max(self.longest, len(rendered))
        self.trained += found.trained if found else 0
        if not rendered.trained:
            self.silent.note(where)
        elif found is None:
            self.dropped.note(where)
        elif len(found) < len(rendered):
            self.shortened.note(where)
        return found

    @property
    def words(self) -> str:
        """What is lost; empty if nothing is."""
        ends = {"keep_start": "only their beginning is kept", "keep_end": "prompts lose their beginning"}
        parts = []
        if self.shortened.count:
            how, some = ends[self.limit.policy], self.shortened
            parts.append(f"{some.count:,} of {self.rows:,} sequences are shortened, and {how} (first {some.first})")
        if self.dropped.count:
            why = "for their length" if self.limit.policy == "drop" else "since nothing to train is left of them"
            parts.append(f"{self.dropped.count:,} of {self.rows:,} are dropped {why} (first {self.dropped.first})")
        if parts:
            parts[0] = f"{self.limit.name}, truncation is {self.limit.policy!r}: {parts[0]}"
        if self.silent.count:
            parts.append(f"{self.silent.count:,} have nothing to train (first {self.silent.first})")
        if self.seen < self.of:
            parts.append(f"the first {self.seen:,} of {self.of:,} rows were looked at, the others are as they come")
        return "; ".join(parts)

    def refuse_nothing(self) -> None:
        """Raises ValueError where no token of any row would be trained."""
        if self.trained or not self.rows:
            return
        if self.dropped.count:
            why = (
                f"{self.limit.name} and truncation {self.limit.policy!r}, which leaves none of {self.dropped.count:,} "
                f"rows anything to train (first {self.dropped.first}; the longest has {self.longest:,} tokens): raise "
                "max_length"
            )
        else:
            why = (
                f"no token of {self.rows:,} rows is marked as trained (first {self.silent.first}): give each a "
                "completion or an assistant turn"
            )
        raise ValueError(f"there is nothing to train on: {why}")

    def state(self) -> dict[str, Any]:
        counted = {name: vars(getattr(self, name)) for name in ("shortened", "dropped", "silent")}
        return {"limit": self.limit.name, "truncation": self.limit.policy, "sequences": self.rows,
                "tokens_trained": self.trained, "longest": self.longest, **counted}  # fmt: skip


def survey_lengths(run: TrainingRun, stage: StageRun) -> None:
    """The lengths of each stream's rows. ValueError where a row may not be that long, or nothing would be trained."""
    rollout = run.rollout
    with rollout.aside():
        for stream in stage.streams:
            examples, lengths = stream.examples, Lengths(rollout.limit(stage.spec), of=len(stream.examples))
            context = rollout.context(stage, [], never, 0, 0.0)
            try:
                over(stream.plan.source, context, examples, stream.plan.batch, lengths)
            except Writes:
                continue
            except NeedsSampling:
                prompts(context, examples, lengths, rollout.context_length())
            lengths.refuse_nothing()
            if lengths.words:
                log.warning("%s: %s", stage.name, lengths.words)
            stream.lengths = lengths


def over(source: Any, context: SourceContext, examples: Sequence[Example], batch: int, lengths: Lengths) -> None:
    """Runs the source over the rows, as many at once as a step takes or more."""
    size = max(batch, CHUNK - CHUNK % batch)
    few = examples[:MOST]
    for start in range(0, len(few), size):
        rows = list(few[start : start + size])
        more = rows if len(rows) >= batch else [*rows, *(few[i % len(few)] for i in range(batch - len(rows)))]
        handed = replace(
            context, examples=more, sample=never, reward=never, on_trial=never, written=unwritten, fit=lengths.fit
        )
        source(handed, progress=0.0)
        lengths.seen = start + len(rows)


def never(*asked: Any, **also: Any) -> Any:
    raise NeedsSampling


def unwritten(*asked: Any, **also: Any) -> Any:
    raise Writes


def prompts(context: SourceContext, examples: Sequence[Example], lengths: Lengths, most: int) -> None:
    """What samples needs room behind its prompts."""
    lengths.seen = min(len(examples), MOST)
    for example in examples[:MOST]:
        if example.messages is not None:
            continue
        size = len(context.tokens.prompt(example.prompt))
        if size >= most:
            raise ValueError(
                f"{named(example)} has a prompt of {size:,} tokens, and the model's context is {most:,}: no room is "
                "left for an answer; shorten or remove the row, or take a model with a longer context"
            )
        if size + context.max_tokens > most:
            lengths.shortened.note(named(example))
    if short := lengths.shortened:
        if short.count:
            log.warning(
                "the answers to %d of %d prompts are cut off before sampling.max_tokens, since the model's context is "
                "%d tokens (first %s)", short.count, len(examples), most, short.first,
            )  # fmt: skip
        lengths.shortened = Some()
