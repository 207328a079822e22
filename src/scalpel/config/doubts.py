"""Warnings for settings that are valid but probably unintended, logged before the first step of a stage."""

from __future__ import annotations

from collections.abc import Iterator

from scalpel.config.plan import Plan


def doubts(plan: Plan) -> Iterator[str]:
    """Warnings for a stage whose samples can't give a gradient."""
    if plan.spec.sampling.temperature == 0 and any(stream.compares == "group" for stream in plan.streams):
        yield (
            "at temperature 0 all samples of a prompt are identical, so their advantages are zero and there is no "
            "gradient: raise sampling.temperature"
        )
