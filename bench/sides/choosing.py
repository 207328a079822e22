"""The sides of the choice bench: our probe, and the Evaluation Harness' own model class."""

from __future__ import annotations

import logging
from typing import Any

import torch

from bench.common.flops import shape_of
from bench.common.machine import now_bytes
from scalpel import models
from scalpel.engine import Engine
from scalpel.engine.prefix_tree import common
from scalpel.evaluation.probes.choose import Choose, read_choices


def ours(
    turn: Any, *, model: str, source: str, items: int, seed: int, precision: str, device: str, steps: int, threads: int
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    loaded, tokens = models.load(model, device=device, dtype=getattr(torch, precision))
    engine = Engine(loaded, tokens, precision=precision)
    probe = Choose("blimp", read_choices(source, items, seed))
    ids = [[tokens.completion(c, "") for c in item.choices] for item in probe.items]
    rest = now_bytes(device)
    turn()
    for _ in range(steps):
        found = probe.run(engine)
        turn(right=[r.right for r in found], logp=[r.value for r in found])
    return {"at_rest": rest, "precision": f"weights and arithmetic {precision}", "shape": vars(shape_of(loaded.config)),
            "lengths": [[len(x) for x in pair] for pair in ids], "alike": [common(*pair) for pair in ids],
            "threads": torch.get_num_threads()}  # fmt: skip


def harness(
    turn: Any, *, model: str, source: str, items: int, seed: int, precision: str, device: str, steps: int,
    threads: int, size: int,
) -> dict[str, Any]:  # fmt: skip
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    torch.set_num_threads(threads)
    loaded, tokens = models.load(model, device=device, dtype=getattr(torch, precision))
    lm = HFLM(pretrained=loaded, tokenizer=tokens.tokenizer, batch_size=size, device=device)
    chosen = read_choices(source, items, seed)
    asked = [("", text) for item in chosen for text in item.choices]
    rest = now_bytes(device)
    turn()
    for _ in range(steps):
        requests = [Instance("loglikelihood", {}, pair, k) for k, pair in enumerate(asked)]
        logps = [logp for logp, _ in lm.loglikelihood(requests, disable_tqdm=True)]
        pairs = list(zip(logps[::2], logps[1::2], strict=True))
        turn(right=[good > bad for good, bad in pairs], logp=[good for good, _ in pairs])
    return {"at_rest": rest, "precision": f"weights and arithmetic {precision}", "threads": torch.get_num_threads()}
