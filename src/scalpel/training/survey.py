"""Surveys the lengths of a stage's rows before its first step: how many are truncated or dropped, and whether any token
is left to train on.

Each source is run over all rows with a `fit` that counts. A source that samples can't be run beforehand, so only the
lengths of its prompts are checked. Nothing but the tokenizer's cache is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scalpel.data.example import Example, named
from scalpel.sources.context import SourceContext
from scalpel.training.lengths import Lengths, Some
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun

log = logging.getLogger("scalpel")
MOST = 50_000  # rows that are surveyed; of more, the first ones
CHUNK = 64  # rows that are given to a source at once


class NeedsSampling(Exception):
    """Raised when a source samples: its sequences don't exist before the run."""


class Writes(NeedsSampling):
    """Raised when a source asks for self-generated texts of the base: it doesn't use the data at all."""


def survey_lengths(run: TrainingRun, stage: StageRun) -> None:
    """Surveys each stream. Raises ValueError for a row that is too long under the policy "error", and if no token would
    be trained."""
    rollout = run.rollout
    with rollout.preserving_state():
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
    """Runs the source over the rows, at least a batch at a time: sources may rely on the size of a batch."""
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
    """Checks the prompts of a source that samples: the context must have space for an answer after each."""
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
