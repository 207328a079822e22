"""The model card: the abilities of a pretrained model, measured on items that are not in the pretraining corpus."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from scalpel import models
from scalpel.engine import Engine, Sampling
from scalpel.evaluation.statistics import wilson
from scalpel.registry import lookup
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.json_files import read_json
from scalpel.world.task import WorldTask
from scalpel.world.tasks.worked import STYLES, style_of

ABILITIES = (
    "facts", "fact-sentences", "facts-b", "reverse", "reverse-b", "sort", "sort-b", "add", "subtract", "chains",
    "boxes", "context", "unanswerable", "chat",
)  # fmt: skip
HELD_BACK = {
    "reverse-long": "words of 9 to 12 letters; pretraining stops at eight",
    "multiply": "two numbers of two digits, with steps; rare in pretraining",
    "new-facts": "people whom pretraining never mentions",
}
WORKED = ("chains", "multiply")  # tasks with two styles of steps
GREEDY, SAMPLED = Sampling(max_tokens=64, temperature=0.0), Sampling(max_tokens=64, temperature=1.0)


def card(folder: str | Path, *, items: int = 500, force: bool = False) -> dict[str, Any]:
    """Measures a model of the world, and writes card.json and README.md into its folder. Files with these names that
    aren't a card are overwritten only with `force`; otherwise ValueError."""
    folder = Path(folder)
    if not force:
        refuse_other_pages(folder)
    model, tokens = models.load(folder)
    engine = Engine(model, tokens)
    pretraining = folder / "pretraining.json"
    written = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "pretraining": read_json(pretraining, [dict]) if pretraining.exists() else None,
        "abilities": {name: ability(engine, name, items) for name in ABILITIES},
        "held_back": {name: ability(engine, name, items) for name in HELD_BACK},
    }
    write_json(folder / "card.json", written)
    write_text(folder / "README.md", page(folder.name, written))
    return written


def refuse_other_pages(folder: Path) -> None:
    """Raises ValueError if README.md or card.json were not written by this module, or were edited since: the page is
    made again from card.json and must be equal."""
    readme, numbers = folder / "README.md", folder / "card.json"
    written: Any = None
    with suppress(OSError, ValueError):
        written = json.loads(numbers.read_text(encoding="utf-8"))
    made = ""
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # card.json isn't a card
        made = page(folder.name, written)
    if numbers.exists() and not made:
        raise ValueError(f"{numbers} is not a model card, and would be overwritten: move it away, or use --force")
    if readme.exists() and titleless(readme.read_text(encoding="utf-8", errors="replace")) != titleless(made):
        raise ValueError(
            f"{readme} is not the card that was made from {numbers.name}, and would be overwritten: move it away, or "
            "use --force"
        )


def titleless(text: str) -> str:
    """A page without its title, which is the folder's name and changes when the folder is renamed."""
    return text.partition("\n")[2]


def ability(engine: Engine, name: str, items: int) -> dict[str, Any]:
    """Greedy accuracy on test items with its 95% interval, pass@1 at temperature 1, and the styles of written steps."""
    task: WorldTask = lookup("task", f"world/{name}")
    examples = task.examples("test", items)
    prompts = [engine.tokens.prompt(example.prompt) for example in examples]

    def completions(sampling: Sampling) -> list[str]:
        return [engine.tokens.text(group[0].ids) for group in engine.sample(prompts, sampling)]

    def solved(texts: list[str]) -> int:
        return sum(task.score(text, e) == 1.0 for text, e in zip(texts, examples, strict=True))

    greedy, sampled = completions(GREEDY), completions(SAMPLED)
    right, bounds = solved(greedy), wilson(solved(greedy), len(examples))
    measured = {
        "items": len(examples),
        "accuracy": right / len(examples),
        "low": bounds.low,
        "high": bounds.high,
        "pass_at_1": solved(sampled) / len(examples),
    }
    return measured | ({"styles": styles(sampled)} if name in WORKED else {})


def styles(texts: list[str]) -> dict[str, float]:
    """The share of completions in each style of written steps; the rest is in neither style."""
    counts = Counter(map(style_of, texts))
    return {style: counts[style] / len(texts) for style in STYLES}


def page(name: str, written: dict[str, Any]) -> str:
    """The card as a Markdown page."""
    lines = [
        f"# {name}",
        "",
        f"A Llama decoder of {written['parameters']:,} parameters, pretrained from scratch on a procedural world.",
        "Measured on test items, which pretraining never showed as questions; for facts it has stated the fact",
        "itself. Greedy decoding, 95% Wilson intervals; pass@1 is one sample at temperature 1.",
        "",
    ]
    for made in written["pretraining"] or ():
        more = "".join(f", {factor:g} × {task}" for task, factor in made["more"].items())
        lines += [
            f"Pretraining: {made['steps']:,} steps of {made['batch']} documents{more},",
            f"{made['tokens_trained']:,} trained tokens, learning rate {made['learning_rate']:g}, seed {made['seed']}.",
            "",
        ]
    lines += ["## Abilities", "", *table(written["abilities"]), "", "## Kept back for post-training", ""]
    lines += [f"- `{skill}`: {what}" for skill, what in HELD_BACK.items()]
    lines += ["", *table(written["held_back"]), "", "## Styles of written steps, at temperature 1", ""]
    for skill, measured in {**written["abilities"], **written["held_back"]}.items():
        if "styles" in measured:
            shares = ", ".join(f"{style} {share:.0%}" for style, share in measured["styles"].items())
            lines.append(f"- `{skill}`: {shares}")
    return "\n".join(lines) + "\n"


def table(measured: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        f"| {name} | {m['accuracy']:.3f} | {m['low']:.3f} to {m['high']:.3f} | {m['pass_at_1']:.3f} | {m['items']} |"
        for name, m in measured.items()
    ]
    return ["| task | accuracy | interval | pass@1 | items |", "|---|---|---|---|---|", *rows]
