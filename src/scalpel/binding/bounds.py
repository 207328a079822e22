"""Types of numbers and texts in a recipe, with bounds: a value outside of them is certainly a mistake."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from scalpel.binding.patterns import compiled


def compiles(expression: str) -> str:
    compiled(expression)
    return expression


Name = Annotated[str, Field(min_length=1, max_length=100)]
PartName = Annotated[str, Field(min_length=1, max_length=4096)]  # of what is registered, or path.py:name
Pattern = Annotated[str, AfterValidator(compiles)]
Seed = Annotated[int, Field(ge=-(2**53), le=2**53)]  # exact in every reader of JSON, and room for sums of seeds
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # samples, items of a probe, prompts of a step
Few = Annotated[int, Field(ge=1, le=10_000)]  # of what is made anew each time
Items = Annotated[int, Field(ge=1, le=100_000_000)]  # rows of data
Steps = Annotated[int, Field(ge=1, le=100_000_000)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]  # of a sequence
Rank = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
LearningRate = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]  # what 32 bits hold
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Temperature = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Unbounded = Annotated[float, Field(allow_inf_nan=True)]  # an infinite one is meant: no limit
