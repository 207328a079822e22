"""Keep sets: what must not be lost, ability by ability. Each kind is a file here that registers a function as a
`keep set`. docs/methods.md lists the kinds with their keys; the table is generated.
"""

from scalpel.keep.sets.ability import Ability
from scalpel.keep.sets.answers import Answers
from scalpel.keep.sets.choose import Pairs
from scalpel.keep.sets.make import make_sets, refuse_sets
from scalpel.keep.sets.solved import Solved
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = ["Ability", "Answers", "Pairs", "Solved", "make_sets", "refuse_sets"]
