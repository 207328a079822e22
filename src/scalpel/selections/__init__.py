"""Selections: which prompts a signal trains on. `f(context, *, …) → [bool]`, one for each example, called once at the
beginning of a stage."""

from scalpel.registry import gather_parts

gather_parts(__name__, __path__)
