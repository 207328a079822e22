"""JSON and JSON lines: written whole or not at all, and read with the place of a fault named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scalpel.runs.atomic import write_text


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """The file's value. Raises ValueError that names the file and the place if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: it belongs to a finished run; was the run stopped early?") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno} is not JSON ({error.msg}); write the run again") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """One record a line. Raises ValueError that names file and line where one is malformed."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number} is not JSON: {error.msg}; remove or mend the line") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number} holds a {type(row).__name__}; each line must be an object")
        rows.append(row)
    return rows
