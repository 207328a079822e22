"""The side of the scaling bench: one training recipe on a random model, with rows of a given length."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from bench.sides.made import random
from bench.sides.ours import follow
from bench.sides.recipes import recipe

LETTERS = "abcdefghijklmnopqrstuvwxyz "
TOKENIZER = "world-1m"  # one token a letter, so that a text's length is known


def training(
    turn: Any, *, folder: str, width: int, layers: int, length: int, prompt: int, kind: str, **asked: Any
) -> dict[str, Any]:
    """Rows of `length` letters behind prompts of `prompt` letters; both take an end token more or so."""
    shape = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width, "vocab_size": 8192,
             "num_attention_heads": width // 32, "num_key_value_heads": width // 32, "head_dim": 32,
             "max_position_embeddings": 8192}  # fmt: skip
    at = random(TOKENIZER, Path(folder) / f"model-{width}", **shape)
    draw = Random(0)
    rows = Path(folder) / "rows.jsonl"
    texts = [
        ("".join(draw.choices(LETTERS, k=k)) for k in (prompt, length)) for _ in range(asked["batch"] * asked["steps"])
    ]
    made = [{"prompt": a, "completion": b} if kind != "grpo" else {"prompt": a} for a, b in texts]
    rows.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return follow(turn, recipe(kind=kind, model=str(at), rows=str(rows), max_length=8192, **asked))
