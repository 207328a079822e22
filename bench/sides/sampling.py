"""The sides of the sampling bench: our engine, and transformers' generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from bench.common.flops import shape_of
from bench.common.machine import now_bytes
from bench.sides.made import base_of, counting, endless
from bench.sides.prepare import lines
from scalpel import models
from scalpel.engine import Engine, Sampling


def made(turn: Any, *, model: str, source: str, folder: str, prompt: int, rows: int, **asked: Any) -> dict[str, Any]:
    """The two models, the prompts of real text, and the first id above all special ones."""
    tokens = models.load(model)[1]
    places = {"fixed": endless(model, Path(folder) / "endless"), "uneven": counting(model, Path(folder) / "counting")}
    text = "\n\n".join(row["question"] for row in lines(source))[: 40 * prompt * rows]
    ids = tokens.tokenizer(text, add_special_tokens=False)["input_ids"]
    prompts = [ids[k * prompt : (k + 1) * prompt] for k in range(rows)]
    if len(prompts[-1]) < prompt:
        raise ValueError(f"the data has {len(ids)} tokens, but {rows} prompts of {prompt} are needed")
    turn()
    loaded = models.load(model)[0].config
    shape, stop = vars(shape_of(loaded)), base_of(tokens.tokenizer)
    return {"models": {k: str(v) for k, v in places.items()}, "prompts": prompts, "shape": shape, "stop": stop}


def ours(
    turn: Any, *, model: str, prompts: list[list[int]], group: int, longest: int, precision: str, device: str,
    steps: int, threads: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    torch.set_num_threads(threads)
    loaded, tokens = models.load(model, device=device, dtype=getattr(torch, precision))
    engine = Engine(loaded, tokens, precision=precision)
    rest = now_bytes(device)
    turn()
    for step in range(steps):
        groups = engine.sample(prompts, Sampling(max_tokens=longest), n=group, seed=seed + step)
        turn(lengths=[len(sample.ids) for samples in groups for sample in samples])
    return {"at_rest": rest, "precision": f"weights and arithmetic {precision}", "threads": torch.get_num_threads()}


@torch.no_grad()
def generate(
    turn: Any, *, model: str, prompts: list[list[int]], group: int, longest: int, precision: str, device: str,
    steps: int, threads: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    torch.set_num_threads(threads)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, precision))
    loaded.to(device).eval()
    stop = loaded.generation_config.eos_token_id
    ids = torch.tensor(prompts, device=device)
    how: dict[str, Any] = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=longest)
    rest = now_bytes(device)
    turn()
    for step in range(steps):
        torch.manual_seed(seed + step)
        out = loaded.generate(
            ids, attention_mask=torch.ones_like(ids), num_return_sequences=group, pad_token_id=stop, **how
        )
        turn(lengths=[until(row, stop) for row in out[:, ids.shape[1] :].tolist()])
    return {"at_rest": rest, "precision": f"weights and arithmetic {precision}", "threads": torch.get_num_threads()}


def until(row: list[int], stop: int) -> int:
    """How many tokens a row has, its stop token included."""
    return row.index(stop) + 1 if stop in row else len(row)
