"""A miniature world: procedural tasks, a corpus, a vocabulary of characters, and small models that know it all.

Because what pretraining put in is known exactly, what post-training takes away can be measured exactly. Importing
this package registers its tasks as `world/<name>`.
"""

from scalpel.world import corpus, tasks  # noqa: F401
from scalpel.world.corpus import corpus_example
from scalpel.world.task import WorldTask
from scalpel.world.tasks.worked import style_of
from scalpel.world.vocabulary import tokenizer

__all__ = ["WorldTask", "corpus_example", "style_of", "tokenizer"]
