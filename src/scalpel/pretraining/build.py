"""Pretraining: from a seeded initialisation to a model folder with its card, through the ordinary training loop.

    build("world-1m", size="world-1m", steps=40000, batch=256)

The run folder beside the model (`<out>.run`) holds the initial weights, the metrics and the checkpoints, from which
`resume` continues. The same seed, number of threads and machine give the same weights.
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
    """The world's tokens without the chat template engine: rendering by jinja would take longer than the training."""

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

    `items` is the number of test items per ability on the card. With `start`, training continues from a model of the
    same size; take another seed then, or it reads the same documents again. `more` maps tasks to factors of their
    weight in the mixture. Raises ValueError if the folder exists.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} is there already, and a build would replace it: choose another folder, or remove it")
    work = out.with_name(f"{out.name}.run")
    recipe = pretraining(work / "start", size, steps, batch, learning_rate, seed, device, threads, more)
    with claimed(work, "run", resume=resume) as begun:
        run = RunFolder(work, resume)
        # the initial weights are written last, so that their folder marks a run that is fully set up
        if not begun or not (work / "start").exists():
            write_text(work / "recipe.toml", write(recipe))
            write_json(work / "environment.json", environment())
            models.save(first(size, seed, start), Tokens(tokenizer()), work / "start")
        job = pretrain(recipe, run, resume=resume, tell=tell)
        folder = finish(recipe, job, out, start, items)
        shutil.rmtree(work / "start")  # only after the model is saved: resuming needs the initial weights
    return folder


def finish(recipe: Recipe, job: TrainingRun, out: Path, start: str | Path | None, items: int) -> Path:
    """Writes the folder of the model, with its card, and returns it."""
    folder = models.save(job.engine.model.cpu(), job.engine.tokens, out)
    write_json(folder / "pretraining.json", account(recipe, job, start))
    card(folder, items=items)
    return folder


def first(size: str, seed: int, start: str | Path | None) -> PreTrainedModel:
    """The initial weights: new ones by the seed, or those of `start`. Raises ValueError if that has another shape."""
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
    """The recipe of a pretraining run: supervised training of all weights on the corpus, in one epoch."""
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
    """Runs the recipe through the training loop, with fast rendering in place of the chat template."""

    def watch(job: TrainingRun, stage: StageRun, progress: RunState) -> bool:
        if not isinstance(job.engine.tokens, WorldTokens):
            job.engine.tokens = WorldTokens(job.engine.tokens.tokenizer)
        return False

    return train(recipe, run, resume=resume, watch=watch, tell=tell)


def account(recipe: Recipe, job: TrainingRun, start: str | Path | None) -> list[dict[str, Any]]:
    """The content of pretraining.json: one table per pretraining run, the first one first."""
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
