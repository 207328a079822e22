"""The generated tables of methods, parts and rewards, as Markdown for the documentation and as rows for the terminal.

A document marks the place of a table, and `fill` updates it:

    <!-- scalpel methods: rows -->
    <!-- end -->
"""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import scalpel.config.plan  # noqa: F401  # registers every part
from scalpel.config.recipe import SignalSpec, StageSpec
from scalpel.methods import FAMILIES, ROWS, Evidence, Row
from scalpel.part import Part
from scalpel.registry import AXES, ORIGINS
from scalpel.rewards.declared import function_of
from scalpel.rewards.tables import KINDS
from scalpel.runs.files import existing
from scalpel.runs.json_files import read_text

SHOWN = ("selection", "source", "corruption", "credit", "objective", "scope", "anchor")
HEADINGS = ("method", "title", "source × credit × objective", "scope", "anchor", "settings", "paper", "evidence")
POINT = ("name", "method", "signals", "scope", "anchors", "learning_rate")  # keys that have a column of their own
EVIDENCE = {
    "equal to ": "equal to others' code",
    "arithmetic by hand": "arithmetic by hand",
    "paper only": "paper only",
}
NAME = re.compile(r"[\w/-]+")
BLOCK = re.compile(r"(<!-- scalpel methods: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def rows(outside: bool = False) -> list[tuple[str, ...]]:
    """One row per method, with the columns of HEADINGS: methods of the package, or those of other packages, marked."""
    found = [row_of(name, row) for name, row in ROWS.items() if (("method", name) in ORIGINS) is outside]
    return [(name, f"{title} ({ORIGINS['method', name]})", *rest) for name, title, *rest in found] if outside else found


def row_of(name: str, row: Row) -> tuple[str, ...]:
    stage = StageSpec.model_validate(row.stage)
    signals = " + ".join(signal_in_words(signal) for signal in stage.signals)
    around = [[f"`{other.get('method', other.get('name'))}`" for other in others] for others in (row.before, row.after)]
    signals = " → ".join([*around[0], signals, *around[1]])
    anchors = ", ".join(spec_in_words(a.model_dump()) for a in stage.anchors) or "–"
    scope = spec_in_words(stage.scope.model_dump())
    return name, row.title, signals, scope, anchors, settings(stage), row.cite, evidence_in_words(row.evidence)


def evidence_in_words(evidence: Evidence) -> str:
    """`equal to TRL's DPOTrainer: loss and gradients (parity/test_trl.py::test_dpo_is_trl_s)`."""
    tests = ", ".join(f"`{test}`" for test in evidence.tests)
    return f"{evidence.words} ({tests})" if tests else evidence.words


def settings(stage: StageSpec) -> str:
    """`learning rate 1e-06, sampling(temperature=0.7)`: the settings of a method beside its point on the axes."""
    said = {k: v for k, v in stage.model_dump(exclude_unset=True).items() if k not in POINT}
    more = [spec_in_words({"name": k, **v}) if isinstance(v, dict) else f"{k}={v}" for k, v in said.items()]
    return ", ".join([f"learning rate {stage.learning_rate:g}", *more])


def signal_in_words(signal: SignalSpec) -> str:
    """`groups × group-zscore × clipped-pg`. A signal on the batch of the previous signal has no source. Rewards,
    updates per batch and lag follow in brackets."""
    source = [spec_in_words(spec.model_dump()) for spec in (signal.select, signal.source) if spec]
    corrupt = [spec_in_words(spec.model_dump()) for spec in signal.corrupt]
    credits = [spec_in_words(spec.model_dump()) for spec in signal.credit]
    objective = [spec_in_words(signal.objective.model_dump())] if signal.objective else []
    weight = "" if signal.weight == 1 else f"{value_in_words(signal.weight)} · "
    rewards = [spec_in_words({"name": r} if isinstance(r, str) else r) for r in signal.rewards or ()]
    behind = [f"rewards {' + '.join(rewards)}"] * bool(rewards)
    behind += [
        f"{key}={getattr(signal, key)}"
        for key in ("updates_per_batch", "mini_batches", "lag")
        if key in signal.model_fields_set
    ]
    words = weight + " × ".join([*source, *corrupt, *credits, *objective])
    return f"{words} ({', '.join(behind)})" if behind else words


def spec_in_words(spec: Mapping[str, Any]) -> str:
    """`clipped-pg(average=constant)`."""
    hyper = {key: value for key, value in spec.items() if key != "name"}
    inside = ", ".join(f"{key}={value_in_words(value)}" for key, value in hyper.items())
    return f"{spec['name']}({inside})" if inside else str(spec["name"])


def value_in_words(value: Any) -> str:
    """A value as text: a schedule by its ends, and text other than a plain name in quotes."""
    if isinstance(value, Mapping):
        return f"{value['from']:g}→{value['to']:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and not NAME.fullmatch(value) else f"{value}"


def outside_parts() -> list[tuple[str, str, str]]:
    """(axis and name, where it comes from, effect) of what plugins and files have registered, methods aside."""
    entries = [(axis, name, origin, AXES[axis][name]) for (axis, name), origin in ORIGINS.items() if axis != "method"]
    return [(f"{axis} {name}", origin, effect(getattr(entry, "fn", entry))) for axis, name, origin, entry in entries]


def parts() -> list[tuple[str, str, str, str]]:
    """(axis, name, hyperparameters with their defaults, effect) of every part of the package."""
    return [
        (axis, name, spec_in_words({"name": "", **defaults(part)}).strip("()"), effect(part.fn))
        for axis in SHOWN
        for name, part in sorted(AXES[axis].items())
        if (axis, name) not in ORIGINS
    ]


def rewards() -> list[tuple[str, str, str]]:
    """(name, keys with their defaults, effect) of every named reward."""
    own = [(axis, name) for axis in KINDS for name in AXES[axis] if (axis, name) not in ORIGINS]
    known = {name: function_of(axis, name) for axis, name in own}
    return [(name, ", ".join(keys_of(fn)), effect(fn)) for name, fn in sorted(known.items())]


def keys_of(fn: Callable[..., Any]) -> list[str]:
    """`least=1.0`; only the name for a key without a default."""
    keys = [p for p in inspect.signature(fn).parameters.values() if p.kind is p.KEYWORD_ONLY]
    asked = (inspect.Parameter.empty, None)
    return [p.name if p.default in asked else f"{p.name}={value_in_words(p.default)}" for p in keys]


def defaults(part: Part) -> dict[str, Any]:
    """The default of each key; for one that follows the stage, the name of the stage's key."""
    return {key: part.stage.get(key, parameter.default) for key, parameter in part.schema.items()}


def effect(fn: Callable[..., Any]) -> str:
    """The first sentence of its docstring."""
    paragraph = " ".join((inspect.getdoc(fn) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", paragraph)[0]


def markdown(headings: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, table)]) + "\n"


def rows_block() -> str:
    return markdown(HEADINGS, [(f"`{name}`", *rest) for name, *rest in rows()])


def parts_block() -> str:
    """One table per axis."""
    found = []
    for axis in SHOWN:
        table = [(f"`{name}`", f"`{keys}`" if keys else "–", effect) for a, name, keys, effect in parts() if a == axis]
        found.append(f"### {axis}\n\n{markdown(('part', 'keys and defaults', 'effect'), table)}")
    return "\n".join(found)


def rewards_block() -> str:
    table = [(f"`{name}`", f"`{keys}`" if keys else "–", effect) for name, keys, effect in rewards()]
    return markdown(("reward", "keys and defaults", "effect"), table)


def kinds_block(axis: str) -> str:
    """A table of the kinds of probes or of keep sets."""
    kinds = [(name, fn) for name, fn in sorted(AXES[axis].items()) if (axis, name) not in ORIGINS]
    table = [(f"`{name}`", f"`{', '.join(keys_of(fn))}`", effect(fn)) for name, fn in kinds]
    return markdown(("kind", "keys and defaults", "effect"), table)


def families_block() -> str:
    """One row per family, with its methods and how many of them have which kind of evidence."""
    table = [
        (family, ", ".join(f"`{name}`" for name in found), kinds_of_evidence(found.values()))
        for family, found in FAMILIES.items()
    ]
    return markdown(("family", "methods", "evidence"), table)


def kinds_of_evidence(found: Iterable[Row]) -> str:
    """`6 equal to others' code, 6 arithmetic by hand`."""
    count = Counter(next(kind for kind in EVIDENCE if row.evidence.words.startswith(kind)) for row in found)
    return ", ".join(f"{count[kind]} {words}" for kind, words in EVIDENCE.items() if count[kind])


BLOCKS: dict[str, Callable[[], str]] = {
    "families": families_block, "rows": rows_block, "parts": parts_block, "rewards": rewards_block,
    "probes": partial(kinds_block, "probe"), "sets": partial(kinds_block, "keep set"),
}  # fmt: skip


def filled(text: str) -> str:
    """The document with up-to-date tables."""
    return BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]]() + found[4], text)


def fill(path: Path, check: bool = False) -> bool:
    """Updates the document's tables, unless `check`. Returns whether they were up to date."""
    text = read_text(existing(path), mend="give a Markdown file")
    if not BLOCK.search(text):
        raise ValueError(
            f"{path} has no place for a table: mark it with <!-- scalpel methods: rows --> and <!-- end -->"
        )
    fresh = filled(text) == text
    if not fresh and not check:
        path.write_text(filled(text), encoding="utf-8")
    return fresh
