"""Keep sets: the abilities that must not be lost, scored without generation except for the last kind. Each kind is a
file here that registers a function as a `keep set`.

answers   an item is kept while every token of its answer is the model's first choice (teacher forcing)
tokens    the same token by token, for long texts of which no model predicts every token. Only tokens count to which the
          base gives a probability of at least `sure`: where several tokens are about equally likely, the first choice
          flips with any update, and nothing is lost
choose    a minimal pair or a multiple choice is kept while the right choice is the likeliest
solved    an item is kept while the model's greedy answer is right by the task's verifier, for tasks with several ways
          to be right
"""

from scalpel.keep.sets.ability import Ability
from scalpel.keep.sets.answers import Answers
from scalpel.keep.sets.choose import Pairs
from scalpel.keep.sets.make import make_sets, refuse_sets
from scalpel.keep.sets.solved import Solved
from scalpel.registry import gather_parts

gather_parts(__name__, __path__)

__all__ = ["Ability", "Answers", "Pairs", "Solved", "make_sets", "refuse_sets"]
