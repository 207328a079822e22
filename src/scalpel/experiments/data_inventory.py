"""The data inventory before step 1: how many rows each data set has, how many could be read or were left out, how it
was split, and which part of the run uses how many of them. A use without any rows is refused here, before a model is
loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, cast

from scalpel import tasks
from scalpel.binding.table import table_keys
from scalpel.config.recipe import Recipe
from scalpel.config.row_shares import Use, places, uses
from scalpel.data.example import Example, Split
from scalpel.evaluation.probes import read_choices
from scalpel.evaluation.probes.choose import Choices
from scalpel.extensions import find
from scalpel.tasks.account import Account
from scalpel.tasks.data import questions

MANY = 1_000_000  # trained rows that are remembered to find probes that ask one of them; it bounds the memory


@dataclass(frozen=True)
class Line:
    """One use of a data set: by training, a probe, a keep set or the validation, with the number of its rows."""

    who: str
    source: str
    split: str
    used: int
    rows: int | None = None  # rows of the split; None where the task generates items on demand
    given: int | None = None
    readable: int | None = None
    also_trained: int | None = None  # how many of the used rows ask the same question as a trained row
    left_out: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> tuple[str, ...]:
        numbers = (self.given, self.readable, self.rows, self.used)
        given, readable, rows, used = ("–" if n is None else f"{n:,}" for n in numbers)
        return (self.who, self.source, given, readable, self.split, rows, used)


HEAD = ("", "source", "given", "readable", "split", "rows", "used")


@dataclass(frozen=True)
class Inventory:
    """The table of all uses, with notes."""

    lines: Sequence[Line] = ()
    notes: Sequence[str] = ()

    @property
    def words(self) -> str:
        if not self.lines:
            return ""
        every = [line.cells() for line in self.lines]
        told = [i for i in range(len(HEAD)) if any(cells[i] != "–" for cells in every)]  # empty columns are left out
        rows = [[cells[i] for i in told] for cells in (HEAD, *every)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = [HEAD[i] in ("", "source", "split") for i in told]
        text = [
            "  ".join(
                cell.ljust(width) if words else cell.rjust(width)
                for cell, width, words in zip(row, widths, left, strict=True)
            )
            for row in rows
        ]
        return "\n".join(["data:", *(line.rstrip() for line in text), *self.notes])

    def state(self) -> dict[str, Any]:
        """The content of data.json."""
        return {"format": 1, "uses": [asdict(line) for line in self.lines], "notes": list(self.notes)}


def inventory(recipe: Recipe, batch: int = 0) -> Inventory:
    """The inventory of all data of a recipe. Raises ValueError where a use has no rows. `batch` is the largest batch of
    a step, where that is not in the recipe's own stages (as in a comparison)."""
    tables = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    found = distinct(uses(tables))
    trained: set[int] = set()
    lines, notes = [], []
    for use in found:
        line, examples = line_of(use)
        if use.trains and len(trained) < MANY:
            trained.update(questions(examples))
        elif not use.trains and trained:
            both = sum(asked in trained for asked in questions(examples))
            line = Line(**{**vars(line), "also_trained": both})
        lines.append(line)
    lines += [row for spec in chosen(tables) if (row := of_choices(*spec))]
    notes += [words for use in found if use.trains and use.table.get("name") == "mix" for words in repeats(use)]
    most = max([batch, *(stage.batch for stage in recipe.stages)])
    notes += [*divisions(found, lines), *left_out(lines), *few(found, lines, most), *overlaps(lines)]
    return Inventory(lines, notes)


def distinct(found: Sequence[Use]) -> list[Use]:
    """Each use once; training comes first, since the other uses are compared with its rows."""
    each = {(use.who, use.split, repr(use.table), use.n, use.seed): use for use in found}
    return sorted(each.values(), key=lambda use: not use.trains)


def line_of(use: Use) -> tuple[Line, Sequence[Example]]:
    """The line of a use, and its rows if they come from files."""
    name = str(use.table.get("name", ""))
    if name != "mix" and not places(use.table) and "files" not in use.table:
        return Line(use.who, name, use.split, use.n or use.default), ()
    task = tasks.make(use.table)
    split = cast("Split", use.split)
    data: Any = getattr(task, "task", task)
    size, account = data.size(split), data.account
    if not size:
        raise ValueError(nothing(use, data.name, account))
    examples = data.examples(split, size if use.n is None else use.n, use.seed)
    left = account.state()["left_out"]
    line = Line(use.who, data.name, use.split, len(examples), size, account.given, account.readable, None, left)
    return line, examples


def repeats(use: Use) -> list[str]:
    """Notes on how often a mixture repeats its data sets."""
    task: Any = tasks.make(use.table)
    return getattr(task, "task", task).repeats()


def nothing(use: Use, source: str, account: Account) -> str:
    """The error for a use without rows."""
    parts = ", ".join(f"{split} {n:,}" for split, n in account.splits.items())
    what = {"train": "training items", "tune": "tuning items"}.get(use.split, "items")
    return (
        f"{use.who}: {source} has no {what}: its {account.readable:,} rows are divided into {parts}. Give "
        f"{use.split!r} a share, as in shares = {{{use.split} = 0.5, …}}, or a file of its own under files"
        + (", or leave out `validate`" if use.who == "validate" else "")
    )


def chosen(tables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables of probes and keep sets, each with its axis."""
    for spec in tables.get("measure", {}).get("probes", ()):
        yield "probe", spec
    keeps = [tables.get("keep", {}), *(stage.get("keep", {}) for stage in tables.get("stages", ()))]
    seen = {repr(spec): spec for keep in keeps for spec in keep.get("sets", ())}
    yield from (("keep set", spec) for spec in seen.values())


def of_choices(axis: str, spec: Mapping[str, Any]) -> Line | None:
    """The line of a probe or keep set whose `path` is a file of choices."""
    who, kind = f"{axis} {spec.get('name', '')!r}", spec.get("kind", "")
    keys = table_keys(find(axis, kind)) if kind else {}
    if "path" not in keys or keys["path"].wanted != Choices or not isinstance(spec.get("path"), str):
        return None
    there, n = len(read_choices(spec["path"])), spec.get("n")
    return Line(who, spec["path"], "", there if n is None else min(n, there), there, there, there)


def divisions(found: Sequence[Use], lines: Sequence[Line]) -> Iterator[str]:
    """Notes on how data sets were split that have several uses."""
    files = [(sorted(places(use.table)), use, line) for use, line in zip(found, lines, strict=False) if line.rows]
    for place, group in groupby(sorted((x for x in files if x[0]), key=lambda x: x[0]), key=lambda x: x[0]):
        members = list(group)
        splits = {use.split: line.rows for _, use, line in members}
        who = list(dict.fromkeys(use.who for _, use, _ in members))
        account = getattr(tasks.make(members[0][1].table), "account", None)
        if account is None or len(splits) < 2:
            continue
        name = members[0][2].source if len(place) > 1 else members[0][2].source.partition(":")[2]
        shared = f"{' and '.join([', '.join(who[:-1]), who[-1]])} use it" if len(who) > 1 else f"{who[0]} uses it"
        idle = [f"{n:,} {split}" for split, n in account.splits.items() if n and split not in splits]
        rest = f"; the other rows are unused ({', '.join(idle)})" if idle else ""
        yield f"{name}: {account.words()}, since {shared}{rest}; set shares or files to choose"


def left_out(lines: Sequence[Line]) -> Iterator[str]:
    """Notes on why rows were left out, once per data set and reason."""
    told = {(line.source, reason): x for line in lines for reason, x in line.left_out.items()}
    for (source, reason), x in told.items():
        yield f"{source}: {x['count']:,} rows left out: {reason} (first {x['first']})"


def few(found: Sequence[Use], lines: Sequence[Line], batch: int) -> Iterator[str]:
    """Notes on training that uses only some of the rows, generates its items, or repeats rows within a step."""
    for use, line in zip(found, lines, strict=False):
        if use.trains and line.rows is None and use.n is None:
            yield f"{line.source} generates its items: {line.used:,} of them, since data.items isn't set"
        elif use.trains and line.rows is not None and line.used < line.rows:
            yield f"training uses {line.used:,} of {line.rows:,} rows of {line.source}, since data.items = {use.n}"
        if use.trains and line.rows is not None and 0 < line.used < batch:
            often = "every row" if batch % line.used == 0 else "some rows"
            yield f"a step takes {batch} rows of {line.used}, so it takes {often} {-(-batch // line.used)} times"


def overlaps(lines: Sequence[Line]) -> Iterator[str]:
    """Notes on probes and keep sets whose questions are trained: they show memorisation, not learning."""
    for line in lines:
        if line.also_trained:
            yield (
                f"{line.who} asks {line.used:,} rows, of which {line.also_trained:,} are trained on: these "
                "show what was memorised, not what was learnt"
            )
