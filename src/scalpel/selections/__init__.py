"""Which prompts a signal learns from: `f(draw, *, …) → [bool]`, one for each example, once when a stage begins."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
