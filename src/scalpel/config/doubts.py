"""Warnings for settings that are valid but probably unintended, logged before the first step of a stage."""

from __future__ import annotations

from collections.abc import Iterator

from scalpel.config.plan import Plan


def doubts(plan: Plan) -> Iterator[str]:
    """Settings under which nothing can be learnt from what is sampled."""
    if plan.spec.sampling.temperature == 0 and any(stream.compares == "group" for stream in plan.streams):
        yield (
            "at temperature 0 all samples of a prompt are the same, so their rewards never differ and nothing can be "
            "learnt from them: raise sampling.temperature"
        )
