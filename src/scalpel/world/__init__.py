"""A miniature world: procedural tasks, a pretraining corpus, a character vocabulary, and small models trained on it.

The content of pretraining is known exactly, so forgetting can be measured exactly. Importing this package registers its
tasks as `world/<name>`.
"""

from scalpel.world import corpus, tasks  # noqa: F401
from scalpel.world.corpus import corpus_example
from scalpel.world.task import WorldTask
from scalpel.world.tasks.worked import style_of
from scalpel.world.vocabulary import tokenizer

__all__ = ["WorldTask", "corpus_example", "style_of", "tokenizer"]
