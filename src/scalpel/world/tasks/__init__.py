"""The world's tasks. Importing this package registers them all as `world/<name>`."""

from scalpel.world.tasks import (  # noqa: F401
    boxes,
    calculator,
    chat,
    context,
    facts,
    retries,
    sentences,
    strings,
    sums,
    unanswerable,
    worked,
)
