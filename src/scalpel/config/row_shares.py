"""The division of data sources among their uses: training, probes, keep sets, validation, tuning of learning rates.

A source of which only one split is used is that split entirely. If training and others use one source, it is divided by
a hash of each row's question: each of the others gets a tenth, and training the rest. The shares are written into the
recipe's tables as `shares` when it is read, so that the resolved recipe records them. `shares` or `files` of the user
are kept; other uses of the same source then take these shares, or all of its rows if the shares have none for their
split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalpel.data.example import SPLITS, Split

TENTH = 0.1
HEIRS: tuple[Split, ...] = ("train", "test", "keep", "tune")  # the first of these that is used gets the rest


@dataclass(frozen=True)
class Use:
    """A use of one split of a task's data."""

    who: str
    table: dict[str, Any]
    split: str
    n: int | None = None  # how many rows; None: all of a file
    seed: int = 0
    default: int = 0  # the number of items of a task that generates them

    @property
    def trains(self) -> bool:
        return self.who == "training"


def uses(tables: Mapping[str, Any]) -> list[Use]:
    """All uses of tasks in a recipe. Malformed values are skipped here; validation raises for them."""
    found: list[Use] = []
    data = table_of(tables.get("data"))
    items, seed = data.get("items"), data.get("seed", 0)
    stages = list(stages_of(tables))
    task = tables.get("task")
    if isinstance(task, dict) and task and stages:
        found.append(Use("training", task, "train", items, seed, 1024))
        for checked in (table_of(s["validate"]) for s in stages if isinstance(s.get("validate"), dict)):
            found.append(Use("validate", task, "tune", checked.get("items", 64), seed, 64))
    for stage in stages:
        signals = stage.get("signals")
        listed = list(signals.values()) if isinstance(signals, dict) else list_of(signals)
        own = [table_of(signal).get("task") for signal in listed]
        found += [Use("training", t, "train", items, seed, 1024) for t in own if isinstance(t, dict)]
    for keep in [table_of(tables.get("keep")), *(table_of(s.get("keep")) for s in stages)]:
        for spec in map(table_of, list_of(keep.get("sets"))):
            if isinstance(spec.get("task"), dict):
                who = f"keep set {spec.get('name', '')!r}"
                found.append(Use(who, spec["task"], "keep", spec.get("n"), spec.get("seed", 0), 256))
    return [*found, *measured(tables)]


def measured(tables: Mapping[str, Any]) -> Iterator[Use]:
    """The uses by probes, and by the tuning of learning rates, which uses the task of the target probe."""
    measure, compare = table_of(tables.get("measure")), table_of(tables.get("compare"))
    probes = [table_of(spec) for spec in list_of(measure.get("probes"))]
    target = measure.get("target") or next((spec.get("name") for spec in probes), None)
    grids = [
        compare.get("learning_rates"),
        *(table_of(arm).get("learning_rates") for arm in list_of(compare.get("arms"))),
    ]
    # the arm that sets the budget is tuned at its own number of steps, even if it has a single learning rate
    tunes = bool(compare) and compare.get("budget") != "steps" and compare.get("amount") is None
    for spec in probes:
        if not isinstance(spec.get("task"), dict):
            continue
        default = {"drift": 64, "sampled": 100}.get(str(spec.get("kind")), 200)
        who, split = f"probe {spec.get('name', '')!r}", str(spec.get("split", "test"))
        yield Use(who, spec["task"], split, spec.get("n"), spec.get("seed", 0), default)
        if spec.get("name") == target and (tunes or any(len(list_of(grid)) > 1 for grid in grids)):
            n = compare.get("tuning_items", 64)
            yield Use("tuning of learning rates", spec["task"], "tune", n, spec.get("seed", 0), 64)


def stages_of(tables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All tables of a recipe that have the keys of a stage."""
    compare = table_of(tables.get("compare"))
    yield from (s for s in list_of(tables.get("stages")) if isinstance(s, dict))
    if "shared" in compare:
        yield table_of(compare["shared"])
    for arm in list_of(compare.get("arms")):
        if isinstance(arm, dict):
            yield arm
            yield from (s for s in list_of(arm.get("stages")) if isinstance(s, dict))


def share_out(tables: dict[str, Any]) -> None:
    """Writes `shares` into the tables of all file-based tasks that have none."""
    asked = [use for use in uses(tables) for use in within(use)]
    for group in together(asked):
        given = [dict(u.table["shares"]) for u in group if isinstance(u.table.get("shares"), dict)]
        mine = divided({use.split for use in group})
        for use in group:
            if "shares" not in use.table:
                theirs = next((x for x in given if x.get(use.split)), {use.split: 1.0})
                use.table["shares"] = dict(theirs if given else mine)


def divided(splits: set[str]) -> dict[str, float]:
    """The shares of one source of which these splits are used."""
    asked = [split for split in SPLITS if split in splits]
    heir = next((split for split in HEIRS if split in asked), None)
    return {split: round(1 - TENTH * (len(asked) - 1), 1) if split == heir else TENTH for split in asked}


def within(use: Use) -> list[Use]:
    """The use of each source of a mixture; for any other task the use itself. Only uses of files that the user has not
    assigned to splits are returned."""
    table = use.table
    if table.get("name") == "mix":
        inner = [t for t in list_of(table.get("sources")) if isinstance(t, dict)]
        return [u for t in inner for u in within(Use(use.who, t, use.split))]
    if "path" not in table or "files" in table or use.split not in SPLITS:
        return []
    from scalpel.tasks.read import FORMS  # here, since it is slow to import and a recipe may do without

    return [use] if table.get("name") in FORMS and places(table) else []


def together(asked: list[Use]) -> list[list[Use]]:
    """The uses in groups that share a file, directly or through others."""
    groups: list[tuple[set[str], list[Use]]] = []
    for use in asked:
        mine, members = places(use.table), [use]
        apart = []
        for there, group in groups:
            if there & mine:
                mine, members = there | mine, [*group, *members]
            else:
                apart.append((there, group))
        groups = [*apart, (mine, members)]
    return [members for _, members in groups]


def places(table: Mapping[str, Any]) -> set[str]:
    """The files, or the split of a hub data set, that a task's table names."""
    from scalpel.tasks.read import files_of

    path = table.get("path")
    if table.get("name") == "hub":
        return {repr(("hub", path, table.get("subset"), table.get("split", "train")))}
    if not isinstance(path, str) and not (path and isinstance(path, list) and all(isinstance(p, str) for p in path)):
        return set()
    try:
        return {str(Path(name).expanduser().resolve()) for name in files_of(path)}
    except (ValueError, OSError, RuntimeError):  # it is refused when it is opened
        return {repr(path)}


def table_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
