"""All that a report shows, gathered from a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalpel.evaluation.files import read_json
from scalpel.evaluation.results import ArmResults, load
from scalpel.evaluation.verdict import FORMAT, comparison


@dataclass(frozen=True)
class View:
    """The arms as they were run, the comparison's numbers, and what is needed to run it again."""

    folder: Path
    arms: tuple[ArmResults, ...]
    comparison: Mapping[str, Any]
    recipe: str
    environment: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The comparison's row of each arm."""
        return self.comparison["arms"]

    @property
    def alone(self) -> bool:
        """Whether this is one run: nothing was compared."""
        return len(self.arms) == 1 and len(self.arms[0].runs) == 1 and not self.comparison["failed"]

    @property
    def one(self) -> str:
        """What a row of a table is."""
        return "run" if self.alone else "arm"

    @property
    def take(self) -> str | None:
        return self.comparison["verdict"]["take"]


def view(folder: str | Path) -> View:
    """Reads a run folder. Where it has no comparison.json (a single training run), the numbers are made now."""
    folder = Path(folder)
    arms = load(folder)
    path = folder / "comparison.json"
    found = read_json(path) if path.is_file() else comparison(arms)
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {found.get('format')!r}, this version reads {FORMAT}; make it again from the arms"
        )
    names = [row["name"] for row in found["arms"]]
    if sorted(names) != sorted(arm.name for arm in arms):
        raise ValueError(
            f"{path} speaks of {', '.join(names)}, but the folder holds {', '.join(arm.name for arm in arms)}; "
            "finish the comparison with --resume, which writes it again"
        )
    recipe, environment = folder / "recipe.toml", folder / "environment.json"
    return View(
        folder=folder,
        arms=tuple(arms),
        comparison=found,
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        environment=read_json(environment) if environment.is_file() else {},
    )
