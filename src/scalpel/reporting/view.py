"""The content of a report, read from a run folder."""

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
    """The arms of a run folder, the numbers of their comparison, the recipe and the environment."""

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
        """One row per arm, as in comparison.json."""
        return self.comparison["arms"]

    @property
    def alone(self) -> bool:
        """Whether this is a single run, without a comparison: texts must not speak of arms then."""
        return len(self.arms) == 1 and len(self.arms[0].runs) == 1 and not self.comparison["failed"]

    @property
    def one(self) -> str:
        """The heading of the first column."""
        return "run" if self.alone else "arm"

    @property
    def take(self) -> str | None:
        return self.comparison["verdict"]["take"]


@contextmanager
def made_from(folder: str | Path) -> Iterator[None]:
    """Turns errors from malformed values in a run folder into a ValueError that names the folder."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"the report of {folder} can't be made: a value in its comparison.json, or another of its files, is not "
            f"what this version writes there ({type(error).__name__}: {error}). Restore the file, or run again; if "
            "nobody changed it, this is a bug of scalpel, and --debug shows its place"
        ) from error
    except ValueError as error:
        if Path(folder).name in str(error):
            raise
        raise ValueError(f"{folder}: {error}") from error


def view(folder: str | Path) -> View:
    """Reads a run folder. Without a comparison.json (for a single training run) the numbers are computed here. Raises
    ValueError if comparison.json has another format or other arms than the folder."""
    folder = Path(folder)
    arms = load(folder)
    path = folder / "comparison.json"
    found = read_json(path, dict) if path.is_file() else comparison(arms)
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {found.get('format')!r}, but this version reads {FORMAT}: resume the comparison to "
            "write it again"
        )
    refuse_other_shape(found, COMPARISON, str(path))
    names = [row["name"] for row in found["arms"]]
    if sorted(names) != sorted(arm.name for arm in arms):
        raise ValueError(
            f"{path} has the arms {', '.join(names)}, but the folder holds {', '.join(arm.name for arm in arms)}: "
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
