"""The floor under what must be kept: a keep set, what is left of it, and a dual variable that follows.

`sets` says what is kept and scores it, `dual` turns the scores into a strength, `floor` does both along a run,
`written` has the base write the text on which it is held.
"""

from scalpel.keep.constraint import RetentionFloor
from scalpel.keep.dual import Dual
from scalpel.keep.self_generated import Begin, write_documents
from scalpel.keep.sets import Ability, make_sets, refuse_sets

__all__ = ["Ability", "Begin", "Dual", "RetentionFloor", "make_sets", "refuse_sets", "write_documents"]
