"""A result: what was run, where, and every step of it, as one JSON file; tables are made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.common.machine import ROOT
from bench.common.turns import Ran

RESULTS = ROOT / "bench" / "results"


def run_of(ran: Ran, headline: bool = False, **more: Any) -> dict[str, Any]:
    """A side's record. `headline` marks the runs whose medians are compared."""
    side = ran.side
    named = {"case": side.case, "side": side.name, "ours": side.ours, "setting": side.setting, "headline": headline}
    return {
        **named, "options": dict(side.options), "warmup": ran.steps[:1], "steps": ran.steps[1:], **ran.end, **more,
    }  # fmt: skip


def file_of(bench: str, device: str, folder: Path = RESULTS) -> Path:
    """bench/results/<bench>-<device>.json, the device's name made fit for a file."""
    return folder / f"{bench}-{slug(device)}.json"


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def result(
    bench: str, command: Sequence[str], place: Mapping[str, Any], settings: Mapping[str, Any], runs: Sequence[Any],
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Everything that a bench has to say."""
    said = {
        "bench": bench, "command": " ".join(map(placeless, command)), "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **place, "settings": dict(settings), "runs": list(runs), **more,
    }  # fmt: skip
    return {key: placeless(value) for key, value in said.items()}


def placeless(value: Any) -> Any:
    """The value with every absolute path cut to its last name: a result is read on other machines."""
    if isinstance(value, Mapping):
        return {key: placeless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [placeless(inner) for inner in value]
    if isinstance(value, str | Path) and Path(value).is_absolute():
        return Path(value).name
    return value


def save(found: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All results, in the order of their file names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
