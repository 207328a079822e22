"""The retention floor: a constraint on how much of what the base gets right the tuned model must still get right.

`sets` defines the keep sets and scores them, `dual` turns the scores into the strength λ of the regulariser,
`constraint` does both during a run, and `self_generated` has the base write the text that regularises.
"""

from scalpel.keep.constraint import RetentionFloor
from scalpel.keep.dual import Dual
from scalpel.keep.self_generated import Begin, write_documents
from scalpel.keep.sets import Ability, make_sets, refuse_sets

__all__ = ["Ability", "Begin", "Dual", "RetentionFloor", "make_sets", "refuse_sets", "write_documents"]
