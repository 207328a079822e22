"""What both sides of a training bench are given: rows that fit, in the order in which they will be met."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from bench.common.flops import Group, shape_of
from bench.sides.made import endless
from bench.sides.recipes import recipe
from scalpel import models, tasks
from scalpel.data.tokenizer import Tokens
from scalpel.seeding import derive, window
from scalpel.tasks.columns import common_text

Row = dict[str, str]


def gsm8k(path: str) -> Iterator[Row]:
    for row in lines(path):
        yield {"prompt": f"Question: {row['question']}\nAnswer:", "completion": f" {row['answer']}"}


def hh(path: str) -> Iterator[Row]:
    for row in lines(path):
        cut = common_text(row["chosen"], row["rejected"])
        if cut and row["chosen"] != row["rejected"]:
            yield {"prompt": row["chosen"][:cut], "chosen": row["chosen"][cut:], "rejected": row["rejected"][cut:]}


READERS = {"sft": gsm8k, "lora": gsm8k, "grpo": gsm8k, "dpo": hh}


def lines(path: str) -> Iterator[Any]:
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def group_of(row: Mapping[str, str], tokens: Tokens, drawn: int, group: int) -> Group:
    """Tokens of the row's prompt and of all completions behind it."""
    prompt = len(tokens.prompt(row["prompt"]))
    said = [row[k] for k in ("completion", "chosen", "rejected") if k in row]
    return prompt, [drawn] * group if drawn else [len(tokens.completion(text, row["prompt"])) for text in said]


def chosen(rows: list[Row], n: int, max_length: int, tokens: Tokens, drawn: int, group: int, seed: int) -> list[Row]:
    """n rows, no prompt twice, that no side has to cut."""
    found: dict[str, Row] = {}
    for row in Random(seed).sample(rows, len(rows)):
        prompt, completions = group_of(row, tokens, drawn, group)
        if prompt + max(completions) <= max_length:
            found.setdefault(row["prompt"], row)
        if len(found) == n:
            return list(found.values())
    raise ValueError(f"the data has {len(found)} rows of at most {max_length} tokens, but {n} are needed: fewer steps")


def training(turn: Any, *, source: str, folder: str, model: str, **asked: Any) -> dict[str, Any]:
    """Writes `rows.jsonl`, which the recipe reads, and `met.jsonl`, the same in the order in which it does; gives the
    model's folder, its shape, and the lengths of every step."""
    kind, drawn, group = asked["kind"], asked["tokens"], asked["group"]
    at, batch, steps = Path(folder), asked["batch"], asked["steps_planned"]
    place = endless(model, at / "model") if kind == "grpo" else models.locate(model)
    loaded, tokens = models.load(place)
    drawn = drawn if kind == "grpo" else 0
    rows = [dict(r) for r in READERS[kind](source)]
    if kind == "grpo":
        rows = [{"prompt": r["prompt"]} for r in rows]
    rows = chosen(rows, batch * steps, asked["max_length"], tokens, drawn, group, asked["seed"])
    write(at / "rows.jsonl", rows)
    planned = recipe(**{**asked, "model": str(place), "rows": str(at / "rows.jsonl"), "steps": steps})
    examples = tasks.make(planned.task).examples("train", batch * steps, asked["seed"])
    order = derive(planned.seed, "order", 0, 0)
    met = [by_prompt(rows)[e.prompt] for k in range(steps) for e in window(examples, k, batch, order)]  # type: ignore[index]
    write(at / "met.jsonl", met)
    groups = [[group_of(r, tokens, drawn, group) for r in met[k * batch : (k + 1) * batch]] for k in range(steps)]
    turn()
    return {"model": str(place), "shape": vars(shape_of(loaded.config)), "groups": groups}


def by_prompt(rows: list[Row]) -> dict[str, Row]:
    return {row["prompt"]: row for row in rows}


def write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
