"""Pretraining: from a seeded start to a model folder with its card, through the ordinary loop.

    build("world-1m", size="world-1m", steps=40000, batch=256)

The run folder beside the model (`<out>.run`) holds the start, the metrics and the checkpoints; `resume` goes on
from there. The same seed, threads and machine give the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedModel

from scalpel import models
from scalpel.config.recipe import Recipe, parse, write
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.pretraining.card import card
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.folder import RunFolder, environment
from scalpel.runs.json_files import read_json
from scalpel.runs.targets import claimed
from scalpel.training.loop import RunState, train
from scalpel.training.run import StageRun, TrainingRun
from scalpel.world.shape import untrained
from scalpel.world.vocabulary import MAX_LENGTH, render, tokenizer

Tell = Callable[[Mapping[str, Any]], None]


class WorldTokens(Tokens):
    """The world's tokens without the template engine, which would take longer than the training itself."""

    def demonstration(self, example: Example) -> Tokenized:
        return render(example)


def build(
    out: str | Path,
    size: str = "world-1m",
    *,
    steps: int = 40_000,
    batch: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    items: int = 500,
    start: str | Path | None = None,
    more: Mapping[str, float] = MappingProxyType({}),
    resume: bool = False,
    tell: Tell = lambda record: None,
) -> Path:
    """Pretrains a model of that size on the corpus, writes its folder and its card, and returns the folder.

    `items` is how many test items the card measures of each ability. With `start`, a model of the same size goes on
    instead; give another seed then, or it reads the same documents again. `more` weighs tasks up in the mixture.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} is there already, and a build would replace it: choose another folder, or remove it")
    work = out.with_name(f"{out.name}.run")
    recipe = pretraining(work / "start", size, steps, batch, learning_rate, seed, device, threads, more)
    with claimed(work, "run", resume=resume) as begun:
        run = RunFolder(work, resume)
        if not begun or not (work / "start").exists():
            write_text(work / "recipe.toml", write(recipe))
            write_json(work / "environment.json", environment())
            models.save(first(size, seed, start), Tokens(tokenizer()), work / "start")
        job = pretrain(recipe, run, resume=resume, tell=tell)
        folder = finish(recipe, job, out, start, items)
        shutil.rmtree(work / "start")
    return folder


def finish(recipe: Recipe, job: TrainingRun, out: Path, start: str | Path | None, items: int) -> Path:
    """The folder of the model, with its card."""
    folder = models.save(job.engine.model.cpu(), job.engine.tokens, out)
    write_json(folder / "pretraining.json", account(recipe, job, start))
    card(folder, items=items)
    return folder


def first(size: str, seed: int, start: str | Path | None) -> PreTrainedModel:
    """The weights from which it begins."""
    if start is None:
        return untrained(size, seed)
    found, new = models.load(start)[0], untrained(size, seed)
    if {k: x.shape for k, x in found.state_dict().items()} != {k: x.shape for k, x in new.state_dict().items()}:
        raise ValueError(f"{start} is not a model of size {size}: start from one of that size, or from none")
    return found


def pretraining(
    start: Path,
    size: str,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    device: str,
    threads: int,
    more: Mapping[str, float] = MappingProxyType({}),
) -> Recipe:
    """The recipe of a pretraining run: demonstrations of the corpus, all weights, one pass."""
    return parse(
        {
            "name": size,
            "seed": seed,
            "threads": threads,
            "model": {"path": str(start), "dtype": "float32", "precision": "float32", "device": device},
            "task": {"name": "world/corpus", **({"more": dict(more)} if more else {})},
            "data": {"items": steps * batch, "seed": seed},
            "train": {
                "method": "sft",
                "steps": steps,
                "batch": batch,
                "learning_rate": learning_rate,
                "betas": [0.9, 0.98],
                "weight_decay": 0.05,
                "schedule": "cosine",
                "warmup": 0.02,
                "max_length": MAX_LENGTH,
                "micro_tokens": 65536,
                "checkpoint_every": 2000,
            },
        }
    )


def pretrain(
    recipe: Recipe, run: RunFolder | None, *, resume: bool = False, tell: Tell = lambda record: None
) -> TrainingRun:
    """Runs the recipe through the loop, with the fast rendering in place of the template engine."""

    def watch(job: TrainingRun, stage: StageRun, progress: RunState) -> bool:
        if not isinstance(job.engine.tokens, WorldTokens):
            job.engine.tokens = WorldTokens(job.engine.tokens.tokenizer)
        return False

    return train(recipe, run, resume=resume, watch=watch, tell=tell)


def account(recipe: Recipe, job: TrainingRun, start: str | Path | None) -> list[dict[str, Any]]:
    """What the card says of the pretraining: each pass, the first one first."""
    spec, earlier = recipe.stages[0], Path(start) / "pretraining.json" if start else None
    before = read_json(earlier, [dict]) if earlier and earlier.is_file() else []
    last = {
        "size": recipe.name,
        "seed": recipe.seed,
        "steps": spec.steps,
        "batch": spec.batch,
        "learning_rate": spec.learning_rate,
        "tokens_trained": job.engine.meter.tokens_trained,
        "flops": job.engine.meter.flops,
        "more": dict(recipe.task.get("more", {})),
    }
    return [*before, last]
