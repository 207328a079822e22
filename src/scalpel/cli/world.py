"""`scalpel world`: models of the miniature world."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalpel.cli.options import Device, Resume, out, tell
from scalpel.runs.progress import Progress

world = typer.Typer(no_args_is_help=True, help="The miniature world: pretrain its models, measure what they can do.")


class Size(StrEnum):
    large = "world-1m"
    small = "world-300k"


@world.command()
def build(
    folder: Annotated[Path, typer.Argument(help="The folder for the model.", show_default=False)],
    size: Size = Size.large,
    steps: Annotated[int, typer.Option(min=1)] = 40_000,
    batch: Annotated[int, typer.Option(min=1, help="Documents per step.")] = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: Device = "auto",
    items: Annotated[int, typer.Option(min=1, help="Test items of each ability on the card.")] = 500,
    start: Annotated[Path | None, typer.Option(help="A model to continue from; take another seed.")] = None,
    more: Annotated[list[str] | None, typer.Option(help="Weight of a task in the mixture, as in boxes=4.")] = None,
    resume: Resume = False,
) -> None:
    """Pretrain a model of the world from scratch, and write its model card."""
    from scalpel.pretraining.build import build as pretrain
    from scalpel.world.corpus import factors

    with Progress() as progress:
        bar = progress.bar("pretraining", steps)
        pretrain(
            folder,
            size,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
            items=items,
            start=start,
            more=factors(more or ()),
            resume=resume,
            tell=lambda record: bar.to(record["step"], loss=record["loss"]),
        )
    tell(f"The model is in {folder}, its card in {folder / 'README.md'}")


@world.command()
def card(
    folder: Annotated[Path, typer.Argument(help="A model of the world.", show_default=False)],
    items: Annotated[int, typer.Option(min=1, help="Test items of each ability.")] = 500,
    force: Annotated[bool, typer.Option("--force", help="Overwrite README.md and card.json in any case.")] = False,
) -> None:
    """Measure the abilities of a model of the world, and write its model card."""
    from scalpel.cli import tables
    from scalpel.pretraining.card import card as measured

    found = measured(folder, items=items, force=force)
    headings = ("task", "accuracy", "low", "high", "pass@1", "items")
    for title, part in (("Abilities", "abilities"), ("Kept back for post-training", "held_back")):
        rows = [
            (name, *(f"{m[key]:.3f}" for key in ("accuracy", "low", "high", "pass_at_1")), str(m["items"]))
            for name, m in found[part].items()
        ]
        out.print(tables.plain(title, headings, rows, right=1))
