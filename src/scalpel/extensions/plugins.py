"""Installed plugins: packages with an entry point in the group `scalpel.parts`.

    [project.entry-points."scalpel.parts"]
    my-parts = "my_package.parts"           a module, which registers parts when it is imported
    more-parts = "my_package.more:register"  or a function without arguments, which is called

They are loaded once, when the first recipe is read or the first part is looked up. A plugin that can't be loaded is
left out with a warning, since most recipes need none of it.
"""

from __future__ import annotations

import logging
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from scalpel.extensions.guarded import Failed, guarded
from scalpel.registry import registering

log = logging.getLogger("scalpel")
GROUP = "scalpel.parts"


@cache
def load_plugins() -> dict[str, str]:
    """Loads every plugin, once. Those that failed, each with its reason, by the name of their distribution."""
    failed: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        name = point.dist.name if point.dist else point.value
        try:
            with registering(f"plugin {name}"):
                guarded(f"{point.value} of plugin {name}", "", Path(point.module), partial(load, point))
        except Failed as error:
            failed[name] = str(error)
            log.warning("plugin %s is left out: %s", name, error)
    return failed


def load(point: EntryPoint) -> None:
    found = point.load()
    if point.attr:
        found()
