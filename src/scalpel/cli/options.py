"""The terminal, and the arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scalpel.runs.terminal import Terminal

out, err = Terminal(), Terminal(stderr=True)

Recipe = Annotated[Path, typer.Argument(help="A TOML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value]...", help="Overrides of recipe keys, as in train.steps=50.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run folder (default: runs/<name>).")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")]
Insist = Annotated[bool, typer.Option("--insist", help="With --resume: even if files that the run reads have changed.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="With --resume: an earlier one, such as checkpoint-40.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]


def tell(words: str) -> None:
    """Prints a line to stdout verbatim: a name in it such as `[a]` must not be read as markup."""
    out.print(words, markup=False, highlight=False)
