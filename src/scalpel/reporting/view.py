"""All that a report shows, gathered from a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalpel.evaluation.results import ArmResults, load
from scalpel.evaluation.verdict import FORMAT, comparison
from scalpel.runs.json_files import read_json, read_text, refuse_other_shape

INTERVAL = (dict, type(None))
COMPARISON = {
    "arms": [{"name": str, "gain": INTERVAL, "forgetting": INTERVAL, "net": INTERVAL, "probes": (dict, list)}],
    "failed": {...: str},
    "rule": str,
    "verdict": {"take": (str, type(None)), "tied": [str], "headline": str, "words": [str]},
}


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


@contextmanager
def made_from(folder: str | Path) -> Iterator[None]:
    """Where a value in a run folder is not what this version writes there, the folder is named."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"the report of {folder} can't be made: a value in its comparison.json, or another of its files, is not "
            f"what this version writes there ({type(error).__name__}: {error}). Put the file back, or make the run "
            "again; where nobody changed it, this is a fault of scalpel, and --debug shows its place"
        ) from error
    except ValueError as error:
        if Path(folder).name in str(error):
            raise
        raise ValueError(f"{folder}: {error}") from error


def view(folder: str | Path) -> View:
    """Reads a run folder. Where it has no comparison.json (a single training run), the numbers are made now."""
    folder = Path(folder)
    arms = load(folder)
    path = folder / "comparison.json"
    found = read_json(path, dict) if path.is_file() else comparison(arms)
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {found.get('format')!r}, this version reads {FORMAT}; make it again from the arms"
        )
    refuse_other_shape(found, COMPARISON, str(path))
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
        recipe=read_text(recipe) if recipe.is_file() else "",
        environment=read_json(environment, dict) if environment.is_file() else {},
    )
