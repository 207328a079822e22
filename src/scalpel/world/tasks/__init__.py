"""The world's tasks. Importing this package registers them all as `world/<name>`."""

from scalpel.world.tasks import (  # noqa: F401
    boxes,
    chat,
    context,
    facts,
    sentences,
    strings,
    sums,
    unanswerable,
    worked,
)
