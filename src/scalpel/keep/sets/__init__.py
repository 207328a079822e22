"""Keep sets: what must not be lost, ability by ability, scored without a word generated but for the last kind. Each is
a file here that registers a function as a `keep set`.

answers   an item is kept while every token of its answer is the model's first choice
tokens    the same, token by token, for long texts, of which no model would get every one; only tokens of which the
          base is `sure`: among several that are as likely the first choice changes with any step, and nothing is lost
choose    a minimal pair or a multiple choice is kept while the right choice is the likeliest
solved    an item is kept while what the model writes for it, greedily, is right by the task's own measure: where there
          are several ways to be right
"""

from scalpel.keep.sets.ability import Ability
from scalpel.keep.sets.answers import Answers
from scalpel.keep.sets.choose import Pairs
from scalpel.keep.sets.make import make_sets, refuse_sets
from scalpel.keep.sets.solved import Solved
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = ["Ability", "Answers", "Pairs", "Solved", "make_sets", "refuse_sets"]
